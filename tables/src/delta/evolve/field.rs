//! The fields of a schema in the log, as JSON: delta-rs' own types would lose what the log notes of nested ones.

use serde_json::{Map, Value, json};

use super::Stored;
use crate::ENGINE_PREFIX;

/// Key of a column's id in the metadata of its field.
const ID: &str = "lakeward.id";
const MAPPING_ID: &str = "delta.columnMapping.id";
const MAPPING_NAME: &str = "delta.columnMapping.physicalName";

/// A field of a Delta schema (protocol, *Struct Field*).
pub(super) struct Field {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) data_type: Value,
    pub(super) metadata: Map<String, Value>,
    /// What it was called before.
    pub(super) was: String,
    /// Whether no file has it.
    pub(super) added: bool,
}

impl Field {
    /// Gives it a number and the name that files have for it, and all that stands in it too.
    pub(super) fn map(&mut self, highest: &mut i64) {
        // The plain name may stand in files with the values of a column that was dropped.
        let name = if self.added && !self.name.starts_with(ENGINE_PREFIX) {
            format!("col-{}", uuid::Uuid::new_v4())
        } else {
            self.was.clone()
        };
        number(&mut self.metadata, &name, highest);
        map_inside(&mut self.data_type, highest);
    }

    pub(super) fn into_json(mut self) -> Value {
        if self.id == self.name {
            self.metadata.remove(ID);
        } else {
            self.metadata.insert(ID.into(), json!(self.id));
        }
        json!({"name": self.name, "type": self.data_type, "nullable": true, "metadata": self.metadata})
    }
}

/// Column mapping's two entries, where they are not there yet.
fn number(metadata: &mut Map<String, Value>, name: &str, highest: &mut i64) {
    if !metadata.contains_key(MAPPING_ID) {
        *highest += 1;
        metadata.insert(MAPPING_ID.into(), json!(*highest));
        metadata.insert(MAPPING_NAME.into(), json!(name));
    }
}

/// A nested field keeps its plain name in files: it can neither be dropped nor renamed, so no other had the name before.
fn map_inside(data_type: &mut Value, highest: &mut i64) {
    if let Some(fields) = data_type.get_mut("fields").and_then(Value::as_array_mut) {
        for field in fields {
            let name = field["name"].as_str().unwrap_or_default().to_owned();
            if let Some(metadata) = field.get_mut("metadata").and_then(Value::as_object_mut) {
                number(metadata, &name, highest);
            }
            map_inside(&mut field["type"], highest);
        }
    } else if let Some(element) = data_type.get_mut("elementType") {
        map_inside(element, highest);
    }
}

pub(super) fn fields_of(mut schema: Value) -> Vec<Field> {
    let fields = schema.get_mut("fields").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    let field = |mut field: Value| {
        let metadata = field["metadata"].as_object_mut().map(std::mem::take).unwrap_or_default();
        let name = field["name"].as_str().unwrap_or_default().to_owned();
        let id = metadata.get(ID).and_then(Value::as_str).unwrap_or(&name).to_owned();
        Field { id, data_type: field["type"].take(), metadata, added: false, was: name.clone(), name }
    };
    fields.into_iter().map(field).collect()
}

/// How files call the columns.
pub(super) fn names(fields: &[Field]) -> Stored {
    let mut stored = Stored::default();
    for field in fields {
        let physical = field.metadata.get(MAPPING_NAME).and_then(Value::as_str);
        if let Some(physical) = physical.filter(|physical| *physical != field.name) {
            stored.names.insert(field.name.clone(), physical.to_owned());
        }
        stored.ids.extend(field.metadata.get(MAPPING_ID).and_then(Value::as_i64).map(|id| (field.name.clone(), id)));
    }
    stored
}

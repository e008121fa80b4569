//! What becomes of a table in storage when its contract has changed.
//!
//! Columns are told apart by their ids: what the contract declares as `id`, else the name. The log keeps an id in the
//! field's metadata where it is not the name.
//!
//! - A column that storage has not is added: rows from before have NULL there.
//! - A column of the same id and another name is renamed. Files keep the name that they were written with: the table gets
//!   Delta's column mapping (protocol, *Column Mapping*, mode `name`).
//! - A column that the contract lists as `dropped` goes out of the schema, in the same way. Its values stay in files
//!   until those are rewritten.
//! - Everything else would lose values and is refused: a column that is simply gone, another type, another key.

use std::collections::{BTreeMap, BTreeSet};

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Metadata, Protocol};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::table::state::DeltaTableState;
use serde_json::{Map, Value, json};

use super::layout::Layout;
use super::position::delta;
use crate::{ENGINE_PREFIX, TablesError};

/// Key of a column's id in the metadata of its field.
const ID: &str = "lakeward.id";
const MAPPING_MODE: &str = "delta.columnMapping.mode";
const MAPPING_ID: &str = "delta.columnMapping.id";
const MAPPING_NAME: &str = "delta.columnMapping.physicalName";
const MAPPING_MAX: &str = "delta.columnMapping.maxColumnId";
/// Property with the ids of the key's columns.
pub(super) const KEY_PROPERTY: &str = "lakeward.key";

/// How the columns of the contract are called in data files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Where it is not the contract's name.
    pub(crate) names: BTreeMap<String, String>,
    /// Column mapping's ids, by the contract's name; none without column mapping.
    pub(crate) ids: BTreeMap<String, i64>,
}

/// What must be done before a table has the columns of its contract.
pub(super) enum Planned {
    /// Nothing.
    Fits(Stored),
    Change(Box<Change>),
}

/// A new version of the table's metadata.
pub(super) struct Change {
    metadata: Metadata,
    protocol: Option<Protocol>,
    /// For people.
    pub(super) what: Vec<String>,
}

/// The columns of one table in storage, and those that it should have.
struct Evolution<'a> {
    layout: &'a Layout,
    mapped: bool,
    what: Vec<String>,
    /// Whether the change needs column mapping.
    needs_mapping: bool,
}

/// Compares the contract with the table.
pub(super) fn plan(layout: &Layout, state: &DeltaTableState) -> Result<Planned, TablesError> {
    let metadata = state.metadata();
    let configuration = metadata.configuration();
    let mapping = configuration.get(MAPPING_MODE).map_or("none", String::as_str);
    let mut evolution =
        Evolution { layout, mapped: mapping == "name", what: Vec::new(), needs_mapping: mapping == "name" };
    if !matches!(mapping, "none" | "name") {
        return Err(evolution.refused(format!("it has column mapping of mode '{mapping}', and only 'name' is known")));
    }
    if *metadata.partition_columns() != layout.partition_columns() {
        return Err(evolution.refused(format!(
            "its mode has changed, and with it how its rows are spread over files. `lakeward rebuild {}` makes it again",
            layout.name
        )));
    }
    evolution.same_key(configuration.get(KEY_PROPERTY).map(String::as_str))?;
    let logged = as_json(layout, state.schema().as_ref())?;
    let fields = evolution.columns(fields_of(logged))?;
    if evolution.what.is_empty() {
        return Ok(Planned::Fits(names(&fields)));
    }
    let highest = configuration.get(MAPPING_MAX).and_then(|id| id.parse().ok()).unwrap_or(0);
    Ok(Planned::Change(Box::new(evolution.change(state, fields, highest)?)))
}

impl Change {
    /// Commits it as the very next version.
    pub(super) async fn commit(
        self,
        layout: &Layout,
        state: &DeltaTableState,
        log: &LogStoreRef,
    ) -> Result<(), DeltaTableError> {
        let mut actions = vec![Action::Metadata(self.metadata)];
        actions.extend(self.protocol.map(Action::Protocol));
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false));
        CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(state), log.clone(), DeltaOperation::AddColumn { fields: Vec::new() })
            .into_prepared_commit_future()
            .await?
            .await?;
        tracing::info!(table = %layout.name, "the table follows its contract: {}", self.what.join("; "));
        Ok(())
    }
}

/// Whether another commit took the version.
pub(super) fn lost_race(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction {
                source: TransactionError::VersionAlreadyExists(_)
                    | TransactionError::MaxCommitAttempts(_)
                    | TransactionError::CommitConflict(_)
            }
    )
}

impl Evolution<'_> {
    fn refused(&self, message: String) -> TablesError {
        TablesError::Schema { table: self.layout.name.clone(), message }
    }

    /// Rows of one key are looked for by it: another key would not find those that are there.
    fn same_key(&self, stored: Option<&str>) -> Result<(), TablesError> {
        match (stored, self.layout.key_ids()) {
            (Some(stored), Some(declared)) if stored != declared => Err(self.refused(format!(
                "its rows have the key ({stored}) and the contract's is ({declared}). `lakeward rebuild {}` makes the \
                 table again with the new one",
                self.layout.name
            ))),
            _ => Ok(()),
        }
    }

    /// The fields that the table shall have, from those that it has.
    fn columns(&mut self, stored: Vec<Field>) -> Result<Vec<Field>, TablesError> {
        let wanted = fields_of(as_json(self.layout, &self.layout.delta_schema()?)?);
        let mut found = self.found(&wanted, &stored);
        let mut fields = Vec::with_capacity(wanted.len());
        for (at, field) in stored.into_iter().enumerate() {
            match found.iter().position(|place| *place == Some(at)) {
                Some(column) => fields.push(self.kept(field, &wanted[column])?),
                None if self.layout.dropped.contains(&field.id) => {
                    self.needs_mapping = true;
                    self.what.push(format!("column '{}' is dropped", field.name));
                }
                None => {
                    return Err(self.refused(format!(
                        "it has a column '{}' that the contract has not. If the column has a new name, give that one \
                         `id: {}`; if it is to go, list it under the custom property `dropped`",
                        field.name, field.id
                    )));
                }
            }
        }
        for (column, place) in wanted.into_iter().zip(&mut found) {
            if place.is_none() {
                self.what.push(format!("column '{}' is added", column.name));
                let id = self.layout.id_of(&column.name).to_owned();
                fields.push(Field { id, added: true, ..column });
            }
        }
        Ok(fields)
    }

    /// Where each wanted column stands among the stored ones: by id, or else by a name that no id has taken.
    fn found(&self, wanted: &[Field], stored: &[Field]) -> Vec<Option<usize>> {
        let by_id = |column: &Field| stored.iter().position(|field| field.id == self.layout.id_of(&column.name));
        let mut found: Vec<Option<usize>> = wanted.iter().map(by_id).collect();
        let taken: BTreeSet<usize> = found.iter().flatten().copied().collect();
        for (column, place) in wanted.iter().zip(&mut found) {
            if place.is_none() {
                let named = stored.iter().position(|field| field.name == column.name);
                // Listed as dropped, it was another column of the same name.
                *place = named.filter(|at| !taken.contains(at) && !self.layout.dropped.contains(&stored[*at].id));
            }
        }
        found
    }

    /// A stored column as the contract wants it now.
    fn kept(&mut self, mut field: Field, wanted: &Field) -> Result<Field, TablesError> {
        if bare(&field.data_type) != bare(&wanted.data_type) {
            return Err(self.refused(format!(
                "column '{}' is {} in storage and {} in the contract, and values could be lost between them. Give the \
                 new type a column of another name and id, or make the table again from raw: `lakeward rebuild {}`",
                wanted.name,
                spelled(&field.data_type),
                spelled(&wanted.data_type),
                self.layout.name
            )));
        }
        if field.name != wanted.name {
            self.what.push(format!("column '{}' is called '{}'", field.name, wanted.name));
            self.needs_mapping = true;
        }
        field.name.clone_from(&wanted.name);
        self.layout.id_of(&wanted.name).clone_into(&mut field.id);
        Ok(field)
    }

    fn change(self, state: &DeltaTableState, mut fields: Vec<Field>, mut highest: i64) -> Result<Change, TablesError> {
        let mut configuration: Map<String, Value> = Map::new();
        for (key, value) in self.layout.properties() {
            // The number of buckets stays that of the files which are there.
            if key.starts_with("delta.") || key == KEY_PROPERTY {
                configuration.insert(key, json!(value));
            }
        }
        let mut protocol = None;
        if self.needs_mapping {
            for field in &mut fields {
                field.map(&mut highest);
            }
            configuration.insert(MAPPING_MODE.into(), json!("name"));
            configuration.insert(MAPPING_MAX.into(), json!(highest.to_string()));
            if !self.mapped {
                protocol = Some(self.parsed(json!({"minReaderVersion": 2, "minWriterVersion": 5}))?);
            }
        }
        let schema = json!({"type": "struct", "fields": fields.into_iter().map(Field::into_json).collect::<Vec<_>>()});
        let mut metadata = as_json(self.layout, state.metadata())?;
        metadata["schemaString"] = json!(schema.to_string());
        if let Some(stored) = metadata["configuration"].as_object_mut() {
            stored.extend(configuration);
        }
        Ok(Change { metadata: self.parsed(metadata)?, protocol, what: self.what })
    }

    fn parsed<T: serde::de::DeserializeOwned>(&self, value: Value) -> Result<T, TablesError> {
        serde_json::from_value(value).map_err(|error| delta(&self.layout.name, error.into()))
    }
}

/// A field of a Delta schema (protocol, *Struct Field*).
struct Field {
    name: String,
    id: String,
    data_type: Value,
    metadata: Map<String, Value>,
    /// What it was called before.
    was: String,
    /// Whether no file has it.
    added: bool,
}

impl Field {
    /// Gives it a number and the name that files have for it, and all that stands in it too.
    fn map(&mut self, highest: &mut i64) {
        // The plain name may stand in files with the values of a column that was dropped.
        let name = if self.added && !self.name.starts_with(ENGINE_PREFIX) {
            format!("col-{}", uuid::Uuid::new_v4())
        } else {
            self.was.clone()
        };
        number(&mut self.metadata, &name, highest);
        map_inside(&mut self.data_type, highest);
    }

    fn into_json(mut self) -> Value {
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

fn as_json(layout: &Layout, value: &impl serde::Serialize) -> Result<Value, TablesError> {
    serde_json::to_value(value).map_err(|error| delta(&layout.name, error.into()))
}

fn fields_of(mut schema: Value) -> Vec<Field> {
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
fn names(fields: &[Field]) -> Stored {
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

/// A type without what the log notes of the fields in it.
fn bare(data_type: &Value) -> Value {
    match data_type {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| *name != "metadata");
            Value::Object(kept.map(|(name, value)| (name.clone(), bare(value))).collect())
        }
        Value::Array(items) => items.iter().map(bare).collect(),
        other => other.clone(),
    }
}

fn spelled(data_type: &Value) -> String {
    match data_type {
        Value::String(name) => name.clone(),
        nested => bare(nested).to_string(),
    }
}

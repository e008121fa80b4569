//! One contract document (ODCS v3): the parts that raw and curated contracts have in common.

use arrow::datatypes::{DataType, Field, Fields};

use super::text_format::{self, TextFormat};
use super::types::{list_of, scalar_type};
use super::yaml::{Entries, Node, Reader, Value};
use crate::name::is_identifier;

const TOP: &[&str] = &[
    "apiVersion",
    "kind",
    "id",
    "name",
    "version",
    "status",
    "domain",
    "dataProduct",
    "description",
    "schema",
    "team",
    "roles",
    "slaProperties",
    "tags",
    "customProperties",
];
const OBJECT: &[&str] =
    &["name", "physicalName", "logicalType", "description", "tags", "properties", "quality", "customProperties"];
const PROPERTY: &[&str] = &[
    "id",
    "name",
    "logicalType",
    "logicalTypeOptions",
    "physicalType",
    "description",
    "required",
    "primaryKey",
    "primaryKeyPosition",
    "unique",
    "tags",
    "classification",
    "properties",
    "items",
    "examples",
    "customProperties",
];
/// The element of an array has no name.
const ITEMS: &[&str] =
    &["logicalType", "physicalType", "description", "properties", "items", "examples", "required", "tags"];

/// A contract with its one table.
pub(super) struct Document<'n> {
    pub(super) top: Entries<'n>,
    /// `description.purpose`, in one line.
    pub(super) purpose: String,
    pub(super) object: Entries<'n>,
    /// `schema[0].name`.
    pub(super) table: String,
}

/// One property of the table.
pub(super) struct Property<'n> {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) data_type: DataType,
    /// What a text has to be.
    pub(super) format: Option<TextFormat>,
    pub(super) description: String,
    pub(super) required: bool,
    /// The place in the primary key, where it has one.
    pub(super) key_position: Option<usize>,
    pub(super) tags: Vec<String>,
    pub(super) entries: Entries<'n>,
}

impl<'n> Document<'n> {
    pub(super) fn read(reader: &mut Reader<'_>, root: &'n Node) -> Option<Self> {
        let top = reader.map(root, "the contract", TOP);
        if let Some(version) = reader.required_text(&top, "apiVersion", "the contract")
            && !version.starts_with("v3.")
        {
            reader.note(top.line_of("apiVersion"), format!("apiVersion '{version}' is not v3 of ODCS"));
        }
        if let Some(kind) = reader.required_text(&top, "kind", "the contract")
            && kind != "DataContract"
        {
            reader.note(top.line_of("kind"), format!("kind '{kind}' is not DataContract"));
        }
        for key in ["id", "version", "status"] {
            reader.required_text(&top, key, "the contract");
        }
        let mut purpose = String::new();
        if let Some(description) = top.get("description") {
            let description = reader.map(description, "description", &["purpose", "usage", "limitations"]);
            purpose = one_line(reader.optional_text(&description, "purpose"));
        }
        let Some(schema) = top.get("schema") else {
            reader.note(top.line, "the contract lacks 'schema'");
            return None;
        };
        let objects = reader.list(schema, "schema");
        let [object] = objects else {
            reader.note(schema.line, format!("schema must hold one table, and it holds {}", objects.len()));
            return None;
        };
        let object = reader.map(object, "a schema object", OBJECT);
        let table = reader.required_text(&object, "name", "the schema object")?;
        if let Some(physical) = reader.optional_text(&object, "physicalName")
            && physical != table
        {
            reader
                .note(object.line_of("physicalName"), format!("physicalName '{physical}' differs from name '{table}'"));
        }
        Some(Self { top, purpose, object, table })
    }

    /// How many properties the table has, understood or not.
    pub(super) fn written_properties(&self) -> usize {
        match self.object.get("properties").map(|node| &node.value) {
            Some(Value::List(nodes)) => nodes.len(),
            _ => usize::MAX,
        }
    }

    /// The properties of the table; those that cannot be understood are noted and left out.
    pub(super) fn properties(&self, reader: &mut Reader<'_>, lower_case: bool) -> Vec<Property<'n>> {
        let Some(node) = self.object.get("properties") else {
            reader.note(self.object.line, format!("{} lacks 'properties'", self.table));
            return Vec::new();
        };
        let mut properties: Vec<Property<'n>> = Vec::new();
        for node in reader.list(node, "properties") {
            let Some(property) = property(reader, node) else { continue };
            if properties.iter().any(|p| p.name.eq_ignore_ascii_case(&property.name)) {
                reader.note(property.line, format!("column '{}' is declared twice", property.name));
            } else if lower_case && !is_identifier(&property.name) {
                let name = &property.name;
                reader.note(property.line, format!("column '{name}' must be of lower-case letters, digits and '_'"));
            } else {
                properties.push(property);
            }
        }
        properties
    }
}

fn property<'n>(reader: &mut Reader<'_>, node: &'n Node) -> Option<Property<'n>> {
    let entries = reader.map(node, "a property", PROPERTY);
    let name = reader.required_text(&entries, "name", "a property")?;
    let data_type = data_type(reader, &entries, &name)?;
    let key_position = match reader.optional_boolean(&entries, "primaryKey") {
        true => match reader.optional_text(&entries, "primaryKeyPosition").map(|p| p.parse::<usize>()) {
            None => Some(1),
            Some(Ok(position)) if position > 0 => Some(position),
            Some(_) => {
                reader.note(entries.line_of("primaryKeyPosition"), "primaryKeyPosition must be 1 or more");
                None
            }
        },
        false => {
            if entries.get("primaryKeyPosition").is_some_and(|n| !matches!(&n.value, Value::Number(p) if p == "-1")) {
                reader.note(entries.line_of("primaryKeyPosition"), "primaryKeyPosition without primaryKey: true");
            }
            None
        }
    };
    Some(Property {
        line: entries.line,
        format: text_format::read(reader, &entries, &data_type),
        data_type,
        description: one_line(reader.optional_text(&entries, "description")),
        required: reader.optional_boolean(&entries, "required"),
        key_position,
        tags: reader.texts(&entries, "tags"),
        name,
        entries,
    })
}

fn data_type(reader: &mut Reader<'_>, entries: &Entries<'_>, name: &str) -> Option<DataType> {
    let logical = reader.required_text(entries, "logicalType", &format!("'{name}'"))?;
    match logical.as_str() {
        "object" => {
            let Some(node) = entries.get("properties") else {
                reader.note(entries.line, format!("object '{name}' lacks 'properties'"));
                return None;
            };
            let mut fields: Vec<Field> = Vec::new();
            for node in reader.list(node, "properties") {
                let Some(inner) = property(reader, node) else { continue };
                if fields.iter().any(|f| f.name() == &inner.name) {
                    reader.note(inner.line, format!("'{}' is declared twice in '{name}'", inner.name));
                } else {
                    fields.push(text_format::field(inner.name, inner.data_type, inner.format));
                }
            }
            if fields.is_empty() {
                reader.note(entries.line, format!("object '{name}' has no properties"));
                return None;
            }
            Some(DataType::Struct(Fields::from(fields)))
        }
        "array" => {
            let Some(node) = entries.get("items") else {
                reader.note(entries.line, format!("array '{name}' lacks 'items'"));
                return None;
            };
            let items = reader.map(node, "items", ITEMS);
            data_type(reader, &items, &format!("items of {name}")).map(list_of)
        }
        _ => {
            let physical = reader.optional_text(entries, "physicalType");
            match scalar_type(&logical, physical.as_deref()) {
                Ok(data_type) => Some(data_type),
                Err(why) => {
                    reader.note(entries.line_of("logicalType"), format!("'{name}': {why}"));
                    None
                }
            }
        }
    }
}

/// Folded text in one line.
pub(super) fn one_line(text: Option<String>) -> String {
    text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

//! Contracts of topics: what a payload holds, and the fixed columns of raw and dead-letter tables.

use std::path::PathBuf;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use super::document::Document;
use super::schema::{Column, GovernedTable};
use super::text_format;
use super::types::{list_of, timestamp};
use super::yaml::{Entries, Reader};
use crate::TableName;
use crate::name::is_identifier;

/// How the payloads of a topic are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadFormat {
    /// One JSON object for each message, by itself or behind the header of a schema registry.
    Json,
    /// An Avro record behind the header of a schema registry.
    Avro,
    /// A Protobuf message behind the header of a schema registry and the message's place in its schema.
    Protobuf,
}

impl PayloadFormat {
    /// As a contract writes it.
    pub fn name(self) -> &'static str {
        match self {
            PayloadFormat::Json => "json",
            PayloadFormat::Avro => "avro",
            PayloadFormat::Protobuf => "protobuf",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [PayloadFormat::Json, PayloadFormat::Avro, PayloadFormat::Protobuf].into_iter().find(|f| f.name() == name)
    }

    /// What the name of a schema's file ends with, where the format has schemas.
    pub(super) fn ending(self) -> Option<&'static str> {
        match self {
            PayloadFormat::Json => None,
            PayloadFormat::Avro => Some(".avsc"),
            PayloadFormat::Protobuf => Some(".proto"),
        }
    }
}

/// A schema in `sql/schemas/`: producers write by it, and what others wrote is read into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadSchema {
    /// The file, named after its topic.
    pub file: PathBuf,
    /// What stands in it.
    pub text: String,
}

/// The contract of one topic.
#[derive(Debug, Clone)]
pub struct TopicContract {
    /// The name in Kafka.
    pub topic: String,
    /// Where its messages go as they arrived.
    pub table: TableName,
    /// Where those go that could not be read.
    pub dead_letter: TableName,
    /// How payloads are written.
    pub format: PayloadFormat,
    /// The schema, where the format has one.
    pub schema: Option<PayloadSchema>,
    /// The fields of the payload that are wanted, as nested types; texts with their [`TextFormat`](super::TextFormat).
    pub payload: Fields,
    /// Names of the payload's own fields that the contract requires.
    pub required: Vec<String>,
    /// Whether a message without a key is a dead letter.
    pub key_required: bool,
    /// The payload's field that a message's key must be; a message that says two things is a dead letter.
    pub key_field: Option<String>,
    /// For people.
    pub description: String,
    /// Who answers for the topic.
    pub owner: Option<String>,
    /// Who may write to it, as Kafka's principals: `User:name`.
    pub producers: Vec<String>,
    /// Who may read it beside Lakeward, as Kafka's principals.
    pub consumers: Vec<String>,
    /// How long it is kept, as the contract says it.
    pub retention: Option<String>,
    /// The contract.
    pub file: PathBuf,
}

impl TopicContract {
    /// The payload's declared fields as a schema to decode with.
    pub fn payload_schema(&self) -> SchemaRef {
        Schema::new(self.payload.clone()).into()
    }

    pub(crate) fn governed(&self) -> [GovernedTable; 2] {
        let table = |name: &TableName, description: String, schema: SchemaRef| GovernedTable {
            name: name.clone(),
            description,
            columns: schema.fields().iter().map(|field| transport_column(field)).collect(),
            primary_key: ["source", "topic", "partition", "offset"].map(String::from).to_vec(),
            subject: None,
            scopes: Default::default(),
            hidden: false,
            file: self.file.clone(),
        };
        [
            table(&self.table, self.description.clone(), raw_schema()),
            table(
                &self.dead_letter,
                format!("What could not be read of {}, and why", self.topic),
                dead_letter_schema(),
            ),
        ]
    }
}

fn transport_column(field: &Field) -> Column {
    let (tag, description) = match field.name().as_str() {
        "source" => ("transport", "Configured name of the Kafka cluster"),
        "topic" => ("transport", "Topic"),
        "partition" => ("transport", "Partition of the topic"),
        "offset" => ("transport", "Offset within the partition"),
        "timestamp" => ("transport", "Kafka's timestamp of the message"),
        "key" => ("key.subject", "Key of the message, byte for byte"),
        "headers" => ("payload.raw", "Headers of the message"),
        "payload" => ("payload.raw", "Payload, byte for byte; NULL is a tombstone"),
        "ingested_at" => ("transport", "When the message was taken in"),
        _ => ("reason", "Why it could not be read: a code, a path and the shape that was met"),
    };
    Column {
        name: field.name().clone(),
        data_type: field.data_type().clone(),
        tags: vec![tag.into()],
        description: description.into(),
        required: false,
        prunable: matches!(field.name().as_str(), "partition" | "offset" | "timestamp" | "ingested_at"),
        read_as: None,
        id: None,
        line: 0,
    }
}

/// The columns of every raw table, all nullable: `source, topic, partition, offset, timestamp, key, headers, payload,
/// ingested_at`.
pub fn raw_schema() -> SchemaRef {
    Schema::new(raw_fields()).into()
}

/// The columns of every dead-letter table: those of a raw table, and `reason`.
pub fn dead_letter_schema() -> SchemaRef {
    let mut fields = raw_fields();
    fields.push(Field::new("reason", DataType::Utf8, true));
    Schema::new(fields).into()
}

fn raw_fields() -> Vec<Field> {
    let header =
        Fields::from(vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Binary, true)]);
    vec![
        Field::new("source", DataType::Utf8, true),
        Field::new("topic", DataType::Utf8, true),
        Field::new("partition", DataType::Int32, true),
        Field::new("offset", DataType::Int64, true),
        Field::new("timestamp", timestamp(), true),
        Field::new("key", DataType::Binary, true),
        Field::new("headers", list_of(DataType::Struct(header)), true),
        Field::new("payload", DataType::Binary, true),
        Field::new("ingested_at", timestamp(), true),
    ]
}

const CUSTOM: &[&str] = &["topic", "format", "retention", "owner", "key", "keyField", "producers", "consumers"];

/// A topic's contract as read.
pub(super) struct Draft {
    pub(super) contract: TopicContract,
    /// Whether all of its payload could be understood, so that SELECTs may be held against it.
    pub(super) payload_is_known: bool,
}

/// A list of Kafka's principals.
fn principals(reader: &mut Reader<'_>, custom: &Entries<'_>, key: &str) -> Vec<String> {
    let principals = reader.texts(custom, key);
    let is_principal = |text: &String| {
        let named = text.strip_prefix("User:");
        named.is_some_and(|name| !name.trim().is_empty() && name != "*")
    };
    if let Some(wrong) = principals.iter().find(|text| !is_principal(text)) {
        let message =
            format!("'{wrong}' among {key} is no principal: write User:name; all users at once cannot be meant");
        reader.note(custom.line_of(key), message);
    }
    principals
}

/// Reads the contract of a topic and notes what is wrong with it.
pub(super) fn read(reader: &mut Reader<'_>, text: &str) -> Option<Draft> {
    let root = reader.parse(text)?;
    let document = Document::read(reader, &root)?;
    let custom = reader.custom(&document.top, "a topic's contract", CUSTOM);
    reader.custom(&document.object, "a topic's table", &[]);
    if document.object.get("quality").is_some() {
        reader.note(document.object.line_of("quality"), "quality rules belong to curated tables");
    }
    let topic = reader.required_text(&custom, "topic", "the contract's customProperties");
    let before = reader.problems.len();
    let properties = document.properties(reader, false);
    // A part of a nested field may be missing without the field itself.
    let payload_is_known = reader.problems.len() == before;
    for property in &properties {
        reader.custom(&property.entries, "a payload's field", &[]);
    }
    let topic = topic?;
    let table = TableName::of_topic(&topic);
    if !topic.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) || !is_identifier(&table.table)
    {
        reader.note(
            custom.line_of("topic"),
            format!("topic '{topic}' must be of lower-case letters, digits, '.', '_' and '-'"),
        );
    }
    if reader.file.file_name().and_then(|name| name.to_str()) != Some(&format!("{topic}.odcs.yaml")) {
        reader
            .note(custom.line_of("topic"), format!("the contract of topic '{topic}' must stand in {topic}.odcs.yaml"));
    }
    if document.table != table.to_string() {
        let declared = &document.table;
        reader.note(
            document.object.line_of("name"),
            format!("the table of topic '{topic}' is {table}, not '{declared}'"),
        );
    }
    if table.table.ends_with("__dead_letter") {
        reader.note(custom.line_of("topic"), format!("'{topic}' would take the name of a dead-letter table"));
    }
    let before = reader.problems.len();
    let format = match reader.optional_text(&custom, "format") {
        None => PayloadFormat::Json,
        Some(name) => PayloadFormat::of(&name).unwrap_or_else(|| {
            let message = format!("unknown format '{name}'; known are json, avro and protobuf");
            reader.note(custom.line_of("format"), message);
            PayloadFormat::Json
        }),
    };
    // Nobody can tell then what a payload is.
    let payload_is_known = payload_is_known && reader.problems.len() == before;
    let key_field = reader.optional_text(&custom, "keyField");
    if let Some(name) = &key_field {
        let field = properties.iter().find(|property| property.name == *name);
        let message = match field.map(|field| &field.data_type) {
            Some(DataType::Utf8 | DataType::Int64) => None,
            Some(_) => Some(format!("keyField '{name}' is no string and no integer")),
            // What could not be understood may have been it.
            None if !payload_is_known => None,
            None => Some(format!("keyField '{name}' is no field of the payload")),
        };
        if let Some(message) = message {
            reader.note(custom.line_of("keyField"), message);
        }
    }
    let key = reader.optional_text(&custom, "key");
    if let Some(other) = key.as_deref().filter(|k| !matches!(*k, "required" | "optional")) {
        reader.note(custom.line_of("key"), format!("unknown value '{other}' of key; it is required or optional"));
    }
    let contract = TopicContract {
        dead_letter: table.dead_letter(),
        table,
        format,
        schema: None,
        key_field,
        required: properties.iter().filter(|p| p.required).map(|p| p.name.clone()).collect(),
        payload: properties.into_iter().map(|p| text_format::field(p.name, p.data_type, p.format)).collect(),
        key_required: key.as_deref() == Some("required"),
        description: document.purpose,
        owner: reader.optional_text(&custom, "owner"),
        producers: principals(reader, &custom, "producers"),
        consumers: principals(reader, &custom, "consumers"),
        retention: reader.optional_text(&custom, "retention"),
        file: reader.file.to_owned(),
        topic,
    };
    Some(Draft { contract, payload_is_known })
}

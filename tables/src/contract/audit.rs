//! The table of the engine's own in which the audit stands: fixed columns, no contract in the folder.

use std::path::Path;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use super::schema::{Column, GovernedTable};
use super::types::{list_of, timestamp};
use crate::TableName;

/// The schema of the tables that tell who asked what.
pub const AUDIT_SCHEMA: &str = "audit";

/// The tag of every column in it.
const TAG: &str = "audit";

/// The tables of the audit, which every lakehouse has.
pub(super) fn governed(folder: &Path) -> Vec<GovernedTable> {
    let table =
        |name, description: &str, key: [&str; 2], schema: SchemaRef, described: &[(&str, &str)]| GovernedTable {
            name,
            description: description.into(),
            columns: schema.fields().iter().zip(described).map(|(field, (_, about))| column(field, about)).collect(),
            primary_key: key.map(String::from).to_vec(),
            subject: None,
            scopes: Default::default(),
            hidden: false,
            file: folder.to_owned(),
        };
    let events = "Who asked what, for which purpose, and what left the barrier";
    let alerts = "What the rules of sql/audit found in the audit, each once";
    vec![
        table(TableName::audit_events(), events, ["writer", "sequence"], events_schema(), &EVENTS),
        table(TableName::audit_alerts(), alerts, ["rule", "key"], alerts_schema(), &ALERTS),
    ]
}

fn column(field: &Field, description: &str) -> Column {
    Column {
        name: field.name().clone(),
        data_type: field.data_type().clone(),
        tags: vec![TAG.into()],
        description: description.into(),
        required: false,
        prunable: matches!(field.name().as_str(), "at" | "sequence" | "segment" | "raised_at"),
        read_as: None,
        id: None,
        line: 0,
    }
}

/// The columns of `audit.events`, all nullable.
pub fn events_schema() -> SchemaRef {
    let field = |(name, _): &(&str, &str)| {
        let data_type = match *name {
            "at" => timestamp(),
            "sequence" | "segment" | "rows" | "bytes" | "milliseconds" => DataType::Int64,
            "roles" => list_of(DataType::Utf8),
            "tables" => list_of(table_type()),
            "subjects" => list_of(subjects_type()),
            _ => DataType::Utf8,
        };
        Field::new(*name, data_type, true)
    };
    Schema::new(EVENTS.iter().map(field).collect::<Vec<_>>()).into()
}

/// The columns of `audit.alerts`, all nullable.
pub fn alerts_schema() -> SchemaRef {
    let field = |(name, _): &(&str, &str)| match *name {
        "raised_at" | "at" => Field::new(*name, timestamp(), true),
        _ => Field::new(*name, DataType::Utf8, true),
    };
    Schema::new(ALERTS.iter().map(field).collect::<Vec<_>>()).into()
}

fn structure(fields: Vec<(&str, DataType)>) -> DataType {
    DataType::Struct(Fields::from_iter(fields.into_iter().map(|(name, of)| Field::new(name, of, true))))
}

fn table_type() -> DataType {
    let column = structure(vec![("name", DataType::Utf8), ("level", DataType::Utf8)]);
    structure(vec![
        ("name", DataType::Utf8),
        ("version", DataType::Int64),
        ("policy", DataType::Utf8),
        ("scopes", list_of(DataType::Utf8)),
        ("columns", list_of(column)),
    ])
}

fn subjects_type() -> DataType {
    structure(vec![
        ("table", DataType::Utf8),
        ("all_in_scope", DataType::Boolean),
        ("digests", list_of(DataType::Utf8)),
    ])
}

/// Names and what they hold, for people.
const EVENTS: [(&str, &str); 22] = [
    ("at", "When it was recorded, by the clock of the process that answered"),
    ("kind", "started, finished, described, listed; opened and closed are of the writer itself"),
    ("writer", "The process that recorded it: one name for each start of a process"),
    ("sequence", "Number of the record among those of its writer, from 0"),
    ("segment", "Number of the segment by which it became durable"),
    ("chain", "Keyed digest of this record and of the chain before it"),
    ("request_id", "Number of the request; started and finished of one statement have the same"),
    ("principal", "Who asked: the token's subject, or anonymous"),
    ("issuer", "The issuer that vouches for the token"),
    ("purpose", "For which purpose"),
    ("roles", "The roles that were active"),
    ("protocol", "By which protocol"),
    ("peer", "The address that the request came from, as the process saw it"),
    ("grant_id", "The grant under which it was asked, where there was one"),
    ("statement", "The statement without its literals and comments"),
    ("digest", "Keyed digest of the statement's full text"),
    ("tables", "The tables that were read: version, policy, row scopes, and each column with its level"),
    ("rows", "Rows that were sent"),
    ("bytes", "Bytes that were sent, in Arrow's form"),
    ("outcome", "How it ended: complete, truncated, cancelled, or the code of its error"),
    ("milliseconds", "How long it took"),
    ("subjects", "Keyed digests of the persons of whom rows left the barrier, by table; or that it was all in scope"),
];

const ALERTS: [(&str, &str); 8] = [
    ("raised_at", "When the rule said so for the first time"),
    ("rule", "The rule: the name of its file in sql/audit"),
    ("title", "What it is about"),
    ("severity", "info, warning or critical"),
    ("key", "What the alert is one of: it is raised once under a key"),
    ("principal", "Whom it is about"),
    ("at", "When it happened"),
    ("detail", "How much of it"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_described_and_tagged() {
        let [events, alerts] = <[GovernedTable; 2]>::try_from(governed(Path::new("sql"))).unwrap();
        assert_eq!((events.columns.len(), alerts.columns.len()), (EVENTS.len(), ALERTS.len()));
        for column in events.columns.iter().chain(&alerts.columns) {
            assert!(!column.description.is_empty() && column.tags == [TAG], "{}", column.name);
        }
        assert!(events.columns.iter().any(|column| column.name == "at" && column.prunable));
    }
}

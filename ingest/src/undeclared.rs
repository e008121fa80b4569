//! Which fields payloads have that no contract declares: looked for in a few messages, for to look into all would cost
//! as much as to decode them.
//!
//! A name in a payload may itself be data (a map from names of people to something): only what looks like a name of a
//! field is told, and how many are remembered is bounded.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Fields, Int32Type, Int64Type};
use chrono::Utc;
use lakeward_tables::{Lake, Undeclared};
use serde_json::Value;

/// So many messages of a batch are looked into: of a small one all.
const OF_A_BATCH: usize = 64;
/// Larger payloads are not looked into.
const LARGEST: usize = 256 << 10;
/// How many are remembered of a topic, whether storage has taken them or not.
const MOST: usize = 100;
/// Longer names are data.
const LONGEST_NAME: usize = 64;
/// Longer paths are not told.
const LONGEST_PATH: usize = 150;
/// What stands for a name that is not told.
const UNTOLD: &str = "…";

/// The undeclared fields of one topic that this process has met.
pub(crate) struct Sampler {
    topic: String,
    declared: Fields,
    met: BTreeSet<String>,
    /// Those that storage has not taken yet.
    due: Vec<Undeclared>,
}

impl Sampler {
    pub(crate) fn new(topic: &str, declared: &Fields) -> Self {
        Sampler { topic: topic.to_owned(), declared: declared.clone(), met: BTreeSet::new(), due: Vec::new() }
    }

    /// Looks into some of the messages, which have the schema of raw tables, and notes what is new. Storage that does not
    /// take it is asked again with the next batch.
    pub(crate) async fn look(&mut self, rows: &RecordBatch, source: &str, lake: &Lake) {
        self.meet(rows, source);
        if self.due.is_empty() {
            return;
        }
        match lake.note_undeclared(&self.topic, &self.due).await {
            Ok(()) => {
                let paths: Vec<&str> = self.due.iter().map(|field| field.path.as_str()).collect();
                tracing::info!(topic = self.topic, "fields that no contract declares: {}", paths.join(", "));
                self.due.clear();
            }
            Err(error) => tracing::debug!(topic = self.topic, %error, "undeclared fields are not noted yet"),
        }
    }

    fn meet(&mut self, rows: &RecordBatch, source: &str) {
        let column = |name| rows.column_by_name(name);
        let (Some(payloads), Some(partitions), Some(offsets)) = (
            column("payload").and_then(|column| column.as_binary_opt::<i32>()),
            column("partition").and_then(|column| column.as_primitive_opt::<Int32Type>()),
            column("offset").and_then(|column| column.as_primitive_opt::<Int64Type>()),
        ) else {
            return;
        };
        for row in (0..payloads.len()).step_by(payloads.len().div_ceil(OF_A_BATCH).max(1)) {
            for path in self.new_in(payloads, row) {
                let (partition, offset) = (partitions.value(row), offsets.value(row));
                self.due.push(Undeclared { path, source: source.to_owned(), partition, offset, met_at: Utc::now() });
            }
        }
    }

    fn new_in(&mut self, payloads: &BinaryArray, row: usize) -> Vec<String> {
        if payloads.is_null(row) || payloads.value(row).len() > LARGEST || self.met.len() >= MOST {
            return Vec::new();
        }
        // What is no JSON is a dead letter, elsewhere.
        let Ok(payload) = serde_json::from_slice::<Value>(payloads.value(row)) else { return Vec::new() };
        let mut found = BTreeSet::new();
        undeclared(&payload, &self.declared, "", &mut found);
        let new = found
            .into_iter()
            .filter(|path| path.len() <= LONGEST_PATH && !self.met.contains(path))
            .take(MOST - self.met.len());
        let new: Vec<String> = new.collect();
        self.met.extend(new.iter().cloned());
        new
    }
}

/// Whether contracts declare the field by now.
pub fn is_declared(path: &str, declared: &Fields) -> bool {
    let mut fields = declared;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let Some((_, field)) = fields.find(name.trim_end_matches("[]")) else { return false };
        let mut data_type = field.data_type();
        while let DataType::List(item) = data_type {
            data_type = item.data_type();
        }
        match data_type {
            DataType::Struct(inner) => fields = inner,
            _ => return names.peek().is_none(),
        }
    }
    true
}

fn undeclared(value: &Value, fields: &Fields, path: &str, found: &mut BTreeSet<String>) {
    let Value::Object(members) = value else { return };
    for (name, value) in members {
        match fields.find(name) {
            Some((_, field)) => inside(value, field.data_type(), &format!("{path}{name}"), found),
            None => drop(found.insert(format!("{path}{}", told(name)))),
        }
    }
}

fn inside(value: &Value, data_type: &DataType, path: &str, found: &mut BTreeSet<String>) {
    match (data_type, value) {
        (DataType::Struct(fields), Value::Object(_)) => undeclared(value, fields, &format!("{path}."), found),
        (DataType::List(item), Value::Array(values)) => {
            values.iter().for_each(|value| inside(value, item.data_type(), &format!("{path}[]"), found));
        }
        _ => {}
    }
}

fn told(name: &str) -> &str {
    let is_name = name.len() <= LONGEST_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if is_name { name } else { UNTOLD }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;
    use serde_json::json;

    use super::*;

    fn declared() -> Fields {
        let inner = DataType::Struct(vec![Field::new("code", DataType::Utf8View, true)].into());
        let list = DataType::List(Arc::new(Field::new("element", inner.clone(), true)));
        vec![
            Field::new("id", DataType::Utf8View, true),
            Field::new("type", inner, true),
            Field::new("lines", list, true),
        ]
        .into()
    }

    fn found(payload: Value) -> Vec<String> {
        let mut found = BTreeSet::new();
        undeclared(&payload, &declared(), "", &mut found);
        found.into_iter().collect()
    }

    #[test]
    fn fields_are_told_by_their_path_and_those_inside_them_are_not() {
        let payload = json!({
            "id": 1, "extra": {"more": 1}, "type": {"code": "x", "system": "s"},
            "lines": [{"code": "a"}, {"code": "b", "qty": 1}, null], "type_": null
        });
        assert_eq!(found(payload), ["extra", "lines[].qty", "type.system", "type_"]);
        assert!(found(json!({"id": "x", "type": 7, "lines": "no list"})).is_empty());
        assert!(found(json!([1])).is_empty());
    }

    #[test]
    fn a_name_that_is_data_is_not_told() {
        let payload = json!({"Anna Petrova": 1, "7999": 2, "x".repeat(65): 3, "имя": 4});
        assert_eq!(found(payload), ["…"]);
    }

    #[test]
    fn what_contracts_declare_meanwhile_is_told_apart() {
        for (path, is) in [
            ("id", true),
            ("type.code", true),
            ("lines[].code", true),
            ("lines", true),
            ("extra", false),
            ("lines[].qty", false),
            ("id.x", false),
        ] {
            assert_eq!(is_declared(path, &declared()), is, "{path}");
        }
    }
}

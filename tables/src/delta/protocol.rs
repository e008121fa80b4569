//! Versions and features of the Delta protocol: what a table is raised to, and what delta-rs is asked about it.

use std::collections::BTreeSet;

use deltalake_core::kernel::transaction::{PROTOCOL, TransactionError};
use deltalake_core::kernel::{Action, Protocol};
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::table::state::DeltaTableState;
use serde_json::{Value, json};

/// Files call columns otherwise than the schema.
pub(super) const COLUMN_MAPPING: &str = "columnMapping";
/// Files may hold narrower types than the schema.
pub(super) const TYPE_WIDENING: &str = "typeWidening";

/// What the versions before table features stand for, for writers (protocol, *Valid Feature Names in Table Features*).
const LEGACY: [(i64, &str); 7] = [
    (2, "appendOnly"),
    (2, "invariants"),
    (3, "checkConstraints"),
    (4, "changeDataFeed"),
    (4, "generatedColumns"),
    (5, COLUMN_MAPPING),
    (6, "identityColumns"),
];
/// What is demanded of writers and kept here. The tables of this engine have no constraints, no generated columns, no change
/// data, and take deletes.
const KEPT: [&str; 7] = [
    "appendOnly",
    "invariants",
    "checkConstraints",
    "changeDataFeed",
    "generatedColumns",
    COLUMN_MAPPING,
    TYPE_WIDENING,
];
/// The versions from which on features are listed.
const READER_WITH_FEATURES: i64 = 3;
const WRITER_WITH_FEATURES: i64 = 7;

/// A protocol with the features that a table needs by now; none where it has them. No higher than it must be: what only
/// needs column mapping stays readable for those who know no lists of features.
pub(super) fn raised(stored: &Value, needed: &[&str]) -> Option<Value> {
    let version = |key: &str| stored[key].as_i64().unwrap_or(1);
    let (reader, writer) = (version("minReaderVersion"), version("minWriterVersion"));
    let mut reading = listed(stored, "readerFeatures");
    if reader == 2 {
        reading.insert(COLUMN_MAPPING.into());
    }
    let mut writing = listed(stored, "writerFeatures");
    if writer < WRITER_WITH_FEATURES {
        writing.extend(LEGACY.iter().filter(|(since, _)| *since <= writer).map(|(_, feature)| (*feature).to_owned()));
    }
    if needed.iter().all(|feature| reading.contains(*feature) && writing.contains(*feature)) {
        return None;
    }
    if needed == [COLUMN_MAPPING] && writer < WRITER_WITH_FEATURES {
        return Some(json!({"minReaderVersion": 2, "minWriterVersion": writer.max(5)}));
    }
    for feature in needed {
        reading.insert((*feature).to_owned());
        writing.insert((*feature).to_owned());
    }
    Some(json!({
        "minReaderVersion": READER_WITH_FEATURES,
        "minWriterVersion": WRITER_WITH_FEATURES,
        "readerFeatures": reading,
        "writerFeatures": writing,
    }))
}

fn listed(protocol: &Value, key: &str) -> BTreeSet<String> {
    protocol[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether a table may be committed to. delta-rs knows, but refuses all tables with widened types, for its reader cannot
/// read them; the readers here can (`physical.rs`, and DataFusion's Parquet source). Of such a table it is asked about the
/// reader's other features, and the writer's are compared with what is known to be kept here.
pub(super) fn can_commit(
    table: &DeltaTableState,
    actions: &[Action],
    operation: &DeltaOperation,
) -> Result<(), TransactionError> {
    let stored = serde_json::to_value(table.protocol()).unwrap_or_default();
    let writing = listed(&stored, "writerFeatures");
    if !writing.contains(TYPE_WIDENING) {
        return PROTOCOL.can_commit(table, actions, operation);
    }
    PROTOCOL.can_read_from_protocol(&without_widening(stored)?)?;
    let unknown: Vec<&String> = writing.iter().filter(|feature| !KEPT.contains(&feature.as_str())).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(TransactionError::UnsupportedTableFeatures(serde_json::from_value(json!(unknown)).unwrap_or_default()))
}

fn without_widening(mut protocol: Value) -> Result<Protocol, TransactionError> {
    for list in ["readerFeatures", "writerFeatures"] {
        if let Some(features) = protocol[list].as_array_mut() {
            features.retain(|listed| listed.as_str() != Some(TYPE_WIDENING));
        }
    }
    serde_json::from_value(protocol).map_err(|json_err| TransactionError::SerializeLogJson { json_err })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_raised_no_higher_than_it_must_be() {
        let new = json!({"minReaderVersion": 1, "minWriterVersion": 2});
        let mapped = raised(&new, &[COLUMN_MAPPING]).unwrap();
        assert_eq!(mapped, json!({"minReaderVersion": 2, "minWriterVersion": 5}));
        assert_eq!(raised(&mapped, &[COLUMN_MAPPING]), None);
        assert_eq!(raised(&new, &[]), None);
    }

    #[test]
    fn who_lists_features_lists_also_those_that_the_versions_stood_for() {
        let new = json!({"minReaderVersion": 1, "minWriterVersion": 2});
        let widened = raised(&new, &[TYPE_WIDENING]).unwrap();
        assert_eq!(widened["writerFeatures"], json!(["appendOnly", "invariants", "typeWidening"]));
        assert_eq!(widened["readerFeatures"], json!(["typeWidening"]));
        assert_eq!((&widened["minReaderVersion"], &widened["minWriterVersion"]), (&json!(3), &json!(7)));
        assert_eq!(raised(&widened, &[TYPE_WIDENING]), None);

        // Column mapping after it, and before it.
        let then_mapped = raised(&widened, &[COLUMN_MAPPING]).unwrap();
        assert_eq!(then_mapped["readerFeatures"], json!(["columnMapping", "typeWidening"]));
        let mapped = json!({"minReaderVersion": 2, "minWriterVersion": 5});
        let both = raised(&mapped, &[COLUMN_MAPPING, TYPE_WIDENING]).unwrap();
        assert_eq!(both["readerFeatures"], then_mapped["readerFeatures"]);
        let writing = [
            "appendOnly",
            "changeDataFeed",
            "checkConstraints",
            "columnMapping",
            "generatedColumns",
            "invariants",
            "typeWidening",
        ];
        assert_eq!(both["writerFeatures"], json!(writing));
    }
}

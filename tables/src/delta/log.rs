//! What a commit in the log says, read line by line: so that a known state is followed at the cost of what is new, and
//! not of all that is there.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::{TableName, TablesError};

/// What one commit changes.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) added: Vec<Added>,
    pub(crate) removed: BTreeSet<String>,
    /// App ids and versions.
    pub(crate) transactions: BTreeMap<String, i64>,
    /// Whether it says something that is only understood by reading the log anew: another schema, another protocol, a
    /// path that is written in signs of its own.
    pub(crate) wants_reading_anew: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Added {
    pub(crate) path: String,
    pub(crate) size: i64,
    pub(crate) modification_time: i64,
    pub(crate) stats: Option<String>,
    /// Whether the table has other rows by it; without a word it has.
    #[serde(default = "has_other_rows")]
    pub(crate) data_change: bool,
    deletion_vector: Option<IgnoredAny>,
}

fn has_other_rows() -> bool {
    true
}

#[derive(Deserialize)]
struct Removed {
    path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transaction {
    app_id: String,
    version: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    add: Option<Added>,
    remove: Option<Removed>,
    txn: Option<Transaction>,
    meta_data: Option<IgnoredAny>,
    protocol: Option<IgnoredAny>,
}

impl Entry {
    pub(crate) fn parse(table: &TableName, version: u64, bytes: &Bytes) -> Result<Self, TablesError> {
        let mut entry = Self::default();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let line: Line = serde_json::from_slice(line).map_err(|e| TablesError::Schema {
                table: table.clone(),
                message: format!("commit {version} has an action that cannot be read (column {})", e.column()),
            })?;
            let encoded = |path: &str| path.contains('%') || path.contains("://");
            if let Some(add) = line.add {
                entry.wants_reading_anew |= encoded(&add.path) || add.deletion_vector.is_some();
                entry.added.push(add);
            }
            if let Some(remove) = line.remove {
                entry.wants_reading_anew |= encoded(&remove.path);
                entry.removed.insert(remove.path);
            }
            if let Some(txn) = line.txn {
                entry.transactions.insert(txn.app_id, txn.version);
            }
            entry.wants_reading_anew |= line.meta_data.is_some() || line.protocol.is_some();
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Entry, TablesError> {
        Entry::parse(&TableName::curated("sales"), 7, &Bytes::from(text.to_owned()))
    }

    #[test]
    fn a_commit_is_what_it_adds_removes_and_tells() {
        let entry = parse(
            "{\"commitInfo\":{\"operation\":\"WRITE\"}}\n\
             {\"add\":{\"path\":\"_lw_bucket=1/a.parquet\",\"partitionValues\":{},\"size\":9,\"modificationTime\":5,\
             \"dataChange\":true,\"stats\":\"{}\",\"tags\":null}}\n\
             {\"remove\":{\"path\":\"b.parquet\",\"dataChange\":true}}\n{\"txn\":{\"appId\":\"x/0\",\"version\":12}}\n",
        )
        .unwrap();
        assert_eq!(entry.added[0].path, "_lw_bucket=1/a.parquet");
        assert!(entry.removed.contains("b.parquet") && !entry.wants_reading_anew);
        assert_eq!(entry.transactions, BTreeMap::from([("x/0".into(), 12)]));
    }

    #[test]
    fn what_is_not_understood_here_wants_the_whole_log() {
        let add = |path: &str, more: &str| {
            format!("{{\"add\":{{\"path\":\"{path}\",\"size\":1,\"modificationTime\":1,\"stats\":null{more}}}}}")
        };
        for text in [
            "{\"metaData\":{\"id\":\"x\"}}".to_owned(),
            "{\"protocol\":{\"minReaderVersion\":1}}".to_owned(),
            add("a%20b", ""),
            add("s3://elsewhere/a", ""),
            add("a", ",\"deletionVector\":{\"storageType\":\"u\"}"),
        ] {
            assert!(parse(&text).unwrap().wants_reading_anew, "{text}");
        }
        let error = parse("{\"add\":").unwrap_err().to_string();
        assert!(error.contains("commit 7"), "{error}");
    }
}

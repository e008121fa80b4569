//! Positions: the `txn` actions of a Delta log, read at once for all partitions.
//!
//! delta-rs tells one app id at a time and replays the log for each. Here the last checkpoint's `txn` column is read
//! once, and then only the commits that are new.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use deltalake_core::logstore::LogStore;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::change::{Gap, Progress, app_prefix, gap_prefix, source_prefix, topic_prefix};
use super::log::Entry;
use crate::{TableName, TablesError};

/// The latest `txn` version of every app id.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Positions(HashMap<String, i64>);

impl Positions {
    /// Reads the positions as of a version: the newest checkpoint not after it, then the commits since.
    pub(crate) async fn load(table: &TableName, log: &dyn LogStore, version: u64) -> Result<Self, TablesError> {
        let storage = |action: &str, source| TablesError::Storage { action: format!("{action} of {table}"), source };
        let store = log.object_store(None);
        let entries: Vec<_> = store
            .list(Some(&Path::from("_delta_log")))
            .try_collect()
            .await
            .map_err(|e| storage("listing the log", e))?;
        let mut checkpoint: Option<u64> = None;
        let mut parts: Vec<Path> = Vec::new();
        for entry in &entries {
            let Some(of) = entry.location.filename().and_then(checkpoint_version).filter(|of| *of <= version) else {
                continue;
            };
            if checkpoint.is_none_or(|found| found < of) {
                checkpoint = Some(of);
                parts.clear();
            }
            if checkpoint == Some(of) {
                parts.push(entry.location.clone());
            }
        }
        let mut positions = Self::default();
        for part in parts {
            let read = async { store.get(&part).await?.bytes().await };
            let bytes = read.await.map_err(|e| storage("reading a checkpoint", e))?;
            positions.apply_checkpoint(table, bytes)?;
        }
        for version in checkpoint.map_or(0, |c| c + 1)..=version {
            let bytes = log.read_commit_entry(version).await.map_err(|e| delta(table, e))?;
            let bytes = bytes.ok_or_else(|| TablesError::Schema {
                table: table.clone(),
                message: format!("commit {version} is missing from the log, and no checkpoint replaces it"),
            })?;
            positions.apply(Entry::parse(table, version, &bytes)?.transactions);
        }
        Ok(positions)
    }

    /// Takes over the `txn` actions of a commit.
    pub(crate) fn apply(&mut self, transactions: BTreeMap<String, i64>) {
        self.0.extend(transactions);
    }

    /// The version of an app id.
    pub(crate) fn of_app(&self, app_id: &str) -> Option<i64> {
        self.0.get(app_id).copied()
    }

    fn apply_checkpoint(&mut self, table: &TableName, bytes: Bytes) -> Result<(), TablesError> {
        let parquet = |source| TablesError::Parquet { table: table.clone(), source };
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(parquet)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["txn.appId", "txn.version"]);
        for batch in builder.with_projection(mask).build().map_err(parquet)? {
            let batch = batch.map_err(|source| TablesError::Arrow { table: table.clone(), source })?;
            let Some(txn) = batch.column_by_name("txn").and_then(|c| c.as_struct_opt()) else { continue };
            let (Some(ids), Some(versions)) = (txn.column_by_name("appId"), txn.column_by_name("version")) else {
                continue;
            };
            let ids = arrow::compute::cast(ids, &arrow::datatypes::DataType::Utf8)
                .map_err(|source| TablesError::Arrow { table: table.clone(), source })?;
            let (ids, Some(versions)) = (ids.as_string::<i32>(), versions.as_primitive_opt::<Int64Type>()) else {
                continue;
            };
            for row in 0..ids.len() {
                if txn.is_valid(row) && ids.is_valid(row) && versions.is_valid(row) {
                    self.0.insert(ids.value(row).to_string(), versions.value(row));
                }
            }
        }
        Ok(())
    }

    /// The next offset of each partition of a topic.
    pub(crate) fn of_topic(&self, table: &TableName, source: &str, topic: &str) -> BTreeMap<i32, i64> {
        let prefix = app_prefix(table, source, topic);
        let partition = |id: &str| id.strip_prefix(&prefix)?.parse::<i32>().ok();
        self.0.iter().filter_map(|(id, next)| Some((partition(id)?, *next))).collect()
    }

    /// The next offset of the first partition of each topic of a source.
    pub(crate) fn of_source(&self, table: &TableName, source: &str) -> BTreeMap<String, i64> {
        let prefix = source_prefix(table, source);
        let topic = |id: &str| Some(id.strip_prefix(&prefix)?.strip_suffix("/0")?.to_owned());
        self.0.iter().filter_map(|(id, next)| Some((topic(id)?, *next))).collect()
    }

    /// The app ids that begin so, with their versions.
    pub(crate) fn of_apps(&self, prefix: &str) -> BTreeMap<String, i64> {
        let some = self.0.iter().filter(|(id, _)| id.starts_with(prefix));
        some.map(|(id, version)| (id.clone(), *version)).collect()
    }

    /// The sources from which anything of a topic came.
    pub(crate) fn sources(&self, table: &TableName, topic: &str) -> BTreeSet<String> {
        let source = |id: &str| -> Option<String> {
            let (before, _partition) = id.strip_prefix(&format!("lakeward/{table}/"))?.rsplit_once('/')?;
            Some(before.strip_suffix(topic)?.strip_suffix('/')?.to_owned())
        };
        self.0.keys().filter_map(|id| source(id)).collect()
    }

    /// The ids of the topics whose offsets the positions of this name are: one, or none where nobody has told.
    pub(crate) fn topic_ids(&self, table: &TableName, source: &str, topic: &str) -> BTreeSet<String> {
        let prefix = topic_prefix(table, source, topic);
        self.0.keys().filter_map(|id| Some(id.strip_prefix(&prefix)?.to_owned())).collect()
    }

    /// Where events of a topic are missing, by partition and offset.
    pub(crate) fn gaps(&self, table: &TableName, source: &str, topic: &str) -> BTreeSet<Gap> {
        let prefix = gap_prefix(table, source, topic);
        let gap = |id: &str, next: i64| {
            let (partition, from) = id.strip_prefix(&prefix)?.split_once('/')?;
            Some(Gap { partition: partition.parse().ok()?, from: from.parse().ok()?, next })
        };
        self.0.iter().filter_map(|(id, next)| gap(id, *next)).collect()
    }

    /// Refuses unless every partition stands where the writer believes, or is not known at all.
    pub(crate) fn check(&self, table: &TableName, progress: &[Progress]) -> Result<(), TablesError> {
        for step in progress {
            let current = self.0.get(&step.app_id(table)).copied();
            if current.is_some_and(|current| current != step.from) || step.next < step.from {
                return Err(TablesError::NotAtPosition {
                    table: table.clone(),
                    topic: step.topic.clone(),
                    partition: step.partition,
                    expected: step.from,
                    current,
                });
            }
        }
        Ok(())
    }
}

/// The version of `00000000000000000010.checkpoint.parquet`, or of one part of a checkpoint in parts.
fn checkpoint_version(file: &str) -> Option<u64> {
    let (version, rest) = file.split_once('.')?;
    let whole = version.len() == 20 && rest.starts_with("checkpoint.") && rest.ends_with(".parquet");
    if whole { version.parse().ok() } else { None }
}

pub(super) fn delta(table: &TableName, source: deltalake_core::DeltaTableError) -> TablesError {
    TablesError::Delta { table: table.clone(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(partition: i32, from: i64, next: i64) -> Progress {
        Progress { source: "main".into(), topic: "clinic.patient".into(), partition, from, next }
    }

    #[test]
    fn the_latest_txn_of_each_partition_counts_and_others_are_left_alone() {
        let table = TableName::raw("clinic_patient");
        let mut positions = Positions::default();
        let commit = |partition, version| {
            let id = step(partition, 0, 0).app_id(&table);
            format!(
                "{{\"commitInfo\":{{}}}}\n{{\"txn\":{{\"appId\":\"{id}\",\"version\":{version},\"lastUpdated\":1}}}}"
            )
        };
        for (version, (partition, next)) in [(0, 5), (1, 7), (0, 9)].into_iter().enumerate() {
            positions
                .apply(Entry::parse(&table, version as u64, &commit(partition, next).into()).unwrap().transactions);
        }
        positions.apply(BTreeMap::from([("lakeward/maintenance".into(), 3)]));
        assert_eq!(positions.of_app("lakeward/maintenance"), Some(3));
        assert_eq!(positions.of_topic(&table, "main", "clinic.patient"), BTreeMap::from([(0, 9), (1, 7)]));
        assert!(positions.of_topic(&table, "other", "clinic.patient").is_empty());

        assert!(positions.check(&table, &[step(0, 9, 12), step(2, 100, 101)]).is_ok());
        for wrong in [step(0, 5, 12), step(1, 8, 12), step(0, 9, 8)] {
            assert!(positions.check(&table, &[wrong]).unwrap_err().is_fenced());
        }
    }

    #[test]
    fn only_checkpoints_are_taken_for_checkpoints() {
        assert_eq!(checkpoint_version("00000000000000000010.checkpoint.parquet"), Some(10));
        assert_eq!(checkpoint_version("00000000000000000010.checkpoint.0000000001.0000000002.parquet"), Some(10));
        assert_eq!(checkpoint_version("00000000000000000010.json"), None);
        assert_eq!(checkpoint_version("_last_checkpoint"), None);
    }
}

//! What a writer asks of a table in one commit.

use arrow::record_batch::RecordBatch;

use crate::TableName;

/// How far one partition gets by a commit: from the offset where the table stood to the next one it will lack.
///
/// Written as the Delta `txn` action with app id `lakeward/<table>/<source>/<topic>/<partition>` and version `next`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Configured name of the Kafka cluster.
    pub source: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Where the table stands according to the writer. The commit is refused unless it is true, or the table has
    /// nothing of this partition yet.
    pub from: i64,
    /// The next offset after this commit; not below `from`.
    pub next: i64,
}

impl Progress {
    /// The app id of the `txn` action.
    pub(crate) fn app_id(&self, table: &TableName) -> String {
        format!("{}{}", app_prefix(table, &self.source, &self.topic), self.partition)
    }
}

/// What the app ids of one topic's partitions have in common.
pub(crate) fn app_prefix(table: &TableName, source: &str, topic: &str) -> String {
    format!("lakeward/{table}/{source}/{topic}/")
}

/// Rows and positions that become visible together, or not at all.
///
/// Batches name their columns; the order does not matter. The columns of the contract must all be there with their
/// exact types. Of the engine's columns, an append takes `_lw_version`, `_lw_time`, `_lw_epoch` and `_lw_offset` where
/// given (in curated tables), an upsert demands `_lw_version`, `_lw_time`, `_lw_offset` and `_lw_deleted`.
#[derive(Debug, Clone)]
pub enum Change {
    /// Adds the rows.
    Append {
        /// The rows; none, to commit positions alone.
        rows: Vec<RecordBatch>,
        /// The partitions they came from.
        progress: Vec<Progress>,
    },
    /// Replaces the row of each key if the given one is newer by (version, time, epoch, offset).
    Upsert {
        /// The rows, and markers (`_lw_deleted` TRUE) of which only the key must be filled.
        rows: Vec<RecordBatch>,
        /// Names of the key's columns.
        key: Vec<String>,
        /// The partitions they came from.
        progress: Vec<Progress>,
    },
}

impl Change {
    pub(crate) fn progress(&self) -> &[Progress] {
        match self {
            Self::Append { progress, .. } | Self::Upsert { progress, .. } => progress,
        }
    }
}

/// A commit that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The table's version with this commit.
    pub version: i64,
    /// Rows in the files written: for an upsert those of whole rewritten buckets.
    pub rows: u64,
    /// Files written.
    pub files: usize,
    /// Their size in bytes.
    pub bytes: u64,
}

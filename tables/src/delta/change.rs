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

/// What the app ids of one source have in common.
pub(crate) fn source_prefix(table: &TableName, source: &str) -> String {
    format!("lakeward/{table}/{source}/")
}

/// What the app ids of one topic's partitions have in common.
pub(crate) fn app_prefix(table: &TableName, source: &str, topic: &str) -> String {
    format!("{}{topic}/", source_prefix(table, source))
}

/// As [`app_prefix`], of what tells where events are missing: `<partition>/<first lost offset>`, with the first offset
/// that is left as version.
pub(crate) fn gap_prefix(table: &TableName, source: &str, topic: &str) -> String {
    format!("lakeward-gap/{table}/{source}/{topic}/")
}

/// As [`app_prefix`], of what tells which topic it is: the id that the brokers gave it.
pub(crate) fn topic_prefix(table: &TableName, source: &str, topic: &str) -> String {
    format!("lakeward-topic/{table}/{source}/{topic}/")
}

/// Offsets of one partition that Kafka no longer had when they were due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// The partition.
    pub partition: i32,
    /// The first lost offset.
    pub from: i64,
    /// The first offset that was left.
    pub next: i64,
}

/// Rows and positions that become visible together, or not at all.
///
/// Batches name their columns; the order does not matter. The columns of the contract must all be there with their
/// exact types. Of the engine's columns, an append takes `_lw_version`, `_lw_time`, `_lw_epoch` and `_lw_offset` where
/// given (in curated tables), as does [`Change::Correct`] besides `_lw_corrected` and `_lw_deleted`; an upsert demands `_lw_version`, `_lw_time`, `_lw_offset` and `_lw_deleted`.
#[derive(Debug, Clone)]
pub enum Change {
    /// Adds the rows.
    Append {
        /// The rows; none, to commit positions alone.
        rows: Vec<RecordBatch>,
        /// The partitions they came from.
        progress: Vec<Progress>,
    },
    /// No rows: events that Kafka no longer had when they were due. The position passes them, and in the same commit the
    /// log remembers from which offset to which, see [`crate::Lake::gaps`].
    Gap {
        /// What is lost: from the first lost offset to the first that is left.
        lost: Progress,
    },
    /// No rows and no position: which topic it is whose offsets the positions are, see [`crate::Lake::bind_topic`].
    Bind {
        /// Configured name of the Kafka cluster.
        source: String,
        /// The topic.
        topic: String,
        /// The id that the brokers gave it.
        id: String,
    },
    /// For a `corrected` table: adds the rows; those that are corrections (`_lw_corrected` TRUE), and those whose key was
    /// corrected before, take the place of all rows of older events of their key, if they are newer.
    Correct {
        /// The rows, and markers (`_lw_deleted` and `_lw_corrected` TRUE) of which only the event's key must be filled.
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
            Self::Append { progress, .. } | Self::Correct { progress, .. } | Self::Upsert { progress, .. } => progress,
            Self::Gap { lost } => std::slice::from_ref(lost),
            Self::Bind { .. } => &[],
        }
    }

    /// App ids and versions of the `txn` actions that the commit carries.
    pub(crate) fn transactions(&self, table: &TableName) -> Vec<(String, i64)> {
        let mut transactions: Vec<_> = self.progress().iter().map(|step| (step.app_id(table), step.next)).collect();
        match self {
            Self::Append { .. } | Self::Correct { .. } | Self::Upsert { .. } => {}
            Self::Gap { lost } => {
                let prefix = gap_prefix(table, &lost.source, &lost.topic);
                transactions.push((format!("{prefix}{}/{}", lost.partition, lost.from), lost.next));
            }
            Self::Bind { source, topic, id } => transactions.push((topic_prefix(table, source, topic) + id, 1)),
        }
        transactions
    }
}

/// A commit that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The table's version with this commit.
    pub version: i64,
    /// Rows in the files written: after a merge also those that stood beside what was replaced.
    pub rows: u64,
    /// Files written.
    pub files: usize,
    /// Their size in bytes.
    pub bytes: u64,
    /// How often it was tried: once, and once more for each race that was lost.
    pub attempts: usize,
}

//! What a replay of dead letters needs of tables: commits that happen once, rows that leave a table, and a note of what is
//! under way.
//!
//! The note is an object beside the tables, put only where there is none: one replay of a topic is under way at a time, and
//! whoever finds the note of one that was interrupted knows exactly which dead letters it had begun with.

use std::collections::BTreeSet;

use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};

use crate::{Change, Committed, Lake, TableName, TablesError};

/// Dead letters of one partition that pass, and are being brought into their tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Underway {
    /// Greater than that of every replay of the topic before.
    pub number: i64,
    /// Configured name of the Kafka cluster.
    pub source: String,
    /// The partition.
    pub partition: i32,
    /// Where the dead letters stand.
    pub offsets: BTreeSet<i64>,
}

/// What is committed to a table at most once: an app id, and a version that only rises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Once {
    pub(crate) app_id: String,
    pub(crate) version: i64,
}

/// What the app ids of a table's replays have in common.
pub(crate) fn replays(table: &TableName) -> String {
    format!("lakeward-replay/{table}/")
}

fn once(table: &TableName, topic: &str, number: i64) -> Once {
    Once { app_id: format!("{}{topic}", replays(table)), version: number }
}

impl Lake {
    /// The replay of a topic that is under way, or was interrupted.
    pub async fn replay_underway(&self, topic: &str) -> Result<Option<Underway>, TablesError> {
        let failed = |source| storage("reading what is under way of", topic, source);
        let read = async { self.beside_tables().get(&place(topic)).await?.bytes().await };
        match read.await {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| TablesError::Schema {
                table: TableName::of_topic(topic).dead_letter(),
                message: format!("the note of a replay cannot be read (column {})", error.column()),
            }),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// Begins a replay; false where one is under way already.
    pub async fn begin_replay(&self, topic: &str, underway: &Underway) -> Result<bool, TablesError> {
        let failed = |source| storage("beginning", topic, source);
        let bytes = serde_json::to_vec(underway).unwrap_or_default();
        let only_new = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.beside_tables().put_opts(&place(topic), PutPayload::from(bytes), only_new).await {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
            Err(source) => Err(failed(source)),
        }
    }

    /// Forgets the replay, which is over.
    pub async fn end_replay(&self, topic: &str) -> Result<(), TablesError> {
        match self.beside_tables().delete(&place(topic)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(storage("ending", topic, source)),
        }
    }

    /// Whether a table has what a replay brings.
    pub async fn has_replayed(&self, table: &TableName, topic: &str, number: i64) -> Result<bool, TablesError> {
        self.table(table)?.has(&once(table, topic, number)).await
    }

    /// Commits the rows that a replay brings, without a position; none where the table has them.
    pub async fn commit_replayed(
        &self,
        table: &TableName,
        topic: &str,
        number: i64,
        change: Change,
    ) -> Result<Option<Committed>, TablesError> {
        self.table(table)?.commit_once(change, Some(&once(table, topic, number))).await
    }

    /// Takes the dead letters of a replay out of their table, in one commit; none where they are gone.
    pub async fn remove_replayed(
        &self,
        table: &TableName,
        topic: &str,
        underway: &Underway,
    ) -> Result<Option<u64>, TablesError> {
        let wanted = |source: &str, of: &str, partition: i32, offset: i64| {
            (source, of, partition) == (&underway.source, topic, underway.partition)
                && underway.offsets.contains(&offset)
        };
        self.table(table)?.remove_messages(&once(table, topic, underway.number), &wanted).await
    }
}

fn place(topic: &str) -> Path {
    Path::from_iter(["_lakeward", "replay"]).join(format!("{topic}.json"))
}

fn storage(action: &str, topic: &str, source: Error) -> TablesError {
    TablesError::Storage { action: format!("{action} the replay of {topic}"), source }
}

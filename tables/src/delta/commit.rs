//! Committing a change: rows and positions together, or nothing.
//!
//! Every attempt starts from the newest version, checks the positions there, and may only become the very next version.
//! Whoever else commits in between makes the attempt fail, and the next one checks again. delta-rs' own retries are
//! off, for they do not compare positions. After an error the log tells whether the commit has landed all the same:
//! each one carries an id.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;

use arrow::record_batch::RecordBatch;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Remove, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use futures::future::try_join_all;

use super::change::{Change, Committed};
use super::merge::{by_bucket, newest, to_physical};
use super::parquet_file::{self, WrittenFile};
use super::position::delta;
use super::snapshot::State;
use super::table::Table;
use crate::{BUCKET_COLUMN, TablesError};

/// Lost races after which the caller is told.
const ATTEMPTS: usize = 16;
/// A checkpoint is made once for so many commits.
const CHECKPOINT_EVERY: u64 = 64;
/// Key of the commit's id in its `commitInfo`.
const ID: &str = "lakewardCommit";

/// Files of one attempt, kept for the next one where they still hold.
#[derive(Default)]
struct Prepared {
    /// Of an append.
    appended: Option<Vec<WrittenFile>>,
    /// Of an upsert: bucket to the paths that the rewriting read, and the file it wrote.
    rewritten: BTreeMap<i32, (BTreeSet<String>, Option<WrittenFile>)>,
}

impl Table {
    pub(crate) async fn commit(&self, change: Change) -> Result<Committed, TablesError> {
        let rows = self.physical_rows(&change)?;
        let _one_writer = self.writing.lock().await;
        let id = uuid::Uuid::new_v4().to_string();
        let mut prepared = Prepared::default();
        for _ in 0..ATTEMPTS {
            let state = self.state().await?;
            state.positions.check(&self.layout.name, change.progress())?;
            let (files, removes) = self.prepare(&change, &rows, &state, &mut prepared).await?;
            let version = match self.attempt(&change, &id, &state, &files, removes).await {
                Ok(version) => Some(version),
                Err(error) => match self.landed(&id, state.version).await {
                    Ok(Some(version)) => Some(version),
                    Ok(None) if lost_race(&error) => None,
                    // Where the log cannot be read it stays unknown: the caller reads the positions when it can.
                    _ => return Err(delta(&self.layout.name, error)),
                },
            };
            if let Some(version) = version {
                self.checkpoint_in_background(version);
                return Ok(Committed {
                    version: version as i64,
                    rows: files.iter().map(|file| file.rows).sum(),
                    files: files.len(),
                    bytes: files.iter().map(|file| file.bytes).sum(),
                });
            }
        }
        Err(TablesError::Conflict { table: self.layout.name.clone(), attempts: ATTEMPTS })
    }

    fn physical_rows(&self, change: &Change) -> Result<Vec<RecordBatch>, TablesError> {
        let wrong = |message: &str| TablesError::Schema { table: self.layout.name.clone(), message: message.into() };
        let rows = match (change, &self.layout.key) {
            (Change::Gap { .. } | Change::Bind { .. }, _) => return Ok(Vec::new()),
            (Change::Append { rows, .. }, None) => rows,
            (Change::Upsert { rows, key, .. }, Some(of_table)) if key == of_table => rows,
            (Change::Upsert { .. }, Some(_)) => {
                return Err(wrong("the key of the upsert is not the table's primary key"));
            }
            (Change::Upsert { .. }, None) => return Err(wrong("is not an upsert table")),
            (Change::Append { rows, .. }, Some(_)) if rows.iter().all(|batch| batch.num_rows() == 0) => rows,
            (Change::Append { .. }, Some(_)) => return Err(wrong("is an upsert table and takes no appends")),
        };
        rows.iter().filter(|batch| batch.num_rows() > 0).map(|batch| to_physical(&self.layout, batch)).collect()
    }

    async fn prepare(
        &self,
        change: &Change,
        rows: &[RecordBatch],
        state: &State,
        prepared: &mut Prepared,
    ) -> Result<(Vec<WrittenFile>, Vec<Remove>), TablesError> {
        if rows.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        match change {
            Change::Append { .. } => {
                if prepared.appended.is_none() {
                    let file = parquet_file::write(&self.layout, &self.files, None, rows.to_vec()).await?;
                    prepared.appended = Some(vec![file]);
                }
                Ok((prepared.appended.clone().unwrap_or_default(), Vec::new()))
            }
            Change::Upsert { key, .. } => self.rewrite(key, rows, state, prepared).await,
            Change::Gap { .. } | Change::Bind { .. } => Ok((Vec::new(), Vec::new())),
        }
    }

    /// Copy-on-write of the buckets that the rows fall into.
    async fn rewrite(
        &self,
        key: &[String],
        rows: &[RecordBatch],
        state: &State,
        prepared: &mut Prepared,
    ) -> Result<(Vec<WrittenFile>, Vec<Remove>), TablesError> {
        let split = by_bucket(&self.layout, key, state.buckets, rows)?;
        let removes: Vec<Remove> = state
            .files
            .iter()
            .filter(|file| file.bucket.is_none_or(|bucket| split.contains_key(&bucket)))
            .map(|file| Remove {
                path: file.path.clone(),
                data_change: true,
                deletion_timestamp: Some(chrono::Utc::now().timestamp_millis()),
                extended_file_metadata: Some(true),
                partition_values: Some(
                    file.bucket.map(|b| (BUCKET_COLUMN.to_string(), Some(b.to_string()))).into_iter().collect(),
                ),
                size: Some(file.meta.size as i64),
                ..Remove::default()
            })
            .collect();
        let mut tasks = Vec::new();
        for (bucket, given) in split {
            let old: BTreeSet<String> =
                state.files.iter().filter(|file| file.bucket == Some(bucket)).map(|file| file.path.clone()).collect();
            if prepared.rewritten.get(&bucket).is_some_and(|(read, _)| *read == old) {
                continue;
            }
            tasks.push(async move {
                let file = self.rewrite_bucket(key, bucket, &old, given).await?;
                Ok::<_, TablesError>((bucket, (old, file)))
            });
        }
        prepared.rewritten.extend(try_join_all(tasks).await?);
        let files = prepared.rewritten.values().filter_map(|(_, file)| file.clone()).collect();
        Ok((files, removes))
    }

    async fn rewrite_bucket(
        &self,
        key: &[String],
        bucket: i32,
        old: &BTreeSet<String>,
        given: Vec<RecordBatch>,
    ) -> Result<Option<WrittenFile>, TablesError> {
        let mut batches = Vec::new();
        for path in old {
            let path = object_store::path::Path::from(path.as_str());
            for batch in parquet_file::read(&self.layout, &self.files, &path).await? {
                batches.push(to_physical(&self.layout, &batch)?);
            }
        }
        batches.extend(given);
        let (layout, key) = (self.layout.clone(), key.to_vec());
        let rows = tokio::task::spawn_blocking(move || newest(&layout, &key, &batches)).await??;
        if rows.is_empty() {
            return Ok(None);
        }
        parquet_file::write(&self.layout, &self.files, Some(bucket), rows).await.map(Some)
    }

    /// Tries to become the version after the state's.
    async fn attempt(
        &self,
        change: &Change,
        id: &str,
        state: &State,
        files: &[WrittenFile],
        removes: Vec<Remove>,
    ) -> Result<u64, DeltaTableError> {
        let now = chrono::Utc::now().timestamp_millis();
        let transactions = change
            .transactions(&self.layout.name)
            .into_iter()
            .map(|(app_id, version)| Transaction::new_with_last_update(app_id, version, Some(now)))
            .collect();
        let mut actions: Vec<Action> = removes.into_iter().map(Action::Remove).collect();
        actions.extend(files.iter().map(WrittenFile::action));
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: self.layout.key.as_ref().map(|_| self.layout.partition_columns()),
            predicate: None,
        };
        // Checkpoints and clean-up would make the commit wait for them.
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false))
            .with_application_transactions(transactions);
        let prepared = CommitBuilder::from(properties)
            .with_app_metadata(HashMap::from([(ID.to_string(), id.into())]))
            .with_actions(actions)
            .build(Some(&state.delta), self.log.clone(), operation)
            .into_prepared_commit_future()
            .await?;
        Ok(prepared.await?.version)
    }

    /// The version after `since` that carries the id, if there is one.
    async fn landed(&self, id: &str, since: u64) -> Result<Option<u64>, DeltaTableError> {
        let mut version = since + 1;
        while let Some(bytes) = self.log.read_commit_entry(version).await? {
            if bytes.windows(id.len()).any(|window| window == id.as_bytes()) {
                return Ok(Some(version));
            }
            version += 1;
        }
        Ok(None)
    }

    /// So that a log stays quick to read. One at a time; what fails here is made good by the next.
    fn checkpoint_in_background(&self, version: u64) {
        if !version.is_multiple_of(CHECKPOINT_EVERY) || self.checkpointing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (log, name, running) = (self.log.clone(), self.layout.name.clone(), self.checkpointing.clone());
        tokio::spawn(async move {
            let mut table = DeltaTable::new(log);
            let made = match table.load_version(version).await {
                Ok(()) => deltalake_core::checkpoints::create_checkpoint(&table, None).await,
                Err(error) => Err(error),
            };
            if let Err(error) = made {
                tracing::warn!(table = %name, version, %error, "checkpoint failed");
            }
            running.store(false, Ordering::Release);
        });
    }
}

/// Whether another commit took the version.
pub(super) fn lost_race(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction {
                source: TransactionError::VersionAlreadyExists(_)
                    | TransactionError::MaxCommitAttempts(_)
                    | TransactionError::CommitConflict(_)
            }
    )
}

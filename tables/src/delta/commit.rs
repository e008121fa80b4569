//! Committing a change: rows and positions together, or nothing.
//!
//! Every attempt starts from the newest version, checks the positions there, and may only become the very next version.
//! Whoever else commits in between makes the attempt fail, and the next one checks again, with what the last one has read
//! and written as far as it still holds. delta-rs' own retries are no part of it, for they do not compare positions. After
//! an error the log tells whether the commit has landed all the same: each one carries an id.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitData, TransactionError};
use deltalake_core::kernel::{Action, Remove, Transaction};
use deltalake_core::logstore::CommitOrBytes;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use tokio::runtime::Handle;

use super::change::{Change, Committed};
use super::deduplicate::Deduplicate;
use super::filter::KeyFilter;
use super::merge::{Merge, Outcome};
use super::parquet_file::{self, WrittenFile};
use super::physical::to_physical;
use super::position::delta;
use super::protocol::can_commit;
use super::scan::Scan;
use super::snapshot::{DataFile, Source, State};
use super::table::Table;
use crate::TablesError;
use crate::replay::Once;

/// Lost races after which the caller is told.
pub(super) const ATTEMPTS: usize = 16;
/// Races lost in a row after which one steps back for a moment, so that the slower one comes through as well.
const PATIENT: usize = 4;
/// Races that an exchange of files may lose: each try costs little, and what was written for it much.
const EXCHANGES: usize = 200;
/// Key of the commit's id in its `commitInfo`.
const ID: &str = "lakewardCommit";
/// App id of the `txn` that maintenance commits carry; its version is the epoch of the lease.
pub(crate) const MAINTENANCE: &str = "lakeward/maintenance";

/// What is to be written, and what earlier attempts have made of it.
enum Work {
    Nothing,
    Append { rows: Vec<RecordBatch>, written: Option<Box<WrittenFile>> },
    Merge(Box<Merge>),
    Deduplicate(Box<Deduplicate>),
}

/// Files that take the place of others, with the same rows.
pub(crate) struct Exchange {
    /// Epoch of the lease under which it was made.
    pub(crate) epoch: i64,
    pub(crate) inputs: Vec<Arc<DataFile>>,
    pub(crate) outputs: Vec<WrittenFile>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchanged {
    /// It is this version.
    At(u64),
    /// Somebody removed one of the inputs meanwhile, or left no room between commits: it must be made again.
    Stale,
    /// Somebody else holds the lease by now.
    Fenced,
}

impl Table {
    /// Rows as the bytes of a file that nobody writes.
    pub(crate) fn encoded(&self, rows: &[RecordBatch]) -> Result<Bytes, TablesError> {
        let rows = rows.iter().map(|batch| to_physical(&self.layout, batch)).collect::<Result<Vec<_>, _>>()?;
        parquet_file::encode(&self.layout, &rows)
    }

    pub(crate) async fn commit(&self, change: Change) -> Result<Committed, TablesError> {
        let committed = self.commit_once(change, None).await?;
        // Only what is to happen once may have happened.
        committed.ok_or_else(|| TablesError::Conflict { table: self.layout.name.clone(), attempts: 0 })
    }

    /// The same for what may happen once: none where it has.
    pub(crate) async fn commit_once(
        &self,
        change: Change,
        once: Option<&Once>,
    ) -> Result<Option<Committed>, TablesError> {
        let mut work = self.work(&change)?;
        let _one_writer = self.writing.lock().await;
        let id = uuid::Uuid::new_v4().to_string();
        let mut keys = self.keys.lock().await;
        for attempt in 0..ATTEMPTS {
            let state = self.state().await?;
            if once.is_some_and(|once| state.positions.of_app(&once.app_id).is_some_and(|at| at >= once.version)) {
                return Ok(None);
            }
            state.positions.check(&self.layout.name, change.progress())?;
            let (made, outcome) = self.prepare(work, &state, &mut keys).await?;
            work = made;
            let actions = self.actions(&outcome.removed, &outcome.files, true);
            let operation = DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: Some(self.layout.partition_columns()).filter(|columns| !columns.is_empty()),
                predicate: None,
            };
            let mut transactions = change.transactions(&self.layout.name);
            transactions.extend(once.map(|once| (once.app_id.clone(), once.version)));
            if let Some(version) = self.attempt(&id, &state, actions, transactions, operation).await? {
                self.remember(&work, &outcome, &state, &mut keys);
                let files = &outcome.files;
                return Ok(Some(Committed {
                    version: version as i64,
                    rows: files.iter().map(|file| file.rows).sum(),
                    files: files.len(),
                    bytes: files.iter().map(|file| file.bytes).sum(),
                    attempts: attempt + 1,
                }));
            }
            if attempt >= PATIENT {
                let id = u64::from(id.as_bytes()[0]);
                tokio::time::sleep(Duration::from_millis(5 + id % 16 * attempt as u64)).await;
            }
        }
        Err(TablesError::Conflict { table: self.layout.name.clone(), attempts: ATTEMPTS })
    }

    fn work(&self, change: &Change) -> Result<Work, TablesError> {
        let wrong = |message: &str| TablesError::Schema { table: self.layout.name.clone(), message: message.into() };
        let given = match (change, &self.layout.key) {
            (Change::Gap { .. } | Change::Bind { .. }, _) => return Ok(Work::Nothing),
            (Change::Append { rows, .. }, None) => rows,
            (Change::Upsert { rows, key, .. }, Some(of_table)) if key == of_table && self.layout.upsert => rows,
            (Change::Upsert { .. }, Some(_)) if self.layout.upsert => {
                return Err(wrong("the key of the upsert is not the table's primary key"));
            }
            (Change::Upsert { .. }, _) => return Err(wrong("is not an upsert table")),
            (Change::Correct { rows, .. }, Some(_)) if !self.layout.upsert => rows,
            (Change::Correct { .. }, _) => return Err(wrong("is not a corrected table")),
            (Change::Append { rows, .. }, Some(_)) if rows.iter().all(|batch| batch.num_rows() == 0) => rows,
            (Change::Append { .. }, Some(_)) if self.layout.upsert => {
                return Err(wrong("is an upsert table and takes no appends"));
            }
            (Change::Append { .. }, Some(_)) => return Err(wrong("is a corrected table and takes no appends")),
        };
        let filled = given.iter().filter(|batch| batch.num_rows() > 0);
        let rows: Vec<RecordBatch> = filled.map(|batch| to_physical(&self.layout, batch)).collect::<Result<_, _>>()?;
        if rows.is_empty() {
            return Ok(Work::Nothing);
        }
        Ok(match (&self.layout.key, &self.layout.deduplication) {
            (Some(_), _) => Work::Merge(Box::new(Merge::new(&self.layout, &self.files, &rows)?)),
            (None, Some(of)) => Work::Deduplicate(Box::new(Deduplicate::new(&self.layout, &self.files, of, &rows)?)),
            (None, None) => Work::Append { rows, written: None },
        })
    }

    /// Writes what fits on this state.
    async fn prepare(
        &self,
        work: Work,
        state: &Arc<State>,
        keys: &mut KeyFilter,
    ) -> Result<(Work, Outcome), TablesError> {
        match work {
            Work::Nothing => Ok((Work::Nothing, Outcome::default())),
            Work::Append { rows, written } => {
                let file = match written {
                    Some(file) => file,
                    None => Box::new(parquet_file::write(&self.layout, &self.files, rows.clone()).await?),
                };
                let outcome = Outcome { files: vec![file.as_ref().clone()], ..Outcome::default() };
                Ok((Work::Append { rows, written: Some(file) }, outcome))
            }
            Work::Deduplicate(mut rows) => {
                let outcome = rows.prepare(state, keys, &self.scans).await?;
                Ok((Work::Deduplicate(rows), outcome))
            }
            Work::Merge(mut merge) => {
                self.follow_corrections(state, keys).await?;
                merge.choose(keys, state.buckets)?;
                if merge.only_appends() {
                    let outcome = merge.append().await?;
                    return Ok((Work::Merge(merge), outcome));
                }
                // It decodes and encodes: not on a thread that others wait for.
                let (state, scans, runtime) = (state.clone(), self.scans.clone(), Handle::current());
                let prepared = tokio::task::spawn_blocking(move || {
                    let outcome = runtime.block_on(merge.prepare(&state, &scans));
                    outcome.map(|outcome| (Work::Merge(merge), outcome))
                });
                prepared.await?
            }
        }
    }

    /// Brings what other processes corrected, and what was corrected before this one began, into the filter.
    async fn follow_corrections(&self, state: &State, keys: &mut KeyFilter) -> Result<(), TablesError> {
        let Some(key) = self.layout.key.as_ref().filter(|_| !self.layout.upsert) else { return Ok(()) };
        let scan = Scan { layout: &self.layout, store: &self.files, cache: &self.scans, key };
        for file in state.files.iter().filter(|file| file.corrected > 0) {
            if keys.has(&file.path) {
                continue;
            }
            // A compaction brings no key that is not known from its inputs; to read a large file for it would take long.
            let is_known = |source: &Source| {
                let before = &source.before;
                keys.has(&source.path) || !before.is_empty() && before.iter().all(|path| keys.has(path))
            };
            let hashes = match !file.made_of.is_empty() && file.made_of.iter().all(is_known) {
                true => Vec::new(),
                false => scan.keys_of(file, true).await?,
            };
            keys.absorb(&file.path, hashes);
        }
        Ok(())
    }

    /// Takes what was committed into what is known of the keys.
    fn remember(&self, work: &Work, outcome: &Outcome, state: &State, keys: &mut KeyFilter) {
        let paths = outcome.files.iter().map(|file| file.add.path.as_str());
        match work {
            Work::Merge(_) if self.layout.upsert => {}
            Work::Merge(merge) => {
                // What the other rows of these files have, the files had that they come from: it is known already.
                paths.for_each(|path| keys.absorb(path, outcome.corrected.iter().copied()));
                if let ([file], true) = (outcome.files.as_slice(), merge.only_appends())
                    && let Some(hashes) = merge.appended_hashes()
                {
                    self.scans.put(&file.add.path, hashes);
                }
            }
            Work::Deduplicate(rows) => paths.for_each(|path| keys.absorb(path, rows.hashes())),
            Work::Nothing | Work::Append { .. } => {}
        }
        keys.forget_files(&state.files, outcome.files.len());
    }

    /// Puts files in the place of others that have the same rows, unless they are not all there any more, or somebody else
    /// has taken over the lease. Both are checked on the version before the one that it becomes.
    pub(crate) async fn exchange(&self, exchange: &Exchange) -> Result<Exchanged, TablesError> {
        let _one_writer = self.writing.lock().await;
        let id = uuid::Uuid::new_v4().to_string();
        for _ in 0..EXCHANGES {
            let state = self.state().await?;
            if state.positions.of_app(MAINTENANCE).is_some_and(|epoch| epoch > exchange.epoch) {
                return Ok(Exchanged::Fenced);
            }
            let there: std::collections::HashSet<&str> = state.files.iter().map(|file| file.path.as_str()).collect();
            if !exchange.inputs.iter().all(|file| there.contains(file.path.as_str())) {
                return Ok(Exchanged::Stale);
            }
            let actions = self.actions(&exchange.inputs, &exchange.outputs, false);
            let operation = DeltaOperation::Optimize { predicate: None, target_size: 0 };
            let transactions = vec![(MAINTENANCE.to_owned(), exchange.epoch)];
            if let Some(version) = self.attempt(&id, &state, actions, transactions, operation).await? {
                return Ok(Exchanged::At(version));
            }
        }
        // Others commit so fast that there is no coming in between: it is tried again with what is there then.
        Ok(Exchanged::Stale)
    }

    /// `data_change` is whether the rows of the table are others afterwards.
    pub(super) fn actions(&self, removed: &[Arc<DataFile>], added: &[WrittenFile], data_change: bool) -> Vec<Action> {
        let now = chrono::Utc::now().timestamp_millis();
        let remove = |file: &Arc<DataFile>| {
            Action::Remove(Remove {
                path: file.path.clone(),
                data_change,
                deletion_timestamp: Some(now),
                extended_file_metadata: Some(true),
                partition_values: Some(self.layout.partition_values(file.bucket)),
                size: Some(file.meta.size as i64),
                ..Remove::default()
            })
        };
        let mut actions: Vec<Action> = removed.iter().map(remove).collect();
        actions.extend(added.iter().map(|file| {
            let mut add = file.add.clone();
            add.data_change = data_change;
            Action::Add(add)
        }));
        actions
    }

    /// Tries to become the version after the state's; none where somebody else did.
    pub(super) async fn attempt(
        &self,
        id: &str,
        state: &State,
        actions: Vec<Action>,
        transactions: Vec<(String, i64)>,
        operation: DeltaOperation,
    ) -> Result<Option<u64>, TablesError> {
        let name = &self.layout.name;
        let now = chrono::Utc::now().timestamp_millis();
        let transactions = transactions
            .into_iter()
            .map(|(app_id, version)| Transaction::new_with_last_update(app_id, version, Some(now)))
            .collect();
        let refused = |source: TransactionError| delta(name, DeltaTableError::from(source));
        can_commit(&state.delta, &actions, &operation).map_err(refused)?;
        let metadata = HashMap::from([(ID.to_string(), id.into())]);
        let bytes = CommitData::new(actions, operation, metadata, transactions).get_bytes().map_err(refused)?;
        let version = state.version + 1;
        let put = self.log.write_commit_entry(version, CommitOrBytes::LogBytes(bytes.clone()), uuid::Uuid::new_v4());
        let landed = match put.await {
            Ok(()) => Some(version),
            Err(error) => match self.landed(id, state.version).await {
                Ok(Some(version)) => Some(version),
                Ok(None) if matches!(error, TransactionError::VersionAlreadyExists(_)) => None,
                // Where the log cannot be read it stays unknown: the caller reads the positions when it can.
                _ => return Err(refused(error)),
            },
        };
        if let Some(version) = landed {
            self.committed(state, version, &bytes)?;
        }
        Ok(landed)
    }

    /// The version after `since` that carries the id, if there is one.
    async fn landed(&self, id: &str, since: u64) -> Result<Option<u64>, DeltaTableError> {
        let mut version = since + 1;
        while let Some(bytes) = self.log.read_commit_entry(version).await? {
            if carries(&bytes, id) {
                return Ok(Some(version));
            }
            version += 1;
        }
        Ok(None)
    }
}

fn carries(bytes: &Bytes, id: &str) -> bool {
    bytes.windows(id.len()).any(|window| window == id.as_bytes())
}

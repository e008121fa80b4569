//! Tables that stay healthy: small files become larger ones, the log gets checkpoints and loses what is old, and files that
//! nothing refers to are deleted.
//!
//! A *pass* looks at every table once and does what is due. Whoever works on a table holds its *lease*, whose number, the
//! *epoch*, stands in the log with each compaction: a holder that was paused and wakes up finds a greater one there, or its
//! inputs gone, and changes nothing. Ingest never waits for the lease, and a merge always wins over a compaction: what it
//! removed makes the compaction fail, which is then made again.

mod compact;
mod lease;
mod log;
mod plan;
mod vacuum;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::delta::Table;
use crate::delta::commit::{Exchange, Exchanged};
use crate::{Lake, TableName, TablesError};
use lease::Leases;

/// The log is never cut shorter: who follows it looks at least this often.
pub const LEAST_LOG_RETENTION: Duration = Duration::from_secs(3_600);
/// Files are never deleted sooner: a commit that is being made may still add them, and a statement may still read them.
pub const LEAST_FILE_RETENTION: Duration = Duration::from_secs(3_600);
/// Files are not kept longer after they left a table: for so long the log remembers when they did.
pub const MOST_FILE_RETENTION: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Commits without a checkpoint that are too many.
const CHECKPOINT_EVERY: u64 = 100;
/// By how much files of a table are smaller whose rows are replaced.
const SMALLER_WITH_KEY: u64 = 4;
/// Compactions of one table in one pass.
const MOST_COMPACTIONS: usize = 32;

/// What maintenance goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintenanceConfig {
    /// Compaction makes no file that is much larger, in bytes; a quarter of it in tables whose rows are replaced.
    pub target_file_size: u64,
    /// How long a commit stays in the log, and the table can be read as of it.
    pub log_retention: Duration,
    /// How long a file stays after it left the table.
    pub file_retention: Duration,
    /// How often files are looked for that nothing refers to.
    pub vacuum_every: Duration,
    /// For how long others leave a table to a holder that gives no sign of life.
    pub lease: Duration,
}

impl Default for MaintenanceConfig {
    fn default() -> Self {
        Self {
            target_file_size: 128 << 20,
            log_retention: Duration::from_secs(30 * 24 * 3_600),
            file_retention: MOST_FILE_RETENTION,
            vacuum_every: Duration::from_secs(3_600),
            lease: Duration::from_secs(60),
        }
    }
}

/// What one pass did to one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Whether something was due.
    pub due: bool,
    /// Whether this process holds the lease afterwards.
    pub holds_lease: bool,
    /// Compactions that were committed.
    pub compactions: u64,
    /// Compactions that were thrown away, for a merge or another holder was first.
    pub overtaken: u64,
    /// Files that were read by them.
    pub files_in: u64,
    /// Files that took their place.
    pub files_out: u64,
    /// Bytes that were read.
    pub bytes_in: u64,
    /// Bytes that were written.
    pub bytes_out: u64,
    /// Checkpoints that were made.
    pub checkpoints: u64,
    /// Files of the log that were deleted.
    pub log_files_deleted: u64,
    /// Data files that were deleted.
    pub files_deleted: u64,
}

/// This machine's clock, and what it would say had it not been set since.
#[derive(Debug)]
struct Clock {
    begun: Instant,
    said: i64,
}

impl Clock {
    fn new() -> Self {
        Self { begun: Instant::now(), said: chrono::Utc::now().timestamp_millis() }
    }

    /// In milliseconds since 1970.
    fn earliest(&self) -> i64 {
        let passed = i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        chrono::Utc::now().timestamp_millis().min(self.said.saturating_add(passed))
    }
}

/// Maintains the tables of a lake.
#[derive(Debug)]
pub struct Maintenance {
    lake: Lake,
    config: MaintenanceConfig,
    leases: Leases,
    clock: Clock,
    known: Mutex<BTreeMap<TableName, Known>>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    /// The newest version that a checkpoint was made of.
    checkpoint: Option<u64>,
    vacuumed: Option<Instant>,
}

impl Maintenance {
    /// For one process; another one in the same lake takes turns with it, table by table.
    pub fn new(lake: Lake, config: MaintenanceConfig) -> Self {
        let leases = Leases::new(config.lease);
        Self { lake, config, leases, clock: Clock::new(), known: Mutex::default() }
    }

    /// Does what is due for one table. Tables that do not exist in storage yet are left alone.
    pub async fn pass(&self, table: &TableName) -> Result<Maintained, TablesError> {
        let of = self.lake.maintained(table)?;
        let mut done = Maintained::default();
        if !of.exists().await? {
            return Ok(done);
        }
        let known = self.known.lock().get(table).cloned().unwrap_or_default();
        let state = of.state().await?;
        let checkpoint = match known.checkpoint {
            Some(version) => Some(version),
            None => log::newest_checkpoint(of).await?,
        };
        let wants_checkpoint = state.version >= checkpoint.map_or(0, |version| version + 1) + CHECKPOINT_EVERY - 1;
        let wants_vacuum = known.vacuumed.is_none_or(|at| at.elapsed() >= self.config.vacuum_every);
        done.due = wants_checkpoint || wants_vacuum || !self.plan(of, &state).is_empty();
        drop(state);
        if !done.due {
            done.holds_lease = self.leases.held(table);
            return Ok(done);
        }
        let Some(epoch) = self.leases.hold(of).await? else { return Ok(done) };
        done.holds_lease = true;
        self.compact(of, epoch, &mut done).await?;
        let mut known = Known { checkpoint, ..known };
        if wants_checkpoint && self.leases.hold(of).await? == Some(epoch) {
            known.checkpoint = Some(log::checkpoint(of).await?);
            done.checkpoints += 1;
            let now = self.now(of, epoch).await?;
            done.log_files_deleted += log::clean_up(of, self.config.log_retention, now).await?;
        }
        if wants_vacuum && self.leases.hold(of).await? == Some(epoch) {
            let now = self.now(of, epoch).await?;
            done.files_deleted += vacuum::vacuum(of, self.config.file_retention, now).await?;
            known.vacuumed = Some(Instant::now());
        }
        self.known.lock().insert(table.clone(), known);
        Ok(done)
    }

    /// What time it is, in milliseconds since 1970, for whoever deletes what is old: the earliest of all that may be. A clock
    /// that is wrong, or jumps, must not make old what a commit is about to add.
    async fn now(&self, table: &Table, epoch: i64) -> Result<i64, TablesError> {
        Ok(self.clock.earliest().min(self.leases.last_written(table, epoch).await?))
    }

    /// Gives the leases back, so that another process need not wait for their end.
    pub async fn release(&self) {
        for table in self.leases.tables() {
            if let Ok(of) = self.lake.maintained(&table) {
                self.leases.release(of).await;
            }
        }
    }

    fn plan(&self, table: &Table, state: &crate::delta::snapshot::State) -> Vec<plan::Compaction> {
        plan::plan(&state.files, self.target(table), table.has_key())
    }

    /// A merge writes a whole file anew for one row: where rows are replaced, files stay smaller.
    fn target(&self, table: &Table) -> u64 {
        if table.has_key() { self.config.target_file_size / SMALLER_WITH_KEY } else { self.config.target_file_size }
    }

    async fn compact(&self, table: &Table, epoch: i64, done: &mut Maintained) -> Result<(), TablesError> {
        for _ in 0..MOST_COMPACTIONS {
            if self.leases.hold(table).await? != Some(epoch) {
                done.holds_lease = false;
                return Ok(());
            }
            let state = table.state().await?;
            let Some(task) = self.plan(table, &state).into_iter().next() else { return Ok(()) };
            let now = self.now(table, epoch).await?;
            let outputs = table.compacted(&task, self.target(table), state.buckets, now).await?;
            let exchange = Exchange { epoch, inputs: task.inputs, outputs };
            match table.exchange(&exchange).await? {
                Exchanged::At(_) => {
                    done.compactions += 1;
                    done.files_in += exchange.inputs.len() as u64;
                    done.files_out += exchange.outputs.len() as u64;
                    done.bytes_in += exchange.inputs.iter().map(|file| file.meta.size).sum::<u64>();
                    done.bytes_out += exchange.outputs.iter().map(|file| file.bytes).sum::<u64>();
                }
                Exchanged::Stale => done.overtaken += 1,
                Exchanged::Fenced => {
                    done.overtaken += 1;
                    done.holds_lease = false;
                    self.leases.lost(table);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// The files of a compaction that has read its inputs: what a holder has in hand when it is paused.
pub(crate) type Inputs = Vec<Arc<crate::delta::snapshot::DataFile>>;

#[cfg(test)]
mod tests;

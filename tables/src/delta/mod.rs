//! Delta tables: snapshots to read and commits to write.
//!
//! Every commit is made here, as delta-rs' `CommitData`, and never by its write operations: a commit carries the data files
//! and the `txn` actions of the partitions they came from, or the `txn` actions alone. The log is read whole once, by
//! delta-rs; after that it is followed here, commit by commit.

mod change;
pub(crate) mod commit;
mod create;
mod deduplicate;
mod evolve;
mod filter;
pub(crate) mod keys;
pub(crate) mod layout;
mod log;
#[cfg(test)]
mod lost_answer;
mod merge;
pub(crate) mod parquet_file;
pub(crate) mod physical;
mod position;
mod protocol;
mod provider;
mod remove;
mod replace;
mod scan;
pub(crate) mod snapshot;
mod statistics;
pub(crate) mod stored_file;
mod table;

pub use change::{Change, Committed, Gap, Progress};
pub use layout::{reading_schema, reading_type};
pub use snapshot::Snapshot;

pub(crate) use table::Table;

/// How the folders begin in which tables are made again, below the table's own.
pub(crate) const REBUILT: &str = "rebuilt-";

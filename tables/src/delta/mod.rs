//! Delta tables: snapshots to read and commits to write.
//!
//! Every commit is made here, over delta-rs' `CommitBuilder`, and never by its write operations: a commit carries the
//! data files and the `txn` actions of the partitions they came from, or the `txn` actions alone.

mod change;
mod commit;
mod create;
mod evolve;
pub(crate) mod layout;
mod merge;
mod parquet_file;
mod position;
mod provider;
mod snapshot;
mod statistics;
mod table;

pub use change::{Change, Committed, Gap, Progress};
pub use layout::{reading_schema, reading_type};
pub use snapshot::Snapshot;

pub(crate) use table::Table;

//! Contracts and Delta tables: what the lakehouse is declared to be, and the only way to its storage.
//!
//! - [`Lakehouse`] is the folder `sql/` as read and checked: topics, curated tables, reference data, queries.
//! - [`Lake`] is the set of Delta tables of one store: [`Snapshot`]s for readers, [`Change`]s for writers.
//! - A *position* is the next offset of one Kafka partition that a table still lacks. It stands in the Delta log as a
//!   `txn` action, committed together with the rows it speaks of ([`Progress`]).
//! - A *marker* is the row that a delete leaves in a table with a key, so that a late older event does not bring the row back.
//!
//! Columns whose name begins with `_lw_` belong to the engine; no contract may declare one and no reader is given one.

mod audit;
mod contract;
mod delta;
mod error;
mod lake;
pub mod maintenance;
mod name;
mod problem;
mod rebuild;
mod replay;
mod storage;
mod undeclared;
mod walk;

pub use audit::{Folded, Journal, Put};
pub use contract::{
    AUDIT_SCHEMA, Column, Deduplication, Expression, GovernedTable, Lakehouse, Mode, PayloadFormat, PayloadSchema,
    QualityRule, Reading, SourceSelect, TableContract, TextFormat, Tombstone, TopicContract, Unread, alerts_schema,
    dead_letter_schema, events_schema, raw_schema,
};
pub use delta::{Change, Committed, Gap, Progress, Snapshot, reading_schema, reading_type};
pub use error::TablesError;
pub use lake::Lake;
pub use name::TableName;
pub use problem::Problem;
pub use rebuild::{Rebuild, Standing};
pub use replay::Underway;
pub use storage::{Secret, StorageConfig, StorageUrl};
pub use undeclared::Undeclared;
pub use walk::{RawWalk, RawWindow};

/// Prefix of the columns that the engine keeps for itself in curated tables.
pub const ENGINE_PREFIX: &str = "_lw_";
/// The source's own version of a row's event (`BIGINT`), NULL where the contract declares none.
pub const VERSION_COLUMN: &str = "_lw_version";
/// Kafka's timestamp of a row's event, in microseconds since 1970 (`BIGINT`).
pub const TIME_COLUMN: &str = "_lw_time";
/// The epoch of the source, which grows when a topic is recreated (`BIGINT`); absent means 0.
pub const EPOCH_COLUMN: &str = "_lw_epoch";
/// The offset of a row's event (`BIGINT`).
pub const OFFSET_COLUMN: &str = "_lw_offset";
/// TRUE in a marker, NULL in a live row (`BOOLEAN`); writers may also give FALSE for a live row.
pub const DELETED_COLUMN: &str = "_lw_deleted";
/// TRUE in rows whose key was corrected: an event of such a key that comes later is compared with them (`BOOLEAN`, in
/// `corrected` tables).
pub const CORRECTED_COLUMN: &str = "_lw_corrected";
/// The hash of an event's key, modulo the table's number of buckets: partition column of upsert tables, and the folder of a
/// file that has one bucket alone.
pub const BUCKET_COLUMN: &str = "_lw_bucket";

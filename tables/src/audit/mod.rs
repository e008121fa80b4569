//! Where the audit is written: small segments first, then the table `audit.events`.
//!
//! - a *record* is one line of JSON with the columns of [`crate::events_schema`]; what it means is no business of this crate;
//! - a *segment* is an object `audit/segments/<writer>/<number>` with some records, put only where there is none: it is the
//!   first place where a record is durable, and costs one request;
//! - a *writer* numbers its segments from 0 without a gap, and is one start of one process;
//! - to *fold* is to bring segments into the table, and to delete them afterwards. A commit carries, besides the rows, how far
//!   each writer's segments are in the table: whoever folds the same ones at the same time is refused.

mod fold;
mod journal;

pub use fold::Folded;
pub use journal::{Journal, Put};

//! The folder `sql/` as declared: data contracts (Open Data Contract Standard v3), curated SELECTs, reference data and
//! queries. [`Lakehouse::load`] reads and checks all of it and tells every problem at once, each with its file and line.

mod audit;
mod check;
mod curated;
mod document;
mod events;
mod lakehouse;
mod raw;
mod reference;
mod schema;
mod text_format;
mod types;
mod yaml;

pub use audit::{AUDIT_SCHEMA, alerts_schema, events_schema};
pub use curated::{Mode, QualityRule, SourceSelect, TableContract, Tombstone};
pub use events::Deduplication;
pub use lakehouse::{Lakehouse, Reading, Unread};
pub use raw::{PayloadFormat, PayloadSchema, TopicContract, dead_letter_schema, raw_schema};
pub use schema::{Column, Expression, GovernedTable};
pub use text_format::TextFormat;

#[cfg(test)]
pub(crate) use types::timestamp;

//! A table as one principal sees it.
//!
//! The way from a contract and a decision to rows:
//!
//! 1. [`View`]: for each column and permitted scope, the level and the mask. It needs no storage; the schema of the
//!    governed table and the list of visible tables come from it.
//! 2. [`Predicates`]: the SQL of scopes and of `readAs` columns, parsed when the service starts.
//! 3. [`Rows`]: predicates planned for one statement over the newest snapshots of the tables they look into.
//! 4. [`plan`]: scan, marks, `readAs`, row filter and masks as one logical plan below the barrier.
//! 5. [`GovernedProvider`]: the table that the statement's catalog holds.

mod attribute;
mod declared;
mod plan;
mod predicate;
mod provider;
mod rows;
mod snapshots;
mod view;

pub use declared::check;
pub(crate) use predicate::Predicates;
pub use predicate::attributes_of;
pub(crate) use provider::GovernedProvider;
pub(crate) use rows::Rows;
pub use snapshots::{TableSnapshot, TableSnapshots};
pub(crate) use view::{Shown, View, ViewColumn};

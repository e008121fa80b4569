//! The one way from SQL to rows.
//!
//! Every protocol hands its statement to [`QueryService`], together with a [`RequestContext`]: who is asking, for
//! which purpose, and until when. The words used throughout:
//!
//! - a *governed table* is a table as one principal sees it: rows of the permitted scopes, columns at their levels;
//! - a *scope* is a predicate over the rows of a table, named by the contract and permitted by policy;
//! - a *mark* is one boolean per row which says whether a value stands in a look-up into another table;
//! - a *level* says how a cell is shown: clear, generalised, pseudonym or hidden;
//! - a *witness* is told whose rows leave a barrier, for the audit;
//! - the *barrier* is the plan node between the governed rows and whatever the statement does with them;
//! - the *gate* decides which statements and which plan nodes may exist at all.
//!
//! No statement reaches a table except below a barrier: the verifier looks at the final physical plan and refuses it
//! otherwise.

mod access;
mod answer;
mod audit;
mod barrier;
mod catalog;
mod error;
mod explain;
pub mod flight;
mod gate;
pub mod gateway;
mod governed;
mod holes;
pub mod http;
mod keys;
mod ledger;
mod levels;
mod masks;
mod metrics;
mod request;
mod service;
mod session;
#[cfg(test)]
mod tests;
mod translate;
mod verifier;
mod witness;
mod workers;

pub use access::{
    Access, AccessAnswer, AccessAttribute, AccessCell, AccessColumn, AccessPolicy, AccessRole, AccessRules,
    AccessScope, TableAccess,
};
pub use answer::{Answer, AnswerStream};
pub use audit::{
    Accesses, Alert, AlertRules, Audit, AuditConfig, AuditKey, AuditMetrics, AuditUnavailable, AuditedAccess,
    AuditedColumn, AuditedSubjects, AuditedTable, Finding, Head, JournalAudit, Kind, Outcome, Record, Subjects,
    Verified, verify,
};
pub use error::{ErrorCode, Position, QueryError, RefusedKind};
pub use governed::{TableSnapshot, TableSnapshots, attributes_of, check};
pub use keys::{KeyError, PseudonymKeys};
pub use masks::{MaskProblem, Masks};
pub use metrics::QueryMetrics;
pub use request::{ColumnLevel, Prepared, QueryConfig, RequestContext, VisibleColumn, VisibleTable};
pub use service::QueryService;

//! Who asked what, kept without any value, before the answer leaves.
//!
//! - a *record* ([`Record`]) tells of one moment: a statement is about to give rows, has ended, was planned, or tables were
//!   listed. It has the statement without its literals, and never a cell;
//! - it is *kept* when it is durable. Nothing of an answer leaves before its record is kept, and when records cannot be kept
//!   nothing is answered;
//! - a *subject* is the person a row is about. Records hold keyed digests of them ([`AuditKey`]);
//! - the *chain* of a writer: each of its records has a digest of itself and of the one before, so that what is removed,
//!   changed, moved or put in shows ([`verify`]).

mod accesses;
mod alerts;
mod key;
mod metrics;
mod record;
mod statement;
mod stored;
mod verify;
mod writer;

use async_trait::async_trait;

pub use accesses::{Accesses, AuditedAccess, Subjects};
pub use alerts::{Alert, AlertRules};
pub use key::AuditKey;
pub use metrics::AuditMetrics;
pub use record::{AuditedColumn, AuditedSubjects, AuditedTable, Kind, Record};
pub(crate) use statement::without_literals;
pub use verify::{Finding, Head, Verified, verify};
pub use writer::{AuditConfig, JournalAudit};

/// How a statement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All rows were sent.
    Complete,
    /// The row limit cut the answer off.
    Truncated,
    /// The client went away.
    Cancelled,
    /// It failed, with the error's code.
    Failed(crate::ErrorCode),
}

impl Outcome {
    /// The stable name of the outcome.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Truncated => "truncated",
            Self::Cancelled => "cancelled",
            Self::Failed(code) => code.as_str(),
        }
    }
}

/// Records cannot be kept: why stands in the log of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit cannot be written")]
pub struct AuditUnavailable;

/// Where records are kept.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Keeps a record; it is durable when this returns without an error.
    async fn keep(&self, record: Record) -> Result<(), AuditUnavailable>;

    /// Keeps a record as soon as it can, for one who has gone: nothing more is answered to them.
    fn keep_later(&self, record: Record);

    /// The key of digests.
    fn key(&self) -> &AuditKey;
}

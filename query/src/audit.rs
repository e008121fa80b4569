//! Who asked what, kept without any value.
//!
//! An [`AuditEvent`] names the statement by digest only: its text may hold a literal such as a patient's name.

use tracing::info;

use crate::ColumnLevel;

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

/// A column that a statement could read, and how it was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedColumn {
    /// Name of the column.
    pub name: String,
    /// How its cells were shown.
    pub level: ColumnLevel,
}

/// A table that a statement read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedTable {
    /// `curated.patients`.
    pub name: String,
    /// Version of its snapshot.
    pub version: i64,
    /// Digest of the policy under which it was read.
    pub policy: String,
    /// The columns that were read.
    pub columns: Vec<AuditedColumn>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// The request's number.
    pub request_id: String,
    /// Who asked.
    pub principal: String,
    /// For which purpose.
    pub purpose: String,
    /// By which protocol.
    pub protocol: &'static str,
    /// SHA-256 of the statement's text, in hexadecimal.
    pub statement: String,
    /// The tables it read.
    pub tables: Vec<AuditedTable>,
    /// Rows that were sent.
    pub rows: u64,
    /// How long it took.
    pub milliseconds: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Where audit events go.
pub trait Audit: Send + Sync {
    /// Takes one event; called once for each statement, when it has ended.
    fn record(&self, event: &AuditEvent);
}

/// Audit as structured log lines, target `lakeward::audit`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingAudit;

impl Audit for TracingAudit {
    fn record(&self, event: &AuditEvent) {
        let tables: Vec<String> = event
            .tables
            .iter()
            .map(|table| {
                let columns: Vec<String> =
                    table.columns.iter().map(|column| format!("{}:{}", column.name, column.level.as_str())).collect();
                format!("{}@{}({})", table.name, table.version, columns.join(","))
            })
            .collect();
        info!(
            target: "lakeward::audit",
            request_id = event.request_id,
            principal = event.principal,
            purpose = event.purpose,
            protocol = event.protocol,
            statement = event.statement,
            tables = tables.join(" "),
            rows = event.rows,
            milliseconds = event.milliseconds,
            outcome = event.outcome.as_str(),
            "statement"
        );
    }
}

//! What can go wrong with a statement, told without any value of the data.
//!
//! A [`QueryError`] is what a client gets: a code, a sentence and, for a syntax error, a position. The sentence may
//! repeat names which the statement itself contains (a column, a function); it never contains a cell, a literal or the
//! text of an error that was raised while rows were evaluated.

use std::fmt;

use serde::Serialize;

/// Why a statement is not of the kind that may run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedKind {
    /// CREATE, ALTER, DROP, TRUNCATE, GRANT, REVOKE and the like.
    Ddl,
    /// INSERT, UPDATE, DELETE, MERGE.
    Dml,
    /// COPY, in either direction.
    Copy,
    /// SET and RESET: a session has no settings of its own.
    Set,
    /// BEGIN, COMMIT, ROLLBACK.
    Transaction,
    /// More than one statement in one request.
    MultipleStatements,
    /// CREATE EXTERNAL TABLE and tables that are named by a file or an address.
    ExternalTable,
    /// A function or a table function that reaches outside of the data.
    Function,
    /// EXPLAIN ANALYZE, EXPLAIN VERBOSE and EXPLAIN with options.
    Explain,
    /// PREPARE, EXECUTE, DEALLOCATE in the text: protocols prepare statements.
    Prepare,
    /// Whatever else is not a question.
    Statement,
}

impl RefusedKind {
    /// The stable name of the kind, as protocols show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ddl => "ddl",
            Self::Dml => "dml",
            Self::Copy => "copy",
            Self::Set => "set",
            Self::Transaction => "transaction",
            Self::MultipleStatements => "multiple_statements",
            Self::ExternalTable => "external_table",
            Self::Function => "function",
            Self::Explain => "explain",
            Self::Prepare => "prepare",
            Self::Statement => "statement",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Ddl => "statements that define or change objects are not allowed",
            Self::Dml => "statements that change rows are not allowed",
            Self::Copy => "COPY is not allowed",
            Self::Set => "SET and RESET are not allowed",
            Self::Transaction => "transactions are not supported: every statement reads by itself",
            Self::MultipleStatements => "a request holds exactly one statement",
            Self::ExternalTable => "external tables and files are not allowed",
            Self::Function => "this function is not allowed",
            Self::Explain => "EXPLAIN takes a query and no options",
            Self::Prepare => "statements are prepared by the protocol, not by SQL text",
            Self::Statement => "only queries, EXPLAIN, SHOW TABLES, SHOW COLUMNS and DESCRIBE are allowed",
        }
    }
}

/// What kind of failure it is; protocols map it to their own status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// No valid credentials.
    Unauthenticated,
    /// Who is asking may not do this at all (for example: no such purpose for them).
    Forbidden,
    /// The statement or its parameters do not make sense: unknown column, wrong types.
    InvalidRequest,
    /// The text is not SQL; has a position where the parser tells one.
    Syntax,
    /// A table that does not exist, or that this principal may not see: the two are one.
    NotFound,
    /// A statement that is never run here, by kind.
    Refused(RefusedKind),
    /// A value could not be computed: division by zero, a failed cast, an overflow.
    Evaluation,
    /// The statement took longer than it may.
    TimeLimit,
    /// The statement needed more memory than it may.
    ResourceLimit,
    /// A part that is needed is away; trying again later helps.
    Unavailable,
    /// What was asked cannot be recorded, so that nothing is answered; trying again later helps.
    AuditUnavailable,
    /// A defect of the server.
    Internal,
}

impl ErrorCode {
    /// The stable name of the code, as protocols show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::InvalidRequest => "invalid_request",
            Self::Syntax => "syntax",
            Self::NotFound => "not_found",
            Self::Refused(_) => "refused",
            Self::Evaluation => "evaluation",
            Self::TimeLimit => "time_limit",
            Self::ResourceLimit => "resource_limit",
            Self::Unavailable => "unavailable",
            Self::AuditUnavailable => "audit_unavailable",
            Self::Internal => "internal",
        }
    }
}

/// A place in the text of a statement; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Line of the statement.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// The kind of failure.
    pub code: ErrorCode,
    /// One sentence, without any value.
    pub message: String,
    /// Where in the statement, if known.
    pub position: Option<Position>,
}

impl QueryError {
    /// An error of the given kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), position: None }
    }

    /// A statement that is never run here.
    pub fn refused(kind: RefusedKind) -> Self {
        Self::new(ErrorCode::Refused(kind), kind.sentence())
    }

    /// The one sentence for a table that is unknown and for a table that may not be seen.
    pub fn unknown_table(name: impl fmt::Display) -> Self {
        Self::new(ErrorCode::NotFound, format!("table {name} does not exist"))
    }

    /// A defect of the server; the cause goes to the log by its caller, never to the client.
    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, "the statement failed inside the server")
    }

    /// What was asked cannot be recorded.
    pub fn audit_unavailable() -> Self {
        let sentence = "the audit cannot be written, and without its record nothing is answered; try again later";
        Self::new(ErrorCode::AuditUnavailable, sentence)
    }

    /// The statement took longer than it may.
    pub fn time_limit() -> Self {
        Self::new(ErrorCode::TimeLimit, "the statement took longer than its time limit")
    }

    /// The same error, with a position.
    pub fn at(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }
}

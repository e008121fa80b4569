//! What goes into the service and what it tells about tables.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use lakeward_iam::{Level, Principal};
use serde::Serialize;

/// Limits and settings of the service; the same for every statement.
#[derive(Debug, Clone)]
pub struct QueryConfig {
    /// How old a snapshot may be when a statement starts.
    pub freshness: Duration,
    /// Rows an answer has at most; what is beyond is cut off and the answer says so.
    pub row_limit: usize,
    /// How long a statement may take, from its start to its last row.
    pub time_limit: Duration,
    /// Memory of all statements of this process together, in bytes.
    pub memory_limit: usize,
    /// Parallelism of one statement.
    pub target_partitions: usize,
    /// A fixed "now" for tests and the demo; the clock otherwise.
    pub now: Option<DateTime<Utc>>,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            freshness: Duration::from_secs(1),
            row_limit: 100_000,
            time_limit: Duration::from_secs(60),
            memory_limit: 1 << 30,
            target_partitions: std::thread::available_parallelism().map_or(2, usize::from),
            now: None,
        }
    }
}

/// Who is asking, under which number, and until when.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Who is asking, for which purpose, with which roles.
    pub principal: Principal,
    /// The request's number in logs and audit.
    pub request_id: String,
    /// The last moment at which an answer is still wanted; the configured time limit holds as well.
    pub deadline: Instant,
    /// The protocol by which the statement came: `http`, `flight`.
    pub protocol: &'static str,
    /// The address that it came from, as far as it is known.
    pub peer: Option<String>,
    /// The grant under which it is asked, where there is one.
    pub grant_id: Option<String>,
    /// Fewer rows than the configured limit, if the client wants fewer.
    pub row_limit: Option<usize>,
}

/// A statement that was planned but not run.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Columns of the answer; field metadata `lakeward.level`.
    pub schema: SchemaRef,
    /// One field for each parameter, named `$1`, `$2`, … in order; type Null where it is not known.
    pub parameters: SchemaRef,
}

/// How the cells of a column are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnLevel {
    /// True values.
    Clear,
    /// Made coarser.
    Generalised,
    /// Replaced by a keyed pseudonym.
    Pseudonym,
    /// NULL.
    Hidden,
    /// Differs from row to row.
    Varies,
}

impl ColumnLevel {
    /// Key of the Arrow field metadata that carries the level.
    pub const METADATA_KEY: &'static str = "lakeward.level";

    /// The stable name of the level.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Generalised => "generalised",
            Self::Pseudonym => "pseudonym",
            Self::Hidden => "hidden",
            Self::Varies => "varies",
        }
    }
}

impl From<Level> for ColumnLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Clear => Self::Clear,
            Level::Generalised => Self::Generalised,
            Level::Pseudonym => Self::Pseudonym,
            Level::Hidden => Self::Hidden,
        }
    }
}

/// A table that a principal may read.
#[derive(Debug, Clone, PartialEq)]
pub struct VisibleTable {
    /// `curated` or `raw`.
    pub schema: String,
    /// Name within the schema.
    pub name: String,
    /// From the contract.
    pub description: String,
    /// Every column, at its level.
    pub columns: Vec<VisibleColumn>,
    /// Names of the key's columns: a statement about the true rows, not a promise about the governed ones.
    pub primary_key: Vec<String>,
}

/// A column of a visible table.
#[derive(Debug, Clone, PartialEq)]
pub struct VisibleColumn {
    /// Name of the column.
    pub name: String,
    /// Type, the same for everyone.
    pub data_type: DataType,
    /// Always true: a cell may be hidden.
    pub nullable: bool,
    /// How its cells are shown.
    pub level: ColumnLevel,
    /// From the contract.
    pub description: String,
}

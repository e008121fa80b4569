//! The one error of this crate: whose fault it is and whether trying again helps.

use crate::TableName;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::TransactionError;

/// Why a table could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The storage did not answer, or refused the access.
    #[error("storage: {action}: {source}")]
    Storage {
        /// What was attempted, in words.
        action: String,
        /// The store's own error.
        source: object_store::Error,
    },
    /// The storage can be reached but must not be used; the text says why.
    #[error("{0}")]
    UnfitStorage(String),
    /// The configuration names a storage that cannot be.
    #[error("storage configuration: {0}")]
    Configuration(String),
    /// The table stands elsewhere than the writer believes: somebody else writes this partition, or an earlier commit
    /// whose answer was lost has landed. Read the positions again before deciding.
    #[error(
        "{table}: partition {partition} of {topic} stands at {current:?}, not at {expected}; another writer may own it"
    )]
    NotAtPosition {
        /// The table.
        table: TableName,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where the writer wanted to continue.
        expected: i64,
        /// The next offset according to the table; none when it has nothing of the partition.
        current: Option<i64>,
    },
    /// Others committed first, as often as this writer tried.
    #[error("{table}: other writers committed first {attempts} times in a row")]
    Conflict {
        /// The table.
        table: TableName,
        /// How often this writer tried.
        attempts: usize,
    },
    /// No contract declares this table.
    #[error("no contract declares {0}")]
    UnknownTable(TableName),
    /// Rows that do not have the columns of the table, or a table in storage that does not have those of its contract.
    #[error("{table}: {message}")]
    Schema {
        /// The table.
        table: TableName,
        /// What differs, without any value.
        message: String,
    },
    /// The Delta log could not be read or written.
    #[error("{table}: delta log: {source}")]
    Delta {
        /// The table.
        table: TableName,
        /// delta-rs' error.
        source: Box<DeltaTableError>,
    },
    /// Arrow refused a computation.
    #[error("{table}: {source}")]
    Arrow {
        /// The table.
        table: TableName,
        /// Arrow's error.
        source: arrow::error::ArrowError,
    },
    /// A Parquet file could not be written or read.
    #[error("{table}: {source}")]
    Parquet {
        /// The table.
        table: TableName,
        /// Parquet's error.
        source: parquet::errors::ParquetError,
    },
    /// A query of the engine's own over a table failed.
    #[error("{table}: {source}")]
    Query {
        /// The table.
        table: TableName,
        /// DataFusion's error.
        source: Box<datafusion::error::DataFusionError>,
    },
    /// A task of this process was cancelled or ended badly.
    #[error("a task of this process ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl TablesError {
    /// Whether the same call may succeed later with nothing changed but the weather.
    ///
    /// [`TablesError::NotAtPosition`] and [`TablesError::Conflict`] are not transient: the caller must look again first.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Storage { source, .. } => is_transient_store_error(source),
            Self::Delta { source, .. } => is_transient_delta_error(source),
            Self::Parquet { source, .. } => is_transient_source(source),
            Self::Query { source, .. } => is_transient_source(source.as_ref()),
            _ => false,
        }
    }

    /// Whether another writer stands in the way: the caller re-reads the positions, and stops if they are not its own.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::NotAtPosition { .. } | Self::Conflict { .. })
    }

    /// Whether the storage answers, and refuses: credentials, rights, or a clock that is too far off.
    pub fn is_refusal(&self) -> bool {
        let Self::Storage { source, .. } = self else { return false };
        match source {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => true,
            // Of a list that is refused only the words tell it.
            object_store::Error::Generic { source, .. } => {
                let said = source.to_string();
                ["401", "403"].iter().any(|status| said.contains(&format!("status code: {status}")))
            }
            _ => false,
        }
    }

    /// The part of the system at fault, as operators call it: `storage`, `configuration` or `tables`.
    pub fn part(&self) -> &'static str {
        match self {
            Self::Storage { .. } | Self::UnfitStorage(_) => "storage",
            Self::Configuration(_) => "configuration",
            other if other.is_transient() => "storage",
            _ => "tables",
        }
    }
}

fn is_transient_store_error(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { .. } | object_store::Error::JoinError { .. })
}

fn is_transient_delta_error(error: &DeltaTableError) -> bool {
    match error {
        DeltaTableError::ObjectStore { source } => is_transient_store_error(source),
        DeltaTableError::Transaction { source: TransactionError::ObjectStore { source } } => {
            is_transient_store_error(source)
        }
        other => is_transient_source(other),
    }
}

/// Looks for an error of the store among the causes.
fn is_transient_source(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(store) = error.downcast_ref::<object_store::Error>() {
            return is_transient_store_error(store);
        }
        cause = error.source();
    }
    false
}

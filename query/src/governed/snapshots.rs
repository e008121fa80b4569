//! Where rows come from: the newest state of a table, as a provider that nobody but a governed table may hold.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use lakeward_tables::{Lake, TableName};

use crate::QueryError;
use crate::translate;

/// One state of a table.
#[derive(Clone)]
pub struct TableSnapshot {
    /// Version of the state.
    pub version: i64,
    /// All rows and all columns, ungoverned.
    pub provider: Arc<dyn TableProvider>,
}

impl fmt::Debug for TableSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableSnapshot").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Gives states of tables.
#[async_trait]
pub trait TableSnapshots: Send + Sync {
    /// A state that is at most that old; zero means the newest.
    async fn snapshot(&self, table: &TableName, max_age: Duration) -> Result<TableSnapshot, QueryError>;
}

#[async_trait]
impl TableSnapshots for Lake {
    async fn snapshot(&self, table: &TableName, max_age: Duration) -> Result<TableSnapshot, QueryError> {
        let snapshot = match max_age.is_zero() {
            true => self.fresh_snapshot(table).await,
            false => Lake::snapshot(self, table, max_age).await,
        };
        match snapshot {
            Ok(snapshot) => Ok(TableSnapshot { version: snapshot.version, provider: snapshot.provider() }),
            Err(error) => {
                tracing::warn!(table = %table, %error, "a snapshot could not be read");
                Err(translate::unavailable())
            }
        }
    }
}

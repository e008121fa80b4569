//! Opening a table, and creating it where it is absent.

use std::sync::Arc;
use std::time::Duration;

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::StructField;
use deltalake_core::kernel::transaction::CommitProperties;
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::SaveMode;
use deltalake_core::table::state::DeltaTableState;

use super::evolve::{self, Planned, lost_race};
use super::layout::Layout;
use super::position::delta;
use crate::TablesError;

/// Lists of a log that may have been made at a bad moment before an error is one.
const LISTS: usize = 3;

/// Lost races after which the caller is told.
const ATTEMPTS: usize = 16;

/// The newest state of the table, which is created first where it is absent. Of two creators one wins, and both get
/// the winner's table. Where the contract has changed since, the table follows ([`evolve`]).
pub(super) async fn open_or_create(layout: &Arc<Layout>, log: &LogStoreRef) -> Result<DeltaTableState, TablesError> {
    let exists = |error| delta(&layout.name, error);
    if !log.is_delta_table_location().await.map_err(exists)? {
        let created = create(layout, log).await;
        // Whoever created it: a table in the log is what was wanted.
        if let Err(error) = created
            && !log.is_delta_table_location().await.map_err(exists)?
        {
            return Err(error);
        }
    }
    for _ in 0..ATTEMPTS {
        let state = newest(log).await.map_err(exists)?;
        if !layout.follows {
            return Ok(state);
        }
        let planned = evolve::plan(layout, &state);
        // Once it has been opened, its columns are not this process's to change: a newer one has them by now.
        if layout.is_settled() && !matches!(planned, Ok(Planned::Fits(_))) {
            return Err(layout.changed_by_another());
        }
        match planned? {
            Planned::Fits(stored) => return layout.settle(stored).map(|()| state),
            // Whoever was first: the next look tells whether there is anything left to do.
            Planned::Change(change) => match change.commit(layout, &state, log).await {
                Err(error) if !lost_race(&error) => return Err(exists(error)),
                _ => {}
            },
        }
    }
    Err(TablesError::Conflict { table: layout.name.clone(), attempts: ATTEMPTS })
}

/// What opening the table would do to it, without doing it.
pub(super) async fn pending(layout: &Layout, log: &LogStoreRef) -> Result<Vec<String>, TablesError> {
    let failed = |error| delta(&layout.name, error);
    if !log.is_delta_table_location().await.map_err(failed)? {
        return Ok(vec!["the table is created".to_owned()]);
    }
    let state = newest(log).await.map_err(failed)?;
    Ok(match evolve::plan(layout, &state)? {
        Planned::Fits(_) => Vec::new(),
        Planned::Change(change) => change.what,
    })
}

/// A list of the log that is made while others commit may lack a commit and hold the next, on a local disk: then it is made
/// again.
async fn newest(log: &LogStoreRef) -> Result<DeltaTableState, DeltaTableError> {
    for _ in 0..LISTS {
        if let Ok(state) = DeltaTableState::try_new(log.as_ref(), None).await {
            return Ok(state);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    DeltaTableState::try_new(log.as_ref(), None).await
}

async fn create(layout: &Layout, log: &LogStoreRef) -> Result<(), TablesError> {
    let columns: Vec<StructField> = layout.delta_schema()?.fields().cloned().collect();
    // Without retries: a retry would commit this metadata again over the winner's.
    let properties = CommitProperties::default().with_max_retries(0).with_create_checkpoint(false);
    let mut builder = CreateBuilder::new()
        .with_log_store(log.clone())
        .with_table_name(layout.name.to_string())
        .with_columns(columns)
        .with_partition_columns(layout.partition_columns())
        .with_configuration(layout.properties())
        .with_raise_if_key_not_exists(false)
        .with_save_mode(SaveMode::ErrorIfExists)
        .with_commit_properties(properties);
    if !layout.description.is_empty() {
        builder = builder.with_comment(layout.description.clone());
    }
    builder.await.map(|_| ()).map_err(|error| delta(&layout.name, error))
}

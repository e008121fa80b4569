//! Checkpoints, and the end of what is old in the log.

use std::time::Duration;

use deltalake_core::DeltaTable;
use deltalake_core::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use futures::TryStreamExt;
use object_store::path::Path;

use super::LEAST_LOG_RETENTION;
use crate::TablesError;
use crate::delta::Table;

/// The newest version that a checkpoint was made of.
pub(super) async fn newest_checkpoint(table: &Table) -> Result<Option<u64>, TablesError> {
    let listed: Vec<_> =
        table.folder().list(Some(&Path::from("_delta_log"))).try_collect().await.map_err(|source| {
            TablesError::Storage { action: format!("listing the log of {}", table.name()), source }
        })?;
    let version = |name: &str| name.contains(".checkpoint.").then(|| name.split('.').next()?.parse().ok()).flatten();
    Ok(listed.iter().filter_map(|entry| version(entry.location.filename()?)).max())
}

/// Makes a checkpoint of the newest version; gives that.
pub(super) async fn checkpoint(table: &Table) -> Result<u64, TablesError> {
    // At a version that is known to be there: a list of the log that is made while others commit may lack one and hold the
    // next, on a local disk.
    let version = table.state().await?.version;
    let mut whole = DeltaTable::new(table.log().clone());
    whole.load_version(version).await.map_err(|error| table.delta_error(error))?;
    create_checkpoint(&whole, None).await.map_err(|error| table.delta_error(error))?;
    Ok(version)
}

/// Deletes commits and checkpoints that no version within the retention needs; gives how many files. `now` is in milliseconds
/// since 1970.
pub(super) async fn clean_up(table: &Table, retention: Duration, now: i64) -> Result<u64, TablesError> {
    let retention = retention.max(LEAST_LOG_RETENTION);
    let cutoff = now - i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let version = table.state().await?.version;
    let deleted = cleanup_expired_logs_for(version, table.log().as_ref(), cutoff, None).await;
    deleted.map(|files| files as u64).map_err(|error| table.delta_error(error))
}

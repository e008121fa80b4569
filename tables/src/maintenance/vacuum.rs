//! Deleting files that nothing refers to: what compactions and merges replaced, and what failed attempts left behind.
//!
//! A file goes when it is not in the table, was written before the retention began, and left the table before that as well.
//! What a commit is about to add is younger; what a statement still reads has left the table a short while ago.

use std::collections::HashSet;
use std::time::Duration;

use deltalake_core::table::state::DeltaTableState;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt};

use super::{LEAST_FILE_RETENTION, MOST_FILE_RETENTION};
use crate::TablesError;
use crate::delta::{REBUILT, Table};

/// Gives how many files were deleted; `now` is in milliseconds since 1970.
pub(super) async fn vacuum(table: &Table, retention: Duration, now: i64) -> Result<u64, TablesError> {
    let storage =
        |action: &str, source| TablesError::Storage { action: format!("{action} of {}", table.name()), source };
    let retention = retention.clamp(LEAST_FILE_RETENTION, MOST_FILE_RETENTION);
    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    // The files are listed before the log is read: what is added between the two is in the log.
    let cutoff = now - retention;
    let old: Vec<_> = table
        .folder()
        .list(None)
        .try_filter(|file| {
            let name = file.location.as_ref();
            let data =
                !name.starts_with("_delta_log/") && !name.starts_with("_lakeward/") && name.ends_with(".parquet");
            std::future::ready(data && file.last_modified.timestamp_millis() < cutoff)
        })
        .try_collect()
        .await
        .map_err(|source| storage("listing the files", source))?;
    // Of a table that is being made again nothing stands in the log yet.
    let old: Vec<_> = {
        let mut kept = Vec::with_capacity(old.len());
        for file in old {
            if !is_in_the_making(table, file.location.as_ref()).await? {
                kept.push(file);
            }
        }
        kept
    };
    if old.is_empty() {
        return Ok(0);
    }
    let Some(needed) = needed(table, cutoff).await? else { return Ok(0) };
    let mut deleted = 0;
    for file in old.into_iter().filter(|file| !needed.contains(file.location.as_ref())) {
        match table.folder().delete(&file.location).await {
            Ok(()) => deleted += 1,
            Err(Error::NotFound { .. }) => {}
            Err(source) => return Err(storage("deleting a file", source)),
        }
    }
    Ok(deleted)
}

/// Whether a file lies in a folder that has a log of its own.
async fn is_in_the_making(table: &Table, file: &str) -> Result<bool, TablesError> {
    let Some(folder) = file.split('/').next().filter(|folder| folder.starts_with(REBUILT)) else { return Ok(false) };
    let log = Path::from_iter([folder, "_delta_log"]);
    let first = table.folder().list(Some(&log)).try_next().await;
    let first =
        first.map_err(|source| TablesError::Storage { action: format!("listing beside {}", table.name()), source });
    Ok(first?.is_some())
}

/// The files of the newest known version, and those that left the table after a time in milliseconds since 1970. None where the log
/// writes a path in signs of its own, which no path here needs: then nobody knows which file is meant.
async fn needed(table: &Table, since: i64) -> Result<Option<HashSet<String>>, TablesError> {
    let error = |error| table.delta_error(error);
    // What came after this version is young, and what left after it is needed as long as it is not known.
    let version = table.state().await?.version;
    let state = DeltaTableState::try_new(table.log().as_ref(), Some(version)).await.map_err(error)?;
    let mut needed = HashSet::new();
    let mut views = state.snapshot().file_views(table.log().as_ref(), None);
    while let Some(view) = views.try_next().await.map_err(error)? {
        needed.insert(view.path().into_owned());
    }
    drop(views);
    let mut gone = state.all_tombstones(table.log().as_ref());
    while let Some(tombstone) = gone.try_next().await.map_err(error)? {
        if tombstone.deletion_timestamp().is_none_or(|at| at >= since) {
            needed.insert(tombstone.path().into_owned());
        }
    }
    Ok(needed.iter().all(|path| !path.contains('%') && !path.contains("://")).then_some(needed))
}

//! One lease for each table: who may maintain it.
//!
//! A lease is an object `_lakeward/maintenance/<epoch>` in the table's folder, made with put-if-absent: of several who want
//! the next epoch one gets it. The holder writes its object anew while it works; whoever sees the same object unchanged for
//! the time of a lease, by the own clock, takes the next epoch. Clocks of two machines are never compared. What keeps tables
//! safe is not the lease but the epoch in the log: a lease only keeps two processes from doing the same work twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use parking_lot::Mutex;

use crate::delta::Table;
use crate::delta::commit::MAINTENANCE;
use crate::{TableName, TablesError};

/// What this process knows of the leases of all tables.
#[derive(Debug)]
pub(super) struct Leases {
    lasts: Duration,
    holder: String,
    tables: Mutex<BTreeMap<TableName, Known>>,
}

#[derive(Debug, Clone)]
enum Known {
    Own {
        epoch: i64,
        renewed: Instant,
        renewals: u64,
    },
    /// Of somebody else: its object as it was first seen, and when.
    Others {
        seen: (i64, Vec<u8>),
        since: Instant,
    },
}

/// The object of an epoch that was given back.
const RELEASED: &[u8] = b"released";

impl Leases {
    pub(super) fn new(lasts: Duration) -> Self {
        Self { lasts, holder: uuid::Uuid::new_v4().to_string(), tables: Mutex::default() }
    }

    pub(super) fn held(&self, table: &TableName) -> bool {
        matches!(self.tables.lock().get(table), Some(Known::Own { .. }))
    }

    pub(super) fn tables(&self) -> Vec<TableName> {
        let tables = self.tables.lock();
        tables.iter().filter(|(_, known)| matches!(known, Known::Own { .. })).map(|(name, _)| name.clone()).collect()
    }

    /// Takes the lease, or makes it last longer; gives its epoch. None while somebody else holds it.
    pub(super) async fn hold(&self, table: &Table) -> Result<Option<i64>, TablesError> {
        let known = self.tables.lock().get(table.name()).cloned();
        if let Some(Known::Own { epoch, renewed, .. }) = &known
            && renewed.elapsed() < self.lasts / 4
        {
            return Ok(Some(*epoch));
        }
        let newest = newest(table).await?;
        let next = match (&known, newest) {
            (Some(Known::Own { epoch, renewals, .. }), Some(newest)) if newest == *epoch => {
                let renewals = renewals + 1;
                let words = format!("{} {renewals}", self.holder).into_bytes();
                put(table, *epoch, words, PutMode::Overwrite).await?;
                self.note(table, Known::Own { epoch: *epoch, renewed: Instant::now(), renewals });
                return Ok(Some(*epoch));
            }
            (_, None) => 1,
            (known, Some(newest)) => {
                let seen = (newest, read(table, newest).await?);
                let since = match known {
                    Some(Known::Others { seen: before, since }) if *before == seen => *since,
                    _ => Instant::now(),
                };
                let ended = seen.1 == RELEASED || since.elapsed() >= self.lasts;
                self.note(table, Known::Others { seen, since });
                if !ended {
                    return Ok(None);
                }
                newest + 1
            }
        };
        // The log may know more epochs than there are objects.
        let next = next.max(table.state().await?.positions.of_app(MAINTENANCE).unwrap_or(0) + 1);
        let words = format!("{} 0", self.holder).into_bytes();
        if !put(table, next, words, PutMode::Create).await? || self::newest(table).await? != Some(next) {
            return Ok(None);
        }
        self.note(table, Known::Own { epoch: next, renewed: Instant::now(), renewals: 0 });
        forget_before(table, next).await;
        Ok(Some(next))
    }

    /// When the storage last heard of the lease, by the storage's own clock, in milliseconds since 1970.
    pub(super) async fn last_written(&self, table: &Table, epoch: i64) -> Result<i64, TablesError> {
        let there = table.folder().head(&object(epoch)).await;
        there.map(|object| object.last_modified.timestamp_millis()).map_err(|source| storage(table, "reading", source))
    }

    /// Somebody else has a greater epoch.
    pub(super) fn lost(&self, table: &Table) {
        self.tables.lock().remove(table.name());
    }

    /// Gives the lease back. Where that fails it ends by itself.
    pub(super) async fn release(&self, table: &Table) {
        let Some(Known::Own { epoch, .. }) = self.tables.lock().remove(table.name()) else { return };
        if let Err(error) = put(table, epoch, RELEASED.to_vec(), PutMode::Overwrite).await {
            tracing::debug!(table = %table.name(), %error, "a lease ends by itself");
        }
    }

    fn note(&self, table: &Table, known: Known) {
        self.tables.lock().insert(table.name().clone(), known);
    }
}

fn folder() -> Path {
    Path::from_iter(["_lakeward", "maintenance"])
}

fn object(epoch: i64) -> Path {
    folder().join(format!("{epoch:020}"))
}

fn storage(table: &Table, action: &str, source: Error) -> TablesError {
    TablesError::Storage { action: format!("{action} the lease of {}", table.name()), source }
}

async fn newest(table: &Table) -> Result<Option<i64>, TablesError> {
    let listed: Vec<_> = table
        .folder()
        .list(Some(&folder()))
        .try_collect()
        .await
        .map_err(|source| storage(table, "looking for", source))?;
    let epochs = listed.iter().filter_map(|entry| entry.location.filename()?.parse().ok());
    Ok(epochs.max())
}

async fn read(table: &Table, epoch: i64) -> Result<Vec<u8>, TablesError> {
    let read = async { table.folder().get(&object(epoch)).await?.bytes().await };
    match read.await {
        Ok(bytes) => Ok(bytes.to_vec()),
        // Another epoch has come meanwhile.
        Err(Error::NotFound { .. }) => Ok(Vec::new()),
        Err(source) => Err(storage(table, "reading", source)),
    }
}

/// Whether it was written; not, where it was to be made and is there.
async fn put(table: &Table, epoch: i64, words: Vec<u8>, mode: PutMode) -> Result<bool, TablesError> {
    let written = table.folder().put_opts(&object(epoch), PutPayload::from(words), PutOptions::from(mode)).await;
    match written {
        Ok(_) => Ok(true),
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
        Err(source) => Err(storage(table, "writing", source)),
    }
}

/// Epochs before mean nothing any more; where they cannot be deleted they do no harm.
async fn forget_before(table: &Table, epoch: i64) {
    let Ok(listed) = table.folder().list(Some(&folder())).try_collect::<Vec<_>>().await else { return };
    for entry in listed {
        let before = entry.location.filename().and_then(|name| name.parse::<i64>().ok()).is_some_and(|of| of < epoch);
        if before && let Err(error) = table.folder().delete(&entry.location).await {
            tracing::debug!(table = %table.name(), %error, "an old lease stays");
        }
    }
}

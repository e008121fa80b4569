//! Segments: objects that are put once, read, and deleted when they are in the table.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::{AUDIT_SCHEMA, Lake, TableName, TablesError};

/// Requests at the same time while many segments are read or deleted.
pub(super) const ABREAST: usize = 16;

/// Under this name the positions of segments stand in the table's log, where Kafka's clusters stand in others.
pub(super) const SOURCE: &str = "segments";

/// The segments of a lake's audit. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    pub(super) lake: Lake,
}

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The segment is durable.
    Done,
    /// There is one of this number already, and it stays as it is.
    Taken,
}

impl Lake {
    /// The segments of the audit.
    pub fn journal(&self) -> Journal {
        Journal { lake: self.clone() }
    }
}

impl Journal {
    /// Puts a segment, unless there is one of its number. After an error it may be there all the same.
    pub async fn put(&self, writer: &str, number: i64, records: Bytes) -> Result<Put, TablesError> {
        let only_new = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let place = place(writer, number);
        match self.lake.beside_tables().put_opts(&place, PutPayload::from(records), only_new).await {
            Ok(_) => Ok(Put::Done),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Put::Taken),
            Err(source) => Err(failed("writing a segment", source)),
        }
    }

    /// The records of a segment; none where it is not there, or not any more.
    pub async fn read(&self, writer: &str, number: i64) -> Result<Option<Bytes>, TablesError> {
        let read = async { self.lake.beside_tables().get(&place(writer, number)).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed("reading a segment", source)),
        }
    }

    /// The numbers of the segments that are there, by writer and in order.
    pub async fn segments(&self) -> Result<BTreeMap<String, Vec<i64>>, TablesError> {
        let listed: Vec<_> = self
            .lake
            .beside_tables()
            .list(Some(&folder()))
            .try_collect()
            .await
            .map_err(|source| failed("listing the segments", source))?;
        let mut writers: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for object in listed {
            let mut parts = object.location.parts().rev();
            let (Some(number), Some(writer)) = (parts.next(), parts.next()) else { continue };
            if let Ok(number) = number.as_ref().parse() {
                writers.entry(writer.as_ref().to_owned()).or_default().push(number);
            }
        }
        writers.values_mut().for_each(|numbers| numbers.sort_unstable());
        Ok(writers)
    }

    /// Keeps a segment that nobody can read where nobody deletes it.
    pub(super) async fn set_aside(&self, writer: &str, number: i64, bytes: Bytes) -> Result<(), TablesError> {
        let place = Path::from_iter([AUDIT_SCHEMA, "unreadable", writer]).join(format!("{number:020}"));
        let put = self.lake.beside_tables().put(&place, PutPayload::from(bytes)).await;
        put.map(drop).map_err(|source| failed("setting aside a segment", source))
    }

    /// How far the segments of each writer are in the table: the number of the first that is not.
    pub async fn folded(&self) -> Result<BTreeMap<String, i64>, TablesError> {
        self.lake.next_of_topics(&TableName::audit_events(), SOURCE).await
    }

    pub(super) async fn delete(&self, segments: Vec<(String, i64)>) -> Result<(), TablesError> {
        let store = self.lake.beside_tables();
        let deleted = futures::stream::iter(segments)
            .map(|(writer, number)| async move {
                match store.delete(&place(&writer, number)).await {
                    Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                    Err(source) => Err(failed("deleting a segment", source)),
                }
            })
            .buffer_unordered(ABREAST);
        deleted.try_collect().await
    }
}

fn folder() -> Path {
    Path::from_iter([AUDIT_SCHEMA, "segments"])
}

/// Padded, so that a listing is in the order of the numbers.
fn place(writer: &str, number: i64) -> Path {
    folder().join(writer.to_owned()).join(format!("{number:020}"))
}

fn failed(action: &str, source: Error) -> TablesError {
    TablesError::Storage { action: format!("{action} of the audit"), source }
}

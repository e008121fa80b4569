//! Fields of payloads that no contract declares, as sampled: each with the first message in which it was met.
//!
//! They lie beside the tables, one object for each field, put only where there is none yet: whoever met it first stays.
//! Of a topic so many are kept as [`MOST`]; a payload that makes names of its data would have no end.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};

use crate::{Lake, TablesError};

/// Fields that are kept of one topic.
const MOST: usize = 100;

/// Where they lie, below the folder of the tables.
const FOLDER: &str = "_lakeward/undeclared";

/// A field that no contract declares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Undeclared {
    /// Names from the payload down to it, as in `address[].geo`.
    pub path: String,
    /// Source, partition and offset of the first message that was met with it.
    pub source: String,
    /// See `source`.
    pub partition: i32,
    /// See `source`.
    pub offset: i64,
    /// When that was.
    pub met_at: DateTime<Utc>,
}

impl Lake {
    /// What was noted of a topic, by path. A field may have been declared since.
    pub async fn undeclared(&self, topic: &str) -> Result<Vec<Undeclared>, TablesError> {
        let failed = |source| storage("reading the undeclared fields", topic, source);
        let store = self.beside_tables();
        let mut found = Vec::new();
        for entry in store.list(Some(&folder(topic))).try_collect::<Vec<_>>().await.map_err(failed)? {
            let bytes = async { store.get(&entry.location).await?.bytes().await }.await.map_err(failed)?;
            // Written by another version, or by somebody else: it is none of ours.
            found.extend(serde_json::from_slice::<Undeclared>(&bytes).ok());
        }
        found.sort();
        Ok(found)
    }

    /// Notes fields that are not noted yet, as long as there is room.
    pub async fn note_undeclared(&self, topic: &str, fields: &[Undeclared]) -> Result<(), TablesError> {
        let failed = |source| storage("noting an undeclared field", topic, source);
        let store = self.beside_tables();
        let listed: Vec<_> = store.list(Some(&folder(topic))).try_collect().await.map_err(failed)?;
        let mut known: BTreeSet<Path> = listed.into_iter().map(|entry| entry.location).collect();
        for field in fields {
            let place = place(topic, &field.path);
            if known.contains(&place) || known.len() >= MOST {
                continue;
            }
            let Ok(bytes) = serde_json::to_vec(field) else { continue };
            let only_new = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match store.put_opts(&place, PutPayload::from(bytes), only_new).await {
                Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => drop(known.insert(place)),
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

fn storage(action: &str, topic: &str, source: object_store::Error) -> TablesError {
    TablesError::Storage { action: format!("{action} of {topic}"), source }
}

fn folder(topic: &str) -> Path {
    Path::from_iter(FOLDER.split('/').chain([topic]))
}

/// What a path in storage may not hold is escaped.
fn place(topic: &str, path: &str) -> Path {
    folder(topic).join(format!("{path}.json"))
}

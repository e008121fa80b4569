//! The configured storage as the tables want it.

use lakeward_tables::{Secret, StorageConfig};

use crate::config::Storage;

/// Where the tables stand, and how one gets there.
pub(crate) fn config(storage: &Storage) -> StorageConfig {
    StorageConfig {
        url: storage.url.to_string(),
        endpoint: storage.endpoint.clone(),
        region: storage.region.clone(),
        access_key_id: storage.access_key_id.as_ref().map(|id| id.reveal().to_owned()),
        secret_access_key: storage.secret_access_key.as_ref().map(|secret| Secret::new(secret.reveal())),
        allow_http: storage.allow_http,
        ca_file: storage.ca_file.clone(),
    }
}

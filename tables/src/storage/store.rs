//! The object store, rooted where the tables begin.

use std::sync::Arc;
use std::time::Duration;

use deltalake_core::logstore::{LogStoreRef, StorageConfig as DeltaStorageConfig, default_logstore};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use super::{StorageConfig, StorageUrl};
use crate::{TableName, TablesError};

/// One request may take this long; slow disks and large files need more than a few seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Longer than a lost SYN and its first repetitions.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(12);

/// The object store of all tables.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    /// Rooted at the bucket or at the file system's `/`.
    root: Arc<dyn ObjectStore>,
    /// Rooted at the folder of the tables.
    tables: Arc<dyn ObjectStore>,
    base: Path,
    url: Url,
}

impl Store {
    pub(crate) fn open(config: &StorageConfig) -> Result<Self, TablesError> {
        let place: StorageUrl = config.url.parse()?;
        let is_bucket = place.is_bucket();
        let url = place.into_url();
        let (root, base): (Arc<dyn ObjectStore>, Path) = if is_bucket {
            (Arc::new(s3(config, &url)?), Path::from(url.path()))
        } else {
            let folder = url
                .to_file_path()
                .map_err(|()| TablesError::Configuration(format!("'{url}' is not the URL of a local folder")))?;
            std::fs::create_dir_all(&folder)
                .map_err(|e| TablesError::Configuration(format!("{}: {e}", folder.display())))?;
            let base = Path::from_absolute_path(&folder)
                .map_err(|e| TablesError::Configuration(format!("{}: {e}", folder.display())))?;
            (Arc::new(LocalFileSystem::new()), base)
        };
        Ok(Self { tables: Arc::new(PrefixStore::new(root.clone(), base.clone())), root, base, url })
    }

    /// The store rooted at the folder of the tables.
    pub(crate) fn tables(&self) -> &Arc<dyn ObjectStore> {
        &self.tables
    }

    /// Where it is, without credentials.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// The path of a table below the folder of the tables.
    pub(crate) fn table_path(table: &TableName) -> Path {
        Path::from_iter([table.schema.as_str(), table.table.as_str()])
    }

    /// The Delta log of a table, or of the one in a folder of it.
    pub(crate) fn log_store(&self, table: &TableName, folder: Option<&str>) -> Result<LogStoreRef, TablesError> {
        let below = folder.map(|folder| format!("{folder}/")).unwrap_or_default();
        let location = self
            .url
            .join(&format!("{}/{}/{below}", table.schema, table.table))
            .map_err(|e| TablesError::Configuration(format!("{table} does not fit below {}: {e}", self.url)))?;
        let table = Self::table_path(table);
        let path = Path::from_iter(self.base.parts().chain(table.parts()).chain(Path::from(below).parts()));
        let prefixed = Arc::new(PrefixStore::new(self.root.clone(), path));
        Ok(default_logstore(prefixed, self.root.clone(), &location, &DeltaStorageConfig::default()))
    }
}

fn s3(config: &StorageConfig, url: &Url) -> Result<object_store::aws::AmazonS3, TablesError> {
    let bucket = url
        .host_str()
        .filter(|bucket| !bucket.is_empty())
        .ok_or_else(|| TablesError::Configuration(format!("'{url}' names no bucket")))?;
    let mut client = ClientOptions::new()
        .with_timeout(REQUEST_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_allow_http(config.allow_http);
    if let Some(file) = &config.ca_file {
        let wrong = |why: String| TablesError::Configuration(format!("ca_file {}: {why}", file.display()));
        let pem = std::fs::read(file).map_err(|e| wrong(e.to_string()))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| wrong(e.to_string()))?;
        if certificates.is_empty() {
            return Err(wrong("holds no certificate".into()));
        }
        for certificate in certificates {
            client = client.with_root_certificate(certificate);
        }
    }
    // Short enough that an outage shows at /health/ready soon; the callers retry for as long as it takes.
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            ..BackoffConfig::default()
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(20),
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(config.region.as_deref().unwrap_or("us-east-1"))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retry)
        .with_client_options(client);
    if let Some(endpoint) = &config.endpoint {
        if !config.allow_http && endpoint.starts_with("http://") {
            return Err(TablesError::Configuration(format!(
                "endpoint {endpoint} has no TLS; use https or set allow_http"
            )));
        }
        builder = builder
            .with_endpoint(endpoint.trim_end_matches('/'))
            .with_virtual_hosted_style_request(false)
            .with_allow_http(config.allow_http);
    }
    if let Some(id) = &config.access_key_id {
        builder = builder.with_access_key_id(id);
    }
    if let Some(secret) = &config.secret_access_key {
        builder = builder.with_secret_access_key(secret.expose());
    }
    builder.build().map_err(|source| TablesError::Configuration(source.to_string()))
}

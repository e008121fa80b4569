//! One version of a table, as readers get it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use datafusion::catalog::TableProvider;
use datafusion::common::Statistics;
use datafusion::execution::object_store::ObjectStoreUrl;
use deltalake_core::table::state::DeltaTableState;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::layout::Layout;
use super::position::{Positions, delta};
use super::provider::SnapshotProvider;
use super::statistics::FileStatistics;
use crate::{BUCKET_COLUMN, DELETED_COLUMN, TableName, TablesError};
use arrow::datatypes::SchemaRef;
use deltalake_core::logstore::LogStoreRef;

/// A data file of a snapshot.
#[derive(Debug)]
pub(crate) struct DataFile {
    /// As the log has it, below the table.
    pub(crate) path: String,
    /// Below the folder of all tables.
    pub(crate) meta: ObjectMeta,
    pub(crate) bucket: Option<i32>,
    /// Rows that readers get.
    pub(crate) live: u64,
    /// Rows and markers.
    pub(crate) rows: u64,
    pub(crate) statistics: Arc<Statistics>,
}

/// What is known of a table at one version.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) version: u64,
    pub(crate) delta: DeltaTableState,
    pub(crate) positions: Positions,
    pub(crate) files: Arc<Vec<Arc<DataFile>>>,
    /// Number of buckets of an upsert table.
    pub(crate) buckets: i32,
    /// When the whole log was last read anew.
    pub(crate) loaded: Instant,
}

impl State {
    pub(crate) async fn new(
        layout: &Layout,
        log: &LogStoreRef,
        delta_state: DeltaTableState,
        positions: Positions,
        previous: Option<&State>,
    ) -> Result<Self, TablesError> {
        let mut known: HashMap<&str, &Arc<DataFile>> = HashMap::new();
        if let Some(previous) = previous {
            known.extend(previous.files.iter().map(|file| (file.path.as_str(), file)));
        }
        let as_stored = layout.as_stored(&layout.reading);
        let folder = crate::storage::Store::table_path(&layout.name);
        let mut views = delta_state.snapshot().file_views(log.as_ref(), None);
        let mut files = Vec::new();
        while let Some(view) = views.try_next().await.map_err(|e| delta(&layout.name, e))? {
            let path = view.path();
            if let Some(file) = known.get(path.as_ref()) {
                files.push(Arc::clone(file));
                continue;
            }
            let statistics = FileStatistics::parse(view.stats().as_deref()).ok_or_else(|| TablesError::Schema {
                table: layout.name.clone(),
                message: "a file's number of rows is not in the log: it was written by something else".into(),
            })?;
            let markers = match layout.key {
                Some(_) => {
                    statistics.rows
                        - statistics.null_count(layout.stored_name(DELETED_COLUMN)).unwrap_or(0).min(statistics.rows)
                }
                None => 0,
            };
            let bucket = view.partition_values_map().remove(BUCKET_COLUMN).flatten().and_then(|b| b.parse().ok());
            let location = Path::parse(format!("{folder}/{path}")).map_err(|e| TablesError::Schema {
                table: layout.name.clone(),
                message: format!("a file's path in the log is no path: {e}"),
            })?;
            files.push(Arc::new(DataFile {
                path: path.into_owned(),
                meta: ObjectMeta {
                    location,
                    last_modified: chrono::DateTime::from_timestamp_millis(view.modification_time())
                        .unwrap_or_default(),
                    size: view.size().max(0) as u64,
                    e_tag: None,
                    version: None,
                },
                bucket,
                live: statistics.rows - markers,
                rows: statistics.rows,
                statistics: Arc::new(statistics.of_schema(&as_stored)),
            }));
        }
        drop(views);
        // The log's order is not defined; the same version must give the same plan.
        files.sort_by(|a, b| (a.meta.last_modified, &a.path).cmp(&(b.meta.last_modified, &b.path)));
        Ok(Self {
            version: delta_state.version(),
            buckets: Layout::buckets(delta_state.metadata().configuration()),
            delta: delta_state,
            positions,
            files: Arc::new(files),
            loaded: previous.map_or_else(Instant::now, |previous| previous.loaded),
        })
    }
}

/// One version of a table. Cheap to clone; what it shows does not change.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The Delta version.
    pub version: i64,
    /// Rows that readers get; exact.
    pub rows: u64,
    /// Data files.
    pub files: usize,
    /// Their size in bytes.
    pub bytes: u64,
    provider: Arc<SnapshotProvider>,
}

impl Snapshot {
    pub(crate) fn new(
        layout: &Arc<Layout>,
        state: &State,
        store: &Arc<dyn ObjectStore>,
        store_url: &ObjectStoreUrl,
    ) -> Self {
        let provider = SnapshotProvider::new(layout.clone(), state.files.clone(), store.clone(), store_url.clone());
        Self {
            version: state.version as i64,
            rows: state.files.iter().map(|file| file.live).sum(),
            files: state.files.len(),
            bytes: state.files.iter().map(|file| file.meta.size).sum(),
            provider: Arc::new(provider),
        }
    }

    /// The table's name.
    pub fn name(&self) -> &TableName {
        self.provider.name()
    }

    /// The contract's columns in the types in which they are read ([`crate::reading_type`]); every field nullable.
    pub fn schema(&self) -> SchemaRef {
        self.provider.schema()
    }

    /// The live rows with the contract's columns. Nothing needs to be registered: the scan itself makes the store known
    /// to the session's `RuntimeEnv`.
    pub fn provider(&self) -> Arc<dyn TableProvider> {
        self.provider.clone()
    }
}

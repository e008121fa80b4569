//! One version of a table, as readers get it.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::Statistics;
use datafusion::execution::object_store::ObjectStoreUrl;
use deltalake_core::table::state::DeltaTableState;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::layout::Layout;
use super::log::Entry;
use super::position::{Positions, delta};
use super::provider::SnapshotProvider;
use super::statistics::FileStatistics;
use crate::{BUCKET_COLUMN, CORRECTED_COLUMN, DELETED_COLUMN, TIME_COLUMN, TableName, TablesError};
use arrow::datatypes::SchemaRef;
use deltalake_core::logstore::LogStoreRef;

/// A data file of a snapshot.
#[derive(Debug)]
pub(crate) struct DataFile {
    /// As the log has it, below the table.
    pub(crate) path: String,
    /// Below the folder of all tables.
    pub(crate) meta: ObjectMeta,
    /// The one bucket of its keys; none where it has keys of any.
    pub(crate) bucket: Option<i32>,
    /// Rows that readers get.
    pub(crate) live: u64,
    /// Rows and markers.
    pub(crate) rows: u64,
    /// Whether the log does not tell how many markers it has: it is older than they are, or was written by something else.
    pub(crate) unsure: bool,
    /// Rows whose key was corrected.
    pub(crate) corrected: u64,
    /// The files with rows of corrected keys that it was compacted from: it has no others.
    pub(crate) made_of: Vec<Source>,
    /// The first and the last of Kafka's timestamps, where the table keeps them in its log.
    pub(crate) times: Option<(i64, i64)>,
    pub(crate) statistics: Arc<Statistics>,
}

/// A file that was compacted into another one.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: String,
    /// What it was compacted from itself, if it was.
    pub(crate) before: Vec<String>,
}

impl DataFile {
    pub(super) fn new(
        layout: &Layout,
        path: String,
        size: i64,
        modified: i64,
        stats: Option<&str>,
    ) -> Result<Self, TablesError> {
        let statistics = FileStatistics::parse(stats).ok_or_else(|| TablesError::Schema {
            table: layout.name.clone(),
            message: "a file's number of rows is not in the log: it was written by something else".into(),
        })?;
        let rows = statistics.rows;
        // NULL is what a row has that is neither a marker nor corrected.
        let set = |column: &str| statistics.null_count(column).map(|nulls| rows - nulls.min(rows));
        let markers = if layout.key.is_some() { set(DELETED_COLUMN) } else { Some(0) };
        let folder = crate::storage::Store::table_path(&layout.name);
        let location = Path::parse(format!("{folder}/{path}")).map_err(|e| TablesError::Schema {
            table: layout.name.clone(),
            message: format!("a file's path in the log is no path: {e}"),
        })?;
        Ok(Self {
            meta: ObjectMeta {
                location,
                last_modified: chrono::DateTime::from_timestamp_millis(modified).unwrap_or_default(),
                size: size.max(0) as u64,
                e_tag: None,
                version: None,
            },
            bucket: bucket_of(&path),
            path,
            live: rows - markers.unwrap_or(0),
            rows,
            unsure: markers.is_none(),
            corrected: if layout.key.is_some() && !layout.upsert { set(CORRECTED_COLUMN).unwrap_or(0) } else { 0 },
            made_of: Vec::new(),
            times: layout.deduplication.as_ref().and_then(|_| statistics.span(TIME_COLUMN)),
            statistics: Arc::new(statistics.of_schema(&layout.as_stored(&layout.reading))),
        })
    }
}

#[cfg(test)]
impl DataFile {
    pub(crate) fn of_size(size: u64, bucket: Option<i32>) -> Self {
        Self {
            path: "part.parquet".into(),
            meta: ObjectMeta {
                location: Path::from("part.parquet"),
                last_modified: chrono::DateTime::default(),
                size,
                e_tag: None,
                version: None,
            },
            bucket,
            live: 1,
            rows: 1,
            unsure: false,
            corrected: 0,
            made_of: Vec::new(),
            times: None,
            statistics: Arc::default(),
        }
    }
}

/// The bucket stands in the path, whether the table is partitioned by it or not.
fn bucket_of(path: &str) -> Option<i32> {
    path.rsplit('/').nth(1)?.strip_prefix(BUCKET_COLUMN)?.strip_prefix('=')?.parse().ok()
}

/// What is known of a table at one version.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) version: u64,
    /// As the log was last read whole: protocol, schema and properties still hold, its files do not.
    pub(crate) delta: Arc<DeltaTableState>,
    pub(crate) positions: Positions,
    /// By the time they were written.
    pub(crate) files: Arc<Vec<Arc<DataFile>>>,
    /// Number of buckets of a table with a key.
    pub(crate) buckets: i32,
}

impl State {
    /// From a log that was read whole.
    pub(crate) async fn new(
        layout: &Layout,
        log: &LogStoreRef,
        delta_state: DeltaTableState,
        positions: Positions,
    ) -> Result<Self, TablesError> {
        let mut views = delta_state.snapshot().file_views(log.as_ref(), None);
        let mut files = Vec::new();
        while let Some(view) = views.try_next().await.map_err(|e| delta(&layout.name, e))? {
            let (path, stats) = (view.path().into_owned(), view.stats());
            let file = DataFile::new(layout, path, view.size(), view.modification_time(), stats.as_deref())?;
            files.push(Arc::new(file));
        }
        drop(views);
        sort(&mut files);
        Ok(Self {
            version: delta_state.version(),
            buckets: Layout::buckets(delta_state.metadata().configuration()),
            delta: Arc::new(delta_state),
            positions,
            files: Arc::new(files),
        })
    }

    /// The state after the next commits. It costs what they bring, and a list of pointers.
    pub(crate) fn after(&self, layout: &Layout, entries: Vec<Entry>) -> Result<Self, TablesError> {
        let (mut positions, mut files) = (self.positions.clone(), self.files.as_ref().clone());
        let commits = entries.len() as u64;
        let mut removed = std::collections::BTreeSet::new();
        for entry in entries {
            let made_of = sources(&files, &entry);
            positions.apply(entry.transactions);
            for add in entry.added {
                // A file may come back under its name; it is in no known way of writing here.
                removed.remove(&add.path);
                let (size, modified) = (add.size, add.modification_time);
                let mut file = DataFile::new(layout, add.path, size, modified, add.stats.as_deref())?;
                if let Some(made_of) = made_of.as_ref().filter(|_| file.corrected > 0) {
                    file.made_of = made_of.clone();
                }
                files.push(Arc::new(file));
            }
            removed.extend(entry.removed);
        }
        if !removed.is_empty() {
            files.retain(|file| !removed.contains(&file.path));
        }
        sort(&mut files);
        let (delta, files) = (self.delta.clone(), Arc::new(files));
        Ok(Self { version: self.version + commits, delta, positions, files, buckets: self.buckets })
    }
}

/// Of a commit that adds no row and changes none: the files that it removes, as far as they have rows of corrected keys. None
/// where one of them is not known.
fn sources(files: &[Arc<DataFile>], entry: &Entry) -> Option<Vec<Source>> {
    if entry.removed.is_empty() || entry.added.iter().any(|add| add.data_change) {
        return None;
    }
    let gone: Vec<&Arc<DataFile>> = files.iter().filter(|file| entry.removed.contains(&file.path)).collect();
    let source = |file: &&Arc<DataFile>| Source {
        path: file.path.clone(),
        before: file.made_of.iter().map(|source| source.path.clone()).collect(),
    };
    let complete = gone.len() == entry.removed.len();
    complete.then(|| gone.iter().filter(|file| file.corrected > 0).map(source).collect())
}

/// The log's order is not defined; the same version must give the same plan.
fn sort(files: &mut [Arc<DataFile>]) {
    files.sort_by(|a, b| (a.meta.last_modified, &a.path).cmp(&(b.meta.last_modified, &b.path)));
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

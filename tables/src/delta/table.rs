//! One table of the lake: its newest known state, kept between callers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::catalog::TableProvider;
use datafusion::execution::object_store::ObjectStoreUrl;
use deltalake_core::logstore::LogStoreRef;
use object_store::ObjectStore;
use parking_lot::{Mutex, RwLock};

use super::change::{Change, Gap};
use super::create::{open_or_create, pending};
use super::filter::KeyFilter;
use super::layout::Layout;
use super::log::Entry;
use super::position::{Positions, delta};
use super::provider::SnapshotProvider;
use super::scan::ScanCache;
use super::snapshot::{DataFile, Snapshot, State};
use crate::{TableName, TablesError};

/// A known state is followed commit by commit. Whoever has not looked for this long reads the log anew, for maintenance may
/// have removed the very commit that is looked for next: it leaves commits alone that are younger than
/// [`crate::maintenance::LEAST_LOG_RETENTION`], which is longer.
const RELOAD_AFTER: Duration = Duration::from_secs(600);

/// A table that may not exist in storage yet.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) layout: Arc<Layout>,
    pub(super) log: LogStoreRef,
    /// Rooted at the table.
    pub(crate) files: Arc<dyn ObjectStore>,
    /// Rooted at the folder of all tables.
    store: Arc<dyn ObjectStore>,
    store_url: ObjectStoreUrl,
    known: RwLock<Option<Known>>,
    /// What this process committed since: whoever looks at the log next begins there. Readers keep what they were given for
    /// as long as they want it.
    ahead: Mutex<Option<Arc<State>>>,
    /// Held by the one who reads the log.
    refreshing: tokio::sync::Mutex<()>,
    /// Held by the one who commits: writers of one process need not race each other.
    pub(super) writing: tokio::sync::Mutex<()>,
    /// Keys that a new row must be compared with; used by whoever holds `writing`.
    pub(super) keys: tokio::sync::Mutex<KeyFilter>,
    /// What is known of the keys in files.
    pub(super) scans: Arc<ScanCache>,
}

#[derive(Debug, Clone)]
struct Known {
    state: Arc<State>,
    /// For readers; who only writes needs none.
    snapshot: Arc<OnceLock<Snapshot>>,
    /// When the look at the log began that found this state to be the newest.
    asked: Instant,
}

impl Table {
    pub(crate) fn new(
        layout: Layout,
        log: LogStoreRef,
        store: Arc<dyn ObjectStore>,
        store_url: ObjectStoreUrl,
    ) -> Self {
        Self {
            layout: Arc::new(layout),
            files: log.object_store(None),
            log,
            store,
            store_url,
            known: RwLock::default(),
            ahead: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            keys: tokio::sync::Mutex::default(),
            scans: Arc::default(),
        }
    }

    pub(crate) fn name(&self) -> &TableName {
        &self.layout.name
    }

    /// Whether a newer event of a key can replace older ones.
    pub(crate) fn has_key(&self) -> bool {
        self.layout.key.is_some()
    }

    pub(crate) fn log(&self) -> &LogStoreRef {
        &self.log
    }

    /// Rooted at the table.
    pub(crate) fn folder(&self) -> &Arc<dyn ObjectStore> {
        &self.files
    }

    pub(crate) fn delta_error(&self, error: deltalake_core::DeltaTableError) -> TablesError {
        delta(&self.layout.name, error)
    }

    /// Whether it is in storage.
    pub(crate) async fn exists(&self) -> Result<bool, TablesError> {
        if self.known.read().is_some() {
            return Ok(true);
        }
        self.log.is_delta_table_location().await.map_err(|error| self.delta_error(error))
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.layout.contract.clone()
    }

    pub(crate) async fn snapshot(&self, max_age: Duration) -> Result<Snapshot, TablesError> {
        let known = self.newest(max_age).await?;
        let made =
            known.snapshot.get_or_init(|| Snapshot::new(&self.layout, &known.state, &self.store, &self.store_url));
        Ok(made.clone())
    }

    /// Some of the table's files as a table.
    pub(crate) fn of_files(&self, files: Vec<Arc<DataFile>>) -> Arc<dyn TableProvider> {
        let (layout, store, url) = (self.layout.clone(), self.store.clone(), self.store_url.clone());
        Arc::new(SnapshotProvider::new(layout, Arc::new(files), store, url))
    }

    pub(crate) async fn pending(&self) -> Result<Vec<String>, TablesError> {
        pending(&self.layout, &self.log).await
    }

    pub(crate) async fn next_offsets(&self, source: &str, topic: &str) -> Result<BTreeMap<i32, i64>, TablesError> {
        Ok(self.state().await?.positions.of_topic(&self.layout.name, source, topic))
    }

    pub(crate) async fn sources(&self, topic: &str) -> Result<BTreeSet<String>, TablesError> {
        Ok(self.state().await?.positions.sources(&self.layout.name, topic))
    }

    pub(crate) async fn gaps(&self, source: &str, topic: &str) -> Result<BTreeSet<Gap>, TablesError> {
        Ok(self.state().await?.positions.gaps(&self.layout.name, source, topic))
    }

    pub(crate) async fn bind_topic(
        &self,
        source: &str,
        topic: &str,
        id: &str,
    ) -> Result<BTreeSet<String>, TablesError> {
        let bound = self.state().await?.positions.topic_ids(&self.layout.name, source, topic);
        if !bound.is_empty() {
            return Ok(bound);
        }
        self.commit(Change::Bind { source: source.into(), topic: topic.into(), id: id.into() }).await?;
        // Another process may have bound another one meanwhile: then both stand there, and nobody reads on.
        Ok(self.state().await?.positions.topic_ids(&self.layout.name, source, topic))
    }

    /// The newest state, looked up now.
    pub(crate) async fn state(&self) -> Result<Arc<State>, TablesError> {
        Ok(self.newest(Duration::ZERO).await?.state)
    }

    async fn newest(&self, max_age: Duration) -> Result<Known, TablesError> {
        let now = Instant::now();
        let young_enough = |known: &Known| known.asked + max_age >= now;
        if let Some(known) = self.known.read().as_ref().filter(|known| young_enough(known)) {
            return Ok(known.clone());
        }
        let _guard = self.refreshing.lock().await;
        // Whoever held the lock may have looked after this call began.
        let known = self.known.read().clone();
        if let Some(known) = known.as_ref().filter(|known| young_enough(known)) {
            return Ok(known.clone());
        }
        let asked = Instant::now();
        let newest = match known {
            Some(known) if known.asked.elapsed() < RELOAD_AFTER => {
                let ahead = self.ahead.lock().take().filter(|ahead| ahead.version > known.state.version);
                let base = ahead.unwrap_or_else(|| Arc::clone(&known.state));
                match self.follow(&base).await? {
                    Some(state) => known_as(Arc::new(state), asked),
                    None if base.version > known.state.version => known_as(base, asked),
                    None => Known { asked, ..known },
                }
            }
            _ => known_as(Arc::new(self.load().await?), asked),
        };
        *self.known.write() = Some(newest.clone());
        Ok(newest)
    }

    /// The whole log.
    async fn load(&self) -> Result<State, TablesError> {
        let state = open_or_create(&self.layout, &self.log).await?;
        let positions = Positions::load(&self.layout.name, self.log.as_ref(), state.version()).await?;
        State::new(&self.layout, &self.log, state, positions).await
    }

    /// Reads the commits after a state; none if there are none.
    async fn follow(&self, state: &State) -> Result<Option<State>, TablesError> {
        let name = &self.layout.name;
        let (mut entries, mut version) = (Vec::new(), state.version);
        while let Some(bytes) = self.log.read_commit_entry(version + 1).await.map_err(|e| delta(name, e))? {
            version += 1;
            entries.push(Entry::parse(name, version, &bytes)?);
        }
        match entries {
            none if none.is_empty() => Ok(None),
            some if some.iter().any(|entry| entry.wants_reading_anew) => self.load().await.map(Some),
            some => state.after(&self.layout, some).map(Some),
        }
    }

    /// Takes over a commit of this process, which it need not read again.
    pub(super) fn committed(&self, before: &State, version: u64, bytes: &Bytes) -> Result<(), TablesError> {
        let entry = Entry::parse(&self.layout.name, version, bytes)?;
        if version == before.version + 1 && !entry.wants_reading_anew {
            *self.ahead.lock() = Some(Arc::new(before.after(&self.layout, vec![entry])?));
        }
        Ok(())
    }
}

fn known_as(state: Arc<State>, asked: Instant) -> Known {
    Known { state, snapshot: Arc::default(), asked }
}

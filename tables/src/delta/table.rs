//! One table of the lake: its newest known state, kept between callers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use datafusion::execution::object_store::ObjectStoreUrl;
use deltalake_core::logstore::LogStoreRef;
use object_store::ObjectStore;
use parking_lot::RwLock;

use super::change::{Change, Gap};
use super::create::{open_or_create, pending, still_fits};
use super::layout::Layout;
use super::position::{Positions, delta};
use super::snapshot::{Snapshot, State};
use crate::TablesError;

/// A known state is followed commit by commit; after this long the log is read anew, for maintenance may have removed
/// the very commit that is looked for next.
const RELOAD_AFTER: Duration = Duration::from_secs(600);

/// A table that may not exist in storage yet.
#[derive(Debug)]
pub(crate) struct Table {
    pub(super) layout: Arc<Layout>,
    pub(super) log: LogStoreRef,
    /// Rooted at the table.
    pub(super) files: Arc<dyn ObjectStore>,
    /// Rooted at the folder of all tables.
    store: Arc<dyn ObjectStore>,
    store_url: ObjectStoreUrl,
    known: RwLock<Option<Known>>,
    /// Held by the one who reads the log.
    refreshing: tokio::sync::Mutex<()>,
    /// Held by the one who commits: writers of one process need not race each other.
    pub(super) writing: tokio::sync::Mutex<()>,
    /// Whether a checkpoint is being made.
    pub(super) checkpointing: Arc<std::sync::atomic::AtomicBool>,
}

#[derive(Debug, Clone)]
struct Known {
    state: Arc<State>,
    snapshot: Snapshot,
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
            refreshing: tokio::sync::Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            checkpointing: Arc::default(),
        }
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.layout.contract.clone()
    }

    pub(crate) async fn snapshot(&self, max_age: Duration) -> Result<Snapshot, TablesError> {
        Ok(self.newest(max_age).await?.snapshot)
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
    pub(super) async fn state(&self) -> Result<Arc<State>, TablesError> {
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
            Some(known) if known.state.loaded.elapsed() < RELOAD_AFTER => match self.follow(&known.state).await? {
                Some(state) => self.known_as(state, asked),
                None => Known { asked, ..known },
            },
            _ => self.known_as(self.load().await?, asked),
        };
        *self.known.write() = Some(newest.clone());
        Ok(newest)
    }

    fn known_as(&self, state: State, asked: Instant) -> Known {
        let snapshot = Snapshot::new(&self.layout, &state, &self.store, &self.store_url);
        Known { state: Arc::new(state), snapshot, asked }
    }

    async fn load(&self) -> Result<State, TablesError> {
        let state = open_or_create(&self.layout, &self.log).await?;
        let positions = Positions::load(&self.layout.name, self.log.as_ref(), state.version()).await?;
        State::new(&self.layout, &self.log, state, positions, None).await
    }

    /// Reads the commits after a state; none if there are none.
    async fn follow(&self, state: &State) -> Result<Option<State>, TablesError> {
        let name = &self.layout.name;
        let mut positions: Option<Positions> = None;
        let mut version = state.version;
        while let Some(bytes) = self.log.read_commit_entry(version + 1).await.map_err(|e| delta(name, e))? {
            version += 1;
            positions.get_or_insert_with(|| state.positions.clone()).apply_commit(name, version, &bytes)?;
        }
        let Some(positions) = positions else { return Ok(None) };
        let mut updated = state.delta.clone();
        updated.update(self.log.as_ref(), Some(version)).await.map_err(|e| delta(name, e))?;
        still_fits(&self.layout, &state.delta, &updated)?;
        State::new(&self.layout, &self.log, updated, positions, Some(state)).await.map(Some)
    }
}

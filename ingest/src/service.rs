//! Starts and ends ingest: one poll thread, one task for each topic.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle as ThreadHandle;
use std::time::Duration;

use lakeward_tables::{Lake, Lakehouse, PayloadFormat, raw_schema};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::buffer::{MOST_IN_BATCH, Spare, TopicBuffer};
use crate::config::IngestConfig;
use crate::consumer;
use crate::engine::{engines, tables_of};
use crate::error::IngestError;
use crate::intake::{Intake, Lane, Limits};
use crate::metrics::IngestMetrics;
use crate::rebalance::{Committed, Intermediary};
use crate::registry::Schemas;
use crate::sink::Writing;
use crate::state::{IngestState, StateBoard};
use crate::topic::TopicTask;

/// How long a shutdown waits for storage to take what was read. What it does not take is read again at the next start.
const PATIENCE: Duration = Duration::from_millis(4_500);

/// Reads every topic of the lakehouse into its tables.
#[derive(Debug)]
pub struct Ingest;

/// A running ingest. Dropping it stops it without waiting for what it holds.
#[derive(Debug)]
pub struct IngestHandle {
    state: watch::Receiver<IngestState>,
    stop: Arc<AtomicBool>,
    abandon: CancellationToken,
    tasks: JoinSet<()>,
    poll: Option<ThreadHandle<()>>,
}

impl Ingest {
    /// Plans every curated SELECT and starts to read. A broker or storage that is away is no error here, see
    /// [`IngestHandle::state`].
    pub async fn start(
        config: IngestConfig,
        lake: Lake,
        lakehouse: Arc<Lakehouse>,
        metrics: Arc<IngestMetrics>,
    ) -> Result<IngestHandle, IngestError> {
        let board = Arc::new(StateBoard::new(metrics.waiting()));
        let abandon = CancellationToken::new();
        let committed = Arc::new(Committed::default());
        let broken = Arc::new(Mutex::new(None));
        let stop = Arc::new(AtomicBool::new(false));
        let source = &config.kafka.source;
        let mut lanes = Vec::with_capacity(lakehouse.topics.len());
        let (mut tasks, spare) = (JoinSet::new(), Spare::default());
        let registry = config.registry.clone();
        if registry.is_none()
            && let Some(topic) = lakehouse.topics.values().find(|topic| topic.format != PayloadFormat::Json)
        {
            return Err(IngestError::Registry(format!(
                "{} is written with a schema registry, and none is configured: [registry] url names it",
                topic.topic
            )));
        }
        let schemas = |topic: &str| Schemas::patient(registry.clone(), Arc::clone(&board), topic, abandon.clone());
        for (name, engine) in engines(&lakehouse, schemas).await? {
            let contract = &lakehouse.topics[&name];
            let tables = tables_of(&lakehouse, &name);
            let curated: Vec<String> = tables.iter().map(|table| table.name.to_string()).collect();
            let curated: Vec<&str> = curated.iter().map(String::as_str).collect();
            let (raw, dead_letter) = (contract.table.to_string(), contract.dead_letter.to_string());
            let all = [raw.as_str(), dead_letter.as_str()].into_iter().chain(curated.iter().copied());
            metrics.declare(&name, all, &curated);
            let writing = Writing {
                lake: lake.clone(),
                source: source.clone(),
                topic: name.clone(),
                board: Arc::clone(&board),
                metrics: Arc::clone(&metrics),
                abandon: abandon.clone(),
                registry: registry.clone(),
            };
            let (work, given) = mpsc::unbounded_channel();
            let task = TopicTask::new(
                Arc::clone(&lakehouse),
                contract.clone(),
                engine,
                writing,
                Arc::clone(&committed),
                Arc::clone(&broken),
            );
            tasks.spawn(task.run(given));
            lanes.push(Lane {
                buffer: TopicBuffer::new(raw_schema(), source, &name, spare.clone()),
                topic: name,
                work,
                positions: BTreeMap::new(),
                halted: HashSet::new(),
            });
        }
        let limits = Limits {
            commit_interval: config.commit_interval,
            commit_bytes: config.commit_bytes.min(config.held_bytes()).min(MOST_IN_BATCH),
            held_bytes: config.held_bytes(),
        };
        metrics.budget(config.held_bytes());
        let budget = Budget::new(lanes.len());
        let fetched_bytes = config.fetched_bytes();
        let shared = Arc::new(Intermediary {
            topics: lakehouse.topics.keys().cloned().collect(),
            raw: lakehouse.topics.values().map(|contract| contract.table.clone()).collect(),
            kafka: config.kafka,
            lake,
            runtime: Handle::current(),
            intake: Mutex::new(Intake::new(lanes, Arc::clone(&budget), limits)),
            budget,
            board: Arc::clone(&board),
            metrics,
            committed,
            on_gap: config.on_gap,
            stop: Arc::clone(&stop),
            examine: AtomicBool::new(false),
            ids: Mutex::default(),
            reassigned: AtomicBool::new(false),
            broken,
        });
        let poll = std::thread::Builder::new()
            .name("kafka-poll".to_owned())
            .spawn(move || consumer::run(&shared, fetched_bytes))
            .map_err(|_| IngestError::Ended("the start of the poll thread"))?;
        Ok(IngestHandle { state: board.watch(), stop, abandon, tasks, poll: Some(poll) })
    }
}

impl IngestHandle {
    /// What ingest is doing, as it changes.
    pub fn state(&self) -> watch::Receiver<IngestState> {
        self.state.clone()
    }

    /// Stops reading, commits what was read, and leaves the consumer group: within five seconds, or what storage has not
    /// taken by then is left to the next start.
    pub async fn shutdown(mut self) -> Result<(), IngestError> {
        self.stop.store(true, Ordering::Relaxed);
        let abandon = self.abandon.clone();
        let patience = tokio::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            abandon.cancel();
        });
        let poll = self.poll.take();
        let polled = tokio::task::spawn_blocking(move || poll.is_none_or(|poll| poll.join().is_ok())).await;
        // With the poll thread the channels' ends are gone: the tasks finish what they have and end.
        let mut whole = true;
        while let Some(ended) = self.tasks.join_next().await {
            whole &= ended.is_ok();
        }
        patience.abort();
        match (polled, whole) {
            (Ok(true), true) => Ok(()),
            (Ok(true), false) => Err(IngestError::Ended("the task of a topic")),
            _ => Err(IngestError::Ended("the poll thread")),
        }
    }
}

impl Drop for IngestHandle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.poll.is_some() {
            self.abandon.cancel();
        }
    }
}

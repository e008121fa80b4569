//! Ingest's metrics: Prometheus families by topic and table, and totals that a status line can read at any rate.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::freshness::Freshness;
use crate::state::PARTS;

/// Sums over all topics since the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events that stand in a raw table.
    pub messages: u64,
    /// Rows committed to curated tables.
    pub rows: u64,
    /// Events that went to dead letters.
    pub dead_letters: u64,
    /// Commits of any table.
    pub commits: u64,
    /// Events in Kafka that do not stand in their raw table yet, as of the last second.
    pub lag: u64,
    /// Bytes of keys, headers and payloads that stand in raw tables.
    pub bytes: u64,
}

/// Counts what ingest does.
#[derive(Debug)]
pub struct IngestMetrics {
    messages: IntCounterVec,
    bytes: IntCounterVec,
    rows: IntCounterVec,
    dead_letters: IntCounterVec,
    refused: IntCounterVec,
    freshness: Freshness,
    commits: IntCounterVec,
    commit_seconds: HistogramVec,
    conflicts: IntCounterVec,
    retries: IntCounter,
    lag: IntGaugeVec,
    lost: IntGaugeVec,
    held_bytes: IntGauge,
    budget_bytes: IntGauge,
    paused: IntGauge,
    waiting: IntGaugeVec,
    totals: [AtomicU64; 6],
    lag_by_topic: Mutex<BTreeMap<String, u64>>,
}

impl IngestMetrics {
    /// Registers all families of ingest.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, label: &str| -> Result<IntCounterVec, prometheus::Error> {
            let family = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let dead_letters = IntCounterVec::new(
            Opts::new("lakeward_ingest_dead_letters_total", "Events sent to dead letters, by the code of the reason"),
            &["topic", "code"],
        )?;
        registry.register(Box::new(dead_letters.clone()))?;
        let commit_seconds = HistogramVec::new(
            HistogramOpts::new("lakeward_ingest_commit_seconds", "Time that a commit took, by table")
                .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
            &["table"],
        )?;
        registry.register(Box::new(commit_seconds.clone()))?;
        let lag =
            IntGaugeVec::new(Opts::new("lakeward_ingest_lag", "Events in Kafka not yet in the raw table"), &["topic"])?;
        registry.register(Box::new(lag.clone()))?;
        let lost = IntGaugeVec::new(
            Opts::new(
                "lakeward_ingest_lost_offsets",
                "Offsets that Kafka no longer had when they were due, as the raw table has it",
            ),
            &["topic"],
        )?;
        registry.register(Box::new(lost.clone()))?;
        let waiting = IntGaugeVec::new(
            Opts::new("lakeward_ingest_waiting", "What ingest waits for, by part: kafka, registry or storage"),
            &["part"],
        )?;
        PARTS.iter().for_each(|part| waiting.with_label_values(&[part]).set(0));
        registry.register(Box::new(waiting.clone()))?;
        let retries = IntCounter::new("lakeward_ingest_storage_retries_total", "Commits or reads tried again")?;
        registry.register(Box::new(retries.clone()))?;
        Ok(IngestMetrics {
            messages: counter("lakeward_ingest_messages_total", "Events committed to raw tables", "topic")?,
            bytes: counter("lakeward_ingest_bytes_total", "Bytes of events committed to raw tables", "topic")?,
            rows: counter("lakeward_ingest_rows_total", "Rows committed to curated tables", "table")?,
            dead_letters,
            // A code is first seen with its first events, and by then Prometheus sees no increase.
            refused: counter(
                "lakeward_ingest_refused_total",
                "Events sent to dead letters, whatever the reason; 0 from the start",
                "topic",
            )?,
            freshness: Freshness::register(registry)?,
            commits: counter("lakeward_ingest_commits_total", "Commits, by table", "table")?,
            conflicts: counter("lakeward_ingest_conflicts_total", "Commits that another writer had made", "table")?,
            commit_seconds,
            retries,
            lag,
            lost,
            held_bytes: gauge("lakeward_ingest_held_bytes", "Bytes of events that are buffered or in flight")?,
            budget_bytes: gauge("lakeward_ingest_budget_bytes", "Bytes of events that may be held")?,
            paused: gauge("lakeward_ingest_paused", "Whether partitions are paused for memory")?,
            waiting,
            totals: Default::default(),
            lag_by_topic: Mutex::default(),
        })
    }

    /// With another objective of freshness than a minute: what is older when it becomes visible is told by a warning.
    #[must_use]
    pub fn with_objective(mut self, objective: Duration) -> Self {
        self.freshness.set_objective(objective);
        self
    }

    /// Shows all counters of a topic and its tables from the start: what has not happened yet stands at 0.
    pub(crate) fn declare<'a>(&self, topic: &str, tables: impl IntoIterator<Item = &'a str>, curated: &[&str]) {
        self.messages.with_label_values(&[topic]);
        self.bytes.with_label_values(&[topic]);
        self.refused.with_label_values(&[topic]);
        self.freshness.declare(topic);
        for table in tables {
            self.commits.with_label_values(&[table]);
            self.commit_seconds.with_label_values(&[table]);
            self.conflicts.with_label_values(&[table]);
        }
        for table in curated {
            self.rows.with_label_values(&[table]);
        }
    }

    pub(crate) fn budget(&self, bytes: usize) {
        self.budget_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// How much is waited for, by part.
    pub(crate) fn waiting(&self) -> IntGaugeVec {
        self.waiting.clone()
    }

    /// The freshness of each topic's events.
    pub(crate) fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// The totals as of now.
    pub fn totals(&self) -> Totals {
        let [messages, rows, dead_letters, commits, lag, bytes] = &self.totals;
        Totals {
            messages: messages.load(Relaxed),
            rows: rows.load(Relaxed),
            dead_letters: dead_letters.load(Relaxed),
            commits: commits.load(Relaxed),
            lag: lag.load(Relaxed),
            bytes: bytes.load(Relaxed),
        }
    }

    pub(crate) fn events(&self, topic: &str, messages: u64, bytes: u64) {
        self.messages.with_label_values(&[topic]).inc_by(messages);
        self.bytes.with_label_values(&[topic]).inc_by(bytes);
        self.totals[0].fetch_add(messages, Relaxed);
        self.totals[5].fetch_add(bytes, Relaxed);
    }

    pub(crate) fn rows(&self, table: &str, rows: u64) {
        self.rows.with_label_values(&[table]).inc_by(rows);
        self.totals[1].fetch_add(rows, Relaxed);
    }

    /// `code` is of a contract or of the engine, and never of an event.
    pub(crate) fn dead_letters(&self, topic: &str, code: &str, events: u64) {
        self.dead_letters.with_label_values(&[topic, code]).inc_by(events);
        self.refused.with_label_values(&[topic]).inc_by(events);
        self.totals[2].fetch_add(events, Relaxed);
    }

    pub(crate) fn commit(&self, table: &str, took: Duration) {
        self.commits.with_label_values(&[table]).inc();
        self.commit_seconds.with_label_values(&[table]).observe(took.as_secs_f64());
        self.totals[3].fetch_add(1, Relaxed);
    }

    pub(crate) fn conflict(&self, table: &str) {
        self.conflicts.with_label_values(&[table]).inc();
    }

    pub(crate) fn retry(&self) {
        self.retries.inc();
    }

    pub(crate) fn lag(&self, topic: &str, lag: u64) {
        self.lag.with_label_values(&[topic]).set(i64::try_from(lag).unwrap_or(i64::MAX));
        let mut by_topic = self.lag_by_topic.lock();
        by_topic.insert(topic.to_owned(), lag);
        self.totals[4].store(by_topic.values().sum(), Relaxed);
    }

    pub(crate) fn lost(&self, topic: &str, offsets: i64) {
        self.lost.with_label_values(&[topic]).set(offsets);
    }

    pub(crate) fn held(&self, bytes: usize, paused: bool) {
        self.held_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.paused.set(i64::from(paused));
    }
}

//! Records become durable together: one task, one segment after the other.
//!
//! Whoever has a record waits until its segment is put. While one is put, others come together for the next. A segment is
//! not begun before the window since the last one has passed, so that a busy process writes at most a hundred a second at
//! 10 ms; a record that comes alone begins at once.
//!
//! A segment that could not be put may have been put all the same, and even folded. So nothing ever follows on it: the next
//! one begins a chain of its own, under a new name.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use lakeward_tables::{Journal, Put, TablesError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Audit, AuditKey, AuditMetrics, AuditUnavailable, Kind, Record};

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditConfig {
    /// The time from the beginning of one segment to that of the next, where records come one after the other.
    pub window: Duration,
    /// How long a statement waits for its record before it is refused.
    pub patience: Duration,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { window: Duration::from_millis(5), patience: Duration::from_secs(10) }
    }
}

/// Records that wait, at most.
const WAITING: usize = 4_096;
/// Records of one segment, at most: each may name 10,000 persons a table.
const TOGETHER: usize = 256;

/// The audit in the segments of a lake, one writer for each start of a process.
#[derive(Debug, Clone)]
pub struct JournalAudit {
    orders: mpsc::Sender<Order>,
    key: AuditKey,
    patience: Duration,
    metrics: AuditMetrics,
}

#[derive(Debug)]
struct Order {
    record: Record,
    kept: Option<oneshot::Sender<Result<(), AuditUnavailable>>>,
}

impl JournalAudit {
    /// Starts the task that writes; it ends with the last handle.
    pub fn start(journal: Journal, key: AuditKey, config: AuditConfig, metrics: AuditMetrics) -> Arc<Self> {
        let (orders, waiting) = mpsc::channel(WAITING);
        let writer = Writer { journal, key: key.clone(), window: config.window, metrics: metrics.clone(), chain: None };
        tokio::spawn(writer.run(waiting));
        Arc::new(Self { orders, key, patience: config.patience, metrics })
    }

    /// Ends the chain in order. Statements that end later begin another one.
    pub async fn close(&self) -> Result<(), AuditUnavailable> {
        self.keep(Record::new(Kind::Closed)).await
    }
}

#[async_trait]
impl Audit for JournalAudit {
    async fn keep(&self, record: Record) -> Result<(), AuditUnavailable> {
        let (kept, answer) = oneshot::channel();
        let order = Order { record, kept: Some(kept) };
        let done = async {
            self.orders.send(order).await.map_err(|_| AuditUnavailable)?;
            answer.await.map_err(|_| AuditUnavailable)?
        };
        match tokio::time::timeout(self.patience, done).await {
            Ok(done) => done,
            Err(_) => {
                tracing::error!("the audit was not written in time");
                Err(AuditUnavailable)
            }
        }
    }

    fn keep_later(&self, record: Record) {
        if self.orders.try_send(Order { record, kept: None }).is_err() {
            self.metrics.lost.inc();
            tracing::error!("the end of a statement whose client went away could not be recorded");
        }
    }

    fn key(&self) -> &AuditKey {
        &self.key
    }
}

/// Where the chain of a name stands.
#[derive(Debug, Clone)]
struct Chain {
    writer: String,
    sequence: i64,
    segment: i64,
    last: String,
}

impl Chain {
    fn begin() -> Self {
        // So that they are listed in the order of their beginnings.
        let writer = format!("{}-{}", Utc::now().format("%Y%m%dt%H%M%S"), uuid::Uuid::new_v4().simple());
        Self { writer, sequence: 0, segment: 0, last: String::new() }
    }

    /// The lines of a segment with these records, and where the chain stands after it.
    fn with(mut self, records: impl IntoIterator<Item = Record>, key: &AuditKey) -> (Bytes, Self) {
        let mut lines = Vec::new();
        for mut record in records {
            record.writer.clone_from(&self.writer);
            record.sequence = self.sequence;
            record.segment = self.segment;
            record.chain = record.link(key, &self.last);
            lines.extend(record.line());
            lines.push(b'\n');
            self.sequence += 1;
            self.last = record.chain;
        }
        self.segment += 1;
        (lines.into(), self)
    }
}

struct Writer {
    journal: Journal,
    key: AuditKey,
    window: Duration,
    metrics: AuditMetrics,
    /// None before the first record, and after one that may or may not be there.
    chain: Option<Chain>,
}

impl Writer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Order>) {
        let mut begun: Option<Instant> = None;
        let mut orders = Vec::with_capacity(TOGETHER);
        while waiting.recv_many(&mut orders, TOGETHER).await > 0 {
            if let Some(due) = begun.map(|begun| begun + self.window).filter(|due| *due > Instant::now()) {
                tokio::time::sleep_until(due).await;
                while orders.len() < TOGETHER
                    && let Ok(order) = waiting.try_recv()
                {
                    orders.push(order);
                }
            }
            let now = Instant::now();
            begun = Some(now);
            let (records, kept): (Vec<_>, Vec<_>) = orders.drain(..).map(|order| (order.record, order.kept)).unzip();
            let count = records.len() as u64;
            let outcome = self.write(records).await.map_err(|error| {
                tracing::error!(%error, records = count, "the audit cannot be written; its statements are refused");
                AuditUnavailable
            });
            match outcome {
                Ok(()) => {
                    self.metrics.seconds.observe(now.elapsed().as_secs_f64());
                    self.metrics.segments.inc();
                    self.metrics.records.inc_by(count);
                }
                Err(_) => self.metrics.failures.inc(),
            }
            for kept in kept.into_iter().flatten() {
                // Who does not wait any more was refused already.
                let _ = kept.send(outcome);
            }
        }
    }

    async fn write(&mut self, mut records: Vec<Record>) -> Result<(), TablesError> {
        let chain = self.chain.take().unwrap_or_else(|| {
            records.insert(0, Record::new(Kind::Opened));
            Chain::begin()
        });
        let ends = records.last().is_some_and(|record| record.kind == Kind::Closed);
        let (writer, number) = (chain.writer.clone(), chain.segment);
        let (lines, after) = chain.with(records, &self.key);
        if self.journal.put(&writer, number, lines.clone()).await? == Put::Taken {
            // The store was asked twice, and it was the first time that counted. Where it is gone it has been folded.
            let there = self.journal.read(&writer, number).await?;
            if there.is_some_and(|there| there != lines) {
                let message = "another one writes under the same name".to_owned();
                return Err(TablesError::Schema { table: lakeward_tables::TableName::audit_events(), message });
            }
        }
        self.chain = Some(after).filter(|_| !ends);
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! One table as ingest writes it: where it stands, and commits that neither lose nor double anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use lakeward_tables::{Change, Lake, Progress, TableName, TablesError};
use tokio_util::sync::CancellationToken;

use crate::buffer::{Range, Ranges};
use crate::error::IngestError;
use crate::metrics::IngestMetrics;
use crate::registry::{Registry, Schemas};
use crate::state::{STORAGE, StateBoard};

/// What every table of a topic is written with.
#[derive(Clone)]
pub(crate) struct Writing {
    pub(crate) lake: Lake,
    pub(crate) source: String,
    pub(crate) topic: String,
    pub(crate) board: Arc<StateBoard>,
    pub(crate) metrics: Arc<IngestMetrics>,
    /// Ends all attempts: at a shutdown that has no more time.
    pub(crate) abandon: CancellationToken,
    pub(crate) registry: Option<Arc<Registry>>,
}

impl Writing {
    /// The schemas of the topic's payloads.
    pub(crate) fn schemas(&self) -> Schemas {
        Schemas::patient(self.registry.clone(), Arc::clone(&self.board), &self.topic, self.abandon.clone())
    }
}

/// The process ends before storage came back; the events are still in Kafka.
#[derive(Debug)]
pub(crate) struct Abandoned;

/// Why a commit did not come about.
#[derive(Debug)]
pub(crate) enum Unwritten {
    Abandoned,
    /// The table lacks events before those of the batch, from this offset on.
    Behind {
        partition: i32,
        at: i64,
    },
    Defect(IngestError),
}

impl From<Abandoned> for Unwritten {
    fn from(_: Abandoned) -> Self {
        Unwritten::Abandoned
    }
}

impl From<IngestError> for Unwritten {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Abandoned => Unwritten::Abandoned,
            error => Unwritten::Defect(error),
        }
    }
}

/// How rows come into a table.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// Beside those that are there.
    Append,
    /// Corrections in place of what they correct, all others beside it.
    Correct,
    /// In place of the row of this key.
    Upsert(Vec<String>),
}

pub(crate) struct TableWriter {
    name: TableName,
    way: Way,
    writing: Writing,
    positions: BTreeMap<i32, i64>,
}

impl TableWriter {
    pub(crate) fn new(name: TableName, way: Way, writing: Writing) -> Self {
        TableWriter { name, way, writing, positions: BTreeMap::new() }
    }

    pub(crate) fn name(&self) -> &TableName {
        &self.name
    }

    /// The next offset that the table lacks, as last read.
    pub(crate) fn position(&self, partition: i32) -> Option<i64> {
        self.positions.get(&partition).copied()
    }

    /// The partitions of which the table has anything, as last read.
    pub(crate) fn partitions(&self) -> Vec<i32> {
        self.positions.keys().copied().collect()
    }

    /// The other sources from which the table has anything of the topic.
    pub(crate) async fn other_sources(&self) -> Result<Vec<String>, Abandoned> {
        let what = format!("where {} stands cannot be read", self.name);
        let mut attempt = Attempt::new(&self.writing, what, self.name.to_string());
        loop {
            match self.writing.lake.sources(&self.name, &self.writing.topic).await {
                Ok(sources) => {
                    attempt.over();
                    return Ok(sources.into_iter().filter(|source| *source != self.writing.source).collect());
                }
                Err(error) => attempt.again(&error).await?,
            }
        }
    }

    /// Reads where the table stands.
    pub(crate) async fn refresh(&mut self) -> Result<(), Abandoned> {
        let mut attempt =
            Attempt::new(&self.writing, format!("where {} stands cannot be read", self.name), self.name.to_string());
        loop {
            match self.writing.lake.next_offsets(&self.name, &self.writing.source, &self.writing.topic).await {
                Ok(positions) => {
                    self.positions = positions;
                    attempt.over();
                    return Ok(());
                }
                Err(error) => attempt.again(&error).await?,
            }
        }
    }

    /// The part of `ranges` that the table lacks.
    fn due(&self, ranges: &Ranges) -> Result<Ranges, Unwritten> {
        let mut due = Ranges::new();
        for (partition, range) in ranges {
            match self.position(*partition) {
                Some(at) if at >= range.next => {}
                Some(at) if at < range.from => return Err(Unwritten::Behind { partition: *partition, at }),
                at => drop(due.insert(*partition, Range { from: at.unwrap_or(range.from), next: range.next })),
            }
        }
        Ok(due)
    }

    /// Commits what the table lacks of a batch. `rows` gives the rows of the ranges that are due. Tries until storage
    /// takes it. Gives how many rows those were.
    pub(crate) async fn commit(
        &mut self,
        ranges: &Ranges,
        rows: impl Fn(&Ranges) -> Result<Vec<RecordBatch>, IngestError>,
    ) -> Result<u64, Unwritten> {
        let mut attempt =
            Attempt::new(&self.writing, format!("{} cannot be written", self.name), self.name.to_string());
        loop {
            let due = self.due(ranges)?;
            if due.is_empty() {
                attempt.over();
                return Ok(0);
            }
            let rows = rows(&due)?;
            let count = rows.iter().map(|batch| batch.num_rows() as u64).sum();
            let begun = Instant::now();
            match self.writing.lake.commit(&self.name, self.change(rows, &due)).await {
                Ok(_) => {
                    attempt.over();
                    self.writing.metrics.commit(&self.name.to_string(), begun.elapsed());
                    self.positions.extend(due.iter().map(|(partition, range)| (*partition, range.next)));
                    return Ok(count);
                }
                Err(error @ TablesError::NotAtPosition { .. }) => {
                    // Somebody else owns the partition by now, or an earlier attempt landed after all. What stands there
                    // is the same events; what does not is still due.
                    tracing::info!(table = %self.name, %error, "another commit was first");
                    self.writing.metrics.conflict(&self.name.to_string());
                    self.refresh().await?;
                }
                Err(error) => {
                    attempt.again(&error).await?;
                    self.refresh().await?;
                }
            }
        }
    }

    fn change(&self, rows: Vec<RecordBatch>, due: &Ranges) -> Change {
        let progress = due
            .iter()
            .map(|(partition, range)| Progress {
                source: self.writing.source.clone(),
                topic: self.writing.topic.clone(),
                partition: *partition,
                from: range.from,
                next: range.next,
            })
            .collect();
        match &self.way {
            Way::Append => Change::Append { rows, progress },
            Way::Correct => Change::Correct { rows, progress },
            Way::Upsert(key) => Change::Upsert { rows, key: key.clone(), progress },
        }
    }
}

/// Tries again with growing pauses, and tells the state board meanwhile.
pub(crate) struct Attempt {
    writing: Writing,
    what: String,
    key: String,
    pause: Duration,
    failed: bool,
}

impl Attempt {
    pub(crate) fn new(writing: &Writing, what: String, key: String) -> Self {
        Attempt { writing: writing.clone(), what, key, pause: Duration::from_millis(50), failed: false }
    }

    pub(crate) async fn again(&mut self, error: &TablesError) -> Result<(), Abandoned> {
        self.failed = true;
        self.writing.metrics.retry();
        // Two writers of one table are everyday and no trouble to speak of.
        if !error.is_fenced() || self.pause > Duration::from_secs(2) {
            self.writing.board.raise(STORAGE, &self.key, format!("{}: {error}", self.what));
        }
        tokio::select! {
            () = self.writing.abandon.cancelled() => return Err(Abandoned),
            () = tokio::time::sleep(self.pause) => {}
        }
        self.pause = (self.pause * 2).min(Duration::from_secs(5));
        Ok(())
    }

    pub(crate) fn over(&self) {
        if self.failed {
            self.writing.board.clear(STORAGE, &self.key);
        }
    }
}

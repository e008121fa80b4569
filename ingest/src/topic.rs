//! The task of one topic: takes its batches in order, and brings each into the raw table, the curated tables and the
//! dead letters.
//!
//! The raw table is committed while the batch is decoded and curated. Then come the tables that only the engine reads
//! (what they say of an event must stand before the event's own rows can be seen), then all others at once. Each table
//! has its own position, so each skips what it has, and what one lacks is read again from raw.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::min;
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use futures::future::join_all;
use lakeward_tables::{Lakehouse, Mode, TableContract, TopicContract};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use crate::buffer::{Range, Ranges, Sealed};
use crate::changes::{curated_rows, dead_codes, dead_rows, raw_rows};
use crate::engine::{Engine, Outcome, tables_of};
use crate::error::IngestError;
use crate::intake::Work;
use crate::rebalance::Committed;
use crate::replay::Replay;
use crate::sink::{Abandoned, TableWriter, Unwritten, Way, Writing};
use crate::undeclared::Sampler;

pub(crate) struct TopicTask {
    lakehouse: Arc<Lakehouse>,
    contract: TopicContract,
    writing: Writing,
    engine: Option<Engine>,
    raw: TableWriter,
    dead_letter: TableWriter,
    /// First those that only the engine reads.
    curated: Vec<(TableContract, TableWriter)>,
    sampler: Sampler,
    /// Whether other sources' events have been seen to.
    looked_back: bool,
    committed: Arc<Committed>,
    /// Makes the consumer start over.
    broken: Arc<Mutex<Option<String>>>,
}

impl TopicTask {
    pub(crate) fn new(
        lakehouse: Arc<Lakehouse>,
        contract: TopicContract,
        engine: Engine,
        writing: Writing,
        committed: Arc<Committed>,
        broken: Arc<Mutex<Option<String>>>,
    ) -> Self {
        let curated = tables_of(&lakehouse, &contract.topic)
            .into_iter()
            .map(|table| {
                let way = match table.mode {
                    Mode::Append => Way::Append,
                    Mode::Corrected => Way::Correct,
                    Mode::Upsert => Way::Upsert(table.primary_key.clone()),
                };
                (table.clone(), TableWriter::new(table.name.clone(), way, writing.clone()))
            })
            .collect();
        TopicTask {
            raw: TableWriter::new(contract.table.clone(), Way::Append, writing.clone()),
            dead_letter: TableWriter::new(contract.dead_letter.clone(), Way::Append, writing.clone()),
            curated,
            sampler: Sampler::new(&contract.topic, &contract.payload),
            looked_back: false,
            engine: Some(engine),
            lakehouse,
            contract,
            writing,
            committed,
            broken,
        }
    }

    /// Works until there is no more, or until it is told to abandon what storage does not take.
    pub(crate) async fn run(mut self, mut given: UnboundedReceiver<Work>) {
        // After a failure nothing that was read before fits any more: the consumer starts over from where raw stands.
        let mut failed = false;
        while let Some(work) = given.recv().await {
            let (done, _held) = match work {
                Work::Assigned(partitions) => {
                    failed = false;
                    (self.assigned(&partitions).await, None)
                }
                Work::Batch(_, held) if failed => (Ok(()), Some(held)),
                Work::Batch(sealed, held) => (self.batch(sealed).await, Some(held)),
            };
            match done {
                Ok(()) => {}
                Err(Unwritten::Abandoned) => {
                    tracing::warn!(topic = self.contract.topic, "what was read is left to the next start");
                    return;
                }
                Err(unwritten) => {
                    failed = true;
                    *self.broken.lock() = Some(self.words(&unwritten));
                }
            }
        }
    }

    fn words(&self, unwritten: &Unwritten) -> String {
        match unwritten {
            Unwritten::Abandoned => "abandoned".to_owned(),
            Unwritten::Behind { partition, at } => {
                format!(
                    "{} lacks events of partition {partition} from offset {at} on: was it restored?",
                    self.contract.table
                )
            }
            Unwritten::Defect(error) => format!("{}: {error}", self.contract.topic),
        }
    }

    async fn assigned(&mut self, partitions: &[i32]) -> Result<(), Unwritten> {
        if !self.looked_back {
            self.look_back().await?;
            self.looked_back = true;
        }
        self.refresh().await?;
        self.catch_up(partitions).await
    }

    async fn refresh(&mut self) -> Result<(), Abandoned> {
        self.raw.refresh().await?;
        self.dead_letter.refresh().await?;
        for (_, writer) in &mut self.curated {
            writer.refresh().await?;
        }
        Ok(())
    }

    /// What a source left in raw when it ended for good is brought into the other tables too: nobody will ever be
    /// assigned its partitions again. Where several processes do it at once, positions let each row in once.
    async fn look_back(&mut self) -> Result<(), Unwritten> {
        for source in self.raw.other_sources().await? {
            let engine = match self.engine.take() {
                Some(engine) => engine,
                None => Engine::new(&self.lakehouse, &self.contract, self.writing.schemas()).await?,
            };
            let writing = Writing { source, ..self.writing.clone() };
            let (lakehouse, contract) = (Arc::clone(&self.lakehouse), self.contract.clone());
            let (committed, broken) = (Arc::clone(&self.committed), Arc::clone(&self.broken));
            let mut other = TopicTask::new(lakehouse, contract, engine, writing, committed, broken);
            other.refresh().await?;
            let partitions = other.raw.partitions();
            other.catch_up(&partitions).await?;
            self.engine = other.engine.take();
        }
        Ok(())
    }

    /// Brings the tables that are behind the raw table up to where it stands.
    async fn catch_up(&mut self, partitions: &[i32]) -> Result<(), Unwritten> {
        let mut behind = Ranges::new();
        for partition in partitions {
            let Some(until) = self.raw.position(*partition) else { continue };
            let derived = self.curated.iter().map(|(_, writer)| writer).chain([&self.dead_letter]);
            let at = derived.map(|writer| writer.position(*partition).unwrap_or(0)).min().unwrap_or(until);
            if at < until {
                tracing::info!(topic = self.contract.topic, partition, from = at, until, "tables catch up with raw");
                behind.insert(*partition, Range { from: at, next: until });
            }
        }
        if behind.is_empty() {
            return Ok(());
        }
        let mut replay = Replay::new(self.raw.name().clone(), &self.writing, behind);
        let mut read = replay.next().await?;
        while let Some((rows, ranges)) = read {
            // The next events are read while these are decoded and committed.
            let (done, next) = futures::join!(self.again(rows, ranges), replay.next());
            done?;
            read = next?;
        }
        Ok(())
    }

    /// Brings events of raw into the other tables.
    async fn again(&mut self, rows: RecordBatch, ranges: Ranges) -> Result<(), Unwritten> {
        let outcome = self.process(&rows).await?;
        self.derive_or_isolate(rows, ranges, outcome).await
    }

    async fn batch(&mut self, sealed: Sealed) -> Result<(), Unwritten> {
        let metrics = Arc::clone(&self.writing.metrics);
        metrics.freshness().taken(&self.contract.topic, oldest(&sealed.rows));
        let brought = self.bring(sealed).await;
        match brought {
            Ok(()) => metrics.freshness().landed(&self.contract.topic),
            // It is read again, here or by whoever has the partition then.
            Err(_) => metrics.freshness().taken(&self.contract.topic, None),
        }
        brought
    }

    async fn bring(&mut self, sealed: Sealed) -> Result<(), Unwritten> {
        let Sealed { rows, ranges, bytes, spare } = sealed;
        let processing = self.start(&rows).await?;
        let written = self.raw.commit(&ranges, |due| raw_rows(&rows, due)).await;
        let outcome = self.finish(processing).await;
        let written = written?;
        let outcome = outcome?;
        self.writing.metrics.events(&self.contract.topic, written, if written > 0 { bytes as u64 } else { 0 });
        self.committed
            .lock()
            .entry(self.contract.topic.clone())
            .or_default()
            .extend(ranges.iter().map(|(partition, range)| (*partition, range.next)));
        self.derive_or_isolate(rows.clone(), ranges, outcome).await?;
        self.sampler.look(&rows, &self.writing.source, &self.writing.lake).await;
        spare.keep(rows);
        Ok(())
    }

    async fn process(&mut self, rows: &RecordBatch) -> Result<Option<Outcome>, IngestError> {
        let processing = self.start(rows).await?;
        self.finish(processing).await
    }

    /// Decodes and curates on a thread of its own.
    async fn start(&mut self, rows: &RecordBatch) -> Result<Processing, IngestError> {
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None => Engine::new(&self.lakehouse, &self.contract, self.writing.schemas()).await?,
        };
        let (rows, runtime) = (rows.clone(), Handle::current());
        Ok(tokio::task::spawn_blocking(move || {
            let outcome = runtime.block_on(engine.process(&rows));
            (engine, outcome)
        }))
    }

    /// Nothing where decoding or curating ended in a defect of the engine: it is made anew for the next batch.
    async fn finish(&mut self, processing: Processing) -> Result<Option<Outcome>, IngestError> {
        match processing.await {
            Ok((engine, Ok(outcome))) => {
                self.engine = Some(engine);
                Ok(Some(outcome))
            }
            Ok((_, Err(IngestError::Abandoned))) => Err(IngestError::Abandoned),
            // Neither a panic's text nor an error's may be shown: they may quote a value.
            Ok((_, Err(_))) | Err(_) => {
                tracing::error!(topic = self.contract.topic, "a batch met a defect; its events are taken one by one");
                Ok(None)
            }
        }
    }

    /// Commits what came of a batch; a batch that met a defect is halved until the event that does it stands alone.
    async fn derive_or_isolate(
        &mut self,
        rows: RecordBatch,
        ranges: Ranges,
        outcome: Option<Outcome>,
    ) -> Result<(), Unwritten> {
        let mut due = vec![(rows, ranges, Some(outcome))];
        while let Some((rows, ranges, outcome)) = due.pop() {
            let outcome = match outcome {
                Some(outcome) => outcome,
                None => self.process(&rows).await?,
            };
            match outcome {
                Some(outcome) => self.derive(&rows, &ranges, &outcome).await?,
                None if rows.num_rows() <= 1 => {
                    let outcome = Outcome::defect(rows.num_rows(), self.curated.len());
                    self.derive(&rows, &ranges, &outcome).await?;
                }
                None => {
                    let (first, second) = halves(&rows, &ranges)?;
                    due.push((second.0, second.1, None));
                    due.push((first.0, first.1, None));
                }
            }
        }
        Ok(())
    }

    /// Commits the curated tables and the dead letters.
    async fn derive(&mut self, rows: &RecordBatch, ranges: &Ranges, outcome: &Outcome) -> Result<(), Unwritten> {
        let metrics = Arc::clone(&self.writing.metrics);
        let tables = self.curated.iter_mut().zip(&outcome.tables);
        let mut open = Vec::new();
        for ((table, writer), curated) in tables {
            let (metrics, hidden) = (&metrics, table.hidden);
            let commit = async move {
                let build = |due: &Ranges| curated_rows(rows, due, table, curated, &outcome.tombstones);
                let written = writer.commit(ranges, build).await?;
                metrics.rows(&table.name.to_string(), written);
                Ok::<(), Unwritten>(())
            };
            if hidden {
                commit.await?;
            } else {
                open.push(commit);
            }
        }
        let dead_letter = async {
            let codes = Mutex::new(BTreeMap::new());
            let build = |due: &Ranges| {
                let dead = dead_rows(rows, due, outcome)?;
                *codes.lock() = dead_codes(&dead)?;
                Ok(dead)
            };
            // What another process has committed by now is counted there.
            if self.dead_letter.commit(ranges, build).await? > 0 {
                for (code, events) in codes.into_inner() {
                    metrics.dead_letters(&self.contract.topic, &code, events);
                }
            }
            Ok::<(), Unwritten>(())
        };
        let (open, dead_letter) = futures::join!(join_all(open), dead_letter);
        open.into_iter().chain([dead_letter]).collect()
    }
}

/// The producer's timestamp of the oldest event, in microseconds since 1970.
fn oldest(rows: &RecordBatch) -> Option<i64> {
    min(rows.column_by_name("timestamp")?.as_primitive_opt::<TimestampMicrosecondType>()?)
}

/// An engine at work, which it comes back from.
type Processing = JoinHandle<(Engine, Result<Outcome, IngestError>)>;

type Part = (RecordBatch, Ranges);

/// Two batches that stand for the same offsets as one.
fn halves(rows: &RecordBatch, ranges: &Ranges) -> Result<(Part, Part), IngestError> {
    let middle = rows.num_rows() / 2;
    let (first, second) = (rows.slice(0, middle), rows.slice(middle, rows.num_rows() - middle));
    let partitions = first.column(first.schema_ref().index_of("partition")?).as_primitive::<Int32Type>();
    let offsets = first.column(first.schema_ref().index_of("offset")?).as_primitive::<Int64Type>();
    let mut before = Ranges::new();
    for (partition, offset) in partitions.values().iter().zip(offsets.values()) {
        if let Some(range) = ranges.get(partition) {
            before.entry(*partition).or_insert(*range).next = offset + 1;
        }
    }
    let mut after = ranges.clone();
    for (partition, range) in &before {
        after.entry(*partition).and_modify(|rest| rest.from = range.next);
    }
    after.retain(|_, range| range.from < range.next);
    Ok(((first, before), (second, after)))
}

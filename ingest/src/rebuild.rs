//! A curated table made again from raw, by the engine that ingest runs.
//!
//! Dead letters stay what they are: of events that stand there no row is made. An event that gave rows and would give none
//! under today's contracts is told, and then nothing is changed: its rows would be gone without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use lakeward_tables::{Change, Lake, Mode, Progress, RawWindow, Rebuild, TableContract, TableName, TopicContract};

use crate::buffer::Range;
use crate::changes::curated_rows;
use crate::engine::{Engine, tables_of};
use crate::error::IngestError;
use crate::registry::{Registry, Schemas};
use crate::replay::ranges;

/// A table was made again, or would have lost rows by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebuilt {
    /// It is this version of the table now.
    As {
        /// The version.
        version: u64,
        /// Events that were read.
        events: u64,
    },
    /// Nothing was changed: so many events gave rows and give none any more, by the code of their reason.
    WouldLose(BTreeMap<String, u64>),
}

/// What a rebuild has to do with.
struct Work<'a> {
    lake: &'a Lake,
    rebuild: &'a Rebuild,
    table: &'a TableContract,
    registry: Option<Arc<Registry>>,
    told: &'a mut (dyn FnMut(u64) + Send),
    events: u64,
    unfit: BTreeMap<String, u64>,
}

/// Makes a curated table again from raw, beside the old one, and swaps. `told` is called with the number of events read.
///
/// # Errors
///
/// Storage or a schema registry that does not answer, a table that is no curated one or not there yet, SELECTs that do not
/// fit. The old table is as it was.
pub async fn rebuild(
    lake: &Lake,
    table: &TableName,
    registry: Option<Arc<Registry>>,
    told: &mut (dyn FnMut(u64) + Send),
) -> Result<Rebuilt, IngestError> {
    let rebuild = lake.rebuild(table).await?;
    let contract = lake.lakehouse().table(table).ok_or(IngestError::Ended("the contract of a table"))?.clone();
    let mut work =
        Work { lake, rebuild: &rebuild, table: &contract, registry, told, events: 0, unfit: BTreeMap::new() };
    let swapped = work.run().await;
    let (events, unfit) = (work.events, work.unfit);
    match swapped {
        Ok(Some(version)) => Ok(Rebuilt::As { version, events }),
        Ok(None) => {
            rebuild.abandon().await?;
            Ok(Rebuilt::WouldLose(unfit))
        }
        Err(error) => {
            // What is left behind does no harm; the reason is what matters.
            if let Err(left) = rebuild.abandon().await {
                tracing::debug!(%left, "the files of a failed rebuild stay");
            }
            Err(error)
        }
    }
}

impl Work<'_> {
    /// The version; none where events do not fit any more.
    async fn run(&mut self) -> Result<Option<u64>, IngestError> {
        let lakehouse = Arc::clone(self.lake.lakehouse());
        loop {
            for source in &self.table.from {
                let topic = lakehouse.topics.get(&source.topic).ok_or(IngestError::Ended("the contract of a topic"))?;
                self.topic(topic).await?;
            }
            if !self.unfit.is_empty() {
                return Ok(None);
            }
            // Ingest may have gone on: then there is a little more to do.
            if let Some(version) = self.rebuild.swap().await? {
                return Ok(Some(version));
            }
        }
    }

    async fn topic(&mut self, topic: &TopicContract) -> Result<(), IngestError> {
        let lakehouse = Arc::clone(self.lake.lakehouse());
        let mut engine = Engine::new(&lakehouse, topic, Schemas::at_once(self.registry.clone())).await?;
        let (stands, made) = (self.rebuild.stands(&topic.topic).await?, self.rebuild.made(&topic.topic).await?);
        for (source, partitions) in stands {
            let at = |partition| made.get(&source).and_then(|made| made.get(&partition)).copied().unwrap_or(0);
            let due = partitions.into_iter().map(|(partition, next)| (partition, at(partition)..next)).collect();
            let mut walk = self.lake.walk_raw(&topic.table, &source, &topic.topic, due).await?;
            while let Some((window, rest)) = walk.next().await? {
                self.window(topic, &mut engine, &source, window).await?;
                walk = rest;
            }
        }
        Ok(())
    }

    /// Brings some events over.
    async fn window(
        &mut self,
        topic: &TopicContract,
        engine: &mut Engine,
        source: &str,
        window: RawWindow,
    ) -> Result<(), IngestError> {
        let due = ranges(&window);
        let rows = self.living(topic, source, window).await?;
        let outcome = engine.process(&rows).await?;
        for reason in outcome.faults.values() {
            let code = reason.split_once(": ").map_or(reason.as_str(), |(code, _)| code);
            *self.unfit.entry(code.to_owned()).or_default() += 1;
        }
        let lakehouse = self.lake.lakehouse();
        let place = tables_of(lakehouse, &topic.topic).iter().position(|table| table.name == self.table.name);
        let made = place.and_then(|place| outcome.tables.get(place)).ok_or(IngestError::Ended("a table of a topic"))?;
        let made = curated_rows(&rows, &due, self.table, made, &outcome.tombstones)?;
        let step = |(partition, range): (&i32, &Range)| Progress {
            source: source.to_owned(),
            topic: topic.topic.clone(),
            partition: *partition,
            from: range.from,
            next: range.next,
        };
        let (rows_made, progress) = (made, due.iter().map(step).collect());
        self.rebuild
            .commit(match self.table.mode {
                Mode::Append => Change::Append { rows: rows_made, progress },
                Mode::Corrected => Change::Correct { rows: rows_made, progress },
                Mode::Upsert => Change::Upsert { rows: rows_made, key: self.table.primary_key.clone(), progress },
            })
            .await?;
        self.events += rows.num_rows() as u64;
        (self.told)(self.events);
        Ok(())
    }

    /// The events of a window without those that are dead letters.
    async fn living(&self, topic: &TopicContract, source: &str, window: RawWindow) -> Result<RecordBatch, IngestError> {
        let mut dead = BTreeSet::new();
        for (partition, range) in window.ranges {
            let offsets = self.lake.offsets(&topic.dead_letter, source, &topic.topic, partition, range).await?;
            dead.extend(offsets.into_iter().map(|offset| (partition, offset)));
        }
        if dead.is_empty() {
            return Ok(window.rows);
        }
        let column = |name: &str| Ok::<_, IngestError>(window.rows.column(window.rows.schema_ref().index_of(name)?));
        let partitions = column("partition")?.as_primitive::<Int32Type>().values();
        let offsets = column("offset")?.as_primitive::<Int64Type>().values();
        let lives = |(partition, offset): (&i32, &i64)| Some(!dead.contains(&(*partition, *offset)));
        let lives: BooleanArray = partitions.iter().zip(offsets).map(lives).collect();
        Ok(filter_record_batch(&window.rows, &lives)?)
    }
}

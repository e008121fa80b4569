//! Dead letters through the contracts of today: those that pass get their rows, once, and leave the dead letters.
//!
//! What is begun is noted first ([`Underway`]). Each table then takes its rows in a commit that it takes once, and last the
//! dead letters go. Whoever is interrupted, and starts again, finds the note and does what is left of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::Int64Type;
use datafusion::physical_plan::common::collect;
use lakeward_tables::{
    Change, Lake, Mode, TableContract, TablesError, TopicContract, Underway, dead_letter_schema, raw_schema,
};

use crate::buffer::{Range, Ranges};
use crate::changes::curated_rows;
use crate::engine::{Engine, Outcome, tables_of};
use crate::error::IngestError;
use crate::registry::{Registry, Schemas};

/// How many offsets are looked at at once.
const WINDOW: i64 = 20_000;

/// What became of a topic's dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Those that passed.
    pub passed: u64,
    /// Those that stay, by the code of today's reason.
    pub stay: BTreeMap<String, u64>,
}

struct Work<'a> {
    lake: &'a Lake,
    topic: &'a TopicContract,
    engine: Engine,
    replayed: Replayed,
}

/// Brings the dead letters of a topic through today's contracts.
///
/// # Errors
///
/// Storage or a schema registry that does not answer; SELECTs that do not fit; an interrupted replay that began under other
/// contracts, by which some of its dead letters passed that do not now.
pub async fn replay(
    lake: &Lake,
    topic: &TopicContract,
    registry: Option<Arc<Registry>>,
) -> Result<Replayed, IngestError> {
    let lakehouse = Arc::clone(lake.lakehouse());
    let engine = Engine::new(&lakehouse, topic, Schemas::at_once(registry)).await?;
    let mut work = Work { lake, topic, engine, replayed: Replayed::default() };
    while let Some(begun) = lake.replay_underway(&topic.topic).await? {
        work.resume(&begun).await?;
    }
    let sources = lake.sources(&topic.dead_letter, &topic.topic).await?;
    for source in sources {
        for (partition, next) in lake.next_offsets(&topic.dead_letter, &source, &topic.topic).await? {
            work.partition(&source, partition, next).await?;
        }
    }
    Ok(work.replayed)
}

impl Work<'_> {
    async fn partition(&mut self, source: &str, partition: i32, end: i64) -> Result<(), IngestError> {
        let (dead, topic) = (&self.topic.dead_letter, &self.topic.topic);
        let mut from = 0;
        while let Some(first) = self.lake.first_raw_offset(dead, source, topic, partition, from, end).await? {
            let range = Range { from: first, next: end.min(first + WINDOW) };
            self.window(source, partition, range).await?;
            from = range.next;
        }
        Ok(())
    }

    async fn window(&mut self, source: &str, partition: i32, range: Range) -> Result<(), IngestError> {
        let letters = self.letters(source, partition, range).await?;
        let outcome = self.engine.process(&letters).await?;
        for reason in outcome.faults.values() {
            let code = reason.split_once(": ").map_or(reason.as_str(), |(code, _)| code);
            *self.replayed.stay.entry(code.to_owned()).or_default() += 1;
        }
        let passing = offsets(&letters)?.enumerate().filter(|(row, _)| !outcome.faults.contains_key(row));
        let offsets: BTreeSet<i64> = passing.map(|(_, offset)| offset).collect();
        if offsets.is_empty() {
            return Ok(());
        }
        let number = self.lake.fresh_snapshot(&self.topic.dead_letter).await?.version;
        let begun = Underway { number, source: source.to_owned(), partition, offsets };
        if !self.lake.begin_replay(&self.topic.topic, &begun).await? {
            return Err(IngestError::Client(format!("another replay of {} has begun", self.topic.topic)));
        }
        self.bring(&begun, &letters, &outcome).await
    }

    /// What an interrupted replay has left to do.
    async fn resume(&mut self, begun: &Underway) -> Result<(), IngestError> {
        let (Some(first), Some(last)) = (begun.offsets.first(), begun.offsets.last()) else {
            return Ok(self.lake.end_replay(&self.topic.topic).await?);
        };
        let range = Range { from: *first, next: last + 1 };
        let letters = self.letters(&begun.source, begun.partition, range).await?;
        let meant: BooleanArray = offsets(&letters)?.map(|offset| Some(begun.offsets.contains(&offset))).collect();
        let letters = filter_record_batch(&letters, &meant)?;
        if letters.num_rows() == 0 {
            // They have left: only the note was to be taken away.
            return Ok(self.lake.end_replay(&self.topic.topic).await?);
        }
        let outcome = self.engine.process(&letters).await?;
        if outcome.faults.is_empty() {
            return self.bring(begun, &letters, &outcome).await;
        }
        for table in self.tables() {
            if self.lake.has_replayed(&table.name, &self.topic.topic, begun.number).await? {
                return Err(IngestError::Client(format!(
                    "a replay of {} was interrupted after {} had its rows, and {} of its {} dead letters do not pass under \
                     these contracts: finish it with the contracts that it began with",
                    self.topic.topic,
                    table.name,
                    outcome.faults.len(),
                    begun.offsets.len()
                )));
            }
        }
        // No table has anything of it: it has not begun.
        Ok(self.lake.end_replay(&self.topic.topic).await?)
    }

    /// Into each table once, then out of the dead letters. First those tables that only the engine reads, as in ingest.
    async fn bring(&mut self, begun: &Underway, letters: &RecordBatch, outcome: &Outcome) -> Result<(), IngestError> {
        let (topic, all) = (&self.topic.topic, Ranges::from([(begun.partition, Range { from: 0, next: i64::MAX })]));
        for (table, made) in self.tables().iter().zip(&outcome.tables) {
            let (rows, progress) = (curated_rows(letters, &all, table, made, &outcome.tombstones)?, Vec::new());
            let change = match table.mode {
                Mode::Append => Change::Append { rows, progress },
                Mode::Corrected => Change::Correct { rows, progress },
                Mode::Upsert => Change::Upsert { rows, key: table.primary_key.clone(), progress },
            };
            self.lake.commit_replayed(&table.name, topic, begun.number, change).await?;
        }
        let gone = self.lake.remove_replayed(&self.topic.dead_letter, topic, begun).await?;
        self.replayed.passed += gone.unwrap_or_default();
        Ok(self.lake.end_replay(topic).await?)
    }

    fn tables(&self) -> Vec<TableContract> {
        tables_of(self.lake.lakehouse(), &self.topic.topic).into_iter().cloned().collect()
    }

    /// Dead letters of a range as the messages that they were.
    async fn letters(&self, source: &str, partition: i32, range: Range) -> Result<RecordBatch, IngestError> {
        let (dead, topic) = (&self.topic.dead_letter, &self.topic.topic);
        let stream = self.lake.raw_rows(dead, source, topic, partition, range.from, range.next).await?;
        let failed = |source| TablesError::Query { table: dead.clone(), source: Box::new(source) };
        let letters = concat_batches(&dead_letter_schema(), &collect(stream).await.map_err(failed)?)?;
        let raw = raw_schema();
        let columns = raw.fields().iter().map(|field| letters.schema_ref().index_of(field.name()));
        let columns = columns.collect::<Result<Vec<usize>, _>>()?;
        Ok(RecordBatch::try_new(raw_schema(), letters.project(&columns)?.columns().to_vec())?)
    }
}

fn offsets(messages: &RecordBatch) -> Result<impl Iterator<Item = i64>, IngestError> {
    let offsets = messages.column(messages.schema_ref().index_of("offset")?).as_primitive::<Int64Type>();
    Ok((0..offsets.len()).map(|row| offsets.value(row)))
}

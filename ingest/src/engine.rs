//! From a batch of messages to rows: decodes, curates, and says which events are dead letters and why. CPU work only.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use lakeward_tables::{Lakehouse, Problem, TableContract, Tombstone, TopicContract, raw_schema};
use tokio::task::JoinSet;

use crate::curation::{CuratedRows, Curation, Gathered, Selection};
use crate::decoder::CHUNK_ROWS;
use crate::error::IngestError;
use crate::event::EventTable;
use crate::formats::{TopicDecoder, reading_fields};
use crate::key;
use crate::registry::Schemas;
use crate::texts::Texts;

/// A larger payload stays in raw and becomes no row: one of them would take the memory of thousands, decoded several times over.
/// What is large belongs beside the message, and its address into it.
const MOST_BYTES: usize = 8 << 20;

/// After a batch that stopped a SELECT, so many are taken part by part: they are likely to have such events too.
const PART_BY_PART: u32 = 16;

/// What makes rows of one topic's messages.
pub(crate) struct Engine {
    decoder: TopicDecoder,
    events: Arc<EventTable>,
    curation: Curation,
    key_required: bool,
    key_field: Option<String>,
    texts: Texts,
    tombstones_are_dead: bool,
    /// How many batches to come are taken part by part.
    part_by_part: u32,
}

/// What a batch of messages comes to. Numbers are those of the messages in the batch.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Messages that give no row, with the reason.
    pub(crate) faults: BTreeMap<usize, String>,
    /// Messages without payload that are no fault.
    pub(crate) tombstones: Vec<usize>,
    /// Rows of each curated table, in the order of the tables.
    pub(crate) tables: Vec<CuratedRows>,
}

impl Outcome {
    /// Every message is a dead letter, for a reason that lies in the engine.
    pub(crate) fn defect(messages: usize, tables: usize) -> Self {
        let faults = (0..messages).map(|row| (row, "engine: a defect".to_owned())).collect();
        let none = || CuratedRows { batches: Vec::new(), versions: None, kinds: None };
        Outcome { faults, tombstones: Vec::new(), tables: std::iter::repeat_with(none).take(tables).collect() }
    }
}

/// The curated tables that are made from a topic: first those that only the engine reads, for what they say of an event
/// must stand before the event's own rows do.
pub(crate) fn tables_of<'a>(lakehouse: &'a Lakehouse, topic: &str) -> Vec<&'a TableContract> {
    let made_from = |table: &&TableContract| table.from.iter().any(|source| source.topic == topic);
    let mut tables: Vec<&TableContract> = lakehouse.curated.values().filter(made_from).collect();
    tables.sort_by_key(|table| !table.hidden);
    tables
}

/// What does not fit in the SELECTs, quality rules and versions of all topics; nothing is read or written.
///
/// # Errors
///
/// A payload's declared type that no decoder can be made for.
pub async fn misfits(lakehouse: &Lakehouse) -> Result<Vec<Problem>, IngestError> {
    let mut misfits = Vec::new();
    for topic in lakehouse.topics.values() {
        misfits.extend(Engine::plan(lakehouse, topic, Schemas::none()).await?.err().unwrap_or_default());
    }
    misfits.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
    misfits.dedup();
    Ok(misfits)
}

/// The engine of every topic. They are planned side by side: it is the longest part of a start.
pub(crate) async fn engines(
    lakehouse: &Arc<Lakehouse>,
    schemas: impl Fn(&str) -> Schemas,
) -> Result<BTreeMap<String, Engine>, IngestError> {
    let mut planning = JoinSet::new();
    for (name, topic) in lakehouse.topics.clone() {
        let (lakehouse, schemas) = (Arc::clone(lakehouse), schemas(&name));
        planning.spawn(async move { (name, Engine::plan(&lakehouse, &topic, schemas).await) });
    }
    let mut engines = BTreeMap::new();
    while let Some(planned) = planning.join_next().await {
        let (name, planned) = planned.map_err(|_| IngestError::Ended("the planning of a topic"))?;
        engines.insert(name, fitting(planned?)?);
    }
    Ok(engines)
}

fn fitting(planned: Result<Engine, Vec<Problem>>) -> Result<Engine, IngestError> {
    planned.map_err(|misfits| match misfits.into_iter().next() {
        Some(first) => IngestError::Curation(first),
        None => IngestError::Ended("the planning of a topic"),
    })
}

impl Engine {
    pub(crate) async fn new(
        lakehouse: &Lakehouse,
        topic: &TopicContract,
        schemas: Schemas,
    ) -> Result<Self, IngestError> {
        fitting(Self::plan(lakehouse, topic, schemas).await?)
    }

    async fn plan(
        lakehouse: &Lakehouse,
        topic: &TopicContract,
        schemas: Schemas,
    ) -> Result<Result<Self, Vec<Problem>>, IngestError> {
        // The columns are the contract's, whatever its schema gives: SELECTs can be planned all the same.
        let columns = DataType::Struct(reading_fields(&topic.payload));
        let decoder = TopicDecoder::new(topic, schemas)?;
        let events = Arc::new(EventTable::new(&raw_schema(), columns)?);
        let tables = tables_of(lakehouse, &topic.topic);
        let selections: Vec<Selection> = tables.iter().filter_map(|table| selection(table, &topic.topic)).collect();
        let curation = Curation::plan(Arc::clone(&events), &lakehouse.reference, &selections).await?;
        let (decoder, curation) = match (decoder, curation) {
            (Ok(decoder), Ok(curation)) => (decoder, curation),
            (decoder, curation) => {
                return Ok(Err([decoder.err(), curation.err()].into_iter().flatten().flatten().collect()));
            }
        };
        let tombstones_are_dead =
            tables.iter().any(|table| table.tombstone == Tombstone::DeadLetter) || tables.is_empty();
        let (key_required, key_field) = (topic.key_required, topic.key_field.clone());
        let texts = Texts::new(&topic.payload);
        Ok(Ok(Engine {
            decoder,
            events,
            curation,
            key_required,
            key_field,
            texts,
            tombstones_are_dead,
            part_by_part: 0,
        }))
    }

    /// `raw` has the schema of raw tables.
    pub(crate) async fn process(&mut self, raw: &RecordBatch) -> Result<Outcome, IngestError> {
        if self.part_by_part == 0
            && let Some(gathered) = self.curation.go_on().await
        {
            if let Some(outcome) = self.pass(raw, gathered).await? {
                return Ok(outcome);
            }
            self.part_by_part = PART_BY_PART + 1;
        }
        self.part_by_part = self.part_by_part.saturating_sub(1);
        let gathered = self.curation.gather();
        self.pass(raw, gathered).await?.ok_or(IngestError::Ended("the SELECTs of a topic"))
    }

    /// Nothing when a SELECT that goes on was stopped.
    async fn pass(&mut self, raw: &RecordBatch, mut gathered: Gathered) -> Result<Option<Outcome>, IngestError> {
        let schema = raw.schema_ref();
        let payloads = raw.column(schema.index_of("payload")?).as_binary::<i32>();
        let keys = raw.column(schema.index_of("key")?);
        let mut faults = BTreeMap::new();
        let mut tombstones = Vec::new();
        let mut rows = Vec::with_capacity(raw.num_rows());
        for row in 0..raw.num_rows() {
            if self.key_required && keys.is_null(row) {
                faults.insert(row, "key.missing".to_owned());
            } else if payloads.is_valid(row) && payloads.value_length(row) as usize > MOST_BYTES {
                let bytes = payloads.value_length(row);
                faults.insert(row, format!("payload.size: {bytes} bytes, expected at most {MOST_BYTES}"));
            } else if payloads.is_valid(row) {
                rows.push(row);
            } else if self.tombstones_are_dead {
                faults.insert(row, "tombstone".to_owned());
            } else if keys.is_null(row) {
                faults.insert(row, "key.missing: a tombstone".to_owned());
            } else {
                tombstones.push(row);
            }
        }
        // A SELECT comes soon after the decoder, while the texts that it looks at are still in the processor's caches.
        for rows in rows.chunks(CHUNK_ROWS) {
            let decoded = self.decoder.decode(payloads, rows).await?;
            faults.extend(decoded.faults.into_iter().map(|fault| (fault.row, fault.reason)));
            if let (Some(field), Some(keys)) = (&self.key_field, keys.as_binary_opt::<i32>()) {
                decoded.chunks.iter().for_each(|chunk| key::contradictions(field, keys, chunk, &mut faults));
            }
            decoded.chunks.iter().for_each(|chunk| self.texts.unreadable(chunk, &mut faults));
            let chunks = decoded.chunks.into_iter().map(|chunk| self.events.batch(raw, chunk));
            let events = chunks.collect::<Result<Vec<_>, _>>()?;
            if self.curation.take(&mut gathered, events, &mut faults).await.is_err() {
                return Ok(None);
            }
        }
        if self.curation.end(&mut gathered, &mut faults).await.is_err() {
            return Ok(None);
        }
        if !tombstones.is_empty() {
            let marks = self.events.without_payload(raw, &tombstones)?;
            self.curation.take_tombstones(&mut gathered, marks, &mut faults).await;
        }
        let tables = self.curation.finish(gathered, raw.num_rows(), &faults)?;
        // A message whose version could not be told is a dead letter, and no longer a tombstone.
        tombstones.retain(|row| !faults.contains_key(row));
        Ok(Some(Outcome { faults, tombstones, tables }))
    }
}

fn selection(table: &TableContract, topic: &str) -> Option<Selection> {
    let source = table.from.iter().find(|source| source.topic == topic)?;
    Some(Selection {
        table: table.name.to_string(),
        sql: source.sql.clone(),
        file: source.file.clone(),
        contract: table.file.clone(),
        schema: table.schema(),
        required: table.columns.iter().filter(|column| column.required).map(|column| column.name.clone()).collect(),
        quality: table.quality.clone(),
        version: table.version.clone(),
        correction: table.correction.clone(),
        removed: table.removed.clone(),
    })
}

#[cfg(test)]
mod tests;

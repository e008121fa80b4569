//! Avro bodies behind a schema's id, each read by its writer's schema and brought into the reader's.
//!
//! One `arrow_avro` decoder is kept per writer's schema. It takes a body that is cut off for one that is yet to come, and
//! what stands behind a body for the next one: so of each payload all bytes must be consumed, and exactly one record made.
//! A decoder that failed has taken half a record and is made anew.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{BinaryArray, RecordBatch, StructArray};
use arrow::datatypes::Fields;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};

use super::conform::{conform, misfits};
use super::{avro_schema, framing, reading_fields};
use crate::decoder::{CHUNK_BYTES, CHUNK_ROWS, Decoded, Fault};
use crate::error::IngestError;
use crate::registry::{Answer, RegisteredSchema, SchemaKind, Schemas};

/// How many writers' schemas are kept ready; then all are made anew as they come.
const MOST_WRITERS: usize = 256;

/// Decodes the payloads of one topic.
pub(crate) struct AvroDecoder {
    declared: Fields,
    reader: String,
    schemas: Schemas,
    writers: HashMap<u32, Writer>,
}

/// A writer's schema.
enum Writer {
    Usable {
        schema: String,
        decoder: Box<Decoder>,
    },
    /// Whatever is written by it is a fault, for this reason.
    Unusable(String),
}

impl std::fmt::Debug for AvroDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AvroDecoder").field("declared", &self.declared).finish_non_exhaustive()
    }
}

/// The reader's schema as one text, and the columns that it gives.
pub(super) fn reader(text: &str) -> Result<(String, Fields), String> {
    let schema = RegisteredSchema { kind: SchemaKind::Avro, text: text.to_owned(), references: Vec::new() };
    let reader = avro_schema::whole(&schema).map_err(|why| format!("no usable Avro schema: {why}"))?;
    let decoder = build(0, &reader, &reader, 1).map_err(|error| format!("no usable Avro schema: {error}"))?;
    let fields = decoder.schema().fields().clone();
    Ok((reader, fields))
}

fn build(id: u32, writer: &str, reader: &str, rows: usize) -> Result<Decoder, arrow::error::ArrowError> {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store.set(Fingerprint::Id(id), AvroSchema::new(writer.to_owned()))?;
    ReaderBuilder::new()
        .with_writer_schema_store(store)
        .with_reader_schema(AvroSchema::new(reader.to_owned()))
        .with_batch_size(rows)
        .build_decoder()
}

impl AvroDecoder {
    /// A decoder into the declared fields by a reader's schema, or what is wrong with that.
    pub(super) fn new(declared: &Fields, text: &str, schemas: Schemas) -> Result<Self, Vec<String>> {
        let (reader, met) = reader(text).map_err(|problem| vec![problem])?;
        let declared = reading_fields(declared);
        let problems = misfits(&met, &declared);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(AvroDecoder { declared, reader, schemas, writers: HashMap::new() })
    }

    pub(super) async fn decode(&mut self, payloads: &BinaryArray, rows: &[usize]) -> Result<Decoded, IngestError> {
        let mut decoded = Decoded::default();
        let mut by_writer: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for row in rows {
            match framing::split(payloads.value(*row)) {
                Some((id, _)) => by_writer.entry(id).or_default().push(*row),
                None => decoded.faults.push(Fault { row: *row, reason: framing::MISSING.to_owned() }),
            }
        }
        let new = by_writer.keys().copied().filter(|id| !self.writers.contains_key(id)).collect();
        for (id, answer) in self.schemas.all(new).await? {
            if let Some(writer) = self.writer(id, answer) {
                if self.writers.len() >= MOST_WRITERS {
                    self.writers.retain(|id, _| by_writer.contains_key(id));
                }
                self.writers.insert(id, writer);
            }
        }
        for (id, rows) in &by_writer {
            match self.writers.remove(id) {
                Some(Writer::Usable { schema, decoder }) => {
                    let mut run = Run { id: *id, writer: schema, decoder, payloads, of: self, decoded: &mut decoded };
                    run.all(rows)?;
                    let Run { writer: schema, decoder, .. } = run;
                    self.writers.insert(*id, Writer::Usable { schema, decoder });
                }
                Some(Writer::Unusable(reason)) => {
                    decoded.faults.extend(rows.iter().map(|row| Fault { row: *row, reason: reason.clone() }));
                    self.writers.insert(*id, Writer::Unusable(reason));
                }
                None => {
                    let reason = super::UNKNOWN;
                    decoded.faults.extend(rows.iter().map(|row| Fault { row: *row, reason: reason.to_owned() }));
                }
            }
        }
        decoded.faults.sort_by_key(|fault| fault.row);
        Ok(decoded)
    }

    /// The writer's schema under an id; nothing where the registry knows none, which may not stay so.
    fn writer(&self, id: u32, answer: Answer) -> Option<Writer> {
        let unusable = |reason: String| Some(Writer::Unusable(reason));
        let schema = match answer {
            Answer::Unknown => return None,
            Answer::Incomplete => return unusable(super::unresolved(id, "something it refers to is gone")),
            Answer::Schema(schema) => schema,
        };
        if schema.kind != SchemaKind::Avro {
            return unusable(super::other_kind(id, schema.kind, SchemaKind::Avro));
        }
        let writer = match avro_schema::whole(&schema) {
            Ok(writer) => writer,
            Err(why) => return unusable(super::unresolved(id, why)),
        };
        match build(id, &writer, &self.reader, CHUNK_ROWS) {
            Ok(decoder) => Some(Writer::Usable { schema: writer, decoder: Box::new(decoder) }),
            // The library's words may quote defaults and symbols, and say little to who does not know it.
            Err(_) => unusable(super::unresolved(id, "it does not resolve to the reader's")),
        }
    }
}

/// The payloads of one writer's schema in a batch.
struct Run<'a> {
    id: u32,
    writer: String,
    decoder: Box<Decoder>,
    payloads: &'a BinaryArray,
    of: &'a AvroDecoder,
    decoded: &'a mut Decoded,
}

impl Run<'_> {
    fn all(&mut self, rows: &[usize]) -> Result<(), IngestError> {
        let (mut from, mut bytes) = (0, 0);
        for (at, row) in rows.iter().enumerate() {
            let length = self.payloads.value(*row).len();
            if at - from == CHUNK_ROWS || (bytes + length > CHUNK_BYTES && at > from) {
                self.chunk(&rows[from..at])?;
                (from, bytes) = (at, 0);
            }
            bytes += length;
        }
        self.chunk(&rows[from..])
    }

    fn anew(&mut self) -> Result<(), IngestError> {
        *self.decoder = build(self.id, &self.writer, &self.of.reader, CHUNK_ROWS)?;
        Ok(())
    }

    /// Tells the bad from the good in a first pass; where there are bad ones, the good go in again without them.
    ///
    /// A decoder that failed in a body has taken half a record, so that no columns can be made of it any more; but it can
    /// still judge, and waits for a body without a header. To make a new one for each bad record would cost more.
    fn chunk(&mut self, rows: &[usize]) -> Result<(), IngestError> {
        let mut good = Vec::with_capacity(rows.len());
        let mut body_due = false;
        for row in rows {
            let payload = self.payloads.value(*row);
            let fed = if body_due { payload.get(framing::HEADER..).unwrap_or_default() } else { payload };
            match one(&mut self.decoder, fed) {
                Ok(()) => {
                    good.push(*row);
                    body_due = false;
                }
                Err(refused) => {
                    self.decoded.faults.push(Fault { row: *row, reason: refused.reason().to_owned() });
                    body_due = refused != Refused::Trailing;
                    if !body_due {
                        self.anew()?;
                    }
                }
            }
        }
        let batch = if good.len() < rows.len() { self.again(&good)? } else { self.decoder.flush().ok().flatten() };
        if good.is_empty() { Ok(()) } else { self.finish(good, batch) }
    }

    /// Rows that are good by themselves as one batch.
    fn again(&mut self, rows: &[usize]) -> Result<Option<RecordBatch>, IngestError> {
        self.anew()?;
        let whole = rows.iter().all(|row| one(&mut self.decoder, self.payloads.value(*row)).is_ok());
        Ok(if whole { self.decoder.flush().ok().flatten() } else { None })
    }

    /// What the decoder finds only when it makes columns (texts that are no UTF-8) is told apart by halving.
    fn finish(&mut self, rows: Vec<usize>, batch: Option<RecordBatch>) -> Result<(), IngestError> {
        if let Some(batch) = batch.filter(|batch| batch.num_rows() == rows.len()) {
            return self.take(rows, batch.into());
        }
        self.anew()?;
        if let [row] = rows.as_slice() {
            let reason = "avro.malformed: a value is not what the schema says".to_owned();
            self.decoded.faults.push(Fault { row: *row, reason });
            return Ok(());
        }
        let (left, right) = rows.split_at(rows.len() / 2);
        for half in [left, right] {
            let batch = self.again(half)?;
            self.finish(half.to_vec(), batch)?;
        }
        Ok(())
    }

    fn take(&mut self, rows: Vec<usize>, records: StructArray) -> Result<(), IngestError> {
        let mut faults = BTreeMap::new();
        let payload = conform(&records, &self.of.declared, &mut faults)?;
        super::push_chunk(self.decoded, rows, payload, faults)
    }
}

/// What is wrong with a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Trailing,
    Truncated,
    Malformed,
}

impl Refused {
    fn reason(self) -> &'static str {
        match self {
            Refused::Trailing => "avro.trailing: bytes stand behind the body",
            Refused::Truncated => "avro.truncated: the body ends inside a value",
            Refused::Malformed => "avro.malformed: the body is not what its schema says",
        }
    }
}

/// Feeds one payload: all of it must be read, and make one record.
fn one(decoder: &mut Decoder, payload: &[u8]) -> Result<(), Refused> {
    let before = decoder.capacity();
    let read = decoder.decode(payload);
    let made = before.saturating_sub(decoder.capacity());
    match (read, made) {
        (Ok(read), 1) if read == payload.len() => Ok(()),
        (_, 1..) => Err(Refused::Trailing),
        (Ok(_), _) => Err(Refused::Truncated),
        (Err(_), _) => Err(Refused::Malformed),
    }
}

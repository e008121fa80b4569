//! How payloads are written, and what makes typed nested columns of them.
//!
//! *Framing* is what serialisers of a schema registry put before a body: a zero byte and four bytes with the id of the
//! *writer's* schema. The *reader's* schema lies in `sql/schemas/`; a body is read by the writer's and brought into the
//! reader's. What comes out are the columns that the contract declares, whatever the format, so that SELECTs are the same.

mod avro;
mod avro_schema;
mod conform;
mod encode;
pub(crate) mod framing;
mod protobuf;
mod protobuf_column;
mod protobuf_plan;
mod protobuf_schema;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray, BooleanArray, StructArray};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, Fields};
use lakeward_tables::{PayloadFormat, Problem, TopicContract, reading_type};

pub(crate) use self::conform::range_faults;
pub use self::encode::PayloadEncoder;

use self::avro::AvroDecoder;
use self::protobuf::ProtobufDecoder;
use crate::decoder::{Decoded, DecodedChunk, Fault, PayloadDecoder};
use crate::error::{IngestError, misfit};
use crate::registry::{SchemaKind, Schemas};

/// Decodes the payloads of one topic.
#[derive(Debug)]
pub(crate) enum TopicDecoder {
    Json(PayloadDecoder),
    Avro(AvroDecoder),
    Protobuf(ProtobufDecoder),
}

impl TopicDecoder {
    /// A decoder into the fields that a topic's contract declares, or why its schema does not give them.
    pub(crate) fn new(topic: &TopicContract, schemas: Schemas) -> Result<Result<Self, Vec<Problem>>, IngestError> {
        let made = match (topic.format, &topic.schema) {
            (PayloadFormat::Avro, Some(schema)) => {
                AvroDecoder::new(&topic.payload, &schema.text, schemas).map(TopicDecoder::Avro)
            }
            (PayloadFormat::Protobuf, Some(schema)) => {
                ProtobufDecoder::new(&topic.payload, &schema.text, schemas).map(TopicDecoder::Protobuf)
            }
            _ => return Ok(Ok(TopicDecoder::Json(PayloadDecoder::new(&topic.payload)?))),
        };
        let file = topic.schema.as_ref().map_or(&topic.file, |schema| &schema.file);
        Ok(made.map_err(|problems| problems.into_iter().map(|problem| misfit(file, 1, problem)).collect()))
    }

    /// Decodes the payloads of `rows`. Every row comes out either in a chunk or as a fault; payloads must not be null.
    ///
    /// # Errors
    ///
    /// The schema registry does not answer, and nobody waits for it, or not for longer.
    pub(crate) async fn decode(&mut self, payloads: &BinaryArray, rows: &[usize]) -> Result<Decoded, IngestError> {
        match self {
            TopicDecoder::Json(decoder) => decoder.decode(payloads, rows.iter().copied()),
            TopicDecoder::Avro(decoder) => decoder.decode(payloads, rows).await,
            TopicDecoder::Protobuf(decoder) => decoder.decode(payloads, rows).await,
        }
    }
}

/// The declared fields as they are read: all nullable, texts as views.
pub(crate) fn reading_fields(fields: &Fields) -> Fields {
    fields.iter().map(|field| Arc::new(Field::new(field.name(), nested_type(field.data_type()), true))).collect()
}

fn nested_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Struct(fields) => DataType::Struct(reading_fields(fields)),
        DataType::List(item) => DataType::List(Arc::new(Field::new(item.name(), nested_type(item.data_type()), true))),
        other => reading_type(other),
    }
}

/// What a dead letter says of an id that the registry does not know. The id is not quoted: four bytes of something else
/// may stand in its place.
const UNKNOWN: &str = "schema.unknown: the registry knows no schema under the id in bytes 1 to 4";

fn unresolved(id: u32, why: &str) -> String {
    format!("schema.unresolved: the writer's schema {id} cannot be used: {why}")
}

fn other_kind(id: u32, met: SchemaKind, expected: SchemaKind) -> String {
    format!("schema.kind: the writer's schema {id} is {}, expected {}", met.name(), expected.name())
}

/// Adds decoded records without those that have a fault; these are numbered as `rows` are.
pub(crate) fn push_chunk(
    decoded: &mut Decoded,
    mut rows: Vec<usize>,
    mut payload: StructArray,
    faults: BTreeMap<usize, String>,
) -> Result<(), IngestError> {
    if !faults.is_empty() {
        let kept: BooleanArray = (0..rows.len()).map(|place| Some(!faults.contains_key(&place))).collect();
        payload = filter(&payload, &kept)?.as_struct().clone();
        let places = faults.into_iter().map(|(place, reason)| Fault { row: rows[place], reason });
        decoded.faults.extend(places);
        let mut keep = kept.values().iter();
        rows.retain(|_| keep.next().unwrap_or_default());
    }
    if !rows.is_empty() {
        decoded.chunks.push(DecodedChunk { rows, payload });
    }
    Ok(())
}

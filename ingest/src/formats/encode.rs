//! JSON records as the payloads of a topic: what `lakeward produce` and the demo send.
//!
//! A record must fit the topic's schema: what has no field there, lacks a required one or has another type is refused with
//! its path, and never left out in silence.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, ListArray, RecordBatch, StructArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow_avro::schema::{FingerprintStrategy, SCHEMA_METADATA_KEY};
use arrow_avro::writer::format::AvroSoeFormat;
use arrow_avro::writer::{Encoder, WriterBuilder};
use lakeward_tables::{PayloadFormat, TopicContract};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::Value;

use super::{avro, framing, protobuf};
use crate::decoder::PayloadDecoder;
use crate::error::IngestError;
use crate::registry::{Registry, SchemaKind};

/// Writes JSON records in the format of one topic.
pub struct PayloadEncoder(Way);

enum Way {
    Json,
    Avro { fields: Fields, decoder: Box<PayloadDecoder>, encoder: Box<Encoder> },
    Protobuf { id: u32, message: MessageDescriptor },
}

impl std::fmt::Debug for PayloadEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PayloadEncoder").finish_non_exhaustive()
    }
}

impl PayloadEncoder {
    /// An encoder for a topic, whose schema is registered where its format has one.
    ///
    /// # Errors
    ///
    /// There is no registry, it does not answer, or it refuses the schema; or the schema cannot be used for writing.
    pub async fn new(topic: &TopicContract, registry: Option<&Registry>) -> Result<Self, IngestError> {
        let Some(schema) = topic.schema.as_ref().filter(|_| topic.format != PayloadFormat::Json) else {
            return Ok(PayloadEncoder(Way::Json));
        };
        let unusable = |why: String| IngestError::Registry(format!("{}: {why}", schema.file.display()));
        let registry = registry.ok_or_else(|| {
            IngestError::Registry(format!(
                "{} is written with a schema registry, and none is configured: [registry] url names it",
                topic.topic
            ))
        })?;
        let kind = match topic.format {
            PayloadFormat::Protobuf => SchemaKind::Protobuf,
            _ => SchemaKind::Avro,
        };
        // What cannot be used is not registered either.
        PayloadEncoder::under(0, kind, &schema.text).map_err(unusable)?;
        let id = registry.register(&topic.topic, kind, &schema.text).await?;
        PayloadEncoder::under(id, kind, &schema.text).map_err(unusable)
    }

    /// An encoder with a schema that is registered under this id.
    pub(super) fn under(id: u32, kind: SchemaKind, schema: &str) -> Result<Self, String> {
        Ok(PayloadEncoder(match kind {
            SchemaKind::Protobuf => Way::Protobuf { id, message: protobuf::reader(schema)? },
            _ => {
                let (text, fields) = avro::reader(schema)?;
                avro_way(id, text, fields)?
            }
        }))
    }

    /// One JSON record as a payload of the topic.
    ///
    /// # Errors
    ///
    /// Where and how the record does not fit the schema; no value is told.
    pub fn encode(&mut self, record: &[u8]) -> Result<Vec<u8>, String> {
        match &mut self.0 {
            Way::Json => Ok(record.to_vec()),
            Way::Avro { fields, decoder, encoder } => {
                undeclared(record, fields)?;
                let payloads = BinaryArray::from_iter_values([record]);
                let decoded = decoder.decode(&payloads, [0]).map_err(|_| "the record cannot be read".to_owned())?;
                if let Some(fault) = decoded.faults.into_iter().next() {
                    return Err(fault.reason);
                }
                let chunk = decoded.chunks.into_iter().next().ok_or("the record cannot be read")?;
                let columns = retyped(&chunk.payload, fields, "$")?;
                // The library's words may quote what stands there.
                let unwritten = "the record cannot be written with its schema";
                let batch = RecordBatch::try_new(encoder.schema(), columns).map_err(|_| unwritten)?;
                encoder.encode(&batch).map_err(|_| unwritten)?;
                Ok(encoder.flush().row(0).map_err(|_| unwritten)?.to_vec())
            }
            Way::Protobuf { id, message } => {
                let mut json = serde_json::Deserializer::from_slice(record);
                let read = DynamicMessage::deserialize(message.clone(), &mut json);
                let read = read.and_then(|message| json.end().map(|()| message)).map_err(|error| {
                    let (name, column) = (message.full_name(), error.column());
                    format!("json.type: at column {column} it does not fit the message {name}")
                })?;
                // A count of 0: the first message of the schema.
                let mut body = vec![0];
                body.extend(read.encode_to_vec());
                Ok(framing::join(*id, &body))
            }
        }
    }
}

fn avro_way(id: u32, schema: String, fields: Fields) -> Result<Way, String> {
    let decoder = PayloadDecoder::new(&fields).map_err(|_| "it has a type that JSON records do not give".to_owned())?;
    let metadata = [(SCHEMA_METADATA_KEY.to_owned(), schema)].into();
    let encoder = WriterBuilder::new(Schema::new_with_metadata(fields.clone(), metadata))
        .with_fingerprint_strategy(FingerprintStrategy::Id(id))
        .build_encoder::<AvroSoeFormat>()
        .map_err(|error| format!("it cannot be written with: {error}"))?;
    Ok(Way::Avro { fields, decoder: Box::new(decoder), encoder: Box::new(encoder) })
}

fn undeclared(record: &[u8], fields: &Fields) -> Result<(), String> {
    // What is no JSON is told by the decoder, with its place.
    let Ok(record) = serde_json::from_slice::<Value>(record) else { return Ok(()) };
    no_more_than(&record, &DataType::Struct(fields.clone()), "$")
}

fn no_more_than(value: &Value, declared: &DataType, path: &str) -> Result<(), String> {
    match (value, declared) {
        (Value::Object(members), DataType::Struct(fields)) => members.iter().try_for_each(|(name, value)| {
            let path = format!("{path}.{name}");
            match fields.iter().find(|field| field.name() == name) {
                Some(field) => no_more_than(value, field.data_type(), &path),
                None => Err(format!("json.undeclared: the schema has no field {path}")),
            }
        }),
        (Value::Array(items), DataType::List(item)) => {
            items.iter().try_for_each(|value| no_more_than(value, item.data_type(), &format!("{path}[]")))
        }
        _ => Ok(()),
    }
}

/// The columns in exactly the types of a schema.
fn retyped(records: &StructArray, fields: &Fields, path: &str) -> Result<Vec<ArrayRef>, String> {
    fields
        .iter()
        .zip(records.columns())
        .map(|(field, column)| retyped_column(column, field, &format!("{path}.{}", field.name())))
        .collect()
}

fn retyped_column(column: &ArrayRef, field: &Field, path: &str) -> Result<ArrayRef, String> {
    if !field.is_nullable() && column.null_count() > 0 {
        return Err(format!("json.missing: {path} is required by the schema"));
    }
    let defect = |_| format!("json.type: {path} does not fit the schema");
    match field.data_type() {
        DataType::Struct(fields) => {
            let records = column.as_struct();
            if records.null_count() == records.len() {
                return Ok(arrow::array::new_null_array(field.data_type(), records.len()));
            }
            let columns = retyped(records, fields, path)?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, records.nulls().cloned()).map_err(defect)?))
        }
        DataType::List(item) => {
            let lists = column.as_list::<i32>();
            let values = retyped_column(lists.values(), item, &format!("{path}[]"))?;
            let lists = ListArray::try_new(Arc::clone(item), lists.offsets().clone(), values, lists.nulls().cloned());
            Ok(Arc::new(lists.map_err(defect)?))
        }
        data_type => {
            cast_with_options(column, data_type, &CastOptions { safe: false, ..CastOptions::default() }).map_err(defect)
        }
    }
}

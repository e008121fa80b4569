//! Payloads to typed nested columns, each payload parsed once.
//!
//! Records as they should be go the quick way ([`crate::record`]). For all others one `arrow_json` decoder is kept per
//! topic and fed with payload slices. A record's fate depends on the record alone: malformed payloads are told apart
//! before they are fed ([`crate::json`]), and when a chunk does not fit the declared types it is halved until the records
//! that do not fit stand alone.

use arrow::array::{BinaryArray, RecordBatch, StructArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Fields, Schema, SchemaRef};
use arrow::json::reader::{Decoder, ReaderBuilder};
use std::sync::Arc;

use crate::error::IngestError;
use crate::formats::framing::json_body;
use crate::formats::{push_chunk, range_faults, reading_fields};
use crate::json;
use crate::record::Records;
use crate::shape;

/// Decoded and looked at by SELECTs before the next are: so many stay in a core's own cache, of FHIR's sizes.
pub(crate) const CHUNK_ROWS: usize = 1024;
pub(crate) const CHUNK_BYTES: usize = 8 << 20;

/// A record that could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Which row of the input.
    pub(crate) row: usize,
    /// Code, path and shape; no value.
    pub(crate) reason: String,
}

/// Some records that could be decoded, in the order of the input.
#[derive(Debug)]
pub(crate) struct DecodedChunk {
    /// Which rows of the input.
    pub(crate) rows: Vec<usize>,
    /// The declared fields, as many rows as `rows`.
    pub(crate) payload: StructArray,
}

/// What became of a batch of payloads.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// The good records.
    pub(crate) chunks: Vec<DecodedChunk>,
    /// The bad ones, in the order of the input.
    pub(crate) faults: Vec<Fault>,
}

/// Decodes the payloads of one topic.
pub(crate) struct PayloadDecoder {
    schema: SchemaRef,
    /// Names of the fields that hold integers.
    integers: Vec<String>,
    /// Names of the fields that hold numbers of any kind.
    numbers: Vec<String>,
    /// The quick way, where the declared types have one.
    records: Option<Records>,
    decoder: Decoder,
}

impl std::fmt::Debug for PayloadDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PayloadDecoder").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PayloadDecoder {
    /// A decoder into the fields that a topic's contract declares; all of them are read as nullable.
    pub(crate) fn new(fields: &Fields) -> Result<Self, IngestError> {
        let schema = Arc::new(Schema::new(reading_fields(fields)));
        let integers = shape::integers(schema.fields());
        let numbers = shape::numbers(schema.fields());
        let decoder = build(&schema, CHUNK_ROWS)?;
        let records = Records::new(schema.fields());
        Ok(PayloadDecoder { schema, integers, numbers, records, decoder })
    }

    /// Decodes the payloads of `rows`. Every row comes out either in a chunk or as a fault; payloads must not be null.
    pub(crate) fn decode(
        &mut self,
        payloads: &BinaryArray,
        rows: impl IntoIterator<Item = usize>,
    ) -> Result<Decoded, IngestError> {
        let mut decoded = Decoded::default();
        let others = match self.records.take() {
            None => rows.into_iter().collect(),
            Some(mut records) => {
                let others = plain(&mut records, payloads, rows, &mut decoded)?;
                // After an error it would not be empty.
                self.records = Some(records);
                others
            }
        };
        let mut chunk = Vec::new();
        let mut bytes = 0;
        for row in others {
            let payload = payloads.value(row);
            if let Some(reason) = self.refuse(payload) {
                decoded.faults.push(Fault { row, reason });
                continue;
            }
            if chunk.len() == CHUNK_ROWS || (bytes + payload.len() > CHUNK_BYTES && !chunk.is_empty()) {
                self.finish(payloads, std::mem::take(&mut chunk), &mut decoded)?;
                bytes = 0;
            }
            chunk.push(row);
            bytes += payload.len();
        }
        if !chunk.is_empty() {
            self.finish(payloads, chunk, &mut decoded)?;
        }
        decoded.faults.sort_by_key(|fault| fault.row);
        Ok(decoded)
    }

    fn refuse(&self, payload: &[u8]) -> Option<String> {
        let payload = json_body(payload);
        match json::check_object(payload, &self.integers, &self.numbers) {
            Err(malformed) => Some(malformed.to_string()),
            // Rare enough to build a document tree for.
            Ok(checked) if checked.quoted || (checked.fractions && checked.watched) => {
                shape::misfit(payload, self.schema.fields())
            }
            Ok(_) => None,
        }
    }

    fn finish(&mut self, payloads: &BinaryArray, chunk: Vec<usize>, decoded: &mut Decoded) -> Result<(), IngestError> {
        if let Some(batch) = feed(&mut self.decoder, payloads, &chunk) {
            return take(decoded, chunk, batch);
        }
        // A decoder that failed keeps what it was fed and cannot be rewound.
        self.decoder = build(&self.schema, CHUNK_ROWS)?;
        let mut parts = Vec::new();
        let mut good = Vec::with_capacity(chunk.len());
        self.halve(payloads, &chunk, &mut parts, &mut good, &mut decoded.faults)?;
        if !parts.is_empty() {
            let batch = concat_batches(&self.schema, &parts)?;
            take(decoded, good, batch)?;
        }
        Ok(())
    }

    fn halve(
        &self,
        payloads: &BinaryArray,
        rows: &[usize],
        parts: &mut Vec<RecordBatch>,
        good: &mut Vec<usize>,
        faults: &mut Vec<Fault>,
    ) -> Result<(), IngestError> {
        let mut decoder = build(&self.schema, rows.len())?;
        if let Some(batch) = feed(&mut decoder, payloads, rows) {
            parts.push(batch);
            good.extend_from_slice(rows);
        } else if let [row] = rows {
            let reason = shape::misfit(json_body(payloads.value(*row)), self.schema.fields());
            faults.push(Fault {
                row: *row,
                reason: reason.unwrap_or_else(|| "json.type: a value does not fit".to_owned()),
            });
        } else {
            let (left, right) = rows.split_at(rows.len() / 2);
            self.halve(payloads, left, parts, good, faults)?;
            self.halve(payloads, right, parts, good, faults)?;
        }
        Ok(())
    }
}

/// Decodes the plain records; gives the rows of the others.
fn plain(
    records: &mut Records,
    payloads: &BinaryArray,
    rows: impl IntoIterator<Item = usize>,
    decoded: &mut Decoded,
) -> Result<Vec<usize>, IngestError> {
    let (mut chunk, mut others, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut finish = |records: &mut Records, rows: Vec<usize>| -> Result<(), IngestError> {
        let payload = records.finish()?;
        if !rows.is_empty() {
            decoded.chunks.push(DecodedChunk { rows, payload });
        }
        Ok(())
    };
    for row in rows {
        let length = payloads.value(row).len();
        if records.read() == CHUNK_ROWS || bytes + length > CHUNK_BYTES {
            finish(records, std::mem::take(&mut chunk))?;
            bytes = 0;
        }
        bytes += length;
        if records.take(payloads, row) { chunk.push(row) } else { others.push(row) }
    }
    finish(records, chunk)?;
    Ok(others)
}

/// Takes what the slow way decoded, without the records that have a value which no column may hold. (The quick way takes
/// none of them.)
fn take(decoded: &mut Decoded, rows: Vec<usize>, batch: RecordBatch) -> Result<(), IngestError> {
    let payload = StructArray::from(batch);
    let faults = range_faults(&payload).into_iter().rev().collect();
    push_chunk(decoded, rows, payload, faults)
}

fn build(schema: &SchemaRef, rows: usize) -> Result<Decoder, IngestError> {
    Ok(ReaderBuilder::new(Arc::clone(schema)).with_batch_size(rows).build_decoder()?)
}

/// All of `rows` as one batch, or nothing when one of them does not fit. The decoder's own error is dropped: it quotes
/// the value.
fn feed(decoder: &mut Decoder, payloads: &BinaryArray, rows: &[usize]) -> Option<RecordBatch> {
    for (fed, row) in rows.iter().enumerate() {
        let payload = json_body(payloads.value(*row));
        // White space at the end is left unread once the batch is full.
        let read = decoder.decode(payload).ok()?;
        let whole = payload[read..].iter().all(u8::is_ascii_whitespace);
        if !whole || decoder.len() != fed + 1 || decoder.has_partial_record() {
            return None;
        }
    }
    decoder.flush().ok().flatten()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
    use proptest::prelude::*;

    use super::*;

    fn fields() -> Fields {
        let coding = DataType::Struct(Fields::from(vec![Field::new("code", DataType::Utf8, true)]));
        Fields::from(vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("value", DataType::Float64, true),
            Field::new("count", DataType::Int64, true),
            Field::new("coding", DataType::List(Arc::new(Field::new("item", coding, true))), true),
        ])
    }

    fn good(number: usize) -> String {
        format!(
            r#"{{"id":"r{number}","value":{number}.5,"count":{number},"coding":[{{"code":"c{number}"}}],"other":[1,{{}}]}}"#
        )
    }

    /// What serde_json says of a payload held against `fields()`: the id, or nothing where it must be refused.
    fn oracle(payload: &[u8]) -> Option<Option<String>> {
        let value: serde_json::Value = serde_json::from_slice(payload).ok()?;
        let object = value.as_object()?;
        let null_or = |name: &str, fits: &dyn Fn(&serde_json::Value) -> bool| match object.get(name) {
            None | Some(serde_json::Value::Null) => true,
            Some(value) => fits(value),
        };
        let coding = |value: &serde_json::Value| {
            value.as_array().is_some_and(|items| {
                items.iter().all(|item| match item {
                    serde_json::Value::Null => true,
                    serde_json::Value::Object(o) => o.get("code").is_none_or(|c| c.is_string() || c.is_null()),
                    _ => false,
                })
            })
        };
        let fits = null_or("id", &|v| v.is_string())
            && null_or("value", &|v| v.is_number())
            && null_or("count", &|v| v.is_i64())
            && null_or("coding", &coding);
        fits.then(|| object.get("id").and_then(|id| id.as_str()).map(str::to_owned))
    }

    fn poison() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(b"".to_vec()),
            Just(b"{".to_vec()),
            Just(b"{}{}".to_vec()),
            Just(b"null".to_vec()),
            Just(b"[{}]".to_vec()),
            Just(b"12".to_vec()),
            Just(b"{\"id\":\"\xff\xfe\"}".to_vec()),
            Just(b"{\"id\":1}".to_vec()),
            Just(b"{\"id\":\"a\",\"count\":1.5}".to_vec()),
            // A number in a text is none, nor is one that no number of its type holds.
            Just(b"{\"id\":\"a\",\"count\":\"12\"}".to_vec()),
            Just(b"{\"id\":\"a\",\"value\":\"1.5\"}".to_vec()),
            Just(b"{\"id\":\"a\",\"v\\u0061lue\":\"1.5\"}".to_vec()),
            Just(b"{\"id\":\"a\",\"value\":\"NaN\"}".to_vec()),
            Just(b"{\"id\":\"a\",\"value\":NaN}".to_vec()),
            Just(b"{\"id\":\"a\",\"value\":1e999}".to_vec()),
            Just(b"{\"id\":\"a\",\"count\":9223372036854775808}".to_vec()),
            Just(b"{\"id\":\"a\",\"other\":{\"count\":\"12\"}}".to_vec()),
            Just(b"{\"coding\":{\"code\":\"x\"}}".to_vec()),
            Just(b"{\"coding\":[{\"code\":[]}]}".to_vec()),
            Just(b"{\"id\":\"a\",\"id\":\"b\"}".to_vec()),
            Just(b"{\"id\":\"x\",\"id\":7}".to_vec()),
            Just(b" {\"id\":\"spaced\"} \n ".to_vec()),
            Just(b"{\"id\":\"tail\"} x".to_vec()),
            Just(b"{\"id\":\"\\ud800\"}".to_vec()),
            Just(b"{\"value\":true}".to_vec()),
            Just(b"{\"a\":[1 2]}".to_vec()),
            Just([b"[".repeat(10_000), b"]".repeat(10_000)].concat()),
            Just([b"{\"x\":".repeat(10_000), b"1".to_vec(), b"}".repeat(10_000)].concat()),
            (0..60_usize).prop_map(|cut| {
                let text = good(7);
                text.as_bytes()[..cut.min(text.len())].to_vec()
            }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
        #[test]
        fn bad_neighbours_never_harm_good_records(
            input in prop::collection::vec(prop_oneof![3 => (0..1000_usize).prop_map(|n| good(n).into_bytes()), 2 => poison()], 0..60)
        ) {
            let payloads = BinaryArray::from_iter_values(&input);
            let mut decoder = PayloadDecoder::new(&fields()).unwrap();
            for round in 0..2 {
                let decoded = decoder.decode(&payloads, 0..payloads.len()).unwrap();
                let mut met: Vec<Option<Option<String>>> = vec![None; input.len()];
                for chunk in &decoded.chunks {
                    let ids = chunk.payload.column(0).as_string_view();
                    for (position, row) in chunk.rows.iter().enumerate() {
                        let id = (!ids.is_null(position)).then(|| ids.value(position).to_owned());
                        prop_assert!(met[*row].replace(id).is_none(), "row {row} twice");
                    }
                }
                for (row, payload) in input.iter().enumerate() {
                    let refused = decoded.faults.iter().filter(|f| f.row == row).count();
                    let expected = oracle(payload);
                    prop_assert_eq!(&met[row], &expected, "round {}: {}", round, String::from_utf8_lossy(payload));
                    prop_assert_eq!(refused, usize::from(expected.is_none()));
                }
            }
        }
    }

    #[test]
    fn every_value_of_a_good_record_arrives_in_its_column() {
        let payloads = BinaryArray::from_iter_values((0..10_000).map(good));
        let decoded = PayloadDecoder::new(&fields()).unwrap().decode(&payloads, 0..payloads.len()).unwrap();
        assert!(decoded.faults.is_empty());
        let mut seen = 0;
        for chunk in &decoded.chunks {
            for (position, row) in chunk.rows.iter().enumerate() {
                assert_eq!(*row, seen);
                assert_eq!(chunk.payload.column(0).as_string_view().value(position), format!("r{row}"));
                assert_eq!(chunk.payload.column(1).as_primitive::<Float64Type>().value(position), *row as f64 + 0.5);
                assert_eq!(chunk.payload.column(2).as_primitive::<Int64Type>().value(position), *row as i64);
                let codings = chunk.payload.column(3).as_list::<i32>().value(position);
                assert_eq!(codings.as_struct().column(0).as_string_view().value(0), format!("c{row}"));
                seen += 1;
            }
        }
        assert_eq!(seen, 10_000);
    }

    #[test]
    fn texts_for_numbers_and_values_beyond_their_type_are_told_by_path() {
        let decimal = |name: &str| Field::new(name, DataType::Decimal128(5, 2), true);
        let micros = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
        // The second set has no quick way.
        for (more, quick) in [(vec![], true), (vec![decimal("sum"), Field::new("at", micros, true)], false)] {
            let all: Fields = fields().iter().cloned().chain(more.into_iter().map(Arc::new)).collect();
            let mut decoder = PayloadDecoder::new(&all).unwrap();
            let mut reason = |payload: &str| {
                let payloads = BinaryArray::from_iter_values([payload]);
                let decoded = decoder.decode(&payloads, [0]).unwrap();
                assert_eq!(decoded.chunks.len() + decoded.faults.len(), 1, "{payload}");
                decoded.faults.into_iter().map(|fault| fault.reason).next()
            };
            let integer = "json.type: $.count is a string, expected an integer of 64 bits";
            assert_eq!(reason(r#"{"id":"a","count":"12"}"#).as_deref(), Some(integer));
            let number = "json.type: $.value is a string, expected a number";
            assert_eq!(reason(r#"{"id":"a","value":"1.5"}"#).as_deref(), Some(number));
            let infinite = "value.not_finite: $.value is no finite number";
            assert_eq!(reason(r#"{"id":"a","value":1e999}"#).as_deref(), Some(infinite));
            assert_eq!(reason(r#"{"id":"12","value":1,"count":1,"other":{"count":"12"}}"#), None);
            if !quick {
                let range = "value.range: $.sum is beyond what is declared, expected decimal(5,2)";
                assert_eq!(reason(r#"{"id":"a","sum":1000.00}"#).as_deref(), Some(range));
                assert_eq!(reason(r#"{"id":"a","sum":999.99}"#), None);
                let text = "json.type: $.sum is a string, expected a number";
                assert_eq!(reason(r#"{"id":"a","sum":"9.99"}"#).as_deref(), Some(text));
                assert!(reason(r#"{"id":"a","at":"30000-01-01T00:00:00Z"}"#).unwrap().contains("$.at is"));
                assert!(reason(r#"{"id":"a","at":"+30000-01-01T00:00:00Z"}"#).unwrap().contains("$.at is"));
            }
        }
    }

    #[test]
    fn a_payload_of_ten_megabytes_and_one_of_great_depth_leave_their_neighbours_alone() {
        let huge = format!(r#"{{"id":"huge","text":"{}"}}"#, "x".repeat(10 << 20));
        let deep = format!(r#"{{"id":"deep","x":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
        let inputs = [good(1), huge, deep, good(2)];
        let payloads = BinaryArray::from_iter_values(&inputs);
        let decoded = PayloadDecoder::new(&fields()).unwrap().decode(&payloads, 0..4).unwrap();
        let rows: Vec<usize> = decoded.chunks.iter().flat_map(|chunk| chunk.rows.clone()).collect();
        assert_eq!(rows, [0, 1, 3]);
        assert_eq!(decoded.faults.len(), 1);
        assert!(decoded.faults[0].reason.starts_with("json.depth"), "{:?}", decoded.faults);
    }
}

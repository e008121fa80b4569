//! Rows as bytes, batch by batch.
//!
//! How the end of an answer shows, in each form:
//!
//! | form | rows were cut off at the limit | a failure after the first rows |
//! | --- | --- | --- |
//! | JSON | `"truncated": true` after the rows | `"error": {…}` after the rows, a problem document |
//! | NDJSON | a last line `{"lakeward:truncated": true}` | a last line `{"lakeward:error": {…}}`, then the body is aborted |
//! | CSV, Arrow | the trailer `x-lakeward-truncated: true`, for clients that take trailers | the body is aborted |
//!
//! In every form an answer with as many rows as `x-lakeward-row-limit` says may have been cut off.

mod apart;
mod arrow_stream;
mod csv;
mod json;
mod ndjson;
mod rows;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;

use super::accept::Format;
use super::problem::Problem;
use crate::QueryError;

/// Last bytes of a body, and what is to follow.
pub(super) struct Ending {
    pub(super) bytes: Bytes,
    pub(super) then: Then,
}

/// What follows the last bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing: the body has said it all.
    Close,
    /// The trailer that tells of rows cut off.
    TruncatedTrailer,
    /// The body is broken off, so that nobody takes it for whole.
    Abort,
}

/// Writes one answer in one form. Each method gives the bytes to send next, which may be none.
pub(super) trait Encoder: Send {
    fn begin(&mut self) -> Result<Bytes, ArrowError>;
    fn batch(&mut self, batch: &RecordBatch) -> Result<Bytes, ArrowError>;
    fn end(&mut self, truncated: bool) -> Result<Ending, ArrowError>;
    fn fail(&mut self, problem: &Problem) -> Ending;
}

/// The encoder of a form.
pub(super) fn encoder(format: Format, schema: &SchemaRef) -> Result<Box<dyn Encoder>, QueryError> {
    let apart = apart::named_apart(schema);
    let schema = apart.as_ref().unwrap_or(schema);
    let encoder: Box<dyn Encoder> = match format {
        Format::Json => Box::new(json::Json::new(schema)),
        Format::Ndjson => Box::new(ndjson::Ndjson::new(schema)),
        Format::Csv => Box::new(csv::Csv::new(schema)),
        Format::Arrow => Box::new(arrow_stream::ArrowStream::new(schema).map_err(|_| QueryError::internal())?),
    };
    Ok(match apart {
        Some(schema) => Box::new(apart::Apart { schema, encoder }),
        None => encoder,
    })
}

fn truncated_by_trailer(bytes: Bytes, truncated: bool) -> Ending {
    Ending { bytes, then: if truncated { Then::TruncatedTrailer } else { Then::Close } }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{
        ArrayRef, BinaryArray, Date32Array, Decimal128Array, Int64Array, ListArray, TimestampMicrosecondArray,
    };
    use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::arrow::ipc::reader::StreamReader;

    use super::*;

    fn written(format: Format, batch: &RecordBatch) -> String {
        String::from_utf8(bytes_of(format, batch)).unwrap()
    }

    fn bytes_of(format: Format, batch: &RecordBatch) -> Vec<u8> {
        let mut encoder = encoder(format, batch.schema_ref()).unwrap();
        let mut bytes = encoder.begin().unwrap().to_vec();
        bytes.extend(encoder.batch(batch).unwrap());
        bytes.extend(encoder.end(false).unwrap().bytes);
        bytes
    }

    fn of_many_types() -> RecordBatch {
        let amounts = Decimal128Array::from(vec![Some(1250), None]).with_precision_and_scale(10, 2).unwrap();
        let at = TimestampMicrosecondArray::from(vec![Some(0), None]).with_timezone("UTC");
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
        RecordBatch::try_from_iter([
            ("day", Arc::new(Date32Array::from(vec![Some(0), None])) as ArrayRef),
            ("at", Arc::new(at)),
            ("amount", Arc::new(amounts)),
            ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), None]))),
            ("list", Arc::new(lists)),
        ])
        .unwrap()
    }

    #[test]
    fn every_type_of_a_table_has_a_form_in_json() {
        let rows = written(Format::Ndjson, &of_many_types());
        let first: serde_json::Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
        assert_eq!(first["day"], "1970-01-01");
        assert_eq!(first["at"], "1970-01-01T00:00:00Z");
        assert_eq!(first["bytes"], "00ff");
        assert_eq!(first["list"], serde_json::json!([1, null]));
    }

    #[test]
    fn every_type_of_a_table_has_a_form_in_csv() {
        let expected = "day,at,amount,bytes,list\n1970-01-01,1970-01-01T00:00:00Z,12.50,00ff,\"[1,null]\"\n,,,,\n";
        assert_eq!(written(Format::Csv, &of_many_types()), expected);
    }

    #[test]
    fn columns_of_one_name_are_told_apart_by_the_same_names_in_every_form() {
        let named = |name: &str| Field::new(name, DataType::Int64, true);
        let schema = Arc::new(Schema::new(["id", "id", "id_2", "id"].map(named).to_vec()));
        let cells = (1..=4).map(|cell| Arc::new(Int64Array::from(vec![cell])) as ArrayRef).collect();
        let batch = RecordBatch::try_new(schema, cells).unwrap();
        assert_eq!(written(Format::Csv, &batch), "id,id_3,id_2,id_4\n1,2,3,4\n");
        assert_eq!(written(Format::Ndjson, &batch), "{\"id\":1,\"id_3\":2,\"id_2\":3,\"id_4\":4}\n");
        let json: serde_json::Value = serde_json::from_str(&written(Format::Json, &batch)).unwrap();
        assert_eq!(json["columns"][1]["name"], "id_3");
        let arrow = bytes_of(Format::Arrow, &batch);
        let names = StreamReader::try_new(arrow.as_slice(), None).unwrap().schema();
        assert_eq!(
            names.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
            ["id", "id_3", "id_2", "id_4"]
        );
    }
}

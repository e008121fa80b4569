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
use crate::{ErrorCode, QueryError};

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

/// The encoder of a form; an error if the columns cannot be told in it.
pub(super) fn encoder(format: Format, schema: &SchemaRef) -> Result<Box<dyn Encoder>, QueryError> {
    Ok(match format {
        Format::Json => Box::new(json::Json::new(named_apart(schema)?)),
        Format::Ndjson => Box::new(ndjson::Ndjson::new(named_apart(schema)?)),
        Format::Csv => Box::new(csv::Csv::new(schema)),
        Format::Arrow => Box::new(arrow_stream::ArrowStream::new(schema).map_err(|_| QueryError::internal())?),
    })
}

/// A JSON object has one member of a name: of two columns with one name, one would be lost.
fn named_apart(schema: &SchemaRef) -> Result<&SchemaRef, QueryError> {
    let mut names = std::collections::BTreeSet::new();
    match schema.fields().iter().find(|field| !names.insert(field.name())) {
        None => Ok(schema),
        Some(twice) => Err(QueryError::new(
            ErrorCode::InvalidRequest,
            format!("the answer has two columns named {}: rename one with AS, or ask for CSV or Arrow", twice.name()),
        )),
    }
}

fn truncated_by_trailer(bytes: Bytes, truncated: bool) -> Ending {
    Ending { bytes, then: if truncated { Then::TruncatedTrailer } else { Then::Close } }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{
        ArrayRef, BinaryArray, Date32Array, Decimal128Array, ListArray, TimestampMicrosecondArray,
    };
    use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn written(format: Format, batch: &RecordBatch) -> String {
        let mut encoder = encoder(format, batch.schema_ref()).unwrap();
        let mut bytes = encoder.begin().unwrap().to_vec();
        bytes.extend(encoder.batch(batch).unwrap());
        bytes.extend(encoder.end(false).unwrap().bytes);
        String::from_utf8(bytes).unwrap()
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
    fn two_columns_of_one_name_are_lost_in_no_form() {
        let twice = |name: &str| Field::new(name, DataType::Int64, true);
        let schema = Arc::new(Schema::new(vec![twice("id"), twice("id")]));
        for format in [Format::Json, Format::Ndjson] {
            let refused = encoder(format, &schema).err().unwrap();
            assert_eq!(refused.code, ErrorCode::InvalidRequest);
        }
        for format in [Format::Csv, Format::Arrow] {
            assert!(encoder(format, &schema).is_ok());
        }
    }
}

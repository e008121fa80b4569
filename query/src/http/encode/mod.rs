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

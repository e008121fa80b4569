//! One JSON object a line (NDJSON).

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;

use super::{Encoder, Ending, Then, rows};
use crate::http::problem::Problem;

pub(super) struct Ndjson;

impl Ndjson {
    pub(super) fn new(_schema: &SchemaRef) -> Self {
        Self
    }
}

impl Encoder for Ndjson {
    fn begin(&mut self) -> Result<Bytes, ArrowError> {
        Ok(Bytes::new())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Bytes, ArrowError> {
        Ok(rows::lines(batch)?.into())
    }

    fn end(&mut self, truncated: bool) -> Result<Ending, ArrowError> {
        let last: &'static [u8] = if truncated { b"{\"lakeward:truncated\":true}\n" } else { b"" };
        Ok(Ending { bytes: Bytes::from_static(last), then: Then::Close })
    }

    fn fail(&mut self, problem: &Problem) -> Ending {
        Ending { bytes: format!("{{\"lakeward:error\":{}}}\n", problem.to_json()).into(), then: Then::Abort }
    }
}

//! One JSON object: columns, rows, and how it ended.

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;

use super::{Encoder, Ending, Then, rows};
use crate::http::answer::columns;
use crate::http::problem::Problem;

pub(super) struct Json {
    schema: SchemaRef,
    first: bool,
}

impl Json {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: schema.clone(), first: true }
    }
}

impl Encoder for Json {
    fn begin(&mut self) -> Result<Bytes, ArrowError> {
        let columns = serde_json::to_string(&columns(&self.schema))
            .map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        Ok(format!("{{\"columns\":{columns},\"rows\":[").into())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Bytes, ArrowError> {
        let mut bytes = rows::lines(batch)?;
        let Some(b'\n') = bytes.pop() else { return Ok(Bytes::new()) };
        bytes.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b',');
        if !std::mem::replace(&mut self.first, false) {
            bytes.insert(0, b',');
        }
        Ok(bytes.into())
    }

    fn end(&mut self, truncated: bool) -> Result<Ending, ArrowError> {
        Ok(Ending { bytes: format!("],\"truncated\":{truncated}}}\n").into(), then: Then::Close })
    }

    fn fail(&mut self, problem: &Problem) -> Ending {
        Ending { bytes: format!("],\"error\":{}}}\n", problem.to_json()).into(), then: Then::Close }
    }
}

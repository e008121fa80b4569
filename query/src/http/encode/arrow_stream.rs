//! An Arrow IPC stream.

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::StreamWriter;

use super::{Encoder, Ending, Then, truncated_by_trailer};
use crate::http::problem::Problem;

pub(super) struct ArrowStream {
    writer: StreamWriter<Vec<u8>>,
}

impl ArrowStream {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        Ok(Self { writer: StreamWriter::try_new(Vec::new(), schema)? })
    }

    fn written(&mut self) -> Result<Bytes, ArrowError> {
        self.writer.flush()?;
        Ok(std::mem::take(self.writer.get_mut()).into())
    }
}

impl Encoder for ArrowStream {
    fn begin(&mut self) -> Result<Bytes, ArrowError> {
        self.written()
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Bytes, ArrowError> {
        self.writer.write(batch)?;
        self.written()
    }

    fn end(&mut self, truncated: bool) -> Result<Ending, ArrowError> {
        self.writer.finish()?;
        Ok(truncated_by_trailer(self.written()?, truncated))
    }

    fn fail(&mut self, _problem: &Problem) -> Ending {
        Ending { bytes: Bytes::new(), then: Then::Abort }
    }
}

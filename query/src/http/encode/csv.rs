//! Comma-separated values (RFC 4180) with a line of names. NULL is an empty field; what is nested is told as JSON.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::csv::WriterBuilder;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;

use super::{Encoder, Ending, Then, rows, truncated_by_trailer};
use crate::http::problem::Problem;

pub(super) struct Csv {
    schema: SchemaRef,
}

impl Csv {
    /// The schema of the text: nested columns have become strings.
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let fields: Vec<Field> = schema.fields().iter().map(|field| flat_field(field)).collect();
        Self { schema: Arc::new(Schema::new(fields)) }
    }

    fn write(&self, batch: &RecordBatch, header: bool) -> Result<Bytes, ArrowError> {
        let mut bytes = Vec::new();
        WriterBuilder::new().with_header(header).build(&mut bytes).write(batch)?;
        Ok(bytes.into())
    }
}

impl Encoder for Csv {
    fn begin(&mut self) -> Result<Bytes, ArrowError> {
        self.write(&RecordBatch::new_empty(self.schema.clone()), true)
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Bytes, ArrowError> {
        let columns = batch
            .schema_ref()
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| flat_column(field, column))
            .collect::<Result<Vec<_>, _>>()?;
        self.write(&RecordBatch::try_new(self.schema.clone(), columns)?, false)
    }

    fn end(&mut self, truncated: bool) -> Result<Ending, ArrowError> {
        Ok(truncated_by_trailer(Bytes::new(), truncated))
    }

    fn fail(&mut self, _problem: &Problem) -> Ending {
        Ending { bytes: Bytes::new(), then: Then::Abort }
    }
}

fn flat_field(field: &Field) -> Field {
    let data_type = if field.data_type().is_nested() { DataType::Utf8 } else { field.data_type().clone() };
    Field::new(field.name(), data_type, true)
}

fn flat_column(field: &Field, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !field.data_type().is_nested() {
        return Ok(column.clone());
    }
    // Each line is `{"":…}`: what stands between the colon and the last brace is the cell.
    let alone = Arc::new(Schema::new(vec![Field::new("", field.data_type().clone(), true)]));
    let lines = rows::lines(&RecordBatch::try_new(alone, vec![column.clone()])?)?;
    let lines = String::from_utf8(lines).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
    let cells: StringArray = lines
        .lines()
        .map(|line| line.strip_prefix("{\"\":").and_then(|line| line.strip_suffix('}')))
        .map(|cell| cell.filter(|cell| *cell != "null"))
        .collect();
    Ok(Arc::new(cells))
}

//! `event`: what a curated SELECT reads from. One row per decoded event: the declared fields as the struct `payload`,
//! the transport columns, and the event's number `_lw_row`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream;
use parking_lot::RwLock;

use crate::decoder::DecodedChunk;
use crate::error::IngestError;

/// The number of an event in its batch; every curated SELECT puts it out first.
pub(crate) const ROW: &str = "_lw_row";

/// The transport columns that a SELECT may use, as they are named in raw tables.
const TRANSPORT: [&str; 7] = ["source", "topic", "partition", "offset", "timestamp", "ingested_at", "key"];

/// The table `event`.
#[derive(Debug)]
pub(crate) struct EventTable {
    events: Arc<Events>,
}

/// The events at hand: put in anew each time, while a plan that reads them stays.
#[derive(Debug)]
struct Events {
    schema: SchemaRef,
    rows: RwLock<Vec<RecordBatch>>,
}

impl EventTable {
    pub(crate) fn new(raw: &Schema, payload: DataType) -> Result<Self, IngestError> {
        let mut fields = vec![Field::new(ROW, DataType::Int64, false)];
        for name in TRANSPORT {
            let field = raw.field_with_name(name)?;
            let data_type = if name == "key" { DataType::Utf8 } else { field.data_type().clone() };
            fields.push(Field::new(name, data_type, true));
        }
        fields.push(Field::new("payload", payload, true));
        let events = Events { schema: Arc::new(Schema::new(fields)), rows: RwLock::default() };
        Ok(EventTable { events: Arc::new(events) })
    }

    /// From now on a scan, also of a plan made before, gives these.
    pub(crate) fn put(&self, rows: Vec<RecordBatch>) {
        *self.events.rows.write() = rows;
    }

    /// Messages without payload, for those expressions that look at the transport columns.
    pub(crate) fn without_payload(&self, raw: &RecordBatch, rows: &[usize]) -> Result<RecordBatch, IngestError> {
        let DataType::Struct(fields) = self.events.schema.field(self.events.schema.fields().len() - 1).data_type()
        else {
            return Err(IngestError::Ended("the payload's type"));
        };
        let payload = StructArray::new_null(fields.clone(), rows.len());
        self.batch(raw, DecodedChunk { rows: rows.to_vec(), payload })
    }

    /// The events of one decoded chunk; `raw` is the batch that was decoded.
    pub(crate) fn batch(&self, raw: &RecordBatch, chunk: DecodedChunk) -> Result<RecordBatch, IngestError> {
        let numbers = Int64Array::from_iter_values(chunk.rows.iter().map(|row| *row as i64));
        // Good records mostly stand together, and then nothing is copied.
        let run = match (chunk.rows.first(), chunk.rows.last()) {
            (Some(first), Some(last)) if last - first + 1 == chunk.rows.len() => Some(*first),
            _ => None,
        };
        let indices = UInt64Array::from_iter_values(chunk.rows.iter().map(|row| *row as u64));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(numbers)];
        for name in TRANSPORT {
            let column = raw.column(raw.schema_ref().index_of(name)?);
            let column = match run {
                Some(first) => column.slice(first, chunk.rows.len()),
                None => take(column, &indices, None)?,
            };
            columns.push(if name == "key" { text(&column) } else { column });
        }
        columns.push(Arc::new(chunk.payload));
        Ok(RecordBatch::try_new(Arc::clone(&self.events.schema), columns)?)
    }
}

/// A key as text; NULL where it is not UTF-8.
pub(crate) fn text(keys: &ArrayRef) -> ArrayRef {
    match keys.as_binary_opt::<i32>() {
        None => Arc::clone(keys),
        Some(keys) => Arc::new(utf8(keys)),
    }
}

fn utf8(keys: &BinaryArray) -> StringArray {
    if let Ok(texts) = StringArray::try_from_binary(keys.clone()) {
        return texts;
    }
    keys.iter().map(|key| key.and_then(|key| std::str::from_utf8(key).ok())).collect()
}

impl PartitionStream for Events {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.read().clone();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream::iter(rows.into_iter().map(Ok))))
    }
}

#[async_trait]
impl TableProvider for EventTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.events.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (schema, events) = (Arc::clone(&self.events.schema), Arc::clone(&self.events) as _);
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![events], projection, None, false, None)?))
    }
}

//! `event`: what a curated SELECT reads from. One row per decoded event: the declared fields as the struct `payload`,
//! the transport columns, and the event's number `_lw_row`.
//!
//! Events are put some at a time, and a plan that reads them goes on where it can. Whoever puts them asks the plan at once
//! what came of them, so a stream that has read all that is there wakes nobody. One that missed some says so: nothing is
//! left out silently.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::vec::IntoIter;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray, UInt64Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::Stream;
use parking_lot::Mutex;

use crate::decoder::DecodedChunk;
use crate::error::IngestError;

/// The name of the table.
pub(crate) const EVENT: &str = "event";

/// The number of an event in its batch; every curated SELECT puts it out first.
pub(crate) const ROW: &str = "_lw_row";

/// The transport columns that a SELECT may use, as they are named in raw tables.
const TRANSPORT: [&str; 7] = ["source", "topic", "partition", "offset", "timestamp", "ingested_at", "key"];

/// The table `event`.
#[derive(Debug)]
pub(crate) struct EventTable {
    events: Arc<Events>,
    /// Names of the columns that anybody reads, once that is known: what costs something to make is made for no one else.
    read: OnceLock<BTreeSet<String>>,
}

/// The events of a run, as they come to hand.
#[derive(Debug)]
struct Events {
    schema: SchemaRef,
    at_hand: Arc<Mutex<AtHand>>,
}

#[derive(Debug, Default)]
struct AtHand {
    /// Which run it is: what was begun before has no more to read.
    run: u64,
    rows: Vec<RecordBatch>,
    /// How often some were put in this run.
    turn: u64,
    ended: bool,
}

/// One reading of a run's events, from its first to its last.
struct Reading {
    schema: SchemaRef,
    at_hand: Arc<Mutex<AtHand>>,
    run: u64,
    turn: u64,
    rows: IntoIter<RecordBatch>,
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
        let events = Events { schema: Arc::new(Schema::new(fields)), at_hand: Arc::default() };
        Ok(EventTable { events: Arc::new(events), read: OnceLock::new() })
    }

    /// From now on nobody reads other columns than these.
    pub(crate) fn only_these_are_read(&self, columns: BTreeSet<String>) {
        self.read.get_or_init(|| columns);
    }

    fn is_read(&self, column: &str) -> bool {
        self.read.get().is_none_or(|read| read.contains(column))
    }

    /// Begins a run: whatever is executed from now on reads what is put from now on.
    pub(crate) fn begin(&self) {
        let mut at_hand = self.events.at_hand.lock();
        *at_hand = AtHand { run: at_hand.run + 1, ..AtHand::default() };
    }

    /// The next events of the run. Those before are gone.
    pub(crate) fn put(&self, rows: Vec<RecordBatch>) {
        let mut at_hand = self.events.at_hand.lock();
        at_hand.turn += 1;
        at_hand.rows = rows;
    }

    /// There will be no more events in the run.
    pub(crate) fn end(&self) {
        self.events.at_hand.lock().ended = true;
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
            columns.push(match name {
                "key" if self.is_read(name) => text(&column),
                "key" => new_null_array(&DataType::Utf8, chunk.rows.len()),
                _ => column,
            });
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
        let (schema, at_hand) = (Arc::clone(&self.schema), Arc::clone(&self.at_hand));
        let run = at_hand.lock().run;
        Box::pin(Reading { schema, at_hand, run, turn: 0, rows: Vec::new().into_iter() })
    }
}

impl Stream for Reading {
    type Item = Result<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let reading = self.get_mut();
        loop {
            if let Some(rows) = reading.rows.next() {
                return Poll::Ready(Some(Ok(rows)));
            }
            let at_hand = reading.at_hand.lock();
            if at_hand.run != reading.run || at_hand.turn > reading.turn + 1 {
                return Poll::Ready(Some(Err(DataFusionError::Internal("events went by unread".to_owned()))));
            }
            if at_hand.turn == reading.turn {
                return if at_hand.ended { Poll::Ready(None) } else { Poll::Pending };
            }
            reading.turn = at_hand.turn;
            reading.rows = at_hand.rows.clone().into_iter();
        }
    }
}

impl RecordBatchStream for Reading {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
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

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use lakeward_tables::raw_schema;

    use super::*;

    #[test]
    fn who_missed_events_is_told_and_never_ends_as_if_there_were_none() {
        let table = EventTable::new(&raw_schema(), DataType::Struct(arrow::datatypes::Fields::empty())).unwrap();
        let events = Arc::clone(&table.events);
        let open = || events.execute(Arc::default());
        let waker = futures::task::noop_waker();
        let mut context = Context::from_waker(&waker);
        let mut next = |stream: &mut SendableRecordBatchStream| match stream.poll_next_unpin(&mut context) {
            Poll::Pending => "waits",
            Poll::Ready(None) => "ends",
            Poll::Ready(Some(Ok(_))) => "rows",
            Poll::Ready(Some(Err(_))) => "missed",
        };
        let rows = || vec![RecordBatch::new_empty(Arc::clone(&events.schema))];

        table.begin();
        let mut reads = open();
        assert_eq!(next(&mut reads), "waits");
        table.put(rows());
        let mut late = open();
        assert_eq!([next(&mut reads), next(&mut reads)], ["rows", "waits"]);
        // Nothing has gone by yet.
        assert_eq!([next(&mut late), next(&mut late)], ["rows", "waits"]);
        table.put(rows());
        let mut too_late = open();
        assert_eq!(next(&mut too_late), "missed");
        assert_eq!([next(&mut reads), next(&mut reads)], ["rows", "waits"]);
        table.put(rows());
        table.end();
        assert_eq!([next(&mut reads), next(&mut reads)], ["rows", "ends"]);
        assert_eq!(next(&mut late), "missed");
        let mut left_over = open();
        table.begin();
        assert_eq!(next(&mut left_over), "missed");
    }
}

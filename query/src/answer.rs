//! The rows of an answer, as they come.
//!
//! Each part of the plan runs in a task of its own and hands its batches straight to the client, whom they are a few
//! batches ahead. So a panic of the engine ends the statement and nothing else, the time limit holds even while the engine
//! computes, and dropping the answer ends the tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use crate::audit::Outcome;
use crate::ledger::Ledger;
use crate::translate;
use crate::workers::{Running, Workers};
use crate::{ColumnLevel, ErrorCode, QueryError};

/// Batches of an answer; dropping it ends the statement.
pub type AnswerStream = BoxStream<'static, Result<RecordBatch, QueryError>>;

/// A running statement.
pub struct Answer {
    /// Columns; field metadata `lakeward.level` says how a column is shown. Texts and bytes may be views.
    pub schema: SchemaRef,
    /// The batches; an error is the last item.
    pub stream: AnswerStream,
    /// The limit that holds for this answer.
    pub row_limit: usize,
    /// Becomes true before the stream ends if rows were cut off.
    pub truncated: Arc<AtomicBool>,
    /// The time limit that holds for this answer.
    pub time_limit: Duration,
}

/// Batches that wait for the client.
const AHEAD: usize = 2;

/// The limits of one answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) rows: usize,
    pub(crate) time: Duration,
    pub(crate) deadline: Instant,
}

impl Answer {
    /// Starts to run; what goes wrong later is the stream's last item.
    pub(crate) fn start(
        schema: SchemaRef,
        parts: Vec<impl Stream<Item = Result<RecordBatch, DataFusionError>> + Send + 'static>,
        limits: Limits,
        ledger: Ledger,
        workers: &Workers,
    ) -> Result<Self, QueryError> {
        let truncated = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel(AHEAD.max(parts.len()));
        let run = |batches| workers.spawn(hand_over(batches, sender.clone()));
        let tasks = parts.into_iter().map(run).collect::<Result<Vec<_>, QueryError>>()?;
        drop(sender);
        let reader = Reader {
            receiver,
            tasks,
            schema: Arc::clone(&schema),
            left: limits.rows,
            deadline: limits.deadline,
            truncated: Arc::clone(&truncated),
            ledger,
        };
        let stream = stream::unfold(Some(reader), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Some(Ok(batch)) => Some((Ok(batch), Some(reader))),
                Some(Err(error)) => {
                    let kept = reader.ledger.finish(Outcome::Failed(error.code)).await;
                    Some((Err(kept.err().unwrap_or(error)), None))
                }
                None => {
                    let cut = reader.truncated.load(Ordering::Acquire);
                    let outcome = if cut { Outcome::Truncated } else { Outcome::Complete };
                    // Whoever gets no clean end knows that the answer must not be relied upon.
                    let kept = reader.ledger.finish(outcome).await;
                    kept.err().map(|unkept| (Err(unkept), None))
                }
            }
        });
        // Readers may poll once more after the end; an unfold must not be.
        Ok(Self { schema, stream: stream.fuse().boxed(), row_limit: limits.rows, truncated, time_limit: limits.time })
    }
}

impl Answer {
    /// The same rows for clients that may know no view types, as those of Arrow IPC and Flight.
    pub fn without_views(self) -> Self {
        let schema = schema_without_views(&self.schema);
        let of_batch = Arc::clone(&schema);
        let stream = self.stream.map(move |batch| answered(&batch?, &of_batch)).boxed();
        Self { schema, stream, ..self }
    }
}

struct Reader {
    receiver: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
    tasks: Vec<Running<()>>,
    schema: SchemaRef,
    left: usize,
    deadline: Instant,
    truncated: Arc<AtomicBool>,
    ledger: Ledger,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<RecordBatch, QueryError>> {
        loop {
            let received = tokio::time::timeout_at(self.deadline.into(), self.receiver.recv()).await;
            let batch = match received {
                Err(_) => return Some(Err(QueryError::time_limit())),
                Ok(None) => return self.ended().await.map(Err),
                Ok(Some(Err(error))) => return Some(Err(translate::execution(&error))),
                Ok(Some(Ok(batch))) => batch,
            };
            if batch.num_rows() == 0 {
                continue;
            }
            if self.left == 0 {
                self.truncated.store(true, Ordering::Release);
                return None;
            }
            let rows = batch.num_rows().min(self.left);
            if rows < batch.num_rows() {
                self.truncated.store(true, Ordering::Release);
            }
            let batch = answered(&batch.slice(0, rows), &self.schema);
            self.left = if self.truncated.load(Ordering::Acquire) { 0 } else { self.left - rows };
            if let Ok(batch) = &batch {
                self.ledger.add(batch);
            }
            return Some(batch);
        }
    }

    /// The tasks are over: by themselves, or by a panic.
    async fn ended(&mut self) -> Option<QueryError> {
        for task in &mut self.tasks {
            if task.ended().await.is_err() {
                tracing::error!("the engine panicked while it ran a statement");
                return Some(QueryError::internal());
            }
        }
        None
    }
}

/// Sends batches until they end, one fails, or nobody waits for them.
async fn hand_over(
    batches: impl Stream<Item = Result<RecordBatch, DataFusionError>>,
    client: mpsc::Sender<Result<RecordBatch, DataFusionError>>,
) {
    let mut batches = std::pin::pin!(batches);
    while let Some(batch) = batches.next().await {
        let failed = batch.is_err();
        if client.send(batch).await.is_err() || failed {
            break;
        }
    }
}

/// The schema of an answer: nullable, with these levels.
pub(crate) fn answer_schema(schema: &Schema, levels: Vec<Option<String>>) -> SchemaRef {
    let levels = levels.into_iter().chain(std::iter::repeat(None));
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .zip(levels)
        .map(|(field, level)| {
            let metadata = level.map(|level| (ColumnLevel::METADATA_KEY.to_owned(), level)).into_iter().collect();
            Field::new(field.name(), field.data_type().clone(), true).with_metadata(metadata)
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// The same columns without view types.
pub(crate) fn schema_without_views(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_data_type(without_views(field.data_type())))
        .collect();
    Arc::new(Schema::new(fields))
}

/// The type that every client knows: a text or bytes, alone or in a list or struct, are no view.
pub(crate) fn without_views(data_type: &DataType) -> DataType {
    let inside = |field: &FieldRef| {
        let data_type = without_views(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    };
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(field) => DataType::List(inside(field)),
        DataType::LargeList(field) => DataType::LargeList(inside(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(inside(field), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inside).collect()),
        other => other.clone(),
    }
}

fn answered(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, QueryError> {
    let told = |error| translate::execution(&DataFusionError::ArrowError(Box::new(error), None));
    if batch.num_columns() != schema.fields().len() {
        return Err(QueryError::new(ErrorCode::Internal, "the statement failed inside the server"));
    }
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast(column, field.data_type()).map_err(told),
        })
        .collect::<Result<Vec<ArrayRef>, QueryError>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(told)
}

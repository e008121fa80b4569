//! The rows of an answer, as they come.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::stream::BoxStream;

use crate::QueryError;

/// Batches of an answer; dropping it ends the statement.
pub type AnswerStream = BoxStream<'static, Result<RecordBatch, QueryError>>;

/// A running statement.
pub struct Answer {
    /// Columns; field metadata `lakeward.level` says how a column is shown. No view types.
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

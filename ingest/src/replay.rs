//! Events read again from a raw table, for tables that are behind it.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::physical_plan::common::collect;
use lakeward_tables::{TableName, TablesError, raw_schema};

use crate::buffer::Range;
use crate::sink::{Attempt, Unwritten, Writing};

/// How many offsets are read at once.
const WINDOW: i64 = 50_000;

/// One partition of a raw table, from where a table stands to where raw stands, in order.
pub(crate) struct Replay {
    raw: TableName,
    writing: Writing,
    partition: i32,
    left: Range,
}

impl Replay {
    pub(crate) fn new(raw: TableName, writing: &Writing, partition: i32, left: Range) -> Self {
        Replay { raw, writing: writing.clone(), partition, left }
    }

    /// The next events and the range they stand for, which may be longer than they are: offsets may be missing.
    pub(crate) async fn next(&mut self) -> Result<Option<(RecordBatch, Range)>, Unwritten> {
        if self.left.from >= self.left.next {
            return Ok(None);
        }
        let mut attempt =
            Attempt::new(&self.writing, format!("{} cannot be read", self.raw), format!("replay {}", self.raw));
        let from = self.left.from;
        loop {
            let window = Range { from: self.left.from, next: self.left.next.min(self.left.from + WINDOW) };
            match self.window(window).await {
                Ok(rows) => {
                    attempt.over();
                    self.left.from = window.next;
                    if rows.num_rows() > 0 || window.next == self.left.next {
                        return Ok(Some((rows, Range { from, next: window.next })));
                    }
                    // Kafka's first offset may be thousands of windows away from 0.
                    self.left.from = self.first(window.next).await?;
                }
                Err(error) => attempt.again(&error).await?,
            }
        }
    }

    /// Where the next event stands; one before the end where there is none, so that the last window has something to end.
    async fn first(&self, from: i64) -> Result<i64, Unwritten> {
        let mut attempt =
            Attempt::new(&self.writing, format!("{} cannot be read", self.raw), format!("replay {}", self.raw));
        let Writing { lake, source, topic, .. } = &self.writing;
        loop {
            match lake.first_raw_offset(&self.raw, source, topic, self.partition, from, self.left.next).await {
                Ok(first) => {
                    attempt.over();
                    return Ok(first.unwrap_or(self.left.next - 1).max(from));
                }
                Err(error) => attempt.again(&error).await?,
            }
        }
    }

    async fn window(&self, range: Range) -> Result<RecordBatch, TablesError> {
        let Writing { lake, source, topic, .. } = &self.writing;
        let table = || self.raw.clone();
        let stream = lake.raw_rows(&self.raw, source, topic, self.partition, range.from, range.next).await?;
        let batches =
            collect(stream).await.map_err(|source| TablesError::Query { table: table(), source: Box::new(source) })?;
        concat_batches(&raw_schema(), &batches).map_err(|source| TablesError::Arrow { table: table(), source })
    }
}

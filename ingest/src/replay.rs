//! Events read again from a raw table, for tables that are behind it.

use arrow::array::RecordBatch;
use arrow::compute::{cast, concat_batches};
use arrow::error::ArrowError;
use datafusion::prelude::{SessionConfig, SessionContext, col, lit};
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
        let mut attempt = Attempt::new(&self.writing, format!("{} cannot be read", self.raw), format!("replay {}", self.raw));
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
                }
                Err(error) => attempt.again(&error).await?,
            }
        }
    }

    async fn window(&self, range: Range) -> Result<RecordBatch, TablesError> {
        let table = || self.raw.clone();
        let snapshot = self.writing.lake.fresh_snapshot(&self.raw).await?;
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let wanted = col("source")
            .eq(lit(self.writing.source.clone()))
            .and(col("partition").eq(lit(self.partition)))
            .and(col("offset").gt_eq(lit(range.from)))
            .and(col("offset").lt(lit(range.next)));
        let frame = context.read_table(snapshot.provider()).and_then(|frame| frame.filter(wanted));
        let frame = frame.and_then(|frame| frame.sort(vec![col("offset").sort(true, false)]));
        let failed = |source| TablesError::Query { table: table(), source: Box::new(source) };
        let batches = frame.map_err(failed)?.collect().await.map_err(failed)?;
        let schema = raw_schema();
        let typed = batches.iter().map(|batch| {
            let column = |name: &str, declared| cast(batch.column(batch.schema_ref().index_of(name)?), declared);
            let columns = schema.fields().iter().map(|field| column(field.name(), field.data_type()));
            RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
        });
        let typed: Result<Vec<RecordBatch>, ArrowError> = typed.collect();
        typed.and_then(|batches| concat_batches(&schema, &batches)).map_err(|source| TablesError::Arrow { table: table(), source })
    }
}

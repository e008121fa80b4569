//! Files of a raw table that do not follow one another: one partition after the other, some offsets at a time, sorted.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::catalog::TableProvider;
use datafusion::physical_plan::common::collect;

use super::{ROWS, Wanted};
use crate::lake::stand_in;
use crate::{Lake, TablesError, raw_schema};

pub(super) struct Mixed {
    files: Arc<dyn TableProvider>,
    left: BTreeMap<i32, Range<i64>>,
}

impl Mixed {
    /// `offsets` are those that the files have rows of.
    pub(super) fn new(files: Arc<dyn TableProvider>, offsets: BTreeMap<i32, Range<i64>>) -> Self {
        Self { files, left: offsets }
    }

    /// The next events; none of them where offsets are missing, nothing at the end.
    pub(super) async fn next(&mut self, lake: &Lake, wanted: &Wanted) -> Result<Option<RecordBatch>, TablesError> {
        let Some((partition, range)) = self.left.pop_first() else { return Ok(None) };
        let Wanted { table, source, topic, .. } = wanted;
        let next = range.end.min(range.start.saturating_add(ROWS as i64));
        let within = stand_in(source, topic, partition, range.start, next);
        let stream = lake.by_offset(table, Arc::clone(&self.files), within).await?;
        let failed = |source| TablesError::Query { table: table.clone(), source: Box::new(source) };
        let rows = concat_batches(&raw_schema(), &collect(stream).await.map_err(failed)?);
        let rows = rows.map_err(|error| wanted.arrow(error))?;
        let mut from = Some(next).filter(|next| *next < range.end);
        if let (0, Some(next)) = (rows.num_rows(), from) {
            // The next one may be thousands of windows away.
            let rest = stand_in(source, topic, partition, next, range.end);
            from = lake.first_offset(table, Arc::clone(&self.files), rest).await?;
        }
        self.left.extend(from.map(|from| (partition, from..range.end)));
        Ok(Some(rows))
    }
}

//! A raw table from where another table stands to where raw stands: what that table is made of again.
//!
//! Each file is read once and from its beginning to its end, whatever partitions it holds. The events of one partition come
//! by rising offset; those of different partitions in any order. In that order stand the files of commits, and of
//! compactions of neighbours ([`spans`] finds it). Files that do not follow one another, as compactions may leave them, are
//! read partition by partition, sorted.

mod mixed;
mod spans;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::error::ArrowError;
use futures::TryStreamExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, RowFilter};
use parquet::arrow::async_reader::ParquetRecordBatchStream;
use tokio::runtime::Handle;

use crate::delta::parquet_file::{open, open_by_pages, parquet_error};
use crate::delta::physical::from_file;
use crate::delta::stored_file::StoredFile;
use crate::{Lake, TableName, TablesError, raw_schema};
use mixed::Mixed;
use spans::{Step, steps};

/// What is given at once ends with the batch by which it has half as many rows, or half as many bytes of payload; a batch has
/// no more than all of them, by the average of its file.
const ROWS: usize = 50_000;
const BYTES: usize = 64 << 20;

/// Which events are wanted: by source, topic, and the offsets of each partition.
#[derive(Debug, Clone)]
struct Wanted {
    table: TableName,
    source: String,
    topic: String,
    offsets: BTreeMap<i32, Range<i64>>,
}

impl Wanted {
    /// Of the rows of a file those that are wanted.
    fn from(&self, rows: &RecordBatch) -> Result<RecordBatch, TablesError> {
        let wanted = self.are_among(rows).map_err(|error| self.arrow(error))?;
        if wanted.true_count() == wanted.len() {
            return Ok(rows.clone());
        }
        filter_record_batch(rows, &wanted).map_err(|error| self.arrow(error))
    }

    fn are_among(&self, rows: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        let schema = rows.schema_ref();
        let (sources, topics) = (rows.column(schema.index_of("source")?), rows.column(schema.index_of("topic")?));
        let (sources, topics) = (sources.as_string::<i32>(), topics.as_string::<i32>());
        let (partitions, offsets) = positions(rows)?;
        let is_wanted = |row: usize| {
            self.offsets.get(&partitions[row]).is_some_and(|range| range.contains(&offsets[row]))
                && sources.value(row) == self.source
                && topics.value(row) == self.topic
        };
        Ok((0..rows.num_rows()).map(|row| Some(is_wanted(row))).collect())
    }

    fn arrow(&self, source: ArrowError) -> TablesError {
        TablesError::Arrow { table: self.table.clone(), source }
    }
}

/// The partition and the offset of each row.
fn positions(rows: &RecordBatch) -> Result<(&[i32], &[i64]), ArrowError> {
    let schema = rows.schema_ref();
    let partitions = rows.column(schema.index_of("partition")?).as_primitive::<Int32Type>().values();
    Ok((partitions, rows.column(schema.index_of("offset")?).as_primitive::<Int64Type>().values()))
}

/// The next events of a walk.
#[derive(Debug)]
pub struct RawWindow {
    /// With the columns of [`raw_schema`]; of each partition by rising offset.
    pub rows: RecordBatch,
    /// The offsets that they stand for, by partition: they may be more, for offsets may be missing.
    pub ranges: BTreeMap<i32, Range<i64>>,
}

/// A way through a raw table. What it holds in memory does not grow with the table, but for a few numbers of each file.
pub struct RawWalk {
    lake: Lake,
    wanted: Wanted,
    /// What has not been given yet.
    left: BTreeMap<i32, Range<i64>>,
    steps: VecDeque<Step>,
    reading: Option<Reading>,
}

/// Where the next events come from.
enum Reading {
    File(ParquetRecordBatchStream<StoredFile>),
    Mixed(Mixed),
}

impl std::fmt::Debug for RawWalk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawWalk").field("wanted", &self.wanted).field("left", &self.left).finish_non_exhaustive()
    }
}

impl Lake {
    /// Begins a walk through the newest version of a raw table: over these offsets of a topic's partitions.
    pub async fn walk_raw(
        &self,
        table: &TableName,
        source: &str,
        topic: &str,
        mut offsets: BTreeMap<i32, Range<i64>>,
    ) -> Result<RawWalk, TablesError> {
        offsets.retain(|_, range| !range.is_empty());
        let wanted = Wanted { table: table.clone(), source: source.into(), topic: topic.into(), offsets };
        let steps = steps(self, &wanted).await?;
        let left = wanted.offsets.clone();
        Ok(RawWalk { lake: self.clone(), wanted, left, steps, reading: None })
    }
}

impl RawWalk {
    /// The next events, and the rest of the way; nothing when all offsets were given.
    ///
    /// # Errors
    ///
    /// Storage that does not answer, or a file that is gone by now: whoever wants to go on begins another walk where the
    /// events ended that were given last.
    pub async fn next(self) -> Result<Option<(RawWindow, RawWalk)>, TablesError> {
        // It decodes: not on a thread that others wait for.
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(self.window())).await?
    }

    async fn window(mut self) -> Result<Option<(RawWindow, Self)>, TablesError> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let (mut gathered, mut rows, mut bytes, mut ended) = (Vec::new(), 0, 0, false);
        while rows < ROWS / 2 && bytes < BYTES / 2 && !ended {
            match self.batch().await? {
                Some(batch) => {
                    rows += batch.num_rows();
                    bytes += bytes_of_payloads(&batch);
                    gathered.push(batch);
                }
                None => ended = true,
            }
        }
        let rows = concat_batches(&raw_schema(), &gathered).map_err(|error| self.wanted.arrow(error))?;
        let mut ranges = self.pass(&rows)?;
        if ended {
            // There are no events in what is left.
            for (partition, rest) in std::mem::take(&mut self.left) {
                ranges.entry(partition).or_insert(rest.clone()).end = rest.end;
            }
        }
        Ok(Some((RawWindow { rows, ranges }, self)))
    }

    /// Takes the events from what is left; gives the offsets that they stand for.
    fn pass(&mut self, rows: &RecordBatch) -> Result<BTreeMap<i32, Range<i64>>, TablesError> {
        let (partitions, offsets) = positions(rows).map_err(|error| self.wanted.arrow(error))?;
        let mut ranges: BTreeMap<i32, Range<i64>> = BTreeMap::new();
        for (partition, offset) in partitions.iter().zip(offsets) {
            let Some(rest) = self.left.get_mut(partition).filter(|rest| *offset >= rest.start) else {
                // A table that stands behind it already would never have it.
                let message = format!("offset {offset} of partition {partition} comes behind a later one");
                return Err(TablesError::Schema { table: self.wanted.table.clone(), message });
            };
            ranges.entry(*partition).or_insert(rest.start..rest.start).end = offset + 1;
            rest.start = offset + 1;
        }
        self.left.retain(|_, range| !range.is_empty());
        Ok(ranges)
    }

    /// Some of the next events, at least one; nothing at the end of the way.
    async fn batch(&mut self) -> Result<Option<RecordBatch>, TablesError> {
        loop {
            let read = match &mut self.reading {
                None => match self.steps.pop_front() {
                    None => return Ok(None),
                    Some(step) => {
                        self.reading = Some(self.begin(step).await?);
                        continue;
                    }
                },
                Some(Reading::Mixed(mixed)) => mixed.next(&self.lake, &self.wanted).await?,
                Some(Reading::File(file)) => {
                    let layout = &self.lake.table(&self.wanted.table)?.layout;
                    let read = file.try_next().await.map_err(|source| parquet_error(layout, source))?;
                    read.map(|batch| self.wanted.from(&from_file(layout, &batch)?)).transpose()?
                }
            };
            match read {
                None => self.reading = None,
                Some(batch) if batch.num_rows() == 0 => {}
                some => return Ok(some),
            }
        }
    }

    async fn begin(&self, step: Step) -> Result<Reading, TablesError> {
        let table = self.lake.table(&self.wanted.table)?;
        match step {
            Step::Mixed { files, offsets } => Ok(Reading::Mixed(Mixed::new(table.of_files(files), offsets))),
            Step::File { file, whole } => {
                let builder = match whole {
                    true => open(&table.layout, table.folder(), &file).await?,
                    false => open_by_pages(&table.layout, table.folder(), &file).await?,
                };
                let size: i64 = builder.metadata().row_groups().iter().map(|group| group.total_byte_size()).sum();
                let of_row = (size.max(0) as u64 / file.rows.max(1)).max(1);
                let mut builder = builder.with_batch_size((BYTES / of_row as usize).clamp(1, ROWS));
                if !whole {
                    let groups = self.wanted.groups(table, builder.metadata());
                    let filter = self.filter(Wanted::mask(table, builder.parquet_schema()));
                    builder = builder.with_row_groups(groups).with_row_filter(filter);
                }
                Ok(Reading::File(builder.build().map_err(|source| parquet_error(&table.layout, source))?))
            }
        }
    }

    /// Positions are read first: of payloads only the pages that are needed.
    fn filter(&self, positions: ProjectionMask) -> RowFilter {
        let (lake, wanted) = (self.lake.clone(), self.wanted.clone());
        let is_wanted = ArrowPredicateFn::new(positions, move |rows: RecordBatch| {
            let foreign = |error: TablesError| ArrowError::ExternalError(Box::new(error));
            let layout = &lake.table(&wanted.table).map_err(foreign)?.layout;
            wanted.are_among(&from_file(layout, &rows).map_err(foreign)?)
        });
        RowFilter::new(vec![Box::new(is_wanted)])
    }
}

fn bytes_of_payloads(rows: &RecordBatch) -> usize {
    let payloads = rows.column_by_name("payload").and_then(|column| column.as_binary_opt::<i32>());
    payloads.and_then(|payloads| Some(payloads.offsets().last()? - payloads.offsets().first()?)).unwrap_or(0) as usize
}

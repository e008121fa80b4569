//! In which order the files of a raw table are read, so that the events of each partition come by rising offset.
//!
//! Of each file it is looked up which offsets of each partition it holds, from the first to the last: its *spans*. A file
//! follows another one when its spans begin behind the other's. Positions alone are read for it, a small part of a file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use datafusion::common::ScalarValue;
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::ProjectionMask;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use parquet::schema::types::SchemaDescriptor;
use tokio::runtime::Handle;

use super::{Wanted, positions};
use crate::delta::Table;
use crate::delta::parquet_file::{open, parquet_error};
use crate::delta::physical::from_file;
use crate::delta::snapshot::DataFile;
use crate::{Lake, TablesError};

/// Files that are looked into at the same time.
const AT_ONCE: usize = 8;

/// What is read next.
#[derive(Debug)]
pub(super) enum Step {
    /// A file from its beginning to its end; whether all of its rows are wanted.
    File { file: Arc<DataFile>, whole: bool },
    /// Files of which none follows all others, with the offsets that they hold.
    Mixed { files: Vec<Arc<DataFile>>, offsets: BTreeMap<i32, Range<i64>> },
}

/// A file with something that is wanted.
#[derive(Debug)]
struct Spans {
    file: Arc<DataFile>,
    of: BTreeMap<i32, RangeInclusive<i64>>,
    /// Rows that are wanted.
    rows: u64,
    /// Whether the offsets of each partition rise from its beginning to its end.
    rising: bool,
}

/// The steps over all files that may hold something that is wanted, of the table's newest version.
pub(super) async fn steps(lake: &Lake, wanted: &Wanted) -> Result<VecDeque<Step>, TablesError> {
    let state = lake.table(&wanted.table)?.state().await?;
    let (lake, wanted, runtime) = (lake.clone(), wanted.clone(), Handle::current());
    // It decodes: not on a thread that others wait for.
    let looked = tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            let table = lake.table(&wanted.table)?;
            let files = state.files.iter().filter(|file| may_hold(table, file, &wanted));
            let spans = stream::iter(files).map(|file| spans(table, file, &wanted)).buffered(AT_ONCE);
            spans.try_collect::<Vec<Spans>>().await
        })
    });
    Ok(in_order(looked.await??.into_iter().filter(|spans| !spans.of.is_empty()).collect()))
}

/// Whether what the log tells of a file's offsets leaves it possible that it holds something.
fn may_hold(table: &Table, file: &DataFile, wanted: &Wanted) -> bool {
    let bounds = |column: &str| {
        let (at, _) = table.layout.reading.column_with_name(column)?;
        let statistics = file.statistics.column_statistics.get(at)?;
        let number = |value: Option<&ScalarValue>| match value? {
            ScalarValue::Int32(number) => number.map(i64::from),
            ScalarValue::Int64(number) => *number,
            _ => None,
        };
        Some(number(statistics.min_value.get_value())?..=number(statistics.max_value.get_value())?)
    };
    wanted.may_be_within(bounds("partition"), bounds("offset"))
}

type Bounds = Option<RangeInclusive<i64>>;

impl Wanted {
    /// Whether rows with such partitions and offsets may be wanted; without bounds they may be any.
    fn may_be_within(&self, partitions: Bounds, offsets: Bounds) -> bool {
        self.offsets.iter().any(|(partition, range)| {
            partitions.as_ref().is_none_or(|bounds| bounds.contains(&i64::from(*partition)))
                && offsets.as_ref().is_none_or(|bounds| *bounds.start() < range.end && range.start <= *bounds.end())
        })
    }

    /// The row groups of a file that may hold something that is wanted.
    pub(super) fn groups(&self, table: &Table, file: &ParquetMetaData) -> Vec<usize> {
        let columns = file.file_metadata().schema_descr().columns();
        let bounds = |group: &RowGroupMetaData, column: &str| {
            let at = columns.iter().position(|c| c.path().string() == table.layout.stored_name(column))?;
            match group.column(at).statistics()? {
                Statistics::Int32(bounds) => Some(i64::from(*bounds.min_opt()?)..=i64::from(*bounds.max_opt()?)),
                Statistics::Int64(bounds) => Some(*bounds.min_opt()?..=*bounds.max_opt()?),
                _ => None,
            }
        };
        let groups = file.row_groups().iter().enumerate();
        let may = |group| self.may_be_within(bounds(group, "partition"), bounds(group, "offset"));
        groups.filter(|(_, group)| may(group)).map(|(at, _)| at).collect()
    }

    /// The columns that tell whether a row is wanted.
    pub(super) fn mask(table: &Table, file: &SchemaDescriptor) -> ProjectionMask {
        let columns = ["source", "topic", "partition", "offset"].map(|name| table.layout.stored_name(name));
        ProjectionMask::columns(file, columns)
    }
}

async fn spans(table: &Table, file: &Arc<DataFile>, wanted: &Wanted) -> Result<Spans, TablesError> {
    let failed = |source| parquet_error(&table.layout, source);
    let builder = open(&table.layout, table.folder(), file).await?;
    let (mask, groups) = (Wanted::mask(table, builder.parquet_schema()), wanted.groups(table, builder.metadata()));
    let mut stream = builder.with_projection(mask).with_row_groups(groups).build().map_err(failed)?;
    let mut spans = Spans { file: Arc::clone(file), of: BTreeMap::new(), rows: 0, rising: true };
    while let Some(batch) = stream.try_next().await.map_err(failed)? {
        let rows = wanted.from(&from_file(&table.layout, &batch)?)?;
        let (partitions, offsets) = positions(&rows).map_err(|error| wanted.arrow(error))?;
        partitions.iter().zip(offsets).for_each(|(partition, offset)| spans.add(*partition, *offset));
    }
    Ok(spans)
}

impl Spans {
    fn add(&mut self, partition: i32, offset: i64) {
        self.rows += 1;
        let Some(span) = self.of.get_mut(&partition) else {
            self.of.insert(partition, offset..=offset);
            return;
        };
        self.rising &= offset > *span.end();
        *span = offset.min(*span.start())..=offset.max(*span.end());
    }
}

/// The files of each partition that are left, by the first offset that they have of it.
type Lines = BTreeMap<i32, BTreeSet<(i64, usize)>>;

/// Each file once, and behind all those that it follows.
fn in_order(files: Vec<Spans>) -> VecDeque<Step> {
    let mut lines = Lines::new();
    for (number, spans) in files.iter().enumerate() {
        for (partition, span) in &spans.of {
            lines.entry(*partition).or_default().insert((*span.start(), number));
        }
    }
    let mut steps = VecDeque::new();
    loop {
        let heads: BTreeSet<usize> = lines.values().filter_map(|line| Some(line.first()?.1)).collect();
        let taken = match (heads.iter().find(|number| all_others_follow(**number, &files, &lines)), heads.first()) {
            (Some(next), _) => BTreeSet::from([*next]),
            (None, Some(first)) => inseparable(*first, &files, &lines),
            (None, None) => return steps,
        };
        for number in &taken {
            for (partition, span) in &files[*number].of {
                lines.get_mut(partition).map(|line| line.remove(&(*span.start(), *number)));
            }
        }
        steps.push_back(step(taken.iter().map(|number| &files[*number]).collect()));
    }
}

fn all_others_follow(number: usize, files: &[Spans], lines: &Lines) -> bool {
    files[number].of.iter().all(|(partition, span)| {
        let mut line = lines.get(partition).into_iter().flatten();
        line.next().is_some_and(|(_, first)| *first == number) && line.next().is_none_or(|(from, _)| from > span.end())
    })
}

/// The file, and those that it does not come before, and those that they do not come before: none of them can be read from
/// its beginning to its end before another.
fn inseparable(number: usize, files: &[Spans], lines: &Lines) -> BTreeSet<usize> {
    let mut taken = BTreeSet::from([number]);
    loop {
        let ends = offsets(taken.iter().map(|number| &files[*number]));
        let before = taken.len();
        for (partition, range) in ends {
            let line = lines.get(&partition).into_iter();
            taken.extend(line.flat_map(|line| line.range(..(range.end, 0)).map(|(_, number)| *number)));
        }
        if taken.len() == before {
            return taken;
        }
    }
}

/// From the first offset of each partition that one of the files has, to the one after the last.
fn offsets<'a>(files: impl IntoIterator<Item = &'a Spans>) -> BTreeMap<i32, Range<i64>> {
    let mut all: BTreeMap<i32, Range<i64>> = BTreeMap::new();
    for (partition, span) in files.into_iter().flat_map(|spans| &spans.of) {
        let range = all.entry(*partition).or_insert(*span.start()..span.end() + 1);
        *range = range.start.min(*span.start())..range.end.max(span.end() + 1);
    }
    all
}

fn step(files: Vec<&Spans>) -> Step {
    match files.as_slice() {
        [one] if one.rising => Step::File { file: Arc::clone(&one.file), whole: one.rows == one.file.rows },
        some => {
            let offsets = offsets(some.iter().copied());
            Step::Mixed { files: some.iter().map(|spans| Arc::clone(&spans.file)).collect(), offsets }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with these events, in this order.
    fn file(events: &[(i32, i64)]) -> Spans {
        let file = Arc::new(DataFile::of_size(1, None));
        let mut spans = Spans { file, of: BTreeMap::new(), rows: 0, rising: true };
        events.iter().for_each(|(partition, offset)| spans.add(*partition, *offset));
        spans
    }

    /// Which of the files each step reads.
    fn order(files: Vec<Spans>) -> Vec<Vec<usize>> {
        let known: Vec<Arc<DataFile>> = files.iter().map(|spans| Arc::clone(&spans.file)).collect();
        let number = |file: &Arc<DataFile>| known.iter().position(|other| Arc::ptr_eq(other, file)).unwrap();
        let read = |step: &Step| match step {
            Step::File { file, .. } => vec![number(file)],
            Step::Mixed { files, .. } => files.iter().map(number).collect(),
        };
        in_order(files).iter().map(read).collect()
    }

    #[test]
    fn files_follow_one_another_whatever_order_they_are_listed_in() {
        let files = vec![file(&[(0, 7), (1, 4)]), file(&[(1, 2), (0, 3), (1, 3)]), file(&[(2, 0)]), file(&[(0, 2)])];
        let order = order(files);
        let place = |number: usize| order.iter().position(|step| *step == [number]).unwrap();
        assert!(order.len() == 4 && place(3) < place(1) && place(1) < place(0), "{order:?}");
    }

    #[test]
    fn files_between_one_another_are_read_together_and_those_around_them_alone() {
        let before = file(&[(0, 0), (1, 0)]);
        let (around, between) = (file(&[(0, 1), (0, 9)]), file(&[(0, 4), (1, 5)]));
        let after = file(&[(0, 20), (1, 20)]);
        assert_eq!(order(vec![after, around, before, between]), [vec![2], vec![1, 3], vec![0]]);
        // Each has something that comes before something of the other.
        let crossed = vec![file(&[(0, 1), (1, 5)]), file(&[(0, 2), (1, 4)]), file(&[(1, 6)])];
        assert_eq!(order(crossed), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn a_file_whose_offsets_do_not_rise_is_sorted() {
        let steps = in_order(vec![file(&[(0, 3), (1, 0), (0, 4)]), file(&[(0, 8), (1, 2), (0, 7)])]);
        assert!(matches!(&steps[0], Step::File { .. }));
        let Step::Mixed { files, offsets } = &steps[1] else { panic!("{steps:?}") };
        assert_eq!((files.len(), offsets), (1, &BTreeMap::from([(0, 7..9), (1, 2..3)])));
    }
}

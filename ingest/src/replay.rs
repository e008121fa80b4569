//! Events read again from a raw table, for tables that are behind it.

use std::collections::BTreeMap;
use std::ops;

use arrow::array::RecordBatch;
use lakeward_tables::{RawWalk, RawWindow, TableName, TablesError};

use crate::buffer::{Range, Ranges};
use crate::sink::{Attempt, Unwritten, Writing};

/// Partitions of a raw table, each from where a table stands to where raw stands.
pub(crate) struct Replay {
    raw: TableName,
    writing: Writing,
    left: Ranges,
    /// The way that is left, unless it must be looked for (again).
    walk: Option<RawWalk>,
}

/// The ranges as the raw table is asked for them.
pub(crate) fn offsets(ranges: &Ranges) -> BTreeMap<i32, ops::Range<i64>> {
    ranges.iter().map(|(partition, range)| (*partition, range.from..range.next)).collect()
}

/// What a window of a raw table stands for.
pub(crate) fn ranges(window: &RawWindow) -> Ranges {
    let of = |range: &ops::Range<i64>| Range { from: range.start, next: range.end };
    window.ranges.iter().map(|(partition, range)| (*partition, of(range))).collect()
}

impl Replay {
    pub(crate) fn new(raw: TableName, writing: &Writing, left: Ranges) -> Self {
        Replay { raw, writing: writing.clone(), left, walk: None }
    }

    /// The next events and the ranges they stand for, which may be longer than they are: offsets may be missing.
    pub(crate) async fn next(&mut self) -> Result<Option<(RecordBatch, Ranges)>, Unwritten> {
        let mut attempt =
            Attempt::new(&self.writing, format!("{} cannot be read", self.raw), format!("replay {}", self.raw));
        loop {
            match self.window().await {
                Ok(None) => return Ok(None),
                Ok(Some(window)) => {
                    attempt.over();
                    let ranges = ranges(&window);
                    for (partition, range) in &ranges {
                        self.left.entry(*partition).and_modify(|left| left.from = range.next);
                    }
                    return Ok(Some((window.rows, ranges)));
                }
                Err(error) => attempt.again(&error).await?,
            }
        }
    }

    async fn window(&mut self) -> Result<Option<RawWindow>, TablesError> {
        let Writing { lake, source, topic, .. } = &self.writing;
        let walk = match self.walk.take() {
            Some(walk) => walk,
            None => lake.walk_raw(&self.raw, source, topic, offsets(&self.left)).await?,
        };
        let Some((window, walk)) = walk.next().await? else { return Ok(None) };
        self.walk = Some(walk);
        Ok(Some(window))
    }
}

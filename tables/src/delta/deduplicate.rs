//! Events that a producer sent again are not added a second time: a row whose key is in the table already, from an event
//! whose time lies within the window.
//!
//! A filter of the keys in the files of the window tells which rows could be repeated; for those alone the table is looked
//! into. All that is needed stands in the table, so that a restart, another process and a rebuild decide alike.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use object_store::ObjectStore;

use super::filter::KeyFilter;
use super::keys::{ExactKeys, Wanted, hashes, orders};
use super::layout::Layout;
use super::merge::Outcome;
use super::parquet_file::{self, WrittenFile};
use super::scan::{Found, Scan, ScanCache};
use super::snapshot::{DataFile, State};
use crate::{Deduplication, TablesError};

/// The rows of one commit, and what its attempts have found out so far.
pub(crate) struct Deduplicate {
    layout: Arc<Layout>,
    store: Arc<dyn ObjectStore>,
    key: Vec<String>,
    window: i64,
    exact: ExactKeys,
    batches: Vec<Batch>,
    /// By the path of the file; of the keys that are wanted at `generation`.
    scanned: HashMap<String, Vec<Found>>,
    generation: Option<u64>,
    written: Option<(Vec<Vec<bool>>, Option<WrittenFile>)>,
}

struct Batch {
    rows: RecordBatch,
    hashes: Vec<u64>,
    times: Vec<i64>,
}

impl Deduplicate {
    pub(crate) fn new(
        layout: &Arc<Layout>,
        store: &Arc<dyn ObjectStore>,
        of: &Deduplication,
        rows: &[RecordBatch],
    ) -> Result<Self, TablesError> {
        let batch = |rows: &RecordBatch| {
            let times = orders(rows).into_iter().map(|(_, time, _, _)| time).collect();
            Ok(Batch { rows: rows.clone(), hashes: hashes(layout, &of.key, rows)?, times })
        };
        Ok(Self {
            layout: layout.clone(),
            store: store.clone(),
            window: i64::try_from(of.window.as_micros()).unwrap_or(i64::MAX),
            exact: ExactKeys::new(layout, &of.key)?,
            key: of.key.clone(),
            batches: rows.iter().map(batch).collect::<Result<_, TablesError>>()?,
            scanned: HashMap::new(),
            generation: None,
            written: None,
        })
    }

    /// The files that may hold what is repeated.
    fn candidates<'s>(&self, state: &'s State) -> Vec<&'s Arc<DataFile>> {
        let times = || self.batches.iter().flat_map(|batch| &batch.times);
        let from = times().min().map_or(0, |time| time.saturating_sub(self.window));
        let until = times().max().map_or(0, |time| time.saturating_add(self.window));
        let overlaps = |file: &&Arc<DataFile>| file.times.is_none_or(|(first, last)| first <= until && last >= from);
        state.files.iter().filter(overlaps).collect()
    }

    pub(crate) async fn prepare(
        &mut self,
        state: &State,
        filter: &mut KeyFilter,
        cache: &ScanCache,
    ) -> Result<Outcome, TablesError> {
        let candidates = self.candidates(state);
        let scan = Scan { layout: &self.layout, store: &self.store, cache, key: &self.key };
        if filter.is_full() {
            filter.clear();
        }
        for file in candidates.iter().filter(|file| !filter.has(&file.path)).collect::<Vec<_>>() {
            let keys = scan.keys_of(file, false).await?;
            filter.absorb(&file.path, keys);
        }
        let mut times_met: HashMap<u64, u32> = HashMap::new();
        self.batches.iter().flat_map(|batch| &batch.hashes).for_each(|hash| *times_met.entry(*hash).or_default() += 1);
        let mut wanted = Wanted::default();
        let mut suspects: Vec<(Vec<u32>, Vec<usize>)> = Vec::with_capacity(self.batches.len());
        let mut may_be_there = false;
        for batch in &self.batches {
            let rows: Vec<u32> = (0..batch.hashes.len() as u32)
                .filter(|row| {
                    let hash = batch.hashes[*row as usize];
                    let there = filter.may_contain(hash);
                    may_be_there |= there;
                    there || times_met[&hash] > 1
                })
                .collect();
            let keys = match rows.is_empty() {
                true => Vec::new(),
                false => wanted.add(&self.layout, &self.exact, &batch.rows, &batch.hashes, &rows)?,
            };
            suspects.push((rows, keys));
        }
        if self.generation != Some(filter.generation) {
            self.scanned.clear();
            self.generation = Some(filter.generation);
        }
        let mut accepted: Vec<Vec<i64>> = vec![Vec::new(); wanted.exact.len()];
        for file in candidates.iter().filter(|_| may_be_there) {
            if !self.scanned.contains_key(&file.path) {
                self.scanned.insert(file.path.clone(), scan.find(file, &wanted, &self.exact).await?);
            }
            for found in &self.scanned[&file.path] {
                accepted[found.key].push(found.order.1);
            }
        }
        let mut kept: Vec<Vec<bool>> = Vec::with_capacity(self.batches.len());
        for (batch, (rows, keys)) in self.batches.iter().zip(suspects) {
            let mut keeps = vec![true; batch.times.len()];
            for (row, key) in rows.into_iter().zip(keys) {
                let time = batch.times[row as usize];
                let known = &mut accepted[key];
                if known.iter().any(|other| time.saturating_sub(*other).saturating_abs() <= self.window) {
                    keeps[row as usize] = false;
                } else {
                    known.push(time);
                }
            }
            kept.push(keeps);
        }
        if self.written.as_ref().is_none_or(|(done, _)| *done != kept) {
            let written = self.write(&kept).await?;
            self.written = Some((kept, written));
        }
        let files = self.written.iter().filter_map(|(_, file)| file.clone()).collect();
        Ok(Outcome { files, ..Outcome::default() })
    }

    async fn write(&self, kept: &[Vec<bool>]) -> Result<Option<WrittenFile>, TablesError> {
        let mut rows = Vec::new();
        for (batch, kept) in self.batches.iter().zip(kept) {
            let left = match kept.iter().all(|keep| *keep) {
                true => batch.rows.clone(),
                false => filter_record_batch(&batch.rows, &BooleanArray::from(kept.clone()))
                    .map_err(|source| TablesError::Arrow { table: self.layout.name.clone(), source })?,
            };
            if left.num_rows() > 0 {
                rows.push(left);
            }
        }
        match rows.is_empty() {
            true => Ok(None),
            false => parquet_file::write(&self.layout, &self.store, rows).await.map(Some),
        }
    }

    /// The hashes of the keys of all rows that were given.
    pub(crate) fn hashes(&self) -> Vec<u64> {
        self.batches.iter().flat_map(|batch| batch.hashes.iter().copied()).collect()
    }
}

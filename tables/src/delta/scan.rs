//! Looking for keys in the files of a table, reading no more of them than it takes.
//!
//! A file whose keys were read once is known by their hashes; a file that was compacted has a Bloom filter of its own; of
//! all others the columns of the key are read.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::is_not_null;
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use object_store::ObjectStore;
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, RowFilter};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};

use super::keys::{ExactKeys, Order, Wanted, flag, hashes, is_set, orders};
use super::layout::Layout;
use super::parquet_file::{open, open_by_pages, parquet_error};
use super::physical::called;
use super::snapshot::DataFile;
use super::stored_file::StoredFile;
use crate::{CORRECTED_COLUMN, EPOCH_COLUMN, OFFSET_COLUMN, TIME_COLUMN, TablesError, VERSION_COLUMN};

/// Hashes that are kept of one table's files: 8 bytes each.
const HASHES_KEPT: usize = 1 << 20;

/// A row with a key that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its place in the file.
    pub(crate) row: u32,
    /// The number of its key among those that were wanted.
    pub(crate) key: usize,
    pub(crate) order: Order,
    pub(crate) corrected: bool,
}

/// The hashes of the keys in some files, sorted. The oldest are forgotten when there are too many.
#[derive(Debug, Default)]
pub(crate) struct ScanCache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    files: HashMap<String, Arc<[u64]>>,
    order: VecDeque<String>,
    hashes: usize,
}

impl ScanCache {
    pub(crate) fn put(&self, path: &str, mut hashes: Vec<u64>) {
        if hashes.len() > HASHES_KEPT / 2 {
            return;
        }
        hashes.sort_unstable();
        hashes.dedup();
        let mut kept = self.0.lock();
        kept.hashes += hashes.len();
        kept.order.push_back(path.to_owned());
        if let Some(before) = kept.files.insert(path.to_owned(), hashes.into()) {
            kept.hashes -= before.len();
        }
        while kept.hashes > HASHES_KEPT {
            let Some(oldest) = kept.order.pop_front() else { break };
            if let Some(gone) = kept.files.remove(&oldest) {
                kept.hashes -= gone.len();
            }
        }
    }

    /// Whether a file is known to have none of the keys.
    fn excludes(&self, path: &str, wanted: &Wanted) -> bool {
        let Some(hashes) = self.0.lock().files.get(path).cloned() else { return false };
        !wanted.hashes.iter().any(|hash| hashes.binary_search(hash).is_ok())
    }
}

/// Where to look, and for which columns of a key.
pub(crate) struct Scan<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) store: &'a Arc<dyn ObjectStore>,
    pub(crate) cache: &'a ScanCache,
    pub(crate) key: &'a [String],
}

impl Scan<'_> {
    /// The key's columns, as files call them.
    fn stored_key(&self) -> impl Iterator<Item = &str> {
        self.key.iter().map(|column| self.layout.stored_name(column))
    }

    /// The rows of a file that have one of the keys.
    pub(crate) async fn find(
        &self,
        file: &DataFile,
        wanted: &Wanted,
        exact: &ExactKeys,
    ) -> Result<Vec<Found>, TablesError> {
        if self.cache.excludes(&file.path, wanted) {
            return Ok(Vec::new());
        }
        let mut builder = open(self.layout, self.store, file).await?;
        let groups: Vec<usize> =
            builder.metadata().row_groups().iter().map(|group| group.num_rows() as usize).collect();
        let mut kept = Vec::new();
        for group in 0..groups.len() {
            if self.may_have(&mut builder, group, wanted).await? {
                kept.push(group);
            }
        }
        if kept.is_empty() {
            return Ok(Vec::new());
        }
        let whole = kept.len() == groups.len();
        let columns = [VERSION_COLUMN, TIME_COLUMN, EPOCH_COLUMN, OFFSET_COLUMN, CORRECTED_COLUMN];
        let columns = self.stored_key().chain(columns);
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
        let mut starts: VecDeque<(usize, usize)> =
            kept.iter().map(|group| (groups.iter().take(*group).sum::<usize>(), groups[*group])).collect();
        let mut stream = builder
            .with_row_groups(kept)
            .with_projection(mask)
            .build()
            .map_err(|source| parquet_error(self.layout, source))?;
        let (mut found, mut all) = (Vec::new(), Vec::new());
        let mut within = 0;
        while let Some(batch) = stream.try_next().await.map_err(|source| parquet_error(self.layout, source))? {
            let batch = called(self.layout, batch)?;
            let hashes = hashes(self.layout, self.key, &batch)?;
            let hits: Vec<u32> =
                (0..hashes.len() as u32).filter(|row| wanted.hashes.contains(&hashes[*row as usize])).collect();
            // A batch ends where its row group does, or earlier: else the places would be others', and others' rows removed.
            let Some((start, rows)) = starts.front().copied().filter(|(_, rows)| within + batch.num_rows() <= *rows)
            else {
                let message = "the rows of a file do not come group by group".to_owned();
                return Err(TablesError::Schema { table: self.layout.name.clone(), message });
            };
            self.note(&batch, &hits, start + within, wanted, exact, &mut found)?;
            within += batch.num_rows();
            if within == rows {
                within = 0;
                starts.pop_front();
            }
            all.extend(hashes);
        }
        if whole {
            self.cache.put(&file.path, all);
        }
        Ok(found)
    }

    /// Whether a row group may have one of the keys, by its Bloom filter.
    async fn may_have(
        &self,
        builder: &mut ParquetRecordBatchStreamBuilder<StoredFile>,
        group: usize,
        wanted: &Wanted,
    ) -> Result<bool, TablesError> {
        let Some(first) = self.key.first().filter(|_| !wanted.texts.is_empty()) else { return Ok(true) };
        let columns = builder.parquet_schema().columns();
        let Some(column) = columns.iter().position(|c| c.path().string() == self.layout.stored_name(first)) else {
            return Ok(true);
        };
        let filter = builder
            .get_row_group_column_bloom_filter(group, column)
            .await
            .map_err(|source| parquet_error(self.layout, source))?;
        Ok(filter.is_none_or(|filter| wanted.texts.iter().any(|text| filter.check(text.as_str()))))
    }

    fn note(
        &self,
        batch: &RecordBatch,
        hits: &[u32],
        base: usize,
        wanted: &Wanted,
        exact: &ExactKeys,
        found: &mut Vec<Found>,
    ) -> Result<(), TablesError> {
        if hits.is_empty() {
            return Ok(());
        }
        let keys = exact.of(self.layout, batch, hits)?;
        let (orders, corrected) = (orders(batch), flag(batch, CORRECTED_COLUMN));
        for (row, key) in hits.iter().zip(keys) {
            let Some(key) = wanted.exact.get(&key) else { continue };
            let at = *row as usize;
            let corrected = is_set(&corrected, at);
            found.push(Found { row: (base + at) as u32, key: *key, order: orders[at], corrected });
        }
        Ok(())
    }

    /// The hashes of the keys in a file: of all its rows, or of those whose key was corrected.
    pub(crate) async fn keys_of(&self, file: &DataFile, only_corrected: bool) -> Result<Vec<u64>, TablesError> {
        let mut builder = match only_corrected {
            true => open_by_pages(self.layout, self.store, file).await?,
            false => open(self.layout, self.store, file).await?,
        };
        if only_corrected {
            // The flag is read first: of the keys only the pages that are needed.
            let flags = ProjectionMask::columns(builder.parquet_schema(), [CORRECTED_COLUMN]);
            let is_corrected = ArrowPredicateFn::new(flags, |batch: RecordBatch| -> Result<BooleanArray, _> {
                is_not_null(batch.column(0))
            });
            builder = builder.with_row_filter(RowFilter::new(vec![Box::new(is_corrected)]));
        }
        let mask = ProjectionMask::columns(builder.parquet_schema(), self.stored_key());
        let mut stream = builder.with_projection(mask).build().map_err(|source| parquet_error(self.layout, source))?;
        let mut all = Vec::new();
        while let Some(batch) = stream.try_next().await.map_err(|source| parquet_error(self.layout, source))? {
            all.extend(hashes(self.layout, self.key, &called(self.layout, batch)?)?);
        }
        Ok(all)
    }
}

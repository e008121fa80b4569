//! Merge: events that replace those before them of their key.
//!
//! Newest wins, by (version, time, epoch, offset), in whatever order events come. In an `upsert` table every event is
//! compared with what is there. In a `corrected` table an event is compared when it is a correction, or when its key was
//! corrected before; of such a key only the newest event's rows are left, and they are marked as corrected, so that the next
//! event of the key is compared as well. Events of keys that nobody corrected are appended and compared with nothing.
//!
//! Files that hold a losing row are written anew without it, batch by batch; small ones go into the file of the commit, so
//! that a table of a few keys stays a few files. What one attempt has read and written is kept for the next one.

mod cases;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, BooleanArray, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::record_batch::RecordBatch;
use object_store::ObjectStore;

use crate::delta::filter::KeyFilter;
use crate::delta::keys::{self, ExactKeys, Order, Wanted, flag, hashes, is_set, orders};
use crate::delta::layout::Layout;
use crate::delta::parquet_file::{self, WrittenFile};
use crate::delta::physical::as_declared;
use crate::delta::scan::{Found, Scan, ScanCache};
use crate::delta::snapshot::{DataFile, State};
use crate::{CORRECTED_COLUMN, TablesError};

/// A file of no bucket that is not larger goes into the commit's own file when it loses a row …
const FOLDED_FILE: u64 = 512 << 10;
/// … as long as they are not more than this together.
const FOLDED_TOGETHER: u64 = 2 << 20;

/// What one commit wants to merge, and what its attempts have found out so far.
pub(crate) struct Merge {
    layout: Arc<Layout>,
    store: Arc<dyn ObjectStore>,
    key: Vec<String>,
    exact: ExactKeys,
    primary: ExactKeys,
    /// Rows that replace others, in the declared types.
    corrections: Vec<RecordBatch>,
    /// All others, with the hashes of their keys once those are asked for: as long as no key of a table was ever corrected,
    /// nobody does.
    plain: Vec<(RecordBatch, OnceLock<Vec<u64>>)>,
    chosen: Option<Chosen>,
    scanned: HashMap<String, Vec<Found>>,
    rewritten: HashMap<String, (Touch, Option<WrittenFile>)>,
    fresh: Option<(Fresh, Option<WrittenFile>)>,
}

/// What is compared with the table, as of one state of the filter.
struct Chosen {
    generation: u64,
    /// Rows that are compared with nothing.
    plain: Vec<RecordBatch>,
    compared: Vec<Compared>,
    wanted: Wanted,
    buckets: std::collections::BTreeSet<i32>,
}

struct Compared {
    rows: RecordBatch,
    keys: Vec<usize>,
    orders: Vec<Order>,
    corrected: Vec<bool>,
}

/// Rows of a file: those that go, and those that go on as corrected. Both by rising place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Touch {
    dropped: Vec<u32>,
    promoted: Vec<u32>,
}

/// What the commit's own file is made of.
#[derive(Debug, PartialEq, Eq)]
struct Fresh {
    generation: u64,
    /// Batch and row of what is compared, and whether its key is corrected.
    kept: Vec<(usize, u32, bool)>,
    touched: BTreeMap<String, Touch>,
    folded: Vec<String>,
}

/// What a commit brings.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) files: Vec<WrittenFile>,
    pub(crate) removed: Vec<Arc<DataFile>>,
    /// Hashes of keys that are corrected from now on.
    pub(crate) corrected: Vec<u64>,
}

impl Merge {
    /// Takes rows of the physical schema apart: those that are corrections, and all others.
    pub(crate) fn new(
        layout: &Arc<Layout>,
        store: &Arc<dyn ObjectStore>,
        rows: &[RecordBatch],
    ) -> Result<Self, TablesError> {
        let key = layout.key.clone().unwrap_or_default();
        let arrow = |source| TablesError::Arrow { table: layout.name.clone(), source };
        let (mut corrections, mut plain) = (Vec::new(), Vec::new());
        for batch in rows {
            let flags = flag(batch, CORRECTED_COLUMN).filter(|flags| flags.null_count() < flags.len());
            if layout.upsert {
                corrections.push(as_declared(layout, batch)?);
                continue;
            }
            let rest = match flags {
                None => batch.clone(),
                Some(flags) => {
                    let is: BooleanArray = flags.iter().map(|flag| Some(flag == Some(true))).collect();
                    corrections.push(as_declared(layout, &filter_record_batch(batch, &is).map_err(arrow)?)?);
                    filter_record_batch(batch, &arrow::compute::not(&is).map_err(arrow)?).map_err(arrow)?
                }
            };
            if rest.num_rows() > 0 {
                keys::complete(layout, &key, &rest)?;
                plain.push((rest, OnceLock::new()));
            }
        }
        Ok(Self {
            exact: ExactKeys::new(layout, &key)?,
            primary: ExactKeys::new(layout, &layout.primary)?,
            layout: layout.clone(),
            store: store.clone(),
            key,
            corrections,
            plain,
            chosen: None,
            scanned: HashMap::new(),
            rewritten: HashMap::new(),
            fresh: None,
        })
    }

    /// Decides which rows are compared with the table: corrections, and those whose key the filter may have seen.
    pub(crate) fn choose(&mut self, filter: &KeyFilter, buckets: i32) -> Result<(), TablesError> {
        if self.chosen.as_ref().is_some_and(|chosen| chosen.generation == filter.generation) {
            return Ok(());
        }
        let layout = &self.layout;
        let arrow = |source| TablesError::Arrow { table: layout.name.clone(), source };
        let mut wanted = Wanted::default();
        let mut compared = Vec::new();
        let mut compare = |rows: RecordBatch, hashes: &[u64], wanted: &mut Wanted| -> Result<(), TablesError> {
            let all: Vec<u32> = (0..rows.num_rows() as u32).collect();
            let keys = wanted.add(layout, &self.exact, &rows, hashes, &all)?;
            let flags = flag(&rows, CORRECTED_COLUMN);
            let corrected = (0..rows.num_rows()).map(|row| layout.upsert || is_set(&flags, row)).collect();
            compared.push(Compared { orders: orders(&rows), keys, corrected, rows });
            Ok(())
        };
        for batch in &self.corrections {
            compare(batch.clone(), &hashes(layout, &self.key, batch)?, &mut wanted)?;
        }
        let here = wanted.hashes.clone();
        let mut plain = Vec::new();
        for (batch, known) in &self.plain {
            if here.is_empty() && filter.is_empty() {
                plain.push(batch.clone());
                continue;
            }
            let hashes = match known.get() {
                Some(hashes) => hashes,
                None => {
                    let hashes = hashes(layout, &self.key, batch)?;
                    known.get_or_init(|| hashes)
                }
            };
            let hits: Vec<u32> = (0..hashes.len() as u32)
                .filter(|row| {
                    let hash = hashes[*row as usize];
                    here.contains(&hash) || filter.may_contain(hash)
                })
                .collect();
            if hits.is_empty() {
                plain.push(batch.clone());
                continue;
            }
            let taken = take_record_batch(batch, &UInt32Array::from(hits.clone())).map_err(arrow)?;
            let theirs: Vec<u64> = hits.iter().map(|row| hashes[*row as usize]).collect();
            compare(as_declared(layout, &taken)?, &theirs, &mut wanted)?;
            let mut rest = vec![true; hashes.len()];
            hits.iter().for_each(|row| rest[*row as usize] = false);
            plain.push(filter_record_batch(batch, &BooleanArray::from(rest)).map_err(arrow)?);
        }
        plain.retain(|batch| batch.num_rows() > 0);
        let buckets = wanted.hashes.iter().map(|hash| (hash % buckets.max(1) as u64) as i32).collect();
        self.chosen = Some(Chosen { generation: filter.generation, plain, compared, wanted, buckets });
        self.scanned.clear();
        self.fresh = None;
        Ok(())
    }

    /// Whether nothing is compared: the rows are appended as they are.
    pub(crate) fn only_appends(&self) -> bool {
        self.chosen.as_ref().is_some_and(|chosen| chosen.compared.is_empty())
    }

    /// Looks, decides and writes. What it returns fits on this state alone.
    pub(crate) async fn prepare(&mut self, state: &State, cache: &ScanCache) -> Result<Outcome, TablesError> {
        let Some(chosen) = &self.chosen else { return Ok(Outcome::default()) };
        let scan = Scan { layout: &self.layout, store: &self.store, cache, key: &self.key };
        let concerned: Vec<&Arc<DataFile>> = state
            .files
            .iter()
            .filter(|file| file.bucket.is_none_or(|bucket| chosen.buckets.contains(&bucket)))
            .collect();
        for file in &concerned {
            if !self.scanned.contains_key(&file.path) {
                self.scanned.insert(file.path.clone(), scan.find(file, &chosen.wanted, &self.exact).await?);
            }
        }
        let cases = self.cases(chosen, &concerned);
        let touched = self.touched(&cases, &concerned);
        let kept = self.kept(chosen, &cases)?;
        let mut together = 0;
        let folded: Vec<String> = concerned
            .iter()
            .filter(|file| touched.contains_key(&file.path) && file.bucket.is_none() && file.meta.size <= FOLDED_FILE)
            .take_while(|file| {
                together += file.meta.size;
                together <= FOLDED_TOGETHER
            })
            .map(|file| file.path.clone())
            .collect();
        let corrected = chosen.wanted.exact.iter().filter(|(_, key)| cases[**key].touched);
        let corrected =
            if self.layout.upsert { Vec::new() } else { self.hashes_of(chosen, corrected.map(|(_, k)| *k)) };
        let fresh = Fresh { generation: chosen.generation, kept, touched, folded };
        let by_path: HashMap<&str, &Arc<DataFile>> = concerned.iter().map(|file| (file.path.as_str(), *file)).collect();
        let removed: Vec<Arc<DataFile>> =
            fresh.touched.keys().filter_map(|path| by_path.get(path.as_str()).map(|file| Arc::clone(file))).collect();
        self.write(fresh, &removed).await?;
        let mut files: Vec<WrittenFile> = self.fresh.iter().filter_map(|(_, file)| file.clone()).collect();
        for file in &removed {
            files.extend(self.rewritten.get(&file.path).and_then(|(_, written)| written.clone()));
        }
        Ok(Outcome { files, removed, corrected })
    }

    fn hashes_of(&self, chosen: &Chosen, keys: impl Iterator<Item = usize>) -> Vec<u64> {
        let keys: std::collections::HashSet<usize> = keys.collect();
        let mut all = Vec::new();
        for compared in &chosen.compared {
            // They could be hashed before: the columns are there, and without NULL.
            let hashes = hashes(&self.layout, &self.key, &compared.rows).unwrap_or_default();
            all.extend(hashes.iter().zip(&compared.keys).filter(|(_, key)| keys.contains(key)).map(|(hash, _)| *hash));
        }
        all
    }

    /// Appends all rows that were given: for a commit that compares nothing.
    pub(crate) async fn append(&mut self) -> Result<Outcome, TablesError> {
        if self.fresh.is_none() {
            let rows = self.chosen.iter().flat_map(|chosen| chosen.plain.iter().cloned()).collect();
            let file = parquet_file::write(&self.layout, &self.store, rows).await?;
            let generation = self.chosen.as_ref().map_or(0, |chosen| chosen.generation);
            let nothing = Fresh { generation, kept: Vec::new(), touched: BTreeMap::new(), folded: Vec::new() };
            self.fresh = Some((nothing, Some(file)));
        }
        let files = self.fresh.iter().filter_map(|(_, file)| file.clone()).collect();
        Ok(Outcome { files, ..Outcome::default() })
    }

    /// The hashes of all keys that are appended, for whoever looks for them next, in the same process; nothing where they
    /// were not asked for.
    pub(crate) fn appended_hashes(&self) -> Option<Vec<u64>> {
        let known = self.plain.iter().map(|(_, hashes)| hashes.get()).collect::<Option<Vec<_>>>()?;
        Some(known.into_iter().flatten().copied().collect())
    }
}

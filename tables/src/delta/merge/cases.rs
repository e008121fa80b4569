//! Who wins: of each key the newest event, and what that means for the rows that are there and those that are given.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Chosen, Merge, Touch};
use crate::TablesError;
use crate::delta::keys::Order;
use crate::delta::snapshot::DataFile;

/// What is known of one key.
#[derive(Debug, Clone, Default)]
pub(super) struct Case {
    /// The newest event that is there.
    there: Option<Order>,
    /// The newest that is given.
    given: Option<Order>,
    /// Whether the newest replaces all others.
    pub(super) touched: bool,
}

impl Case {
    fn stays(&self) -> bool {
        self.there.is_some() && self.there >= self.given
    }
}

impl Merge {
    /// What is known of each key.
    pub(super) fn cases(&self, chosen: &Chosen, files: &[&Arc<DataFile>]) -> Vec<Case> {
        let mut cases = vec![Case::default(); chosen.wanted.exact.len()];
        for found in files.iter().filter_map(|file| self.scanned.get(&file.path)).flatten() {
            let case = &mut cases[found.key];
            case.there = case.there.max(Some(found.order));
            case.touched |= found.corrected || self.layout.upsert;
        }
        for compared in &chosen.compared {
            for ((key, order), corrected) in compared.keys.iter().zip(&compared.orders).zip(&compared.corrected) {
                let case = &mut cases[*key];
                case.given = case.given.max(Some(*order));
                case.touched |= *corrected;
            }
        }
        cases
    }

    /// The rows of files that go, or go on as corrected.
    pub(super) fn touched(&self, cases: &[Case], files: &[&Arc<DataFile>]) -> BTreeMap<String, Touch> {
        let mut touched = BTreeMap::new();
        for file in files {
            let mut touch = Touch::default();
            for found in self.scanned.get(&file.path).into_iter().flatten() {
                let case = &cases[found.key];
                if !case.touched {
                    continue;
                }
                if case.stays() && Some(found.order) == case.there {
                    if !found.corrected && !self.layout.upsert {
                        touch.promoted.push(found.row);
                    }
                } else {
                    touch.dropped.push(found.row);
                }
            }
            if touch != Touch::default() {
                touched.insert(file.path.clone(), touch);
            }
        }
        touched
    }

    /// The given rows that come into the table.
    pub(super) fn kept(&self, chosen: &Chosen, cases: &[Case]) -> Result<Vec<(usize, u32, bool)>, TablesError> {
        // Of two events with the same place in the order one row of each primary key is left, the one given last.
        let mut last: HashMap<Box<[u8]>, usize> = HashMap::new();
        let mut kept: Vec<Option<(usize, u32, bool)>> = Vec::new();
        for (at, compared) in chosen.compared.iter().enumerate() {
            let all: Vec<u32> = (0..compared.rows.num_rows() as u32).collect();
            let primary = self.primary.of(&self.layout, &compared.rows, &all)?;
            for (row, primary) in primary.into_iter().enumerate() {
                let case = &cases[compared.keys[row]];
                if !case.touched {
                    kept.push(Some((at, row as u32, false)));
                } else if !case.stays() && Some(compared.orders[row]) == case.given {
                    if let Some(before) = last.insert(primary, kept.len()) {
                        kept[before] = None;
                    }
                    kept.push(Some((at, row as u32, true)));
                }
            }
        }
        Ok(kept.into_iter().flatten().collect())
    }
}

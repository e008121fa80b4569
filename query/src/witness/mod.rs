//! Whose rows left a barrier: the persons, by the contract's column `subject`, whether the statement asks for it or not.
//!
//! Below an opaque barrier the column comes along and is taken off at the barrier. Through a transparent one the plan is left as
//! it is, so that neither an answer nor EXPLAIN is another; only when it runs is the column read besides ([`widen`]).

mod widen;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;

use crate::audit::{AuditKey, AuditedSubjects, AuditedTable};

/// Persons of one table that are told one by one; beyond that it is everybody in scope.
pub(crate) const MOST: usize = 10_000;

/// What one statement has read so far, for the audit.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    tables: Mutex<Vec<AuditedTable>>,
    witnesses: Mutex<BTreeMap<String, Arc<Witness>>>,
}

impl Reads {
    /// Adds a table, or columns of one that is known.
    pub(crate) fn add(&self, table: AuditedTable) {
        let mut tables = self.tables.lock();
        match tables.iter_mut().find(|known| known.name == table.name) {
            Some(known) => {
                for column in table.columns {
                    if !known.columns.contains(&column) {
                        known.columns.push(column);
                    }
                }
            }
            None => tables.push(table),
        }
    }

    pub(crate) fn tables(&self) -> Vec<AuditedTable> {
        self.tables.lock().clone()
    }

    /// The witness of a table, one for all of its scans.
    pub(crate) fn witness(&self, table: &str) -> Arc<Witness> {
        Arc::clone(self.witnesses.lock().entry(table.to_owned()).or_default())
    }

    /// The persons of whom rows left a barrier.
    pub(crate) fn subjects(&self, key: &AuditKey) -> Vec<AuditedSubjects> {
        let witnesses = self.witnesses.lock();
        witnesses.iter().filter_map(|(table, witness)| witness.told(table, key)).collect()
    }
}

/// The persons of one table.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    all: AtomicBool,
    seen: Mutex<HashSet<String>>,
}

impl Witness {
    /// Everybody in scope may have been seen.
    pub(crate) fn all(&self) {
        self.all.store(true, Ordering::Release);
    }

    fn is_all(&self) -> bool {
        self.all.load(Ordering::Acquire)
    }

    fn add(&self, persons: impl IntoIterator<Item = String>) {
        let mut seen = self.seen.lock();
        seen.extend(persons);
        if seen.len() > MOST {
            self.all();
        }
    }

    fn told(&self, table: &str, key: &AuditKey) -> Option<AuditedSubjects> {
        let (all_in_scope, table) = (self.is_all(), table.to_owned());
        if all_in_scope {
            return Some(AuditedSubjects { table, all_in_scope, digests: Vec::new() });
        }
        let seen = self.seen.lock();
        let mut digests: Vec<String> = seen.iter().map(|person| key.subject(person)).collect();
        digests.sort_unstable();
        (!digests.is_empty()).then_some(AuditedSubjects { table, all_in_scope, digests })
    }
}

/// What a barrier is to tell of the rows that leave it.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) witness: Arc<Witness>,
    /// Where the subject stands in what is stored; of an opaque barrier it is the last column of the plan below.
    pub(crate) stored: usize,
}

impl Watch {
    /// The plan below a transparent barrier with the subject in it, and where; none where everybody is told already, or has to
    /// be because the plan is of no known kind.
    pub(crate) fn besides(&self, inner: &Arc<dyn ExecutionPlan>) -> Option<(Arc<dyn ExecutionPlan>, usize)> {
        if self.witness.is_all() {
            return None;
        }
        let widened = widen::widened(inner, self.stored);
        if widened.is_none() {
            self.witness.all();
        }
        widened
    }

    /// Looks at the rows of one partition.
    pub(crate) fn watcher(&self) -> Watcher {
        Watcher { witness: Arc::clone(&self.witness), known: HashSet::new() }
    }
}

/// Looks at batches before they leave the barrier.
pub(crate) struct Watcher {
    witness: Arc<Witness>,
    known: HashSet<String>,
}

impl Watcher {
    /// Notes the persons of a batch.
    pub(crate) fn look(&mut self, subjects: &ArrayRef) {
        if self.witness.is_all() {
            return;
        }
        let mut new = Vec::new();
        if let Some(texts) = subjects.as_string_view_opt() {
            self.note(texts.iter().flatten(), &mut new);
        } else if let Some(texts) = subjects.as_string_opt::<i32>() {
            self.note(texts.iter().flatten(), &mut new);
        } else {
            match cast(subjects, &DataType::Utf8) {
                Ok(texts) => self.note(texts.as_string::<i32>().iter().flatten(), &mut new),
                Err(_) => return self.witness.all(),
            }
        }
        if !new.is_empty() {
            self.witness.add(new);
        }
    }

    fn note<'a>(&mut self, persons: impl Iterator<Item = &'a str>, new: &mut Vec<String>) {
        let mut last = None;
        for person in persons {
            // Rows of one person often stand together.
            if last == Some(person) {
                continue;
            }
            last = Some(person);
            if !self.known.contains(person) {
                self.known.insert(person.to_owned());
                new.push(person.to_owned());
                if self.known.len() > MOST {
                    return;
                }
            }
        }
    }
}

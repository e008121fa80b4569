//! What was run, as a table.

use std::collections::BTreeMap;
use std::fmt;

use super::Found;
use super::houses::Protocol;
use super::twin::Changed;

/// Counts of one kind of statements.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Count {
    pub(super) statements: usize,
    /// That returned at least one row.
    pub(super) with_rows: usize,
    pub(super) failed: usize,
    /// That give another answer on the other lake when they are run with full access.
    pub(super) told_apart: usize,
}

impl Count {
    fn add(&mut self, other: &Self) {
        self.statements += other.statements;
        self.with_rows += other.with_rows;
        self.failed += other.failed;
        self.told_apart += other.told_apart;
    }
}

#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) people: BTreeMap<String, Count>,
    pub(super) shapes: BTreeMap<&'static str, Count>,
    pub(super) protocols: BTreeMap<Protocol, usize>,
    pub(super) left_out: usize,
    /// Of those that were compared: the same lake answered otherwise the second time.
    pub(super) unsteady: usize,
    pub(super) pairs: usize,
    pub(super) changed: Changed,
    /// Errors, by what is the same in many of them.
    pub(super) errors: BTreeMap<String, usize>,
    pub(super) differences: Vec<Difference>,
}

/// Two lakes that somebody can tell apart.
#[derive(Debug, Clone)]
pub(super) struct Difference {
    pub(super) person: String,
    pub(super) what: String,
    pub(super) sql: String,
    pub(super) shrunk: String,
    pub(super) one: String,
    pub(super) other: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { person, what, sql, shrunk, one, other } = self;
        write!(
            f,
            "{person} can tell two lakes apart by {what}:\n  {shrunk}\n  one:   {one}\n  other: {other}\n  from: {sql}"
        )
    }
}

impl Report {
    pub(super) fn take(&mut self, found: Found) {
        match found {
            Found::Unsteady => self.unsteady += 1,
            Found::Difference(found) => self.differences.push(*found),
        }
    }

    pub(super) fn add(&mut self, other: Report) {
        for (person, count) in &other.people {
            self.people.entry(person.clone()).or_default().add(count);
        }
        for (shape, count) in &other.shapes {
            self.shapes.entry(shape).or_default().add(count);
        }
        for (protocol, count) in &other.protocols {
            *self.protocols.entry(*protocol).or_default() += count;
        }
        self.left_out += other.left_out;
        self.unsteady += other.unsteady;
        self.pairs += other.pairs;
        self.changed.cells += other.changed.cells;
        self.changed.removed += other.changed.removed;
        self.changed.added += other.changed.added;
        self.changed.renamed += other.changed.renamed;
        for (error, count) in &other.errors {
            *self.errors.entry(error.clone()).or_default() += count;
        }
        self.differences.extend(other.differences);
    }

    pub(super) fn all(&self) -> Count {
        let mut all = Count::default();
        self.people.values().for_each(|count| all.add(count));
        all
    }
}

fn percent(of: usize, all: usize) -> String {
    if all == 0 { "-".to_owned() } else { format!("{:.1} %", 100.0 * of as f64 / all as f64) }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = |f: &mut fmt::Formatter<'_>, of: &str| {
            writeln!(f, "\n{of:<44}{:>10}{:>10}{:>10}{:>12}", "statements", "with rows", "failed", "told apart")
        };
        head(f, "person")?;
        for (person, count) in &self.people {
            row(f, person, count)?;
        }
        row(f, "all", &self.all())?;
        head(f, "shape")?;
        for (shape, count) in &self.shapes {
            row(f, shape, count)?;
        }
        let mut errors: Vec<(&String, &usize)> = self.errors.iter().collect();
        errors.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        writeln!(f, "\nthe most frequent errors")?;
        for (error, count) in errors.into_iter().take(12) {
            writeln!(f, "{count:>8}  {error}")?;
        }
        writeln!(f)?;
        let protocols: Vec<String> = self.protocols.iter().map(|(by, count)| format!("{by:?} {count}")).collect();
        let Changed { cells, removed, added, renamed } = self.changed;
        let all = self.all().statements + self.left_out;
        writeln!(f, "by protocol: {}", protocols.join(", "))?;
        writeln!(
            f,
            "pairs of lakes: {} ({cells} cells changed, {removed} rows removed, {added} added, {renamed} keys renamed)",
            self.pairs
        )?;
        writeln!(f, "left out, for their answer is no function of the rows: {}", percent(self.left_out, all))?;
        writeln!(f, "unsteady, for one lake does not answer the same twice: {}", percent(self.unsteady, all))?;
        writeln!(f, "told apart: of all, with full access, by the engine alone")?;
        write!(f, "differences: {}", self.differences.len())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, count: &Count) -> fmt::Result {
    writeln!(
        f,
        "{name:<44}{:>10}{:>10}{:>10}{:>12}",
        count.statements,
        percent(count.with_rows, count.statements),
        percent(count.failed, count.statements),
        percent(count.told_apart, count.statements)
    )
}

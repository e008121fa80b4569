//! What is odd about the rights as a whole: policies that never apply, columns that no one sees, levels without a mask,
//! scopes without use; and where the policies are not what somebody wrote down.
//!
//! An error is what cannot be meant: a policy that does nothing, or says what does not happen. What may be meant is a
//! warning.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lakeward_iam::{ALL_ROWS, Comparison, Difference, Oracle, PolicyProblem, Seen, Survey};
use lakeward_tables::{GovernedTable, Problem};

use crate::aligned::aligned;
use crate::declared::Declared;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Rights {
    /// What cannot be meant.
    pub(super) errors: Vec<Problem>,
    /// What may be meant.
    pub(super) warnings: Vec<Problem>,
    /// Words about an oracle that agrees: `, 4000 cells as … says`.
    pub(super) compared: String,
    /// The cells in which an oracle does not, as a table for eyes.
    pub(super) differences: String,
}

impl Rights {
    /// Looks at every decision that the declared roles can meet.
    pub(super) fn look(declared: &Declared, oracle: Option<&Path>) -> Self {
        let survey = declared.policies.survey();
        let tables: Vec<GovernedTable> =
            declared.lakehouse.governed_tables().into_iter().filter(|table| !table.hidden).collect();
        let mut rights = Self::default();
        rights.errors.extend(survey.problems.iter().cloned().map(problem));
        rights.errors.extend(without_mask(declared, &tables, &survey));
        for table in tables.iter().filter(|table| table.name.schema == "curated") {
            rights.warnings.extend(without_use(table, &survey));
            rights.look_at_columns(declared, table, &survey);
        }
        rights.errors.sort();
        rights.warnings.sort();
        if let Some(file) = oracle {
            rights.compare(declared, file);
        }
        rights
    }

    /// Columns that nobody sees, unless their contract says so; and those of which it says so in vain.
    fn look_at_columns(&mut self, declared: &Declared, table: &GovernedTable, survey: &Survey) {
        let name = table.name.to_string();
        let is_shown = |column: &str, seen: &Seen| {
            seen.table == name && seen.column == column && declared.masks.misses(table, column, seen.level).is_none()
        };
        let unseen = declared.lakehouse.table(&table.name).map(|contract| &contract.unseen);
        let problem = |line: usize, message: String| Problem { file: table.file.clone(), line, message };
        let mut hidden = Vec::new();
        for column in &table.columns {
            let shown = survey.seen.iter().find(|seen| is_shown(&column.name, seen));
            match (shown, unseen.and_then(|unseen| unseen.get(&column.name))) {
                (None, None) => hidden.push(column),
                (Some(seen), Some(line)) => {
                    let by = seen.permits.first().map(ToString::to_string).unwrap_or_default();
                    let message = format!("{} is to be seen by nobody, and {} sees it by {by}", column.name, seen.role);
                    self.errors.push(problem(*line, message));
                }
                (Some(_), None) | (None, Some(_)) => {}
            }
        }
        if let Some(first) = hidden.first() {
            let names: Vec<String> = hidden
                .iter()
                .map(
                    |column| {
                        if column.tags.is_empty() { format!("{} (no tag)", column.name) } else { column.name.clone() }
                    },
                )
                .collect();
            let message = format!("no one sees {}; where that is meant, say seenBy: nobody", names.join(", "));
            self.warnings.push(problem(first.line, message));
        }
    }

    /// Holds the policies against rights that somebody wrote down.
    fn compare(&mut self, declared: &Declared, file: &Path) {
        let oracle = match Oracle::read(file) {
            Ok(oracle) => oracle,
            Err(found) => return self.errors.extend(found.into_iter().map(problem)),
        };
        let dangling = oracle.dangling(&declared.policies);
        if !dangling.is_empty() {
            return self.errors.extend(dangling.into_iter().map(problem));
        }
        let Comparison { cells, differences } = oracle.compare(&declared.policies);
        if differences.is_empty() {
            self.compared = format!(", {cells} cells as {} says", file.display());
            return;
        }
        let differ = if differences.len() == 1 { "cell differs" } else { "cells differ" };
        let message = format!("{} {differ} from what the policies decide:", differences.len());
        self.errors.push(Problem { file: file.to_owned(), line: 0, message });
        self.differences = table_of(&differences);
    }
}

fn problem(PolicyProblem { file, line, message }: PolicyProblem) -> Problem {
    Problem { file, line, message }
}

/// Levels that a policy gives and `masks.yaml` has no way to show: one for each policy and mask, with its columns.
fn without_mask(declared: &Declared, tables: &[GovernedTable], survey: &Survey) -> Vec<Problem> {
    let by_name: BTreeMap<String, &GovernedTable> =
        tables.iter().map(|table| (table.name.to_string(), table)).collect();
    let mut missed: BTreeMap<(Problem, String), BTreeSet<String>> = BTreeMap::new();
    for seen in &survey.seen {
        let Some(table) = by_name.get(&seen.table) else { continue };
        let Some(why) = declared.masks.misses(table, &seen.column, seen.level) else { continue };
        for policy in &seen.permits {
            let file = declared.lakehouse.dir.join("policies").join(&policy.file);
            let message = format!("policy `{}` shows what is hidden all the same", policy.id);
            let place = Problem { file, line: policy.line, message };
            missed.entry((place, why.clone())).or_default().insert(format!("{}.{}", seen.table, seen.column));
        }
    }
    let told = missed.into_iter().map(|((place, why), columns)| {
        let columns: Vec<String> = columns.into_iter().collect();
        Problem { message: format!("{}: masks.yaml has {why} ({})", place.message, columns.join(", ")), ..place }
    });
    told.collect()
}

/// Scopes that no policy speaks of.
fn without_use(table: &GovernedTable, survey: &Survey) -> Vec<Problem> {
    let name = table.name.to_string();
    let idle = table
        .scopes
        .iter()
        .filter(|(scope, _)| scope.as_str() != ALL_ROWS && !survey.used.contains(&(name.clone(), (*scope).clone())));
    idle.map(|(scope, declared)| Problem {
        file: table.file.clone(),
        line: declared.line,
        message: format!("no policy has a use for the scope {scope} of {name}"),
    })
    .collect()
}

/// The differences as a table for eyes.
fn table_of(differences: &[Difference]) -> String {
    let rows: Vec<[String; 6]> = differences
        .iter()
        .map(|one| {
            let column = one.column.clone().unwrap_or_else(|| "(rows)".to_owned());
            let (declared, decided) = (one.declared.to_owned(), one.decided.to_owned());
            [one.role.clone(), one.table.clone(), one.scope.clone(), column, declared, decided]
        })
        .collect();
    aligned(["role", "table", "scope", "column", "declared", "decided"], &rows)
}

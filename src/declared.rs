//! The folder `sql/`, read whole: contracts by `tables`, policies by `iam`, masks by `query`; checked against each other.

mod selects;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use lakeward_iam::{Policies, PolicyProblem, ResourceTable, UnreadTable};
use lakeward_query::{AlertRules, MaskProblem, Masks};
use lakeward_tables::{AUDIT_SCHEMA, GovernedTable, Lakehouse, Problem, Reading, TableName, Unread};

/// A lakehouse as declared, without a mistake that can be found before it runs.
pub(crate) struct Declared {
    pub(crate) lakehouse: Arc<Lakehouse>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) masks: Masks,
    pub(crate) rules: AlertRules,
}

impl Declared {
    /// Reads the folder and plans every SELECT, quality rule, version, scope and `readAs`; gives every problem.
    ///
    /// What depends on something broken is not judged; everything else is.
    pub(crate) async fn load(folder: &Path) -> Result<Self, Vec<Problem>> {
        let reading = Lakehouse::read(folder);
        let mut problems = reading.problems.clone();
        if !folder.is_dir() {
            return Err(problems);
        }
        let unread = &reading.unread;
        let governed = reading.lakehouse.governed_tables();
        // Raw tables and the audit are clear or hidden: the engine made their types, and no mask was written for them.
        let maskable: Vec<GovernedTable> =
            governed.iter().filter(|table| table.name.schema == "curated").cloned().collect();
        let (masks, found) = Masks::read(&folder.join("policies/masks.yaml"));
        let misplaced = masks.check(&maskable, unread);
        problems.extend(found.into_iter().chain(misplaced).map(of_masks));

        let resources: Vec<ResourceTable> = governed.iter().map(resource).collect();
        let unread_tables: Vec<UnreadTable> = unread.iter().map(unread_table).collect();
        let policies = Policies::load_beside(&folder.join("policies"), &resources, &unread_tables);
        let policies = policies.map_err(|found| problems.extend(found.into_iter().map(of_policies))).ok();

        let rules = AlertRules::load(folder).await;
        let rules = rules.map_err(|found| problems.extend(found)).unwrap_or_default();

        let read: BTreeSet<_> = problems.iter().map(|problem| (problem.file.clone(), problem.line)).collect();
        let planned = misfits(&reading, &governed).await;
        // What could not be read cannot be planned either: once is enough.
        problems.extend(planned.into_iter().filter(|found| !read.contains(&(found.file.clone(), found.line))));
        problems.sort();
        problems.dedup();
        match policies {
            Some(policies) if problems.is_empty() => {
                Ok(Self { lakehouse: Arc::new(reading.lakehouse), policies: Arc::new(policies), masks, rules })
            }
            _ => Err(problems),
        }
    }

    /// The same for a command that cannot go on without it: every problem in one error.
    pub(crate) async fn demand(folder: &Path) -> anyhow::Result<Self> {
        Self::load(folder).await.map_err(|problems| anyhow::anyhow!(not_in_order(folder, &problems)))
    }
}

/// Every problem of a folder in one text.
pub(crate) fn not_in_order(folder: &Path, problems: &[Problem]) -> String {
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    format!("{} is not in order:\n{}", folder.display(), told.join("\n"))
}

/// What shows only when it is planned.
async fn misfits(reading: &Reading, governed: &[GovernedTable]) -> Vec<Problem> {
    let mut problems = match selects::misfits(reading).await {
        Ok(problems) => problems,
        Err(error) => vec![Problem { file: reading.lakehouse.dir.clone(), line: 0, message: error.to_string() }],
    };
    let unread = reading.unread.iter().filter(|of| !of.columns_are_known);
    let unread: BTreeSet<TableName> = unread.map(|of| of.table.clone()).collect();
    problems.extend(lakeward_query::check(governed, &unread).await);
    problems
}

fn of_masks(MaskProblem { file, line, message }: MaskProblem) -> Problem {
    Problem { file, line, message }
}

fn of_policies(PolicyProblem { file, line, message }: PolicyProblem) -> Problem {
    Problem { file, line, message }
}

fn unread_table(Unread { table, text, .. }: &Unread) -> UnreadTable {
    UnreadTable { name: table.to_string(), text: text.clone() }
}

/// A table as policies see it.
fn resource(table: &GovernedTable) -> ResourceTable {
    let mut parents = vec![];
    if table.name.schema == "raw" {
        let group = if table.name.table.ends_with("__dead_letter") { "raw.*__dead_letter" } else { "raw.*" };
        parents.push(group.to_owned());
    }
    if table.name.schema == AUDIT_SCHEMA {
        parents.push("audit.*".to_owned());
    }
    let attributes: BTreeMap<String, Vec<String>> =
        table.scopes.iter().map(|(scope, predicate)| (scope.clone(), attributes(predicate))).collect();
    ResourceTable {
        name: table.name.to_string(),
        parents,
        columns: table.columns.iter().map(|column| (column.name.clone(), column.tags.clone())).collect(),
        scopes: table.scopes.keys().cloned().collect(),
        scope_attributes: attributes,
    }
}

/// Names of the attributes that a predicate asks for by `attr('…')`.
fn attributes(predicate: &str) -> Vec<String> {
    predicate
        .split("attr(")
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix('\'')?.split_once('\'').map(|(name, _)| name.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_a_predicate_are_found_in_look_ups_too() {
        let predicate = "a = attr('x') AND b IN (SELECT b FROM t WHERE array_has(attr( 'clinics'), c))";
        assert_eq!(attributes(predicate), ["x", "clinics"]);
        assert!(attributes("TRUE").is_empty());
    }
}

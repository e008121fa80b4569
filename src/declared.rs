//! The folder `sql/`, read whole: contracts by `tables`, policies by `iam`, masks by `query`; checked against each other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lakeward_iam::{Policies, ResourceTable};
use lakeward_query::Masks;
use lakeward_tables::{GovernedTable, Lakehouse};

/// A lakehouse as declared, without a mistake that can be found by reading.
pub(crate) struct Declared {
    pub(crate) lakehouse: Arc<Lakehouse>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) masks: Masks,
}

impl Declared {
    /// Reads the folder; gives every problem as `file:line: what is wrong`.
    pub(crate) fn load(folder: &Path) -> Result<Self, Vec<String>> {
        let policies_folder = folder.join("policies");
        let masks = Masks::load(&policies_folder.join("masks.yaml"));
        let mut problems = Vec::new();
        let masks = masks.map_err(|found| problems.extend(found.iter().map(ToString::to_string))).ok();
        let lakehouse = match Lakehouse::load(folder) {
            Ok(lakehouse) => lakehouse,
            Err(found) => {
                // Policies speak of contracts: with half of the contracts every other policy would look wrong.
                problems.extend(found.iter().map(ToString::to_string));
                return Err(problems);
            }
        };
        let governed = lakehouse.governed_tables();
        // Raw tables are clear or hidden: the engine made their types, and no mask was written for them.
        let (_, maskable): (Vec<_>, Vec<_>) = governed.iter().cloned().partition(|table| table.name.schema == "raw");
        if let Some(masks) = &masks {
            problems.extend(masks.check(&maskable).iter().map(ToString::to_string));
        }
        let resources: Vec<ResourceTable> = governed.iter().map(resource).collect();
        let policies = Policies::load(&policies_folder, &resources);
        let policies = policies.map_err(|found| problems.extend(found.iter().map(ToString::to_string))).ok();
        match (masks, policies) {
            (Some(masks), Some(policies)) if problems.is_empty() => {
                Ok(Self { lakehouse: Arc::new(lakehouse), policies: Arc::new(policies), masks })
            }
            _ => Err(problems),
        }
    }

    /// What shows only when every SELECT, quality rule, scope and `readAs` is planned, as `file:line: what is wrong`.
    pub(crate) async fn misfits(&self) -> anyhow::Result<Vec<String>> {
        let selects = lakeward_ingest::misfits(&self.lakehouse).await?;
        let scopes = lakeward_query::check(&self.lakehouse.governed_tables()).await;
        Ok(selects.iter().map(ToString::to_string).chain(scopes.iter().map(ToString::to_string)).collect())
    }
}

/// A table as policies see it.
fn resource(table: &GovernedTable) -> ResourceTable {
    let mut parents = vec![];
    if table.name.schema == "raw" {
        let group = if table.name.table.ends_with("__dead_letter") { "raw.*__dead_letter" } else { "raw.*" };
        parents.push(group.to_owned());
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

//! Tables as policies see them. `src/` makes these from the contracts.

use std::collections::{BTreeMap, BTreeSet};

/// The scope that every table has: all rows.
pub const ALL_ROWS: &str = "all";

/// Groups of tables that the engine makes by itself. Policies may open them before the first table of them is there.
pub const ENGINE_GROUPS: [&str; 2] = ["audit.*", "catalog.*"];

/// The tag of a column without one.
pub const UNCLASSIFIED: &str = "unclassified";

/// A table that policies may open. Tables of the engine's own are not given, and so do not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceTable {
    /// `schema.table`.
    pub name: String,
    /// Groups of tables it is in, such as `raw.*`.
    pub parents: Vec<String>,
    /// Columns with their tags.
    pub columns: Vec<(String, Vec<String>)>,
    /// Names of its row scopes, without `all`.
    pub scopes: Vec<String>,
    /// The attributes each scope needs; one that is not available closes the scope.
    pub scope_attributes: BTreeMap<String, Vec<String>>,
}

/// A table whose declaration could not be understood: what it may declare is taken for declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadTable {
    /// `schema.table`.
    pub name: String,
    /// The declaration's text: what stands nowhere in it is not declared by it either.
    pub text: String,
}

/// A table with what is worked out once: its columns in groups that no policy can tell apart.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) table: ResourceTable,
    pub(super) groups: Vec<ColumnGroup>,
}

/// Columns with the same tags, none of them named by a policy unless it stands alone.
#[derive(Debug)]
pub(super) struct ColumnGroup {
    pub(super) tags: Vec<String>,
    pub(super) columns: Vec<String>,
}

impl Resource {
    /// `named`: columns (`schema.table.column`) that a policy speaks of by name.
    pub(super) fn new(table: ResourceTable, named: &BTreeSet<String>) -> Self {
        let mut groups: BTreeMap<(Vec<String>, Option<String>), Vec<String>> = BTreeMap::new();
        for (column, tags) in &table.columns {
            let mut tags = tags.clone();
            if tags.is_empty() {
                tags.push(UNCLASSIFIED.to_owned());
            }
            tags.sort();
            tags.dedup();
            let alone = named.contains(&table.column_id(column)).then(|| column.clone());
            groups.entry((tags, alone)).or_default().push(column.clone());
        }
        let groups = groups.into_iter().map(|((tags, _), columns)| ColumnGroup { tags, columns }).collect();
        Self { table, groups }
    }
}

impl UnreadTable {
    /// The part of the name before the dot.
    pub(super) fn schema(&self) -> &str {
        schema(&self.name)
    }
}

fn schema(table: &str) -> &str {
    table.split_once('.').map_or("", |(schema, _)| schema)
}

impl ResourceTable {
    /// The part of the name before the dot.
    pub(super) fn schema(&self) -> &str {
        schema(&self.name)
    }

    pub(super) fn column_id(&self, column: &str) -> String {
        format!("{}.{column}", self.name)
    }

    pub(crate) fn has_scope(&self, scope: &str) -> bool {
        scope == ALL_ROWS || self.scopes.iter().any(|known| known == scope)
    }
}

//! What in the scopes and `readAs` columns of the contracts would not plan, told before anybody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::Utc;
use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::ScalarUDF;
use lakeward_iam::Attribute;
use lakeward_tables::{GovernedTable, Problem, TableName, reading_schema};

use super::attribute::AttributeFunction;
use super::predicate::{self, Declared, Predicate};
use super::rows::planned;
use crate::QueryConfig;
use crate::catalog::{GovernedCatalog, Tables};
use crate::session::Sessions;

/// What in the scopes and `readAs` columns of the tables cannot be carried out: what does not parse, and columns, tables,
/// functions and types that do not fit. Nothing is read.
///
/// Predicates of the tables `unread`, and those that look into them, are passed over: their columns are not known.
pub async fn check(tables: &[GovernedTable], unread: &BTreeSet<TableName>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let known: Vec<&GovernedTable> = tables.iter().filter(|table| !unread.contains(&table.name)).collect();
    let names: BTreeSet<&TableName> = known.iter().map(|table| &table.name).collect();
    let Some(empty) = Empty::of(&known) else { return problems };
    for table in known {
        for Declared { line, what, predicate } in predicate::declared(table, &mut problems) {
            if predicate.looks_into.iter().any(|table| unread.contains(table)) {
                continue;
            }
            let nowhere = predicate.looks_into.iter().find(|table| !names.contains(table));
            let why = match nowhere {
                Some(table) => Some(format!("it looks into {table}, which does not exist")),
                None => empty.misfit(&predicate).await,
            };
            problems.extend(why.map(|why| predicate::problem(table, line, format!("{what}: {why}"))));
        }
    }
    problems
}

/// All tables without a row.
struct Empty {
    sessions: Sessions,
    tables: Tables,
}

impl Empty {
    fn of(governed: &[&GovernedTable]) -> Option<Self> {
        let mut tables = Tables::new();
        for table in governed {
            let empty: Arc<dyn TableProvider> = Arc::new(EmptyTable::new(reading_schema(&table.schema())));
            tables.entry(table.name.schema.clone()).or_default().insert(table.name.table.clone(), empty);
        }
        Some(Self { sessions: Sessions::new(&QueryConfig::default()).ok()?, tables })
    }

    /// Why a predicate does not plan. Whether an attribute is a text or a list is known when somebody asks: it fits if it
    /// fits for one choice.
    async fn misfit(&self, predicate: &Predicate) -> Option<String> {
        let mut first = None;
        for attributes in choices(&predicate.attributes) {
            let state = self.state(&attributes)?;
            match planned(&state, predicate).await {
                Ok(_) => return None,
                Err(error) => first = first.or(Some(error.strip_backtrace())),
            }
        }
        first.map(|why| why.lines().next().unwrap_or_default().to_owned())
    }

    fn state(&self, attributes: &BTreeMap<String, Attribute>) -> Option<SessionState> {
        let catalog = Arc::new(GovernedCatalog::without_information(self.tables.clone()));
        let mut state = self.sessions.state(catalog, Utc::now());
        let function = ScalarUDF::new_from_impl(AttributeFunction::new(attributes));
        datafusion::execution::FunctionRegistry::register_udf(&mut state, Arc::new(function)).ok()?;
        Some(state)
    }
}

/// Each way in which every attribute is a text or a list.
fn choices(names: &BTreeSet<String>) -> Vec<BTreeMap<String, Attribute>> {
    let mut choices = vec![BTreeMap::new()];
    for name in names {
        let with = |attribute: Attribute| {
            choices.iter().cloned().map(move |mut choice: BTreeMap<String, Attribute>| {
                choice.insert(name.clone(), attribute.clone());
                choice
            })
        };
        choices = with(Attribute::Text(String::new())).chain(with(Attribute::List(Vec::new()))).collect();
    }
    choices
}

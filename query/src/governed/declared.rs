//! What in the scopes and `readAs` columns of the contracts would not plan, told before anybody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::Utc;
use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::ScalarUDF;
use lakeward_iam::Attribute;
use lakeward_tables::{GovernedTable, Problem, reading_schema};

use super::attribute::AttributeFunction;
use super::predicate::{self, Predicate, Predicates};
use super::rows::planned;
use crate::QueryConfig;
use crate::catalog::{GovernedCatalog, Tables};
use crate::session::Sessions;

/// What in the scopes and `readAs` columns of the tables cannot be carried out: what does not parse, and columns, tables,
/// functions and types that do not fit. Nothing is read.
pub async fn check(tables: &[GovernedTable]) -> Vec<Problem> {
    let mut problems = predicate::check(tables);
    let Some(empty) = Empty::of(tables) else { return problems };
    for table in tables {
        let predicates = Predicates::of(table);
        for (scope, predicate) in &predicates.scopes {
            if let Some(why) = empty.misfit(predicate).await {
                problems.push(predicate::problem(table, 0, format!("scope {scope}: {why}")));
            }
        }
        for column in &table.columns {
            let Some(predicate) = predicates.read_as.get(&column.name) else { continue };
            if let Some(why) = empty.misfit(predicate).await {
                problems.push(predicate::problem(table, column.line, format!("readAs of {}: {why}", column.name)));
            }
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
    fn of(governed: &[GovernedTable]) -> Option<Self> {
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

//! The predicates of a governed table, planned for one statement.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, ScalarValue, plan_err};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF, lit};
use lakeward_iam::{ALL_ROWS, Principal};
use lakeward_tables::TableName;

use super::attribute::AttributeFunction;
use super::predicate::{Predicate, Predicates};
use super::snapshots::TableSnapshot;
use super::view::View;
use crate::QueryError;
use crate::catalog::{GovernedCatalog, Tables};
use crate::session::{Constant, Sessions};

/// Rows of a table with what decides about them. Columns in the expressions are unqualified; look-ups are still
/// `IN (subquery)` over ungoverned tables.
#[derive(Clone)]
pub(crate) struct Rows {
    pub(crate) provider: Arc<dyn TableProvider>,
    pub(crate) version: i64,
    /// Aligned with the scopes of the view.
    pub(crate) scopes: Vec<Expr>,
    pub(crate) forbidden: Vec<Expr>,
    pub(crate) read_as: BTreeMap<String, Expr>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Rows {
    /// The tables that the view's predicates look into.
    pub(crate) fn looks_into<'a>(view: &'a View, predicates: &'a Predicates) -> BTreeSet<&'a TableName> {
        let named = view.scopes.iter().chain(&view.forbidden).filter_map(|scope| predicates.scopes.get(scope));
        named.chain(predicates.read_as.values()).flat_map(|predicate| &predicate.looks_into).collect()
    }

    /// Plans the predicates over these snapshots.
    pub(crate) async fn plan(
        view: &View,
        predicates: &Predicates,
        own: TableSnapshot,
        others: &BTreeMap<TableName, TableSnapshot>,
        sessions: &Sessions,
        principal: &Principal,
        now: DateTime<Utc>,
    ) -> std::result::Result<Self, QueryError> {
        let mut tables = Tables::new();
        for (name, snapshot) in others.iter().chain([(&view.table.name, &own)]) {
            let schema = tables.entry(name.schema.clone()).or_default();
            schema.insert(name.table.clone(), Arc::clone(&snapshot.provider));
        }
        let mut state = sessions.state(Arc::new(GovernedCatalog::without_information(tables)), now);
        let now = ScalarValue::TimestampMicrosecond(Some(now.timestamp_micros()), Some("UTC".into()));
        for function in [
            ScalarUDF::new_from_impl(AttributeFunction::new(&principal.attributes)),
            ScalarUDF::new_from_impl(Constant::new("now", now)),
        ] {
            state.register_udf(Arc::new(function)).map_err(|_| QueryError::internal())?;
        }
        let table = &view.table.name;
        let mut read_as = BTreeMap::new();
        for column in view.columns.iter().filter(|column| column.reads_as) {
            let expression = match predicates.read_as.get(&column.name) {
                Some(predicate) => planned(&state, predicate).await,
                None => plan_err!("it does not parse"),
            };
            match expression {
                Ok(expression) => drop(read_as.insert(column.name.clone(), expression)),
                Err(_) => {
                    tracing::error!(%table, column = column.name, "a readAs expression does not plan");
                    return Err(QueryError::internal());
                }
            }
        }
        let mut scopes = Vec::with_capacity(view.scopes.len());
        for scope in &view.scopes {
            // A scope that cannot be evaluated, for instance for want of an attribute, holds no row.
            scopes.push(scope_predicate(&state, predicates, table, scope).await.unwrap_or_else(|| lit(false)));
        }
        let mut forbidden = Vec::with_capacity(view.forbidden.len());
        for scope in &view.forbidden {
            // A forbidden scope that cannot be evaluated may hold every row.
            forbidden.push(scope_predicate(&state, predicates, table, scope).await.unwrap_or_else(|| lit(true)));
        }
        Ok(Self { provider: own.provider, version: own.version, scopes, forbidden, read_as })
    }
}

async fn scope_predicate(
    state: &SessionState,
    predicates: &Predicates,
    table: &TableName,
    scope: &str,
) -> Option<Expr> {
    if scope == ALL_ROWS {
        return Some(lit(true));
    }
    let expression = match predicates.scopes.get(scope) {
        Some(predicate) => planned(state, predicate).await,
        None => plan_err!("it does not parse"),
    };
    if expression.is_err() {
        tracing::warn!(%table, scope, "a scope cannot be evaluated for this principal");
    }
    expression.ok()
}

pub(super) async fn planned(state: &SessionState, predicate: &Predicate) -> Result<Expr> {
    let LogicalPlan::Projection(projection) = state.statement_to_plan(predicate.statement.clone()).await? else {
        return plan_err!("a predicate is one expression over its table");
    };
    let [expression] = projection.expr.as_slice() else {
        return plan_err!("a predicate is one expression over its table");
    };
    // Every attribute must be there, inside of look-ups too: coercion asks for the types of all expressions.
    let plan = LogicalPlan::Projection(projection.clone());
    state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    let unqualified = expression.clone().transform(|expression| {
        Ok(match expression {
            Expr::Column(column) => Transformed::yes(Expr::Column(Column::new_unqualified(column.name))),
            other => Transformed::no(other),
        })
    })?;
    Ok(unqualified.data)
}

//! The plans of a curated table: its rows in the declared types, what must hold of them, and what is asked of events.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::Column;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::prelude::{SQLOptions, SessionContext};
use lakeward_tables::{Expression, Problem, reading_type};

use super::{Plan, Query, Selection};
use crate::error::{IngestError, misfit, planned};
use crate::event::{EVENT, ROW};
use crate::nested;

pub(super) async fn plan(context: &SessionContext, selection: &Selection) -> Result<Plan, Vec<Problem>> {
    let in_select = |error| vec![planned(&selection.file, &error)];
    let only_select = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = context.sql_with_options(&selection.sql, only_select).await.map_err(in_select)?;
    let (_, select) = frame.into_parts();
    let select = nested::by_columns(select).map_err(in_select)?;
    let typed = LogicalPlanBuilder::from(select.clone())
        .project(columns(&select, selection)?)
        .and_then(LogicalPlanBuilder::build)
        .map_err(in_select)?;

    let mut checked: Vec<Expr> = typed.schema().columns().into_iter().map(Expr::Column).collect();
    checked.extend(rules(context, &typed, selection)?);
    let checked =
        LogicalPlanBuilder::from(typed).project(checked).and_then(LogicalPlanBuilder::build).map_err(in_select)?;

    let version = about_event(context, selection, only_select).await?;
    let required = selection.required.iter().filter_map(|name| {
        let index = selection.schema.index_of(name).ok()?;
        Some((index + 1, format!("required:{name}")))
    });
    Ok(Plan {
        table: selection.table.clone(),
        columns: selection.schema.fields().len() + 1,
        select: Query::new(context.state().optimize(&checked).map_err(in_select)?),
        required: required.collect(),
        quality: selection.quality.iter().map(|rule| format!("quality:{}", rule.name)).collect(),
        version,
    })
}

/// What is asked of an event besides its rows: its version, whether it is a correction, whether it removes.
async fn about_event(
    context: &SessionContext,
    selection: &Selection,
    only_select: SQLOptions,
) -> Result<Option<Query>, Vec<Problem>> {
    let asked = [
        (0, selection.version.as_deref(), "BIGINT", "version"),
        (line(&selection.correction), selection.correction.as_deref(), "BOOLEAN", "correction"),
        (line(&selection.removed), selection.removed.as_deref(), "BOOLEAN", "removed"),
    ];
    if asked.iter().all(|(_, sql, ..)| sql.is_none()) {
        return Ok(None);
    }
    let in_contract = |line, error| vec![Problem { line, ..planned(&selection.contract, &error) }];
    let mut columns = Vec::new();
    for (line, sql, data_type, name) in asked {
        let column = format!("CAST(({}) AS {data_type}) AS {name}", sql.unwrap_or("NULL"));
        if sql.is_some() {
            // Each by itself, so that a mistake has the line of what is wrong.
            let alone = format!("SELECT {column} FROM event");
            context.sql_with_options(&alone, only_select).await.map_err(|error| in_contract(line, error))?;
        }
        columns.push(column);
    }
    if selection.correction.is_none() && selection.removed.is_none() {
        columns.truncate(1);
    }
    let sql = format!("SELECT {ROW}, {} FROM event", columns.join(", "));
    let frame = context.sql_with_options(&sql, only_select).await.map_err(|error| in_contract(0, error))?;
    let (state, plan) = frame.into_parts();
    Ok(Some(Query::new(state.optimize(&plan).map_err(|error| in_contract(0, error))?)))
}

/// Names of the columns of `event` that the plans read.
///
/// # Errors
///
/// A plan that cannot be looked through.
pub(super) fn columns_read(plans: &[Plan]) -> Result<BTreeSet<String>, IngestError> {
    let mut read = BTreeSet::new();
    for query in plans.iter().flat_map(|plan| [Some(&plan.select), plan.version.as_ref()]).flatten() {
        let looked = query.logical.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && scan.table_name.table() == EVENT
            {
                read.extend(scan.projected_schema.fields().iter().map(|field| field.name().clone()));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        looked.map_err(|error| IngestError::plan(EVENT, error))?;
    }
    Ok(read)
}

fn line(expression: &Option<Expression>) -> usize {
    expression.as_ref().map_or(0, |expression| expression.line)
}

/// `_lw_row` and the contract's columns, cast where the SELECT gives neither the declared type nor the one it is read in.
fn columns(select: &LogicalPlan, selection: &Selection) -> Result<Vec<Expr>, Vec<Problem>> {
    let (schema, mut misfits) = (select.schema(), Vec::new());
    let mut complain = |message: String| misfits.push(misfit(&selection.file, 1, message));
    let row = Arc::new(Field::new(ROW, DataType::Int64, false));
    let mut columns = Vec::with_capacity(selection.schema.fields().len() + 1);
    for declared in std::iter::once(&row).chain(selection.schema.fields()) {
        let name = declared.name();
        let Some((qualifier, field)) = schema.iter().find(|(_, field)| field.name() == name) else {
            complain(format!("the SELECT does not give the column {name}"));
            continue;
        };
        let (found, wanted) = (Expr::Column(Column::from((qualifier, field))), declared.data_type());
        let given = field.data_type();
        let fits = given == wanted || *given == reading_type(wanted);
        columns.push(if fits { found.alias(name) } else { cast(found, wanted.clone()).alias(name) });
    }
    for field in schema.fields() {
        if field.name() != ROW && selection.schema.index_of(field.name()).is_err() {
            complain(format!("the SELECT gives the column {}, which {} has not", field.name(), selection.table));
        }
    }
    if misfits.is_empty() { Ok(columns) } else { Err(misfits) }
}

/// One boolean for each quality rule.
fn rules(context: &SessionContext, typed: &LogicalPlan, selection: &Selection) -> Result<Vec<Expr>, Vec<Problem>> {
    let state = context.state();
    let (mut rules, mut misfits) = (Vec::new(), Vec::new());
    for (number, rule) in selection.quality.iter().enumerate() {
        match state.create_logical_expr(&rule.predicate, typed.schema()) {
            Ok(predicate) => rules.push(predicate.is_true().alias(format!("_lw_quality_{number}"))),
            Err(error) => {
                misfits.push(Problem { line: rule.line, ..planned(&selection.contract, &error) });
            }
        }
    }
    if misfits.is_empty() { Ok(rules) } else { Err(misfits) }
}

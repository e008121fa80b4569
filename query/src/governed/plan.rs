//! Rows and masks as one logical plan below the barrier.
//!
//! A look-up becomes a *mark*: a LeftMark join, which adds one boolean to each row and neither loses nor doubles any.
//! Only in a filter would the engine turn `IN (SELECT …)` into a join by itself; here the same look-up decides about
//! rows, about levels and about values. `x IN (…)` is NULL where x is NULL, and NULLs of the look-up are left out: a row
//! with an unknown key is in no scope, neither by IN nor by NOT IN.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, ScalarValue, plan_datafusion_err, plan_err};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit, try_cast, when,
};
use lakeward_iam::Level;

use super::rows::Rows;
use super::view::{Shown, View, ViewColumn};
use crate::holes::{Hole, is_open};
use crate::masks::MaskContext;

const TABLE: &str = "stored";
const LOOK_UP: &str = "__lw_look_up_";
const VALUE: &str = "__lw_value";
/// Stands for rows where no column is asked for.
const ROW: &str = "__lw_row";

/// Whom a row is about, as it is stored.
const SUBJECT: &str = "__lw_subject";

/// The plan of the governed columns with these indices; after them, where the contract names one, the subject. `filters` are
/// comparisons that may prune files; there is no `limit` but in a test that opens a hole.
pub(super) fn governed(
    view: &View,
    rows: &Rows,
    projection: &[usize],
    filters: &[Expr],
    limit: Option<usize>,
    masks: &MaskContext,
) -> Result<LogicalPlan> {
    let stored = rows.provider.schema();
    let mut plan = LogicalPlanBuilder::scan(TABLE, provider_as_source(Arc::clone(&rows.provider)), None)?;
    if let Some(filter) = conjunction(filters.iter().cloned()) {
        plan = plan.filter(filter)?;
    }
    if limit.is_some() {
        plan = plan.limit(0, limit)?;
    }
    let shown: Vec<&ViewColumn> = projection.iter().filter_map(|index| view.columns.get(*index)).collect();
    let mut marks = Marks { plan, known: Vec::new() };

    // What is stored becomes what the columns read as; everything above sees only that.
    let needed = needed(view, rows, &shown)?;
    let mut columns = Vec::new();
    for name in &needed {
        let Some(column) = view.column(name) else { return plan_err!("a predicate names a column that is not there") };
        let value = match (rows.read_as.get(name), stored.field_with_name(name)) {
            (Some(expression), _) => try_cast(marks.lift(expression)?, column.data_type.clone()),
            (None, Ok(field)) => typed(Expr::Column(Column::new_unqualified(name)), field, &column.data_type),
            (None, Err(_)) => null(&column.data_type)?,
        };
        columns.push(value.alias(name));
    }
    if columns.is_empty() {
        columns.push(lit(true).alias(ROW));
    }
    marks.plan = marks.plan.project(columns)?;
    marks.known.clear();

    let scopes = rows.scopes.iter().map(|scope| marks.lift(scope)).collect::<Result<Vec<Expr>>>()?;
    let forbidden = rows.forbidden.iter().map(|scope| marks.lift(scope)).collect::<Result<Vec<Expr>>>()?;
    let mut plan = marks.plan;
    // A row of which it is unknown whether it is forbidden is forbidden.
    let conditions = disjunction(scopes.iter().cloned())
        .into_iter()
        .chain(
            forbidden
                .into_iter()
                .map(|scope| Expr::IsFalse(Box::new(scope)))
                .filter(|_| !is_open(Hole::ForbiddenIgnored)),
        )
        .map(|condition| match is_open(Hole::UnknownIsIn) {
            true => Expr::IsNotFalse(Box::new(condition)),
            false => condition,
        });
    if let Some(condition) = conjunction(conditions) {
        plan = plan.filter(condition)?;
    }

    let mut cells = Vec::with_capacity(shown.len().max(1));
    for column in shown {
        cells.push(cell(view, column, &scopes, masks)?.alias(&column.name));
    }
    if cells.is_empty() {
        cells.push(lit(true).alias(ROW));
    } else if let Some(subject) = &view.table.subject {
        // For the barrier alone, which takes it off.
        cells.push(Expr::Column(Column::new_unqualified(subject)).alias(SUBJECT));
    }
    plan.project(cells)?.build()
}

/// The schema of the columns with these indices.
pub(super) fn projected(schema: &SchemaRef, projection: &[usize]) -> Result<SchemaRef> {
    Ok(Arc::new(schema.project(projection)?))
}

/// Names of the columns that cells and predicates use.
fn needed(view: &View, rows: &Rows, shown: &[&ViewColumn]) -> Result<Vec<String>> {
    let mut names: BTreeSet<String> = shown.iter().map(|column| column.name.clone()).collect();
    for predicate in rows.scopes.iter().chain(&rows.forbidden) {
        names.extend(predicate.column_refs().into_iter().map(|column| column.name.clone()));
    }
    names.extend(view.table.subject.clone().filter(|_| !shown.is_empty()));
    // In the order of the contract, so that plans of equal statements are equal.
    Ok(view.columns.iter().map(|column| column.name.clone()).filter(|name| names.remove(name)).collect())
}

/// The value of a column for the rows that are left.
fn cell(view: &View, column: &ViewColumn, scopes: &[Expr], masks: &MaskContext) -> Result<Expr> {
    let value = Expr::Column(Column::new_unqualified(&column.name));
    let subject = view.table.subject.as_ref().map(|name| Expr::Column(Column::new_unqualified(name)));
    let as_shown = |shown: &Shown| match shown {
        Shown::Clear => Ok(value.clone()),
        Shown::Hidden if is_open(Hole::NestedShown) && column.data_type.is_nested() => Ok(value.clone()),
        Shown::Hidden if is_open(Hole::NullsShown) && column.data_type == DataType::Utf8View => {
            when(value.clone().is_null(), null(&column.data_type)?)
                .otherwise(lit(ScalarValue::Utf8View(Some("*".into()))))
        }
        Shown::Hidden => null(&column.data_type),
        Shown::Masked(_, masked) => masked.expression(value.clone(), subject.clone(), &column.data_type, masks),
    };
    if let Some(first) = column.shown.first()
        && column.shown.iter().all(|shown| shown == first)
    {
        return as_shown(first);
    }
    if is_open(Hole::BestOfAllScopes)
        && let Some(best) = column.shown.iter().max_by_key(|shown| shown.level())
    {
        return as_shown(best);
    }
    // The highest level that a scope with the row gives.
    let mut branches: Vec<(Expr, Expr)> = Vec::new();
    for level in [Level::Clear, Level::Generalised, Level::Pseudonym] {
        let mut at_level: Vec<(&Shown, Vec<Expr>)> = Vec::new();
        for (shown, scope) in column.shown.iter().zip(scopes).filter(|(shown, _)| shown.level() == level) {
            match at_level.iter_mut().find(|(same, _)| *same == shown) {
                Some((_, scopes)) => scopes.push(scope.clone()),
                None => at_level.push((shown, vec![scope.clone()])),
            }
        }
        for (shown, scopes) in at_level {
            if let Some(condition) = disjunction(scopes) {
                branches.push((condition, as_shown(shown)?));
            }
        }
    }
    let mut branches = branches.into_iter();
    let Some((condition, value)) = branches.next() else { return null(&column.data_type) };
    let mut case = when(condition, value);
    for (condition, value) in branches {
        case = case.when(condition, value);
    }
    case.otherwise(null(&column.data_type)?)
}

fn null(data_type: &DataType) -> Result<Expr> {
    Ok(Expr::Literal(ScalarValue::try_from(data_type)?, None))
}

fn typed(value: Expr, field: &Field, wanted: &DataType) -> Expr {
    if field.data_type() == wanted { value } else { try_cast(value, wanted.clone()) }
}

/// A plan that grows by one mark for each look-up that differs.
struct Marks {
    plan: LogicalPlanBuilder,
    known: Vec<(Expr, LogicalPlan, Expr)>,
}

impl Marks {
    /// The expression with its look-ups replaced by marks.
    fn lift(&mut self, expression: &Expr) -> Result<Expr> {
        let lifted = expression.clone().transform_up(|expression| match expression {
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                let mark = self.mark(*expr, &subquery)?;
                Ok(Transformed::yes(if negated { Expr::Not(Box::new(mark)) } else { mark }))
            }
            Expr::Exists(_) | Expr::ScalarSubquery(_) | Expr::OuterReferenceColumn(..) => {
                plan_err!("a look-up is written as IN (SELECT …)")
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(lifted.data)
    }

    fn mark(&mut self, value: Expr, subquery: &Subquery) -> Result<Expr> {
        if !subquery.outer_ref_columns.is_empty() {
            return plan_err!("a look-up does not refer to the row outside of it");
        }
        let look_up = subquery.subquery.as_ref();
        if let Some((.., mark)) = self.known.iter().find(|(same, plan, _)| *same == value && plan == look_up) {
            return Ok(mark.clone());
        }
        let [found] =
            look_up.schema().columns().try_into().map_err(|_| plan_datafusion_err!("a look-up has one column"))?;
        let alias = format!("{LOOK_UP}{}", self.known.len());
        let right = LogicalPlanBuilder::from(look_up.clone())
            .project([Expr::Column(found).alias(VALUE)])?
            .filter(Expr::Column(Column::new_unqualified(VALUE)).is_not_null())?
            .alias(alias.as_str())?
            .build()?;
        let found = Expr::Column(Column::new(Some(alias.as_str()), VALUE));
        self.plan = self.plan.clone().join_on(right, JoinType::LeftMark, [value.clone().eq(found)])?;
        let marked = Expr::Column(Column::new(Some(alias.as_str()), "mark"));
        let mark = when(value.clone().is_null(), lit(ScalarValue::Boolean(None))).otherwise(marked)?;
        self.known.push((value, look_up.clone(), mark.clone()));
        Ok(mark)
    }
}

fn is_comparison(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// Whether a filter consists of comparisons of such columns with literals, without cast or function. The engine itself
/// makes `OR` of a short `IN` and `AND` of `BETWEEN`.
pub(super) fn compares_with_literals(filter: &Expr, schema: &Schema, column: &impl Fn(&str) -> bool) -> bool {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            compares_with_literals(left, schema, column) && compares_with_literals(right, schema, column)
        }
        _ => literal_comparison(filter, schema).is_some_and(column),
    }
}

/// The column of a comparison with literals.
fn literal_comparison<'a>(filter: &'a Expr, schema: &Schema) -> Option<&'a str> {
    let same_type = |column: &Column, literal: &ScalarValue| {
        !literal.is_null()
            && schema.field_with_name(&column.name).is_ok_and(|field| *field.data_type() == literal.data_type())
    };
    match filter {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => match (binary.left.as_ref(), binary.right.as_ref()) {
            (Expr::Column(column), Expr::Literal(literal, _)) | (Expr::Literal(literal, _), Expr::Column(column)) => {
                same_type(column, literal).then_some(column.name.as_str())
            }
            _ => None,
        },
        Expr::InList(list) if !list.negated => {
            let Expr::Column(column) = list.expr.as_ref() else { return None };
            let literals =
                list.list.iter().all(|item| matches!(item, Expr::Literal(literal, _) if same_type(column, literal)));
            literals.then_some(column.name.as_str())
        }
        _ => None,
    }
}

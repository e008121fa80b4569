//! How the columns of an answer are shown.
//!
//! A level stays with a column for as long as nothing but its place, its name or its type changes. The engine also
//! carries metadata through what mixes columns, where it would claim of all values what holds for some.

use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};

use crate::ColumnLevel;

/// The level of each column, where it has one; a plan as it was before it was optimized.
pub(crate) fn levels_of(plan: &LogicalPlan) -> Vec<Option<String>> {
    let columns = plan.schema().fields().len();
    let levels = match plan {
        LogicalPlan::TableScan(scan) => scan
            .projected_schema
            .fields()
            .iter()
            .map(|field| field.metadata().get(ColumnLevel::METADATA_KEY).cloned())
            .collect(),
        LogicalPlan::Projection(projection) => of_expressions(&projection.expr, &projection.input),
        LogicalPlan::Aggregate(aggregate) => of_expressions(&aggregate.group_expr, &aggregate.input),
        LogicalPlan::Window(window) => levels_of(&window.input),
        LogicalPlan::Filter(filter) => levels_of(&filter.input),
        LogicalPlan::Sort(sort) => levels_of(&sort.input),
        LogicalPlan::Limit(limit) => levels_of(&limit.input),
        LogicalPlan::Repartition(repartition) => levels_of(&repartition.input),
        LogicalPlan::SubqueryAlias(alias) => levels_of(&alias.input),
        LogicalPlan::Distinct(Distinct::All(input)) => levels_of(input),
        LogicalPlan::Distinct(Distinct::On(on)) => of_expressions(&on.select_expr, &on.input),
        LogicalPlan::Union(union) => {
            let mut inputs = union.inputs.iter().map(|input| levels_of(input));
            let first = inputs.next().unwrap_or_default();
            inputs.fold(first, |known, other| {
                known
                    .into_iter()
                    .zip(other)
                    .map(|(known, other)| known.filter(|level| other.as_ref() == Some(level)))
                    .collect()
            })
        }
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => levels_of(&join.left),
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => levels_of(&join.right),
            _ => [levels_of(&join.left), levels_of(&join.right)].concat(),
        },
        _ => Vec::new(),
    };
    // What follows the columns that are known is computed: window functions, aggregates, marks.
    levels.into_iter().chain(std::iter::repeat(None)).take(columns).collect()
}

fn of_expressions(expressions: &[Expr], input: &LogicalPlan) -> Vec<Option<String>> {
    let below = levels_of(input);
    expressions.iter().map(|expression| of_expression(expression, input, &below)).collect()
}

fn of_expression(expression: &Expr, input: &LogicalPlan, below: &[Option<String>]) -> Option<String> {
    match expression {
        Expr::Alias(alias) => of_expression(&alias.expr, input, below),
        Expr::Cast(cast) => of_expression(&cast.expr, input, below),
        Expr::TryCast(cast) => of_expression(&cast.expr, input, below),
        Expr::Column(column) => {
            let index = input.schema().maybe_index_of_column(column)?;
            below.get(index).cloned().flatten()
        }
        _ => None,
    }
}

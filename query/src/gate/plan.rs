//! The allow-list of logical plan nodes.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

use crate::error::{QueryError, RefusedKind};
use crate::translate;

/// Refuses a plan with a node that is not on the list, in subqueries too.
pub(crate) fn check_plan(plan: &LogicalPlan) -> Result<(), QueryError> {
    let mut refused = None;
    plan.apply_with_subqueries(|node| {
        refused = refused_kind(node);
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })
    .map_err(|error| translate::execution(&error))?;
    refused.map_or(Ok(()), |kind| Err(QueryError::refused(kind)))
}

fn refused_kind(node: &LogicalPlan) -> Option<RefusedKind> {
    match node {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::TableScan(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_) => None,
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => Some(RefusedKind::Explain),
        LogicalPlan::Dml(_) => Some(RefusedKind::Dml),
        LogicalPlan::Ddl(_) => Some(RefusedKind::Ddl),
        LogicalPlan::Copy(_) => Some(RefusedKind::Copy),
        LogicalPlan::Statement(_) | LogicalPlan::Extension(_) => Some(RefusedKind::Statement),
    }
}

//! EXPLAIN, rendered from the plans that the gate and the verifier have accepted.
//!
//! The engine's own EXPLAIN would print errors of planning, statistics and files. This one stops at every barrier but that
//! of a table which is shown whole.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};

use crate::barrier::SecurityBarrierExec;
use crate::holes::{Hole, is_open};

/// The columns of an explanation.
pub(crate) fn schema() -> SchemaRef {
    let field = |name| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![field("plan_type"), field("plan")]))
}

/// The logical and the physical plan of a statement, a row each.
pub(crate) fn explanation(logical: &LogicalPlan, physical: &Arc<dyn ExecutionPlan>) -> Result<RecordBatch, ArrowError> {
    let mut lines = String::new();
    render(physical, 0, &mut lines);
    let kinds = StringArray::from(vec!["logical_plan", "physical_plan"]);
    let plans = StringArray::from(vec![logical.display_indent().to_string(), lines]);
    RecordBatch::try_new(schema(), vec![Arc::new(kinds), Arc::new(plans)])
}

fn render(plan: &Arc<dyn ExecutionPlan>, depth: usize, lines: &mut String) {
    if depth > 0 {
        lines.push('\n');
    }
    lines.push_str(&"  ".repeat(depth));
    lines.push_str(&Line(plan.as_ref()).to_string());
    let hides = plan.downcast_ref::<SecurityBarrierExec>().is_some_and(|barrier| !barrier.seal().whole);
    if hides && is_open(Hole::ExplainBelow) {
        plan.downcast_ref::<SecurityBarrierExec>().iter().for_each(|barrier| render(barrier.below(), depth + 1, lines));
    }
    if !hides {
        plan.children().into_iter().for_each(|child| render(child, depth + 1, lines));
    }
}

struct Line<'a>(&'a dyn ExecutionPlan);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Statistics can answer a minimum or a maximum while the plan is made: then the plan holds the value.
        match self.0.downcast_ref::<ProjectionExec>().filter(|node| node.input().is::<PlaceholderRowExec>()) {
            Some(node) => {
                let names: Vec<&str> = node.expr().iter().map(|column| column.alias.as_str()).collect();
                write!(f, "ProjectionExec: expr=[{}]", names.join(", "))
            }
            None => self.0.fmt_as(DisplayFormatType::Default, f),
        }
    }
}

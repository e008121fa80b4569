//! Plans that spare the events they do not fail for.
//!
//! An expression of DataFusion fails for all rows of a batch when it fails for one. Here each call, cast and operator of a
//! plan stands in a node that then tells apart for which rows it fails: their events are noted, the value is NULL, and the
//! plan goes on. Whoever runs the plan takes the noted events' rows away. Arguments are not evaluated again for it, so that
//! it costs little more than the failed calls themselves.
//!
//! An event is noted only where it fails by itself. What is evaluated for some rows alone (the branches of CASE) is so here
//! too. The second side of AND and OR, however, may be evaluated for rows that are decided by the first: when it fails, it is
//! evaluated again for the others only.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{and_kleene, concat, or_kleene};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NegativeExpr, NotExpr,
    TryCastExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use parking_lot::Mutex;

use crate::event::ROW;

type Expression = Arc<dyn PhysicalExpr>;

/// The events that a plan failed for, by number; one may stand there several times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted(Arc<Mutex<Vec<i64>>>);

impl Noted {
    /// Takes what was noted since.
    pub(crate) fn take(&self) -> Vec<i64> {
        std::mem::take(&mut *self.0.lock())
    }

    fn count(&self) -> usize {
        self.0.lock().len()
    }

    fn back_to(&self, count: usize) {
        self.0.lock().truncate(count);
    }
}

/// The plan with its projections and filters sparing; where the number of the event is not at hand they stay as they are.
pub(crate) fn sparing(plan: Arc<dyn ExecutionPlan>, noted: &Noted) -> Result<Arc<dyn ExecutionPlan>> {
    let spared = plan.transform_up(|plan| {
        if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
            let Some(row) = row_of(&projection.input().schema()) else { return Ok(Transformed::no(plan)) };
            let spared = projection
                .expr()
                .iter()
                .map(|one| Ok(ProjectionExpr { expr: spare(&one.expr, &row, noted)?, alias: one.alias.clone() }));
            let (spared, input) = (spared.collect::<Result<Vec<_>>>()?, Arc::clone(projection.input()));
            let spared = ProjectionExec::try_new_with_schema_metadata(spared, input, &plan.schema())?;
            return Ok(Transformed::yes(Arc::new(spared) as _));
        }
        if let Some(filter) = plan.downcast_ref::<FilterExec>() {
            let Some(row) = row_of(&filter.input().schema()) else { return Ok(Transformed::no(plan)) };
            let predicate = spare(filter.predicate(), &row, noted)?;
            let spared = FilterExecBuilder::from(filter).with_predicate(predicate).build()?;
            return Ok(Transformed::yes(Arc::new(spared) as _));
        }
        Ok(Transformed::no(plan))
    });
    Ok(spared?.data)
}

fn row_of(input: &Schema) -> Option<Expression> {
    let (at, field) = input.column_with_name(ROW)?;
    (*field.data_type() == DataType::Int64).then(|| Arc::new(Column::new(ROW, at)) as _)
}

/// Only kinds of expressions that are known to look at the batch they are given: in a lambda it is another one.
fn spare(expression: &Expression, row: &Expression, noted: &Noted) -> Result<Expression> {
    let binary = expression.downcast_ref::<BinaryExpr>();
    let in_turn = binary.is_some_and(|binary| matches!(binary.op(), Operator::And | Operator::Or));
    let may_fail = !in_turn && binary.is_some()
        || expression.is::<CastExpr>()
        || expression.is::<ScalarFunctionExpr>()
        || expression.is::<NegativeExpr>()
        || expression.is::<LikeExpr>();
    let hands_on = expression.is::<CaseExpr>()
        || expression.is::<IsNullExpr>()
        || expression.is::<IsNotNullExpr>()
        || expression.is::<NotExpr>()
        || expression.is::<TryCastExpr>();
    if !(in_turn || may_fail || hands_on) {
        return Ok(Arc::clone(expression));
    }
    let children = expression.children().into_iter().map(|child| spare(child, row, noted));
    let inner = Arc::clone(expression).with_new_children(children.collect::<Result<_>>()?)?;
    let noted = noted.clone();
    Ok(match (in_turn, may_fail) {
        (true, _) => {
            let at_once = inner.children().last().is_some_and(|second| costs_nothing(second));
            Arc::new(InTurn { inner, at_once, noted })
        }
        (false, true) => Arc::new(Spared { inner, row: Arc::clone(row), noted }),
        (false, false) => inner,
    })
}

/// What looks at no value.
fn costs_nothing(expression: &Expression) -> bool {
    let looks = expression.is::<Column>() || expression.is::<IsNullExpr>() || expression.is::<IsNotNullExpr>();
    looks && expression.children().into_iter().all(costs_nothing)
}

/// What may fail for some rows of a batch.
#[derive(Debug)]
struct Spared {
    inner: Expression,
    /// The number of the event. It is one of the children, so that it is at hand wherever the expression is evaluated.
    row: Expression,
    noted: Noted,
}

impl Spared {
    /// The same, row by row where it must be; nothing where it cannot be.
    fn apart(&self, batch: &RecordBatch) -> Option<ColumnarValue> {
        let rows = self.row.evaluate(batch).and_then(|rows| rows.into_array(batch.num_rows())).ok()?;
        let rows = rows.as_primitive_opt::<Int64Type>().filter(|rows| rows.null_count() == 0)?;
        let schema = batch.schema_ref();
        let result = self.inner.return_field(schema).ok().filter(|field| field.is_nullable())?;
        let (mut fields, mut arguments, mut children) = (Vec::new(), Vec::new(), Vec::<Expression>::new());
        for child in self.inner.children() {
            if child.is::<Literal>() {
                children.push(Arc::clone(child));
                continue;
            }
            let argument = child.evaluate(batch).and_then(|value| value.into_array(batch.num_rows())).ok()?;
            let field = child.return_field(schema).ok()?;
            children.push(Arc::new(Column::new(field.name(), fields.len())));
            let field = Field::new(field.name(), argument.data_type().clone(), true);
            fields.push(field.with_metadata(child.return_field(schema).ok()?.metadata().clone()));
            arguments.push(argument);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let given = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arguments, &options).ok()?;
        let call = Arc::clone(&self.inner).with_new_children(children).ok()?;
        let (mut values, mut failed) = (Vec::new(), Vec::new());
        let null = new_null_array(result.data_type(), 1);
        halve(&call, &given, rows.values(), &null, &mut values, &mut failed);
        let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
        let values = concat(&values).ok()?;
        self.noted.0.lock().extend(failed);
        Some(ColumnarValue::Array(values))
    }
}

/// Calls on halves of what it failed for, until those rows stand alone.
fn halve(
    call: &Expression,
    given: &RecordBatch,
    rows: &[i64],
    null: &ArrayRef,
    values: &mut Vec<ArrayRef>,
    failed: &mut Vec<i64>,
) {
    if let [row] = rows {
        values.push(Arc::clone(null));
        failed.push(*row);
        return;
    }
    let middle = rows.len() / 2;
    for (from, to) in [(0, middle), (middle, rows.len())] {
        let (half, rows) = (given.slice(from, to - from), &rows[from..to]);
        match call.evaluate(&half).and_then(|value| value.into_array(rows.len())) {
            Ok(value) => values.push(value),
            // The error's text may quote a value, so it goes nowhere.
            Err(_) => halve(call, &half, rows, null, values, failed),
        }
    }
}

/// AND or OR.
#[derive(Debug)]
struct InTurn {
    inner: Expression,
    /// Whether the second side is evaluated for all rows: to take a batch apart for it would cost more.
    at_once: bool,
    noted: Noted,
}

impl InTurn {
    /// The second side only for those rows that the first does not decide, unless it costs nothing.
    fn in_turn(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let children = self.inner.children();
        let (Some(binary), [first, second]) = (self.inner.downcast_ref::<BinaryExpr>(), children.as_slice()) else {
            return self.inner.evaluate(batch);
        };
        let first = first.evaluate(batch)?.into_array(batch.num_rows())?;
        let first = first.as_boolean();
        let decides = *binary.op() == Operator::Or;
        let second = if self.at_once {
            second.evaluate(batch)?
        } else {
            let undecided: BooleanArray = first.iter().map(|value| Some(value != Some(decides))).collect();
            second.evaluate_selection(batch, &undecided)?
        };
        let second = second.into_array(batch.num_rows())?;
        let both = match decides {
            true => or_kleene(first, second.as_boolean()),
            false => and_kleene(first, second.as_boolean()),
        };
        Ok(ColumnarValue::Array(Arc::new(both?)))
    }
}

impl PhysicalExpr for Spared {
    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let before = self.noted.count();
        self.inner.evaluate(batch).or_else(|error| {
            // What its arguments have noted they note again.
            self.noted.back_to(before);
            self.apart(batch).ok_or(error)
        })
    }

    fn children(&self) -> Vec<&Expression> {
        self.inner.children().into_iter().chain([&self.row]).collect()
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Expression>) -> Result<Expression> {
        let row = children.pop().unwrap_or_else(|| Arc::clone(&self.row));
        let inner = Arc::clone(&self.inner).with_new_children(children)?;
        Ok(Arc::new(Spared { inner, row, noted: self.noted.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

impl PhysicalExpr for InTurn {
    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.at_once {
            return self.in_turn(batch);
        }
        let before = self.noted.count();
        match self.inner.evaluate(batch) {
            Ok(value) if self.noted.count() == before => Ok(value),
            _ => {
                self.noted.back_to(before);
                self.in_turn(batch)
            }
        }
    }

    fn children(&self) -> Vec<&Expression> {
        self.inner.children()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Expression>) -> Result<Expression> {
        let inner = Arc::clone(&self.inner).with_new_children(children)?;
        Ok(Arc::new(InTurn { inner, at_once: self.at_once, noted: self.noted.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

impl fmt::Display for Spared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Display for InTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PartialEq for Spared {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner) && self.row.eq(&other.row)
    }
}

impl PartialEq for InTurn {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Spared {}

impl Eq for InTurn {}

impl Hash for Spared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
        self.row.hash(state);
    }
}

impl Hash for InTurn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

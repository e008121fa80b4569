//! Elements and lengths of lists in curated SELECTs, without a copy for each row.
//!
//! DataFusion's `array_element` and `cardinality` take every list apart by itself, and of nested FHIR that is most of what
//! a SELECT costs. These two do the same for whole columns where the case is a plain one, and leave every other case to
//! the function that they stand for: names, types and results are the same.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// The plan with both functions replaced wherever they are called.
pub(crate) fn by_columns(plan: LogicalPlan) -> Result<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|plan| {
        plan.map_expressions(|expression| {
            expression.transform_up(|expression| {
                Ok(match expression {
                    Expr::ScalarFunction(ScalarFunction { func, args }) => match Whole::of(&func) {
                        Some(whole) => Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(whole, args))),
                        None => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
                    },
                    other => Transformed::no(other),
                })
            })
        })
    })?;
    // Columns are named after the expressions, which have kept their names.
    Ok(replaced.data)
}

/// A function over whole columns in the place of one that goes list by list.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Whole {
    replaced: Arc<ScalarUDF>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Element,
    Length,
}

impl Whole {
    fn of(function: &Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
        let kind = match function.name() {
            "array_element" => Kind::Element,
            "cardinality" => Kind::Length,
            _ => return None,
        };
        if function.inner().downcast_ref::<Whole>().is_some() {
            return None;
        }
        Some(Arc::new(ScalarUDF::new_from_impl(Whole { replaced: Arc::clone(function), kind })))
    }
}

impl ScalarUDFImpl for Whole {
    fn name(&self) -> &str {
        self.replaced.name()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.replaced.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.replaced.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.replaced.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<arrow::datatypes::FieldRef> {
        self.replaced.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let plain = match (self.kind, args.args.as_slice()) {
            (Kind::Element, [ColumnarValue::Array(lists), ColumnarValue::Scalar(ScalarValue::Int64(Some(place)))]) => {
                lists.as_list_opt().and_then(|lists| element(lists, *place))
            }
            (Kind::Length, [ColumnarValue::Array(lists)]) => lists.as_list_opt().and_then(length),
            _ => None,
        };
        match plain {
            Some(column) => Ok(ColumnarValue::Array(column)),
            None => self.replaced.invoke_with_args(args),
        }
    }
}

/// The element at a place that counts from 1; NULL where a list is shorter.
fn element(lists: &ListArray, place: i64) -> Option<ArrayRef> {
    let behind = usize::try_from(place.checked_sub(1)?).ok()?;
    if lists.value_type().is_null() {
        return None;
    }
    let offsets = lists.value_offsets();
    if behind == 0 && lists.null_count() == 0 && offsets.windows(2).all(|pair| pair[1] - pair[0] == 1) {
        // One element in each: they stand side by side already.
        return Some(lists.values().slice(usize::try_from(offsets[0]).ok()?, lists.len()));
    }
    let places: UInt32Array = offsets
        .windows(2)
        .enumerate()
        .map(|(row, pair)| {
            let (from, until) = (pair[0] as usize, pair[1] as usize);
            // A list that is NULL may have elements behind it all the same.
            (from + behind < until && lists.is_valid(row)).then_some((from + behind) as u32)
        })
        .collect();
    take(lists.values(), &places, None).ok()
}

/// How many elements each list has. Lists of lists count the innermost and are left alone.
fn length(lists: &ListArray) -> Option<ArrayRef> {
    if lists.value_type().is_nested() && !matches!(lists.value_type(), DataType::Struct(_)) {
        return None;
    }
    let lengths = lists.value_offsets().windows(2).map(|pair| (pair[1] - pair[0]) as u64);
    Some(Arc::new(UInt64Array::new(lengths.collect(), lists.nulls().cloned())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch, StringArray, StructArray};
    use arrow::buffer::{NullBuffer, OffsetBuffer};
    use arrow::datatypes::{Field, Fields, Schema};
    use datafusion::prelude::SessionContext;

    use super::*;

    /// Lists of structs: of none, one, two and three, a NULL that hides an element, and NULLs inside.
    fn lists() -> ListArray {
        let fields =
            Fields::from(vec![Field::new("code", DataType::Utf8, true), Field::new("n", DataType::Int64, true)]);
        let codes = StringArray::from(vec![Some("a"), None, Some("c"), Some("d"), Some("e"), Some("f"), Some("g")]);
        let numbers = Int64Array::from(vec![Some(1), Some(2), None, Some(4), Some(5), Some(6), Some(7)]);
        let valid = NullBuffer::from(vec![true, true, true, false, true, true, true]);
        let structs = StructArray::new(fields.clone(), vec![Arc::new(codes), Arc::new(numbers)], Some(valid));
        let item = Arc::new(Field::new("element", DataType::Struct(fields), true));
        let offsets = OffsetBuffer::from_lengths([0, 1, 2, 1, 3]);
        let nulls = NullBuffer::from(vec![true, true, true, false, true]);
        ListArray::new(item, offsets, Arc::new(structs), Some(nulls))
    }

    async fn asked(lists: &ListArray, sql: &str, replace: bool) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("x", lists.data_type().clone(), true)]));
        let context = SessionContext::new();
        context.register_batch("t", RecordBatch::try_new(schema, vec![Arc::new(lists.clone())]).unwrap()).unwrap();
        let mut plan = context.state().create_logical_plan(sql).await.unwrap();
        if replace {
            plan = by_columns(plan).unwrap();
            assert!(format!("{plan:?}").contains("Whole"), "nothing was replaced in {sql}");
        }
        let batches = context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
        arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
    }

    #[tokio::test]
    async fn results_and_names_are_those_of_the_functions_replaced() {
        let all = lists();
        for lists in [all.clone(), all.slice(1, 2), all.slice(1, 1), all.slice(3, 2)] {
            for sql in [
                "SELECT x[1], x[2], x[3], x[4] FROM t",
                "SELECT x[1]['code'], x[2]['n'], x[0], x[-1], x[CAST(NULL AS BIGINT)] FROM t",
                "SELECT cardinality(x), x[CAST(cardinality(x) AS BIGINT)] FROM t",
                "SELECT count(*) FROM t WHERE (cardinality(x) > 0) IS NOT TRUE OR x[1]['n'] IN (SELECT x[1]['n'] FROM t)",
            ] {
                let (ours, theirs) = (asked(&lists, sql, true).await, asked(&lists, sql, false).await);
                assert_eq!(ours, theirs, "{sql} over {} lists", lists.len());
            }
        }
    }
}

//! Statistics of data files: what a commit writes into the log, and what a reader makes of it.
//!
//! Only columns that a contract marks as prunable are told; of all others the log knows nothing but that they exist.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringArray};
use arrow::compute::{max, max_string, max_string_view, min, min_string, min_string_view};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use serde_json::{Map, Value, json};

use super::layout::Layout;

/// Longer texts have no bounds in the log.
const LONGEST_BOUND: usize = 64;

/// The `stats` of an Add action, gathered batch by batch.
pub(crate) struct Gathering {
    rows: u64,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    /// As the file calls it, and so the log.
    told: String,
    nulls: usize,
    /// The least and the greatest value of each batch.
    extremes: Vec<ArrayRef>,
}

impl Gathering {
    /// Of those columns that may be told of a table.
    pub(crate) fn of(layout: &Layout) -> Self {
        Self::new(&layout.statistics, |column| layout.stored_name(column))
    }

    fn new<'a>(columns: &'a BTreeSet<String>, told: impl Fn(&'a str) -> &'a str) -> Self {
        let column = |name: &'a String| {
            let told = told(name).to_owned();
            Column { name: name.clone(), told, nulls: 0, extremes: Vec::new() }
        };
        Self { rows: 0, columns: columns.iter().map(column).collect() }
    }

    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        for column in &mut self.columns {
            let Some(array) = batch.column_by_name(&column.name) else {
                column.nulls += batch.num_rows();
                continue;
            };
            column.nulls += array.null_count();
            column.extremes.extend(extremes(array));
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) fn to_json(&self) -> String {
        let (mut minimum, mut maximum, mut nulls) = (Map::new(), Map::new(), Map::new());
        for column in &self.columns {
            nulls.insert(column.told.clone(), json!(column.nulls));
            if let Some((low, high)) = column.bounds() {
                minimum.insert(column.told.clone(), low);
                maximum.insert(column.told.clone(), high);
            }
        }
        json!({"numRecords": self.rows, "minValues": minimum, "maxValues": maximum, "nullCount": nulls}).to_string()
    }
}

/// Least and greatest value; texts in one type, whether they came as views or not.
fn extremes(array: &ArrayRef) -> Option<ArrayRef> {
    macro_rules! primitive {
        ($arrow:ty) => {{
            let array = array.as_primitive::<$arrow>();
            let both = [min(array)?, max(array)?];
            Some(Arc::new(PrimitiveArray::<$arrow>::from_iter_values(both)) as ArrayRef)
        }};
    }
    let texts = |low: Option<&str>, high: Option<&str>| -> Option<ArrayRef> {
        Some(Arc::new(StringArray::from(vec![low?, high?])))
    };
    match array.data_type() {
        DataType::Int32 => primitive!(Int32Type),
        DataType::Int64 => primitive!(Int64Type),
        DataType::Date32 => primitive!(Date32Type),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => primitive!(TimestampMicrosecondType),
        DataType::Utf8 => texts(min_string(array.as_string::<i32>()), max_string(array.as_string::<i32>())),
        DataType::Utf8View => texts(min_string_view(array.as_string_view()), max_string_view(array.as_string_view())),
        // Not decimals: a JSON number could lose digits on the way.
        _ => None,
    }
}

impl Column {
    fn bounds(&self) -> Option<(Value, Value)> {
        let arrays = &self.extremes;
        macro_rules! primitive {
            ($arrow:ty, $to_json:expr) => {{
                let low = arrays.iter().filter_map(|a| min(a.as_primitive::<$arrow>())).min()?;
                let high = arrays.iter().filter_map(|a| max(a.as_primitive::<$arrow>())).max()?;
                Some(($to_json(low)?, $to_json(high)?))
            }};
        }
        match arrays.first()?.data_type() {
            DataType::Int32 => primitive!(Int32Type, |v| Some(json!(v))),
            DataType::Int64 => primitive!(Int64Type, |v| Some(json!(v))),
            DataType::Date32 => primitive!(Date32Type, |days: i32| {
                Date32Type::to_naive_date_opt(days).map(|date| json!(date.format("%Y-%m-%d").to_string()))
            }),
            DataType::Timestamp(TimeUnit::Microsecond, _) => primitive!(TimestampMicrosecondType, |micros: i64| {
                chrono::DateTime::from_timestamp_micros(micros)
                    .map(|time| json!(time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()))
            }),
            DataType::Utf8 => {
                let low = arrays.iter().filter_map(|a| min_string(a.as_string::<i32>())).min()?;
                let high = arrays.iter().filter_map(|a| max_string(a.as_string::<i32>())).max()?;
                (low.len() <= LONGEST_BOUND && high.len() <= LONGEST_BOUND).then(|| (json!(low), json!(high)))
            }
            _ => None,
        }
    }
}

/// What the log says of one file.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileStatistics {
    pub(crate) rows: u64,
    parsed: Value,
}

impl FileStatistics {
    /// None when the log does not tell the number of rows: such a file was not written here.
    pub(crate) fn parse(stats: Option<&str>) -> Option<Self> {
        let parsed: Value = serde_json::from_str(stats?).ok()?;
        Some(Self { rows: parsed.get("numRecords")?.as_u64()?, parsed })
    }

    /// Least and greatest value of a column of whole numbers.
    pub(crate) fn span(&self, column: &str) -> Option<(i64, i64)> {
        let bound = |of: &str| self.parsed.get(of)?.get(column)?.as_i64();
        Some((bound("minValues")?, bound("maxValues")?))
    }

    pub(crate) fn null_count(&self, column: &str) -> Option<u64> {
        self.parsed.get("nullCount")?.get(column)?.as_u64()
    }

    /// As DataFusion's statistics over the columns of a schema.
    pub(crate) fn of_schema(&self, schema: &Schema) -> Statistics {
        let mut statistics = Statistics::new_unknown(schema);
        statistics.num_rows = Precision::Exact(self.rows as usize);
        for (field, column) in schema.fields().iter().zip(&mut statistics.column_statistics) {
            let bound = |of: &str| match self.bound(of, field.name(), field.data_type()) {
                Some(value) => Precision::Exact(value),
                None => Precision::Absent,
            };
            *column = ColumnStatistics {
                null_count: self
                    .null_count(field.name())
                    .map_or(Precision::Absent, |nulls| Precision::Exact(nulls as usize)),
                min_value: bound("minValues"),
                max_value: bound("maxValues"),
                ..ColumnStatistics::new_unknown()
            };
        }
        statistics
    }

    fn bound(&self, of: &str, column: &str, data_type: &DataType) -> Option<ScalarValue> {
        let value = self.parsed.get(of)?.get(column)?;
        match (data_type, value) {
            (DataType::Int32, value) => Some(ScalarValue::Int32(Some(i32::try_from(value.as_i64()?).ok()?))),
            (DataType::Int64, value) => Some(ScalarValue::Int64(Some(value.as_i64()?))),
            (DataType::Utf8, Value::String(text)) => Some(ScalarValue::Utf8(Some(text.clone()))),
            (DataType::Utf8View, Value::String(text)) => Some(ScalarValue::Utf8View(Some(text.clone()))),
            (DataType::Date32 | DataType::Timestamp(_, _), Value::String(text)) => {
                ScalarValue::try_from_string(text.clone(), data_type).ok()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, TimestampMicrosecondArray};
    use arrow::datatypes::Field;

    use super::*;
    use crate::contract::timestamp;

    fn schema() -> Arc<Schema> {
        Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("code", DataType::Utf8, true),
            Field::new("at", timestamp(), true),
            Field::new("name", DataType::Utf8, true),
        ])
        .into()
    }

    fn to_json(batches: &[RecordBatch], columns: &BTreeSet<String>) -> String {
        let mut gathering = Gathering::new(columns, |name| name);
        batches.iter().for_each(|batch| gathering.add(batch));
        gathering.to_json()
    }

    fn batch(n: Vec<Option<i64>>, code: &str) -> RecordBatch {
        let rows = n.len();
        let at = TimestampMicrosecondArray::from(vec![1_700_000_000_123_456; rows]).with_timezone("UTC");
        RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(Int64Array::from(n)),
                Arc::new(StringArray::from(vec![code; rows])),
                Arc::new(at),
                Arc::new(StringArray::from(vec!["Secret"; rows])),
            ],
        )
        .unwrap()
    }

    #[test]
    fn the_log_tells_the_bounds_of_allowed_columns_exactly_and_nothing_of_others() {
        let columns = ["n", "code", "at"].map(String::from).into();
        let json = to_json(&[batch(vec![Some(5), None], "b"), batch(vec![Some(-3)], "a")], &columns);
        assert!(!json.contains("Secret") && !json.contains("name"), "{json}");

        let statistics = FileStatistics::parse(Some(&json)).unwrap();
        assert_eq!((statistics.rows, statistics.null_count("n")), (3, Some(1)));
        let of_schema = statistics.of_schema(&schema());
        let [n, code, at, name] = of_schema.column_statistics.as_slice() else { panic!() };
        assert_eq!(n.min_value, Precision::Exact(ScalarValue::Int64(Some(-3))));
        assert_eq!(n.max_value, Precision::Exact(ScalarValue::Int64(Some(5))));
        assert_eq!(code.max_value, Precision::Exact(ScalarValue::Utf8(Some("b".into()))));
        let exact = ScalarValue::TimestampMicrosecond(Some(1_700_000_000_123_456), Some("UTC".into()));
        assert_eq!(at.min_value, Precision::Exact(exact));
        assert_eq!(name.min_value, Precision::Absent);
    }

    #[test]
    fn a_long_text_has_no_bounds() {
        let long = "x".repeat(LONGEST_BOUND + 1);
        let json = to_json(&[batch(vec![None], &long)], &["code".to_string()].into());
        assert!(!json.contains("xxx"), "{json}");
    }
}

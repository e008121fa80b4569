//! Columns of a schema's own types brought into the types that the contract declares.
//!
//! [`misfits`] says, before anything runs, what a schema cannot give. What only a value can tell is told by value: a number
//! beyond its type, a time that no calendar has. Such a record is a fault, and its neighbours are not touched.
//!
//! A number is a finite one: NaN and infinity are refused, for a sum that meets one is lost, and no other format has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date32Type, Field, Fields, Float64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;

/// Microseconds since 1970 at the beginning of the year 1 and of the year 10000.
const INSTANTS: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;
/// Days since 1970, likewise.
const DAYS: std::ops::Range<i32> = -719_162..2_932_897;

/// What a schema's fields lack of what is declared; empty when all can be had.
pub(super) fn misfits(met: &Fields, declared: &Fields) -> Vec<String> {
    let mut problems = Vec::new();
    fields(met, declared, "$", &mut problems);
    problems
}

fn fields(met: &Fields, declared: &Fields, path: &str, problems: &mut Vec<String>) {
    for field in declared {
        let path = format!("{path}.{}", field.name());
        match met.iter().find(|met| met.name() == field.name()) {
            None => problems.push(format!("{path}: the contract declares it, and the schema has no such field")),
            Some(met) => types(met.data_type(), field.data_type(), &path, problems),
        }
    }
}

fn types(met: &DataType, declared: &DataType, path: &str, problems: &mut Vec<String>) {
    match (met, declared) {
        (DataType::Struct(met), DataType::Struct(declared)) => fields(met, declared, path, problems),
        (DataType::List(met), DataType::List(declared)) => {
            types(met.data_type(), declared.data_type(), &format!("{path}[]"), problems);
        }
        (met, declared) if fits(met, declared) => {}
        _ => {
            problems.push(format!("{path}: the schema has it as {met}, which does not give the contract's {declared}"))
        }
    }
}

fn fits(met: &DataType, declared: &DataType) -> bool {
    match declared {
        DataType::Utf8 | DataType::Utf8View => {
            met.is_string() || matches!(met, DataType::Dictionary(_, value) if value.is_string())
        }
        DataType::Int64 => met.is_integer(),
        DataType::Float64 => met.is_floating() || met.is_integer(),
        DataType::Decimal128(_, scale) => match met {
            // With fewer places a digit would be lost.
            DataType::Decimal128(_, met) | DataType::Decimal256(_, met) => met <= scale,
            other => other.is_integer(),
        },
        DataType::Boolean => matches!(met, DataType::Boolean),
        DataType::Date32 => matches!(met, DataType::Date32),
        DataType::Timestamp(_, Some(_)) => matches!(met, DataType::Timestamp(_, Some(_))),
        DataType::Binary | DataType::BinaryView => {
            matches!(met, DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_))
        }
        _ => false,
    }
}

/// The columns as they are declared. Rows with a value that has no place there come out in `faults`, with the reason; what
/// stands in the column for such a value means nothing.
pub(super) fn conform(
    records: &StructArray,
    declared: &Fields,
    faults: &mut BTreeMap<usize, String>,
) -> Result<StructArray, ArrowError> {
    let mut found = Vec::new();
    let columns = conform_fields(records, declared, "$", &mut found)?;
    for (row, reason) in found {
        faults.entry(row).or_insert(reason);
    }
    StructArray::try_new(declared.clone(), columns, None)
}

/// Rows of columns that have the declared types already, with a value that nobody may have written.
pub(crate) fn range_faults(records: &StructArray) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (field, column) in records.fields().iter().zip(records.columns()) {
        ranges(column, &format!("$.{}", field.name()), &mut found);
    }
    found
}

/// Positions in an array, each with the reason why what stands there cannot be taken.
type Found = Vec<(usize, String)>;

fn conform_fields(
    records: &StructArray,
    declared: &Fields,
    path: &str,
    found: &mut Found,
) -> Result<Vec<ArrayRef>, ArrowError> {
    declared
        .iter()
        .map(|field| {
            let column = records.column_by_name(field.name()).ok_or_else(|| {
                ArrowError::SchemaError(format!("{path}.{} is not among the decoded fields", field.name()))
            })?;
            conform_column(column, field, &format!("{path}.{}", field.name()), found)
        })
        .collect()
}

fn conform_column(column: &ArrayRef, field: &Field, path: &str, found: &mut Found) -> Result<ArrayRef, ArrowError> {
    match field.data_type() {
        DataType::Struct(declared) => {
            let records =
                column.as_struct_opt().ok_or_else(|| ArrowError::SchemaError(format!("{path} is no record")))?;
            let mut inner = Found::new();
            let columns = conform_fields(records, declared, path, &mut inner)?;
            // What stands behind a NULL is nobody's value.
            found.extend(inner.into_iter().filter(|(position, _)| records.is_valid(*position)));
            Ok(Arc::new(StructArray::try_new(declared.clone(), columns, records.nulls().cloned())?))
        }
        DataType::List(item) => {
            let lists =
                column.as_list_opt::<i32>().ok_or_else(|| ArrowError::SchemaError(format!("{path} is no list")))?;
            let mut inner = Found::new();
            let values = conform_column(lists.values(), item, &format!("{path}[]"), &mut inner)?;
            found.extend(by_list(lists, inner));
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), lists.offsets().clone(), values, lists.nulls().cloned())?))
        }
        declared => {
            let cast = cast_with_options(column, declared, &CastOptions { safe: true, ..CastOptions::default() })?;
            if cast.null_count() > column.null_count() {
                let lost = (0..cast.len()).filter(|row| cast.is_null(*row) && column.is_valid(*row));
                found.extend(lost.map(|row| (row, beyond(path, declared))));
            }
            ranges(&cast, path, found);
            Ok(cast)
        }
    }
}

fn by_list<'a>(lists: &'a ListArray, inner: Found) -> impl Iterator<Item = (usize, String)> + 'a {
    inner.into_iter().filter_map(|(position, reason)| {
        let list = lists.value_offsets().partition_point(|offset| *offset as usize <= position).checked_sub(1)?;
        (list < lists.len() && lists.is_valid(list)).then_some((list, reason))
    })
}

fn ranges(column: &ArrayRef, path: &str, found: &mut Found) {
    let mut note = |row: usize, reason: String| found.push((row, reason));
    match column.data_type() {
        DataType::Float64 => {
            for (row, value) in column.as_primitive::<Float64Type>().iter().enumerate() {
                if value.is_some_and(|value| !value.is_finite()) {
                    note(row, format!("value.not_finite: {path} is no finite number"));
                }
            }
        }
        DataType::Date32 => {
            for (row, value) in column.as_primitive::<Date32Type>().iter().enumerate() {
                if value.is_some_and(|value| !DAYS.contains(&value)) {
                    note(row, beyond(path, column.data_type()));
                }
            }
        }
        DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _) => {
            for (row, value) in column.as_primitive::<TimestampMicrosecondType>().iter().enumerate() {
                if value.is_some_and(|value| !INSTANTS.contains(&value)) {
                    note(row, beyond(path, column.data_type()));
                }
            }
        }
        DataType::Decimal128(precision, _) => {
            let decimals = column.as_primitive::<arrow::datatypes::Decimal128Type>();
            let most = 10_i128.pow(u32::from(*precision));
            for (row, value) in decimals.iter().enumerate() {
                if value.is_some_and(|value| value.unsigned_abs() >= most.unsigned_abs()) {
                    note(row, beyond(path, column.data_type()));
                }
            }
        }
        DataType::Struct(_) => {
            let records = column.as_struct();
            let mut inner = Found::new();
            for (field, column) in records.fields().iter().zip(records.columns()) {
                ranges(column, &format!("{path}.{}", field.name()), &mut inner);
            }
            found.extend(inner.into_iter().filter(|(position, _)| records.is_valid(*position)));
        }
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            let mut inner = Found::new();
            ranges(lists.values(), &format!("{path}[]"), &mut inner);
            found.extend(by_list(lists, inner));
        }
        _ => {}
    }
}

/// What a dead letter says of a value that its declared type does not hold.
pub(super) fn beyond(path: &str, declared: &DataType) -> String {
    let expected = match declared {
        DataType::Int64 => "an integer of 64 bits".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Date32 => "a date of the years 1 to 9999".to_owned(),
        DataType::Timestamp(_, _) => "a timestamp of the years 1 to 9999".to_owned(),
        other => format!("{other}"),
    };
    format!("value.range: {path} is beyond what is declared, expected {expected}")
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Float64Array, TimestampMillisecondArray};
    use arrow::buffer::{NullBuffer, OffsetBuffer};
    use arrow::datatypes::TimeUnit;

    use super::*;

    fn micros() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    }

    #[test]
    fn values_without_a_place_are_told_by_row_and_path_and_others_arrive() {
        let times = TimestampMillisecondArray::from(vec![Some(0), Some(884_541_340_800_000), None, Some(1)]);
        let times = times.with_timezone("+00:00");
        let amounts = Decimal128Array::from(vec![Some(150), Some(1), Some(99_999), Some(2)]);
        let amounts = amounts.with_precision_and_scale(12, 1).unwrap();
        let numbers = Float64Array::from(vec![1.5, f64::NAN, f64::INFINITY, 2.5]);
        let item = Arc::new(Field::new("item", DataType::Float64, true));
        let lists = ListArray::new(item, OffsetBuffer::from_lengths([0, 1, 0, 3]), Arc::new(numbers), None);
        let records = StructArray::from(vec![
            (Arc::new(Field::new("at", times.data_type().clone(), true)), Arc::new(times) as ArrayRef),
            (Arc::new(Field::new("amount", amounts.data_type().clone(), true)), Arc::new(amounts) as ArrayRef),
            (Arc::new(Field::new("n", lists.data_type().clone(), true)), Arc::new(lists) as ArrayRef),
        ]);
        let element = Arc::new(Field::new("element", DataType::Float64, true));
        let declared = Fields::from(vec![
            Field::new("amount", DataType::Decimal128(5, 2), true),
            Field::new("at", micros(), true),
            Field::new("n", DataType::List(element), true),
        ]);
        assert!(misfits(records.fields(), &declared).is_empty());
        let mut faults = BTreeMap::new();
        let made = conform(&records, &declared, &mut faults).unwrap();
        assert_eq!(made.fields(), &declared);
        assert_eq!(made.column(0).as_primitive::<arrow::datatypes::Decimal128Type>().value(0), 1500);
        assert_eq!(made.column(1).as_primitive::<TimestampMicrosecondType>().value(3), 1000);
        let told: Vec<(usize, &str)> = faults.iter().map(|(row, reason)| (*row, reason.as_str())).collect();
        assert_eq!(
            told,
            [
                (1, "value.range: $.at is beyond what is declared, expected a timestamp of the years 1 to 9999"),
                (2, "value.range: $.amount is beyond what is declared, expected decimal(5,2)"),
                (3, "value.not_finite: $.n[] is no finite number"),
            ]
        );
    }

    #[test]
    fn what_stands_behind_a_null_is_no_fault() {
        let inner = Float64Array::from(vec![f64::NAN, 1.0]);
        let fields = Fields::from(vec![Field::new("v", DataType::Float64, true)]);
        let valid = NullBuffer::from(vec![false, true]);
        let object = StructArray::new(fields.clone(), vec![Arc::new(inner)], Some(valid));
        let records = StructArray::from(vec![(
            Arc::new(Field::new("o", object.data_type().clone(), true)),
            Arc::new(object) as _,
        )]);
        let declared = Fields::from(vec![Field::new("o", DataType::Struct(fields), true)]);
        let mut faults = BTreeMap::new();
        conform(&records, &declared, &mut faults).unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        assert!(range_faults(&records).is_empty());
    }

    #[test]
    fn a_schema_that_cannot_give_what_is_declared_is_told() {
        let met = Fields::from(vec![
            Field::new("a", DataType::Utf8, true),
            Field::new("b", DataType::Decimal128(10, 3), true),
            Field::new("c", DataType::Timestamp(TimeUnit::Millisecond, None), true),
            Field::new("e", DataType::Int32, true),
        ]);
        let declared = Fields::from(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Decimal128(10, 2), true),
            Field::new("c", micros(), true),
            Field::new("d", DataType::Utf8, true),
            Field::new("e", DataType::Float64, true),
        ]);
        let problems = misfits(&met, &declared);
        assert_eq!(problems.len(), 4, "{problems:?}");
    }
}

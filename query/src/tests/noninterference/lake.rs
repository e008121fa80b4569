//! A lake in memory: rows that can be changed, before they are written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::scalar::ScalarStructBuilder;
use lakeward_tables::{Change, GovernedTable, Lake, Lakehouse, Mode, StorageConfig, TableName, reading_schema};
use rand::prelude::*;
use rand::rngs::StdRng;

use super::world::World;

pub(super) type Row = Vec<ScalarValue>;
/// The rows of each table, in the contract's columns.
pub(super) type Rows = BTreeMap<TableName, Vec<Row>>;

const DAY: i64 = 86_400_000_000;

/// Rows of all tables, in which scopes hold some.
pub(super) fn rows(world: &World, random: &mut StdRng) -> Rows {
    world.tables.iter().map(|table| (table.name.clone(), rows_of(world, table, random))).collect()
}

fn rows_of(world: &World, table: &GovernedTable, random: &mut StdRng) -> Vec<Row> {
    let wanted = if table.hidden { 4 } else { random.random_range(14..22) };
    let mut rows: Vec<Row> = Vec::new();
    let mut keys = BTreeSet::new();
    for number in 0..wanted {
        let row = row(world, table, number, random);
        if keys.insert(key_of(table, &row)) {
            rows.push(row);
        }
    }
    rows
}

/// What must differ between the rows of a table.
pub(super) fn key_of(table: &GovernedTable, row: &[ScalarValue]) -> Vec<String> {
    let place = |name: &String| table.columns.iter().position(|column| column.name == *name);
    table.primary_key.iter().filter_map(place).map(|at| row[at].to_string()).collect()
}

fn row(world: &World, table: &GovernedTable, number: usize, random: &mut StdRng) -> Row {
    table
        .columns
        .iter()
        .map(|column| {
            let is_own_key = table.primary_key.first() == Some(&column.name);
            let (required, is_key) =
                (column.required || table.primary_key.contains(&column.name), is_key(table, &column.name));
            match column.data_type {
                DataType::Utf8 if is_own_key && table.primary_key.len() == 1 => {
                    ScalarValue::Utf8(Some(format!("{}-{number}", column.name)))
                }
                DataType::Int64 if is_own_key => ScalarValue::Int64(Some(number as i64)),
                _ if !required && random.random_bool(0.12) => ScalarValue::try_from(&column.data_type).unwrap(),
                _ => value(world, &column.name, &column.data_type, is_key, random),
            }
        })
        .collect()
}

/// Whether the column names a thing, by its tags.
pub(super) fn is_key(table: &GovernedTable, name: &str) -> bool {
    let column = table.columns.iter().find(|column| column.name == name);
    column.is_some_and(|column| column.tags.iter().any(|tag| tag.starts_with("key.")))
}

/// A value of the type, of those that a column of this name can have.
pub(super) fn value(world: &World, name: &str, data_type: &DataType, is_key: bool, random: &mut StdRng) -> ScalarValue {
    match data_type {
        DataType::Utf8 => ScalarValue::Utf8(world.texts(name, is_key).choose(random).cloned()),
        DataType::Int32 => ScalarValue::Int32(Some(random.random_range(0..4))),
        DataType::Int64 => ScalarValue::Int64(Some(random.random_range(-2..9))),
        DataType::Float64 => ScalarValue::Float64([0.5, 1.0, 2.25, -1.0, 37.5, 120.0].choose(random).copied()),
        DataType::Boolean => ScalarValue::Boolean(Some(random.random_bool(0.6))),
        DataType::Date32 => ScalarValue::Date32(Some(random.random_range(-18_000..19_000) / 97 * 97)),
        DataType::Decimal128(precision, scale) => {
            ScalarValue::Decimal128(Some(random.random_range(-3..12) * 125), *precision, *scale)
        }
        DataType::Timestamp(_, zone) => {
            let days =
                [-1_500, -800, -400, -95, -40, -20, -9, -2, -1, 1, 3, 12, 60].choose(random).copied().unwrap_or(0);
            let time = World::now().timestamp_micros() + days * DAY + random.random_range(0..4) * 3_600_000_000;
            ScalarValue::TimestampMicrosecond(Some(time), zone.clone())
        }
        DataType::Binary => ScalarValue::Binary([vec![], vec![7], b"{\"id\":1}".to_vec()].choose(random).cloned()),
        DataType::List(element) => {
            let items = random.random_range(0..3);
            let items: Vec<ScalarValue> =
                (0..items).map(|_| value(world, name, element.data_type(), is_key, random)).collect();
            let list = ScalarValue::new_list_nullable(&items, element.data_type());
            cast_scalar(&ScalarValue::List(list), data_type)
        }
        DataType::Struct(fields) => {
            let inside =
                |field: &Arc<Field>, random: &mut StdRng| value(world, field.name(), field.data_type(), false, random);
            let built = fields.iter().fold(ScalarStructBuilder::new(), |builder, field| {
                let value = inside(field, random);
                builder.with_scalar(Arc::clone(field), value)
            });
            built.build().unwrap()
        }
        other => panic!("no values of type {other} are made yet"),
    }
}

fn cast_scalar(value: &ScalarValue, to: &DataType) -> ScalarValue {
    let array = cast(&value.to_array().unwrap(), to).unwrap();
    ScalarValue::try_from_array(&array, 0).unwrap()
}

/// The rows as a batch of the contract's columns.
pub(super) fn batch(table: &GovernedTable, rows: &[Row]) -> RecordBatch {
    let schema = table.schema();
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(at, field)| match rows {
            [] => datafusion::arrow::array::new_empty_array(field.data_type()),
            rows => {
                let array = ScalarValue::iter_to_array(rows.iter().map(|row| row[at].clone())).unwrap();
                if array.data_type() == field.data_type() { array } else { cast(&array, field.data_type()).unwrap() }
            }
        })
        .collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

/// The same in the types in which tables are read, with the number of each row in a column besides.
pub(super) fn numbered(table: &GovernedTable, rows: &[Row], number: &str) -> RecordBatch {
    let plain = batch(table, rows);
    let schema = reading_schema(&plain.schema());
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    let mut columns: Vec<ArrayRef> =
        plain.columns().iter().zip(&fields).map(|(column, field)| cast(column, field.data_type()).unwrap()).collect();
    fields.push(Arc::new(Field::new(number, DataType::Int64, false)));
    columns.push(Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Writes the rows as tables of a lake, each in two commits.
pub(super) async fn write(world: &World, rows: &Rows, folder: &std::path::Path) -> Lake {
    std::fs::create_dir_all(folder).unwrap();
    let lakehouse: Arc<Lakehouse> = Arc::clone(&world.lakehouse);
    let lake = Lake::open(&StorageConfig::local(folder).unwrap(), lakehouse).await.unwrap();
    for table in &world.tables {
        let rows = &rows[&table.name];
        let (first, second) = rows.split_at(rows.len() / 2);
        for part in [first, second] {
            if !part.is_empty() {
                lake.commit(&table.name, change(world, table, part)).await.unwrap();
            }
        }
        // What was known before the commits is fresh enough for a while.
        lake.fresh_snapshot(&table.name).await.unwrap();
    }
    lake
}

fn change(world: &World, table: &GovernedTable, rows: &[Row]) -> Change {
    let plain = batch(table, rows);
    let count = plain.num_rows();
    let progress = Vec::new();
    if world.mode(table) == Mode::Append {
        return Change::Append { rows: vec![plain], progress };
    }
    let mut columns: Vec<(String, ArrayRef, bool)> = Vec::new();
    for (field, column) in plain.schema().fields().iter().zip(plain.columns()) {
        columns.push((field.name().clone(), Arc::clone(column), true));
    }
    for name in ["_lw_version", "_lw_time", "_lw_offset"] {
        columns.push((name.into(), Arc::new(Int64Array::from_iter_values(0..count as i64)), true));
    }
    columns.push(("_lw_deleted".into(), Arc::new(BooleanArray::from(vec![false; count])), true));
    if world.mode(table) == Mode::Corrected {
        columns.push(("_lw_corrected".into(), Arc::new(BooleanArray::from(vec![false; count])), true));
    }
    let rows = vec![RecordBatch::try_from_iter_with_nullable(columns).unwrap()];
    match world.lakehouse.table(&table.name) {
        Some(contract) if contract.mode == Mode::Upsert => {
            Change::Upsert { rows, key: contract.event_key().to_vec(), progress }
        }
        _ => Change::Correct { rows, progress },
    }
}

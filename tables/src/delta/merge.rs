//! Upsert: the newest event of a key is its row.
//!
//! A row is newer by (version, time, epoch, offset), compared in this order; a missing version is older than any.
//! Deleted keys keep a marker, without which a late older event would bring the row back. Markers are kept for good.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array, new_null_array};
use arrow::compute::{cast, interleave_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};

use super::layout::{Layout, reading_type};
use crate::{DELETED_COLUMN, ENGINE_PREFIX, EPOCH_COLUMN, OFFSET_COLUMN, TIME_COLUMN, TablesError, VERSION_COLUMN};

/// Position of a row among events of its key.
type Order = (i64, i64, i64, i64);

/// Brings a writer's batch to the physical schema of the table: columns by name, the engine's missing ones as NULL. Texts
/// and bytes may come as views; where rows are compared, all have the declared types afterwards.
pub(crate) fn to_physical(layout: &Layout, batch: &RecordBatch) -> Result<RecordBatch, TablesError> {
    let schema_error = |message: String| TablesError::Schema { table: layout.name.clone(), message };
    for field in batch.schema_ref().fields() {
        if layout.physical.column_with_name(field.name()).is_none() {
            return Err(schema_error(format!("rows have a column '{}' that the table has not", field.name())));
        }
    }
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(layout.physical.fields().len());
    for field in layout.physical.fields() {
        let name = field.name().as_str();
        let column = match batch.column_by_name(name) {
            Some(column) if name == DELETED_COLUMN => live_as_null(column).map_err(schema_error)?,
            Some(column) if column.data_type() == field.data_type() => column.clone(),
            Some(column) if *column.data_type() == reading_type(field.data_type()) => match layout.key {
                None => column.clone(),
                Some(_) => cast(column, field.data_type()).map_err(|error| schema_error(error.to_string()))?,
            },
            // Lists differ in the name of their element, structs in nullability: same bytes, other labels.
            Some(column) if field.data_type().is_nested() => cast(column, field.data_type()).map_err(|_| {
                schema_error(format!("column '{name}' is {}, not {}", column.data_type(), field.data_type()))
            })?,
            Some(column) => {
                let (given, wanted) = (column.data_type(), field.data_type());
                return Err(schema_error(format!("column '{name}' is {given}, not {wanted}")));
            }
            None if name.starts_with(ENGINE_PREFIX) && (layout.key.is_none() || name == EPOCH_COLUMN) => {
                new_null_array(field.data_type(), batch.num_rows())
            }
            None => return Err(schema_error(format!("rows lack the column '{name}'"))),
        };
        columns.push(column);
    }
    let given = layout.physical.fields().iter().zip(&columns);
    let fields = given.map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<Field>>())), columns)
        .map_err(|source| TablesError::Arrow { table: layout.name.clone(), source })
}

/// Live rows carry NULL, so that the log's null count tells how many of a file's rows are live.
fn live_as_null(column: &ArrayRef) -> Result<ArrayRef, String> {
    let given = column
        .as_boolean_opt()
        .ok_or_else(|| format!("column '{DELETED_COLUMN}' is {}, not Boolean", column.data_type()))?;
    Ok(Arc::new(given.iter().map(|deleted| deleted.filter(|d| *d)).collect::<BooleanArray>()))
}

/// Splits rows by the bucket of their key.
pub(crate) fn by_bucket(
    layout: &Layout,
    key: &[String],
    buckets: i32,
    batches: &[RecordBatch],
) -> Result<BTreeMap<i32, Vec<RecordBatch>>, TablesError> {
    let arrow = |source| TablesError::Arrow { table: layout.name.clone(), source };
    let mut split: BTreeMap<i32, Vec<RecordBatch>> = BTreeMap::new();
    for batch in batches {
        let mut indices: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        for (row, hash) in hashes(layout, key, batch)?.into_iter().enumerate() {
            indices.entry((hash % buckets as u64) as i32).or_default().push(row as u32);
        }
        for (bucket, rows) in indices {
            let taken = arrow::compute::take_record_batch(batch, &UInt32Array::from(rows)).map_err(arrow)?;
            split.entry(bucket).or_default().push(taken);
        }
    }
    Ok(split)
}

/// FNV-1a over the keys as text: it must stay the same for as long as a table lives, in every process and version.
fn hashes(layout: &Layout, key: &[String], batch: &RecordBatch) -> Result<Vec<u64>, TablesError> {
    let mut hashes = vec![0xcbf2_9ce4_8422_2325_u64; batch.num_rows()];
    for name in key {
        let texts = match batch.column_by_name(name) {
            Some(column) => cast(column, &DataType::Utf8)
                .map_err(|source| TablesError::Arrow { table: layout.name.clone(), source })?,
            None => return Err(missing_key(layout, name)),
        };
        if texts.null_count() > 0 {
            let message = format!("a row has no value of '{name}', which is in its key");
            return Err(TablesError::Schema { table: layout.name.clone(), message });
        }
        for (hash, text) in hashes.iter_mut().zip(texts.as_string::<i32>()) {
            let text = text.unwrap_or_default().as_bytes();
            for byte in (text.len() as u64).to_le_bytes().iter().chain(text) {
                *hash = (*hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
    }
    Ok(hashes)
}

/// One row of each key: the newest of all batches. Of equal ones the later given wins, so that existing rows come first.
pub(crate) fn newest(
    layout: &Layout,
    key: &[String],
    batches: &[RecordBatch],
) -> Result<Vec<RecordBatch>, TablesError> {
    let arrow = |source| TablesError::Arrow { table: layout.name.clone(), source };
    let fields = key
        .iter()
        .map(|name| match layout.physical.field_with_name(name) {
            Ok(field) => Ok(SortField::new(field.data_type().clone())),
            Err(_) => Err(missing_key(layout, name)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let converter = RowConverter::new(fields).map_err(arrow)?;
    let mut newest: HashMap<Box<[u8]>, (Order, usize, usize)> = HashMap::new();
    for (at, batch) in batches.iter().enumerate() {
        let columns = key
            .iter()
            .map(|name| batch.column_by_name(name).cloned().ok_or_else(|| missing_key(layout, name)))
            .collect::<Result<Vec<_>, _>>()?;
        let rows = converter.convert_columns(&columns).map_err(arrow)?;
        let orders = orders(batch);
        for (row, order) in orders.into_iter().enumerate() {
            match newest.entry(rows.row(row).as_ref().into()) {
                std::collections::hash_map::Entry::Occupied(mut entry) => {
                    if order.cmp(&entry.get().0) != Ordering::Less {
                        entry.insert((order, at, row));
                    }
                }
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert((order, at, row));
                }
            }
        }
    }
    if newest.is_empty() {
        return Ok(Vec::new());
    }
    let mut winners: Vec<(usize, usize)> = newest.into_values().map(|(_, batch, row)| (batch, row)).collect();
    winners.sort_unstable();
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    winners.chunks(64 * 1024).map(|chunk| interleave_record_batch(&batches, chunk).map_err(arrow)).collect()
}

fn orders(batch: &RecordBatch) -> Vec<Order> {
    let column = |name: &str| batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
    let value = |column: Option<&Int64Array>, row: usize, absent: i64| match column {
        Some(column) if column.is_valid(row) => column.value(row),
        _ => absent,
    };
    let (version, time) = (column(VERSION_COLUMN), column(TIME_COLUMN));
    let (epoch, offset) = (column(EPOCH_COLUMN), column(OFFSET_COLUMN));
    (0..batch.num_rows())
        .map(|row| {
            (
                value(version, row, i64::MIN),
                value(time, row, i64::MIN),
                value(epoch, row, 0),
                value(offset, row, i64::MIN),
            )
        })
        .collect()
}

fn missing_key(layout: &Layout, name: &str) -> TablesError {
    let message = format!("key column '{name}' is not a column of the rows");
    TablesError::Schema { table: layout.name.clone(), message }
}

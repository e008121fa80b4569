//! Keys of events: hashes to look for, exact bytes to compare, and the order among the events of one key.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};

use super::layout::Layout;
use crate::{EPOCH_COLUMN, OFFSET_COLUMN, TIME_COLUMN, TablesError, VERSION_COLUMN};

/// Place of an event among those of its key: version, time, epoch, offset. A missing version is older than any.
pub(crate) type Order = (i64, i64, i64, i64);

/// FNV-1a over the keys as text: it must stay the same for as long as a table lives, in every process and version.
pub(crate) fn hashes(layout: &Layout, key: &[String], batch: &RecordBatch) -> Result<Vec<u64>, TablesError> {
    complete(layout, key, batch)?;
    let mut hashes = vec![0xcbf2_9ce4_8422_2325_u64; batch.num_rows()];
    for name in key {
        let column = batch.column_by_name(name).ok_or_else(|| missing_key(layout, name))?;
        match column.data_type() {
            DataType::Utf8View => mix(&mut hashes, column.as_string_view().iter()),
            DataType::Utf8 => mix(&mut hashes, column.as_string::<i32>().iter()),
            _ => {
                let texts = cast(column, &DataType::Utf8)
                    .map_err(|source| TablesError::Arrow { table: layout.name.clone(), source })?;
                mix(&mut hashes, texts.as_string::<i32>().iter());
            }
        }
    }
    Ok(hashes)
}

/// Whether every row has its whole key.
pub(crate) fn complete(layout: &Layout, key: &[String], batch: &RecordBatch) -> Result<(), TablesError> {
    for name in key {
        let column = batch.column_by_name(name).ok_or_else(|| missing_key(layout, name))?;
        if column.null_count() > 0 {
            let message = format!("a row has no value of '{name}', which is in its key");
            return Err(TablesError::Schema { table: layout.name.clone(), message });
        }
    }
    Ok(())
}

fn mix<'a>(hashes: &mut [u64], texts: impl Iterator<Item = Option<&'a str>>) {
    for (hash, text) in hashes.iter_mut().zip(texts) {
        let text = text.unwrap_or_default().as_bytes();
        for byte in (text.len() as u64).to_le_bytes().iter().chain(text) {
            *hash = (*hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// The place of each row's event; columns that a file does not have yet count as absent.
pub(crate) fn orders(batch: &RecordBatch) -> Vec<Order> {
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

/// Whether a row's flag is TRUE; a file that lacks the column has none.
pub(crate) fn flag(batch: &RecordBatch, column: &str) -> Option<BooleanArray> {
    batch.column_by_name(column).and_then(|c| c.as_boolean_opt()).cloned()
}

pub(crate) fn is_set(flags: &Option<BooleanArray>, row: usize) -> bool {
    flags.as_ref().is_some_and(|flags| flags.is_valid(row) && flags.value(row))
}

/// Makes the exact bytes of keys: equal when all of their columns are.
pub(crate) struct ExactKeys {
    columns: Vec<(String, DataType)>,
    converter: RowConverter,
}

impl ExactKeys {
    pub(crate) fn new(layout: &Layout, key: &[String]) -> Result<Self, TablesError> {
        let columns = key
            .iter()
            .map(|name| match layout.physical.field_with_name(name) {
                Ok(field) => Ok((name.clone(), field.data_type().clone())),
                Err(_) => Err(missing_key(layout, name)),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let fields = columns.iter().map(|(_, data_type)| SortField::new(data_type.clone())).collect();
        let converter =
            RowConverter::new(fields).map_err(|source| TablesError::Arrow { table: layout.name.clone(), source })?;
        Ok(Self { columns, converter })
    }

    /// The keys of some rows of a batch.
    pub(crate) fn of(&self, layout: &Layout, batch: &RecordBatch, rows: &[u32]) -> Result<Vec<Box<[u8]>>, TablesError> {
        let arrow = |source| TablesError::Arrow { table: layout.name.clone(), source };
        let indices = UInt32Array::from(rows.to_vec());
        let mut columns = Vec::with_capacity(self.columns.len());
        for (name, data_type) in &self.columns {
            let column = batch.column_by_name(name).ok_or_else(|| missing_key(layout, name))?;
            let taken = take(column, &indices, None).map_err(arrow)?;
            columns.push(cast(&taken, data_type).map_err(arrow)?);
        }
        let converted = self.converter.convert_columns(&columns).map_err(arrow)?;
        Ok(converted.iter().map(|row| row.as_ref().into()).collect())
    }
}

/// Keys to be looked for in files.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) hashes: HashSet<u64>,
    pub(crate) exact: HashMap<Box<[u8]>, usize>,
    /// The first column of each key as text, for the Bloom filters of files.
    pub(crate) texts: HashSet<String>,
}

impl Wanted {
    /// Adds the keys of some rows; gives the number of each row's key.
    pub(crate) fn add(
        &mut self,
        layout: &Layout,
        exact: &ExactKeys,
        batch: &RecordBatch,
        hashes: &[u64],
        rows: &[u32],
    ) -> Result<Vec<usize>, TablesError> {
        let keys = exact.of(layout, batch, rows)?;
        let mut numbers = Vec::with_capacity(rows.len());
        for (key, row) in keys.into_iter().zip(rows) {
            self.hashes.insert(hashes[*row as usize]);
            let next = self.exact.len();
            numbers.push(*self.exact.entry(key).or_insert(next));
        }
        if let Some((first, DataType::Utf8)) = exact.columns.first() {
            let column = batch.column_by_name(first).ok_or_else(|| missing_key(layout, first))?;
            let indices = UInt32Array::from(rows.to_vec());
            let arrow = |source| TablesError::Arrow { table: layout.name.clone(), source };
            let texts = cast(&take(column, &indices, None).map_err(arrow)?, &DataType::Utf8).map_err(arrow)?;
            self.texts.extend(texts.as_string::<i32>().iter().flatten().map(str::to_owned));
        }
        Ok(numbers)
    }
}

pub(crate) fn missing_key(layout: &Layout, name: &str) -> TablesError {
    let message = format!("key column '{name}' is not a column of the rows");
    TablesError::Schema { table: layout.name.clone(), message }
}

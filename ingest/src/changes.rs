//! The rows that each table gets of a batch: all of them, or those that the table lacks.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, UInt64Array, new_null_array,
};
use arrow::compute::{cast, filter_record_batch, not, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use lakeward_tables::{
    CORRECTED_COLUMN, DELETED_COLUMN, Mode, OFFSET_COLUMN, TIME_COLUMN, TableContract, Tombstone, VERSION_COLUMN,
    dead_letter_schema,
};

use crate::buffer::Ranges;
use crate::curation::{CuratedRows, Kind};
use crate::engine::Outcome;
use crate::error::IngestError;
use crate::event::text;

/// For each message whether it lies in `due`; `None` when all do.
pub(crate) fn due_rows(raw: &RecordBatch, due: &Ranges) -> Result<Option<BooleanArray>, IngestError> {
    let partitions = raw.column(raw.schema_ref().index_of("partition")?).as_primitive::<Int32Type>();
    let offsets = raw.column(raw.schema_ref().index_of("offset")?).as_primitive::<Int64Type>();
    let lies = partitions.values().iter().zip(offsets.values());
    let mask: BooleanArray = lies
        .map(|(partition, offset)| {
            Some(due.get(partition).is_some_and(|range| (range.from..range.next).contains(offset)))
        })
        .collect();
    Ok((mask.true_count() < raw.num_rows()).then_some(mask))
}

/// Rows of the raw table.
pub(crate) fn raw_rows(raw: &RecordBatch, due: &Ranges) -> Result<Vec<RecordBatch>, IngestError> {
    let rows = match due_rows(raw, due)? {
        None => raw.clone(),
        Some(mask) => filter_record_batch(raw, &mask)?,
    };
    Ok(vec![rows].into_iter().filter(|batch| batch.num_rows() > 0).collect())
}

/// Rows of the dead-letter table.
pub(crate) fn dead_rows(raw: &RecordBatch, due: &Ranges, outcome: &Outcome) -> Result<Vec<RecordBatch>, IngestError> {
    let mask = due_rows(raw, due)?;
    let is_due = |row: usize| mask.as_ref().is_none_or(|mask| mask.value(row));
    let faults: Vec<(u64, &str)> = outcome
        .faults
        .iter()
        .filter(|(row, _)| is_due(**row))
        .map(|(row, reason)| (*row as u64, reason.as_str()))
        .collect();
    if faults.is_empty() {
        return Ok(Vec::new());
    }
    let indices = UInt64Array::from_iter_values(faults.iter().map(|(row, _)| *row));
    let reasons: ArrayRef = Arc::new(StringArray::from_iter_values(faults.iter().map(|(_, reason)| *reason)));
    let mut columns = take_record_batch(raw, &indices)?.columns().to_vec();
    columns.push(reasons);
    Ok(vec![RecordBatch::try_new(dead_letter_schema(), columns)?])
}

/// How many dead letters have which code: what a reason says before its path and shape, `json.type` or `quality:<rule>`.
pub(crate) fn dead_codes(dead: &[RecordBatch]) -> Result<BTreeMap<String, u64>, IngestError> {
    let mut codes = BTreeMap::new();
    for batch in dead {
        let reasons = batch.column(batch.schema_ref().index_of("reason")?).as_string::<i32>();
        for reason in reasons.iter().flatten() {
            let code = reason.split_once(": ").map_or(reason, |(code, _)| code);
            *codes.entry(code.to_owned()).or_default() += 1;
        }
    }
    Ok(codes)
}

/// Rows of a curated table, with what the engine keeps of each event.
pub(crate) fn curated_rows(
    raw: &RecordBatch,
    due: &Ranges,
    table: &TableContract,
    rows: &CuratedRows,
    tombstones: &[usize],
) -> Result<Vec<RecordBatch>, IngestError> {
    let mask = due_rows(raw, due)?;
    let is_due = |row: usize| mask.as_ref().is_none_or(|mask| mask.value(row));
    let mut batches = Vec::with_capacity(rows.batches.len() + 1);
    for batch in &rows.batches {
        let batch = match &mask {
            None => batch.clone(),
            Some(_) => {
                let numbers = batch.column(0).as_primitive::<Int64Type>();
                let kept: BooleanArray = numbers.values().iter().map(|row| Some(is_due(*row as usize))).collect();
                filter_record_batch(batch, &kept)?
            }
        };
        if batch.num_rows() == 0 {
            continue;
        }
        let (batch, removed) = match &rows.kinds {
            Some(kinds) if table.mode == Mode::Corrected => removals(batch, kinds)?,
            _ => (batch, None),
        };
        if batch.num_rows() > 0 {
            let events = events_of(&batch);
            batches.push(with_engine_columns(raw, table, batch.columns()[1..].to_vec(), &events, rows, false)?);
        }
        if let Some(removed) = removed {
            let columns = table.columns.iter().zip(&removed.columns()[1..]).map(|(column, values)| {
                match table.event_key().contains(&column.name) {
                    true => values.clone(),
                    false => new_null_array(values.data_type(), values.len()),
                }
            });
            let (columns, events) = (columns.collect(), events_of(&removed));
            batches.push(with_engine_columns(raw, table, columns, &events, rows, true)?);
        }
    }
    if table.mode != Mode::Append && table.tombstone == Tombstone::Delete {
        let gone: Vec<u64> = tombstones.iter().filter(|row| is_due(**row)).map(|row| *row as u64).collect();
        if !gone.is_empty() {
            let events = UInt64Array::from(gone);
            let columns = marker_columns(raw, table, &events)?;
            batches.push(with_engine_columns(raw, table, columns, &events, rows, true)?);
        }
    }
    Ok(batches)
}

/// The numbers of the events that rows come from.
fn events_of(batch: &RecordBatch) -> UInt64Array {
    let numbers = batch.column(0).as_primitive::<Int64Type>();
    UInt64Array::from_iter_values(numbers.values().iter().map(|row| *row as u64))
}

/// Parts rows of events that remove from all others.
fn removals(batch: RecordBatch, kinds: &[Kind]) -> Result<(RecordBatch, Option<RecordBatch>), IngestError> {
    let numbers = batch.column(0).as_primitive::<Int64Type>();
    let removes: BooleanArray =
        numbers.values().iter().map(|row| Some(kinds[*row as usize] == Kind::Removal)).collect();
    if removes.true_count() == 0 {
        return Ok((batch, None));
    }
    let removed = filter_record_batch(&batch, &removes)?;
    Ok((filter_record_batch(&batch, &not(&removes)?)?, Some(removed)))
}

/// The contract's columns of markers: the key's column holds the message's key, all others are NULL.
fn marker_columns(
    raw: &RecordBatch,
    table: &TableContract,
    events: &UInt64Array,
) -> Result<Vec<ArrayRef>, IngestError> {
    let keys = take(raw.column(raw.schema_ref().index_of("key")?), events, None)?;
    let keys = text(&keys);
    let column = |name: &str, data_type: &DataType| -> Result<ArrayRef, IngestError> {
        match table.primary_key.as_slice() {
            [key] if key == name => Ok(cast(&keys, data_type)?),
            _ => Ok(new_null_array(data_type, events.len())),
        }
    };
    table.columns.iter().map(|c| column(&c.name, &c.data_type)).collect()
}

fn with_engine_columns(
    raw: &RecordBatch,
    table: &TableContract,
    mut columns: Vec<ArrayRef>,
    events: &UInt64Array,
    rows: &CuratedRows,
    deleted: bool,
) -> Result<RecordBatch, IngestError> {
    let declared = table.schema();
    let mut fields: Vec<Field> = declared
        .fields()
        .iter()
        .zip(&columns)
        .map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()))
        .collect();
    if table.mode == Mode::Append && table.deduplication.is_none() {
        return Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?);
    }
    let mut add = |name: &str, values: ArrayRef| {
        fields.push(Field::new(name, values.data_type().clone(), true));
        columns.push(values);
    };
    let version: Int64Array = match &rows.versions {
        Some(versions) => events.values().iter().map(|row| versions[*row as usize]).collect(),
        None => Int64Array::new_null(events.len()),
    };
    add(VERSION_COLUMN, Arc::new(version));
    add(TIME_COLUMN, Arc::new(timestamps(raw, events)?));
    add(OFFSET_COLUMN, take(raw.column(raw.schema_ref().index_of("offset")?), events, None)?);
    if table.mode == Mode::Upsert || deleted {
        add(DELETED_COLUMN, Arc::new(BooleanArray::from(vec![deleted; events.len()])));
    }
    if table.mode == Mode::Corrected && (deleted || rows.kinds.is_some()) {
        let replaces = |row: &u64| rows.kinds.as_ref().is_some_and(|kinds| kinds[*row as usize] != Kind::Plain);
        let flags = events.values().iter().map(|row| Some(deleted || replaces(row)));
        add(CORRECTED_COLUMN, Arc::new(flags.collect::<BooleanArray>()));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn timestamps(raw: &RecordBatch, events: &UInt64Array) -> Result<Int64Array, IngestError> {
    let times = take(raw.column(raw.schema_ref().index_of("timestamp")?), events, None)?;
    Ok(times.as_primitive::<TimestampMicrosecondType>().reinterpret_cast())
}

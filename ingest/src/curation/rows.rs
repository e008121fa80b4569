//! The rows that a plan gave: which of them break the contract, which are kept, and what they say of their events.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;

use super::{Kind, Plan};
use crate::decoder::Fault;
use crate::error::IngestError;

/// The number of the event that a row comes from.
pub(super) fn row_number(batch: &RecordBatch, position: usize) -> usize {
    batch.column(0).as_primitive::<Int64Type>().value(position) as usize
}

/// Adds a fault for each row that breaks the contract.
pub(super) fn check(plan: &Plan, batch: &RecordBatch, faults: &mut Vec<Fault>) {
    for (index, reason) in &plan.required {
        let column = batch.column(*index);
        if column.null_count() > 0 {
            let nulls = (0..batch.num_rows()).filter(|position| column.is_null(*position));
            faults.extend(nulls.map(|position| Fault { row: row_number(batch, position), reason: reason.clone() }));
        }
    }
    for (rule, reason) in plan.quality.iter().enumerate() {
        let kept = batch.column(plan.columns + rule).as_boolean();
        if kept.false_count() > 0 {
            let broken = (0..batch.num_rows()).filter(|position| !kept.value(*position));
            faults.extend(broken.map(|position| Fault { row: row_number(batch, position), reason: reason.clone() }));
        }
    }
}

/// `_lw_row` and the contract's columns of the events without a fault.
pub(super) fn keep(
    plan: &Plan,
    batch: RecordBatch,
    faults: &BTreeMap<usize, String>,
) -> Result<RecordBatch, IngestError> {
    let columns: Vec<usize> = (0..plan.columns).collect();
    let batch = batch.project(&columns)?;
    if faults.is_empty() {
        return Ok(batch);
    }
    let rows = batch.column(0).as_primitive::<Int64Type>();
    let kept: BooleanArray = rows.values().iter().map(|row| Some(!faults.contains_key(&(*row as usize)))).collect();
    Ok(filter_record_batch(&batch, &kept)?)
}

pub(super) fn by_row(batches: &[RecordBatch], total: usize) -> Vec<Option<i64>> {
    let mut versions = vec![None; total];
    for batch in batches {
        let known = batch.column(1).as_primitive::<Int64Type>();
        for position in 0..batch.num_rows() {
            if !known.is_null(position) {
                versions[row_number(batch, position)] = Some(known.value(position));
            }
        }
    }
    versions
}

/// None where all are plain.
pub(super) fn kinds(batches: &[RecordBatch], total: usize) -> Option<Vec<Kind>> {
    let mut kinds: Option<Vec<Kind>> = None;
    for batch in batches.iter().filter(|batch| batch.num_columns() > 2) {
        // What removes comes last, for it counts more.
        for (column, kind) in [(2, Kind::Correction), (3, Kind::Removal)] {
            let flags = batch.column(column).as_boolean();
            for position in (0..flags.len()).filter(|position| flags.is_valid(*position) && flags.value(*position)) {
                kinds.get_or_insert_with(|| vec![Kind::Plain; total])[row_number(batch, position)] = kind;
            }
        }
    }
    kinds
}

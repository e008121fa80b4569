//! Rows as data files hold them: the columns of the physical schema, in its order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_null_array};
use arrow::compute::{CastOptions, cast};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion::common::nested_struct::cast_column;
use datafusion::error::DataFusionError;

use super::layout::{Layout, reading_type};
use crate::{CORRECTED_COLUMN, DELETED_COLUMN, ENGINE_PREFIX, EPOCH_COLUMN, TablesError};

/// Brings a writer's batch to the physical schema of the table: columns by name, the engine's missing ones as NULL. Texts
/// and bytes may come, and stay, as views.
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
        let may_lack = name.starts_with(ENGINE_PREFIX) && (!layout.upsert || name == EPOCH_COLUMN);
        let column = match batch.column_by_name(name) {
            Some(column) if name == DELETED_COLUMN || name == CORRECTED_COLUMN => {
                false_as_null(name, column).map_err(schema_error)?
            }
            Some(column) if column.data_type() == field.data_type() => column.clone(),
            Some(column) if *column.data_type() == reading_type(field.data_type()) => column.clone(),
            // Lists differ in the name of their element, structs in nullability: same bytes, other labels.
            Some(column) if field.data_type().is_nested() => cast(column, field.data_type()).map_err(|_| {
                schema_error(format!("column '{name}' is {}, not {}", column.data_type(), field.data_type()))
            })?,
            Some(column) => {
                let (given, wanted) = (column.data_type(), field.data_type());
                return Err(schema_error(format!("column '{name}' is {given}, not {wanted}")));
            }
            None if may_lack => new_null_array(field.data_type(), batch.num_rows()),
            None => return Err(schema_error(format!("rows lack the column '{name}'"))),
        };
        columns.push(column);
    }
    with_columns(layout, columns)
}

/// Rows of a data file; columns that the file does not have yet are NULL.
pub(crate) fn from_file(layout: &Layout, batch: &RecordBatch) -> Result<RecordBatch, TablesError> {
    let mut columns = Vec::with_capacity(layout.physical.fields().len());
    for field in layout.physical.fields() {
        columns.push(match batch.column_by_name(layout.stored_name(field.name())) {
            None => new_null_array(field.data_type(), batch.num_rows()),
            Some(column) if column.data_type() == field.data_type() => column.clone(),
            Some(column) => of_file(column, field.data_type())
                .map_err(|source| TablesError::Arrow { table: layout.name.clone(), source })?,
        });
    }
    with_columns(layout, columns)
}

/// A column of a file that is older than its type: narrower values, structs with fewer fields. What did not fit would be an
/// error and never a NULL.
fn of_file(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    let strictly = CastOptions { safe: false, ..CastOptions::default() };
    cast_column(column, wanted, &strictly).map_err(|error| match error {
        DataFusionError::ArrowError(source, _) => *source,
        other => ArrowError::CastError(other.to_string()),
    })
}

/// Some columns of a data file, as the contract calls them.
pub(crate) fn called(layout: &Layout, batch: RecordBatch) -> Result<RecordBatch, TablesError> {
    if !layout.has_other_names() {
        return Ok(batch);
    }
    let declared = |stored: &str| {
        let mut fields = layout.physical.fields().iter();
        fields.find(|field| layout.stored_name(field.name()) == stored).map_or(stored, |field| field.name()).to_owned()
    };
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_name(declared(field.name())));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<Field>>())), batch.columns().to_vec())
        .map_err(|source| TablesError::Arrow { table: layout.name.clone(), source })
}

/// The same rows in the declared types.
pub(crate) fn as_declared(layout: &Layout, batch: &RecordBatch) -> Result<RecordBatch, TablesError> {
    let columns = layout.physical.fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| {
        if column.data_type() == field.data_type() { Ok(column.clone()) } else { cast(column, field.data_type()) }
    });
    let columns: Result<Vec<ArrayRef>, _> = columns.collect();
    with_columns(layout, columns.map_err(|source| TablesError::Arrow { table: layout.name.clone(), source })?)
}

/// The same rows with `_lw_corrected` TRUE in all of them, or NULL.
pub(crate) fn marked(layout: &Layout, batch: &RecordBatch, corrected: bool) -> Result<RecordBatch, TablesError> {
    let Some((at, _)) = layout.physical.column_with_name(CORRECTED_COLUMN) else { return Ok(batch.clone()) };
    let mut columns = batch.columns().to_vec();
    let flags: BooleanArray = std::iter::repeat_n(corrected.then_some(true), batch.num_rows()).collect();
    columns[at] = Arc::new(flags);
    with_columns(layout, columns)
}

fn with_columns(layout: &Layout, columns: Vec<ArrayRef>) -> Result<RecordBatch, TablesError> {
    let given = layout.physical.fields().iter().zip(&columns);
    let fields = given.map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<Field>>())), columns)
        .map_err(|source| TablesError::Arrow { table: layout.name.clone(), source })
}

/// NULL is what is not so: the log's null count then tells how many of a file's rows are.
fn false_as_null(name: &str, column: &ArrayRef) -> Result<ArrayRef, String> {
    let given =
        column.as_boolean_opt().ok_or_else(|| format!("column '{name}' is {}, not Boolean", column.data_type()))?;
    if given.null_count() == given.len() {
        return Ok(column.clone());
    }
    Ok(Arc::new(given.iter().map(|flag| flag.filter(|is| *is)).collect::<BooleanArray>()))
}

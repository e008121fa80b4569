//! Opening a table, and creating it where it is absent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema};
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake_core::kernel::transaction::{CommitData, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Metadata, MetadataExt, StructField, StructType};
use deltalake_core::logstore::{CommitOrBytes, LogStoreRef};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;

use super::layout::Layout;
use super::position::delta;
use crate::{ENGINE_PREFIX, TablesError};

/// Lists of a log that may have been made at a bad moment before an error is one.
const LISTS: usize = 3;

/// The newest state of the table, which is created first where it is absent. Of two creators one wins, and both get
/// the winner's table.
pub(super) async fn open_or_create(layout: &Arc<Layout>, log: &LogStoreRef) -> Result<DeltaTableState, TablesError> {
    let exists = |error| delta(&layout.name, error);
    if !log.is_delta_table_location().await.map_err(exists)? {
        let created = create(layout, log).await;
        // Whoever created it: a table in the log is what was wanted.
        if let Err(error) = created
            && !log.is_delta_table_location().await.map_err(exists)?
        {
            return Err(error);
        }
    }
    let mut state = newest(log).await.map_err(exists)?;
    while let Some(metadata) = with_engine_columns(layout, &state)? {
        let actions = vec![Action::Metadata(metadata)];
        let operation = DeltaOperation::AddColumn { fields: Vec::new() };
        let commit = CommitData::new(actions, operation, HashMap::new(), Vec::new());
        let bytes = commit.get_bytes().map_err(|error| exists(error.into()))?;
        let put = log.write_commit_entry(state.version() + 1, CommitOrBytes::LogBytes(bytes), uuid::Uuid::new_v4());
        match put.await {
            // Whoever was first may have added them.
            Ok(()) | Err(TransactionError::VersionAlreadyExists(_)) => {
                state = newest(log).await.map_err(exists)?;
            }
            Err(error) => return Err(exists(error.into())),
        }
    }
    verify(layout, &state)?;
    Ok(state)
}

/// A list of the log that is made while others commit may lack a commit and hold the next, on a local disk: then it is made
/// again.
async fn newest(log: &LogStoreRef) -> Result<DeltaTableState, DeltaTableError> {
    for _ in 0..LISTS {
        if let Ok(state) = DeltaTableState::try_new(log.as_ref(), None).await {
            return Ok(state);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    DeltaTableState::try_new(log.as_ref(), None).await
}

/// The metadata with the engine's columns that a table lacks, for it was made before they were; none where it has all. They
/// are NULL in the files that are there, which is what they mean.
fn with_engine_columns(layout: &Layout, state: &DeltaTableState) -> Result<Option<Metadata>, TablesError> {
    let arrow = |source| TablesError::Arrow { table: layout.name.clone(), source };
    let stored: Schema = state.schema().as_ref().try_into_arrow().map_err(arrow)?;
    let missing: Vec<_> = layout
        .physical
        .fields()
        .iter()
        .filter(|field| field.name().starts_with(ENGINE_PREFIX) && stored.field_with_name(field.name()).is_err())
        .collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let mut fields: Vec<StructField> = state.schema().fields().cloned().collect();
    let added = Schema::new(missing.into_iter().cloned().collect::<Vec<_>>());
    let added: StructType = (&added).try_into_kernel().map_err(arrow)?;
    fields.extend(added.fields().cloned());
    let schema = StructType::try_new(fields).map_err(|error| delta(&layout.name, error.into()))?;
    let metadata = state.metadata().clone().with_schema(&schema).map_err(|error| delta(&layout.name, error.into()))?;
    Ok(Some(metadata))
}

async fn create(layout: &Layout, log: &LogStoreRef) -> Result<(), TablesError> {
    let schema: StructType = (&layout.logged_schema())
        .try_into_kernel()
        .map_err(|source| TablesError::Arrow { table: layout.name.clone(), source })?;
    let columns: Vec<StructField> = schema.fields().cloned().collect();
    // Without retries: a retry would commit this metadata again over the winner's.
    let properties = CommitProperties::default().with_max_retries(0).with_create_checkpoint(false);
    let mut builder = CreateBuilder::new()
        .with_log_store(log.clone())
        .with_table_name(layout.name.to_string())
        .with_columns(columns)
        .with_partition_columns(layout.partition_columns())
        .with_configuration(layout.properties())
        .with_raise_if_key_not_exists(false)
        .with_save_mode(SaveMode::ErrorIfExists)
        .with_commit_properties(properties);
    if !layout.description.is_empty() {
        builder = builder.with_comment(layout.description.clone());
    }
    builder.await.map(|_| ()).map_err(|error| delta(&layout.name, error))
}

/// A table in storage must have the columns of its contract. What it has besides is left alone.
fn verify(layout: &Layout, state: &DeltaTableState) -> Result<(), TablesError> {
    let schema = state.schema();
    let stored: Schema =
        schema.as_ref().try_into_arrow().map_err(|source| TablesError::Arrow { table: layout.name.clone(), source })?;
    let wrong = |message| TablesError::Schema { table: layout.name.clone(), message };
    for field in layout.logged_schema().fields() {
        match stored.field_with_name(field.name()) {
            Err(_) => {
                return Err(wrong(format!(
                    "the contract has a column '{}' that the table in storage has not; evolving tables is not built yet",
                    field.name()
                )));
            }
            Ok(stored) if !same_type(stored.data_type(), field.data_type()) => {
                return Err(wrong(format!(
                    "column '{}' is {} in storage and {} in the contract",
                    field.name(),
                    stored.data_type(),
                    field.data_type()
                )));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Equal but for the names of list elements.
fn same_type(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(a), DataType::List(b)) => same_type(a.data_type(), b.data_type()),
        (DataType::Struct(a), DataType::Struct(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| a.name() == b.name() && same_type(a.data_type(), b.data_type()))
        }
        (a, b) => a == b,
    }
}

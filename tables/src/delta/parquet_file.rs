//! Writing and reading the Parquet files of a table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::{FieldRef, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use deltalake_core::kernel::{Action, Add};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::layout::Layout;
use super::statistics;
use crate::{BUCKET_COLUMN, TablesError};

/// Larger row groups compress better, smaller ones prune better.
const ROWS_IN_GROUP: usize = 256 * 1024;

/// A page is encoded and then compressed: of this size it stays in a core's own cache meanwhile, which took a tenth off
/// the time of ingest. Half of it again makes files 6 % larger and nothing faster.
const BYTES_IN_PAGE: usize = 512 << 10;

/// A file that lies in the store and waits for its commit.
#[derive(Debug, Clone)]
pub(crate) struct WrittenFile {
    pub(crate) add: Add,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl WrittenFile {
    pub(crate) fn action(&self) -> Action {
        Action::Add(self.add.clone())
    }
}

/// Encodes rows of the physical schema and puts them as one file into the table, in a bucket where there are buckets.
pub(crate) async fn write(
    layout: &Arc<Layout>,
    store: &Arc<dyn ObjectStore>,
    bucket: Option<i32>,
    batches: Vec<RecordBatch>,
) -> Result<WrittenFile, TablesError> {
    let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    let of = layout.clone();
    let (encoded, stats) = tokio::task::spawn_blocking(move || {
        let stats = statistics::to_json(&batches, &of.statistics, |column| of.stored_name(column));
        encode(&of, &batches).map(|encoded| (encoded, stats))
    })
    .await??;
    let file = format!("part-{}.zstd.parquet", uuid::Uuid::new_v4());
    let path = match bucket {
        Some(bucket) => Path::from_iter([format!("{BUCKET_COLUMN}={bucket}"), file]),
        None => Path::from(file),
    };
    let bytes = encoded.len() as u64;
    store
        .put(&path, PutPayload::from(encoded))
        .await
        .map_err(|source| TablesError::Storage { action: format!("writing a file of {}", layout.name), source })?;
    let partition_values: HashMap<_, _> =
        bucket.map(|bucket| (BUCKET_COLUMN.to_string(), Some(bucket.to_string()))).into_iter().collect();
    let add = Add {
        path: path.to_string(),
        partition_values,
        size: bytes as i64,
        modification_time: chrono::Utc::now().timestamp_millis(),
        data_change: true,
        stats: Some(stats),
        ..Add::default()
    };
    Ok(WrittenFile { add, rows, bytes })
}

fn encode(layout: &Layout, batches: &[RecordBatch]) -> Result<Bytes, TablesError> {
    let parquet = |source| TablesError::Parquet { table: layout.name.clone(), source };
    let mut file = Vec::new();
    let schema = layout.as_stored(&layout.physical);
    let mut writer = ArrowWriter::try_new(&mut file, schema, Some(properties(layout)?)).map_err(parquet)?;
    for batch in batches {
        writer.write(batch).map_err(parquet)?;
    }
    writer.close().map_err(parquet)?;
    Ok(file.into())
}

fn properties(layout: &Layout) -> Result<WriterProperties, TablesError> {
    let level = ZstdLevel::try_new(1).map_err(|source| TablesError::Parquet { table: layout.name.clone(), source })?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROWS_IN_GROUP))
        .set_data_page_size_limit(BYTES_IN_PAGE)
        // Bounds stand in the clear and prune nothing where rows are in no order: only contracts' prunable columns have them.
        .set_statistics_enabled(EnabledStatistics::None);
    for column in &layout.statistics {
        properties = properties
            .set_column_statistics_enabled(ColumnPath::from(layout.stored_name(column)), EnabledStatistics::Page);
    }
    // No two values are alike: a dictionary of them is built only to be thrown away.
    for column in &layout.unlike {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(layout.stored_name(column)), false);
    }
    Ok(properties.build())
}

/// Reads all rows of a file.
pub(crate) async fn read(
    layout: &Arc<Layout>,
    store: &Arc<dyn ObjectStore>,
    path: &Path,
) -> Result<Vec<RecordBatch>, TablesError> {
    let fetched = async { store.get(path).await?.bytes().await };
    let bytes = fetched
        .await
        .map_err(|source| TablesError::Storage { action: format!("reading a file of {}", layout.name), source })?;
    let of = layout.clone();
    tokio::task::spawn_blocking(move || {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .and_then(|builder| builder.with_batch_size(64 * 1024).build())
            .map_err(|source| TablesError::Parquet { table: of.name.clone(), source })?;
        let arrow = |source| TablesError::Arrow { table: of.name.clone(), source };
        reader.map(|batch| batch.and_then(|batch| as_declared(&of, &batch)).map_err(arrow)).collect()
    })
    .await?
}

/// A file's columns as the contract calls them now; NULL where the file has none.
fn as_declared(layout: &Layout, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let column = |field: &FieldRef| match batch.column_by_name(layout.stored_name(field.name())) {
        Some(column) => Arc::clone(column),
        None => new_null_array(field.data_type(), batch.num_rows()),
    };
    let columns: Vec<ArrayRef> = layout.physical.fields().iter().map(column).collect();
    let fields = layout.physical.fields().iter().zip(&columns);
    let fields = fields.map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)
}

//! Writing and reading the Parquet files of a table.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use deltalake_core::kernel::Add;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::{ArrowWriter, AsyncArrowWriter, ParquetRecordBatchStreamBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::layout::Layout;
use super::snapshot::DataFile;
use super::statistics::Gathering;
use super::stored_file::StoredFile;
use crate::{BUCKET_COLUMN, TablesError};

/// Larger row groups compress better, smaller ones prune better.
const ROWS_IN_GROUP: usize = 256 * 1024;

/// A page is encoded and then compressed: of this size it stays in a core's own cache meanwhile, which took a tenth off
/// the time of ingest. Half of it again makes files 6 % larger and nothing faster.
const BYTES_IN_PAGE: usize = 512 << 10;

/// A row of events seldom takes more bytes in a file.
const ROW_IN_FILE: usize = 128;

/// What is written piece by piece holds no more than this of a row group.
const BYTES_IN_GROUP: usize = 16 << 20;

/// Rows that are read at a time where a file is not read at once.
pub(crate) const ROWS_AT_A_TIME: usize = 8 * 1024;

/// A file that lies in the store and waits for its commit.
#[derive(Debug, Clone)]
pub(crate) struct WrittenFile {
    pub(crate) add: Add,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// Encodes rows of the physical schema and puts them as one file into the table.
pub(crate) async fn write(
    layout: &Arc<Layout>,
    store: &Arc<dyn ObjectStore>,
    batches: Vec<RecordBatch>,
) -> Result<WrittenFile, TablesError> {
    let of = layout.clone();
    let (encoded, statistics) = tokio::task::spawn_blocking(move || {
        let mut statistics = Gathering::of(&of);
        batches.iter().for_each(|batch| statistics.add(batch));
        encode(&of, &batches).map(|encoded| (encoded, statistics))
    })
    .await??;
    let (path, bytes) = (new_path(None), encoded.len() as u64);
    store.put(&path, PutPayload::from(encoded)).await.map_err(|source| writing(layout, source))?;
    Ok(written(layout, &path, None, bytes, statistics))
}

fn new_path(bucket: Option<i32>) -> Path {
    let file = format!("part-{}.zstd.parquet", uuid::Uuid::new_v4());
    match bucket {
        Some(bucket) => Path::from_iter([format!("{BUCKET_COLUMN}={bucket}"), file]),
        None => Path::from(file),
    }
}

fn written(layout: &Layout, path: &Path, bucket: Option<i32>, bytes: u64, statistics: Gathering) -> WrittenFile {
    let rows = statistics.rows();
    let add = Add {
        path: path.to_string(),
        partition_values: layout.partition_values(bucket),
        size: bytes as i64,
        modification_time: chrono::Utc::now().timestamp_millis(),
        data_change: true,
        stats: Some(statistics.to_json()),
        ..Add::default()
    };
    WrittenFile { add, rows, bytes }
}

fn writing(layout: &Layout, source: object_store::Error) -> TablesError {
    TablesError::Storage { action: format!("writing a file of {}", layout.name), source }
}

/// Rows of the physical schema as the bytes of one file.
pub(crate) fn encode(layout: &Layout, batches: &[RecordBatch]) -> Result<Bytes, TablesError> {
    let parquet = |source| TablesError::Parquet { table: layout.name.clone(), source };
    // To let it grow from nothing would copy it several times; memory that is not used is never touched.
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut file = Vec::with_capacity(rows * ROW_IN_FILE);
    let properties = Some(properties(layout, false)?);
    let schema = layout.written();
    let mut writer = ArrowWriter::try_new(&mut file, schema, properties).map_err(parquet)?;
    for batch in batches {
        writer.write(batch).map_err(parquet)?;
    }
    writer.close().map_err(parquet)?;
    Ok(file.into())
}

/// A file that is written piece by piece: what is held of it does not grow with it.
pub(crate) struct Output {
    layout: Arc<Layout>,
    path: Path,
    bucket: Option<i32>,
    most: usize,
    writer: AsyncArrowWriter<BufWriter>,
    statistics: Gathering,
}

impl Output {
    /// `side_by_side` is how many of them are written at once, and share the memory. A file that is `kept` is made for being
    /// looked into: it has Bloom filters.
    pub(crate) fn new(
        layout: &Arc<Layout>,
        store: &Arc<dyn ObjectStore>,
        bucket: Option<i32>,
        side_by_side: usize,
        kept: bool,
    ) -> Result<Self, TablesError> {
        let path = new_path(bucket);
        let writer = AsyncArrowWriter::try_new(
            BufWriter::new(store.clone(), path.clone()),
            layout.written(),
            Some(properties(layout, kept)?),
        );
        Ok(Self {
            path,
            bucket,
            most: BYTES_IN_GROUP / side_by_side.clamp(1, 4),
            writer: writer.map_err(|source| TablesError::Parquet { table: layout.name.clone(), source })?,
            statistics: Gathering::of(layout),
            layout: layout.clone(),
        })
    }

    /// The columns must be those of the physical schema, in its order.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<(), TablesError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let parquet = |source| TablesError::Parquet { table: self.layout.name.clone(), source };
        self.statistics.add(batch);
        self.writer.write(batch).await.map_err(parquet)?;
        if self.writer.in_progress_size() > self.most {
            self.writer.flush().await.map_err(parquet)?;
        }
        Ok(())
    }

    /// Bytes so far, and what is still held.
    pub(crate) fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// The file; none where it would hold no row.
    pub(crate) async fn finish(mut self) -> Result<Option<WrittenFile>, TablesError> {
        if self.statistics.rows() == 0 {
            return Ok(None);
        }
        self.writer
            .finish()
            .await
            .map_err(|source| TablesError::Parquet { table: self.layout.name.clone(), source })?;
        let bytes = self.writer.bytes_written() as u64;
        Ok(Some(written(&self.layout, &self.path, self.bucket, bytes, self.statistics)))
    }
}

fn properties(layout: &Layout, kept: bool) -> Result<WriterProperties, TablesError> {
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
    // So that a merge need not read the keys of a file that has none of its own. What is appended goes without: it is
    // compacted soon.
    if let Some(first) = layout.key.as_ref().and_then(|key| key.first()).filter(|_| kept) {
        properties = properties.set_column_bloom_filter_enabled(ColumnPath::from(layout.stored_name(first)), true);
    }
    Ok(properties.build())
}

/// Opens a file for reading piece by piece.
pub(crate) async fn open(
    layout: &Layout,
    store: &Arc<dyn ObjectStore>,
    file: &DataFile,
) -> Result<ParquetRecordBatchStreamBuilder<StoredFile>, TablesError> {
    open_with(layout, store, file, ArrowReaderOptions::new()).await
}

/// The same for who reads few pages of a file: it learns where each begins.
pub(crate) async fn open_by_pages(
    layout: &Layout,
    store: &Arc<dyn ObjectStore>,
    file: &DataFile,
) -> Result<ParquetRecordBatchStreamBuilder<StoredFile>, TablesError> {
    let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
    open_with(layout, store, file, options).await
}

async fn open_with(
    layout: &Layout,
    store: &Arc<dyn ObjectStore>,
    file: &DataFile,
    options: ArrowReaderOptions,
) -> Result<ParquetRecordBatchStreamBuilder<StoredFile>, TablesError> {
    let (store, path, size) = (store.clone(), Path::from(file.path.as_str()), file.meta.size);
    let opened = ParquetRecordBatchStreamBuilder::new_with_options(StoredFile { store, path, size }, options).await;
    Ok(opened.map_err(|source| parquet_error(layout, source))?.with_batch_size(ROWS_AT_A_TIME))
}

/// A failed read of the store comes wrapped in an error of the Parquet reader: it is told as what it is.
pub(crate) fn parquet_error(layout: &Layout, error: parquet::errors::ParquetError) -> TablesError {
    match error {
        parquet::errors::ParquetError::External(source) => match source.downcast::<object_store::Error>() {
            Ok(source) => {
                TablesError::Storage { action: format!("reading a file of {}", layout.name), source: *source }
            }
            Err(other) => TablesError::Parquet {
                table: layout.name.clone(),
                source: parquet::errors::ParquetError::External(other),
            },
        },
        source => TablesError::Parquet { table: layout.name.clone(), source },
    }
}

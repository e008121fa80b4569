//! A snapshot as DataFusion reads it: its list of files under DataFusion's own Parquet source.
//!
//! Tables written here have no deletion vectors, so the files can be read as they are, at the speed of bare DataFusion
//! and with its pruning. Only a table that holds markers has a filter above, and only a table whose columns files
//! call otherwise (column mapping) has their names changed.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column as Named, DFSchema, Result, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::{Column, IsNullExpr};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use object_store::ObjectStore;

use super::layout::Layout;
use super::snapshot::DataFile;
use crate::{DELETED_COLUMN, TableName};

/// The live rows of one snapshot.
#[derive(Debug)]
pub(crate) struct SnapshotProvider {
    layout: Arc<Layout>,
    files: Arc<Vec<Arc<DataFile>>>,
    /// The contract's columns, as they are read.
    schema: SchemaRef,
    /// Over the schema that is read.
    statistics: Statistics,
    /// Whether some file holds markers.
    markers: bool,
    store: Arc<dyn ObjectStore>,
    store_url: ObjectStoreUrl,
}

impl SnapshotProvider {
    pub(crate) fn new(
        layout: Arc<Layout>,
        files: Arc<Vec<Arc<DataFile>>>,
        store: Arc<dyn ObjectStore>,
        store_url: ObjectStoreUrl,
    ) -> Self {
        let mut statistics = Statistics::try_merge_iter(files.iter().map(|f| f.statistics.as_ref()), &layout.reading)
            .unwrap_or_else(|_| Statistics::new_unknown(&layout.reading));
        if files.is_empty() {
            statistics.num_rows = Precision::Exact(0);
        }
        let markers = files.iter().any(|file| file.live < file.rows || file.unsure);
        let columns = layout.contract.fields().len();
        let schema = Arc::new(Schema::new(layout.reading.fields().iter().take(columns).cloned().collect::<Vec<_>>()));
        Self { layout, files, schema, statistics, markers, store, store_url }
    }

    pub(crate) fn name(&self) -> &TableName {
        &self.layout.name
    }

    fn parquet(
        &self,
        state: &dyn Session,
        projection: Vec<usize>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let runtime = state.runtime_env();
        runtime.register_object_store(self.store_url.as_ref(), self.store.clone());
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let metadata_size_hint = options.global.metadata_size_hint;
        let readers =
            CachedParquetFileReaderFactory::new(self.store.clone(), runtime.cache_manager.get_file_metadata_cache());
        let in_files = self.layout.as_stored(&self.layout.reading);
        let mut source = ParquetSource::new(TableSchema::from(in_files.clone()))
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        if let Some(hint) = metadata_size_hint {
            source = source.with_metadata_size_hint(hint);
        }
        if let Some(filter) = conjunction(filters.to_vec()) {
            let filter = self.as_stored(filter)?;
            let schema = DFSchema::try_from(in_files)?;
            source = source.with_predicate(state.create_physical_expr(filter, &schema)?);
        }
        let files = self
            .files
            .iter()
            .map(|file| PartitionedFile::new_from_meta(file.meta.clone()).with_statistics(file.statistics.clone()))
            .collect();
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(self.store_url.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(self.statistics.clone())
            .with_projection_indices(Some(projection.clone()))?
            .with_limit(limit)
            .build();
        let scan = DataSourceExec::from_data_source(config);
        if !self.layout.has_other_names() {
            return Ok(scan);
        }
        let columns = projection.iter().enumerate().map(|(at, column)| {
            let name = self.layout.reading.field(*column).name();
            (Arc::new(Column::new(self.layout.stored_name(name), at)) as Arc<dyn PhysicalExpr>, name.clone())
        });
        Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), scan)?))
    }

    /// A filter with the names that files have for the columns.
    fn as_stored(&self, filter: Expr) -> Result<Expr> {
        let renamed = filter.transform(|expression| {
            Ok(match expression {
                Expr::Column(column) => {
                    Transformed::yes(Expr::Column(Named::new_unqualified(self.layout.stored_name(&column.name))))
                }
                other => Transformed::no(other),
            })
        });
        Ok(renamed?.data)
    }
}

#[async_trait]
impl TableProvider for SnapshotProvider {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        let mut statistics = self.statistics.clone();
        statistics.column_statistics.truncate(self.schema.fields().len());
        Some(if self.markers { statistics.to_inexact() } else { statistics })
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // The contract's columns come first in what is read: their indices are the same.
        let wanted = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        if self.files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&wanted)?))));
        }
        if !self.markers {
            return self.parquet(state, wanted, filters, limit);
        }
        let mut with_marker = wanted.clone();
        with_marker.push(self.layout.reading.index_of(DELETED_COLUMN)?);
        let scan = self.parquet(state, with_marker, filters, None)?;
        let live = Arc::new(IsNullExpr::new(Arc::new(Column::new(DELETED_COLUMN, wanted.len()))));
        let filtered: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(live, scan)?);
        let columns = wanted.iter().enumerate().map(|(at, column)| {
            let name = self.schema.field(*column).name().clone();
            (Arc::new(Column::new(&name, at)) as Arc<dyn PhysicalExpr>, name)
        });
        Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), filtered)?))
    }
}

//! A plan with one column more, which stands last or was there already.
//!
//! Only what is known to hand its rows on as they are is widened: a scan of Parquet files, filters, projections, and what
//! changes nothing but the place or the pace of batches.

use std::sync::Arc;

use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan, PhysicalExpr};

/// The name of the column where it is added; no column of a contract may be called so.
const ADDED: &str = "_lw_subject";

type Widened = (Arc<dyn ExecutionPlan>, usize);

/// The plan with the stored column of this index in it, and where it stands.
pub(super) fn widened(plan: &Arc<dyn ExecutionPlan>, stored: usize) -> Option<Widened> {
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
        return scanned(plan, scan, stored);
    }
    if plan.is::<EmptyExec>() {
        // No row, nobody.
        return Some((Arc::clone(plan), 0));
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let (input, at) = widened(projection.input(), stored)?;
        let mut columns: Vec<ProjectionExpr> = projection.expr().to_vec();
        let found = position(&columns, at).unwrap_or_else(|| {
            columns.push(ProjectionExpr::new(Arc::new(Column::new(input.schema().field(at).name(), at)), ADDED));
            columns.len() - 1
        });
        return Some((Arc::new(ProjectionExec::try_new(columns, input).ok()?), found));
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let (input, at) = widened(filter.input(), stored)?;
        // Its rows come before what it leaves out is made up for: one that is cut off cannot be widened.
        let mut projection: Option<Vec<usize>> = filter.projection().as_ref().map(|columns| columns.to_vec());
        let found = match &mut projection {
            None => at,
            Some(columns) => columns.iter().position(|column| *column == at).unwrap_or_else(|| {
                columns.push(at);
                columns.len() - 1
            }),
        };
        let builder = FilterExecBuilder::from(filter).with_input(input);
        let filter = builder.apply_projection(None).ok()?.apply_projection(projection).ok()?.build().ok()?;
        return Some((Arc::new(filter), found));
    }
    let hands_on = plan.is::<CooperativeExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<GlobalLimitExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<RepartitionExec>();
    let [input] = plan.children()[..] else { return None };
    if !hands_on {
        return None;
    }
    let (input, at) = widened(input, stored)?;
    let anew = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Some((Arc::clone(plan).replace_children(vec![input], anew).ok()?, at))
}

/// Where a projection gives this column of its input as it is.
fn position(columns: &[ProjectionExpr], at: usize) -> Option<usize> {
    columns.iter().position(|column| column.expr.downcast_ref::<Column>().is_some_and(|column| column.index() == at))
}

fn scanned(plan: &Arc<dyn ExecutionPlan>, scan: &DataSourceExec, stored: usize) -> Option<Widened> {
    let config = scan.data_source().downcast_ref::<FileScanConfig>()?;
    let source = config.file_source().downcast_ref::<ParquetSource>()?;
    let mut columns: Vec<ProjectionExpr> = source.projection()?.iter().cloned().collect();
    if let Some(at) = position(&columns, stored) {
        return Some((Arc::clone(plan), at));
    }
    // A scan in the order of a sort keeps that to itself: made anew it would have another one.
    if shown(source).contains("sort_order") {
        return None;
    }
    let schema = source.table_schema().table_schema();
    let subject: Arc<dyn PhysicalExpr> = Arc::new(Column::new(schema.fields().get(stored)?.name(), stored));
    columns.push(ProjectionExpr::new(subject, ADDED));
    let at = columns.len() - 1;
    let mut anew = ParquetSource::new(source.table_schema().clone())
        .with_table_parquet_options(source.table_parquet_options().clone())
        .with_parquet_file_reader_factory(Arc::clone(source.parquet_file_reader_factory()?));
    if let Some(filter) = source.filter() {
        anew = anew.with_predicate(filter);
    }
    let anew = anew.try_pushdown_projection(&ProjectionExprs::new(columns)).ok()??;
    let config = FileScanConfigBuilder::from(config.clone()).with_source(anew).build();
    Some((DataSourceExec::from_data_source(config), at))
}

fn shown(source: &ParquetSource) -> String {
    struct Shown<'a>(&'a ParquetSource);
    impl std::fmt::Display for Shown<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.fmt_extra(DisplayFormatType::Default, f)
        }
    }
    Shown(source).to_string()
}

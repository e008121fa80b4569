//! The plan node between the governed rows and the statement.
//!
//! In its *opaque* form the node is a leaf: nothing of the plan below can be seen or changed by the optimizer or by
//! EXPLAIN, and nothing of the statement's gets below. There are no statistics, no orderings, no constants, no limits and no
//! filters across it, and its number of partitions is that of the session, whatever the files are. In its
//! *transparent* form, for a table that is shown whole and clear, everything crosses; the node is only there to be seen
//! by the verifier.

use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, CardinalityEffect, EmissionType, ReplaceChildrenOptions, reset_plan_states,
};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sort_pushdown::SortOrderPushdownResult;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, EmptyRecordBatchStream, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties,
};
use futures::StreamExt;

use crate::holes::{Hole, is_open};
use crate::translate;
use crate::witness::Watch;

/// What a barrier stands for: which table, under which policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seal {
    /// Name of the table, with its schema.
    pub table: String,
    /// Digest of everything that decided what is shown.
    pub policy: String,
    /// Whether all of the table is shown as it is stored. If not, EXPLAIN shows nothing of the files even where the
    /// barrier is transparent: their sizes tell of the other columns.
    pub whole: bool,
}

/// The barrier; see the module. Only the governed catalog makes one.
#[derive(Debug)]
pub(crate) struct SecurityBarrierExec {
    seal: Seal,
    inner: Arc<dyn ExecutionPlan>,
    transparent: bool,
    /// Partitions, whatever the plan below has; the last ones may be empty.
    even: Option<usize>,
    /// Who is told whose rows leave; what is read for it besides is made when it first runs.
    watch: Option<Watch>,
    besides: OnceLock<Option<(Arc<dyn ExecutionPlan>, usize)>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SecurityBarrierExec {
    /// A leaf that hides the plan below. The plan's columns are those of the schema, in order; for a schema without
    /// columns it may have any.
    pub(crate) fn opaque(
        seal: Seal,
        schema: SchemaRef,
        inner: Arc<dyn ExecutionPlan>,
        partitions: usize,
    ) -> Result<Self> {
        let partitions = partitions.max(1);
        // The number of files must not show.
        let of_files = inner.output_partitioning().partition_count();
        let partitions = if is_open(Hole::PartitionsOfFiles) { of_files } else { partitions };
        let inner = if of_files == partitions {
            inner
        } else {
            Arc::new(RepartitionExec::try_new(inner, Partitioning::RoundRobinBatch(partitions))?)
        };
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Ok(Self::made(seal, inner, false, None, properties))
    }

    /// A node through which everything can be seen. The schema has the types of the plan's.
    pub(crate) fn transparent(seal: Seal, schema: SchemaRef, inner: Arc<dyn ExecutionPlan>) -> Result<Self> {
        Self::through(seal, schema, inner, None)
    }

    /// Transparent for what is read, while nothing tells of the other columns of the same files: the plan above is the
    /// same whatever their size.
    pub(crate) fn even(
        seal: Seal,
        schema: SchemaRef,
        inner: Arc<dyn ExecutionPlan>,
        partitions: usize,
        config: &ConfigOptions,
    ) -> Result<Self> {
        let inner = inner.repartitioned(partitions, config)?.unwrap_or(inner);
        Self::through(seal, schema, inner, Some(partitions))
    }

    fn through(seal: Seal, schema: SchemaRef, inner: Arc<dyn ExecutionPlan>, even: Option<usize>) -> Result<Self> {
        let below = inner.properties();
        let equivalences = below.equivalence_properties().clone().with_new_schema(schema)?;
        let mut properties = PlanProperties::clone(below).with_eq_properties(equivalences);
        if let Some(partitions) = even {
            let partitions = partitions.max(below.output_partitioning().partition_count());
            properties = properties.with_partitioning(Partitioning::UnknownPartitioning(partitions));
        }
        Ok(Self::made(seal, inner, true, even, Arc::new(properties)))
    }

    fn made(
        seal: Seal,
        inner: Arc<dyn ExecutionPlan>,
        transparent: bool,
        even: Option<usize>,
        properties: Arc<PlanProperties>,
    ) -> Self {
        let (watch, besides, metrics) = (None, OnceLock::new(), ExecutionPlanMetricsSet::new());
        Self { seal, inner, transparent, even, watch, besides, properties, metrics }
    }

    /// The same, telling whose rows leave it. Below an opaque one the subject must stand after the columns of the schema.
    pub(crate) fn watched(self, watch: Option<Watch>) -> Self {
        Self { watch, ..self }
    }

    /// What runs below, and which of its columns is the subject's.
    fn running(&self) -> (&Arc<dyn ExecutionPlan>, Option<usize>) {
        let Some(watch) = &self.watch else { return (&self.inner, None) };
        let columns = self.schema().fields().len();
        if columns == 0 {
            // A row without a cell tells of nobody in particular.
            watch.witness.all();
            return (&self.inner, None);
        }
        if !self.transparent {
            return (&self.inner, Some(columns));
        }
        match self.besides.get_or_init(|| watch.besides(&self.inner)) {
            Some((besides, subject)) => (besides, Some(*subject)),
            None => (&self.inner, None),
        }
    }

    /// What the barrier stands for.
    pub(crate) fn seal(&self) -> &Seal {
        &self.seal
    }

    /// The plan below, for a test that opens a hole.
    pub(crate) fn below(&self) -> &Arc<dyn ExecutionPlan> {
        &self.inner
    }

    /// Whether the plan below can be seen.
    pub(crate) fn is_transparent(&self) -> bool {
        self.transparent
    }

    fn above(&self, inner: Arc<dyn ExecutionPlan>) -> Result<Self> {
        Ok(Self::through(self.seal.clone(), self.schema(), inner, self.even)?.watched(self.watch.clone()))
    }
}

impl DisplayAs for SecurityBarrierExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seal { table, policy, .. } = &self.seal;
        match format {
            DisplayFormatType::TreeRender => write!(f, "table={table}\npolicy={policy}"),
            _ => write!(f, "SecurityBarrier: table={table}, policy={policy}"),
        }
    }
}

impl ExecutionPlan for SecurityBarrierExec {
    fn name(&self) -> &str {
        "SecurityBarrierExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        if self.transparent { vec![&self.inner] } else { vec![] }
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (self.transparent, children.pop(), children.is_empty()) {
            (true, Some(inner), true) => Ok(Arc::new(self.above(inner)?)),
            (false, None, _) => Ok(self),
            _ => internal_err!("a barrier cannot take these children"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        // Whoever resets a plan walks its children and cannot find a hidden one. A visible one was reset before.
        let inner =
            if self.transparent { Arc::clone(&self.inner) } else { reset_plan_states(Arc::clone(&self.inner))? };
        let anew = Self::made(self.seal.clone(), inner, self.transparent, self.even, Arc::clone(&self.properties));
        Ok(Arc::new(anew.watched(self.watch.clone())))
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true; self.children().len()]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.children().len()]
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        config: &ConfigOptions,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if !self.transparent || self.even.is_some() {
            return Ok(None);
        }
        match self.inner.repartitioned(target_partitions, config)? {
            Some(inner) => Ok(Some(Arc::new(self.above(inner)?))),
            None => Ok(None),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let schema = self.schema();
        let hides = !self.transparent;
        let conceal = move |error: DataFusionError| match hides {
            true => DataFusionError::External(Box::new(translate::below_barrier(&error))),
            false => error,
        };
        if partition >= self.inner.output_partitioning().partition_count() {
            return Ok(Box::pin(EmptyRecordBatchStream::new(schema)));
        }
        let (inner, subject) = self.running();
        let mut watcher = subject.and(self.watch.as_ref()).map(Watch::watcher);
        let inner = inner.execute(partition, context).map_err(conceal)?;
        let batches = {
            let schema = Arc::clone(&schema);
            inner.map(move |batch| {
                let batch = batch.map_err(conceal)?;
                if let (Some(watcher), Some(subject)) = (&mut watcher, subject) {
                    watcher.look(batch.column(subject));
                }
                let batch = governed_batch(batch, &schema).map_err(conceal)?;
                metrics.record_output(batch.num_rows());
                Ok(batch)
            })
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        let below = self.inner.output_partitioning().partition_count();
        let is_there = partition.is_none_or(|partition| partition < below);
        if self.transparent && is_there { vec![ChildStats::At(partition)] } else { vec![] }
    }

    fn statistics_from_inputs(
        &self,
        input_stats: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        match input_stats {
            [below] if self.transparent && self.even.is_none() => Ok(Arc::clone(below)),
            // Bytes may be those of whole files.
            [below] if self.transparent => {
                Ok(Arc::new(Statistics { total_byte_size: Precision::Absent, ..Statistics::clone(below) }))
            }
            _ if is_open(Hole::StatisticsThrough) => StatisticsContext::new().compute(self.inner.as_ref(), args),
            _ => Ok(Arc::new(Statistics::new_unknown(&self.schema()))),
        }
    }

    fn supports_limit_pushdown(&self) -> bool {
        self.transparent
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        if !self.transparent {
            return None;
        }
        let inner = self.inner.with_fetch(limit)?;
        Some(Arc::new(self.above(inner).ok()?))
    }

    fn fetch(&self) -> Option<usize> {
        if self.transparent { self.inner.fetch() } else { None }
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        if self.transparent { CardinalityEffect::Equal } else { CardinalityEffect::Unknown }
    }

    fn try_swapping_with_projection(&self, projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if !self.transparent {
            return Ok(None);
        }
        let Some(inner) = self.inner.try_swapping_with_projection(projection)? else { return Ok(None) };
        let same_types = inner.schema().fields().iter().map(|field| field.data_type()).eq(projection
            .schema()
            .fields()
            .iter()
            .map(|field| field.data_type()));
        if !same_types {
            return Ok(None);
        }
        let swapped = Self::through(self.seal.clone(), projection.schema(), inner, self.even)?;
        Ok(Some(Arc::new(swapped.watched(self.watch.clone()))))
    }

    fn gather_filters_for_pushdown(
        &self,
        _phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        if self.transparent {
            FilterDescription::from_children(parent_filters, &self.children())
        } else {
            Ok(FilterDescription::all_unsupported(&parent_filters, &self.children()))
        }
    }

    fn handle_child_pushdown_result(
        &self,
        _phase: FilterPushdownPhase,
        child_pushdown_result: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(match self.transparent {
            true => FilterPushdownPropagation::if_all(child_pushdown_result),
            false => FilterPushdownPropagation::all_unsupported(child_pushdown_result),
        })
    }

    fn try_pushdown_sort(&self, order: &[PhysicalSortExpr]) -> Result<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        if !self.transparent {
            return Ok(SortOrderPushdownResult::Unsupported);
        }
        let above = |inner| -> Result<Arc<dyn ExecutionPlan>> { Ok(Arc::new(self.above(inner)?)) };
        Ok(match self.inner.try_pushdown_sort(order)? {
            SortOrderPushdownResult::Exact { inner } => SortOrderPushdownResult::Exact { inner: above(inner)? },
            SortOrderPushdownResult::Inexact { inner } => SortOrderPushdownResult::Inexact { inner: above(inner)? },
            SortOrderPushdownResult::Unsupported => SortOrderPushdownResult::Unsupported,
        })
    }
}

/// The batch under the governed schema: nullable, with levels, in the contract's types.
fn governed_batch(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                Ok(cast(column, field.data_type())?)
            }
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

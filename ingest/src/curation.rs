//! The curated SELECTs of one topic, run over decoded events.
//!
//! Each SELECT is planned once: `_lw_row`, the contract's columns cast to the contract's types, and one boolean for each
//! quality rule over those columns. Events are given some at a time, soon after they were decoded: to a plan that goes on
//! ([`crate::running`]), or where it cannot, each part of a batch by itself. An event for which a SELECT fails, a required
//! column is NULL or a quality rule is not TRUE gives no row in any table, but a dead letter. SELECTs look at one event at a
//! time: a batch may be cut anywhere.

mod planning;
mod rows;
mod sparing;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::datasource::MemTable;
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::Optimizer;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use lakeward_tables::{Expression, Problem, QualityRule};
use tokio::sync::OnceCell;

use crate::codes;
use crate::decoder::{CHUNK_ROWS, Fault};
use crate::error::IngestError;
use crate::event::{EVENT, EventTable};
use crate::fhir;
use crate::running::{Running, Stopped, can_go_on};
use rows::{by_row, check, keep, kinds, row_number};
use sparing::Noted;

/// Events of a part that is taken by itself: to start a plan is dear.
const PART_ROWS: usize = 4 * CHUNK_ROWS;

/// A curated table, as far as its rows are concerned.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// As in `curated.patients`.
    pub(crate) table: String,
    /// The SELECT for this topic.
    pub(crate) sql: String,
    /// Where the SELECT stands.
    pub(crate) file: PathBuf,
    /// Where the contract stands.
    pub(crate) contract: PathBuf,
    /// The contract's columns.
    pub(crate) schema: SchemaRef,
    /// Names of columns that may not be NULL.
    pub(crate) required: Vec<String>,
    /// What must be TRUE of every row.
    pub(crate) quality: Vec<QualityRule>,
    /// SQL over `event` for the source's own version of a thing.
    pub(crate) version: Option<String>,
    /// SQL over `event`: whether it replaces those before it.
    pub(crate) correction: Option<Expression>,
    /// SQL over `event`: whether it takes its row away.
    pub(crate) removed: Option<Expression>,
}

/// What an event does to those before it of its key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing, unless the key was corrected before.
    #[default]
    Plain,
    /// It replaces them.
    Correction,
    /// It takes them away.
    Removal,
}

/// The rows that one batch of events gives one table.
#[derive(Debug)]
pub(crate) struct CuratedRows {
    /// `_lw_row`, then the contract's columns.
    pub(crate) batches: Vec<RecordBatch>,
    /// The source's version by event number, where the contract has one.
    pub(crate) versions: Option<Vec<Option<i64>>>,
    /// By event number; where the contract tells corrections apart and there is one.
    pub(crate) kinds: Option<Vec<Kind>>,
}

/// All SELECTs of one topic.
pub(crate) struct Curation {
    state: SessionState,
    events: Arc<EventTable>,
    plans: Vec<Plan>,
    /// The events that a plan failed for, while it runs.
    noted: Noted,
}

struct Plan {
    table: String,
    columns: usize,
    select: Query,
    required: Vec<(usize, String)>,
    quality: Vec<String>,
    version: Option<Query>,
}

/// A query over `event`.
struct Query {
    logical: LogicalPlan,
    /// Made when it is first asked; never run itself, only copies are.
    physical: OnceCell<Arc<dyn ExecutionPlan>>,
}

impl Query {
    fn new(logical: LogicalPlan) -> Self {
        Query { logical, physical: OnceCell::new() }
    }
}

/// What the SELECTs gave so far of one batch of messages.
pub(crate) struct Gathered {
    /// As many as there are SELECTs, in their order.
    tables: Vec<GatheredRows>,
    /// Events of the next part, where each is taken by itself.
    part: Vec<RecordBatch>,
}

#[derive(Default)]
struct GatheredRows {
    /// None where each part of the batch is taken by itself.
    going: Option<Going>,
    rows: Vec<RecordBatch>,
    versions: Vec<RecordBatch>,
}

/// The queries of a table, as they go on over a batch.
struct Going {
    select: Running,
    version: Option<Running>,
}

impl Curation {
    /// Plans every SELECT; gives what does not fit in any of them.
    pub(crate) async fn plan(
        events: Arc<EventTable>,
        reference: &BTreeMap<String, RecordBatch>,
        selections: &[Selection],
    ) -> Result<Result<Self, Vec<Problem>>, IngestError> {
        // A batch is small and the two cores have other topics to do: one partition, no exchange. A filter hands on what
        // it was given at once: to wait for more would copy it, and take memory for the most that might come.
        let mut config =
            SessionConfig::new().with_target_partitions(1).with_batch_size(CHUNK_ROWS).with_information_schema(false);
        config.options_mut().sql_parser.collect_spans = true;
        // A filter stays where its author put it: pushed below a projection it would copy nested payloads.
        let mut rules = Optimizer::new().rules;
        rules.retain(|rule| rule.name() != "push_down_filter");
        let state =
            SessionStateBuilder::new().with_config(config).with_default_features().with_optimizer_rules(rules).build();
        let context = SessionContext::new_with_state(state);
        context.register_table(EVENT, Arc::clone(&events) as _).map_err(|e| IngestError::plan(EVENT, e))?;
        for (name, rows) in reference {
            let table =
                MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).map_err(|e| IngestError::plan(name, e))?;
            context.register_table(name.as_str(), Arc::new(table)).map_err(|e| IngestError::plan(name, e))?;
        }
        for function in fhir::functions().into_iter().chain(codes::functions(reference)) {
            context.register_udf(function.as_ref().clone());
        }
        let (mut plans, mut misfits) = (Vec::with_capacity(selections.len()), Vec::new());
        for selection in selections {
            match planning::plan(&context, selection).await {
                Ok(plan) => plans.push(plan),
                Err(found) => misfits.extend(found),
            }
        }
        if !misfits.is_empty() {
            return Ok(Err(misfits));
        }
        events.only_these_are_read(planning::columns_read(&plans)?);
        Ok(Ok(Curation { state: context.state(), events, plans, noted: Noted::default() }))
    }

    /// For a new batch of messages, of which each part is taken by itself.
    pub(crate) fn gather(&self) -> Gathered {
        Gathered { tables: self.plans.iter().map(|_| GatheredRows::default()).collect(), part: Vec::new() }
    }

    /// For a new batch of messages, over which the plans go on; nothing where one cannot.
    pub(crate) async fn go_on(&self) -> Option<Gathered> {
        self.events.begin();
        let context = self.state.task_ctx();
        let mut tables = Vec::with_capacity(self.plans.len());
        for plan in &self.plans {
            let select = self.start(&plan.select, &context).await?;
            let version = match &plan.version {
                Some(version) => Some(self.start(version, &context).await?),
                None => None,
            };
            tables.push(GatheredRows { going: Some(Going { select, version }), ..GatheredRows::default() });
        }
        Some(Gathered { tables, part: Vec::new() })
    }

    async fn start(&self, query: &Query, context: &Arc<TaskContext>) -> Option<Running> {
        let physical = self.physical(query).await.ok()?;
        if can_go_on(physical) { Running::start(physical, context).ok() } else { None }
    }

    /// Gives every SELECT some events of a batch. Faults of all of them are added to `faults`.
    pub(crate) async fn take(
        &self,
        gathered: &mut Gathered,
        mut events: Vec<RecordBatch>,
        faults: &mut BTreeMap<usize, String>,
    ) -> Result<(), Stopped> {
        if gathered.tables.iter().all(|table| table.going.is_none()) {
            gathered.part.append(&mut events);
            if gathered.part.iter().map(RecordBatch::num_rows).sum::<usize>() >= PART_ROWS {
                self.take_part(gathered, faults).await;
            }
            return Ok(());
        }
        self.events.put(events);
        for (plan, gathered) in self.plans.iter().zip(&mut gathered.tables) {
            if let Some(going) = &mut gathered.going {
                self.noted.take();
                let (rows, versions) = going.rows().await?;
                add(self.failed(&plan.table), faults);
                gathered.add(plan, rows, versions, faults);
            }
        }
        Ok(())
    }

    /// There are no more events in the batch: takes what is left of them, and what plans have kept. To be called before
    /// [`Curation::take_tombstones`] and [`Curation::finish`].
    pub(crate) async fn end(
        &self,
        gathered: &mut Gathered,
        faults: &mut BTreeMap<usize, String>,
    ) -> Result<(), Stopped> {
        self.take_part(gathered, faults).await;
        self.events.end();
        for (plan, gathered) in self.plans.iter().zip(&mut gathered.tables) {
            if let Some(going) = gathered.going.take() {
                self.noted.take();
                let (rows, versions) = going.rest().await?;
                add(self.failed(&plan.table), faults);
                gathered.add(plan, rows, versions, faults);
            }
        }
        Ok(())
    }

    async fn take_part(&self, gathered: &mut Gathered, faults: &mut BTreeMap<usize, String>) {
        let events = std::mem::take(&mut gathered.part);
        if events.is_empty() {
            return;
        }
        for (plan, gathered) in self.plans.iter().zip(&mut gathered.tables) {
            let mut found = Vec::new();
            let (rows, versions) = self.apart(plan, &events, &mut found).await;
            add(found, faults);
            gathered.add(plan, rows, versions, faults);
        }
    }

    /// Runs the queries of a table over some events by themselves.
    async fn apart(
        &self,
        plan: &Plan,
        events: &[RecordBatch],
        found: &mut Vec<Fault>,
    ) -> (Vec<RecordBatch>, Vec<RecordBatch>) {
        let rows = self.isolate(&plan.select, events, &plan.table, found).await;
        let versions = match &plan.version {
            Some(version) => self.isolate(version, events, &plan.table, found).await,
            None => Vec::new(),
        };
        (rows, versions)
    }

    /// Messages without payload are only asked for their version.
    pub(crate) async fn take_tombstones(
        &self,
        gathered: &mut Gathered,
        tombstones: RecordBatch,
        faults: &mut BTreeMap<usize, String>,
    ) {
        for (plan, gathered) in self.plans.iter().zip(&mut gathered.tables) {
            let Some(version) = &plan.version else { continue };
            let mut found = Vec::new();
            let marks = std::slice::from_ref(&tombstones);
            gathered.versions.extend(self.isolate(version, marks, &plan.table, &mut found).await);
            add(found, faults);
        }
    }

    /// The rows of a batch of so many messages, in the order of the selections. No event in `faults` keeps one anywhere.
    pub(crate) fn finish(
        &self,
        gathered: Gathered,
        messages: usize,
        faults: &BTreeMap<usize, String>,
    ) -> Result<Vec<CuratedRows>, IngestError> {
        // What was put last is not kept until the next batch.
        self.events.begin();
        let tables = self.plans.iter().zip(gathered.tables);
        tables
            .map(|(plan, gathered)| {
                let rows = gathered.rows.into_iter().map(|batch| keep(plan, batch, faults));
                let versions = plan.version.as_ref().map(|_| by_row(&gathered.versions, messages));
                let kinds = kinds(&gathered.versions, messages);
                Ok(CuratedRows { batches: rows.collect::<Result<_, _>>()?, versions, kinds })
            })
            .collect()
    }

    /// Runs a query; when it fails as a whole, halves the events until those for which it fails stand alone.
    async fn isolate(
        &self,
        query: &Query,
        events: &[RecordBatch],
        table: &str,
        faults: &mut Vec<Fault>,
    ) -> Vec<RecordBatch> {
        let mut results = Vec::new();
        let mut due = vec![events.to_vec()];
        while let Some(part) = due.pop() {
            let rows: usize = part.iter().map(RecordBatch::num_rows).sum();
            if rows == 0 {
                continue;
            }
            self.noted.take();
            match self.select(query, part.clone()).await {
                Ok(batches) => {
                    results.extend(batches);
                    faults.extend(self.failed(table));
                }
                // The error's text may quote a value, so it goes nowhere.
                Err(_) if rows == 1 => {
                    let numbers = part.iter().filter(|batch| batch.num_rows() == 1);
                    faults
                        .extend(numbers.map(|batch| Fault { row: row_number(batch, 0), reason: select_fault(table) }));
                }
                Err(_) => {
                    let (left, right) = halves(part, rows / 2);
                    due.push(right);
                    due.push(left);
                }
            }
        }
        results
    }

    async fn physical<'a>(&self, query: &'a Query) -> datafusion::error::Result<&'a Arc<dyn ExecutionPlan>> {
        let plan = || async {
            let plan = self.state.query_planner().create_physical_plan(&query.logical, &self.state).await?;
            sparing::sparing(plan, &self.noted)
        };
        query.physical.get_or_try_init(plan).await
    }

    /// The events that the last plan of a table failed for.
    fn failed(&self, table: &str) -> Vec<Fault> {
        let fault = |row| Fault { row: row as usize, reason: select_fault(table) };
        self.noted.take().into_iter().map(fault).collect()
    }

    async fn select(&self, query: &Query, events: Vec<RecordBatch>) -> datafusion::error::Result<Vec<RecordBatch>> {
        let physical = reset_plan_states(Arc::clone(self.physical(query).await?))?;
        self.events.begin();
        self.events.put(events);
        self.events.end();
        // One part of the plan after the other, on this thread: in tasks of their own the events would be looked at by
        // another core, which has nothing of them in its caches.
        let mut rows = Vec::new();
        for partition in 0..physical.output_partitioning().partition_count() {
            let mut batches = physical.execute(partition, self.state.task_ctx())?;
            while let Some(batch) = batches.try_next().await? {
                rows.push(batch);
            }
        }
        Ok(rows)
    }
}

impl Going {
    async fn rows(&mut self) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), Stopped> {
        let rows = self.select.rows().await?;
        let versions = match &mut self.version {
            Some(version) => version.rows().await?,
            None => Vec::new(),
        };
        Ok((rows, versions))
    }

    async fn rest(self) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), Stopped> {
        let rows = self.select.rest().await?;
        let versions = match self.version {
            Some(version) => version.rest().await?,
            None => Vec::new(),
        };
        Ok((rows, versions))
    }
}

impl GatheredRows {
    fn add(
        &mut self,
        plan: &Plan,
        rows: Vec<RecordBatch>,
        versions: Vec<RecordBatch>,
        faults: &mut BTreeMap<usize, String>,
    ) {
        let mut found = Vec::new();
        rows.iter().for_each(|batch| check(plan, batch, &mut found));
        add(found, faults);
        self.rows.extend(rows);
        self.versions.extend(versions);
    }
}

fn add(found: Vec<Fault>, faults: &mut BTreeMap<usize, String>) {
    for fault in found {
        faults.entry(fault.row).or_insert(fault.reason);
    }
}

fn select_fault(table: &str) -> String {
    format!("select:{table}")
}

fn halves(part: Vec<RecordBatch>, middle: usize) -> (Vec<RecordBatch>, Vec<RecordBatch>) {
    let (mut left, mut right, mut before) = (Vec::new(), Vec::new(), 0);
    for batch in part {
        let rows = batch.num_rows();
        let cut = middle.saturating_sub(before).min(rows);
        if cut > 0 {
            left.push(batch.slice(0, cut));
        }
        if cut < rows {
            right.push(batch.slice(cut, rows - cut));
        }
        before += rows;
    }
    (left, right)
}

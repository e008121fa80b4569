//! The curated SELECTs of one topic, run over decoded events.
//!
//! Each SELECT is planned once: `_lw_row`, the contract's columns cast to the contract's types, and one boolean for each
//! quality rule over those columns. Events are given some at a time, soon after they were decoded. An event for which a
//! SELECT fails, a required column is NULL or a quality rule is not TRUE gives no row in any table, but a dead letter.
//! SELECTs look at one event at a time: a batch may be cut anywhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use datafusion::common::Column;
use datafusion::datasource::MemTable;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::optimizer::Optimizer;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use futures::TryStreamExt;
use lakeward_tables::{Expression, Problem, QualityRule, reading_type};
use tokio::sync::OnceCell;

use crate::codes;
use crate::decoder::{CHUNK_ROWS, Fault};
use crate::error::{IngestError, misfit, planned};
use crate::event::{EventTable, ROW};
use crate::fhir;
use crate::nested;

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
}

#[derive(Default)]
struct GatheredRows {
    rows: Vec<RecordBatch>,
    versions: Vec<RecordBatch>,
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
        context.register_table("event", Arc::clone(&events) as _).map_err(|e| IngestError::plan("event", e))?;
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
            match plan(&context, selection).await {
                Ok(plan) => plans.push(plan),
                Err(found) => misfits.extend(found),
            }
        }
        if !misfits.is_empty() {
            return Ok(Err(misfits));
        }
        Ok(Ok(Curation { state: context.state(), events, plans }))
    }

    /// For a new batch of messages.
    pub(crate) fn gather(&self) -> Gathered {
        Gathered { tables: self.plans.iter().map(|_| GatheredRows::default()).collect() }
    }

    /// Runs every SELECT over some events of a batch. Faults of all of them are added to `faults`.
    pub(crate) async fn take(
        &self,
        gathered: &mut Gathered,
        events: &[RecordBatch],
        faults: &mut BTreeMap<usize, String>,
    ) {
        for (plan, gathered) in self.plans.iter().zip(&mut gathered.tables) {
            let mut found = Vec::new();
            let rows = self.isolate(&plan.select, events, &plan.table, &mut found).await;
            for batch in &rows {
                check(plan, batch, &mut found);
            }
            gathered.rows.extend(rows);
            if let Some(version) = &plan.version {
                gathered.versions.extend(self.isolate(version, events, &plan.table, &mut found).await);
            }
            add(found, faults);
        }
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
        self.events.put(Vec::new());
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

    /// Runs a query; when it fails, halves the events until those for which it fails stand alone.
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
            match self.select(query, part.clone()).await {
                Ok(batches) => results.extend(batches),
                // The error's text may quote a value, so it goes nowhere.
                Err(_) if rows == 1 => {
                    let numbers = part.iter().filter(|batch| batch.num_rows() == 1);
                    faults.extend(
                        numbers.map(|batch| Fault { row: row_number(batch, 0), reason: format!("select:{table}") }),
                    );
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

    async fn select(&self, query: &Query, events: Vec<RecordBatch>) -> datafusion::error::Result<Vec<RecordBatch>> {
        let plan = || self.state.query_planner().create_physical_plan(&query.logical, &self.state);
        let physical = reset_plan_states(Arc::clone(query.physical.get_or_try_init(plan).await?))?;
        self.events.put(events);
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

fn add(found: Vec<Fault>, faults: &mut BTreeMap<usize, String>) {
    for fault in found {
        faults.entry(fault.row).or_insert(fault.reason);
    }
}

async fn plan(context: &SessionContext, selection: &Selection) -> Result<Plan, Vec<Problem>> {
    let in_select = |error| vec![planned(&selection.file, &error)];
    let only_select = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = context.sql_with_options(&selection.sql, only_select).await.map_err(in_select)?;
    let (_, select) = frame.into_parts();
    let select = nested::by_columns(select).map_err(in_select)?;
    let typed = LogicalPlanBuilder::from(select.clone())
        .project(columns(&select, selection)?)
        .and_then(LogicalPlanBuilder::build)
        .map_err(in_select)?;

    let mut checked: Vec<Expr> = typed.schema().columns().into_iter().map(Expr::Column).collect();
    checked.extend(rules(context, &typed, selection)?);
    let checked =
        LogicalPlanBuilder::from(typed).project(checked).and_then(LogicalPlanBuilder::build).map_err(in_select)?;

    let version = about_event(context, selection, only_select).await?;
    let required = selection.required.iter().filter_map(|name| {
        let index = selection.schema.index_of(name).ok()?;
        Some((index + 1, format!("required:{name}")))
    });
    Ok(Plan {
        table: selection.table.clone(),
        columns: selection.schema.fields().len() + 1,
        select: Query::new(context.state().optimize(&checked).map_err(in_select)?),
        required: required.collect(),
        quality: selection.quality.iter().map(|rule| format!("quality:{}", rule.name)).collect(),
        version,
    })
}

/// What is asked of an event besides its rows: its version, whether it is a correction, whether it removes.
async fn about_event(
    context: &SessionContext,
    selection: &Selection,
    only_select: SQLOptions,
) -> Result<Option<Query>, Vec<Problem>> {
    let asked = [
        (0, selection.version.as_deref(), "BIGINT", "version"),
        (line(&selection.correction), selection.correction.as_deref(), "BOOLEAN", "correction"),
        (line(&selection.removed), selection.removed.as_deref(), "BOOLEAN", "removed"),
    ];
    if asked.iter().all(|(_, sql, ..)| sql.is_none()) {
        return Ok(None);
    }
    let in_contract = |line, error| vec![Problem { line, ..planned(&selection.contract, &error) }];
    let mut columns = Vec::new();
    for (line, sql, data_type, name) in asked {
        let column = format!("CAST(({}) AS {data_type}) AS {name}", sql.unwrap_or("NULL"));
        if sql.is_some() {
            // Each by itself, so that a mistake has the line of what is wrong.
            let alone = format!("SELECT {column} FROM event");
            context.sql_with_options(&alone, only_select).await.map_err(|error| in_contract(line, error))?;
        }
        columns.push(column);
    }
    if selection.correction.is_none() && selection.removed.is_none() {
        columns.truncate(1);
    }
    let sql = format!("SELECT {ROW}, {} FROM event", columns.join(", "));
    let frame = context.sql_with_options(&sql, only_select).await.map_err(|error| in_contract(0, error))?;
    let (state, plan) = frame.into_parts();
    Ok(Some(Query::new(state.optimize(&plan).map_err(|error| in_contract(0, error))?)))
}

fn line(expression: &Option<Expression>) -> usize {
    expression.as_ref().map_or(0, |expression| expression.line)
}

/// `_lw_row` and the contract's columns, cast where the SELECT gives neither the declared type nor the one it is read in.
fn columns(select: &LogicalPlan, selection: &Selection) -> Result<Vec<Expr>, Vec<Problem>> {
    let (schema, mut misfits) = (select.schema(), Vec::new());
    let mut complain = |message: String| misfits.push(misfit(&selection.file, 1, message));
    let row = Arc::new(Field::new(ROW, DataType::Int64, false));
    let mut columns = Vec::with_capacity(selection.schema.fields().len() + 1);
    for declared in std::iter::once(&row).chain(selection.schema.fields()) {
        let name = declared.name();
        let Some((qualifier, field)) = schema.iter().find(|(_, field)| field.name() == name) else {
            complain(format!("the SELECT does not give the column {name}"));
            continue;
        };
        let (found, wanted) = (Expr::Column(Column::from((qualifier, field))), declared.data_type());
        let given = field.data_type();
        let fits = given == wanted || *given == reading_type(wanted);
        columns.push(if fits { found.alias(name) } else { cast(found, wanted.clone()).alias(name) });
    }
    for field in schema.fields() {
        if field.name() != ROW && selection.schema.index_of(field.name()).is_err() {
            complain(format!("the SELECT gives the column {}, which {} has not", field.name(), selection.table));
        }
    }
    if misfits.is_empty() { Ok(columns) } else { Err(misfits) }
}

/// One boolean for each quality rule.
fn rules(context: &SessionContext, typed: &LogicalPlan, selection: &Selection) -> Result<Vec<Expr>, Vec<Problem>> {
    let state = context.state();
    let (mut rules, mut misfits) = (Vec::new(), Vec::new());
    for (number, rule) in selection.quality.iter().enumerate() {
        match state.create_logical_expr(&rule.predicate, typed.schema()) {
            Ok(predicate) => rules.push(predicate.is_true().alias(format!("_lw_quality_{number}"))),
            Err(error) => {
                misfits.push(Problem { line: rule.line, ..planned(&selection.contract, &error) });
            }
        }
    }
    if misfits.is_empty() { Ok(rules) } else { Err(misfits) }
}

fn row_number(batch: &RecordBatch, position: usize) -> usize {
    batch.column(0).as_primitive::<Int64Type>().value(position) as usize
}

/// Adds a fault for each row that breaks the contract.
fn check(plan: &Plan, batch: &RecordBatch, faults: &mut Vec<Fault>) {
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
fn keep(plan: &Plan, batch: RecordBatch, faults: &BTreeMap<usize, String>) -> Result<RecordBatch, IngestError> {
    let columns: Vec<usize> = (0..plan.columns).collect();
    let batch = batch.project(&columns)?;
    if faults.is_empty() {
        return Ok(batch);
    }
    let rows = batch.column(0).as_primitive::<Int64Type>();
    let kept: BooleanArray = rows.values().iter().map(|row| Some(!faults.contains_key(&(*row as usize)))).collect();
    Ok(filter_record_batch(&batch, &kept)?)
}

fn by_row(batches: &[RecordBatch], total: usize) -> Vec<Option<i64>> {
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
fn kinds(batches: &[RecordBatch], total: usize) -> Option<Vec<Kind>> {
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

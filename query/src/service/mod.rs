//! The one service every protocol asks.

mod about;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, ParamValues};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use datafusion::sql::resolve::resolve_table_references;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use lakeward_iam::{Policies, Principal};
use lakeward_tables::{GovernedTable, Lake, Lakehouse, TableName};
use parking_lot::Mutex;

use crate::answer::{Limits, answer_schema, schema_without_views};
use crate::audit::{Accesses, Kind, Outcome, Subjects};
use crate::catalog::{GovernedCatalog, Tables};
use crate::explain;
use crate::gate::{self, Question};
use crate::governed::{GovernedProvider, Predicates, Rows, TableSnapshot, TableSnapshots, View};
use crate::holes::{Hole, is_open};
use crate::ledger::{self, Ledger};
use crate::levels::levels_of;
use crate::masks::MaskContext;
use crate::session::{CATALOG, DEFAULT_SCHEMA, Sessions};
use crate::translate;
use crate::verifier::{self, Expected};
use crate::witness::Reads;
use crate::workers::Workers;
use crate::{
    Answer, Audit, ErrorCode, Masks, Prepared, PseudonymKeys, QueryConfig, QueryError, QueryMetrics, RequestContext,
};

/// Answers statements, each for its own principal. Cheap to clone.
#[derive(Clone)]
pub struct QueryService {
    inner: Arc<Inner>,
}

struct Inner {
    snapshots: Arc<dyn TableSnapshots>,
    tables: BTreeMap<TableName, Declared>,
    policies: Arc<Policies>,
    masks: Masks,
    keys: PseudonymKeys,
    config: QueryConfig,
    engine: Result<Engine, QueryError>,
    audit: Arc<dyn Audit>,
    metrics: QueryMetrics,
    /// Views by principal; policies and contracts do not change while the service lives.
    views: Mutex<HashMap<String, Views>>,
    /// Who saw whose rows; none where the tables are from anywhere.
    accesses: Option<Accesses>,
}

struct Engine {
    sessions: Sessions,
    workers: Workers,
}

struct Declared {
    table: Arc<GovernedTable>,
    predicates: Predicates,
}

type Views = Arc<BTreeMap<TableName, Arc<View>>>;

/// Principals whose views are kept.
const KEPT_VIEWS: usize = 1024;

/// A statement that was planned, with what it needs to run.
struct Planned {
    state: SessionState,
    plan: LogicalPlan,
    expected: Expected,
}

impl QueryService {
    /// A service over the tables of one lake.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        lake: Lake,
        lakehouse: Arc<Lakehouse>,
        policies: Arc<Policies>,
        masks: Masks,
        keys: PseudonymKeys,
        config: QueryConfig,
        audit: Arc<dyn Audit>,
        metrics: QueryMetrics,
    ) -> Self {
        let tables = lakehouse.governed_tables();
        let accesses = Accesses::new(lake.clone(), Subjects::of(&tables));
        let inner = Inner::new(Arc::new(lake), tables, policies, masks, keys, config, audit, metrics);
        Self { inner: Arc::new(Inner { accesses: Some(accesses), ..inner }) }
    }

    /// A service over tables from anywhere.
    #[allow(clippy::too_many_arguments)]
    pub fn over(
        snapshots: Arc<dyn TableSnapshots>,
        tables: Vec<GovernedTable>,
        policies: Arc<Policies>,
        masks: Masks,
        keys: PseudonymKeys,
        config: QueryConfig,
        audit: Arc<dyn Audit>,
        metrics: QueryMetrics,
    ) -> Self {
        Self { inner: Arc::new(Inner::new(snapshots, tables, policies, masks, keys, config, audit, metrics)) }
    }

    /// The configuration, for protocols that tell its limits.
    pub fn config(&self) -> &QueryConfig {
        &self.inner.config
    }

    /// Parses, governs and plans a statement, without running it. `$1` … are its parameters.
    pub async fn plan(&self, context: &RequestContext, sql: &str) -> Result<Prepared, QueryError> {
        let deadline = self.inner.limits(context).deadline;
        let (started, audit) = (Instant::now(), Arc::clone(&self.inner.audit));
        let record = ledger::record(audit.as_ref(), Kind::Described, context, Some(sql));
        let (inner, context, sql) = (Arc::clone(&self.inner), context.clone(), sql.to_owned());
        let planned = self.inner.engine()?.workers.run(deadline, async move { inner.prepare(&context, &sql).await });
        ledger::keep(audit.as_ref(), record, started, planned.await).await
    }

    /// Runs a statement. It is planned anew under the policies and snapshots of this moment.
    pub async fn execute(
        &self,
        context: &RequestContext,
        sql: &str,
        parameters: Option<ParamValues>,
    ) -> Result<Answer, QueryError> {
        let inner = &self.inner;
        let reads = Arc::new(Reads::default());
        let mut ledger =
            Ledger::open(Arc::clone(&inner.audit), inner.metrics.clone(), context, sql, Arc::clone(&reads));
        let limits = inner.limits(context);
        let started = {
            let (inner, context, sql) = (Arc::clone(inner), context.clone(), sql.to_owned());
            async move { inner.start(&context, &sql, parameters, reads).await }
        };
        let workers = &inner.engine()?.workers;
        match workers.run(limits.deadline, started).await {
            Ok((schema, parts)) => {
                let kept = ledger.start();
                // It computes while the record is written; nothing leaves before.
                let answer = Answer::start(schema, parts, limits, ledger, workers)?;
                kept.await?;
                Ok(answer)
            }
            Err(error) => {
                ledger.finish(Outcome::Failed(error.code)).await?;
                Err(error)
            }
        }
    }
}

/// Columns of a statement that runs, and the batches of each part of its plan; rows in an order come from one part.
type Started = (SchemaRef, Vec<BoxStream<'static, Result<RecordBatch, DataFusionError>>>);

impl Engine {
    fn new(config: &QueryConfig) -> Result<Self, DataFusionError> {
        Ok(Self { sessions: Sessions::new(config)?, workers: Workers::start(config.target_partitions)? })
    }
}

impl Inner {
    #[allow(clippy::too_many_arguments)]
    fn new(
        snapshots: Arc<dyn TableSnapshots>,
        tables: Vec<GovernedTable>,
        policies: Arc<Policies>,
        masks: Masks,
        keys: PseudonymKeys,
        config: QueryConfig,
        audit: Arc<dyn Audit>,
        metrics: QueryMetrics,
    ) -> Self {
        let engine = Engine::new(&config).map_err(|error| {
            tracing::error!(%error, "the engine cannot be set up");
            QueryError::internal()
        });
        let tables = tables
            .into_iter()
            .map(|table| {
                let predicates = Predicates::of(&table);
                (table.name.clone(), Declared { table: Arc::new(table), predicates })
            })
            .collect();
        let views = Mutex::default();
        Self { snapshots, tables, policies, masks, keys, config, engine, audit, metrics, views, accesses: None }
    }

    fn engine(&self) -> Result<&Engine, QueryError> {
        self.engine.as_ref().map_err(Clone::clone)
    }

    fn limits(&self, context: &RequestContext) -> Limits {
        let now = Instant::now();
        let deadline = context.deadline.min(now + self.config.time_limit);
        let rows = context.row_limit.map_or(self.config.row_limit, |rows| rows.min(self.config.row_limit));
        Limits { rows, time: deadline.saturating_duration_since(now), deadline }
    }

    async fn prepare(&self, context: &RequestContext, sql: &str) -> Result<Prepared, QueryError> {
        let question = gate::parse(sql)?;
        let planned = self.planned(context, &question, None, false, Arc::default()).await?;
        let told = |error: DataFusionError| translate::planning(&error, &question.literals);
        let types = planned.plan.get_parameter_types().map_err(told)?;
        let schema = match (question.explain, types.is_empty()) {
            (true, _) => explain::schema(),
            (false, true) => {
                let optimized = planned.state.optimize(&planned.plan).map_err(told)?;
                answer_schema(optimized.schema().as_arrow(), levels_of(&planned.plan))
            }
            (false, false) => answer_schema(planned.plan.schema().as_arrow(), levels_of(&planned.plan)),
        };
        let mut names: Vec<(String, DataType)> =
            types.into_iter().map(|(name, data_type)| (name, data_type.unwrap_or(DataType::Null))).collect();
        names.sort_by_key(|(name, _)| (name.trim_start_matches('$').parse::<usize>().ok(), name.clone()));
        let fields: Vec<Field> = names.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect();
        Ok(Prepared { schema: schema_without_views(&schema), parameters: schema_without_views(&Schema::new(fields)) })
    }

    async fn start(
        &self,
        context: &RequestContext,
        sql: &str,
        parameters: Option<ParamValues>,
        reads: Arc<Reads>,
    ) -> Result<Started, QueryError> {
        let mut question = gate::parse(sql)?;
        question.literals.extend(literals_of(parameters.as_ref()));
        let Planned { state, plan, expected } = self.planned(context, &question, parameters, true, reads).await?;
        let told = |error: DataFusionError| translate::planning(&error, &question.literals);
        let optimized = state.optimize(&plan).map_err(told)?;
        let physical = state.query_planner().create_physical_plan(&optimized, &state).await.map_err(told)?;
        verifier::verify(&physical, &expected)?;
        if question.explain {
            let batch = explain::explanation(&optimized, &physical).map_err(|_| QueryError::internal())?;
            return Ok((batch.schema(), vec![stream::iter([Ok(batch)]).boxed()]));
        }
        let schema = answer_schema(optimized.schema().as_arrow(), levels_of(&plan));
        let physical = interruptible(physical).map_err(told)?;
        let parts = execute_stream_partitioned(physical, state.task_ctx());
        let parts = parts.map_err(|error| translate::execution(&error))?;
        Ok((schema, parts.into_iter().map(StreamExt::boxed).collect()))
    }

    /// The logical plan of a question over the governed tables. Without rows, tables can only be described.
    async fn planned(
        &self,
        context: &RequestContext,
        question: &Question,
        parameters: Option<ParamValues>,
        with_rows: bool,
        reads: Arc<Reads>,
    ) -> Result<Planned, QueryError> {
        let told = |error: DataFusionError| translate::planning(&error, &question.literals);
        let sessions = &self.engine()?.sessions;
        let now = self.config.now.unwrap_or_else(Utc::now);
        let views = self.views(&context.principal);
        let named = match with_rows {
            true => named_tables(question).map_err(told)?,
            false => BTreeSet::new(),
        };
        let masks = Arc::new(MaskContext { key: self.keys.key(&context.principal.purpose), today: now.date_naive() });
        let mut newest = BTreeMap::new();
        let mut tables = Tables::new();
        let mut expected: Expected = GovernedCatalog::seals().map(|seal| (seal.table, seal.policy)).collect();
        for (name, view) in views.iter() {
            let rows = match named.contains(name) {
                true => Some(self.rows(view, &context.principal, sessions, now, &mut newest).await?),
                false => None,
            };
            expected.insert(name.to_string(), view.digest.clone());
            let provider = GovernedProvider::new(Arc::clone(view), rows, Arc::clone(&masks), Arc::clone(&reads));
            tables.entry(name.schema.clone()).or_default().insert(name.table.clone(), Arc::new(provider));
        }
        let catalog = Arc::new(GovernedCatalog::new(tables));
        let state = sessions.statement(catalog, now, &context.principal).map_err(told)?;
        let mut plan = state.statement_to_plan(question.statement.clone()).await.map_err(told)?;
        if with_rows {
            plan = match parameters {
                Some(parameters) => plan.replace_params_with_values(&parameters).map_err(told)?,
                None => plan,
            };
            if !plan.get_parameter_names().map_err(told)?.is_empty() {
                return Err(QueryError::new(ErrorCode::InvalidRequest, "a parameter of the statement has no value"));
            }
        }
        gate::check_plan(&plan)?;
        Ok(Planned { state, plan, expected })
    }

    /// Reads a table's snapshot and those of the tables that its policy looks into.
    async fn rows(
        &self,
        view: &View,
        principal: &Principal,
        sessions: &Sessions,
        now: DateTime<Utc>,
        newest: &mut BTreeMap<TableName, TableSnapshot>,
    ) -> Result<Rows, QueryError> {
        let name = &view.table.name;
        let Some(declared) = self.tables.get(name) else { return Err(QueryError::internal()) };
        let own = self.snapshots.snapshot(name, self.config.freshness).await?;
        let mut others = BTreeMap::new();
        for other in Rows::looks_into(view, &declared.predicates) {
            let snapshot = match newest.get(other) {
                Some(known) => TableSnapshot::clone(known),
                None => self.snapshots.snapshot(other, Duration::ZERO).await?,
            };
            newest.insert(other.clone(), snapshot.clone());
            others.insert(other.clone(), snapshot);
        }
        Rows::plan(view, &declared.predicates, own, &others, sessions, principal, now).await
    }

    /// The tables of a principal.
    fn views(&self, principal: &Principal) -> Views {
        let kept_for = if is_open(Hole::CachedForAll) { &principal.purpose } else { &principal.digest };
        if let Some(views) = self.views.lock().get(kept_for) {
            return Arc::clone(views);
        }
        let has_key = self.keys.key(&principal.purpose).is_some();
        let digests = [self.policies.digest(), principal.digest.as_str(), self.masks.digest()];
        let views: Views = Arc::new(
            self.tables
                .iter()
                .filter_map(|(name, declared)| {
                    let decision = self.policies.decide(principal, &name.to_string());
                    let view = View::new(&declared.table, &decision, &self.masks, has_key, &digests)?;
                    Some((name.clone(), Arc::new(view)))
                })
                .collect(),
        );
        let mut kept = self.views.lock();
        if kept.len() >= KEPT_VIEWS {
            kept.clear();
        }
        kept.insert(kept_for.clone(), Arc::clone(&views));
        views
    }
}

/// The plan with every join giving way now and then. The engine does so only where rows are read, and one batch of them
/// may keep a join busy for hours: nobody else would get a turn, and no time limit would be heard.
fn interruptible(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let gives_way = |plan: Arc<dyn ExecutionPlan>| {
        Ok(match plan.name().ends_with("JoinExec") {
            true => Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>),
            false => Transformed::no(plan),
        })
    };
    Ok(plan.transform_up(gives_way)?.data)
}

/// The tables that a question names, whether or not they exist.
fn named_tables(question: &Question) -> Result<BTreeSet<TableName>, DataFusionError> {
    let (references, _) = resolve_table_references(&question.statement, true)?;
    Ok(references
        .into_iter()
        .filter(|reference| reference.catalog().is_none_or(|catalog| catalog == CATALOG))
        .map(|reference| TableName {
            schema: reference.schema().unwrap_or(DEFAULT_SCHEMA).to_owned(),
            table: reference.table().to_owned(),
        })
        .collect())
}

fn literals_of(parameters: Option<&ParamValues>) -> Vec<String> {
    match parameters {
        Some(ParamValues::List(values)) => values.iter().map(|value| value.value().to_string()).collect(),
        Some(ParamValues::Map(values)) => values.values().map(|value| value.value().to_string()).collect(),
        None => Vec::new(),
    }
}

//! The warehouse, declared in `warehouse/`, filled, with a `QueryService` over it as `lakeward serve` makes one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use lakeward_iam::{Claims, Policies, ResourceTable};
use lakeward_query::{
    Audit, AuditConfig, AuditKey, AuditMetrics, JournalAudit, Masks, PseudonymKeys, QueryConfig, QueryMetrics,
    QueryService, RequestContext, attributes_of,
};
use lakeward_tables::{Change, GovernedTable, Lake, Lakehouse, StorageConfig, TableName};

use super::bare::Answered;
use super::question::{PRIORITY, Question};
use super::rows::Rows;
use crate::{ROOT, report_problems};

/// The warehouse's tables, as statements name them.
pub(super) const TABLES: [&str; 2] = ["orders", "lineitem"];

const SECRET: [u8; 32] = [7; 32];

/// Nobody waits so long, and nothing is cut off.
const TIME_LIMIT: Duration = Duration::from_secs(600);

#[derive(Clone)]
pub(super) struct House {
    lake: Lake,
    governed: Vec<GovernedTable>,
    masks: Masks,
    config: QueryConfig,
    service: QueryService,
    policies: Arc<Policies>,
    tables: PathBuf,
    pub(super) partitions: usize,
}

impl House {
    pub(super) async fn build(folder: &Path, orders: usize) -> anyhow::Result<Self> {
        let declared = Path::new(ROOT).join("benches/side_by_side/warehouse");
        let lakehouse = Arc::new(Lakehouse::load(&declared).map_err(|found| report_problems(&found))?);
        let governed = lakehouse.governed_tables();
        let resources: Vec<ResourceTable> = governed.iter().map(resource).collect();
        let policies =
            Policies::load(&declared.join("policies"), &resources).map_err(|found| report_problems(&found))?;
        let policies = Arc::new(policies);
        let masks = Masks::load(&declared.join("policies/masks.yaml")).map_err(|found| report_problems(&found))?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let lake = Lake::open(&StorageConfig::local(folder)?, Arc::clone(&lakehouse)).await?;
        fill(&lake, orders).await?;
        let config = QueryConfig { row_limit: usize::MAX, time_limit: TIME_LIMIT, ..QueryConfig::default() };
        let partitions = config.target_partitions;
        let service = QueryService::new(
            lake.clone(),
            lakehouse,
            Arc::clone(&policies),
            masks.clone(),
            PseudonymKeys::from_master(&SECRET)?,
            config.clone(),
            journal(&lake)?,
            QueryMetrics::register(&prometheus::Registry::new())?,
        );
        Ok(Self { lake, governed, masks, config, service, policies, tables: folder.to_owned(), partitions })
    }

    /// The audit as `lakeward serve` has it.
    pub(super) fn journal(&self) -> anyhow::Result<Arc<JournalAudit>> {
        journal(&self.lake)
    }

    /// Another service over the same tables, with this audit, and with rows about suppliers and customers as persons or not.
    pub(super) fn audited(&self, audit: Arc<dyn Audit>, persons: bool) -> anyhow::Result<QueryService> {
        let mut governed = self.governed.clone();
        for table in governed.iter_mut().filter(|_| persons) {
            table.subject = match table.name.table.as_str() {
                "orders" => Some("o_customer".to_owned()),
                "lineitem" => Some("l_supplier".to_owned()),
                _ => None,
            };
        }
        Ok(QueryService::over(
            Arc::new(self.lake.clone()),
            governed,
            Arc::clone(&self.policies),
            self.masks.clone(),
            PseudonymKeys::from_master(&SECRET)?,
            self.config.clone(),
            audit,
            QueryMetrics::register(&prometheus::Registry::new())?,
        ))
    }

    /// Where the files of a table stand.
    pub(super) fn folder_of(&self, table: &str) -> PathBuf {
        self.tables.join("curated").join(table)
    }

    pub(super) async fn answer(&self, question: &Question) -> anyhow::Result<Answered> {
        let answer = self.service.execute(&self.context(question)?, question.governed, None).await?;
        let mut stream = answer.stream;
        let mut answer = Answered::nothing();
        while let Some(batch) = stream.try_next().await? {
            answer.take(batch);
        }
        Ok(answer)
    }

    /// A ratio would say nothing if the barrier were another than the question is about.
    pub(super) async fn check_plan(&self, question: &Question) -> anyhow::Result<()> {
        let sql = format!("EXPLAIN {}", question.governed);
        let answer = self.service.execute(&self.context(question)?, &sql, None).await?;
        let batches: Vec<RecordBatch> = answer.stream.try_collect().await?;
        let plan = pretty_format_batches(&batches)?.to_string();
        let (barrier, files) = (plan.contains("SecurityBarrier"), plan.contains("DataSourceExec"));
        ensure!(barrier && files == question.transparent, "the plan is another than it should be:\n{plan}");
        Ok(())
    }

    fn context(&self, question: &Question) -> anyhow::Result<RequestContext> {
        self.context_of(question.role)
    }

    pub(super) fn context_of(&self, role: &'static str) -> anyhow::Result<RequestContext> {
        let claims = Claims::new("bench").role(role).text("priority", PRIORITY);
        Ok(RequestContext {
            principal: self.policies.principal(&claims, None)?,
            request_id: "bench".to_owned(),
            deadline: Instant::now() + TIME_LIMIT,
            protocol: "bench",
            peer: None,
            grant_id: None,
            row_limit: None,
        })
    }
}

/// The key of the audit.
pub(super) fn audit_key() -> anyhow::Result<AuditKey> {
    Ok(AuditKey::from_secret(&SECRET)?)
}

fn journal(lake: &Lake) -> anyhow::Result<Arc<JournalAudit>> {
    let metrics = AuditMetrics::register(&prometheus::Registry::new())?;
    Ok(JournalAudit::start(lake.journal(), audit_key()?, AuditConfig::default(), metrics))
}

fn resource(table: &GovernedTable) -> ResourceTable {
    let attributes =
        table.scopes.iter().map(|(scope, predicate)| (scope.clone(), attributes_of(&table.name, predicate)));
    ResourceTable {
        name: table.name.to_string(),
        parents: Vec::new(),
        columns: table.columns.iter().map(|column| (column.name.clone(), column.tags.clone())).collect(),
        scopes: table.scopes.keys().cloned().collect(),
        scope_attributes: attributes.collect(),
    }
}

/// A commit for each batch, as ingest would make them.
async fn fill(lake: &Lake, orders: usize) -> anyhow::Result<()> {
    let names = TABLES.map(|table| TableName { schema: "curated".to_owned(), table: table.to_owned() });
    let mut rows = Rows::new(lake.schema(&names[0])?, lake.schema(&names[1])?, orders);
    while let Some(batches) = rows.next_batches()? {
        for (name, batch) in names.iter().zip(batches) {
            lake.commit(name, Change::Append { rows: vec![batch], progress: Vec::new() }).await?;
        }
    }
    // Statements may be answered from a snapshot of a second ago, which would lack the last commits.
    for name in &names {
        lake.fresh_snapshot(name).await?;
    }
    Ok(())
}

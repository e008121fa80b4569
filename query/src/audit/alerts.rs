//! Rules over the audit, as SQL, that raise rows in `audit.alerts`.
//!
//! A rule is a file `sql/audit/<name>.sql`: a question over `audit.events` whose rows are alerts, with the columns `key`,
//! `principal`, `at` and `detail`. Comments before it are its header: `-- title: …` and `-- severity: info`, `warning` or
//! `critical`. What a rule says again under a key that it has said before is not raised again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::SessionState;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionContext, ident};
use lakeward_tables::{AUDIT_SCHEMA, Change, Lake, Problem, Progress, TableName, TablesError, alerts_schema};
use lakeward_tables::{events_schema, reading_schema};

use super::stored;
use crate::catalog::{GovernedCatalog, Tables};
use crate::session::Sessions;
use crate::{QueryConfig, gate};

const FOLDER: &str = "audit";
const COLUMNS: [&str; 4] = ["key", "principal", "at", "detail"];
const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];

/// One rule.
#[derive(Debug, Clone)]
struct Rule {
    name: String,
    title: String,
    severity: String,
    sql: String,
}

/// The rules of a lakehouse.
#[derive(Debug, Clone, Default)]
pub struct AlertRules {
    rules: Vec<Rule>,
}

/// An alert that has been raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The rule that raised it.
    pub rule: String,
    /// How bad it is.
    pub severity: String,
    /// Whom it is about.
    pub principal: String,
}

impl AlertRules {
    /// Reads and plans the rules of the folder `sql/`; every problem at once, with file and line.
    pub async fn load(lakehouse: &Path) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut rules = Vec::new();
        let empty = Arc::new(EmptyTable::new(reading_schema(&events_schema())));
        let state = state(empty, Utc::now());
        for file in files(&lakehouse.join(FOLDER), &mut problems) {
            let Ok(text) = std::fs::read_to_string(&file) else {
                problems.push(Problem::new(&file, 0, "is not readable"));
                continue;
            };
            let rule = rule(&file, text, &mut problems);
            let misfit = match &state {
                Ok(state) => misfit(state, &rule.sql).await,
                Err(error) => Some(error.to_string()),
            };
            problems.extend(misfit.map(|why| Problem::new(&file, 1, why)));
            rules.push(rule);
        }
        if problems.is_empty() { Ok(Self { rules }) } else { Err(problems) }
    }

    /// The names of the rules.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }

    /// Asks every rule, and raises what it says for the first time. Where somebody else does the same, one of both does.
    pub async fn raise(&self, lake: &Lake, now: DateTime<Utc>) -> Result<Vec<Alert>, TablesError> {
        if self.rules.is_empty() {
            return Ok(Vec::new());
        }
        let table = TableName::audit_alerts();
        // Looked up first: whoever raises in between makes the commit below fail.
        let round = lake.next_offsets(&table, SOURCE, TOPIC).await?.get(&0).copied().unwrap_or(0);
        let mut known = known(lake).await?;
        let events = lake.fresh_snapshot(&TableName::audit_events()).await?;
        let state = state(events.provider(), now).map_err(stored::failed)?;
        let (mut raised, mut rows) = (Vec::new(), Vec::new());
        for rule in &self.rules {
            match asked(&state, &rule.sql).await {
                Ok(batches) => {
                    for batch in batches {
                        let new = rule.unraised(&batch, &mut known, now).map_err(stored::failed)?;
                        raised.extend(rule.alerts(&new));
                        rows.push(new);
                    }
                }
                // One rule that fails takes no other with it.
                Err(_) => tracing::error!(rule = rule.name, "a rule of the audit could not be evaluated"),
            }
        }
        if raised.is_empty() {
            return Ok(raised);
        }
        let arrow = |error| stored::failed(DataFusionError::ArrowError(Box::new(error), None));
        let rows = vec![concat_batches(&alerts_schema(), &rows).map_err(arrow)?];
        let next =
            Progress { source: SOURCE.to_owned(), topic: TOPIC.to_owned(), partition: 0, from: round, next: round + 1 };
        match lake.commit(&table, Change::Append { rows, progress: vec![next] }).await {
            Ok(_) => Ok(raised),
            Err(TablesError::NotAtPosition { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// Under these names the table's log counts the rounds that raised something.
const SOURCE: &str = "rules";
const TOPIC: &str = "rounds";

impl Rule {
    /// The rows of an answer that were not raised before, as the table has them.
    fn unraised(
        &self,
        batch: &RecordBatch,
        known: &mut HashSet<(String, String)>,
        now: DateTime<Utc>,
    ) -> Result<RecordBatch, DataFusionError> {
        let text = |name: &str| -> Result<ArrayRef, DataFusionError> {
            let column = batch.column_by_name(name).ok_or_else(|| DataFusionError::Internal(name.to_owned()))?;
            Ok(cast(column, &DataType::Utf8)?)
        };
        let keys = text("key")?;
        let is_new: Vec<bool> = keys
            .as_string::<i32>()
            .iter()
            .map(|key| key.is_some_and(|key| known.insert((self.name.clone(), key.to_owned()))))
            .collect();
        let count = batch.num_rows();
        let same = |text: &str| Arc::new(StringArray::from(vec![text; count])) as ArrayRef;
        let raised = TimestampMicrosecondArray::from(vec![now.timestamp_micros(); count]).with_timezone("UTC");
        let at = batch.column_by_name("at").ok_or_else(|| DataFusionError::Internal("at".to_owned()))?;
        let schema = alerts_schema();
        let columns = schema
            .fields()
            .iter()
            .map(|field| match field.name().as_str() {
                "raised_at" => Ok(Arc::new(raised.clone()) as ArrayRef),
                "rule" => Ok(same(&self.name)),
                "title" => Ok(same(&self.title)),
                "severity" => Ok(same(&self.severity)),
                "at" => Ok(cast(at, field.data_type())?),
                name => text(name),
            })
            .collect::<Result<Vec<ArrayRef>, DataFusionError>>()?;
        let rows = RecordBatch::try_new(schema, columns)?;
        Ok(datafusion::arrow::compute::filter_record_batch(&rows, &is_new.into())?)
    }

    fn alerts(&self, rows: &RecordBatch) -> Vec<Alert> {
        let principals = rows.column_by_name("principal").and_then(|column| column.as_string_opt::<i32>());
        let alert = |principal: Option<&str>| Alert {
            rule: self.name.clone(),
            severity: self.severity.clone(),
            principal: principal.unwrap_or_default().to_owned(),
        };
        principals.into_iter().flatten().map(alert).collect()
    }
}

/// What has been raised, by rule and key.
async fn known(lake: &Lake) -> Result<HashSet<(String, String)>, TablesError> {
    let snapshot = lake.fresh_snapshot(&TableName::audit_alerts()).await?;
    let session = SessionContext::new();
    let rows = session.read_table(snapshot.provider()).and_then(|rows| rows.select(vec![ident("rule"), ident("key")]));
    let mut known = HashSet::new();
    for batch in rows.map_err(stored::failed)?.collect().await.map_err(stored::failed)? {
        let (rules, keys) = (batch.column(0).as_string_view_opt(), batch.column(1).as_string_view_opt());
        let (Some(rules), Some(keys)) = (rules, keys) else { continue };
        let pairs = rules.iter().zip(keys.iter());
        known.extend(pairs.filter_map(|(rule, key)| Some((rule?.to_owned(), key?.to_owned()))));
    }
    Ok(known)
}

/// A session in which there is `audit.events` and nothing else.
fn state(events: Arc<dyn TableProvider>, now: DateTime<Utc>) -> Result<SessionState, DataFusionError> {
    let tables = Tables::from([(AUDIT_SCHEMA.to_owned(), [("events".to_owned(), events)].into())]);
    let catalog = Arc::new(GovernedCatalog::without_information(tables));
    Ok(Sessions::new(&QueryConfig::default())?.state(catalog, now))
}

async fn asked(state: &SessionState, sql: &str) -> Result<Vec<RecordBatch>, DataFusionError> {
    let plan = state.create_logical_plan(sql).await?;
    let physical = state.create_physical_plan(&plan).await?;
    collect(physical, state.task_ctx()).await
}

/// Why a rule cannot be asked.
async fn misfit(state: &SessionState, sql: &str) -> Option<String> {
    if let Err(refused) = gate::parse(sql) {
        return Some(refused.to_string());
    }
    let plan = match state.create_logical_plan(sql).await {
        Ok(plan) => plan,
        Err(error) => return Some(error.strip_backtrace().lines().next().unwrap_or_default().to_owned()),
    };
    let names: Vec<&str> = plan.schema().fields().iter().map(|field| field.name().as_str()).collect();
    if names != COLUMNS {
        return Some(format!("a rule gives the columns {}, in this order", COLUMNS.join(", ")));
    }
    match plan.schema().field(2).data_type() {
        DataType::Timestamp(..) => None,
        _ => Some("`at` is a timestamp".to_owned()),
    }
}

fn files(folder: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.sort();
    files.retain(|file| {
        let ends = |ending: &str| file.extension().is_some_and(|extension| extension == ending);
        if !ends("sql") && !ends("md") {
            problems.push(Problem::new(file, 0, "files here end with .sql"));
        }
        ends("sql")
    });
    files
}

fn rule(file: &Path, sql: String, problems: &mut Vec<Problem>) -> Rule {
    let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut header = |key: &str| {
        let lines = sql.lines().take_while(|line| line.starts_with("--"));
        let mut values = lines.filter_map(|line| line.strip_prefix("-- ")?.strip_prefix(key)?.strip_prefix(':'));
        let value = values.next().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        if value.is_none() {
            problems.push(Problem::new(file, 1, format!("a rule begins with `-- {key}: …`")));
        }
        value.unwrap_or_default()
    };
    let (title, severity) = (header("title"), header("severity"));
    if !severity.is_empty() && !SEVERITIES.contains(&severity.as_str()) {
        problems.push(Problem::new(file, 1, format!("severity is one of {}", SEVERITIES.join(", "))));
    }
    Rule { name, title, severity, sql }
}

#[cfg(test)]
mod tests;

//! Who saw the rows of one person.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::common::{DataFusionError, JoinType};
use datafusion::logical_expr::{ident, lit};
use futures::StreamExt;
use lakeward_tables::{GovernedTable, Lake, TablesError};
use serde::Serialize;

use super::stored::{self, failed};
use super::{AuditedColumn, AuditedSubjects, Record};

/// One statement that saw, or may have seen, rows of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditedAccess {
    /// When it ended; of one whose end nobody recorded, when it began.
    pub at: DateTime<Utc>,
    /// The number of the request.
    pub request_id: String,
    /// Who asked.
    pub principal: String,
    /// In which roles.
    pub roles: Vec<String>,
    /// For which purpose.
    pub purpose: String,
    /// Under which grant.
    pub grant_id: Option<String>,
    /// Which table.
    pub table: String,
    /// Which columns, at which level.
    pub columns: Vec<AuditedColumn>,
    /// In which row scopes.
    pub scopes: Vec<String>,
    /// Whether rows of this person are known to have been among them. If not, the statement saw more persons than are told
    /// one by one, or its end was not recorded: all in its scopes may be among them.
    pub certain: bool,
    /// How it ended; none where nobody recorded it.
    pub outcome: Option<String>,
}

/// Which column of a table is compared with an attribute of a principal: how somebody is known to be a person of the data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subjects {
    tables: BTreeMap<String, String>,
    attribute: Option<String>,
}

impl Subjects {
    /// From the contracts: the scope `<subject> = attr('…')` names the attribute.
    pub fn of(tables: &[GovernedTable]) -> Self {
        let mut subjects = Self::default();
        for table in tables {
            let Some(subject) = &table.subject else { continue };
            subjects.tables.insert(table.name.to_string(), subject.clone());
            let own = table.scopes.values().find_map(|scope| {
                let (column, value) = scope.sql.split_once('=')?;
                let name = value.trim().strip_prefix("attr('")?.strip_suffix("')")?;
                (column.trim() == subject && !name.contains('\'')).then(|| name.to_owned())
            });
            subjects.attribute = subjects.attribute.or(own);
        }
        subjects
    }

    /// The attribute that is the id of the principal among the persons of the data.
    pub fn attribute(&self) -> Option<&str> {
        self.attribute.as_deref()
    }

    /// The tables whose rows are about persons, each with the column that says about whom.
    pub fn tables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tables.iter().map(|(table, column)| (table.as_str(), column.as_str()))
    }
}

/// The accesses in a lake's audit.
#[derive(Debug, Clone)]
pub struct Accesses {
    lake: Lake,
    subjects: Subjects,
}

impl Accesses {
    /// Over the audit of a lake.
    pub fn new(lake: Lake, subjects: Subjects) -> Self {
        Self { lake, subjects }
    }

    /// Which attribute and which columns tell persons.
    pub fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// The accesses to rows of the person with this digest, the newest first.
    pub async fn of(&self, digest: &str) -> Result<Vec<AuditedAccess>, TablesError> {
        // What has ended before this call is to be among them.
        while self.lake.journal().fold().await?.more {}
        let mut accesses = Vec::new();
        let finished = stored::events(&self.lake)
            .await?
            .filter(ident("kind").eq(lit("finished")).and(ident("subjects").is_not_null()))
            .map_err(failed)?;
        let mut rows = finished.execute_stream().await.map_err(failed)?;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(failed)?;
            let about = filter_record_batch(&batch, &about(&batch, digest));
            let about = about.map_err(|error| failed(DataFusionError::ArrowError(Box::new(error), None)))?;
            for record in stored::records(&about)? {
                accesses.extend(record.subjects.iter().filter_map(|seen| access(&record, seen, digest)));
            }
        }
        for record in self.unfinished().await? {
            let tables = record.tables.iter().filter(|table| self.subjects.tables.contains_key(&table.name));
            let all = tables.map(|table| AuditedSubjects {
                table: table.name.clone(),
                all_in_scope: true,
                digests: Vec::new(),
            });
            accesses.extend(all.filter_map(|seen| access(&record, &seen, digest)));
        }
        accesses.sort_by(|a, b| (b.at, &b.request_id, &b.table).cmp(&(a.at, &a.request_id, &a.table)));
        Ok(accesses)
    }

    /// Statements that began, and of whose end there is no record: those that run, and those whose process was killed.
    async fn unfinished(&self) -> Result<Vec<Record>, TablesError> {
        let events = stored::events(&self.lake).await?;
        let of_kind = |kind: &str| events.clone().filter(ident("kind").eq(lit(kind)));
        let ended = of_kind("finished").and_then(|rows| rows.select(vec![ident("request_id").alias("ended")]));
        let begun = of_kind("started")
            .and_then(|rows| rows.join(ended?, JoinType::LeftAnti, &["request_id"], &["ended"], None))
            .map_err(failed)?;
        let mut records = Vec::new();
        for batch in begun.collect().await.map_err(failed)? {
            records.extend(stored::records(&batch)?);
        }
        Ok(records)
    }
}

/// The rows that tell of this person, or of everybody in scope.
fn about(batch: &RecordBatch, digest: &str) -> BooleanArray {
    let nobody = || BooleanArray::from(vec![false; batch.num_rows()]);
    let Some(subjects) = batch.column_by_name("subjects").and_then(|column| column.as_list_opt::<i32>()) else {
        return nobody();
    };
    let seen = |of_table: &dyn Array| -> Option<bool> {
        let of_table = of_table.as_struct_opt()?;
        let all = of_table.column_by_name("all_in_scope")?.as_boolean_opt()?;
        let digests = of_table.column_by_name("digests")?.as_list_opt::<i32>()?;
        Some((0..of_table.len()).any(|at| {
            let told = || digests.value(at).as_string_opt::<i32>().is_some_and(|d| d.iter().any(|d| d == Some(digest)));
            all.is_valid(at) && all.value(at) || digests.is_valid(at) && told()
        }))
    };
    (0..subjects.len()).map(|row| Some(subjects.is_valid(row) && seen(&subjects.value(row)).unwrap_or(true))).collect()
}

/// What a record tells of this person and one table; nothing where no column was read.
fn access(record: &Record, seen: &AuditedSubjects, digest: &str) -> Option<AuditedAccess> {
    let certain = seen.digests.iter().any(|told| told == digest);
    let table = record.tables.iter().find(|table| table.name == seen.table)?;
    if table.columns.is_empty() || !(certain || seen.all_in_scope) {
        return None;
    }
    Some(AuditedAccess {
        at: record.at,
        request_id: record.request_id.clone(),
        principal: record.principal.clone(),
        roles: record.roles.clone(),
        purpose: record.purpose.clone(),
        grant_id: record.grant_id.clone(),
        table: table.name.clone(),
        columns: table.columns.clone(),
        scopes: table.scopes.clone(),
        certain,
        outcome: record.outcome.clone(),
    })
}

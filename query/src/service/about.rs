//! What the service tells about tables, and about who saw what: no statement, and no row of a table.

use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use lakeward_iam::{Attribute, Claims, Principal};
use lakeward_tables::TableName;

use super::{Declared, Inner, QueryService};
use crate::answer::without_views;
use crate::audit::{AuditedAccess, Kind};
use crate::governed::{GovernedProvider, View, ViewColumn};
use crate::ledger;
use crate::session::DEFAULT_SCHEMA;
use crate::translate;
use crate::{Access, AccessRules, ErrorCode, QueryError, RequestContext, TableAccess, VisibleColumn, VisibleTable};

impl QueryService {
    /// The tables this principal may read, ordered by name.
    pub async fn tables(&self, context: &RequestContext) -> Result<Vec<VisibleTable>, QueryError> {
        let (started, audit) = (Instant::now(), self.inner.audit.as_ref());
        let views = self.inner.views(&context.principal);
        let visible = Ok(views.values().map(|view| visible(view)).collect());
        ledger::keep(audit, ledger::record(audit, Kind::Listed, context, None), started, visible).await
    }

    /// Who saw rows of the principal, the newest first. Who the principal is among the persons of the data, the attribute
    /// says that the contracts compare with their subject.
    pub async fn own_accesses(&self, context: &RequestContext) -> Result<Vec<AuditedAccess>, QueryError> {
        let id = self.inner.accesses.as_ref().and_then(|accesses| {
            match context.principal.attribute(accesses.subjects().attribute()?)? {
                Attribute::Text(id) => Some(id.clone()),
                Attribute::List(_) => None,
            }
        });
        let refused = "the token does not say which person of the data you are";
        self.accesses(context, id.ok_or_else(|| QueryError::new(ErrorCode::Forbidden, refused))).await
    }

    /// Who saw rows of the person with this id, for those who may see the whole of the audit, and the ids of persons.
    pub async fn accesses_to(&self, context: &RequestContext, id: &str) -> Result<Vec<AuditedAccess>, QueryError> {
        let refused = "only who sees the whole of the audit, and who the persons are, may ask this";
        let id = match self.inner.may_trace(&context.principal) {
            true => Ok(id.to_owned()),
            false => Err(QueryError::new(ErrorCode::Forbidden, refused)),
        };
        self.accesses(context, id).await
    }

    async fn accesses(
        &self,
        context: &RequestContext,
        id: Result<String, QueryError>,
    ) -> Result<Vec<AuditedAccess>, QueryError> {
        let (started, audit) = (Instant::now(), self.inner.audit.as_ref());
        let mut record = ledger::record(audit, Kind::Accesses, context, None);
        let asked = async {
            let digest = audit.key().subject(&id?);
            record.digest = Some(digest.clone());
            let accesses = self.inner.accesses.as_ref().ok_or_else(QueryError::internal)?;
            accesses.of(&digest).await.map_err(|error| {
                tracing::warn!(%error, "the accesses could not be read");
                translate::unavailable()
            })
        };
        let found = asked.await;
        ledger::keep(audit, record, started, found).await
    }

    /// What the principal of these claims sees of a table and by which policies; without one, of every table it sees.
    /// Where a column is named too, it is told alone, with every answer about it.
    pub async fn access(
        &self,
        context: &RequestContext,
        claims: &Claims,
        table: Option<&str>,
        column: Option<&str>,
    ) -> Result<Access, QueryError> {
        let (started, audit) = (Instant::now(), self.inner.audit.as_ref());
        let told = self.inner.access(&context.principal, claims, table, column);
        ledger::keep(audit, ledger::record(audit, Kind::Listed, context, None), started, told).await
    }
}

impl Inner {
    fn access(
        &self,
        principal: &Principal,
        claims: &Claims,
        table: Option<&str>,
        column: Option<&str>,
    ) -> Result<Access, QueryError> {
        let Self { tables, policies, masks, keys, config, .. } = self;
        let rules = AccessRules {
            policies,
            masks,
            has_key: keys.key(&principal.purpose).is_some(),
            today: config.now.unwrap_or_else(Utc::now).date_naive(),
        };
        let tell = |declared: &Declared| {
            let told = TableAccess::new(&rules, principal, &declared.table, column)?;
            told.visible.then(|| told.for_oneself())
        };
        let mut access = Access::new(policies, claims, principal);
        match table {
            None => access.tables = tables.values().filter_map(tell).collect(),
            Some(name) => {
                let declared =
                    tables.iter().find(|(known, _)| known.to_string() == full_name(name)).map(|(_, declared)| declared);
                let told = declared.and_then(tell).ok_or_else(|| QueryError::unknown_table(full_name(name)))?;
                if let Some(column) = column.filter(|_| told.columns.is_empty()) {
                    let message = format!("column {column} does not exist");
                    return Err(QueryError::new(ErrorCode::InvalidRequest, message));
                }
                access.tables.push(told);
            }
        }
        Ok(access)
    }

    /// Whether a principal sees the audit whole, and in clear who the persons are whom the rows of some table are about.
    fn may_trace(&self, principal: &Principal) -> bool {
        let views = self.views(principal);
        let audit = views.get(&TableName::audit_events());
        let names_persons = |view: &Arc<View>| {
            let subject = view.table.subject.as_ref().and_then(|name| view.column(name));
            view.shows_all_rows() && subject.is_some_and(ViewColumn::is_stored_and_clear)
        };
        audit.is_some_and(|view| GovernedProvider::seal(view).whole) && views.values().any(names_persons)
    }
}

/// A name without a schema is meant in the one that statements take.
fn full_name(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{DEFAULT_SCHEMA}.{name}") }
}

fn visible(view: &View) -> VisibleTable {
    VisibleTable {
        schema: view.table.name.schema.clone(),
        name: view.table.name.table.clone(),
        description: view.table.description.clone(),
        columns: view
            .columns
            .iter()
            .map(|column| VisibleColumn {
                name: column.name.clone(),
                data_type: without_views(&column.data_type),
                nullable: true,
                level: column.level,
                description: column.description.clone(),
            })
            .collect(),
        primary_key: view.table.primary_key.clone(),
    }
}

//! The table that the catalog of a statement holds.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::plan;
use super::rows::Rows;
use super::view::{View, ViewColumn};
use crate::QueryError;
use crate::audit::{AuditedColumn, AuditedTable};
use crate::barrier::{Seal, SecurityBarrierExec};
use crate::holes::{Hole, is_open};
use crate::masks::MaskContext;
use crate::translate;
use crate::witness::{Reads, Watch};

/// A governed table. Without rows it can be described but not read.
#[derive(Debug)]
pub(crate) struct GovernedProvider {
    view: Arc<View>,
    rows: Option<Rows>,
    masks: Arc<MaskContext>,
    reads: Arc<Reads>,
}

impl GovernedProvider {
    pub(crate) fn new(view: Arc<View>, rows: Option<Rows>, masks: Arc<MaskContext>, reads: Arc<Reads>) -> Self {
        Self { view, rows, masks, reads }
    }

    pub(crate) fn seal(view: &View) -> Seal {
        let whole = view.shows_all_rows() && view.columns.iter().all(ViewColumn::is_stored_and_clear);
        Seal { table: view.table.name.to_string(), policy: view.digest.clone(), whole }
    }

    /// Whether a column is shown as it is stored, in the type in which it is stored.
    fn as_stored(&self, rows: &Rows, name: &str) -> bool {
        let Some(column) = self.view.column(name) else { return false };
        let stored = rows.provider.schema();
        column.is_stored_and_clear()
            && stored.field_with_name(name).is_ok_and(|field| *field.data_type() == column.data_type)
    }

    /// Whether a filter may be evaluated below an opaque barrier.
    fn may_prune(&self, rows: &Rows, filter: &Expr) -> bool {
        is_open(Hole::FilterBelow)
            || plan::compares_with_literals(filter, &self.view.schema, &|name| self.as_stored(rows, name))
    }

    fn is_transparent(&self, rows: &Rows, projection: &[usize], filters: &[Expr]) -> bool {
        self.view.shows_all_rows()
            && projection
                .iter()
                .all(|index| self.view.columns.get(*index).is_some_and(|column| self.as_stored(rows, &column.name)))
            && filters.iter().all(|filter| self.is_whole(rows, filter))
    }

    /// Whether a filter is about nothing but columns that are shown as they are stored.
    fn is_whole(&self, rows: &Rows, filter: &Expr) -> bool {
        filter.column_refs().iter().all(|column| self.as_stored(rows, &column.name))
    }

    fn record(&self, rows: &Rows, projection: &[usize]) {
        let columns = projection
            .iter()
            .filter_map(|index| self.view.columns.get(*index))
            .map(|column| AuditedColumn { name: column.name.clone(), level: column.level.as_str().to_owned() });
        self.reads.add(AuditedTable {
            name: self.view.table.name.to_string(),
            version: rows.version,
            policy: self.view.digest.clone(),
            scopes: self.view.scopes.clone(),
            columns: columns.collect(),
        });
    }

    /// Who is told whose rows leave the barrier; nobody where the contract names no person.
    fn watch(&self, rows: &Rows) -> Option<Watch> {
        let subject = self.view.table.subject.as_ref()?;
        let witness = self.reads.witness(&self.view.table.name.to_string());
        let stored = rows.provider.schema().index_of(subject).ok();
        if stored.is_none() {
            witness.all();
        }
        Some(Watch { witness, stored: stored? })
    }

    async fn transparent(
        &self,
        state: &dyn Session,
        rows: &Rows,
        projection: &[usize],
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<SecurityBarrierExec> {
        let stored = rows.provider.schema();
        let columns = projection
            .iter()
            .filter_map(|index| self.view.columns.get(*index))
            .map(|column| Ok(stored.index_of(&column.name)?))
            .collect::<Result<Vec<usize>>>()?;
        let inner = rows.provider.scan(state, Some(&columns), filters, limit).await?;
        let schema = plan::projected(&self.view.schema, projection)?;
        let seal = Self::seal(&self.view);
        match seal.whole {
            true => SecurityBarrierExec::transparent(seal, schema, inner),
            false => {
                let config = state.config();
                SecurityBarrierExec::even(seal, schema, inner, config.target_partitions(), config.options())
            }
        }
    }

    async fn opaque(
        &self,
        state: &dyn Session,
        rows: &Rows,
        projection: &[usize],
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<SecurityBarrierExec> {
        let limit = limit.filter(|_| is_open(Hole::LimitBelow));
        let filters: Vec<Expr> = filters.iter().filter(|filter| self.may_prune(rows, filter)).cloned().collect();
        let plan = plan::governed(&self.view, rows, projection, &filters, limit, &self.masks)?;
        let inner = state.create_physical_plan(&plan).await?;
        let schema = plan::projected(&self.view.schema, projection)?;
        if is_open(Hole::Transparent) {
            return SecurityBarrierExec::transparent(Self::seal(&self.view), schema, inner);
        }
        SecurityBarrierExec::opaque(Self::seal(&self.view), schema, inner, state.config().target_partitions())
    }
}

#[async_trait]
impl TableProvider for GovernedProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.view.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let Some(rows) = &self.rows else { return Ok(vec![TableProviderFilterPushDown::Unsupported; filters.len()]) };
        // Whatever the projection, a scan of this table is transparent.
        if self.is_transparent(rows, &(0..self.view.columns.len()).collect::<Vec<_>>(), &[]) {
            return rows.provider.supports_filters_pushdown(filters);
        }
        Ok(filters
            .iter()
            .map(|filter| {
                let crosses =
                    self.may_prune(rows, filter) || (self.view.shows_all_rows() && self.is_whole(rows, filter));
                if crosses { TableProviderFilterPushDown::Inexact } else { TableProviderFilterPushDown::Unsupported }
            })
            .collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let conceal = |error: DataFusionError| DataFusionError::External(Box::new(translate::below_barrier(&error)));
        let Some(rows) = &self.rows else {
            return Err(DataFusionError::External(Box::new(QueryError::internal())));
        };
        let all: Vec<usize>;
        let projection = match projection {
            Some(projection) => projection.as_slice(),
            None => {
                all = (0..self.view.columns.len()).collect();
                &all
            }
        };
        self.record(rows, projection);
        let barrier = match self.is_transparent(rows, projection, filters) {
            true => self.transparent(state, rows, projection, filters, limit).await,
            false => self.opaque(state, rows, projection, filters, limit).await,
        };
        Ok(Arc::new(barrier.map_err(conceal)?.watched(self.watch(rows))))
    }
}

//! What a statement can name: governed tables, and what can be told about them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::information_schema::InformationSchemaProvider;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProviderList, SchemaProvider, Session, TableProvider,
};
use datafusion::common::Result;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, TableType, ident, lit};
use datafusion::physical_plan::ExecutionPlan;

use crate::barrier::{Seal, SecurityBarrierExec};
use crate::session::CATALOG;

/// The schema of tables about tables.
const INFORMATION_SCHEMA: &str = "information_schema";
/// Where they name the schema of what they tell.
const SCHEMA_COLUMN: &str = "table_schema";
/// The policy under which they are read: they are made of governed schemas only.
const ABOUT_TABLES: &str = "catalog";
/// What `information_schema` shows; settings of the engine are not among it.
const SHOWN: [&str; 6] = ["tables", "views", "columns", "schemata", "routines", "parameters"];

/// The schemas that always exist.
pub(crate) const SCHEMAS: [&str; 3] = ["audit", "curated", "raw"];

/// Tables by schema and name.
pub(crate) type Tables = BTreeMap<String, BTreeMap<String, Arc<dyn TableProvider>>>;

/// The catalog of one statement.
#[derive(Debug)]
pub(crate) struct GovernedCatalog {
    schemas: BTreeMap<String, Arc<dyn SchemaProvider>>,
    about: Option<Arc<dyn SchemaProvider>>,
}

impl GovernedCatalog {
    /// A catalog of these tables, with `information_schema` over them.
    pub(crate) fn new(tables: Tables) -> Self {
        let plain = Arc::new(Self::without_information(tables));
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::clone(&plain) as _);
        let about = Information { inner: InformationSchemaProvider::new(Arc::new(catalogs)) };
        Self { schemas: plain.schemas.clone(), about: Some(Arc::new(about)) }
    }

    /// A catalog of these tables alone.
    pub(crate) fn without_information(mut tables: Tables) -> Self {
        for schema in SCHEMAS {
            tables.entry(schema.to_owned()).or_default();
        }
        let schemas = tables
            .into_iter()
            .map(|(name, tables)| (name, Arc::new(GovernedSchema { tables }) as Arc<dyn SchemaProvider>))
            .collect();
        Self { schemas, about: None }
    }

    /// The seals of the tables about tables.
    pub(crate) fn seals() -> impl Iterator<Item = Seal> {
        SHOWN.iter().map(|name| seal(name))
    }
}

fn seal(name: &str) -> Seal {
    Seal { table: format!("{INFORMATION_SCHEMA}.{name}"), policy: ABOUT_TABLES.to_owned(), whole: false }
}

impl CatalogProvider for GovernedCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.schemas.keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            INFORMATION_SCHEMA => self.about.clone(),
            _ => self.schemas.get(name).cloned(),
        }
    }
}

struct GovernedSchema {
    tables: BTreeMap<String, Arc<dyn TableProvider>>,
}

impl fmt::Debug for GovernedSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.tables.keys()).finish()
    }
}

#[async_trait]
impl SchemaProvider for GovernedSchema {
    fn table_names(&self) -> Vec<String> {
        self.tables.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.tables.get(name).cloned())
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.contains_key(name)
    }
}

#[derive(Debug)]
struct Information {
    inner: InformationSchemaProvider,
}

#[async_trait]
impl SchemaProvider for Information {
    fn table_names(&self) -> Vec<String> {
        SHOWN.iter().map(|name| (*name).to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(shown) = SHOWN.iter().find(|shown| shown.eq_ignore_ascii_case(name)) else { return Ok(None) };
        let Some(inner) = self.inner.table(shown).await? else { return Ok(None) };
        Ok(Some(Arc::new(AboutTables { seal: seal(shown), inner })))
    }

    fn table_exist(&self, name: &str) -> bool {
        SHOWN.iter().any(|shown| shown.eq_ignore_ascii_case(name))
    }
}

/// A table of `information_schema`, behind a barrier like any other.
#[derive(Debug)]
struct AboutTables {
    seal: Seal,
    inner: Arc<dyn TableProvider>,
}

#[async_trait]
impl TableProvider for AboutTables {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.inner.schema();
        let mut plan = LogicalPlanBuilder::scan(ABOUT_TABLES, provider_as_source(Arc::clone(&self.inner)), None)?;
        if schema.field_with_name(SCHEMA_COLUMN).is_ok() {
            // The engine would list its own tables about tables, with some that are not here.
            plan = plan.filter(ident(SCHEMA_COLUMN).not_eq(lit(INFORMATION_SCHEMA)))?;
        }
        let schema = match projection {
            Some(columns) => {
                let wanted = columns.iter().map(|column| ident(schema.field(*column).name()));
                plan = if columns.is_empty() { plan } else { plan.project(wanted.collect::<Vec<_>>())? };
                Arc::new(schema.project(columns)?)
            }
            None => schema,
        };
        let inner = state.create_physical_plan(&plan.build()?).await?;
        Ok(Arc::new(SecurityBarrierExec::opaque(self.seal.clone(), schema, inner, 1)?))
    }
}

//! The engine as one statement sees it.
//!
//! Every statement has a session state of its own, with its own catalog and its own "now". What statements share is the
//! runtime: the memory pool and the caches of file metadata, which hold nothing that a statement can name.
//! Nothing is spilled to disk: a temporary file would be a copy of the data that nobody governs.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, MemoryCatalogProviderList};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{FunctionRegistry, SessionStateDefaults};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionConfig;
use lakeward_iam::Principal;

use crate::QueryConfig;
use crate::gate::REFUSED_FUNCTIONS;

/// Name of the only catalog.
pub(crate) const CATALOG: &str = "lakeward";
/// Schema of a table that is named without one.
pub(crate) const DEFAULT_SCHEMA: &str = "curated";

/// Makes session states.
#[derive(Debug)]
pub(crate) struct Sessions {
    template: SessionState,
}

impl Sessions {
    pub(crate) fn new(config: &QueryConfig) -> Result<Self> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(config.memory_limit)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()?;
        let mut settings = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false)
            .with_target_partitions(config.target_partitions.max(1));
        let options = settings.options_mut();
        // As tables are read: otherwise a cast to text would copy what is text already.
        options.sql_parser.map_string_types_to_utf8view = true;
        options.explain.show_statistics = false;
        // Stored times are instants; without a zone "now" would be of another type.
        options.execution.time_zone = Some("UTC".to_owned());
        let template = SessionStateBuilder::new()
            .with_config(settings)
            .with_runtime_env(runtime)
            .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
            .with_expr_planners(SessionStateDefaults::default_expr_planners())
            .with_scalar_functions(scalar_functions())
            .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
            .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
            .with_window_functions(SessionStateDefaults::default_window_functions())
            .with_table_function_list(SessionStateDefaults::default_table_functions())
            .build();
        Ok(Self { template })
    }

    /// The state of one statement, over one catalog.
    pub(crate) fn state(&self, catalog: Arc<dyn CatalogProvider>, now: DateTime<Utc>) -> SessionState {
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), catalog);
        let mut state =
            SessionStateBuilder::new_from_existing(self.template.clone()).with_catalog_list(Arc::new(catalogs)).build();
        state.mark_start_execution();
        state.execution_props_mut().query_execution_start_time = Some(now);
        state
    }

    /// The state of a principal's statement, with the functions that tell who is asking.
    pub(crate) fn statement(
        &self,
        catalog: Arc<dyn CatalogProvider>,
        now: DateTime<Utc>,
        principal: &Principal,
    ) -> Result<SessionState> {
        let mut state = self.state(catalog, now);
        for (name, value) in [("current_principal", &principal.id), ("current_purpose", &principal.purpose)] {
            let constant = Constant::new(name, ScalarValue::Utf8(Some(value.clone())));
            state.register_udf(Arc::new(ScalarUDF::new_from_impl(constant)))?;
        }
        Ok(state)
    }
}

/// The engine's functions without those that the gate refuses.
fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = SessionStateDefaults::default_scalar_functions();
    functions.retain(|function| !REFUSED_FUNCTIONS.contains(&function.name()));
    functions
}

/// A function without arguments whose value is fixed for the statement.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constant {
    name: &'static str,
    value: ScalarValue,
    signature: Signature,
}

impl Constant {
    pub(crate) fn new(name: &'static str, value: ScalarValue) -> Self {
        Self { name, value, signature: Signature::exact(vec![], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if arguments.is_empty() { Ok(self.value.data_type()) } else { exec_err!("{} takes no argument", self.name) }
    }

    fn simplify(&self, _arguments: Vec<Expr>, _context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(self.value.clone(), None)))
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

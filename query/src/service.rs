//! The one service every protocol asks.

use std::sync::Arc;

use datafusion::common::ParamValues;
use lakeward_iam::Policies;
use lakeward_tables::{Lake, Lakehouse};

use crate::{
    Answer, Audit, Masks, Prepared, PseudonymKeys, QueryConfig, QueryError, QueryMetrics, RequestContext, VisibleTable,
};

/// Answers statements, each for its own principal. Cheap to clone.
#[derive(Clone)]
pub struct QueryService {
    inner: Arc<Inner>,
}

struct Inner {}

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
        let _ = (lake, lakehouse, policies, masks, keys, config, audit, metrics);
        Self { inner: Arc::new(Inner {}) }
    }

    /// The configuration, for protocols that tell its limits.
    pub fn config(&self) -> &QueryConfig;

    /// Parses, governs and plans a statement, without running it. `$1` … are its parameters.
    pub async fn plan(&self, context: &RequestContext, sql: &str) -> Result<Prepared, QueryError>;

    /// Runs a statement. It is planned anew under the policies and snapshots of this moment.
    pub async fn execute(
        &self,
        context: &RequestContext,
        sql: &str,
        parameters: Option<ParamValues>,
    ) -> Result<Answer, QueryError>;

    /// The tables this principal may read, ordered by name.
    pub async fn tables(&self, context: &RequestContext) -> Result<Vec<VisibleTable>, QueryError>;
}

//! The last look at a physical plan before it runs.
//!
//! Every source of data has exactly one barrier above it, and the barrier bears the seal that this statement expects.
//! What has no barrier must be known to hold nothing but what the statement itself brought along. A node that the
//! verifier does not know refuses the statement.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::work_table::WorkTableExec;

use crate::barrier::SecurityBarrierExec;
use crate::error::QueryError;

/// The policies under which a statement may read, by table.
pub(crate) type Expected = BTreeMap<String, String>;

/// Refuses a plan in which a source of data is not below exactly one expected barrier.
pub(crate) fn verify(plan: &Arc<dyn ExecutionPlan>, expected: &Expected) -> Result<(), QueryError> {
    below(plan, expected, false).map_err(|fault| {
        tracing::error!(fault, node = plan.name(), "the verifier refused a plan");
        QueryError::internal()
    })
}

fn below(plan: &Arc<dyn ExecutionPlan>, expected: &Expected, guarded: bool) -> Result<(), &'static str> {
    let mut guarded = guarded;
    if let Some(barrier) = plan.downcast_ref::<SecurityBarrierExec>() {
        if guarded {
            return Err("two barriers above one source");
        }
        let seal = barrier.seal();
        if expected.get(&seal.table) != Some(&seal.policy) {
            return Err("a barrier with an unexpected policy");
        }
        if !barrier.is_transparent() {
            return Ok(());
        }
        guarded = true;
    }
    let children = plan.children();
    if children.is_empty() && !guarded && !is_harmless(plan.as_ref()) {
        return Err("a source without a barrier");
    }
    children.into_iter().try_for_each(|child| below(child, expected, guarded))
}

/// Leaves that hold what the statement brought along, and nothing of a table.
fn is_harmless(leaf: &dyn ExecutionPlan) -> bool {
    leaf.is::<EmptyExec>()
        || leaf.is::<PlaceholderRowExec>()
        || leaf.is::<WorkTableExec>()
        || leaf.is::<LazyMemoryExec>()
        // VALUES and DESCRIBE: the catalog holds no table in memory.
        || leaf.downcast_ref::<DataSourceExec>().is_some_and(|source| source.data_source().is::<MemorySourceConfig>())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
    use datafusion::physical_plan::test::TestMemoryExec;
    use datafusion::physical_plan::union::UnionExec;

    use super::*;
    use crate::barrier::Seal;

    fn source() -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        TestMemoryExec::try_new_exec(&[vec![]], schema, None).unwrap()
    }

    fn seal(policy: &str) -> Seal {
        Seal { table: "curated.t".into(), policy: policy.into(), whole: false }
    }

    fn expected() -> Expected {
        [("curated.t".to_owned(), "p".to_owned())].into()
    }

    fn opaque(policy: &str, inner: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(SecurityBarrierExec::opaque(seal(policy), inner.schema(), inner, 1).unwrap())
    }

    fn transparent(policy: &str, inner: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(SecurityBarrierExec::transparent(seal(policy), inner.schema(), inner).unwrap())
    }

    #[test]
    fn one_expected_barrier_is_accepted() {
        for plan in [opaque("p", source()), transparent("p", source())] {
            assert!(verify(&(Arc::new(CoalescePartitionsExec::new(plan)) as _), &expected()).is_ok());
        }
    }

    #[test]
    fn a_source_without_a_barrier_is_refused() {
        assert!(verify(&source(), &expected()).is_err());
        let union = UnionExec::try_new(vec![opaque("p", source()), source()]).unwrap();
        assert!(verify(&union, &expected()).is_err());
    }

    #[test]
    fn an_unexpected_policy_is_refused() {
        assert!(verify(&opaque("q", source()), &expected()).is_err());
        assert!(verify(&transparent("q", source()), &expected()).is_err());
        assert!(verify(&opaque("p", source()), &Expected::new()).is_err());
    }

    #[test]
    fn a_barrier_below_a_barrier_is_refused() {
        assert!(verify(&transparent("p", opaque("p", source())), &expected()).is_err());
    }
}

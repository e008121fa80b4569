//! A query that goes on over the events of a batch, as they come to hand.
//!
//! To start a plan costs about as much as to run it over a thousand events, and events should be looked at while they are
//! still in the processor's caches: so a plan is started once for a batch and given few events at a time. Only plans of
//! which each part hands on what it was given can do so. When one fails it is not known what it has given already: the
//! batch is done again, each part of it by itself.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use arrow::array::RecordBatch;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::execution_plan::{EmissionType, reset_plan_states};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::stream::Fuse;
use futures::{Stream, StreamExt, future};

/// A query failed over some events of a batch; the error's text may quote a value, so it is dropped.
#[derive(Debug)]
pub(crate) struct Stopped;

/// A plan that was started and goes on.
pub(crate) struct Running {
    parts: Vec<Fuse<SendableRecordBatchStream>>,
}

/// Whether each part of a plan hands on what it was given, and reads its input from the first event on.
pub(crate) fn can_go_on(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let children = plan.children();
    let one_way = children.len() <= 1 || plan.is::<UnionExec>();
    one_way && plan.pipeline_behavior() == EmissionType::Incremental && children.into_iter().all(can_go_on)
}

impl Running {
    /// Starts a copy of the plan.
    pub(crate) fn start(plan: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Result<Self, Stopped> {
        let plan = reset_plan_states(Arc::clone(plan)).map_err(|_| Stopped)?;
        let parts = 0..plan.output_partitioning().partition_count();
        let started = parts.map(|part| Ok(plan.execute(part, Arc::clone(context)).map_err(|_| Stopped)?.fuse()));
        Ok(Running { parts: started.collect::<Result<_, Stopped>>()? })
    }

    /// What comes of the events that were put last. A part may keep some rows for later.
    pub(crate) async fn rows(&mut self) -> Result<Vec<RecordBatch>, Stopped> {
        let mut rows = Vec::new();
        self.read(&mut rows).await?;
        Ok(rows)
    }

    /// What is left when no more events come.
    pub(crate) async fn rest(mut self) -> Result<Vec<RecordBatch>, Stopped> {
        let mut rows = Vec::new();
        // A part that waits now waits for something else than events.
        if self.read(&mut rows).await? { Ok(rows) } else { Err(Stopped) }
    }

    /// Reads all that there is now, on this thread; tells whether every part has ended.
    async fn read(&mut self, rows: &mut Vec<RecordBatch>) -> Result<bool, Stopped> {
        let all = future::poll_fn(|context| {
            let mut ended = true;
            for part in &mut self.parts {
                loop {
                    match Pin::new(&mut *part).poll_next(context) {
                        Poll::Ready(Some(Ok(batch))) => rows.push(batch),
                        Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Stopped)),
                        Poll::Ready(None) => break,
                        Poll::Pending => {
                            ended = false;
                            break;
                        }
                    }
                }
            }
            Poll::Ready(Ok(ended))
        });
        // A plan's parts give way to other tasks now and then, which would look like an end of the events.
        tokio::task::unconstrained(all).await
    }
}

//! The threads on which statements are planned and run.
//!
//! The engine walks expressions and plans by recursion, and frees them so. On a thread of the usual size a statement of a
//! few hundred terms would overflow the stack, which ends the process and not the statement. So statements have threads
//! of their own, with a stack that is large enough for whatever the gate lets pass; memory is taken only where it is
//! touched. It also keeps statements that compute from those who accept connections.

use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinHandle};

use crate::QueryError;

/// See `gate::size` for how deep a statement may be.
const STACK: usize = 256 << 20;

/// Threads of one service.
#[derive(Debug)]
pub(crate) struct Workers {
    runtime: Option<Runtime>,
}

impl Workers {
    /// Starts so many threads.
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_stack_size(STACK)
            .thread_keep_alive(Duration::from_secs(1))
            .thread_name("lakeward-query")
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs the future until it ends or the handle is dropped.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<Running<T>, QueryError> {
        let runtime = self.runtime.as_ref().ok_or_else(QueryError::internal)?;
        Ok(Running(runtime.spawn(future)))
    }

    /// Runs the future until the deadline; a panic in it is an internal error.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        future: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Result<T, QueryError> {
        let mut running = self.spawn(future)?;
        match tokio::time::timeout_at(deadline.into(), running.ended()).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => {
                tracing::error!("the engine panicked while it planned a statement");
                Err(QueryError::internal())
            }
            Err(_) => Err(QueryError::time_limit()),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // The last owner may be a task of another runtime, where nobody may wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running<T>(JoinHandle<T>);

impl<T> Running<T> {
    /// Waits for the end; an error is a panic.
    pub(crate) async fn ended(&mut self) -> Result<T, JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

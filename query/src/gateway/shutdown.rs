//! The one way in which every server ends.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::FutureExt;

/// Resolves when a server should take no more connections.
pub(crate) type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a server that ends by itself after the signal; what still runs after `grace` is dropped.
pub(crate) async fn serve_until<S, F, E>(
    shutdown: impl Future<Output = ()> + Send + 'static,
    grace: Duration,
    server: S,
) -> Result<(), E>
where
    S: FnOnce(Signal) -> F,
    F: Future<Output = Result<(), E>>,
{
    // Both wait for the shutdown itself: a server that takes no notice of its signal, or drops it, is left all the same.
    let shutdown = shutdown.boxed().shared();
    let signal: Signal = Box::pin(shutdown.clone());
    let overdue = async {
        shutdown.await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        ended = server(signal) => ended,
        () = overdue => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_server_that_does_not_end_is_left_after_the_grace() {
        let never = |_signal: Signal| std::future::pending::<Result<(), Infallible>>();
        assert!(serve_until(std::future::ready(()), Duration::ZERO, never).await.is_ok());
    }

    #[tokio::test]
    async fn what_still_runs_may_end_within_the_grace() {
        let (ended, ends) = oneshot::channel();
        let server = |signal: Signal| async move {
            signal.await;
            tokio::task::yield_now().await;
            ended.send(()).unwrap();
            Ok::<(), Infallible>(())
        };
        assert!(serve_until(std::future::ready(()), Duration::from_secs(60), server).await.is_ok());
        ends.await.unwrap();
    }
}

//! The one way in which every server ends.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::oneshot;

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
    let (began, begins) = oneshot::channel();
    let signal: Signal = Box::pin(async move {
        shutdown.await;
        // The other side is gone only when the server has ended.
        let _ = began.send(());
    });
    let overdue = async {
        match begins.await {
            Ok(()) => tokio::time::sleep(grace).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = server(signal) => ended,
        () = overdue => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

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

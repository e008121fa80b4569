//! The listening side.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::{HttpState, Operations, operations_router, router};
use crate::gateway::serve_until;

/// How long an answer about health may take to end after a shutdown began.
const OPERATIONS_GRACE: Duration = Duration::from_secs(1);

/// Serves until `shutdown` resolves, then takes no more connections, lets running answers end for as long as
/// [`HttpState::grace`] says, and returns.
pub async fn serve_http(
    listener: TcpListener,
    state: HttpState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let grace = state.grace;
    serve_until(shutdown, grace, |signal| async move {
        axum::serve(listener, router(state).into_make_service_with_connect_info::<SocketAddr>())
            .with_graceful_shutdown(signal)
            .await
    })
    .await
}

/// Serves health and counters alone until `shutdown` resolves.
pub async fn serve_operations(
    listener: TcpListener,
    operations: Operations,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_until(shutdown, OPERATIONS_GRACE, |signal| async move {
        axum::serve(listener, operations_router(operations)).with_graceful_shutdown(signal).await
    })
    .await
}

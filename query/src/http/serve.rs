//! The listening side.

use std::future::Future;
use std::io;

use tokio::net::TcpListener;

use super::{HttpState, router};
use crate::gateway::serve_until;

/// Serves until `shutdown` resolves, then takes no more connections, lets running answers end for as long as
/// [`HttpState::grace`] says, and returns.
pub async fn serve_http(
    listener: TcpListener,
    state: HttpState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let grace = state.grace;
    serve_until(shutdown, grace, |signal| async move {
        axum::serve(listener, router(state)).with_graceful_shutdown(signal).await
    })
    .await
}

//! Ctrl-C and SIGTERM.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Heeds both signals from now on: the token is cancelled by the first.
pub(crate) fn asked_for() -> anyhow::Result<CancellationToken> {
    let listen = |kind| signal(kind).context("signals cannot be heeded");
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let asked = CancellationToken::new();
    let cancel = asked.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        cancel.cancel();
    });
    Ok(asked)
}

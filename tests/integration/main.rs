//! One integration binary, a module per topic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

mod asking;
mod audit;
mod check;
mod crate_edges;
mod demo;
mod init;
mod observed;
mod real;
mod rights;
mod serve;
mod stand_in;
mod walkthrough;

use std::time::Duration;

use tokio::sync::Mutex;

/// Held by what measures time or needs the whole machine: such tests do not run beside each other.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Asks again and again until the answer is the wanted one; `what` is said when that takes longer than `patience`.
async fn until<T, F>(what: &str, patience: Duration, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        match ask().await {
            Ok(wanted) => return wanted,
            Err(last) => {
                assert!(tokio::time::Instant::now() < deadline, "after {patience:?} still not: {what}; last: {last}");
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

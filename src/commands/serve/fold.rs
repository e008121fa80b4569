//! The audit's segments go into `audit.events`, every few seconds and once more at the end.
//!
//! Every process does it that answers or maintains; of several that fold the same segments one wins, and the others leave it.

use std::time::Duration;

use lakeward_tables::Journal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long the last fold may take.
const LAST: Duration = Duration::from_secs(2);

/// A running fold.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Starts it.
pub(crate) fn start(journal: Journal, interval: Duration) -> Running {
    let stop = CancellationToken::new();
    let ended = stop.clone();
    let task = tokio::spawn(async move {
        loop {
            tokio::select! {
                () = ended.cancelled() => break,
                // One that is cut off has committed or it has not: what it leaves behind the next one finds.
                () = after(interval, &journal) => {}
            }
        }
        // What is left stands in segments and is folded by the next process.
        let _ = tokio::time::timeout(LAST, fold(&journal)).await;
    });
    Running { stop, task }
}

async fn after(interval: Duration, journal: &Journal) {
    tokio::time::sleep(interval).await;
    fold(journal).await;
}

async fn fold(journal: &Journal) {
    loop {
        match journal.fold().await {
            Ok(folded) if folded.more => {}
            Ok(_) => return,
            Err(error) => return tracing::warn!(%error, "the audit could not be folded; it is tried again"),
        }
    }
}

impl Running {
    /// Folds once more and ends.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // A panic has been told where it happened.
        let _ = self.task.await;
    }
}

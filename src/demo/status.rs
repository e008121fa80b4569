//! One line that moves: how much came, how much stands, how far behind.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use lakeward_ingest::{IngestMetrics, Totals};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// On a terminal the line is drawn over; elsewhere a line is added now and then.
const ON_TERMINAL: Duration = Duration::from_millis(500);
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Prints until told to stop.
pub(super) async fn line(metrics: Arc<IngestMetrics>, live: watch::Receiver<u64>, stop: CancellationToken) {
    let terminal = std::io::stdout().is_terminal();
    let mut pace = tokio::time::interval(if terminal { ON_TERMINAL } else { ELSEWHERE });
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = pace.tick() => {}
        }
        let text = text(&metrics.totals(), *live.borrow());
        let mut out = std::io::stdout().lock();
        // A closed terminal is no reason to stop the demo.
        let _ = if terminal { write!(out, "\r\x1b[K{text}") } else { writeln!(out, "{text}") };
        let _ = out.flush();
    }
    if terminal {
        let _ = writeln!(std::io::stdout());
    }
}

fn text(totals: &Totals, live: u64) -> String {
    format!(
        "messages {}  rows {}  dead letters {}  lag {}  commits {}  live events {live}",
        totals.messages, totals.rows, totals.dead_letters, totals.lag, totals.commits
    )
}

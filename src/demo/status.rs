//! One line that moves: how much came, how much stands, how far behind.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use lakeward_ingest::{IngestMetrics, Totals};
use tokio::sync::watch;

/// On a terminal the line is drawn over; elsewhere a line is added now and then.
const ON_TERMINAL: Duration = Duration::from_millis(500);
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Prints without an end.
pub(super) async fn line(metrics: &IngestMetrics, live: watch::Receiver<u64>) {
    let terminal = std::io::stdout().is_terminal();
    let mut pace = tokio::time::interval(if terminal { ON_TERMINAL } else { ELSEWHERE });
    loop {
        pace.tick().await;
        let text = text(&metrics.totals(), *live.borrow());
        let mut out = std::io::stdout().lock();
        // A closed terminal is no reason to stop the demo.
        let _ = if terminal { write!(out, "\r\x1b[K{text}") } else { writeln!(out, "{text}") };
        let _ = out.flush();
    }
}

/// Goes below the line; whatever comes next would stand behind it.
pub(super) fn leave() {
    if std::io::stdout().is_terminal() {
        let _ = writeln!(std::io::stdout());
    }
}

fn text(totals: &Totals, live: u64) -> String {
    format!(
        "messages {}  rows {}  dead letters {}  lag {}  commits {}  live events {live}",
        totals.messages, totals.rows, totals.dead_letters, totals.lag, totals.commits
    )
}

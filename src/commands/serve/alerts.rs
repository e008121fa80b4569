//! The rules of `sql/audit` are asked from time to time, by a process that maintains the tables.

use std::time::Duration;

use lakeward_query::{Alert, AlertRules};
use lakeward_tables::Lake;
use prometheus::{IntCounterVec, Opts, Registry};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Starts it; it ends when what it gives is dropped.
pub(super) fn start(
    lake: Lake,
    rules: AlertRules,
    interval: Duration,
    registry: &Registry,
) -> Result<DropGuard, prometheus::Error> {
    let raised = IntCounterVec::new(
        Opts::new("lakeward_audit_alerts_total", "Alerts that the rules over the audit have raised"),
        &["rule"],
    )?;
    registry.register(Box::new(raised.clone()))?;
    for rule in rules.names() {
        raised.with_label_values(&[rule]);
    }
    let stop = CancellationToken::new();
    let ended = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = ended.cancelled() => {}
            () = ask(&lake, &rules, interval, &raised) => {}
        }
    });
    Ok(stop.drop_guard())
}

async fn ask(lake: &Lake, rules: &AlertRules, interval: Duration, raised: &IntCounterVec) {
    loop {
        tokio::time::sleep(interval).await;
        match rules.raise(lake, chrono::Utc::now()).await {
            Ok(alerts) => alerts.iter().for_each(|alert| tell(alert, raised)),
            Err(error) => tracing::warn!(%error, "the rules over the audit could not be asked; tried again"),
        }
    }
}

fn tell(alert: &Alert, raised: &IntCounterVec) {
    raised.with_label_values(&[alert.rule.as_str()]).inc();
    let Alert { rule, severity, principal } = alert;
    tracing::warn!(rule, severity, principal, "the audit raised an alert; see audit.alerts");
}

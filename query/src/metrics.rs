//! Counts of statements; never a label with a value of the data.

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counters of the service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct QueryMetrics {
    /// Statements by protocol and outcome.
    pub statements: IntCounterVec,
    /// Time from start to the last row, by protocol.
    pub seconds: HistogramVec,
    /// Rows that left the barrier side as answers.
    pub rows: IntCounter,
    /// Statements that run at this moment.
    pub running: IntGauge,
}

impl QueryMetrics {
    /// Creates the counters and registers them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            statements: IntCounterVec::new(
                Opts::new("lakeward_query_statements_total", "Statements by protocol and outcome"),
                &["protocol", "outcome"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new("lakeward_query_seconds", "Time from the start of a statement to its last row")
                    .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]),
                &["protocol"],
            )?,
            rows: IntCounter::new("lakeward_query_rows_total", "Rows of answers")?,
            running: IntGauge::new("lakeward_query_running", "Statements that run at this moment")?,
        };
        registry.register(Box::new(metrics.statements.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.rows.clone()))?;
        registry.register(Box::new(metrics.running.clone()))?;
        Ok(metrics)
    }
}

//! Counters of the audit.

use prometheus::{Histogram, HistogramOpts, IntCounter, Registry};

/// Counters of what is written. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditMetrics {
    pub(super) records: IntCounter,
    pub(super) segments: IntCounter,
    pub(super) failures: IntCounter,
    pub(super) lost: IntCounter,
    pub(super) seconds: Histogram,
}

impl AuditMetrics {
    /// Creates the counters and registers them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            records: IntCounter::new("lakeward_audit_records_total", "Records that became durable")?,
            segments: IntCounter::new("lakeward_audit_segments_total", "Segments by which they did")?,
            failures: IntCounter::new(
                "lakeward_audit_failures_total",
                "Segments that could not be written: their statements were refused",
            )?,
            lost: IntCounter::new(
                "lakeward_audit_unfinished_total",
                "Statements whose client went away and whose end could not be recorded",
            )?,
            seconds: Histogram::with_opts(
                HistogramOpts::new("lakeward_audit_seconds", "Time in which a segment became durable")
                    .buckets(vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0]),
            )?,
        };
        registry.register(Box::new(metrics.records.clone()))?;
        registry.register(Box::new(metrics.segments.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        registry.register(Box::new(metrics.lost.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        Ok(metrics)
    }
}

//! What is known of a statement when it ends: one audit event, and the counters.

use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::audit::{Audit, AuditEvent, Outcome};
use crate::governed::Reads;
use crate::{QueryMetrics, RequestContext};

/// The account of one statement; closed once, at the latest when it is dropped.
pub(crate) struct Ledger {
    audit: Arc<dyn Audit>,
    metrics: QueryMetrics,
    reads: Reads,
    event: AuditEvent,
    started: Instant,
    open: bool,
}

impl Ledger {
    pub(crate) fn open(
        audit: Arc<dyn Audit>,
        metrics: QueryMetrics,
        context: &RequestContext,
        sql: &str,
        reads: Reads,
    ) -> Self {
        metrics.running.inc();
        let event = AuditEvent {
            request_id: context.request_id.clone(),
            principal: context.principal.id.clone(),
            purpose: context.principal.purpose.clone(),
            protocol: context.protocol,
            statement: data_encoding::HEXLOWER.encode(&Sha256::digest(sql.as_bytes())),
            tables: Vec::new(),
            rows: 0,
            milliseconds: 0,
            outcome: Outcome::Cancelled,
        };
        Self { audit, metrics, reads, event, started: Instant::now(), open: true }
    }

    pub(crate) fn add_rows(&mut self, rows: usize) {
        self.event.rows += rows as u64;
        self.metrics.rows.inc_by(rows as u64);
    }

    pub(crate) fn finish(&mut self, outcome: Outcome) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let elapsed = self.started.elapsed();
        self.event.tables = std::mem::take(&mut *self.reads.lock());
        self.event.milliseconds = elapsed.as_millis().try_into().unwrap_or(u64::MAX);
        self.event.outcome = outcome;
        self.metrics.running.dec();
        self.metrics.statements.with_label_values(&[self.event.protocol, outcome.as_str()]).inc();
        self.metrics.seconds.with_label_values(&[self.event.protocol]).observe(elapsed.as_secs_f64());
        self.audit.record(&self.event);
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.finish(Outcome::Cancelled);
    }
}

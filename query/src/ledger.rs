//! The account of one statement: its records in the audit, and the counters.

use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::DataType;

use crate::audit::{Audit, Kind, Outcome, Record, without_literals};
use crate::witness::Reads;
use crate::{QueryError, QueryMetrics, RequestContext};

/// A record of who asks, and what.
pub(crate) fn record(audit: &dyn Audit, kind: Kind, context: &RequestContext, sql: Option<&str>) -> Record {
    let principal = &context.principal;
    Record {
        request_id: context.request_id.clone(),
        principal: principal.id.clone(),
        issuer: principal.issuer.clone(),
        purpose: principal.purpose.clone(),
        roles: principal.roles.iter().cloned().collect(),
        protocol: context.protocol.to_owned(),
        peer: context.peer.clone(),
        grant_id: context.grant_id.clone(),
        statement: sql.and_then(without_literals),
        digest: sql.map(|sql| audit.key().statement(sql)),
        ..Record::new(kind)
    }
}

/// Keeps the one record of a question that gives no rows of tables; the answer leaves afterwards, or not at all.
pub(crate) async fn keep<T>(
    audit: &dyn Audit,
    record: Record,
    started: Instant,
    answer: Result<T, QueryError>,
) -> Result<T, QueryError> {
    let outcome = answer.as_ref().map_or_else(|error| Outcome::Failed(error.code), |_| Outcome::Complete);
    let record =
        Record { outcome: Some(outcome.as_str().to_owned()), milliseconds: Some(milliseconds(started)), ..record };
    audit.keep(record).await.map_err(|_| QueryError::audit_unavailable())?;
    answer
}

fn milliseconds(since: Instant) -> i64 {
    since.elapsed().as_millis().try_into().unwrap_or(i64::MAX)
}

/// The account of one statement that runs; closed once, at the latest when it is dropped.
pub(crate) struct Ledger {
    audit: Arc<dyn Audit>,
    metrics: QueryMetrics,
    reads: Arc<Reads>,
    record: Record,
    rows: u64,
    bytes: u64,
    started: Instant,
    open: bool,
}

impl Ledger {
    pub(crate) fn open(
        audit: Arc<dyn Audit>,
        metrics: QueryMetrics,
        context: &RequestContext,
        sql: &str,
        reads: Arc<Reads>,
    ) -> Self {
        metrics.running.inc();
        let record = record(audit.as_ref(), Kind::Started, context, Some(sql));
        Self { audit, metrics, reads, record, rows: 0, bytes: 0, started: Instant::now(), open: true }
    }

    /// Keeps the record without which no row may leave.
    pub(crate) fn start(&self) -> impl Future<Output = Result<(), QueryError>> + Send + use<> {
        let record = Record { tables: self.reads.tables(), ..self.record.clone() };
        let audit = Arc::clone(&self.audit);
        async move { audit.keep(record).await.map_err(|_| QueryError::audit_unavailable()) }
    }

    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        self.metrics.rows.inc_by(batch.num_rows() as u64);
        self.bytes += batch.columns().iter().map(|column| size_of(column.as_ref())).sum::<u64>();
    }

    /// Keeps the record of the end; until then the end must not be told.
    pub(crate) async fn finish(&mut self, outcome: Outcome) -> Result<(), QueryError> {
        match self.closed(outcome) {
            Some(record) => self.audit.keep(record).await.map_err(|_| QueryError::audit_unavailable()),
            None => Ok(()),
        }
    }

    /// Counts the statement and gives its last record, the first time.
    fn closed(&mut self, outcome: Outcome) -> Option<Record> {
        if !std::mem::take(&mut self.open) {
            return None;
        }
        let elapsed = self.started.elapsed();
        self.metrics.running.dec();
        self.metrics.statements.with_label_values(&[self.record.protocol.as_str(), outcome.as_str()]).inc();
        self.metrics.seconds.with_label_values(&[self.record.protocol.as_str()]).observe(elapsed.as_secs_f64());
        let whole = |number: u64| Some(i64::try_from(number).unwrap_or(i64::MAX));
        let of_now = Record::new(Kind::Finished);
        Some(Record {
            at: of_now.at,
            kind: of_now.kind,
            tables: self.reads.tables(),
            rows: whole(self.rows),
            bytes: whole(self.bytes),
            outcome: Some(outcome.as_str().to_owned()),
            milliseconds: Some(milliseconds(self.started)),
            subjects: self.reads.subjects(self.audit.key()),
            ..self.record.clone()
        })
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Some(record) = self.closed(Outcome::Cancelled) {
            self.audit.keep_later(record);
        }
    }
}

/// Bytes of the values. How rows are divided into batches, which depends on rows that nobody sees, makes no difference.
fn size_of(column: &dyn Array) -> u64 {
    let rows = column.len() as u64;
    let texts = |lengths: &mut dyn Iterator<Item = Option<usize>>| lengths.flatten().sum::<usize>() as u64;
    match column.data_type() {
        DataType::Utf8 => texts(&mut column.as_string::<i32>().iter().map(|text| text.map(str::len))),
        DataType::Utf8View => texts(&mut column.as_string_view().iter().map(|text| text.map(str::len))),
        DataType::Binary => texts(&mut column.as_binary::<i32>().iter().map(|bytes| bytes.map(<[u8]>::len))),
        DataType::BinaryView => texts(&mut column.as_binary_view().iter().map(|bytes| bytes.map(<[u8]>::len))),
        DataType::List(_) => column.as_list::<i32>().iter().flatten().map(|items| size_of(items.as_ref())).sum(),
        DataType::Struct(_) => column.as_struct().columns().iter().map(|column| size_of(column.as_ref())).sum(),
        fixed => rows * fixed.primitive_width().unwrap_or(1) as u64,
    }
}

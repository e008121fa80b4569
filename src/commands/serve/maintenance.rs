//! Maintenance in the background of a process that ingests: a pass over all tables, then a pause.

use std::time::Duration;

use lakeward_tables::maintenance::{Maintained, Maintenance};
use lakeward_tables::{Lake, TableName};
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config;

/// A running maintenance.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Log lines and metrics of what was done.
struct Told {
    compactions: IntCounterVec,
    overtaken: IntCounterVec,
    files: IntCounterVec,
    bytes: IntCounterVec,
    checkpoints: IntCounterVec,
    deleted: IntCounterVec,
    failures: IntCounterVec,
    lease: IntGaugeVec,
}

/// Starts it.
pub(crate) fn start(lake: Lake, config: &config::Maintenance, registry: &Registry) -> anyhow::Result<Running> {
    let tables: Vec<TableName> = lake.names().cloned().collect();
    let told = Told::new(registry, &tables)?;
    let (stop, interval) = (CancellationToken::new(), config.interval);
    let maintenance = Maintenance::new(lake.clone(), config.config.clone());
    let ended = stop.clone();
    let task = tokio::spawn(async move {
        // A compaction that is cut off has committed or it has not: what it wrote for nothing is deleted some day.
        tokio::select! {
            () = ended.cancelled() => {}
            () = work(&maintenance, &tables, interval, &told) => {}
        }
        let _ = tokio::time::timeout(Duration::from_secs(2), maintenance.release()).await;
    });
    Ok(Running { stop, task })
}

async fn work(maintenance: &Maintenance, tables: &[TableName], interval: Duration, told: &Told) {
    loop {
        tokio::time::sleep(interval).await;
        for table in tables {
            match maintenance.pass(table).await {
                Ok(done) => told.done(table, &done),
                Err(error) => told.failed(table, &error),
            }
        }
    }
}

impl Running {
    /// Ends it and gives its leases back.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // A panic has been told where it happened, and nothing hangs on it here.
        let _ = self.task.await;
    }
}

impl Told {
    /// Every table is shown from the start: what is absent cannot be told from what is not watched.
    fn new(registry: &Registry, tables: &[TableName]) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let family = IntCounterVec::new(Opts::new(format!("lakeward_maintenance_{name}_total"), help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let lease = Opts::new("lakeward_maintenance_lease", "1 where this process maintains the table");
        let lease = IntGaugeVec::new(lease, &["table"])?;
        registry.register(Box::new(lease.clone()))?;
        let told = Self {
            compactions: counter("compactions", "Compactions that were committed", &["table"])?,
            overtaken: counter(
                "overtaken",
                "Compactions thrown away because a merge or another holder was first",
                &["table"],
            )?,
            files: counter("files", "Files that compactions read, and wrote", &["table", "direction"])?,
            bytes: counter("bytes", "Bytes that compactions read, and wrote", &["table", "direction"])?,
            checkpoints: counter("checkpoints", "Checkpoints that were made", &["table"])?,
            deleted: counter(
                "deleted_files",
                "Files deleted after their retention, by what they were",
                &["table", "kind"],
            )?,
            failures: counter("failures", "Passes over a table that failed", &["table"])?,
            lease,
        };
        for table in tables {
            told.count(table, &Maintained::default());
            told.failures.with_label_values(&[&table.to_string()]);
        }
        Ok(told)
    }

    fn done(&self, table: &TableName, done: &Maintained) {
        self.count(table, done);
        if *done == (Maintained { due: done.due, holds_lease: done.holds_lease, ..Maintained::default() }) {
            return;
        }
        tracing::info!(
            %table,
            compactions = done.compactions,
            overtaken = done.overtaken,
            files_in = done.files_in,
            files_out = done.files_out,
            bytes_in = done.bytes_in,
            bytes_out = done.bytes_out,
            checkpoints = done.checkpoints,
            files_deleted = done.files_deleted,
            log_files_deleted = done.log_files_deleted,
            "table maintained"
        );
    }

    fn count(&self, table: &TableName, done: &Maintained) {
        let name = table.to_string();
        let of = [name.as_str()];
        self.lease.with_label_values(&of).set(done.holds_lease.into());
        self.compactions.with_label_values(&of).inc_by(done.compactions);
        self.overtaken.with_label_values(&of).inc_by(done.overtaken);
        self.files.with_label_values(&[&name, "in"]).inc_by(done.files_in);
        self.files.with_label_values(&[&name, "out"]).inc_by(done.files_out);
        self.bytes.with_label_values(&[&name, "in"]).inc_by(done.bytes_in);
        self.bytes.with_label_values(&[&name, "out"]).inc_by(done.bytes_out);
        self.checkpoints.with_label_values(&of).inc_by(done.checkpoints);
        self.deleted.with_label_values(&[&name, "data"]).inc_by(done.files_deleted);
        self.deleted.with_label_values(&[&name, "log"]).inc_by(done.log_files_deleted);
    }

    fn failed(&self, table: &TableName, error: &lakeward_tables::TablesError) {
        self.failures.with_label_values(&[&table.to_string()]).inc();
        tracing::warn!(%table, %error, "a table could not be maintained; it is tried again");
    }
}

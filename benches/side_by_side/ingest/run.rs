//! One run of a side, and what it told.

use std::fmt;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::COMMIT_BYTES;
use super::broker::{Broker, python};
use crate::ROOT;

/// What a run measured; both sides tell it in these words.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) messages: u64,
    /// Of payload, millions of bytes.
    pub(super) megabytes: f64,
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) raw_rows: u64,
    pub(super) curated_rows: u64,
    pub(super) raw_file_bytes: u64,
    pub(super) curated_file_bytes: u64,
    pub(super) peak_memory_bytes: u64,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { megabytes, seconds, cpu_seconds, raw_rows, curated_rows, .. } = self;
        write!(
            f,
            "{:>6.1} MB per CPU s, {:>6.1} MB/s ({seconds:.2} s, {cpu_seconds:.2} CPU s), rows {raw_rows} raw {curated_rows} curated",
            megabytes / cpu_seconds,
            megabytes / seconds,
        )
    }
}

/// Lakeward's side: this program again, for nothing but ingest.
pub(super) async fn lakeward(broker: &Broker, folder: &Path) -> anyhow::Result<Run> {
    let mut command = Command::new(std::env::current_exe().context("the bench does not find itself")?);
    command.arg("ingest-once").args(["--bootstrap", &broker.bootstrap, "--topic", &broker.topic]);
    command.arg("--messages").arg(broker.messages.to_string()).arg("--bytes").arg(broker.bytes.to_string());
    command.arg("--dir").arg(folder).arg("--commit-bytes").arg(COMMIT_BYTES.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    told(command, broker, folder).await.context("Lakeward's side of ingest")
}

/// The other side.
pub(super) async fn python_job(broker: &Broker, folder: &Path) -> anyhow::Result<Run> {
    let mut command = python("benches/rival/ingest.py");
    command.args(["--bootstrap", &broker.bootstrap, "--topic", &broker.topic]);
    command.arg("--messages").arg(broker.messages.to_string());
    command.arg("--dir").arg(folder).arg("--commit-bytes").arg(COMMIT_BYTES.to_string());
    command.arg("--special-codes").arg(format!("{ROOT}/sql/reference/special_codes.csv"));
    command.arg("--known-systems").arg(format!("{ROOT}/sql/reference/known_systems.csv"));
    told(command, broker, folder).await.context("Python's side of ingest")
}

async fn told(mut command: Command, broker: &Broker, folder: &Path) -> anyhow::Result<Run> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let output = command.spawn().context("cannot be started")?.wait_with_output().await?;
    if !output.status.success() {
        bail!("it failed ({}): what it said stands above", output.status);
    }
    let run: Run = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("it said: {}", String::from_utf8_lossy(&output.stdout)))?;
    ensure!(run.messages == broker.messages && run.raw_rows == broker.messages, "it did not read all messages: {run}");
    Ok(run)
}

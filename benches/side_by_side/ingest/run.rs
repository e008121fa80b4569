//! One run of a side, and what it told.

use std::fmt;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::COMMIT_BYTES;
use super::broker::{Broker, python};
use super::limit::Limit;
use super::live::Lived;
use crate::ROOT;
use crate::arguments::Pace;

/// What a run measured; all sides tell it in these words.
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
    /// What the same took before, where the first time in a process is slower than all others.
    #[serde(default)]
    pub(super) first_time: Option<FirstTime>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FirstTime {
    pub(super) cpu_seconds: f64,
}

impl Run {
    pub(super) fn per_cpu(&self) -> f64 {
        self.megabytes / self.cpu_seconds
    }

    pub(super) fn by_clock(&self) -> f64 {
        self.megabytes / self.seconds
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, cpu_seconds, raw_rows, curated_rows, .. } = self;
        write!(
            f,
            "{:>6.1} MB per CPU s, {:>6.1} MB/s ({seconds:.2} s, {cpu_seconds:.2} CPU s), rows {raw_rows} raw {curated_rows} curated",
            self.per_cpu(),
            self.by_clock(),
        )
    }
}

/// Lakeward's side: this program again, for nothing but ingest.
pub(super) async fn lakeward(broker: &Broker, folder: &Path) -> anyhow::Result<Run> {
    emptied(folder)?;
    whole(told(own("ingest-once", broker, folder)?).await.context("Lakeward's side of ingest")?, broker)
}

/// The same with a SELECT that fails for one of so many events.
pub(super) async fn lakeward_failing(broker: &Broker, folder: &Path, of: u32) -> anyhow::Result<Run> {
    emptied(folder)?;
    let mut command = own("ingest-once", broker, folder)?;
    command.arg("--failing").arg(of.to_string());
    whole(told(command).await.context("ingest with a SELECT that fails")?, broker)
}

/// The same into the bucket beside the broker.
pub(super) async fn lakeward_into_bucket(broker: &Broker, prefix: &str) -> anyhow::Result<Run> {
    whole(told(own("ingest-once", broker, Path::new(prefix))?).await.context("ingest into S3")?, broker)
}

/// The curated tables of the folder made again from its raw table.
pub(super) async fn catch_up(broker: &Broker, folder: &Path) -> anyhow::Result<Run> {
    whole(told(own("catch-up-once", broker, folder)?).await.context("catching up from raw")?, broker)
}

/// What the raw table of the folder holds, decoded and encoded alone.
pub(super) async fn limit(broker: &Broker, folder: &Path) -> anyhow::Result<Limit> {
    told(own("limit-once", broker, folder)?).await.context("decoding and encoding alone")
}

/// Ingest while messages come.
pub(super) async fn live(broker: &Broker, folder: &Path, pace: Pace) -> anyhow::Result<Lived> {
    emptied(folder)?;
    let mut command = own("ingest-live", broker, folder)?;
    command.arg("--rate").arg(pace.rate.to_string()).arg("--seconds").arg(pace.seconds.to_string());
    told(command).await.context("ingest while messages come")
}

/// A rival: what runs it, as `tests/parts/python.sh` is told.
pub(super) async fn rival(program: &[&str], broker: &Broker, folder: &Path) -> anyhow::Result<Run> {
    emptied(folder)?;
    let mut command = python(program);
    let filled = &broker.filled;
    command.args(["--bootstrap", &filled.bootstrap, "--topic", &filled.topic]);
    command.arg("--messages").arg(filled.messages.to_string()).arg("--bytes").arg(filled.bytes.to_string());
    command.arg("--dir").arg(folder).arg("--commit-bytes").arg(COMMIT_BYTES.to_string());
    command.arg("--special-codes").arg(format!("{ROOT}/sql/reference/special_codes.csv"));
    command.arg("--known-systems").arg(format!("{ROOT}/sql/reference/known_systems.csv"));
    whole(told(command).await?, broker)
}

fn own(task: &str, broker: &Broker, folder: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("the bench does not find itself")?);
    let filled = &broker.filled;
    command.arg(task).args(["--bootstrap", &filled.bootstrap, "--topic", &filled.topic]);
    command.arg("--messages").arg(filled.messages.to_string()).arg("--bytes").arg(filled.bytes.to_string());
    command.arg("--poisoned").arg(filled.poisoned.to_string());
    command.arg("--dir").arg(folder).arg("--commit-bytes").arg(COMMIT_BYTES.to_string());
    if let Some(secured) = &filled.secured {
        command.arg("--secured").arg(secured.to_string());
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    Ok(command)
}

fn emptied(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

pub(super) async fn told<T: DeserializeOwned>(mut command: Command) -> anyhow::Result<T> {
    let output = command.spawn().context("cannot be started")?.wait_with_output().await?;
    if !output.status.success() {
        bail!("it failed ({}): what it said stands above", output.status);
    }
    let told = serde_json::from_slice(&output.stdout);
    told.with_context(|| format!("it said: {}", String::from_utf8_lossy(&output.stdout)))
}

fn whole(run: Run, broker: &Broker) -> anyhow::Result<Run> {
    let messages = broker.filled.messages;
    ensure!(run.messages == messages && run.raw_rows == messages, "it did not read all messages: {run}");
    Ok(run)
}

//! The broker of `benches/rival/broker.py`, filled.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::ROOT;

/// Starting and filling takes a minute or two on a slow machine.
const PATIENCE: Duration = Duration::from_secs(900);

pub(super) struct Broker {
    pub(super) bootstrap: String,
    pub(super) topic: String,
    pub(super) messages: u64,
    /// Of their payloads.
    pub(super) bytes: u64,
    child: Child,
}

#[derive(Deserialize)]
struct Filled {
    bootstrap: String,
    topic: String,
    messages: u64,
    bytes: u64,
}

/// The interpreter of the tests, with a script of this project.
pub(super) fn python(script: &str) -> Command {
    let mut command = Command::new(format!("{ROOT}/tests/parts/python.sh"));
    command.arg(format!("{ROOT}/{script}")).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

impl Broker {
    pub(super) async fn start(folder: &Path, megabytes: u32) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut command = python("benches/rival/broker.py");
        command.arg("--dir").arg(folder).arg("--megabytes").arg(megabytes.to_string());
        let mut child = command.spawn().context("cannot start Python: run tests/parts/setup.sh test")?;
        let stdout = child.stdout.take().context("the broker has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line());
        let Some(line) = line.await.context("the broker was not filled in time")?? else {
            bail!("the broker did not come up: what it said stands above, its log is in {}", folder.display());
        };
        let filled: Filled = serde_json::from_str(&line).with_context(|| format!("the broker said: {line}"))?;
        let Filled { bootstrap, topic, messages, bytes } = filled;
        Ok(Self { bootstrap, topic, messages, bytes, child })
    }

    /// It ends when its standard input closes, and takes the Java process with it.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await.context("the broker does not end")??;
        Ok(())
    }
}

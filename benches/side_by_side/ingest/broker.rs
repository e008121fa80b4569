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

/// How one reaches the broker, and what its topic holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// In plain text.
    Plain,
    /// The same, and of so many messages one is cut in the middle.
    Poisoned(u32),
    /// Over SASL_SSL, with an S3 server over TLS beside it.
    Secured,
}

pub(super) struct Broker {
    pub(super) filled: Filled,
    child: Child,
}

/// What the script says when the topic is full.
#[derive(Debug, Deserialize)]
pub(super) struct Filled {
    pub(super) bootstrap: String,
    pub(super) topic: String,
    pub(super) messages: u64,
    /// Of their payloads.
    pub(super) bytes: u64,
    /// How many of the messages cannot be read.
    pub(super) poisoned: u64,
    /// Where credentials stand, for [`super::worker`].
    pub(super) secured: Option<serde_json::Value>,
}

/// The interpreter of the tests, with what it is told.
pub(super) fn python(arguments: &[&str]) -> Command {
    let mut command = Command::new(format!("{ROOT}/tests/parts/python.sh"));
    command.args(arguments).current_dir(ROOT).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

impl Broker {
    pub(super) async fn start(folder: &Path, megabytes: u32, kind: Kind) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut command = python(&["benches/rival/broker.py"]);
        command.arg("--dir").arg(folder).arg("--megabytes").arg(megabytes.to_string());
        match kind {
            Kind::Plain => {}
            Kind::Poisoned(of) => drop(command.arg("--poison").arg(of.to_string())),
            Kind::Secured => drop(command.arg("--secured")),
        }
        eprintln!("ingest: starting a broker ({kind:?}) and filling it with {megabytes} MB of Observations …");
        let mut child = command.spawn().context("cannot start Python: run tests/parts/setup.sh test")?;
        let stdout = child.stdout.take().context("the broker has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line());
        let Some(line) = line.await.context("the broker was not filled in time")?? else {
            bail!("the broker did not come up: what it said stands above, its log is in {}", folder.display());
        };
        let filled: Filled = serde_json::from_str(&line).with_context(|| format!("the broker said: {line}"))?;
        eprintln!("ingest: {} messages, {:.0} MB", filled.messages, filled.bytes as f64 / 1e6);
        Ok(Self { filled, child })
    }

    /// It ends when its standard input closes, and takes the servers with it.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await.context("the broker does not end")??;
        Ok(())
    }
}

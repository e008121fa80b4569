//! The built `lakeward`, as processes of its own.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::parts::{Run, succeed};
use crate::until;

/// A running `lakeward serve`; killed when dropped.
pub(super) struct Serve {
    child: std::process::Child,
    http: String,
    log: std::path::PathBuf,
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakeward"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEWARD_")) {
        command.env_remove(name);
    }
    command
}

impl Serve {
    /// Starts all of it; `settings` go above the file, as environment variables.
    pub(super) fn start(run: &Run, settings: &[(&str, &str)]) -> Self {
        Self::start_with(&[], run, settings)
    }

    /// Starts one part of it.
    pub(super) fn start_only(part: &str, run: &Run, settings: &[(&str, &str)]) -> Self {
        Self::start_with(&["--only", part], run, settings)
    }

    fn start_with(arguments: &[&str], run: &Run, settings: &[(&str, &str)]) -> Self {
        let log = run.folder.join("serve.log");
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = command();
        command.args(["serve", "--config"]).arg(&run.config).args(arguments).envs(settings.iter().copied());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Self { child, http: run.http.clone(), log }
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// `kill -9`.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(super) async fn terminate(mut self, patience: Duration) -> ExitStatus {
        succeed(Command::new("kill").arg(self.child.id().to_string()));
        let child = &mut self.child;
        until("it ends after SIGTERM", patience, || {
            let ended = child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned());
            async { ended }
        })
        .await
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// What `/health/ready` answers; `None` when nobody does.
    pub(super) async fn readiness(&self) -> Option<(StatusCode, Value)> {
        let answer = reqwest::get(format!("{}/health/ready", self.http)).await.ok()?;
        Some((answer.status(), answer.json().await.ok()?))
    }

    pub(super) async fn until_ready(&mut self, patience: Duration) {
        self.until_readiness("every part is there", patience, |status, _| status == StatusCode::OK).await;
    }

    /// Waits for an answer of `/health/ready` and gives it.
    pub(super) async fn until_readiness(
        &mut self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(StatusCode, &str) -> bool,
    ) -> String {
        let this = &*self;
        let wanted = &wanted;
        until(what, patience, || async move {
            match this.readiness().await {
                Some((status, body)) if wanted(status, &body.to_string()) => Ok(body.to_string()),
                Some((status, body)) => Err(format!("{status} {body}")),
                None => Err(format!("nobody answers; the log ends with\n{}", tail(&this.log()))),
            }
        })
        .await
    }

    /// Waits until the raw tables have so many events more than when this process started.
    pub(super) async fn until_landed(&self, events: u64, patience: Duration) {
        until("the events are in the raw tables", patience, || async move {
            let landed = self.counter("lakeward_ingest_messages_total").await?;
            if landed >= events { Ok(()) } else { Err(format!("{landed} of {events}")) }
        })
        .await;
    }

    /// The same of one topic.
    pub(super) async fn until_landed_of(&self, topic: &str, events: u64, patience: Duration) {
        let name = format!("lakeward_ingest_messages_total{{topic=\"{topic}\"}}");
        until("the topic's events are in the raw table", patience, || async {
            let landed = self.counter(&name).await?;
            if landed >= events { Ok(()) } else { Err(format!("{landed} of {events}")) }
        })
        .await;
    }

    /// Waits until Kafka has nothing that the tables lack.
    pub(super) async fn until_caught_up(&mut self, patience: Duration) {
        self.until_ready(patience).await;
        let this = &*self;
        until("nothing lags behind", patience, || async move {
            let (lag, held) =
                (this.counter("lakeward_ingest_lag").await?, this.counter("lakeward_ingest_held_bytes").await?);
            if lag == 0 && held == 0 { Ok(()) } else { Err(format!("lag {lag}, held bytes {held}")) }
        })
        .await;
    }

    /// The sum of a metric over its labels; an error while it is not there.
    pub(super) async fn counter(&self, name: &str) -> Result<u64, String> {
        let answer = reqwest::get(format!("{}/metrics", self.http)).await.map_err(|error| error.to_string())?;
        let text = answer.text().await.map_err(|error| error.to_string())?;
        let mut values = text.lines().filter(|line| line.starts_with(name)).peekable();
        values.peek().ok_or_else(|| format!("there is no {name} yet"))?;
        Ok(values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the log of `lakeward serve` ends with\n{}", tail(&self.log()));
        }
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// `lakeward trace` of a key, by the configuration of a run and settings above it.
pub(super) fn trace(run: &Run, settings: &[(&str, &str)], topic: &str, key: &str) -> String {
    let mut command = command();
    command.args(["trace", "--config"]).arg(&run.config).args(["--topic", topic, "--key", key]);
    succeed(command.envs(settings.iter().copied()))
}

/// A command that asks by the configuration of a run and settings above it, to the end.
pub(super) fn query(run: &Run, settings: &[(&str, &str)], arguments: &[&str]) -> String {
    let mut command = command();
    succeed(command.args(arguments).arg("--config").arg(&run.config).envs(settings.iter().copied()))
}

/// A token of the development issuer that the settings name.
pub(super) fn token(run: &Run, settings: &[(&str, &str)], who: &str, more: &[&str]) -> String {
    let arguments = [&["token", "--as", who], more].concat();
    query(run, settings, &arguments).trim().to_owned()
}

/// `lakeward produce` by another configuration, to whatever end.
pub(super) fn produce_as(config: &Path, arguments: &[&str], files: &[&Path]) -> std::process::Output {
    let mut command = command();
    command.args(["produce", "--config"]).arg(config).args(arguments).args(files).stdin(Stdio::null()).output().unwrap()
}

/// `lakeward produce`, to the end.
pub(super) async fn produce(run: &Run, arguments: &[&str], files: &[&Path]) {
    let mut command = command();
    command.args(["produce", "--config"]).arg(&run.producer_config).args(arguments).args(files);
    tokio::task::spawn_blocking(move || succeed(&mut command)).await.unwrap();
}

//! A real Kafka, a real S3 and an issuer, started once for all tests of this process, and clients in other people's code.
//!
//! `tests/parts` starts them; what it needs is set up by `tests/parts/setup.sh test`. They end with this process: their
//! standard input closes.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

use crate::ALONE;

static PARTS: Mutex<Option<Parts>> = Mutex::const_new(None);

/// The parts that run, for one test at a time.
pub(super) struct Held(
    MutexGuard<'static, Option<Parts>>,
    #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>,
);

impl std::ops::Deref for Held {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        self.0.as_ref().expect("the parts run")
    }
}

impl std::ops::DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Parts {
        self.0.as_mut().expect("the parts run")
    }
}

/// The parts, started when first asked for; `None` where this machine lacks what they need, which is said loudly.
///
/// With `CI` set, or where `make test` has found everything, nothing may be missing.
pub(super) async fn parts() -> Option<Held> {
    let alone = ALONE.lock().await;
    let mut held = PARTS.lock().await;
    if held.is_none() {
        let check = python().args(["-m", "parts", "check"]).output().expect("bash runs");
        if !check.status.success() {
            let why = String::from_utf8_lossy(&check.stderr);
            let demanded = ["CI", "LAKEWARD_REAL_PARTS"].iter().any(|name| std::env::var_os(name).is_some());
            assert!(!demanded, "the real parts are not set up (tests/parts/setup.sh test):\n{why}");
            eprintln!("\n!! SKIPPED, nothing was tested against real parts: run tests/parts/setup.sh test\n{why}\n");
            return None;
        }
        *held = Some(tokio::task::spawn_blocking(Parts::start).await.expect("the parts start"));
    }
    Some(Held(held, alone))
}

/// Where the parts and everything of this run stand.
pub(super) struct Parts {
    pub(super) folder: PathBuf,
    pub(super) description: Value,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _child: Child,
}

/// What one Lakeward is configured with, in a folder of its own.
pub(super) struct Run {
    pub(super) folder: PathBuf,
    pub(super) json: PathBuf,
    pub(super) config: PathBuf,
    pub(super) producer_config: PathBuf,
    pub(super) http: String,
}

impl Parts {
    fn start() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut child = python()
            .args(["-m", "parts", "up", "--dir"])
            .arg(folder.join("parts"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let ready = line(&mut output);
        let path = ready["ready"].as_str().unwrap_or_else(|| panic!("the parts did not start: {ready}"));
        let description = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        Self { folder, description, input, output, _child: child }
    }

    /// Obeys `stop kafka`, `start s3`, `rotate issuer` and the like, and returns when it is done.
    pub(super) fn obey(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
        self.input.flush().unwrap();
        assert_eq!(line(&mut self.output)["done"], command);
    }

    /// Writes a configuration; `options` as `python -m parts config` has them.
    pub(super) fn configure(&self, name: &str, options: &[&str]) -> Run {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let parts = self.folder.join("parts/parts.json");
        let mut config = python();
        config.args(["-m", "parts", "config", "--parts"]).arg(parts).arg("--dir").arg(&folder).args(options);
        succeed(&mut config);
        let json = folder.join("run.json");
        let described: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        let text = |key: &str| described[key].as_str().unwrap().to_owned();
        Run {
            config: text("config").into(),
            producer_config: text("producer_config").into(),
            http: text("http"),
            json,
            folder,
        }
    }

    /// Synthea's bundles.
    pub(super) fn bundles(&self) -> Vec<PathBuf> {
        let bundles = self.description["bundles"].as_array().unwrap();
        bundles.iter().map(|path| path.as_str().unwrap().into()).collect()
    }
}

/// The Python of the tests.
pub(super) fn python() -> Command {
    let mut command = Command::new("bash");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parts/python.sh"));
    command
}

/// Runs a check of a run that speaks for itself; what it printed is shown either way.
pub(super) async fn check(client: &str, run: &Run, arguments: &[&OsStr]) {
    let started = std::time::Instant::now();
    let mut command = python();
    command.args(["-m", client, "--run"]).arg(&run.json).args(arguments);
    let output = tokio::task::spawn_blocking(move || succeed(&mut command)).await.unwrap();
    eprintln!("{client} ({:.0} s): {}", started.elapsed().as_secs_f64(), output.trim());
}

/// Runs a command that must succeed, and gives its standard output.
pub(super) fn succeed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

fn line(output: &mut impl BufRead) -> Value {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|_| panic!("the parts said `{line}`"))
}

//! The built `lakeward serve` without anything real behind it: what it refuses, and what it answers over a local folder.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::stand_in::{Request, respond, serve};

const LAKEWARD: &str = env!("CARGO_BIN_EXE_lakeward");

/// `lakeward` without the environment's settings.
pub(crate) fn lakeward() -> Command {
    let mut command = Command::new(LAKEWARD);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAKEWARD_")) {
        command.env_remove(name);
    }
    command
}

/// A running `lakeward serve --only query` over tables in a folder of its own, with a development issuer; killed when
/// dropped.
pub(crate) struct Endpoint {
    child: Child,
    pub(crate) url: String,
    pub(crate) config: PathBuf,
    _folder: tempfile::TempDir,
}

impl Endpoint {
    pub(crate) fn start() -> Self {
        Self::in_folder(|folder| format!("url = \"file://{}/lake\"\n", folder.display()))
    }

    /// Over the storage that these lines of `[storage]` configure.
    pub(crate) fn over(storage: &str) -> Self {
        Self::in_folder(|_| storage.to_owned())
    }

    fn in_folder(storage: impl Fn(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = write_config(folder.path(), &storage(folder.path()));
        let mut command = lakeward();
        command.args(["serve", "--only", "query", "--config"]).arg(&config);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut told = Vec::new();
        let url = loop {
            let Some(line) = log.next() else { panic!("it ended before it served:\n{}", told.join("\n")) };
            let line = line.unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"] == "lakeward serves" {
                break format!("http://{}", event["http"].as_str().unwrap());
            }
            told.push(line);
        };
        // Nobody reads on: a full pipe would stop the process.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, url, config, _folder: folder }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(folder: &Path, storage: &str) -> PathBuf {
    std::fs::write(folder.join("pseudonyms"), "0123456789abcdef0123456789abcdef").unwrap();
    let sql = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let config = folder.join("lakeward.toml");
    let text = format!(
        "[lakehouse]\ndirectory = \"{}\"\n[storage]\n{storage}[pseudonyms]\nsecret_file = \"pseudonyms\"\n\
         [development]\nkey_file = \"issuer.pem\"\n[audit]\nfold_interval = \"200ms\"\n[http]\nlisten = \"127.0.0.1:0\"\n[flight]\nlisten = \"127.0.0.1:0\"\n",
        sql.display()
    );
    std::fs::write(&config, text).unwrap();
    config
}

/// An S3 look-alike that takes `If-None-Match: *` for nothing: every create of one object succeeds.
fn careless(request: &Request, stream: &mut std::net::TcpStream) {
    match request.method.as_str() {
        "PUT" => respond(stream, "200 OK", "ETag: \"1\"\r\n", ""),
        "POST" => respond(stream, "200 OK", "Content-Type: application/xml\r\n", "<DeleteResult></DeleteResult>"),
        _ => respond(stream, "204 No Content", "", ""),
    }
}

#[test]
fn a_storage_without_put_if_absent_is_refused_in_words() {
    let address = serve(|request, stream| {
        assert!(request.method != "PUT" || request.head.to_ascii_lowercase().contains("if-none-match: *"));
        careless(request, stream);
    });
    let folder = tempfile::tempdir().unwrap();
    let storage = format!("url = \"s3://lake\"\nendpoint = \"http://{address}\"\nallow_http = true\n");
    let config = write_config(folder.path(), &storage);
    let mut command = lakeward();
    command.env("LAKEWARD_STORAGE_ACCESS_KEY_ID", "lake").env("LAKEWARD_STORAGE_SECRET_ACCESS_KEY", "secret");
    let Output { status, stderr, .. } =
        command.args(["serve", "--only", "query", "--config"]).arg(&config).output().unwrap();
    let said = String::from_utf8_lossy(&stderr);
    assert!(!status.success(), "{said}");
    for words in ["the storage cannot be used", "s3://lake", "put-if-absent", "more than one"] {
        assert!(said.contains(words), "`{words}` is missing in\n{said}");
    }
}

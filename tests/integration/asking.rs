//! `lakeward sql` and `lakeward token` as a person uses them: against an endpoint that runs.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use crate::serve::{Endpoint, lakeward};
use crate::stand_in;

/// Cells that a careless form would spoil.
const CELLS: &str = "SELECT 1 AS n, NULL AS nothing, 'a,\"b' AS text UNION ALL SELECT 2, NULL, 'é' ORDER BY n";

/// Two columns of one name.
const TWICE: &str = "SELECT x.a, y.a FROM (SELECT 1 AS a) x CROSS JOIN (SELECT 2 AS a) y";

fn sql(url: &str, arguments: &[&str]) -> Output {
    lakeward().args(["sql", "--url", url]).args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out.into_owned()
}

/// What is said of a failure: one line on standard error, nothing on standard output.
fn failure(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success() && out.is_empty(), "{out}{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    err.into_owned()
}

fn token(arguments: &[&str]) -> Output {
    lakeward().arg("token").args(arguments).output().unwrap()
}

#[test]
fn an_endpoint_is_asked_in_every_form_by_whoever_one_is() {
    let endpoint = Endpoint::start();
    let ask = |arguments: &[&str]| sql(&endpoint.url, arguments);

    let table = ask(&[CELLS]);
    let expected = "\
+---+---------+------+
| n | nothing | text |
+---+---------+------+
| 1 | ·       | a,\"b |
| 2 | ·       | é    |
+---+---------+------+
";
    assert_eq!(out(&table), expected);
    let told = String::from_utf8_lossy(&table.stderr).into_owned();
    assert!(told.starts_with("2 rows in ") && told.ends_with("purpose public\n"), "{told}");
    assert_eq!(out(&ask(&["--format", "csv", CELLS])), "n,nothing,text\n1,,\"a,\"\"b\"\n2,,é\n");
    let json = "{\"n\":1,\"nothing\":null,\"text\":\"a,\\\"b\"}\n{\"n\":2,\"nothing\":null,\"text\":\"é\"}\n";
    assert_eq!(out(&ask(&["--format", "json", CELLS])), json);
    assert_eq!(out(&ask(&["--format", "json", TWICE])), "{\"a\":1,\"a_2\":2}\n");

    let mut piped = lakeward()
        .args(["sql", "--format", "csv", "--url", &endpoint.url, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    piped.stdin.take().unwrap().write_all(b"SELECT 7 AS n").unwrap();
    assert_eq!(out(&piped.wait_with_output().unwrap()), "n\n7\n");

    for format in ["table", "csv", "json"] {
        let fails = |arguments: &[&str]| failure(&ask(&[&["--format", format], arguments].concat()));
        let said = fails(&["SELECT *\n  FRM clinics"]);
        assert!(said.contains("at line 2, column ") && said.contains("[syntax]"), "{said}");
        let said = fails(&["SELECT * FROM nowhere"]);
        assert!(said.contains("table curated.nowhere does not exist [not_found]"), "{said}");
        let said = fails(&["--token", "nonsense", "SELECT 1"]);
        assert!(said.contains("the token was not accepted") && said.contains("[unauthenticated]"), "{said}");
        let said = fails(&["--purpose", "care", "SELECT 1"]);
        assert!(said.contains("`care` is not open to you"), "{said}");
    }

    let config = endpoint.config.to_str().unwrap();
    let anna = out(&token(&["--config", config, "--as", "anna", "--roles", "analyst"]));
    let told = ask(&["--token", anna.trim(), "SELECT birth_date, phone FROM patients"]);
    out(&told);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("0 rows in ") && told.contains("purpose bi"), "{told}");
    assert!(told.contains("not clear: birth_date (generalised), phone (hidden)"), "{told}");
    // Without a role there are no patients at all.
    let nobody = out(&token(&["--config", config, "--as", "nikita"]));
    let said = failure(&ask(&["--token", nobody.trim(), "SELECT phone FROM patients"]));
    assert!(said.contains("table curated.patients does not exist"), "{said}");
}

#[test]
fn where_nobody_listens_the_address_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = failure(&sql(&format!("http://{free}"), &["SELECT 1"]));
    assert!(said.contains(&format!("no answer from http://{free}/v1/sql: is an endpoint running there?")), "{said}");
}

#[test]
fn tokens_come_from_a_development_issuer_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("lakeward.toml");
    let config_text = config.to_str().unwrap();
    std::fs::write(&config, "[[issuers]]\nurl = \"https://login.example.org\"\naudience = \"lakeward\"\n").unwrap();
    let said = failure(&token(&["--config", config_text, "--as", "anna", "--roles", "analyst"]));
    assert!(said.contains("has no [development] section: real issuers give their own tokens"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a key was made");

    // Nothing else of the configuration is needed.
    std::fs::write(&config, "[development]\nkey_file = \"issuer.pem\"\n").unwrap();
    let minted = out(&token(&["--config", config_text, "--as", "anna", "--roles", "analyst"]));
    assert_eq!(minted.trim().split('.').count(), 3, "{minted}");
    std::fs::write(folder.path().join("issuer.pem"), "no key").unwrap();
    let said = failure(&token(&["--config", config_text, "--as", "anna"]));
    assert!(said.contains("lakeward.toml:2: `key_file`: development key "), "{said}");

    let said = failure(&token(&["--demo", folder.path().to_str().unwrap(), "--as", "anna.analyst"]));
    assert!(said.contains("is no folder of a demo"), "{said}");
}

/// The line of progress goes on while rows come, and is gone before the end. `script` gives it a terminal.
#[test]
fn progress_moves_while_rows_come_and_leaves_nothing_behind() {
    for (format, body) in [("csv", "n\n1\n"), ("json", "{\"n\":1}\n")] {
        let (go_on, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let address = stand_in::serve(move |_, stream| {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}");
            // The end comes when the test has seen what it waits for.
            let _ = wait.lock().unwrap().recv();
        });
        let folder = tempfile::tempdir().unwrap();
        let answer = folder.path().join("answer");
        let line = format!(
            "'{}' sql --url http://{address} --format {format} 'SELECT 1' > '{}'",
            env!("CARGO_BIN_EXE_lakeward"),
            answer.display()
        );
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]).env_remove("LAKEWARD_TOKEN");
        let mut child = script.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut terminal = child.stdout.take().unwrap();
        let (mut shown, mut piece) = (String::new(), [0; 256]);
        while !(std::fs::read_to_string(&answer).is_ok_and(|answer| answer == body) && shown.contains(" received")) {
            let read = terminal.read(&mut piece).unwrap();
            assert!(read > 0, "it ended without progress: {shown}");
            shown.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
        go_on.send(()).unwrap();
        terminal.read_to_string(&mut shown).unwrap();
        assert!(child.wait().unwrap().success(), "{shown}");
        assert!(shown.contains("waiting 1 s, 0.0 MiB received"), "{shown}");
        assert!(shown.ends_with("\r\u{1b}[K"), "something is left on the terminal: {shown:?}");
        assert_eq!(std::fs::read_to_string(&answer).unwrap(), body);
    }
}

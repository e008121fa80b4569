//! The audit from outside: refused without it, read by whom policy lets, verified by its command.

use std::collections::HashSet;
use std::io::Write;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::serve::{Endpoint, lakeward};
use crate::stand_in::{Request, respond, serve};
use crate::until;

fn out(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out.into_owned()
}

fn token(endpoint: &Endpoint, who: &str, more: &[&str]) -> String {
    let mut command = lakeward();
    command.args(["token", "--as", who, "--config"]).arg(&endpoint.config).args(more);
    out(&command.output().unwrap()).trim().to_owned()
}

fn ask(endpoint: &Endpoint, token: &str, sql: &str) -> Output {
    lakeward().args(["sql", "--url", &endpoint.url, "--token", token, "--format", "csv", sql]).output().unwrap()
}

fn verify(endpoint: &Endpoint, more: &[&str]) -> Output {
    lakeward().args(["audit", "verify", "--config"]).arg(&endpoint.config).args(more).output().unwrap()
}

/// An S3 look-alike that makes objects once, as it should, and takes none of the audit's.
fn takes_no_audit(request: &Request, made: &Mutex<HashSet<String>>, stream: &mut std::net::TcpStream) {
    let path = request.head.split(' ').nth(1).unwrap_or_default().to_owned();
    let fault = |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    let list = "<?xml version=\"1.0\"?><ListBucketResult><Name>lake</Name><KeyCount>0</KeyCount>\
                <IsTruncated>false</IsTruncated></ListBucketResult>";
    let deleted = "<DeleteResult><Deleted><Key>x</Key></Deleted></DeleteResult>";
    let is_list = path.contains("list-type=2");
    match request.method.as_str() {
        "PUT" if path.contains("/audit/") => respond(stream, "403 Forbidden", "", &fault("AccessDenied")),
        "PUT" if made.lock().unwrap().insert(path) => respond(stream, "200 OK", "ETag: \"1\"\r\n", ""),
        "PUT" => respond(stream, "412 Precondition Failed", "", &fault("PreconditionFailed")),
        "POST" => respond(stream, "200 OK", "Content-Type: application/xml\r\n", deleted),
        "GET" if is_list => respond(stream, "200 OK", "Content-Type: application/xml\r\n", list),
        "GET" | "HEAD" => respond(stream, "404 Not Found", "", &fault("NoSuchKey")),
        _ => respond(stream, "204 No Content", "", ""),
    }
}

#[test]
fn over_a_store_that_cannot_be_written_nothing_is_answered() {
    let made = Arc::new(Mutex::new(HashSet::new()));
    let address = serve(move |request, stream| takes_no_audit(request, &made, stream));
    let storage = format!(
        "url = \"s3://lake\"\nendpoint = \"http://{address}\"\nallow_http = true\naccess_key_id_file = \"pseudonyms\"\n\
         secret_access_key_file = \"pseudonyms\"\n"
    );
    let endpoint = Endpoint::over(&storage);
    for path in ["/v1/tables", "/v1/sql"] {
        let (status, body) = request(&endpoint.url, path);
        assert_eq!(status, 503, "{path}: {body}");
        assert_eq!(body["code"], "audit_unavailable", "{path}");
        assert!(body["detail"].as_str().unwrap().contains("nothing is answered"), "{body}");
    }
}

/// Status and body of a question by nobody.
fn request(url: &str, path: &str) -> (u16, serde_json::Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::new();
        let request = match path {
            "/v1/sql" => client.post(format!("{url}{path}")).body(r#"{"sql": "SELECT 1"}"#),
            _ => client.get(format!("{url}{path}")),
        };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    })
}

#[tokio::test]
async fn what_was_asked_is_read_by_the_auditor_and_verified_and_a_hand_in_it_shows() {
    let endpoint = Endpoint::start();
    let nobody = token(&endpoint, "nik", &[]);
    out(&ask(&endpoint, &nobody, "SELECT 'Ivanova' AS x"));
    assert!(!ask(&endpoint, &nobody, "SELECT kind FROM audit.events").status.success());
    let auditor = token(&endpoint, "aud", &["--roles", "auditor"]);
    let sql = "SELECT kind, statement, outcome, protocol, peer IS NOT NULL AS at FROM audit.events \
               WHERE principal = 'nik' ORDER BY sequence";
    let seen = until("what was asked is in the table", Duration::from_secs(60), || {
        let answer = out(&ask(&endpoint, &auditor, sql));
        async { if answer.lines().count() >= 4 { Ok(answer) } else { Err(answer) } }
    })
    .await;
    let expected = "kind,statement,outcome,protocol,at\nstarted,SELECT ? AS x,,http,true\n\
                    finished,SELECT ? AS x,complete,http,true\n\
                    finished,SELECT kind FROM audit.events,not_found,http,true\n";
    assert_eq!(seen, expected);

    let heads = endpoint.config.with_file_name("heads.json");
    let heads = heads.to_str().unwrap();
    assert!(out(&verify(&endpoint, &["--write-heads", heads])).contains("Nothing was removed"));
    assert!(out(&verify(&endpoint, &["--heads", heads])).contains("Nothing was removed"));

    // A segment that nobody wrote.
    let folder = endpoint.config.with_file_name("lake").join("audit/segments/20260101t000000-forged");
    std::fs::create_dir_all(&folder).unwrap();
    let mut file = std::fs::File::create(folder.join(format!("{:020}", 0))).unwrap();
    let forged = r#"{"at":"2026-01-01T00:00:00.000000Z","kind":"finished","writer":"20260101t000000-forged","sequence":0,"segment":0,"principal":"nik"}"#;
    writeln!(file, "{forged}").unwrap();
    drop(file);
    let found = verify(&endpoint, &[]);
    let told = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(
        !found.status.success() && told.contains("20260101t000000-forged: record 0 is not what was written"),
        "{told}"
    );
}

#[test]
fn whose_rows_were_seen_is_told_to_the_patient_and_to_nobody_else() {
    let endpoint = Endpoint::start();
    let mine = token(&endpoint, "pat", &["--roles", "patient", "--patient-id", "p-1"]);
    let auditor = token(&endpoint, "aud", &["--roles", "auditor"]);
    let subject = |token: &str| {
        lakeward().args(["audit", "subject", "p-1", "--url", &endpoint.url, "--token", token]).output().unwrap()
    };
    for token in [&mine, &auditor] {
        let refused = subject(token);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("only who sees the whole of the audit"), "{said}");
    }
    let own = |token: &str| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let request = reqwest::Client::new().get(format!("{}/v1/me/accesses", endpoint.url)).bearer_auth(token);
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap())
        })
    };
    assert_eq!(own(&mine), (200, serde_json::json!({"exact_up_to": 10_000, "accesses": []})));
    assert_eq!(own(&auditor).0, 403);
}

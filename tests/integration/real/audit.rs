//! The audit in a real S3, through a kill.

use std::time::Duration;

use serde_json::json;

use super::PATIENCE;
use super::lakeward::{Serve, query, token};
use super::parts::parts;
use crate::until;

/// Runs for as long as the time limit lets it, and gives no row until then.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000) AS t(n) WHERE n % 7 = 3";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_before_a_kill_stands_in_the_audit_without_an_end() {
    let Some(parts) = parts().await else { return };
    let run = parts.configure("audited", &[]);
    let key = run.folder.join("issuer.pem");
    let settings = [
        ("LAKEWARD_STORAGE_URL", "s3://lake/audited"),
        ("LAKEWARD_DEVELOPMENT_KEY_FILE", key.to_str().unwrap()),
        ("LAKEWARD_AUDIT_FOLD_INTERVAL", "500ms"),
    ];
    let mut serve = Serve::start_only("query", &run, &settings);
    serve.until_ready(PATIENCE).await;
    let url = format!("{}/v1/sql", run.http);
    until_asked(&run.http).await;
    let before = serve.counter("lakeward_audit_records_total").await.unwrap();
    let asked = tokio::spawn({
        let url = url.clone();
        async move { reqwest::Client::new().post(url).json(&json!({ "sql": ENDLESS })).send().await.is_ok() }
    });
    until("the statement's record is durable", PATIENCE, || async {
        let records = serve.counter("lakeward_audit_records_total").await?;
        if records > before { Ok(()) } else { Err(format!("{records} records")) }
    })
    .await;
    serve.kill();
    assert!(!asked.await.unwrap(), "it was answered after all");

    let mut serve = Serve::start_only("query", &run, &settings);
    serve.until_ready(PATIENCE).await;
    let auditor = token(&run, &settings, "aud", &["--roles", "auditor"]);
    let sql = "SELECT kind, outcome, statement FROM audit.events WHERE statement LIKE '%generate_series%' AND principal = 'anonymous'";
    let rows = until("the record is in the table", PATIENCE, || async {
        let answer = reqwest::Client::new().post(&url).bearer_auth(&auditor).json(&json!({ "sql": sql })).send().await;
        let answer: serde_json::Value =
            answer.map_err(|error| error.to_string())?.json().await.map_err(|error| error.to_string())?;
        match answer["rows"].as_array() {
            Some(rows) if !rows.is_empty() => Ok(rows.clone()),
            _ => Err(answer.to_string()),
        }
    })
    .await;
    let statement = "SELECT count(*) FROM generate_series(?, ?) AS t(n) WHERE n % ? = ?";
    assert_eq!(rows, [json!({"kind": "started", "outcome": null, "statement": statement})]);
    assert!(serve.terminate(Duration::from_secs(30)).await.success());
    let verified = query(&run, &settings, &["audit", "verify"]);
    assert!(
        verified.contains("1 writers were killed or run still") && verified.contains("Nothing was removed"),
        "{verified}"
    );
}

/// What health calls ready is the storage; the port is handed over to statements a moment later.
async fn until_asked(http: &str) {
    until("tables are shown", PATIENCE, || async {
        let answer = reqwest::get(format!("{http}/v1/tables")).await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_storage_is_away_nothing_is_answered_and_then_it_is() {
    let Some(mut parts) = parts().await else { return };
    let run = parts.configure("unaudited", &[]);
    let settings = [("LAKEWARD_STORAGE_URL", "s3://lake/unaudited")];
    let mut serve = Serve::start_only("query", &run, &settings);
    serve.until_ready(PATIENCE).await;
    let ask = || async {
        let request = reqwest::Client::new().post(format!("{}/v1/sql", run.http)).json(&json!({ "sql": "SELECT 1" }));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap())
    };
    until_asked(&run.http).await;
    assert_eq!(ask().await.0, 200);
    parts.obey("stop s3");
    let (status, problem) = ask().await;
    assert_eq!((status, &problem["code"]), (503, &json!("audit_unavailable")), "{problem}");
    parts.obey("start s3");
    until("it answers again", PATIENCE, || async {
        let (status, answer) = ask().await;
        if status == 200 { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
}

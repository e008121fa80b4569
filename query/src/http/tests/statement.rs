//! `POST /v1/sql`.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::json;

use super::Endpoint;
use crate::QueryConfig;
use crate::http::Readiness;

#[tokio::test]
async fn who_may_see_all_sees_all() {
    let endpoint = Endpoint::open().await;
    let token = endpoint.house.token("kim", &["keeper"]);
    let answer = endpoint.sql(Some(&token), "SELECT id, name, born, visits FROM curated.people ORDER BY id").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.content_type, "application/json");
    assert_eq!(
        answer.json()["rows"],
        json!([
            {"id": "a", "name": "Ada", "born": "1950-01-02", "visits": 3},
            {"id": "b", "name": "Bo", "born": "1990-05-06", "visits": 0},
            {"id": "c", "name": null, "born": null, "visits": 7},
        ])
    );
    assert_eq!(answer.levels.as_deref(), Some("clear,clear,clear,clear"));
    assert_eq!(answer.purpose.as_deref(), Some("care"));
    assert_eq!(answer.row_limit.as_deref(), Some("100000"));
}

#[tokio::test]
async fn who_may_see_less_is_told_what_is_not_clear() {
    let endpoint = Endpoint::open().await;
    let token = endpoint.house.token("cho", &["counter"]);
    let answer = endpoint.sql(Some(&token), "SELECT id, name, born, visits FROM people ORDER BY visits").await;
    assert_eq!(answer.levels.as_deref(), Some("pseudonym,hidden,generalised,clear"));
    let body = answer.json();
    assert_eq!(body["columns"][1], json!({"name": "name", "type": "string", "level": "hidden"}));
    assert_eq!(body["rows"][1]["born"], "1950-01-01");
    assert_eq!(body["rows"][1]["name"], json!(null));
    assert_eq!(body["rows"][1]["visits"], 3);
    assert_ne!(body["rows"][1]["id"], "a");
}

#[tokio::test]
async fn each_form_is_had_by_accept() {
    let endpoint = Endpoint::open().await;
    let token = endpoint.house.token("kim", &["keeper"]);
    let asked = |accept: &str| {
        Request::post("/v1/sql")
            .header("authorization", format!("Bearer {token}"))
            .header("accept", accept)
            .body(Body::from(r#"{"sql": "SELECT id, visits FROM people ORDER BY id"}"#))
            .unwrap()
    };
    let csv = endpoint.answered(asked("text/csv")).await;
    assert!(csv.content_type.starts_with("text/csv"));
    assert_eq!(csv.text, "id,visits\na,3\nb,0\nc,7\n");
    let ndjson = endpoint.answered(asked("application/x-ndjson")).await;
    assert_eq!(ndjson.text, "{\"id\":\"a\",\"visits\":3}\n{\"id\":\"b\",\"visits\":0}\n{\"id\":\"c\",\"visits\":7}\n");
    let refused = endpoint.answered(asked("text/html")).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (406, "not_acceptable"));
}

#[tokio::test]
async fn a_table_one_may_not_see_is_as_unknown_as_one_that_is_not() {
    let endpoint = Endpoint::open().await;
    let told = |answer: super::Answered| {
        assert_eq!(answer.status, 404);
        let mut document = answer.json();
        document.as_object_mut().unwrap().remove("request_id");
        document.to_string()
    };
    let hidden = told(endpoint.sql(None, "SELECT * FROM curated.people").await);
    let absent = told(endpoint.sql(None, "SELECT * FROM curated.nobody").await);
    assert_eq!(hidden.replace("people", "nobody"), absent);
}

#[tokio::test]
async fn a_body_that_is_no_statement_is_400() {
    let endpoint = Endpoint::open().await;
    for body in ["", "[]", "SELECT 1", r#"{"purpose": "care"}"#, r#"{"sql": 1}"#, r#"{"sql": "SELECT 1", "limit": 5}"#]
    {
        let answer = endpoint.ask("POST", "/v1/sql", None, body).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "invalid_request"), "{body}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413() {
    let endpoint = Endpoint::open().await;
    let long = format!("SELECT '{}'", "x".repeat(1 << 20));
    let answer = endpoint.sql(None, &long).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (413, "body_too_large"));
}

#[tokio::test]
async fn statements_are_refused_by_kind() {
    let endpoint = Endpoint::open().await;
    let token = endpoint.house.token("kim", &["keeper"]);
    let cases = [
        ("CREATE TABLE t (a INT)", "ddl"),
        ("INSERT INTO people VALUES ('x', 'x', NULL, 1)", "dml"),
        ("SET datafusion.execution.batch_size = 1", "set"),
        ("SELECT 1; SELECT 2", "multiple_statements"),
    ];
    for (sql, kind) in cases {
        let answer = endpoint.sql(Some(&token), sql).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "refused"), "{sql}");
        assert_eq!(answer.json()["refused"], kind, "{sql}");
    }
}

#[tokio::test]
async fn a_syntax_error_has_its_place() {
    let endpoint = Endpoint::open().await;
    let answer = endpoint.sql(None, "SELECT 1\nFROM (").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "syntax"));
    assert_eq!(answer.json()["position"]["line"], 2);
}

#[tokio::test]
async fn a_value_that_cannot_be_computed_is_told_without_the_value() {
    let endpoint = Endpoint::open().await;
    let token = endpoint.house.token("kim", &["keeper"]);
    let answer = endpoint.sql(Some(&token), "SELECT CAST(name AS INT) FROM people").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "evaluation"));
    assert!(!answer.text.contains("Ada") && !answer.text.contains("Bo"), "{}", answer.text);
}

#[tokio::test]
async fn rows_beyond_the_limit_are_cut_off_and_told() {
    let config = QueryConfig { row_limit: 2, ..QueryConfig::default() };
    let endpoint = Endpoint::with(config, Readiness::default()).await;
    let token = endpoint.house.token("kim", &["keeper"]);
    let answer = endpoint.sql(Some(&token), "SELECT id FROM people").await;
    let body = answer.json();
    assert_eq!(body["rows"].as_array().unwrap().len(), 2);
    assert_eq!(body["truncated"], true);
    assert_eq!(answer.row_limit.as_deref(), Some("2"));
    let whole = endpoint.sql(Some(&token), "SELECT id FROM people WHERE id < 'c'").await.json();
    assert_eq!(whole["truncated"], false);
}

#[tokio::test]
async fn the_purpose_is_chosen_among_ones_own() {
    let endpoint = Endpoint::open().await;
    let both = endpoint.house.token("kim", &["keeper", "counter"]);
    let ask = |purpose: Option<&str>| {
        let body = json!({ "sql": "SELECT name FROM people WHERE visits = 3", "purpose": purpose }).to_string();
        let (endpoint, both) = (&endpoint, &both);
        async move { endpoint.ask("POST", "/v1/sql", Some(both), &body).await }
    };
    assert_eq!(ask(Some("care")).await.json()["rows"], json!([{"name": "Ada"}]));
    assert_eq!(ask(Some("bi")).await.json()["rows"], json!([{"name": null}]));
    assert_eq!(ask(None).await.code(), "invalid_request");
    assert_eq!(ask(Some("billing")).await.code(), "forbidden");
}

#[tokio::test]
async fn a_served_endpoint_answers_and_ends_with_its_signal() {
    let house = crate::gateway::fixture::House::open(QueryConfig::default()).await;
    let state = crate::http::HttpState::new(
        house.gateway.clone(),
        std::sync::Arc::new(Readiness::default),
        house.registry.clone(),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(crate::http::serve_http(listener, state, async {
        stopped.await.unwrap();
    }));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_role_nobody_declared_opens_nothing() {
    let endpoint = Endpoint::open().await;
    let stranger = endpoint.house.token("sam", &["gardener", "Keeper", "keeper "]);
    for token in [None, Some(stranger.as_str())] {
        let answer = endpoint.sql(token, "SELECT id FROM people").await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"));
    }
}

#[tokio::test]
async fn a_snapshot_is_kept_for_as_long_as_it_is_fresh_and_not_longer() {
    for (freshness, expected) in [(Duration::from_secs(3600), 3), (Duration::ZERO, 4)] {
        let config = QueryConfig { freshness, ..QueryConfig::default() };
        let endpoint = Endpoint::with(config, Readiness::default()).await;
        let token = endpoint.house.token("kim", &["keeper"]);
        let count = async || endpoint.sql(Some(&token), "SELECT count(*) AS n FROM people").await.json();
        assert_eq!(count().await["rows"], json!([{"n": 3}]));
        endpoint.house.add("d", 1).await;
        assert_eq!(count().await["rows"], json!([{"n": expected}]), "{freshness:?}");
    }
}

#[tokio::test]
async fn rows_are_sent_before_the_last_is_known() {
    let config = QueryConfig { row_limit: usize::MAX, ..QueryConfig::default() };
    let endpoint = Endpoint::with(config, Readiness::default()).await;
    for accept in ["application/json", "application/x-ndjson", "text/csv", "application/vnd.apache.arrow.stream"] {
        let request = Request::post("/v1/sql")
            .header("accept", accept)
            .body(Body::from(r#"{"sql": "SELECT n FROM generate_series(1, 1000000000000) AS t(n)"}"#))
            .unwrap();
        let mut body = endpoint.send(request).await.into_body();
        for _ in 0..5 {
            assert!(!body.frame().await.unwrap().unwrap().into_data().unwrap().is_empty(), "{accept}");
        }
    }
}

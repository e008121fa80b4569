//! Every route has a denial test: here is the list, and a test that fails when a route is added without a line in it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Endpoint;
use crate::http::{Readiness, routes};

/// How a route treats those without good credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Bad credentials get 401.
    Guarded,
    /// Open to all, and the same for all: it holds nothing that depends on who asks.
    Open,
}

const DENIALS: [(&str, &str, Door); 9] = [
    ("POST", "/v1/sql", Door::Guarded),
    ("GET", "/v1/tables", Door::Guarded),
    ("GET", "/v1/access", Door::Guarded),
    ("GET", "/v1/me/accesses", Door::Guarded),
    ("POST", "/v1/audit/subject", Door::Guarded),
    ("GET", "/openapi.json", Door::Open),
    ("GET", "/health/live", Door::Open),
    ("GET", "/health/ready", Door::Open),
    ("GET", "/metrics", Door::Open),
];

fn all_routes() -> BTreeSet<(String, String)> {
    routes().into_iter().map(|route| (route.method.to_string(), route.path.to_owned())).collect()
}

#[test]
fn every_route_has_a_denial_test() {
    let tested = DENIALS.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(all_routes(), tested);
}

#[tokio::test]
async fn bad_credentials_are_refused_without_a_word() {
    let endpoint = Endpoint::open().await;
    for (method, path, _) in DENIALS.iter().filter(|(.., door)| *door == Door::Guarded) {
        for (bad, token) in endpoint.house.bad_tokens() {
            let answer = endpoint.ask(method, path, Some(&token), r#"{"sql": "SELECT 1"}"#).await;
            assert_eq!(answer.status, 401, "{method} {path}: {bad}");
            assert_eq!(answer.challenge.as_deref(), Some("Bearer"), "{method} {path}");
            let mut document = answer.json();
            document.as_object_mut().unwrap().remove("request_id");
            assert_eq!(
                document,
                serde_json::json!({
                    "type": "urn:lakeward:problem:unauthenticated",
                    "title": "Unauthorized", "status": 401, "code": "unauthenticated",
                })
            );
        }
    }
}

#[tokio::test]
async fn bad_credentials_are_refused_before_the_body_is_looked_at() {
    let endpoint = Endpoint::open().await;
    assert_eq!(endpoint.ask("POST", "/v1/sql", Some("nonsense"), "no JSON").await.status, 401);
}

#[tokio::test]
async fn what_is_open_is_the_same_for_everyone() {
    let endpoint = Endpoint::open().await;
    let token = endpoint.house.token("kim", &["keeper"]);
    for (method, path, _) in DENIALS.iter().filter(|(.., door)| *door == Door::Open) {
        let nobody = endpoint.ask(method, path, None, "").await;
        let keeper = endpoint.ask(method, path, Some(&token), "").await;
        assert_eq!(nobody.status, 200, "{path}");
        assert_eq!(nobody.text, keeper.text, "{path}");
    }
}

#[tokio::test]
async fn another_method_or_address_is_a_problem_document() {
    let endpoint = Endpoint::open().await;
    for (method, path, _) in DENIALS {
        let other = if method == "POST" { "GET" } else { "POST" };
        assert_eq!(endpoint.ask(other, path, None, "").await.code(), "method_not_allowed", "{other} {path}");
    }
    assert_eq!(endpoint.ask("GET", "/v1/nothing", None, "").await.code(), "no_such_route");
}

#[tokio::test]
async fn the_document_describes_exactly_the_routes() {
    let endpoint = Endpoint::open().await;
    let document = endpoint.ask("GET", "/openapi.json", None, "").await.json();
    let described = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    assert_eq!(all_routes(), described);
}

#[tokio::test]
async fn what_the_document_refers_to_is_in_it() {
    let endpoint = Endpoint::open().await;
    let document = endpoint.ask("GET", "/openapi.json", None, "").await.json();
    let mut references = BTreeSet::new();
    collect_references(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect_references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn a_missing_part_is_named_and_is_503() {
    let readiness = Readiness::default().ready("storage").missing("kafka", "no broker answers");
    let endpoint = Endpoint::with(Default::default(), readiness).await;
    let answer = endpoint.ask("GET", "/health/ready", None, "").await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.json()["parts"][1],
        serde_json::json!({"name": "kafka", "ready": false, "reason": "no broker answers"})
    );
    assert_eq!(endpoint.ask("GET", "/health/live", None, "").await.status, 200);
}

#[tokio::test]
async fn requests_are_counted_by_outcome() {
    let endpoint = Endpoint::open().await;
    let token = endpoint.house.token("kim", &["keeper"]);
    endpoint.sql(Some(&token), "SELECT id FROM people").await;
    endpoint.sql(Some(&token), "SELEC 1").await;
    endpoint.sql(Some("nonsense"), "SELECT 1").await;
    let text = endpoint.ask("GET", "/metrics", None, "").await.text;
    for outcome in ["ok", "syntax", "unauthenticated"] {
        let line = format!(r#"lakeward_requests_total{{endpoint="/v1/sql",outcome="{outcome}",protocol="http"}} 1"#);
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}

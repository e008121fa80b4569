//! The endpoints against a real service over a small lakehouse.

mod access;
mod audit;
mod coverage;
mod statement;
mod tables;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use serde_json::Value;
use tower::ServiceExt;

use super::{HttpState, Readiness, router};
use crate::QueryConfig;
use crate::gateway::fixture::House;

/// An endpoint over the small lakehouse.
struct Endpoint {
    house: House,
    router: Router,
}

impl Endpoint {
    async fn open() -> Self {
        Self::with(QueryConfig::default(), Readiness::default().ready("storage")).await
    }

    async fn with(config: QueryConfig, readiness: Readiness) -> Self {
        let house = House::open(config).await;
        let probe = Arc::new(move || readiness.clone());
        let state = HttpState::new(house.gateway.clone(), probe, house.registry.clone());
        Self { house, router: router(state) }
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Asks with a token, if there is one.
    async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Answered {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.answered(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn sql(&self, token: Option<&str>, sql: &str) -> Answered {
        self.ask("POST", "/v1/sql", token, &serde_json::json!({ "sql": sql }).to_string()).await
    }

    async fn answered(&self, request: Request<Body>) -> Answered {
        let response = self.send(request).await;
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        Answered {
            status: head.status,
            content_type: header("content-type").unwrap_or_default(),
            challenge: header("www-authenticate"),
            levels: header("x-lakeward-levels"),
            purpose: header("x-lakeward-purpose"),
            row_limit: header("x-lakeward-row-limit"),
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

#[derive(Debug)]
struct Answered {
    status: StatusCode,
    content_type: String,
    challenge: Option<String>,
    levels: Option<String>,
    purpose: Option<String>,
    row_limit: Option<String>,
    text: String,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The code of a problem document.
    fn code(&self) -> String {
        assert_eq!(self.content_type, "application/problem+json", "{}", self.text);
        self.json()["code"].as_str().unwrap().to_owned()
    }
}

//! What operators ask: health and counters. Open to everyone who reaches the port; holds nothing of the data.

use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::TextEncoder;
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use super::problem::Problem;
use super::{Operations, Route};
use crate::QueryError;

/// The routes of operators, for a state that has [`Operations`] in it.
pub(super) fn routes<S>() -> Vec<Route<S>>
where
    S: Clone + Send + Sync + 'static,
    Operations: FromRef<S>,
{
    vec![
        Route::get("/health/live", get(live)),
        Route::get("/health/ready", get(ready)),
        Route::get("/metrics", get(metrics)),
    ]
}

/// A part that the server needs, such as `storage` or `kafka`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub ready: bool,
    /// What is missing, in one sentence without addresses or values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The parts, and so whether the server can answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Readiness {
    /// Every part this process needs.
    pub parts: Vec<Part>,
}

impl Readiness {
    /// With a part that is there.
    #[must_use]
    pub fn ready(mut self, name: impl Into<String>) -> Self {
        self.parts.push(Part { name: name.into(), ready: true, reason: None });
        self
    }

    /// With a part that is missing, and why.
    #[must_use]
    pub fn missing(mut self, name: impl Into<String>, reason: impl Into<String>) -> Self {
        self.parts.push(Part { name: name.into(), ready: false, reason: Some(reason.into()) });
        self
    }

    /// Whether every part is there.
    pub fn is_ready(&self) -> bool {
        self.parts.iter().all(|part| part.ready)
    }
}

/// State of the process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `live`, `ready` or `not ready`.
    status: &'static str,
    #[serde(flatten)]
    readiness: Readiness,
}

/// Whether the process lives.
#[utoipa::path(
    get,
    path = "/health/live",
    operation_id = "live",
    responses((status = 200, description = "It lives", body = Health)),
)]
pub(super) async fn live() -> Response {
    Json(Health { status: "live", readiness: Readiness::default() }).into_response()
}

/// Whether the process can answer; names the parts that are missing.
#[utoipa::path(
    get,
    path = "/health/ready",
    operation_id = "ready",
    responses(
        (status = 200, description = "Every part is there", body = Health),
        (status = 503, description = "A part is missing", body = Health),
    ),
)]
pub(super) async fn ready(State(operations): State<Operations>) -> Response {
    let readiness = (operations.readiness)();
    let (code, status) = match readiness.is_ready() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    (code, Json(Health { status, readiness })).into_response()
}

/// Counters, in the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    responses(
        (status = 200, description = "The counters", body = String, content_type = "text/plain"),
        (status = 500, description = "The server failed", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn metrics(State(operations): State<Operations>) -> Response {
    match TextEncoder::new().encode_to_string(&operations.registry.gather()) {
        Ok(text) => {
            let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Err(reason) => {
            error!(%reason, "counters could not be written");
            Problem::from(QueryError::internal()).into_response()
        }
    }
}

pub(super) async fn no_such_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_such_route", "No such address")
        .detail("this interface is described at /openapi.json")
}

pub(super) async fn no_statements() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_statements", "No statements are answered here now")
        .detail("this process is starting, or runs ingest alone; /health/ready tells which part is missing")
}

pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Not by this method")
        .detail("this interface is described at /openapi.json")
}

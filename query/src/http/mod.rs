//! SQL over HTTP.
//!
//! | route | credentials | answers |
//! | --- | --- | --- |
//! | `POST /v1/sql` | bearer token, or none for the anonymous | rows: JSON, NDJSON, CSV or an Arrow IPC stream, by `Accept` |
//! | `GET /v1/tables` | the same | the tables this principal can see, with the level of each column |
//! | `GET /openapi.json` | none | this interface, as OpenAPI |
//! | `GET /health/live`, `GET /health/ready` | none | whether the process lives; whether it can answer, else which part is missing |
//! | `GET /metrics` | none | counters, in the text format of Prometheus |
//!
//! Rows are sent as they come and never collected. Every failure is a problem document (RFC 9457) with a code and a
//! sentence without values; a failure after the first rows shows in the body, see [`encode`]. The server speaks plain
//! HTTP/1.1 and HTTP/2: TLS is the business of the gateway in front of it.

mod accept;
mod answer;
mod encode;
mod openapi;
mod operations;
mod problem;
mod serve;
mod statement;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Method;
use axum::routing::{MethodRouter, get, post};
use prometheus::Registry;

pub use operations::{Part, Readiness};
pub use serve::serve_http;

use crate::gateway::Gateway;

/// Tells at any moment which parts are there.
pub type ReadinessProbe = Arc<dyn Fn() -> Readiness + Send + Sync>;

/// What the HTTP endpoints need. Cheap to clone.
#[derive(Clone)]
pub struct HttpState {
    /// Identity and the service.
    pub gateway: Gateway,
    /// Asked by `/health/ready`.
    pub readiness: ReadinessProbe,
    /// Shown by `/metrics`.
    pub registry: Registry,
    /// Whether this process answers health and metrics alone, and no statements.
    pub operations_only: bool,
    /// The largest body of a request, in bytes; 1 MiB unless set.
    pub body_limit: usize,
    /// How long running answers may take to end after a shutdown began; 4 s unless set.
    pub grace: Duration,
}

impl HttpState {
    /// A state with the usual limits.
    pub fn new(gateway: Gateway, readiness: ReadinessProbe, registry: Registry) -> Self {
        Self {
            gateway,
            readiness,
            registry,
            operations_only: false,
            body_limit: 1 << 20,
            grace: Duration::from_secs(4),
        }
    }
}

/// One route. The router knows no other way to add one, and a test demands a denial test for each.
struct Route {
    #[cfg_attr(not(test), allow(dead_code, reason = "read by the test that demands a denial test"))]
    method: Method,
    path: &'static str,
    handler: MethodRouter<HttpState>,
}

fn routes() -> Vec<Route> {
    let get_at = |path, handler| Route { method: Method::GET, path, handler };
    vec![
        Route { method: Method::POST, path: "/v1/sql", handler: post(statement::statement) },
        get_at("/v1/tables", get(tables::tables)),
        get_at("/openapi.json", get(openapi::document)),
        get_at("/health/live", get(operations::live)),
        get_at("/health/ready", get(operations::ready)),
        get_at("/metrics", get(operations::metrics)),
    ]
}

/// What is served by a process that answers no statements.
const OPERATIONS: [&str; 3] = ["/health/live", "/health/ready", "/metrics"];

/// All routes; what is no route, or the wrong method, gets a problem document too.
pub fn router(state: HttpState) -> Router {
    let operations_only = state.operations_only;
    routes()
        .into_iter()
        .filter(|route| !operations_only || OPERATIONS.contains(&route.path))
        .fold(Router::new(), |router, route| router.route(route.path, route.handler))
        .fallback(operations::no_such_route)
        .method_not_allowed_fallback(operations::method_not_allowed)
        .with_state(state)
}

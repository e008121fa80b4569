//! SQL over HTTP.
//!
//! | route | credentials | answers |
//! | --- | --- | --- |
//! | `POST /v1/sql` | bearer token, or none for the anonymous | rows: JSON, NDJSON, CSV or an Arrow IPC stream, by `Accept` |
//! | `GET /v1/tables` | the same | the tables this principal can see, with the level of each column |
//! | `GET /v1/access` | the same | what this principal sees of a table, and by which policies |
//! | `GET /v1/me/accesses` | bearer token | who saw rows about the one who asks |
//! | `POST /v1/audit/subject` | bearer token | who saw rows about one person, for who may see the audit and the persons |
//! | `GET /openapi.json` | none | this interface, as OpenAPI |
//! | `GET /health/live`, `GET /health/ready` | none | whether the process lives; whether it can answer, else which part is missing |
//! | `GET /metrics` | none | counters, in the text format of Prometheus |
//!
//! Rows are sent as they come and never collected. Every failure is a problem document (RFC 9457) with a code and a
//! sentence without values; a failure after the first rows shows in the body. The server speaks plain
//! HTTP/1.1 and HTTP/2: TLS is the business of the gateway in front of it.

mod accept;
mod access;
mod answer;
mod audit;
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
use axum::extract::FromRef;
use axum::http::Method;
use axum::routing::{MethodRouter, get, post};
use prometheus::Registry;

pub use operations::{Part, Readiness};
pub use serve::{serve_http, serve_operations};

use crate::gateway::Gateway;

/// Tells at any moment which parts are there.
pub type ReadinessProbe = Arc<dyn Fn() -> Readiness + Send + Sync>;

/// What operators are shown. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    /// Asked by `/health/ready`.
    pub readiness: ReadinessProbe,
    /// Shown by `/metrics`.
    pub registry: Registry,
}

impl FromRef<HttpState> for Operations {
    fn from_ref(state: &HttpState) -> Self {
        state.operations.clone()
    }
}

/// What the HTTP endpoints need. Cheap to clone.
#[derive(Clone)]
pub struct HttpState {
    /// Identity and the service.
    pub gateway: Gateway,
    /// Health and counters.
    pub operations: Operations,
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
            operations: Operations { readiness, registry },
            body_limit: 1 << 20,
            grace: Duration::from_secs(4),
        }
    }
}

/// One route. The router knows no other way to add one, and a test demands a denial test for each.
struct Route<S> {
    #[cfg_attr(not(test), allow(dead_code, reason = "read by the test that demands a denial test"))]
    method: Method,
    path: &'static str,
    handler: MethodRouter<S>,
}

impl<S> Route<S> {
    fn get(path: &'static str, handler: MethodRouter<S>) -> Self {
        Self { method: Method::GET, path, handler }
    }
}

fn routes() -> Vec<Route<HttpState>> {
    let mut routes = vec![
        Route { method: Method::POST, path: "/v1/sql", handler: post(statement::statement) },
        Route::get("/v1/tables", get(tables::tables)),
        Route::get("/v1/access", get(access::access)),
        Route::get("/v1/me/accesses", get(audit::own)),
        Route { method: Method::POST, path: "/v1/audit/subject", handler: post(audit::of_subject) },
        Route::get("/openapi.json", get(openapi::document)),
    ];
    routes.extend(operations::routes());
    routes
}

/// All routes; what is no route, or the wrong method, gets a problem document too.
pub fn router(state: HttpState) -> Router {
    joined(routes()).fallback(operations::no_such_route).with_state(state)
}

/// The routes of [`Operations`] alone, for a process that answers no statements, or not yet: it says so with 503.
pub fn operations_router(operations: Operations) -> Router {
    joined(operations::routes()).fallback(operations::no_statements).with_state(operations)
}

fn joined<S: Clone + Send + Sync + 'static>(routes: Vec<Route<S>>) -> Router<S> {
    routes
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, route.handler))
        .method_not_allowed_fallback(operations::method_not_allowed)
}

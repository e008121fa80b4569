//! `GET /v1/access`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::HttpState;
use super::problem::Problem;
use super::statement::{bearer, peer, respond, told};
use crate::gateway::{Arrival, Protocol};
use crate::{Access, ErrorCode, QueryError};

/// What is asked about.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// May be left out by those whose roles have one purpose only.
    purpose: Option<String>,
    /// `schema.table`, or a table of `curated`; without it, every table that this principal can see.
    table: Option<String>,
    /// One column of the table: it is told alone, with what the policies say at each level.
    column: Option<String>,
}

/// What this principal sees of a table, and by which policies.
///
/// Levels, row scopes, and the policies behind them with file and line: of oneself, and of nobody else. No row is read.
#[utoipa::path(
    get,
    path = "/v1/access",
    operation_id = "access",
    params(Asked),
    security((), ("bearer" = [])),
    responses(
        (status = 200, description = "What is seen, and why", body = Access),
        (status = 400, description = "The request makes no sense", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Bad credentials", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The purpose is not open to this principal", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "A table that does not exist for this principal", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "A part is missing", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn access(
    State(state): State<HttpState>,
    asked: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Response {
    let arrival = state.gateway.arrive(Protocol::Http, "/v1/access").from(peer(request.extensions()));
    let outcome = tell(&state, &arrival, request.headers(), asked).await;
    respond(arrival, outcome)
}

async fn tell(
    state: &HttpState,
    arrival: &Arrival,
    headers: &HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let claims = state.gateway.claims(bearer(headers)?).await?;
    let invalid = |words: &str| QueryError::new(ErrorCode::InvalidRequest, words);
    let Query(Asked { purpose, table, column }) = asked.map_err(|_| {
        invalid("the parameters of this address are `purpose`, `table` and `column`, each given once at most")
    })?;
    if column.is_some() && table.is_none() {
        return Err(invalid("a `column` is one of a `table`: name both").into());
    }
    let context = state.gateway.context(arrival, &claims, purpose.as_deref())?;
    let access = state.gateway.service().access(&context, &claims, table.as_deref(), column.as_deref()).await?;
    Ok(told(&context.request_id, access))
}

//! `POST /v1/sql`.

use std::net::SocketAddr;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accept::Format;
use super::answer::{Asked, send};
use super::problem::{Problem, REQUEST_ID};
use super::{HttpState, answer};
use crate::gateway::{Arrival, Protocol};
use crate::{ErrorCode, QueryError};

/// A statement.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Statement {
    /// One SQL statement that reads.
    #[schema(example = "SELECT gender, count(*) AS patients FROM curated.patients GROUP BY gender")]
    sql: String,
    /// The purpose of the request; may be left out by those whose roles have one purpose only.
    #[serde(default)]
    #[schema(example = "research")]
    purpose: Option<String>,
}

/// An answer as JSON.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "the shape of a body that is written piece by piece")]
pub(super) struct Rows {
    /// The columns, in order.
    columns: Vec<answer::Column>,
    /// One object per row, by the names of the columns.
    rows: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Whether rows were cut off at the row limit. Absent when the statement failed.
    truncated: Option<bool>,
    /// Why the statement failed after its first rows. The rows above are then not the whole answer.
    error: Option<Problem>,
}

/// Runs one statement.
///
/// The body is read as JSON whatever its content type says. Rows come as they are computed.
#[utoipa::path(
    post,
    path = "/v1/sql",
    operation_id = "sql",
    request_body = Statement,
    security((), ("bearer" = [])),
    responses(
        (
            status = 200,
            description = "The rows, in the form that `Accept` asks for; JSON when it asks for none.",
            content(
                (Rows = "application/json"),
                (String = "application/x-ndjson"),
                (String = "text/csv"),
                (String = "application/vnd.apache.arrow.stream"),
            ),
            headers(
                ("x-lakeward-request-id" = String, description = "Number of the request"),
                ("x-lakeward-row-limit" = u64, description = "The most rows an answer has"),
                ("x-lakeward-time-limit-ms" = u64, description = "How long a statement may take"),
                ("x-lakeward-levels" = String, description = "Level of each column, in order, separated by commas; `-` for none"),
                ("x-lakeward-purpose" = String, description = "Purpose under which the answer was given"),
            ),
        ),
        (status = 400, description = "Not SQL, refused by kind, or it makes no sense", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Bad credentials", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The purpose is not open to this principal", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "A table that does not exist for this principal", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "No such form of rows", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "The server failed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "A part is missing, or memory is short", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "The time limit was reached", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn statement(State(state): State<HttpState>, request: Request) -> Response {
    let arrival = state.gateway.arrive(Protocol::Http, "/v1/sql").from(peer(request.extensions()));
    let outcome = run(&state, &arrival, request).await;
    respond(arrival, outcome)
}

/// Ends a request: counts it, and turns its failure into a problem document.
pub(super) fn respond(arrival: Arrival, outcome: Result<Response, Problem>) -> Response {
    match outcome {
        Ok(response) => {
            arrival.finish_as("ok");
            response
        }
        Err(problem) => {
            let response = problem.clone().of(arrival.request_id()).into_response();
            arrival.finish_as(problem.code);
            response
        }
    }
}

/// A body that is no answer of a statement: for nobody's cache, with the number of its request.
pub(super) fn told(request_id: &str, body: impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static(REQUEST_ID), id);
    }
    response
}

async fn run(state: &HttpState, arrival: &Arrival, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let claims = state.gateway.claims(bearer(&head.headers)?).await?;
    let format = Format::negotiate(&head.headers).ok_or_else(not_acceptable)?;
    let body = to_bytes(body, state.body_limit).await.map_err(|_| Problem::too_large(state.body_limit))?;
    let statement: Statement = serde_json::from_slice(&body).map_err(|error| not_a_statement(&error))?;
    let context = state.gateway.context(arrival, &claims, statement.purpose.as_deref())?;
    let answer = state.gateway.service().execute(&context, &statement.sql, None).await?;
    let asked = Asked { request_id: &context.request_id, purpose: &context.principal.purpose, format };
    Ok(send(asked, answer).await?)
}

/// The address that a request came from; none where the router is not served over a connection.
pub(super) fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

/// The token of the `Authorization` header; `None` without the header. Any other scheme is a bad credential.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, QueryError> {
    let rejected = || QueryError::new(ErrorCode::Unauthenticated, "the credentials were not accepted");
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(header::AUTHORIZATION) { Err(rejected()) } else { Ok(None) };
    };
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(rejected)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(rejected());
    }
    Ok(Some(token.trim()))
}

fn not_acceptable() -> Problem {
    let forms: Vec<&str> = Format::ALL.iter().map(|format| format.media_type()).collect();
    Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", "No such form of rows")
        .detail(format!("rows can be had as {}", forms.join(", ")))
}

/// The parser's own text may repeat the body, so only the place is told.
fn not_a_statement(error: &serde_json::Error) -> Problem {
    Problem::from(QueryError::new(
        ErrorCode::InvalidRequest,
        format!(
            "the body must be a JSON object with `sql` and, if wanted, `purpose`, and nothing else; it is not at line {}, column {}",
            error.line(),
            error.column()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(values: &[&str]) -> Result<Option<String>, ErrorCode> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        bearer(&headers).map(|token| token.map(str::to_owned)).map_err(|error| error.code)
    }

    #[test]
    fn a_token_is_read_from_its_header() {
        assert_eq!(token(&[]), Ok(None));
        assert_eq!(token(&["Bearer abc"]), Ok(Some("abc".to_owned())));
        assert_eq!(token(&["bearer abc"]), Ok(Some("abc".to_owned())));
    }

    #[test]
    fn any_other_credential_is_a_bad_one_and_never_anonymous() {
        for values in [&["Basic YTpi"][..], &["Bearer"], &["abc"], &[""], &["Bearer a", "Bearer b"]] {
            assert_eq!(token(values), Err(ErrorCode::Unauthenticated), "{values:?}");
        }
    }
}

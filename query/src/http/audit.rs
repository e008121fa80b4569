//! `GET /v1/me/accesses` and `POST /v1/audit/subject`: who saw the rows of one person.

use axum::body::to_bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::problem::Problem;
use super::statement::{bearer, peer, respond, told};
use super::tables::Asked;
use crate::gateway::{Arrival, Protocol};
use crate::witness::MOST;
use crate::{AuditedAccess, ErrorCode, QueryError, RequestContext};

/// Whose accesses are asked for. An id stands in a body, for addresses are written into logs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Person {
    /// The id that rows have of the person.
    #[schema(example = "4f1c9a3e")]
    id: String,
    /// The purpose of the request; may be left out by those whose roles have one purpose only.
    #[serde(default)]
    purpose: Option<String>,
}

/// The statements that saw rows of a person, or may have.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accesses {
    /// Persons that a statement tells one by one, of each table. Of one that saw more it is only known that everybody in its
    /// scopes may be among them: `certain` is false then.
    exact_up_to: usize,
    /// The newest first.
    accesses: Vec<AccessShown>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AccessShown {
    at: String,
    request_id: String,
    principal: String,
    roles: Vec<String>,
    purpose: String,
    /// The grant under which it was asked, where there was one.
    grant_id: Option<String>,
    table: String,
    columns: Vec<ColumnShown>,
    /// Row scopes under which it read.
    scopes: Vec<String>,
    /// Whether rows of this person are known to have been among those that it saw.
    certain: bool,
    /// How it ended; null where nobody recorded it.
    outcome: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ColumnShown {
    name: String,
    /// `clear`, `generalised`, `pseudonym`, `hidden`, or `varies` from row to row.
    level: String,
}

impl From<AuditedAccess> for AccessShown {
    fn from(access: AuditedAccess) -> Self {
        let columns = access.columns.into_iter();
        Self {
            at: access.at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            request_id: access.request_id,
            principal: access.principal,
            roles: access.roles,
            purpose: access.purpose,
            grant_id: access.grant_id,
            table: access.table,
            columns: columns.map(|column| ColumnShown { name: column.name, level: column.level }).collect(),
            scopes: access.scopes,
            certain: access.certain,
            outcome: access.outcome,
        }
    }
}

/// Who saw rows about the one who asks.
#[utoipa::path(
    get,
    path = "/v1/me/accesses",
    operation_id = "own_accesses",
    params(Asked),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The accesses", body = Accesses),
        (status = 400, description = "The request makes no sense", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Bad credentials", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not say which person of the data it is", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "A part is missing", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn own(
    State(state): State<HttpState>,
    asked: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Response {
    let arrival = state.gateway.arrive(Protocol::Http, "/v1/me/accesses").from(peer(request.extensions()));
    let outcome = list_own(&state, &arrival, request.headers(), asked).await;
    respond(arrival, outcome)
}

async fn list_own(
    state: &HttpState,
    arrival: &Arrival,
    headers: &HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let claims = state.gateway.claims(bearer(headers)?).await?;
    let context = state.gateway.context(arrival, &claims, Asked::purpose(asked)?.as_deref())?;
    let accesses = state.gateway.service().own_accesses(&context).await?;
    Ok(shown(&context, accesses))
}

/// Who saw rows about one person.
#[utoipa::path(
    post,
    path = "/v1/audit/subject",
    operation_id = "accesses",
    request_body = Person,
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The accesses", body = Accesses),
        (status = 400, description = "The request makes no sense", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Bad credentials", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not for this principal", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "A part is missing", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn of_subject(State(state): State<HttpState>, request: Request) -> Response {
    let arrival = state.gateway.arrive(Protocol::Http, "/v1/audit/subject").from(peer(request.extensions()));
    let outcome = list_of(&state, &arrival, request).await;
    respond(arrival, outcome)
}

async fn list_of(state: &HttpState, arrival: &Arrival, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let claims = state.gateway.claims(bearer(&head.headers)?).await?;
    let no_person =
        || QueryError::new(ErrorCode::InvalidRequest, "the body is a JSON object with `id` and, if wanted, `purpose`");
    let body = to_bytes(body, state.body_limit).await.map_err(|_| Problem::too_large(state.body_limit))?;
    let person: Person = serde_json::from_slice(&body).map_err(|_| no_person())?;
    let context = state.gateway.context(arrival, &claims, person.purpose.as_deref())?;
    let accesses = state.gateway.service().accesses_to(&context, &person.id).await?;
    Ok(shown(&context, accesses))
}

fn shown(context: &RequestContext, accesses: Vec<AuditedAccess>) -> Response {
    let accesses = accesses.into_iter().map(AccessShown::from).collect();
    told(&context.request_id, Accesses { exact_up_to: MOST, accesses })
}

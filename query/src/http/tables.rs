//! `GET /v1/tables`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::HttpState;
use super::problem::Problem;
use super::statement::{bearer, peer, respond, told};
use crate::gateway::{Arrival, Protocol, sql_type};
use crate::{ErrorCode, QueryError, VisibleColumn, VisibleTable};

/// For which purpose it is asked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// May be left out by those whose roles have one purpose only.
    purpose: Option<String>,
}

impl Asked {
    /// The purpose, where one is named.
    pub(super) fn purpose(asked: Result<Query<Self>, QueryRejection>) -> Result<Option<String>, QueryError> {
        let only = "the one parameter of this address is `purpose`, given once";
        asked.map(|Query(asked)| asked.purpose).map_err(|_| QueryError::new(ErrorCode::InvalidRequest, only))
    }
}

/// The tables a principal can see.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tables {
    /// The purpose under which they are seen.
    purpose: String,
    /// Ordered by name.
    tables: Vec<Table>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Table {
    /// `curated` or `raw`.
    schema: String,
    name: String,
    description: String,
    /// The columns of the key, as the contract names them.
    primary_key: Vec<String>,
    columns: Vec<Column>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Column {
    name: String,
    /// SQL type; the same for everyone.
    #[serde(rename = "type")]
    data_type: String,
    nullable: bool,
    /// `clear`, `generalised`, `pseudonym`, `hidden`, or `varies` from row to row.
    level: &'static str,
    description: String,
}

impl From<VisibleTable> for Table {
    fn from(table: VisibleTable) -> Self {
        Self {
            schema: table.schema,
            name: table.name,
            description: table.description,
            primary_key: table.primary_key,
            columns: table.columns.into_iter().map(Column::from).collect(),
        }
    }
}

impl From<VisibleColumn> for Column {
    fn from(column: VisibleColumn) -> Self {
        Self {
            name: column.name,
            data_type: sql_type(&column.data_type),
            nullable: column.nullable,
            level: column.level.as_str(),
            description: column.description,
        }
    }
}

/// The tables this principal can see, with the level of each column.
#[utoipa::path(
    get,
    path = "/v1/tables",
    operation_id = "tables",
    params(Asked),
    security((), ("bearer" = [])),
    responses(
        (status = 200, description = "The tables", body = Tables),
        (status = 400, description = "The request makes no sense", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Bad credentials", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The purpose is not open to this principal", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "A part is missing", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn tables(
    State(state): State<HttpState>,
    asked: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Response {
    let arrival = state.gateway.arrive(Protocol::Http, "/v1/tables").from(peer(request.extensions()));
    let outcome = list(&state, &arrival, request.headers(), asked).await;
    respond(arrival, outcome)
}

async fn list(
    state: &HttpState,
    arrival: &Arrival,
    headers: &HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let claims = state.gateway.claims(bearer(headers)?).await?;
    let context = state.gateway.context(arrival, &claims, Asked::purpose(asked)?.as_deref())?;
    let tables = state.gateway.service().tables(&context).await?.into_iter().map(Table::from).collect();
    Ok(told(&context.request_id, Tables { purpose: context.principal.purpose, tables }))
}

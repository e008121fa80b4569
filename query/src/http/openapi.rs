//! `GET /openapi.json`: this interface as OpenAPI 3.1, derived from the handlers themselves.

use axum::Json;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{access, audit, operations, problem, statement, tables};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lakeward",
        description = "SQL over a governed lakehouse: every cell of an answer depends on who asks.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        statement::statement,
        tables::tables,
        access::access,
        audit::own,
        audit::of_subject,
        document,
        operations::live,
        operations::ready,
        operations::metrics,
    ),
    components(schemas(problem::Problem)),
    modifiers(&BearerToken),
)]
pub(super) struct Document;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("JWT".to_owned());
        let components = openapi.components.get_or_insert_with(Default::default);
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// This interface, as OpenAPI.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    responses((status = 200, description = "An OpenAPI document", body = serde_json::Value)),
)]
pub(super) async fn document() -> Response {
    Json(Document::openapi()).into_response()
}

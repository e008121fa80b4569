//! Failures as problem documents (RFC 9457).

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{ErrorCode, QueryError};

/// The number of a request, in its answer.
pub(super) const REQUEST_ID: &str = "x-lakeward-request-id";

/// A failure: what kind it is, and one sentence without any value of the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Problem {
    /// `urn:lakeward:problem:` and the code.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// The kind of failure, in words.
    pub(super) title: &'static str,
    /// The status of the response; 500 and the like also for failures in the middle of a body.
    pub(super) status: u16,
    /// The kind of failure, for programs.
    pub(super) code: &'static str,
    /// For `refused`: what kind of statement was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<&'static str>,
    /// What is wrong, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    /// Where in the statement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<Place>,
    /// The number of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<String>,
}

/// A place in the text of a statement; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self {
            kind: format!("urn:lakeward:problem:{code}"),
            title,
            status: status.as_u16(),
            code,
            refused: None,
            detail: None,
            position: None,
            request_id: None,
        }
    }

    /// A body that may have so many bytes, and has more.
    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large")
            .detail(format!("the body could not be read whole; it may have {limit} bytes"))
    }

    pub(super) fn detail(mut self, sentence: impl Into<String>) -> Self {
        self.detail = Some(sentence.into());
        self
    }

    pub(super) fn of(mut self, request_id: &str) -> Self {
        self.request_id = Some(request_id.to_owned());
        self
    }

    /// The document, as it stands in a body.
    pub(super) fn to_json(&self) -> String {
        // Strings and numbers alone: this cannot fail, and an empty object is still a document if it did.
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let (status, title) = match error.code {
            ErrorCode::Unauthenticated => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            ErrorCode::Forbidden => (StatusCode::FORBIDDEN, "Not allowed"),
            ErrorCode::InvalidRequest => (StatusCode::BAD_REQUEST, "The request does not make sense"),
            ErrorCode::Syntax => (StatusCode::BAD_REQUEST, "The statement is not SQL"),
            ErrorCode::NotFound => (StatusCode::NOT_FOUND, "No such table"),
            ErrorCode::Refused(_) => (StatusCode::BAD_REQUEST, "Statements of this kind are not run here"),
            ErrorCode::Evaluation => (StatusCode::BAD_REQUEST, "A value could not be computed"),
            ErrorCode::TimeLimit => (StatusCode::GATEWAY_TIMEOUT, "The time limit was reached"),
            ErrorCode::ResourceLimit => (StatusCode::SERVICE_UNAVAILABLE, "The memory limit was reached"),
            ErrorCode::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "A part is missing for the moment"),
            ErrorCode::AuditUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "The audit cannot be written"),
            ErrorCode::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "The server failed"),
        };
        let mut problem = Self::new(status, error.code.as_str(), title);
        if error.code == ErrorCode::Unauthenticated {
            // Which of the many ways in which credentials are bad is nobody's business.
            return problem;
        }
        if let ErrorCode::Refused(kind) = error.code {
            problem.refused = Some(kind.as_str());
        }
        problem.position = error.position.map(|place| Place { line: place.line, column: place.column });
        problem.detail(error.message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.to_json()));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.code == ErrorCode::Unauthenticated.as_str() {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if [ErrorCode::Unavailable, ErrorCode::AuditUnavailable].map(ErrorCode::as_str).contains(&self.code) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(id) = self.request_id.and_then(|id| HeaderValue::from_str(&id).ok()) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Position, RefusedKind};

    fn document(error: QueryError) -> serde_json::Value {
        serde_json::to_value(Problem::from(error)).unwrap()
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        let error = QueryError::new(ErrorCode::Syntax, "expected FROM").at(Some(Position { line: 2, column: 7 }));
        assert_eq!(
            document(error),
            json!({
                "type": "urn:lakeward:problem:syntax", "title": "The statement is not SQL", "status": 400,
                "code": "syntax", "detail": "expected FROM", "position": {"line": 2, "column": 7},
            })
        );
    }

    #[test]
    fn a_refused_statement_is_told_its_kind() {
        assert_eq!(document(QueryError::refused(RefusedKind::Copy))["refused"], "copy");
    }

    #[test]
    fn bad_credentials_are_told_nothing() {
        let error = QueryError::new(ErrorCode::Unauthenticated, "the token expired a second ago");
        let problem = Problem::from(error);
        assert_eq!(problem.detail, None);
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
}

//! Failures as gRPC statuses: a code and a sentence, never a value.

use arrow_flight::error::FlightError;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::{CODE, REQUEST_ID};
use crate::{ErrorCode, QueryError};

/// The status of a failure; the trailers name its code and the number of the request.
pub(super) fn status(error: &QueryError, request_id: &str) -> Status {
    let code = match error.code {
        ErrorCode::Unauthenticated => Code::Unauthenticated,
        ErrorCode::Forbidden => Code::PermissionDenied,
        ErrorCode::InvalidRequest | ErrorCode::Syntax | ErrorCode::Refused(_) | ErrorCode::Evaluation => {
            Code::InvalidArgument
        }
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::TimeLimit => Code::DeadlineExceeded,
        ErrorCode::ResourceLimit => Code::ResourceExhausted,
        ErrorCode::Unavailable | ErrorCode::AuditUnavailable => Code::Unavailable,
        ErrorCode::Internal => Code::Internal,
    };
    let name = match error.code {
        ErrorCode::Refused(kind) => format!("{}.{}", error.code.as_str(), kind.as_str()),
        other => other.as_str().to_owned(),
    };
    let sentence = match (error.code, error.position) {
        // Which of the many ways in which credentials are bad is nobody's business.
        (ErrorCode::Unauthenticated, _) => name.clone(),
        (_, Some(place)) => format!("{name}: {} (line {}, column {})", error.message, place.line, place.column),
        (_, None) => format!("{name}: {}", error.message),
    };
    let mut trailers = MetadataMap::new();
    insert(&mut trailers, CODE, &name);
    insert(&mut trailers, REQUEST_ID, request_id);
    Status::with_metadata(code, sentence, trailers)
}

/// Sets a header; what is no header's value is left out.
pub(super) fn insert(metadata: &mut MetadataMap, name: &'static str, value: &str) {
    if let Ok(value) = MetadataValue::try_from(value) {
        metadata.insert(name, value);
    }
}

/// The status of an error while rows were sent. Only what was a status before has a text that may be shown.
pub(super) fn of_stream(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        _ => status(&QueryError::internal(), ""),
    }
}

/// A kind of call that is not served.
pub(super) fn unserved() -> QueryError {
    QueryError::new(ErrorCode::InvalidRequest, "calls of this kind are not served")
}

/// A message that is not what the call takes; the decoder's text may repeat its bytes.
pub(super) fn malformed() -> QueryError {
    QueryError::new(ErrorCode::InvalidRequest, "the message is not a Flight SQL command")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Position, RefusedKind};

    #[test]
    fn a_failure_has_code_sentence_and_place() {
        let error = QueryError::new(ErrorCode::Syntax, "expected FROM").at(Some(Position { line: 2, column: 7 }));
        let status = status(&error, "n");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "syntax: expected FROM (line 2, column 7)");
        assert_eq!(status.metadata().get(REQUEST_ID).unwrap(), "n");
    }

    #[test]
    fn a_refused_statement_is_told_its_kind() {
        let status = status(&QueryError::refused(RefusedKind::Dml), "n");
        assert_eq!(status.metadata().get(CODE).unwrap(), "refused.dml");
    }

    #[test]
    fn bad_credentials_are_told_nothing() {
        let error = QueryError::new(ErrorCode::Unauthenticated, "the token expired a second ago");
        assert_eq!(status(&error, "n").message(), "unauthenticated");
    }

    #[test]
    fn the_text_of_an_encoding_error_stays_inside() {
        let error = FlightError::DecodeError("cell 42".to_owned());
        assert!(!of_stream(error).message().contains("42"));
    }
}

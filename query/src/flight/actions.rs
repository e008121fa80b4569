//! The actions of Flight SQL: statements are prepared, sessions and transactions politely declined.

use std::collections::HashMap;

use arrow_flight::sql::{
    ActionCancelQueryResult, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any,
    ProstMessageExt,
};
use arrow_flight::{Action, ActionType, CancelFlightInfoResult, CancelStatus};
use prost::Message;

use super::seal::Work;
use super::service::{Call, LakewardFlight, ipc};
use super::status::{malformed, unserved};
use super::{parameters, placeholders};
use crate::session::{CATALOG, DEFAULT_SCHEMA};
use crate::{QueryError, RefusedKind};

/// An action that is answered, if only by a refusal of its own kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    CreatePreparedStatement,
    ClosePreparedStatement,
    CancelFlightInfo,
    CancelQuery,
    SetSessionOptions,
    GetSessionOptions,
    CloseSession,
    BeginTransaction,
    EndTransaction,
    BeginSavepoint,
    EndSavepoint,
}

pub(super) const ALL: [Known; 11] = [
    Known::CreatePreparedStatement,
    Known::ClosePreparedStatement,
    Known::CancelFlightInfo,
    Known::CancelQuery,
    Known::SetSessionOptions,
    Known::GetSessionOptions,
    Known::CloseSession,
    Known::BeginTransaction,
    Known::EndTransaction,
    Known::BeginSavepoint,
    Known::EndSavepoint,
];

impl Known {
    pub(super) fn described(self) -> ActionType {
        let (name, description) = match self {
            Self::CreatePreparedStatement => ("CreatePreparedStatement", "Prepares a statement."),
            Self::ClosePreparedStatement => ("ClosePreparedStatement", "Does nothing: the server keeps no statement."),
            Self::CancelFlightInfo => ("CancelFlightInfo", "Not possible: a statement ends with its stream."),
            Self::CancelQuery => ("CancelQuery", "Not possible: a statement ends with its stream."),
            Self::SetSessionOptions => ("SetSessionOptions", "Takes the one catalog and the one default schema."),
            Self::GetSessionOptions => ("GetSessionOptions", "There are none: the server keeps no session."),
            Self::CloseSession => ("CloseSession", "Does nothing: the server keeps no session."),
            Self::BeginTransaction => ("BeginTransaction", "Refused: every statement reads by itself."),
            Self::EndTransaction => ("EndTransaction", "Refused: every statement reads by itself."),
            Self::BeginSavepoint => ("BeginSavepoint", "Refused: every statement reads by itself."),
            Self::EndSavepoint => ("EndSavepoint", "Refused: every statement reads by itself."),
        };
        ActionType { r#type: name.to_owned(), description: description.to_owned() }
    }
}

/// Runs an action; gives the bodies of its results.
pub(super) async fn run(flight: &LakewardFlight, call: &Call, action: &Action) -> Result<Vec<Vec<u8>>, QueryError> {
    let known = ALL.into_iter().find(|known| known.described().r#type == action.r#type).ok_or_else(unserved)?;
    match known {
        Known::CreatePreparedStatement => {
            let request: ActionCreatePreparedStatementRequest = unpacked(&action.body)?;
            let result = prepare(flight, call, request).await?;
            Ok(vec![result.as_any().encode_to_vec()])
        }
        Known::ClosePreparedStatement => Ok(Vec::new()),
        Known::CancelFlightInfo => {
            let status = CancelStatus::NotCancellable.into();
            Ok(vec![CancelFlightInfoResult { status }.encode_to_vec()])
        }
        Known::CancelQuery => {
            let result = CancelStatus::NotCancellable.into();
            Ok(vec![ActionCancelQueryResult { result }.as_any().encode_to_vec()])
        }
        Known::SetSessionOptions => {
            let options = SessionOptions::decode(&*action.body).map_err(|_| malformed())?;
            Ok(vec![options.refusals().encode_to_vec()])
        }
        Known::GetSessionOptions => Ok(vec![SessionOptions::default().encode_to_vec()]),
        Known::CloseSession => Ok(vec![SessionClosed { status: CLOSED }.encode_to_vec()]),
        Known::BeginTransaction | Known::EndTransaction | Known::BeginSavepoint | Known::EndSavepoint => {
            Err(QueryError::refused(RefusedKind::Transaction))
        }
    }
}

fn unpacked<M: ProstMessageExt>(body: &[u8]) -> Result<M, QueryError> {
    Any::decode(body).ok().and_then(|any| any.unpack().ok().flatten()).ok_or_else(malformed)
}

async fn prepare(
    flight: &LakewardFlight,
    call: &Call,
    request: ActionCreatePreparedStatementRequest,
) -> Result<ActionCreatePreparedStatementResult, QueryError> {
    if request.transaction_id.is_some() {
        return Err(QueryError::refused(RefusedKind::Transaction));
    }
    let context = flight.context(call)?;
    let sql = placeholders::numbered(&request.query);
    let prepared = flight.state.gateway.service().plan(&context, &sql).await?;
    Ok(ActionCreatePreparedStatementResult {
        prepared_statement_handle: flight.handle(&context, Work::statement(sql, None))?.into(),
        dataset_schema: ipc(&prepared.schema)?.into(),
        parameter_schema: ipc(&parameters::wanted(&prepared.parameters))?.into(),
    })
}

// Messages of Flight.proto that the library does not have yet, cut down to what is read or written here.

const CLOSED: i32 = 1;
const INVALID_NAME: i32 = 1;
const INVALID_VALUE: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct SessionClosed {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SetSessionOptionsRequest` and `GetSessionOptionsResult` have the same shape.
#[derive(Clone, PartialEq, Message)]
struct SessionOptions {
    #[prost(map = "string, message", tag = "1")]
    options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
struct OptionValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
}

/// `SetSessionOptionsResult`: the options that were not taken.
#[derive(Clone, PartialEq, Message)]
struct Refusals {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, Refusal>,
}

#[derive(Clone, PartialEq, Message)]
struct Refusal {
    #[prost(int32, tag = "1")]
    value: i32,
}

impl SessionOptions {
    /// A session has one catalog and one default schema; to be asked for what it has anyway is all it takes.
    fn refusals(&self) -> Refusals {
        let errors = self.options.iter().filter_map(|(name, value)| {
            let value = match (name.as_str(), value.text.as_deref()) {
                ("catalog", Some(CATALOG)) | ("schema", Some(DEFAULT_SCHEMA)) => return None,
                ("catalog" | "schema", _) => INVALID_VALUE,
                _ => INVALID_NAME,
            };
            Some((name.clone(), Refusal { value }))
        });
        Refusals { errors: errors.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str) -> Option<i32> {
        let value = OptionValue { text: Some(value.to_owned()) };
        let options = SessionOptions { options: HashMap::from([(name.to_owned(), value)]) };
        options.refusals().errors.get(name).map(|refusal| refusal.value)
    }

    #[test]
    fn a_session_takes_the_options_it_has_anyway() {
        assert_eq!(refused("catalog", CATALOG), None);
        assert_eq!(refused("schema", DEFAULT_SCHEMA), None);
    }

    #[test]
    fn a_session_takes_no_other_option() {
        assert_eq!(refused("catalog", "other"), Some(INVALID_VALUE));
        assert_eq!(refused("schema", "raw"), Some(INVALID_VALUE));
        assert_eq!(refused("time_zone", "UTC"), Some(INVALID_NAME));
    }
}

//! What every protocol does before a statement: find out who is asking, number the request, and count it.
//!
//! - an *arrival* is one request on its way: its number, its protocol and endpoint, and when it came;
//! - the *gateway* turns credentials and a purpose into the [`RequestContext`] that the service wants.
//!
//! A protocol speaks to the service with a context from here and with no other.

mod arrival;
#[cfg(test)]
pub(crate) mod fixture;
mod shutdown;
mod types;

use std::sync::Arc;

use lakeward_iam::{Authenticator, Claims, IamError, Policies};
use tracing::error;

pub use arrival::{Arrival, Protocol, RequestMetrics};
pub(crate) use shutdown::serve_until;
pub use types::sql_type;

use crate::{ErrorCode, QueryError, QueryService, RequestContext};

/// The door of all protocols. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    service: QueryService,
    authenticator: Arc<Authenticator>,
    policies: Arc<Policies>,
    metrics: RequestMetrics,
}

impl Gateway {
    /// A door to the service, for principals of these policies.
    pub fn new(
        service: QueryService,
        authenticator: Arc<Authenticator>,
        policies: Arc<Policies>,
        metrics: RequestMetrics,
    ) -> Self {
        Self { service, authenticator, policies, metrics }
    }

    /// The service behind the door.
    pub fn service(&self) -> &QueryService {
        &self.service
    }

    /// Numbers a request that has just come.
    pub fn arrive(&self, protocol: Protocol, endpoint: &'static str) -> Arrival {
        Arrival::new(protocol, endpoint, self.metrics.clone())
    }

    /// What a bearer token says of its holder; without one, what is said of the anonymous.
    pub async fn claims(&self, bearer: Option<&str>) -> Result<Claims, QueryError> {
        self.authenticator.authenticate(bearer).await.map_err(told)
    }

    /// The context of a request: its principal under the purpose, its number and its deadline.
    pub fn context(
        &self,
        arrival: &Arrival,
        claims: &Claims,
        purpose: Option<&str>,
    ) -> Result<RequestContext, QueryError> {
        let principal = self.policies.principal(claims, purpose).map_err(told)?;
        Ok(RequestContext {
            principal,
            request_id: arrival.request_id().to_owned(),
            deadline: arrival.at() + self.service.config().time_limit,
            protocol: arrival.protocol().as_str(),
            peer: arrival.peer().map(|peer| peer.to_string()),
            grant_id: None,
            row_limit: None,
        })
    }
}

/// What a client is told of an error of identity: of bad credentials, nothing but that they are bad.
fn told(refusal: IamError) -> QueryError {
    let code = match &refusal {
        IamError::Rejected | IamError::CredentialsRequired => ErrorCode::Unauthenticated,
        IamError::Forbidden { .. } => ErrorCode::Forbidden,
        IamError::PurposeRequired { .. } => ErrorCode::InvalidRequest,
        IamError::Unavailable => ErrorCode::Unavailable,
        other => {
            error!(error = %other, "identity failed");
            return QueryError::internal();
        }
    };
    QueryError::new(code, refusal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_identity_is_told_by_its_kind() {
        let purposes = vec!["care".to_owned(), "research".to_owned()];
        let cases = [
            (IamError::Rejected, ErrorCode::Unauthenticated),
            (IamError::CredentialsRequired, ErrorCode::Unauthenticated),
            (IamError::Unavailable, ErrorCode::Unavailable),
            (IamError::Forbidden { purpose: "care".to_owned() }, ErrorCode::Forbidden),
            (IamError::PurposeRequired { purposes }, ErrorCode::InvalidRequest),
        ];
        for (refusal, code) in cases {
            assert_eq!(told(refusal).code, code);
        }
    }

    #[test]
    fn a_fault_of_the_server_is_not_explained_to_the_client() {
        let fault = IamError::Configuration { issuer: "https://inside.example".to_owned(), reason: "x".to_owned() };
        assert_eq!(told(fault), QueryError::internal());
    }
}

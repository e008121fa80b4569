//! Which issuers are trusted, and how far.

use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde::Deserialize;

use crate::error::IamError;

/// An OpenID Connect issuer. Its keys are found by discovery (OpenID Connect Discovery 1.0 section 4).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The issuer's URL, exactly as in `iss`.
    pub issuer: String,
    /// Accepted values of `aud`; a token needs one of them.
    pub audience: Vec<String>,
    /// Accepted algorithms, by their JWA names; asymmetric ones only.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<String>,
    /// The claim with the roles, or a path to it such as `realm_access.roles`.
    #[serde(default = "default_roles_claim")]
    pub roles_claim: String,
    /// The issuer's key set, where discovery is not to be used.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// A PEM file of certificate authorities to trust besides the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Allow plain HTTP to hosts other than the loopback.
    #[serde(default)]
    pub allow_http: bool,
}

fn default_algorithms() -> Vec<String> {
    ["RS256", "PS256", "ES256", "EdDSA"].map(str::to_owned).to_vec()
}

fn default_roles_claim() -> String {
    "roles".to_owned()
}

impl IssuerConfig {
    /// An issuer with the default algorithms and roles in `roles`.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: vec![audience.into()],
            algorithms: default_algorithms(),
            roles_claim: default_roles_claim(),
            jwks_uri: None,
            ca_file: None,
            allow_http: false,
        }
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> IamError {
        IamError::Configuration { issuer: self.issuer.clone(), reason: reason.into() }
    }

    /// The algorithms, none of them symmetric.
    pub(crate) fn pinned_algorithms(&self) -> Result<Vec<Algorithm>, IamError> {
        let algorithms = self
            .algorithms
            .iter()
            .map(|name| match name.parse::<Algorithm>() {
                Ok(algorithm) if algorithm.family() != AlgorithmFamily::Hmac => Ok(algorithm),
                _ => Err(self.error(format!("algorithm `{name}` is not an asymmetric signature algorithm"))),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if algorithms.is_empty() {
            return Err(self.error("no algorithm is accepted"));
        }
        Ok(algorithms)
    }
}

/// How tokens are checked.
#[derive(Debug, Clone)]
pub struct AuthenticatorConfig {
    /// Issuers reached over the network.
    pub issuers: Vec<IssuerConfig>,
    /// Whether a request without credentials is the principal `anonymous`, or an error.
    pub anonymous: bool,
    /// Clock skew allowed for `exp` and `nbf`.
    pub leeway: Duration,
    /// After this long the keys are fetched again.
    pub keys_fresh_for: Duration,
    /// Keys older than this are not used, even when the issuer cannot be reached.
    pub keys_usable_for: Duration,
    /// At least this long lies between two fetches from one issuer.
    pub fetch_interval: Duration,
    /// How long a fetch may take.
    pub fetch_timeout: Duration,
}

impl Default for AuthenticatorConfig {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            anonymous: true,
            leeway: Duration::from_secs(30),
            keys_fresh_for: Duration::from_secs(10 * 60),
            keys_usable_for: Duration::from_secs(60 * 60),
            fetch_interval: Duration::from_secs(10),
            fetch_timeout: Duration::from_secs(5),
        }
    }
}

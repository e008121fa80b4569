//! Which issuers are trusted, and how far.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde::Deserialize;
use url::{Host, Url};

use crate::error::IamError;

/// A signature algorithm that tokens may have, by its JWA name: asymmetric ones only. With a symmetric one, whoever can
/// check a token could make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureAlgorithm(Algorithm);

impl FromStr for SignatureAlgorithm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.parse::<Algorithm>() {
            Ok(algorithm) if algorithm.family() != AlgorithmFamily::Hmac => Ok(Self(algorithm)),
            _ => Err(format!("algorithm `{name}` is not an asymmetric signature algorithm, such as RS256 or ES256")),
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// The address of an issuer that may be trusted: https, or http where that is allowed or goes to the loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerUrl(String);

impl IssuerUrl {
    /// The address exactly as it stands in `iss`.
    pub fn parse(text: &str, allow_http: bool) -> Result<Self, String> {
        match trusted(text, allow_http) {
            Some(url) if url.query().is_none() && url.fragment().is_none() => Ok(Self(text.to_owned())),
            _ => Err("an issuer's address must be an https URL (or http with allow_http)".to_owned()),
        }
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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
            .map(|name| Ok(name.parse::<SignatureAlgorithm>().map_err(|why| self.error(why))?.0))
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

/// The URL, if it is https, or http where that is allowed or goes to the loopback.
pub(super) fn trusted(url: &str, allow_http: bool) -> Option<Url> {
    let url = Url::parse(url).ok()?;
    let loopback = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let trusted = url.scheme() == "https" || (url.scheme() == "http" && (allow_http || loopback));
    trusted.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_asymmetric_algorithms_are_signatures() {
        for name in ["RS256", "PS384", "ES256", "EdDSA"] {
            assert_eq!(name.parse::<SignatureAlgorithm>().unwrap().to_string(), name);
        }
        for name in ["HS256", "HS512", "none", "", "rs256", "RS1"] {
            assert!(name.parse::<SignatureAlgorithm>().is_err(), "{name}");
        }
    }

    #[test]
    fn plain_http_is_for_the_loopback_unless_allowed() {
        assert!(trusted("https://issuer.example", false).is_some());
        assert!(trusted("http://127.0.0.1:8080", false).is_some());
        assert!(trusted("http://[::1]:8080", false).is_some());
        assert!(trusted("http://localhost", false).is_some());
        assert!(trusted("http://issuer.example", false).is_none());
        assert!(trusted("http://issuer.example", true).is_some());
        assert!(trusted("file:///etc/passwd", true).is_none());
        assert!(trusted("no url", true).is_none());
    }
}

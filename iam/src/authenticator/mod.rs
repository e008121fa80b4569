//! Authentication: from a bearer token to claims.
//!
//! An *issuer* signs tokens; its *key set* is fetched from it ([`remote`]) or given ([`LocalIssuer`]). Whatever is wrong
//! with a token, the client hears one sentence; the log has a reason, without a value of the token.

mod config;
mod keys;
mod remote;
mod token;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

pub use config::{AuthenticatorConfig, IssuerConfig, IssuerUrl, SignatureAlgorithm};

use crate::claims::Claims;
use crate::error::{AuthError, IamError};
use keys::KeySet;
use remote::RemoteKeys;
use token::{Failure, Token, TokenRules};

/// An issuer whose keys are in memory: the development issuer.
#[derive(Debug, Clone)]
pub struct LocalIssuer {
    /// The value of `iss`.
    pub issuer: String,
    /// The value of `aud`.
    pub audience: String,
    /// The key set (RFC 7517 section 5).
    pub jwks: Value,
}

/// Tells who sends a request. Cheap to clone; the clones share their keys.
#[derive(Debug, Clone)]
pub struct Authenticator {
    anonymous: bool,
    issuers: Arc<BTreeMap<String, Issuer>>,
}

#[derive(Debug)]
struct Issuer {
    rules: TokenRules,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    Local(Arc<KeySet>),
    Remote(Box<RemoteKeys>),
}

impl Authenticator {
    /// Checks the configuration; nothing is fetched yet.
    pub fn new(config: AuthenticatorConfig, local: Vec<LocalIssuer>) -> Result<Self, AuthError> {
        let mut issuers = BTreeMap::new();
        for issuer in &config.issuers {
            let trusted = Issuer {
                rules: TokenRules {
                    issuer: issuer.issuer.clone(),
                    audience: issuer.audience.clone(),
                    algorithms: issuer.pinned_algorithms()?,
                    roles_claim: issuer.roles_claim.clone(),
                    leeway: config.leeway,
                },
                keys: Keys::Remote(Box::new(RemoteKeys::new(issuer, &config)?)),
            };
            add(&mut issuers, trusted)?;
        }
        for issuer in local {
            let keys = KeySet::parse(&issuer.jwks).ok_or_else(|| IamError::Configuration {
                issuer: issuer.issuer.clone(),
                reason: "its key set has no usable key".into(),
            })?;
            let trusted = Issuer {
                rules: TokenRules {
                    issuer: issuer.issuer,
                    audience: vec![issuer.audience],
                    algorithms: keys.algorithms(),
                    roles_claim: "roles".into(),
                    leeway: config.leeway,
                },
                keys: Keys::Local(Arc::new(keys)),
            };
            add(&mut issuers, trusted)?;
        }
        Ok(Self { anonymous: config.anonymous, issuers: Arc::new(issuers) })
    }

    /// The claims behind a bearer token (without the word `Bearer`), or those of the anonymous where there is none.
    pub async fn authenticate(&self, bearer: Option<&str>) -> Result<Claims, AuthError> {
        let Some(bearer) = bearer else {
            return if self.anonymous { Ok(Claims::anonymous()) } else { Err(IamError::CredentialsRequired) };
        };
        self.verify(bearer).await.map_err(|failure| match failure {
            Failure::Rejected(reason) => {
                tracing::info!(reason, "token rejected");
                IamError::Rejected
            }
            Failure::Unavailable => IamError::Unavailable,
        })
    }

    async fn verify(&self, bearer: &str) -> Result<Claims, Failure> {
        let token = Token::parse(bearer)?;
        let issuer = self.issuers.get(token.issuer()).ok_or(Failure::Rejected("unknown issuer"))?;
        let algorithm = token.algorithm_among(&issuer.rules.algorithms)?;
        let keys = match &issuer.keys {
            Keys::Local(keys) => Arc::clone(keys),
            Keys::Remote(remote) => remote.keys_for(algorithm, token.key_id()).await?,
        };
        token.verify(&issuer.rules, algorithm, &keys)
    }
}

fn add(issuers: &mut BTreeMap<String, Issuer>, issuer: Issuer) -> Result<(), IamError> {
    let name = issuer.rules.issuer.clone();
    let problem = |reason: &str| IamError::Configuration { issuer: name.clone(), reason: reason.into() };
    if issuer.rules.audience.is_empty() || issuer.rules.audience.iter().any(String::is_empty) {
        return Err(problem("it needs an audience"));
    }
    if issuers.insert(name.clone(), issuer).is_some() {
        return Err(problem("it is configured twice"));
    }
    Ok(())
}

//! Keys of an issuer reached over the network: discovered, kept, fetched again.
//!
//! Kept keys serve without waiting while they are fresh. A key that is not among them makes one fetch, at most one
//! per interval, so that made-up key ids cannot be turned against the issuer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use parking_lot::RwLock;
use reqwest::{Certificate, Client, redirect};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::config::{AuthenticatorConfig, IssuerConfig, trusted};
use super::keys::KeySet;
use super::token::Failure;
use crate::error::IamError;

/// Larger documents are not read.
const LARGEST_DOCUMENT: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct RemoteKeys {
    issuer: String,
    jwks_uri: Option<Url>,
    discovery: Url,
    allow_http: bool,
    client: Client,
    fresh_for: Duration,
    usable_for: Duration,
    fetch_interval: Duration,
    kept: RwLock<Option<Kept>>,
    /// Held while fetching.
    last_fetch: Mutex<Option<Fetch>>,
}

#[derive(Debug, Clone)]
struct Kept {
    keys: Arc<KeySet>,
    since: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Fetch {
    started: Instant,
    succeeded: bool,
}

/// Why keys could not be fetched: words for the log.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("no answer: {0}")]
    Transport(#[from] reqwest::Error),
    #[error("the document is too large")]
    TooLarge,
    #[error("not the document that was expected")]
    Document(#[from] serde_json::Error),
    #[error("the discovery document is another issuer's")]
    AnotherIssuer,
    #[error("the key set's address is not one to be trusted")]
    Address,
    #[error("the key set has no usable key")]
    NoUsableKey,
}

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
}

impl RemoteKeys {
    pub(super) fn new(issuer: &IssuerConfig, config: &AuthenticatorConfig) -> Result<Self, IamError> {
        let discovery = format!("{}/.well-known/openid-configuration", issuer.issuer.trim_end_matches('/'));
        let discovery = trusted(&discovery, issuer.allow_http)
            .ok_or_else(|| issuer.error("its address must be an https URL (or http with allow_http)"))?;
        let jwks_uri = match &issuer.jwks_uri {
            None => None,
            Some(uri) => Some(
                trusted(uri, issuer.allow_http)
                    .ok_or_else(|| issuer.error("jwks_uri must be an https URL (or http with allow_http)"))?,
            ),
        };
        Ok(Self {
            issuer: issuer.issuer.clone(),
            jwks_uri,
            discovery,
            allow_http: issuer.allow_http,
            client: client(issuer, config.fetch_timeout)?,
            fresh_for: config.keys_fresh_for,
            usable_for: config.keys_usable_for.max(config.keys_fresh_for),
            fetch_interval: config.fetch_interval,
            kept: RwLock::new(None),
            last_fetch: Mutex::new(None),
        })
    }

    /// The issuer's keys, with one for this algorithm and key id among them.
    pub(super) async fn keys_for(&self, algorithm: Algorithm, id: Option<&str>) -> Result<Arc<KeySet>, Failure> {
        let kept_within = |age: Duration| {
            let kept = self.kept.read().clone()?;
            (kept.since.elapsed() < age && kept.keys.has(algorithm, id)).then_some(kept.keys)
        };
        if let Some(keys) = kept_within(self.fresh_for) {
            return Ok(keys);
        }
        let mut last_fetch = match (self.last_fetch.try_lock(), kept_within(self.usable_for)) {
            (Ok(guard), _) => guard,
            // Somebody is fetching, and what is kept will do.
            (Err(_), Some(keys)) => return Ok(keys),
            (Err(_), None) => self.last_fetch.lock().await,
        };
        if let Some(keys) = kept_within(self.fresh_for) {
            return Ok(keys);
        }
        if last_fetch.is_none_or(|fetch| fetch.started.elapsed() >= self.fetch_interval) {
            let started = Instant::now();
            // Stands if the request is given up while it waits.
            *last_fetch = Some(Fetch { started, succeeded: false });
            match self.fetch().await {
                Ok(keys) => {
                    let keys = Arc::new(keys);
                    *self.kept.write() = Some(Kept { keys: Arc::clone(&keys), since: started });
                    *last_fetch = Some(Fetch { started, succeeded: true });
                    if keys.has(algorithm, id) {
                        return Ok(keys);
                    }
                }
                Err(error) => {
                    tracing::warn!(issuer = %self.issuer, %error, "keys of the issuer not fetched")
                }
            }
        }
        match kept_within(self.usable_for) {
            Some(keys) => Ok(keys),
            None if last_fetch.is_some_and(|fetch| fetch.succeeded) => Err(Failure::Rejected("unknown key")),
            None => Err(Failure::Unavailable),
        }
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let jwks_uri = match &self.jwks_uri {
            Some(uri) => uri.clone(),
            None => {
                let document: DiscoveryDocument = serde_json::from_value(self.document(&self.discovery).await?)?;
                if document.issuer != self.issuer {
                    return Err(FetchError::AnotherIssuer);
                }
                trusted(&document.jwks_uri, self.allow_http).ok_or(FetchError::Address)?
            }
        };
        KeySet::parse(&self.document(&jwks_uri).await?).ok_or(FetchError::NoUsableKey)
    }

    async fn document(&self, url: &Url) -> Result<Value, FetchError> {
        let mut response = self.client.get(url.clone()).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > LARGEST_DOCUMENT {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(serde_json::from_slice(&body)?)
    }
}

fn client(issuer: &IssuerConfig, timeout: Duration) -> Result<Client, IamError> {
    // A redirect could lead to a host that nobody configured.
    let mut builder = Client::builder().timeout(timeout).redirect(redirect::Policy::none());
    if let Some(file) = &issuer.ca_file {
        let pem = std::fs::read(file).map_err(|source| IamError::File { path: file.clone(), source })?;
        let authorities = Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if authorities.is_empty() {
            return Err(issuer.error("its ca_file holds no PEM certificate"));
        }
        for authority in authorities {
            builder = builder.add_root_certificate(authority);
        }
    }
    builder.build().map_err(|_| issuer.error("no TLS client could be made"))
}

//! One token: what it claims to be, and whether that is so (RFC 7519, RFC 8725).

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::KeySet;
use crate::claims::Claims;

/// Longer tokens are not looked at.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Why there are no claims. The reason is for the log, and has no value of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Rejected(&'static str),
    Unavailable,
}

/// What a token of an issuer must be.
#[derive(Debug)]
pub(super) struct TokenRules {
    pub(super) issuer: String,
    pub(super) audience: Vec<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) roles_claim: String,
    pub(super) leeway: Duration,
}

/// A token whose signature has not been verified.
pub(super) struct Token<'a> {
    encoded: &'a str,
    header: Header,
    issuer: String,
}

#[derive(Deserialize)]
struct IssuerClaim {
    iss: String,
}

impl<'a> Token<'a> {
    pub(super) fn parse(encoded: &'a str) -> Result<Self, Failure> {
        if encoded.len() > LONGEST_TOKEN {
            return Err(Failure::Rejected("too long"));
        }
        let malformed = Failure::Rejected("malformed");
        let mut parts = encoded.split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(malformed);
        };
        // Refuses `none` and whatever else is not an algorithm that the library knows.
        let header = jsonwebtoken::decode_header(encoded).map_err(|_| Failure::Rejected("header not understood"))?;
        if header.crit.is_some() {
            return Err(Failure::Rejected("critical extension"));
        }
        let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).map_err(|_| malformed)?;
        let claim: IssuerClaim = serde_json::from_slice(&payload).map_err(|_| Failure::Rejected("no issuer"))?;
        Ok(Self { encoded, header, issuer: claim.iss })
    }

    /// The issuer as the token has it: it says which keys to try, and nothing else until one fits.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    pub(super) fn algorithm_among(&self, pinned: &[Algorithm]) -> Result<Algorithm, Failure> {
        let stated = self.header.alg;
        pinned.contains(&stated).then_some(stated).ok_or(Failure::Rejected("algorithm not accepted"))
    }

    pub(super) fn verify(self, rules: &TokenRules, algorithm: Algorithm, keys: &KeySet) -> Result<Claims, Failure> {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&rules.issuer]);
        validation.set_audience(&rules.audience);
        validation.validate_nbf = true;
        validation.leeway = rules.leeway.as_secs();

        let mut failure = Failure::Rejected("unknown key");
        for key in keys.candidates(algorithm, self.key_id()) {
            match jsonwebtoken::decode::<Map<String, Value>>(self.encoded, &key.decoding, &validation) {
                Ok(token) => {
                    // The library also takes a list of issuers; RFC 7519 section 4.1.1 has one string.
                    if token.claims.get("iss").and_then(Value::as_str) != Some(rules.issuer.as_str()) {
                        return Err(Failure::Rejected("wrong issuer"));
                    }
                    return Claims::from_payload(&rules.issuer, &rules.roles_claim, &token.claims)
                        .ok_or(Failure::Rejected("no usable subject"));
                }
                Err(error) => failure = Failure::Rejected(reason(error.kind())),
            }
        }
        Err(failure)
    }
}

fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "signature",
        ErrorKind::ExpiredSignature => "expired",
        ErrorKind::ImmatureSignature => "not valid yet",
        ErrorKind::InvalidAudience => "wrong audience",
        ErrorKind::InvalidIssuer => "wrong issuer",
        ErrorKind::MissingRequiredClaim(_) => "a required claim is missing",
        ErrorKind::InvalidClaimFormat(_) => "a claim of the wrong type",
        ErrorKind::InvalidAlgorithm => "algorithm not accepted",
        _ => "malformed",
    }
}

//! The one error of this crate: whose fault it is, and whether a retry helps.

use std::path::PathBuf;

/// What can go wrong between a request's credentials and its principal.
///
/// The text of every variant may be shown to the client: it holds no value of a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IamError {
    /// The credentials are not good. Why is logged, never told.
    #[error("the credentials were not accepted")]
    Rejected,
    /// No credentials were given, and anonymous access is switched off.
    #[error("credentials are required")]
    CredentialsRequired,
    /// The issuer's keys could not be had, so nothing can be said about the token.
    #[error("the token's issuer cannot be reached; try again later")]
    Unavailable,
    /// The stated purpose is none of the principal's.
    #[error("purpose `{purpose}` is not open to you: you have no role for it")]
    Forbidden {
        /// The purpose as stated.
        purpose: String,
    },
    /// The principal's roles have several purposes, and the request states none.
    #[error("state a purpose; your roles have {}", .purposes.join(", "))]
    PurposeRequired {
        /// The purposes to choose from.
        purposes: Vec<String>,
    },
    /// An issuer is configured in a way that cannot be used.
    #[error("issuer `{issuer}`: {reason}")]
    Configuration {
        /// The issuer as configured.
        issuer: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The development issuer's key is not usable.
    #[error("development key {}: {reason}", .path.display())]
    DevelopmentKey {
        /// The key's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A token could not be minted.
    #[error("the token could not be signed")]
    Signing(#[source] jsonwebtoken::errors::Error),
}

/// The same error where credentials are concerned.
pub type AuthError = IamError;

impl IamError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable)
    }

    /// Whether the answer is "unauthenticated" (HTTP 401).
    pub fn is_unauthenticated(&self) -> bool {
        matches!(self, Self::Rejected | Self::CredentialsRequired)
    }
}

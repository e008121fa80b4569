//! Tickets and handles: what the server needs to go on, sealed so that it need not remember it.
//!
//! A sealed text is `0x01 || HMAC-SHA-256(key, kind || 0x00 || body) || body`; the body says what is to be done, for
//! whom (the digest of a principal), for which purpose, and until when. It is not secret, for its holder has asked for it:
//! it can only not be made or changed by anyone else. Whoever redeems it proves who they are once more.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use lakeward_iam::Principal;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{ErrorCode, QueryError};

const VERSION: u8 = 1;
const TAG: usize = 32;
const SHORTEST: usize = 32;

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketKeyError {
    /// Shorter than 32 bytes.
    #[error("a ticket key needs at least 32 bytes, {0} were given")]
    TooShort(usize),
}

/// The key with which tickets and handles are sealed: the same in every process that shall redeem them.
#[derive(Clone)]
pub struct TicketKey(Hmac<Sha256>);

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKey(…)")
    }
}

impl TicketKey {
    /// A key from a secret of at least 32 bytes.
    pub fn new(secret: &[u8]) -> Result<Self, TicketKeyError> {
        let too_short = || TicketKeyError::TooShort(secret.len());
        if secret.len() < SHORTEST {
            return Err(too_short());
        }
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret).map_err(|_| too_short())?;
        mac.update(b"lakeward/ticket/v1\0");
        Ok(Self(mac))
    }

    fn mac(&self, kind: Kind, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(kind.label());
        mac.update(body);
        mac
    }
}

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Redeemed for rows, by `DoGet`.
    Ticket,
    /// Names a prepared statement.
    Handle,
}

impl Kind {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Ticket => b"ticket\0",
            Self::Handle => b"handle\0",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Handle => "prepared statement",
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Work {
    /// A statement, with one row of parameters as an Arrow IPC stream (base64) if any are bound.
    Statement {
        sql: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parameters: Option<String>,
    },
    /// A metadata command, as its protobuf (base64).
    Command { any: String },
}

impl Work {
    pub(super) fn statement(sql: String, parameters: Option<&[u8]>) -> Self {
        Self::Statement { sql, parameters: parameters.map(|bytes| BASE64.encode(bytes)) }
    }

    pub(super) fn command(any: &[u8]) -> Self {
        Self::Command { any: BASE64.encode(any) }
    }
}

/// Bytes that stand in a sealed text.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, QueryError> {
    BASE64.decode(text.as_bytes()).map_err(|_| QueryError::internal())
}

/// An opened ticket or handle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sealed {
    pub(super) work: Work,
    principal: String,
    pub(super) purpose: String,
    expires: u64,
}

impl Sealed {
    /// For this principal alone, for that long.
    pub(super) fn new(work: Work, principal: &Principal, lifetime: Duration) -> Self {
        let expires = seconds_of(SystemTime::now()).saturating_add(lifetime.as_secs());
        Self { work, principal: principal.digest.clone(), purpose: principal.purpose.clone(), expires }
    }

    pub(super) fn seal(&self, key: &TicketKey, kind: Kind) -> Result<Vec<u8>, QueryError> {
        let body = serde_json::to_vec(self).map_err(|_| QueryError::internal())?;
        let mut sealed = Vec::with_capacity(1 + TAG + body.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&key.mac(kind, &body).finalize().into_bytes());
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// Opens what was sealed with this key as this kind and has not expired. Whose it is is asked by [`Self::belongs_to`].
    pub(super) fn open(key: &TicketKey, kind: Kind, sealed: &[u8]) -> Result<Self, QueryError> {
        let forged =
            || QueryError::new(ErrorCode::InvalidRequest, format!("this {} was not made by this server", kind.noun()));
        let (head, body) = sealed.split_at_checked(1 + TAG).ok_or_else(forged)?;
        let (version, tag) = head.split_first().ok_or_else(forged)?;
        if *version != VERSION {
            return Err(forged());
        }
        key.mac(kind, body).verify_slice(tag).map_err(|_| forged())?;
        let opened: Self = serde_json::from_slice(body).map_err(|_| forged())?;
        if opened.expires <= seconds_of(SystemTime::now()) {
            let sentence = format!("this {} has expired: ask for a new one", kind.noun());
            return Err(QueryError::new(ErrorCode::InvalidRequest, sentence));
        }
        Ok(opened)
    }

    /// An error unless it was made for this very principal.
    pub(super) fn belongs_to(&self, principal: &Principal) -> Result<(), QueryError> {
        if self.principal == principal.digest {
            Ok(())
        } else {
            Err(QueryError::new(ErrorCode::Forbidden, "this was made for someone else, or for another purpose"))
        }
    }
}

fn seconds_of(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> TicketKey {
        TicketKey::new(&[byte; 32]).unwrap()
    }

    fn sealed_for(seconds: u64) -> Sealed {
        Sealed {
            work: Work::statement("SELECT 1".to_owned(), Some(&[1, 2, 3])),
            principal: "digest".to_owned(),
            purpose: "care".to_owned(),
            expires: seconds_of(SystemTime::now()) + seconds,
        }
    }

    #[test]
    fn any_process_with_the_key_opens_what_was_sealed() {
        let ticket = sealed_for(60);
        let bytes = ticket.seal(&key(1), Kind::Ticket).unwrap();
        assert_eq!(Sealed::open(&key(1), Kind::Ticket, &bytes), Ok(ticket));
    }

    #[test]
    fn a_change_of_any_byte_is_noticed() {
        let bytes = sealed_for(60).seal(&key(1), Kind::Ticket).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(Sealed::open(&key(1), Kind::Ticket, &changed).is_err(), "byte {place}");
        }
        for length in 0..bytes.len() {
            assert!(Sealed::open(&key(1), Kind::Ticket, &bytes[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn another_key_opens_nothing() {
        let bytes = sealed_for(60).seal(&key(1), Kind::Ticket).unwrap();
        assert!(Sealed::open(&key(2), Kind::Ticket, &bytes).is_err());
    }

    #[test]
    fn a_handle_is_no_ticket() {
        let bytes = sealed_for(60).seal(&key(1), Kind::Handle).unwrap();
        assert!(Sealed::open(&key(1), Kind::Ticket, &bytes).is_err());
        assert!(Sealed::open(&key(1), Kind::Handle, &bytes).is_ok());
    }

    #[test]
    fn what_has_expired_is_refused() {
        let bytes = sealed_for(0).seal(&key(1), Kind::Ticket).unwrap();
        let error = Sealed::open(&key(1), Kind::Ticket, &bytes).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidRequest);
        assert!(error.message.contains("expired"), "{error}");
    }

    #[test]
    fn a_short_secret_is_no_key() {
        assert_eq!(TicketKey::new(&[0; 31]).err(), Some(TicketKeyError::TooShort(31)));
    }
}

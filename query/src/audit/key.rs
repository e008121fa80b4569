//! The key of the audit: of its chains, of the digests of statements, and of those of persons.
//!
//! One secret, and a key of its own for each use: `key(use) = HMAC-SHA-256(secret, "lakeward/audit/v1\0" || use)`. Whoever
//! has the store and not the key can neither continue a chain nor try names against the digests.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::KeyError;
use crate::keys::{keyed, long_enough};

const DERIVATION: &[u8] = b"lakeward/audit/v1\0";
/// Bytes of a digest that are kept: no two of a lake's persons have the same.
const KEPT: usize = 16;

/// The key of the audit. Cheap to clone.
#[derive(Clone)]
pub struct AuditKey {
    chain: Hmac<Sha256>,
    statement: Hmac<Sha256>,
    subject: Hmac<Sha256>,
}

impl AuditKey {
    /// A key from a secret of at least 32 bytes.
    pub fn from_secret(secret: &[u8]) -> Result<Self, KeyError> {
        let secret = long_enough(secret)?;
        let of = |what: &[u8]| {
            let derived = keyed(&secret).chain_update(DERIVATION).chain_update(what).finalize().into_bytes();
            keyed(&derived)
        };
        Ok(Self { chain: of(b"chain"), statement: of(b"statement"), subject: of(b"subject") })
    }

    /// The link of a record: a digest of it and of the link before it.
    pub(crate) fn link(&self, before: &str, record: &[u8]) -> String {
        let mac = self.chain.clone().chain_update(before.as_bytes()).chain_update([0]).chain_update(record);
        data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes())
    }

    /// The digest of a statement's full text.
    pub(crate) fn statement(&self, sql: &str) -> String {
        short(&self.statement, sql)
    }

    /// The digest of a person, by the id that stands in rows about them.
    pub(crate) fn subject(&self, id: &str) -> String {
        short(&self.subject, id)
    }
}

fn short(key: &Hmac<Sha256>, text: &str) -> String {
    let digest = key.clone().chain_update(text.as_bytes()).finalize().into_bytes();
    BASE64URL_NOPAD.encode(&digest[..KEPT])
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_use_has_a_key_of_its_own_and_none_is_shown() {
        let key = AuditKey::from_secret(&[7; 32]).unwrap();
        assert_ne!(key.statement("x"), key.subject("x"));
        assert_eq!(key.subject("x"), AuditKey::from_secret(&[7; 32]).unwrap().subject("x"));
        assert_ne!(key.subject("x"), AuditKey::from_secret(&[8; 32]).unwrap().subject("x"));
        assert_eq!(format!("{key:?}"), "AuditKey(…)");
    }

    #[test]
    fn a_link_depends_on_the_record_and_on_the_link_before() {
        let key = AuditKey::from_secret(&[7; 32]).unwrap();
        assert_ne!(key.link("a", b"r"), key.link("b", b"r"));
        assert_ne!(key.link("a", b"r"), key.link("a", b"s"));
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert_eq!(AuditKey::from_secret(b"short").unwrap_err(), KeyError::TooShort(5));
    }
}

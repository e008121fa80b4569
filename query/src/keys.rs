//! Keys of pseudonyms: one for each purpose, so that two purposes cannot be joined.
//!
//! Either every purpose has a key of its own, or all are derived from one master secret:
//! `key(purpose) = HMAC-SHA-256(master, "lakeward/pseudonym/v1\0" || purpose)`.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Shorter than 32 bytes.
    #[error("a pseudonym key needs at least 32 bytes, {0} were given")]
    TooShort(usize),
}

/// The keys of all purposes.
#[derive(Clone)]
pub struct PseudonymKeys {
    master: Option<Vec<u8>>,
    explicit: BTreeMap<String, Vec<u8>>,
}

const SHORTEST: usize = 32;

impl PseudonymKeys {
    /// Keys derived from one secret of at least 32 bytes.
    pub fn from_master(secret: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { master: Some(long_enough(secret)?), explicit: BTreeMap::new() })
    }

    /// A key for each purpose; a purpose without a key shows no pseudonyms, its cells are hidden.
    pub fn explicit(keys: BTreeMap<String, Vec<u8>>) -> Result<Self, KeyError> {
        keys.values().try_for_each(|key| long_enough(key).map(drop))?;
        Ok(Self { master: None, explicit: keys })
    }

    /// The same keys, with one of its own for a purpose.
    pub fn with_key(mut self, purpose: &str, key: &[u8]) -> Result<Self, KeyError> {
        self.explicit.insert(purpose.to_owned(), long_enough(key)?);
        Ok(self)
    }

    /// The key of a purpose.
    pub(crate) fn key(&self, purpose: &str) -> Option<PurposeKey> {
        if let Some(key) = self.explicit.get(purpose) {
            return Some(PurposeKey(hmac_of(key, &[])));
        }
        let master = self.master.as_ref()?;
        let derived = hmac_of(master, &[b"lakeward/pseudonym/v1\0", purpose.as_bytes()]).finalize().into_bytes();
        Some(PurposeKey(hmac_of(&derived, &[])))
    }
}

fn long_enough(key: &[u8]) -> Result<Vec<u8>, KeyError> {
    if key.len() < SHORTEST { Err(KeyError::TooShort(key.len())) } else { Ok(key.to_vec()) }
}

fn hmac_of(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    // HMAC takes a key of any length: a longer one is hashed, a shorter one padded.
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap_or_else(|_| unreachable_key());
    parts.iter().for_each(|part| mac.update(part));
    mac
}

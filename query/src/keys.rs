//! Keys of pseudonyms: one for each purpose, so that two purposes cannot be joined.
//!
//! Either every purpose has a key of its own, or all are derived from one master secret:
//! `key(purpose) = HMAC-SHA-256(master, "lakeward/pseudonym/v1\0" || purpose)`.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use hmac::digest::Key;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Shorter than 32 bytes.
    #[error("a key needs at least 32 bytes, {0} were given")]
    TooShort(usize),
}

/// The keys of all purposes.
#[derive(Clone)]
pub struct PseudonymKeys {
    master: Option<Vec<u8>>,
    explicit: BTreeMap<String, Vec<u8>>,
    #[cfg(test)]
    renamed: Renamed,
}

/// Values that stand for others, in the tests of noninterference: a lake whose keys are called otherwise shows the same
/// pseudonyms.
#[cfg(test)]
pub(crate) type Renamed = std::sync::Arc<std::collections::HashMap<Vec<u8>, Vec<u8>>>;

const SHORTEST: usize = 32;

impl PseudonymKeys {
    /// Keys derived from one secret of at least 32 bytes.
    pub fn from_master(secret: &[u8]) -> Result<Self, KeyError> {
        Ok(Self::of(Some(long_enough(secret)?), BTreeMap::new()))
    }

    /// A key for each purpose; a purpose without a key shows no pseudonyms, its cells are hidden.
    pub fn explicit(keys: BTreeMap<String, Vec<u8>>) -> Result<Self, KeyError> {
        keys.values().try_for_each(|key| long_enough(key).map(drop))?;
        Ok(Self::of(None, keys))
    }

    fn of(master: Option<Vec<u8>>, explicit: BTreeMap<String, Vec<u8>>) -> Self {
        Self {
            master,
            explicit,
            #[cfg(test)]
            renamed: Renamed::default(),
        }
    }

    /// The same keys where these values are called otherwise: by the new name, the one whose pseudonym it gets.
    #[cfg(test)]
    pub(crate) fn renamed(mut self, renamed: Renamed) -> Self {
        self.renamed = renamed;
        self
    }

    /// The same keys, with one of its own for a purpose.
    pub fn with_key(mut self, purpose: &str, key: &[u8]) -> Result<Self, KeyError> {
        self.explicit.insert(purpose.to_owned(), long_enough(key)?);
        Ok(self)
    }

    /// The key of a purpose.
    pub(crate) fn key(&self, purpose: &str) -> Option<PurposeKey> {
        let mac = match (self.explicit.get(purpose), &self.master) {
            (Some(key), _) => keyed(key),
            (None, Some(master)) => {
                let mut derivation = keyed(master);
                derivation.update(DERIVATION);
                derivation.update(purpose.as_bytes());
                keyed(&derivation.finalize().into_bytes())
            }
            (None, None) => return None,
        };
        Some(PurposeKey {
            purpose: purpose.to_owned(),
            mac,
            #[cfg(test)]
            renamed: self.renamed.clone(),
        })
    }
}

impl fmt::Debug for PseudonymKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let purposes: Vec<&String> = self.explicit.keys().collect();
        f.debug_struct("PseudonymKeys").field("master", &self.master.is_some()).field("explicit", &purposes).finish()
    }
}

/// The key of one purpose, ready for use. Two are equal when they belong to the same purpose: within a statement there
/// is one key for each.
#[derive(Clone)]
pub(crate) struct PurposeKey {
    purpose: String,
    mac: Hmac<Sha256>,
    #[cfg(test)]
    renamed: Renamed,
}

impl PurposeKey {
    /// HMAC-SHA-256 over a kind of pseudonym, a domain and a value, each closed by a zero byte but the last.
    pub(crate) fn digest(&self, kind: &str, domain: &str, value: &[u8]) -> [u8; 32] {
        self.domain(kind, domain).digest(value)
    }

    /// The same for many values.
    pub(crate) fn domain(&self, kind: &str, domain: &str) -> Domain {
        let mut mac = self.mac.clone();
        for part in [kind, domain] {
            mac.update(part.as_bytes());
            mac.update(&[0]);
        }
        Domain {
            mac,
            #[cfg(test)]
            renamed: self.renamed.clone(),
        }
    }
}

/// A key that has taken in a kind of pseudonym and a domain.
pub(crate) struct Domain {
    mac: Hmac<Sha256>,
    #[cfg(test)]
    renamed: Renamed,
}

impl Domain {
    pub(crate) fn digest(&self, value: &[u8]) -> [u8; 32] {
        #[cfg(test)]
        let value = self.renamed.get(value).map_or(value, Vec::as_slice);
        self.mac.clone().chain_update(value).finalize().into_bytes().into()
    }
}

impl fmt::Debug for PurposeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PurposeKey").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

impl PartialEq for PurposeKey {
    fn eq(&self, other: &Self) -> bool {
        self.purpose == other.purpose
    }
}

impl Eq for PurposeKey {}

impl Hash for PurposeKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.purpose.hash(state);
    }
}

const DERIVATION: &[u8] = b"lakeward/pseudonym/v1\0";

pub(crate) fn long_enough(key: &[u8]) -> Result<Vec<u8>, KeyError> {
    if key.len() < SHORTEST { Err(KeyError::TooShort(key.len())) } else { Ok(key.to_vec()) }
}

/// An HMAC under a key of any length: RFC 2104 hashes a key that is longer than a block and pads a shorter one.
pub(crate) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = Key::<Hmac<Sha256>>::default();
    if key.len() > block.len() {
        let digest = Sha256::digest(key);
        block[..digest.len()].copy_from_slice(&digest);
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    <Hmac<Sha256> as Mac>::new(&block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hmac_is_that_of_rfc_4231() {
        let mut short = keyed(b"Jefe");
        short.update(b"what do ya want for nothing?");
        assert_eq!(
            data_encoding::HEXLOWER.encode(&short.finalize().into_bytes()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let mut long = keyed(&[0xaa; 131]);
        long.update(b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(
            data_encoding::HEXLOWER.encode(&long.finalize().into_bytes()),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn purposes_have_different_keys_and_the_same_purpose_the_same_one() {
        let keys = PseudonymKeys::from_master(&[7; 32]).unwrap();
        let of = |purpose: &str| keys.key(purpose).unwrap().digest("hmac", "tag", b"x");
        assert_eq!(of("bi"), of("bi"));
        assert_ne!(of("bi"), of("research"));
    }

    #[test]
    fn kind_domain_and_value_cannot_run_into_each_other() {
        let key = PseudonymKeys::from_master(&[7; 32]).unwrap().key("bi").unwrap();
        assert_ne!(key.digest("a", "bc", b"d"), key.digest("ab", "c", b"d"));
        assert_ne!(key.digest("a", "b", b"cd"), key.digest("a", "bc", b"d"));
    }

    #[test]
    fn short_keys_are_refused() {
        assert_eq!(PseudonymKeys::from_master(b"secret").unwrap_err(), KeyError::TooShort(6));
        let keys = BTreeMap::from([("bi".to_owned(), vec![1; 31])]);
        assert_eq!(PseudonymKeys::explicit(keys).unwrap_err(), KeyError::TooShort(31));
    }

    #[test]
    fn a_purpose_without_a_key_has_none() {
        let keys = PseudonymKeys::explicit(BTreeMap::from([("bi".to_owned(), vec![1; 32])])).unwrap();
        assert!(keys.key("bi").is_some());
        assert!(keys.key("research").is_none());
    }

    #[test]
    fn debug_shows_no_key() {
        let keys = PseudonymKeys::from_master(b"0123456789abcdef0123456789abcdef").unwrap();
        assert!(!format!("{keys:?}").contains("0123"));
        assert!(!format!("{keys:?}").contains("48, 49"));
    }
}

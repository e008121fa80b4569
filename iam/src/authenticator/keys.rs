//! Key sets: which of an issuer's keys may verify which signature.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// The usable keys of an issuer.
#[derive(Debug)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
}

impl KeySet {
    /// The usable keys of a JSON Web Key Set; `None` when there is none. Keys of unknown kinds are passed over
    /// (RFC 7517 section 5).
    pub(super) fn parse(jwks: &Value) -> Option<Self> {
        let keys: Vec<Key> = jwks.get("keys")?.as_array()?.iter().filter_map(Key::parse).collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// The keys that may have made a signature by this algorithm.
    pub(super) fn candidates(&self, algorithm: Algorithm, id: Option<&str>) -> impl Iterator<Item = &Key> {
        self.0
            .iter()
            .filter(move |key| key.algorithms.contains(&algorithm))
            .filter(move |key| id.is_none() || key.id.as_deref() == id)
    }

    pub(super) fn has(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        self.candidates(algorithm, id).next().is_some()
    }

    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        self.0.iter().flat_map(|key| key.algorithms.iter().copied()).collect()
    }
}

impl Key {
    fn parse(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        let verifies =
            jwk.common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !signs || !verifies {
            return None;
        }
        let mut algorithms = algorithms_of(&jwk.algorithm);
        if let Some(stated) = jwk.common.key_algorithm {
            let stated = Algorithm::try_from(stated).ok()?;
            algorithms.retain(|algorithm| *algorithm == stated);
        }
        if algorithms.is_empty() {
            return None;
        }
        Some(Self { decoding: DecodingKey::from_jwk(&jwk).ok()?, id: jwk.common.key_id, algorithms })
    }
}

/// What a key of this kind can verify (RFC 7518 section 3.1, RFC 8037 section 3.1); a symmetric key nothing.
fn algorithms_of(parameters: &AlgorithmParameters) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match parameters {
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![ES256],
            EllipticCurve::P384 => vec![ES384],
            _ => vec![],
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![EdDSA]
        }
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const X: &str = "WKn-ZIGevcwGIyyrzFoZNBdaq9_TsqzGl96oc0CWuis";
    const Y: &str = "y77t-RvAHRKTsSGdIYUfweuOvwrvDD-Q3Hv5J0fSKbE";

    fn key(extra: Value) -> Value {
        let mut key = json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y, "kid": "1"});
        key.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        key
    }

    fn usable(key: Value) -> Vec<Algorithm> {
        KeySet::parse(&json!({ "keys": [key] })).map(|keys| keys.algorithms()).unwrap_or_default()
    }

    #[test]
    fn a_key_verifies_what_its_curve_and_its_alg_allow() {
        assert_eq!(usable(key(json!({}))), [Algorithm::ES256]);
        assert_eq!(usable(key(json!({"alg": "ES256", "use": "sig"}))), [Algorithm::ES256]);
        assert_eq!(usable(key(json!({"alg": "ES384"}))), []);
        assert_eq!(usable(key(json!({"alg": "RS256"}))), []);
        assert_eq!(usable(key(json!({"alg": "HS256"}))), []);
    }

    #[test]
    fn keys_for_encryption_or_signing_only_are_not_used() {
        assert_eq!(usable(key(json!({"use": "enc"}))), []);
        assert_eq!(usable(key(json!({"key_ops": ["encrypt"]}))), []);
        assert_eq!(usable(key(json!({"key_ops": ["verify"]}))), [Algorithm::ES256]);
    }

    #[test]
    fn a_symmetric_key_is_never_used() {
        assert_eq!(usable(json!({"kty": "oct", "k": "c2VjcmV0", "kid": "1"})), []);
        assert_eq!(usable(json!({"kty": "oct", "k": "c2VjcmV0", "kid": "1", "alg": "HS256"})), []);
    }

    #[test]
    fn unknown_kinds_of_keys_do_not_spoil_their_neighbours() {
        let keys = KeySet::parse(&json!({"keys": [{"kty": "AKP", "pub": "x"}, 7, key(json!({}))]})).unwrap();
        assert!(keys.has(Algorithm::ES256, Some("1")));
        assert!(!keys.has(Algorithm::ES256, Some("2")));
    }
}

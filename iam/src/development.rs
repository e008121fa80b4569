//! The development issuer: a key in a file, and tokens signed with it. For the demo and for tests.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use chrono::Utc;
use data_encoding::BASE64;
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};

use crate::authenticator::LocalIssuer;
use crate::claims::Claims;
use crate::error::IamError;

/// An issuer of one's own: an ES256 key that only its owner can read.
#[derive(Debug, Clone)]
pub struct DevelopmentIssuer {
    issuer: String,
    audience: String,
    key: EncodingKey,
    public: Jwk,
    key_id: String,
}

impl DevelopmentIssuer {
    /// Opens the key in `file`, or makes one there (mode 0600). A key that others can read is refused.
    pub fn open(file: &Path, issuer: impl Into<String>, audience: impl Into<String>) -> Result<Self, IamError> {
        let in_file = |source| IamError::File { path: file.to_owned(), source };
        let unusable = |reason: String| IamError::DevelopmentKey { path: file.to_owned(), reason };
        if !file.try_exists().map_err(in_file)? {
            create_key(file).map_err(in_file)?;
        }
        let mode = fs::metadata(file).map_err(in_file)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(unusable("others can read it; make it mode 0600 or remove it".into()));
        }
        let pem = fs::read(file).map_err(in_file)?;
        let key = EncodingKey::from_ec_pem(&pem).map_err(|_| unusable("not a P-256 key in PKCS#8 PEM".into()))?;
        let mut public =
            Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(|_| unusable("not a P-256 key".into()))?;
        let key_id = public.thumbprint(ThumbprintHash::SHA256).map_err(IamError::Signing)?;
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        public.common.key_algorithm = Some(KeyAlgorithm::ES256);
        public.common.key_id = Some(key_id.clone());
        Ok(Self { issuer: issuer.into(), audience: audience.into(), key, public, key_id })
    }

    /// A token with these claims, good from now for `ttl`. Attributes stand under their own names.
    pub fn mint(&self, claims: &Claims, ttl: Duration) -> Result<String, IamError> {
        let now = Utc::now().timestamp();
        let lifetime = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let mut payload: Map<String, Value> =
            claims.attributes.iter().map(|(name, value)| (name.clone(), value.to_value())).collect();
        payload.insert("iss".into(), json!(self.issuer));
        payload.insert("aud".into(), json!(self.audience));
        payload.insert("sub".into(), json!(claims.sub));
        payload.insert("roles".into(), json!(claims.roles));
        payload.insert("iat".into(), json!(now));
        payload.insert("exp".into(), json!(now.saturating_add(lifetime)));
        if let Some(name) = &claims.name {
            payload.insert("name".into(), json!(name));
        }
        self.sign(&payload)
    }

    /// A token with exactly this payload.
    pub fn sign(&self, payload: &Map<String, Value>) -> Result<String, IamError> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, payload, &self.key).map_err(IamError::Signing)
    }

    /// The key set, as at `jwks_uri` (RFC 7517 section 5).
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.public] })
    }

    /// The discovery document, as at `/.well-known/openid-configuration`, with the key set at `jwks_uri`.
    pub fn discovery(&self, jwks_uri: &str) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": jwks_uri,
            "id_token_signing_alg_values_supported": ["ES256"],
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
        })
    }

    /// What an [`Authenticator`](crate::Authenticator) in the same process needs to trust this issuer.
    pub fn local(&self) -> LocalIssuer {
        LocalIssuer { issuer: self.issuer.clone(), audience: self.audience.clone(), jwks: self.jwks() }
    }
}

/// Writes a new key beside its place and links it there, so that of two processes one wins and both read it.
fn create_key(file: &Path) -> io::Result<()> {
    let failed = || io::Error::other("no key could be generated");
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).map_err(|_| failed())?;
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in BASE64.encode(document.as_ref()).as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");

    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let nanoseconds = Utc::now().timestamp_nanos_opt().unwrap_or_default();
    let draft = directory.join(format!(".{name}.{}.{nanoseconds}", std::process::id()));
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = out.write_all(pem.as_bytes()).and_then(|()| out.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&draft, file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    fs::remove_file(&draft)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/key.pem");
        let first = DevelopmentIssuer::open(&file, "i", "a").unwrap();
        let again = DevelopmentIssuer::open(&file, "i", "a").unwrap();
        assert_eq!(first.jwks(), again.jwks());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        DevelopmentIssuer::open(&file, "i", "a").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = DevelopmentIssuer::open(&file, "i", "a").unwrap_err();
        assert!(error.to_string().contains("others can read it"), "{error}");
    }

    #[test]
    fn neither_key_set_nor_debug_output_holds_the_private_key() {
        let folder = tempfile::tempdir().unwrap();
        let issuer = DevelopmentIssuer::open(&folder.path().join("key.pem"), "i", "a").unwrap();
        let key = issuer.jwks()["keys"][0].clone();
        assert!(key.get("d").is_none());
        assert_eq!((&key["alg"], &key["use"], &key["crv"]), (&json!("ES256"), &json!("sig"), &json!("P-256")));
        let private = format!("{:?}", issuer.key.as_bytes());
        assert!(!format!("{issuer:?}").contains(&private));
    }

    #[test]
    fn a_file_that_is_no_key_is_an_error_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        fs::write(&file, "something else").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(DevelopmentIssuer::open(&file, "i", "a").is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "something else");
    }
}

//! Secrets that this machine makes for itself.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

/// Bytes of a secret.
const LENGTH: usize = 32;

/// A secret for the life of this process.
pub(crate) fn random() -> Vec<u8> {
    let mut secret = vec![0_u8; LENGTH];
    rand::Rng::fill(&mut rand::rng(), secret.as_mut_slice());
    secret
}

/// The secret that this file keeps; makes one, readable by its owner alone, when there is none.
pub(crate) fn kept(file: &Path) -> anyhow::Result<Vec<u8>> {
    match std::fs::read(file) {
        Ok(secret) => return Ok(secret),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
    let secret = data_encoding::HEXLOWER.encode(&random()).into_bytes();
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut open| open.write_all(&secret))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(secret)
}

//! The development issuer: for machines where nothing is real.

use std::path::Path;

use lakeward_iam::DevelopmentIssuer;

/// `iss` of development tokens.
pub(crate) const ISSUER: &str = "https://development.lakeward.invalid";
/// `aud` of development tokens.
pub(crate) const AUDIENCE: &str = "lakeward";

/// Opens the issuer whose key lies in this file; makes the key when there is none.
pub(crate) fn open(key_file: &Path) -> anyhow::Result<DevelopmentIssuer> {
    Ok(DevelopmentIssuer::open(key_file, ISSUER, AUDIENCE)?)
}

//! Configuration of the storage. Secrets never show in `Debug`.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where the tables stand.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// `file:///folder` or `s3://bucket/prefix`. Tables stand at `<url>/<schema>/<table>/`.
    pub url: String,
    /// Address of an S3-compatible service, such as `https://minio.clinic.example:9000`; none for AWS itself.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Region, `us-east-1` where the service has none.
    #[serde(default)]
    pub region: Option<String>,
    /// Name of the access key.
    #[serde(default)]
    pub access_key_id: Option<String>,
    /// The access key's secret.
    #[serde(default)]
    pub secret_access_key: Option<Secret>,
    /// Whether an endpoint without TLS is allowed.
    #[serde(default)]
    pub allow_http: bool,
    /// PEM file with certificates of authorities to trust besides the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

impl StorageConfig {
    /// Tables in a local folder.
    pub fn local(folder: &std::path::Path) -> Result<Self, crate::TablesError> {
        let absolute = std::path::absolute(folder)
            .map_err(|e| crate::TablesError::Configuration(format!("{}: {e}", folder.display())))?;
        let url = url::Url::from_directory_path(&absolute)
            .map_err(|()| crate::TablesError::Configuration(format!("{} is not a folder's path", folder.display())))?;
        Ok(Self { url: url.into(), ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_does_not_show() {
        let config = StorageConfig {
            url: "s3://lake/tables".into(),
            secret_access_key: Some(Secret::new("hunter2-hunter2")),
            ..StorageConfig::default()
        };
        let shown = format!("{config:?}");
        assert!(shown.contains("s3://lake/tables") && !shown.contains("hunter2"), "{shown}");
    }
}

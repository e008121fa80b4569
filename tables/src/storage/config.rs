//! Configuration of the storage. Secrets never show in `Debug`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use url::Url;

use crate::TablesError;

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

/// A place where tables can stand: `file:///folder` or `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageUrl(Url);

impl StorageUrl {
    pub(super) fn into_url(self) -> Url {
        self.0
    }

    /// Whether it is S3-compatible storage, and no local folder.
    pub fn is_bucket(&self) -> bool {
        self.0.scheme() == "s3"
    }
}

impl fmt::Display for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for StorageUrl {
    type Err = TablesError;

    fn from_str(text: &str) -> Result<Self, TablesError> {
        let wrong = |why: String| Err(TablesError::Configuration(why));
        let mut url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => return wrong(format!("'{text}' is not a URL: {error}")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("the URL of a storage holds no credentials".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return wrong(format!("'{text}' is more than a place: leave out what begins with ? or #"));
        }
        match url.scheme() {
            "file" if url.to_file_path().is_err() => {
                return wrong(format!("'{text}' is not the URL of a local folder"));
            }
            "s3" if url.host_str().is_none_or(str::is_empty) => return wrong(format!("'{text}' names no bucket")),
            "file" | "s3" => {}
            other => {
                let message = "storage is not supported; give file:///folder or s3://bucket/prefix";
                return wrong(format!("'{other}' {message}"));
            }
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self(url))
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
    fn tables_stand_in_a_folder_or_in_a_bucket_and_nowhere_else() {
        for (text, kept) in
            [("file:///data/lake", "file:///data/lake/"), ("s3://lake", "s3://lake/"), ("s3://lake/a/", "s3://lake/a/")]
        {
            assert_eq!(text.parse::<StorageUrl>().unwrap().to_string(), kept);
        }
        for text in ["lake", "ftp://host/lake", "file://data/lake", "s3:///lake", "s3://id:key@lake", "s3://lake?a=b"] {
            let error = text.parse::<StorageUrl>().unwrap_err();
            assert!(matches!(error, TablesError::Configuration(_)) && !error.to_string().contains("key@"), "{error}");
        }
    }

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

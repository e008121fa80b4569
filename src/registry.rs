//! The configured schema registry as ingest and producers want it.

use std::sync::Arc;

use anyhow::Context;
use lakeward_ingest::RegistryConfig;

use crate::config::Registry;

/// A client of the registry, which need not answer yet.
pub(crate) fn client(registry: &Registry) -> anyhow::Result<Arc<lakeward_ingest::Registry>> {
    let read =
        |path: &std::path::PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let config = RegistryConfig {
        url: registry.url.clone(),
        credentials: registry.credentials.as_ref().map(|(user, password)| (user.clone(), password.reveal().to_owned())),
        ca: registry.ca_file.as_ref().map(read).transpose()?,
    };
    Ok(Arc::new(lakeward_ingest::Registry::new(config)?))
}

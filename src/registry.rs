//! The configured schema registry as ingest and producers want it.

use std::sync::Arc;

use anyhow::Context;
use lakeward_ingest::RegistryConfig;
use lakeward_tables::{Lakehouse, PayloadFormat};

use crate::config::{Config, Registry};

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

/// What is to be said of a process that ingests topics which need a registry, and has none.
pub(crate) fn missing(config: &Config, lakehouse: &Lakehouse) -> Option<String> {
    if config.ingest.is_none() || config.registry.is_some() {
        return None;
    }
    let topic = lakehouse.topics.values().find(|topic| topic.format != PayloadFormat::Json)?;
    let format = topic.format.name();
    Some(format!("[registry] needs `url` (or LAKEWARD_REGISTRY_URL): the payloads of {} are {format}", topic.topic))
}

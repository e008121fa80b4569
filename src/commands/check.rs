//! `lakeward check`: every mistake of the configuration and of `sql/`, with file and line.
#![allow(clippy::print_stdout, reason = "the verdict belongs on standard output")]

use std::path::PathBuf;

use anyhow::bail;

use lakeward_tables::{Lakehouse, PayloadFormat};

use crate::cli::CheckArgs;
use crate::config::Config;
use crate::declared::Declared;

/// Checks and prints; an error says how many mistakes there are.
pub(crate) async fn run(args: CheckArgs) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    let (mut configured, mut needs_registry) = (None, None);
    let config = args.config.or_else(|| Some(PathBuf::from("lakeward.toml")).filter(|file| file.exists()));
    if let Some(file) = &config {
        match Config::load(file, args.only) {
            Ok(config) => {
                needs_registry = (config.ingest.is_some() && config.registry.is_none()).then(|| file.clone());
                configured = Some(config.lakehouse);
            }
            Err(found) => {
                configured = found.lakehouse;
                problems.extend(found.problems.iter().map(ToString::to_string));
            }
        }
    }
    let folder = args.lakehouse.or(configured).unwrap_or_else(|| PathBuf::from("sql"));
    let mut found = String::new();
    match Declared::load(&folder).await {
        Ok(declared) => {
            let Lakehouse { topics, curated, .. } = &*declared.lakehouse;
            let registered = topics.values().find(|topic| topic.format != PayloadFormat::Json);
            if let (Some(file), Some(topic)) = (needs_registry, registered) {
                let (file, topic, format) = (file.display(), &topic.topic, topic.format.name());
                problems.push(format!("{file}:1: needs [registry] url: the payloads of {topic} are {format}"));
            }
            found = format!("{} topics, {} curated tables", topics.len(), curated.len());
        }
        Err(found) => problems.extend(found.iter().map(ToString::to_string)),
    }
    if problems.is_empty() {
        println!("{}: {found}, nothing to complain of", folder.display());
        return Ok(());
    }
    for problem in &problems {
        println!("{problem}");
    }
    bail!("{} {}", problems.len(), if problems.len() == 1 { "problem" } else { "problems" })
}

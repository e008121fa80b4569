//! `lakeward check`: every mistake of the configuration and of `sql/`, with file and line.
#![allow(clippy::print_stdout, reason = "the verdict belongs on standard output")]

use std::path::PathBuf;

use anyhow::bail;

use lakeward_tables::Lakehouse;

use crate::cli::CheckArgs;
use crate::config::Config;
use crate::declared::Declared;
use crate::registry;

/// Checks and prints; an error says how many mistakes there are.
pub(crate) async fn run(args: CheckArgs) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    let (mut configured, mut whole) = (None, None);
    let config = args.config.or_else(|| Some(PathBuf::from("lakeward.toml")).filter(|file| file.exists()));
    if let Some(file) = &config {
        match Config::load(file, args.only) {
            Ok(config) => {
                configured = Some(config.lakehouse.clone());
                whole = Some((file, config));
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
            let missing =
                whole.and_then(|(file, config)| Some((file, registry::missing(&config, &declared.lakehouse)?)));
            problems.extend(missing.map(|(file, why)| format!("{}:1: {why}", file.display())));
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

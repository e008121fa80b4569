//! `lakeward replay`: dead letters of a topic through the contracts of today.
#![allow(clippy::print_stdout, reason = "what was done belongs on standard output")]

use anyhow::Context;
use lakeward_tables::Lake;

use crate::cli::ReplayArgs;
use crate::commands::status::{contracts, declared_topic};
use crate::{config, registry, storage};

/// Runs until every dead letter was tried once.
pub(crate) async fn run(args: ReplayArgs) -> anyhow::Result<()> {
    let (config, folder) = config::tables(&args.config)?;
    let lakehouse = contracts(&folder)?;
    let topic = declared_topic(&lakehouse, &folder, &args.topic)?;
    let lake = Lake::open(&storage::config(&config), lakehouse.clone()).await.context("the storage cannot be used")?;
    let schemas = config::registry(&args.config)?.as_ref().map(registry::client).transpose()?;
    let replayed = lakeward_ingest::replay(&lake, topic, schemas).await?;
    let stay: u64 = replayed.stay.values().sum();
    println!("{}: {} passed and have their rows, {stay} stay", topic.dead_letter, replayed.passed);
    for (code, events) in &replayed.stay {
        println!("{events:>9}  {code}");
    }
    Ok(())
}

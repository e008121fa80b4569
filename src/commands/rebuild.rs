//! `lakeward rebuild`: a curated table is made again from raw under the contracts of today, and swapped in.
#![allow(clippy::print_stdout, reason = "what was done belongs on standard output")]

use std::io::{IsTerminal, Write};

use anyhow::{Context, bail};
use lakeward_ingest::Rebuilt;
use lakeward_tables::{Lake, TableName};

use crate::cli::RebuildArgs;
use crate::commands::status::contracts;
use crate::{config, registry, storage};

/// Runs until the table is swapped, or says why it is not.
pub(crate) async fn run(args: RebuildArgs) -> anyhow::Result<()> {
    let (config, folder) = config::tables(&args.config)?;
    let lakehouse = contracts(&folder)?;
    let name = args.table.strip_prefix("curated.").unwrap_or(&args.table);
    let table = TableName::curated(name);
    if lakehouse.table(&table).is_none() {
        let known: Vec<String> = lakehouse.curated.keys().map(ToString::to_string).collect();
        bail!("{} declares no table {table}: it knows {}", folder.display(), known.join(", "));
    }
    let lake = Lake::open(&storage::config(&config), lakehouse).await.context("the storage cannot be used")?;
    let schemas = config::registry(&args.config)?.as_ref().map(registry::client).transpose()?;
    let shows = std::io::stderr().is_terminal();
    let mut told = |events: u64| {
        if shows {
            let mut stderr = std::io::stderr();
            // Nobody is there to read it any more.
            let _ = write!(stderr, "\r{table}: {events} events read").and_then(|()| stderr.flush());
        }
    };
    let rebuilt = lakeward_ingest::rebuild(&lake, &table, schemas, &mut told).await;
    if shows {
        eprintln_line();
    }
    match rebuilt? {
        Rebuilt::As { version, events } => {
            println!("{table}: made again from {events} events, version {version}");
            Ok(())
        }
        Rebuilt::WouldLose(unfit) => {
            let unfit: Vec<String> = unfit.iter().map(|(code, events)| format!("{code} ({events})")).collect();
            bail!(
                "{table} stays as it is: events that gave rows would give none under these contracts, and be gone without \
                 a word: {}. Mend the contract or the SELECT so that they fit",
                unfit.join(", ")
            )
        }
    }
}

/// Ends the line of the progress.
fn eprintln_line() {
    let _ = writeln!(std::io::stderr());
}

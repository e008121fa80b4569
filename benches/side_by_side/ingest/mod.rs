//! The ingest pair: a topic full of Observations into a raw and a curated table, by Lakeward and by plain Python.
//!
//! Each run of a side is a process of its own, begins with empty tables and tells what it measured as one JSON object.

mod broker;
mod compare;
mod run;
mod worker;

use std::path::Path;

use crate::arguments::Arguments;
use crate::pair::{Pair, Target};

use broker::Broker;
use run::Run;

pub(crate) use worker::once;

const PYTHON: &str = "plain Python";

/// Both sides write a file once they hold so much.
const COMMIT_BYTES: usize = 64_000_000;

/// Fills a broker, then lets both sides read it, round by round.
pub(crate) async fn compare(arguments: &Arguments, folder: &Path) -> anyhow::Result<Vec<Pair>> {
    let megabytes = arguments.megabytes();
    eprintln!("ingest: starting a broker and filling it with {megabytes} MB of Observations …");
    let broker = Broker::start(&folder.join("broker"), megabytes).await?;
    eprintln!("ingest: {} messages, {:.0} MB", broker.messages, broker.bytes as f64 / 1e6);

    let mut per_cpu = Pair::new("ingest, raw and curated", "MB per CPU s", PYTHON, Target::AtLeast(2.0));
    let mut by_clock = Pair::new("ingest, raw and curated", "MB/s", PYTHON, Target::None);
    let mut raw_files = Pair::new("files of the raw table", "MB", PYTHON, Target::None);
    let mut curated_files = Pair::new("files of the curated table", "MB", PYTHON, Target::None);
    let mut memory = Pair::new("ingest, most memory", "MB", PYTHON, Target::None);
    let rounds = arguments.ingest_rounds();
    for round in 0..rounds {
        let (ours, theirs) = (folder.join("lakeward"), folder.join("python"));
        let (lakeward, python) = if round % 2 == 0 {
            let lakeward = run::lakeward(&broker, &ours).await?;
            (lakeward, run::python_job(&broker, &theirs).await?)
        } else {
            let python = run::python_job(&broker, &theirs).await?;
            (run::lakeward(&broker, &ours).await?, python)
        };
        compare::same_rows(&ours.join("curated/observations"), &theirs.join("curated")).await?;
        for (side, run) in [("Lakeward", &lakeward), (PYTHON, &python)] {
            eprintln!("ingest {}/{rounds}: {side:<12} {run}", round + 1);
        }
        let push = |pair: &mut Pair, number: &dyn Fn(&Run) -> f64| pair.push(number(&lakeward), number(&python));
        push(&mut per_cpu, &|run| run.megabytes / run.cpu_seconds);
        push(&mut by_clock, &|run| run.megabytes / run.seconds);
        push(&mut raw_files, &|run| run.raw_file_bytes as f64 / 1e6);
        push(&mut curated_files, &|run| run.curated_file_bytes as f64 / 1e6);
        push(&mut memory, &|run| run.peak_memory_bytes as f64 / 1e6);
    }
    broker.stop().await?;
    Ok(vec![per_cpu, by_clock, raw_files, curated_files, memory])
}

//! Side by side in one run: ingest against a plain Python job and against Spark, governed against bare DataFusion.
//!
//! A *pair* is the same work done by two *sides*. Their runs alternate, so that whatever else the machine does meets
//! both. What is told of a pair is the median of its rounds, and the median of the rounds' ratios. Some lines of the table
//! have no other side, but a number that has to be reached.
//!
//! What cannot be measured says so in its line, and the others go on.
//!
//! `make bench` runs it whole and writes `benches/RESULTS.md`; `make bench ARGS=--quick` is a smoke run that writes
//! nothing.

// It is a command: the table is its output.
#![allow(clippy::print_stdout)]

mod arguments;
mod clock;
mod ingest;
mod machine;
mod method;
mod pair;
mod query;
mod report;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;

use arguments::{Arguments, Part};
use machine::Machine;
use pair::{Pair, Target};

// As in `lakeward`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Where the repository is.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start threads")?;
    match &arguments.task {
        Some(task) => runtime.block_on(ingest::work(task)),
        None => runtime.block_on(compare(arguments)),
    }
}

/// The problems of a folder as one error.
fn report_problems<P: std::fmt::Display>(problems: &[P]) -> anyhow::Error {
    anyhow::anyhow!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

async fn compare(arguments: &Arguments) -> anyhow::Result<()> {
    let machine = Machine::look(Path::new(ROOT));
    let places = env!("CARGO_TARGET_TMPDIR");
    std::fs::create_dir_all(places).with_context(|| format!("cannot make {places}"))?;
    let folder = tempfile::Builder::new().prefix("side-by-side-").tempdir_in(places)?;
    let mut pairs: Vec<Pair> = Vec::new();
    pairs.extend(ingest::compare(arguments, &folder.path().join("ingest")).await);
    if arguments.wants(Part::Query) {
        let compared = query::compare(arguments, &folder.path().join("query")).await;
        pairs.extend(compared.unwrap_or_else(|error| vec![failed("query", &error)]));
    }
    if arguments.wants(Part::Audit) {
        let compared = query::audit::compare(arguments, &folder.path().join("audit")).await;
        pairs.extend(compared.unwrap_or_else(|error| vec![failed("audit", &error)]));
    }
    let table = report::table(&pairs);
    println!("\n{machine}\n\n{table}");
    if arguments.is_whole() {
        let file = Path::new(ROOT).join("benches/RESULTS.md");
        let text = report::document(&machine, &pairs, arguments);
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("written to benches/RESULTS.md");
    } else {
        println!("not written to benches/RESULTS.md: that is for a whole run");
    }
    let failed = pairs.iter().filter(|pair| pair.failed).count();
    ensure!(failed == 0, "{failed} lines could not be measured; why stands above, where it happened");
    Ok(())
}

/// A line for what could not be measured at all. The reason is printed and not kept: it may name places of this machine.
fn failed(what: &str, error: &anyhow::Error) -> Pair {
    eprintln!("{what}: FAILED: {error:#}");
    Pair { failed: true, ..Pair::alone(what, "", Target::None) }
}

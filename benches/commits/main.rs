//! `cargo bench --bench commits`: what a commit costs as a table grows old, and how much memory a merge takes as it grows
//! large.
//!
//! `-- age [COMMITS [TABLE]]` commits so often to an append, an upsert and a corrected table, one after the other, on the local disk,
//! with maintenance at work beside it, and prints p50 and p99 of the first commits and of each thousand. Then the old table
//! and young ones are committed to in turns. It fails where a commit of the old one takes more than twice as long (p99).
//!
//! `-- memory` merges the same thousand keys into tables of different sizes, each in a process of its own, and prints by how
//! much its resident memory grew at most.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench talks to the person before the terminal")]

mod age;
mod memory;
mod tables;

use std::process::ExitCode;

// As in `lakeward`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let ended = match words.as_slice() {
        [] => runtime.block_on(age::run(10_000, None)).and_then(|well| memory::run().map(|()| well)),
        ["age"] => runtime.block_on(age::run(10_000, None)),
        ["age", commits, table @ ..] => match commits.parse() {
            Ok(commits) => runtime.block_on(age::run(commits, table.first().copied())),
            Err(_) => Err(anyhow::anyhow!("age wants a number of commits, and not '{commits}'")),
        },
        ["memory"] => memory::run().map(|()| true),
        ["merge", rows] => match rows.parse() {
            Ok(rows) => runtime.block_on(memory::one(rows)).map(|()| true),
            Err(_) => Err(anyhow::anyhow!("merge wants a number of rows, and not '{rows}'")),
        },
        _ => Err(anyhow::anyhow!("say nothing, or `age [COMMITS [TABLE]]`, or `memory`")),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("{error:#}");
    ExitCode::FAILURE
}

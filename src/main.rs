//! `lakeward`: the command line. What each command does stands in its own module under [`commands`] and [`demo`].

mod asking;
mod cli;
mod commands;
mod config;
mod declared;
mod demo;
mod development;
mod endpoint;
mod kafka;
mod secrets;
mod storage;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    // Planning in a debug build needs more stack than a thread has by default.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(8 << 20).build()?;
    runtime.block_on(async {
        match command {
            Command::Demo(args) => demo::run(args).await,
            Command::Serve(args) => commands::serve::run(args).await,
            Command::Check(args) => commands::check::run(args),
            Command::Produce(args) => commands::produce::run(args).await,
            Command::Token(args) => commands::token::run(args),
            Command::Sql(args) => commands::sql::run(args).await,
        }
    })
}

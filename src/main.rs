//! `lakeward`: the command line. What each command does stands in its own module under [`commands`] and [`demo`].

mod aligned;
mod asking;
mod cli;
mod commands;
mod config;
mod declared;
mod demo;
mod development;
mod endpoint;
mod kafka;
mod registry;
mod secrets;
mod storage;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    keep_values_out_of_panics();
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if nobody_reads(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn nobody_reads(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// A panic tells where it was and not what was in hand: the engine's messages may quote a value of the data.
///
/// `lakeward … | head`: printing to a reader that has gone is a panic too, and ends the command without a word.
fn keep_values_out_of_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
        if message.starts_with("failed printing to stdout") && message.contains("Broken pipe") {
            std::process::exit(0);
        }
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("without a name");
        eprintln!("a defect in lakeward {}: panic at {place}, thread {name}", env!("CARGO_PKG_VERSION"));
    }));
}

fn run(command: Command) -> anyhow::Result<()> {
    // Planning in a debug build needs more stack than a thread has by default.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(8 << 20).build()?;
    runtime.block_on(async {
        match command {
            Command::Demo(args) => demo::run(args).await,
            Command::Serve(args) => commands::serve::run(args).await,
            Command::Check(args) => commands::check::run(args).await,
            Command::Init(args) => commands::init::run(&args),
            Command::Broker(args) => commands::broker::run(args).await,
            Command::Status(args) => commands::status::run(args).await,
            Command::Trace(args) => commands::trace::run(args).await,
            Command::Replay(args) => commands::replay::run(args).await,
            Command::Rebuild(args) => commands::rebuild::run(args).await,
            Command::Acl(args) => commands::acl::run(args).await,
            Command::Produce(args) => commands::produce::run(args).await,
            Command::Token(args) => commands::token::run(args),
            Command::Sql(args) => commands::sql::run(args).await,
            Command::Access(args) => commands::access::run(args).await,
            Command::Audit(command) => commands::audit::run(command).await,
        }
    })
}

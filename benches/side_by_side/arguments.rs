//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Ingest against a plain Python job, governed against bare DataFusion: one table.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// A smoke run: little data, few rounds, no RESULTS.md
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only one half of the table; writes no RESULTS.md
    #[arg(long = "only", value_enum)]
    pub(crate) part: Option<Part>,
    /// Megabytes of Observations in the topic [default: 252, quick: 20]
    #[arg(long)]
    megabytes: Option<u32>,
    /// Rounds of ingest, each side once a round [default: 5, quick: 1]
    #[arg(long)]
    ingest_rounds: Option<usize>,
    /// Orders in the warehouse, each with one to seven line items [default: 1500000, quick: 50000]
    #[arg(long)]
    orders: Option<usize>,
    /// Rounds of each question, each side once a round [default: 15, quick: 3]
    #[arg(long)]
    query_rounds: Option<usize>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    pub(crate) task: Option<Task>,
}

/// A half of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Ingest,
    Query,
}

/// What the bench starts itself for, so that each run of a side has a process of its own.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// One run of Lakeward's ingest; prints what it measured
    #[command(hide = true)]
    IngestOnce(IngestOnce),
}

#[derive(Debug, Args)]
pub(crate) struct IngestOnce {
    #[arg(long)]
    pub(crate) bootstrap: String,
    #[arg(long)]
    pub(crate) topic: String,
    /// How many the topic holds
    #[arg(long)]
    pub(crate) messages: u64,
    /// Their payloads' bytes
    #[arg(long)]
    pub(crate) bytes: u64,
    /// Folder of the tables; must be empty
    #[arg(long)]
    pub(crate) dir: PathBuf,
    #[arg(long)]
    pub(crate) commit_bytes: usize,
}

impl Arguments {
    fn or<T>(&self, given: Option<T>, whole: T, quick: T) -> T {
        given.unwrap_or(if self.quick { quick } else { whole })
    }

    pub(crate) fn megabytes(&self) -> u32 {
        self.or(self.megabytes, 252, 20)
    }

    pub(crate) fn ingest_rounds(&self) -> usize {
        self.or(self.ingest_rounds, 5, 1).max(1)
    }

    pub(crate) fn orders(&self) -> usize {
        self.or(self.orders, 1_500_000, 50_000).max(1)
    }

    pub(crate) fn query_rounds(&self) -> usize {
        self.or(self.query_rounds, 15, 3).max(1)
    }

    /// Whether the results stand for the project.
    pub(crate) fn is_whole(&self) -> bool {
        !self.quick && self.part.is_none()
    }
}

//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Ingest against a plain Python job and against Spark, governed against bare DataFusion: one table.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// A smoke run: little data, few rounds, no RESULTS.md
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only this part of the table, may be given several times; writes no RESULTS.md
    #[arg(long = "only", value_enum)]
    parts: Vec<Part>,
    /// Megabytes of Observations in the topic [default: 252, quick: 20]
    #[arg(long)]
    megabytes: Option<u32>,
    /// Rounds of ingest, each side once a round [default: 5, quick: 1]
    #[arg(long)]
    ingest_rounds: Option<usize>,
    /// Seconds for which messages come while freshness is measured [default: 60, quick: 10]
    #[arg(long)]
    live_seconds: Option<f64>,
    /// Orders in the warehouse, each with one to seven line items [default: 1500000, quick: 50000]
    #[arg(long)]
    orders: Option<usize>,
    /// Rounds of each question, each side once a round [default: 15, quick: 3]
    #[arg(long)]
    query_rounds: Option<usize>,
    /// Rounds of statements with and without the audit, each once a round [default: 5, quick: 1]
    #[arg(long)]
    audit_rounds: Option<usize>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    pub(crate) task: Option<Task>,
}

/// A part of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// All of ingest
    Ingest,
    /// Governed against bare DataFusion
    Query,
    /// Statements with the audit and without it
    Audit,
    /// Ingest against the plain Python job
    Python,
    /// Ingest against Structured Streaming with Delta
    Spark,
    /// The curated tables alone, caught up from raw
    Curated,
    /// Ingest against decoding and encoding alone
    Limit,
    /// One of a hundred messages is malformed
    Poison,
    /// A SELECT fails for one of a hundred messages
    Failing,
    /// From a producer's timestamp to a query
    Freshness,
    /// Over SASL_SSL into S3
    Secured,
}

/// What the bench starts itself for, so that each run of a side has a process of its own.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// One run of Lakeward's ingest; prints what it measured
    #[command(hide = true)]
    IngestOnce(Reading),
    /// The curated tables of a run made again from its raw table; prints what it measured
    #[command(hide = true)]
    CatchUpOnce(Reading),
    /// Ingest while messages come; prints how old they were when they became visible
    #[command(hide = true)]
    IngestLive(Live),
    /// Sends messages of a topic again at a steady rate; prints what was sent
    #[command(hide = true)]
    Produce(Produce),
    /// Decoding and encoding what the raw table of a run holds; prints what it measured
    #[command(hide = true)]
    LimitOnce(Reading),
}

/// What a run of ingest is about.
#[derive(Debug, Clone, Args)]
pub(crate) struct Reading {
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
    /// How many of them cannot be read
    #[arg(long)]
    pub(crate) poisoned: u64,
    /// Of so many of them a SELECT fails for one
    #[arg(long)]
    pub(crate) failing: Option<u64>,
    /// Folder of the tables; the prefix in the bucket where storage is S3
    #[arg(long)]
    pub(crate) dir: PathBuf,
    #[arg(long)]
    pub(crate) commit_bytes: usize,
    /// As `benches/rival/broker.py --secured` tells it: where credentials stand
    #[arg(long)]
    pub(crate) secured: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Live {
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) pace: Pace,
}

#[derive(Debug, Args)]
pub(crate) struct Produce {
    #[arg(long)]
    pub(crate) bootstrap: String,
    #[arg(long)]
    pub(crate) topic: String,
    #[command(flatten)]
    pub(crate) pace: Pace,
}

/// How much is sent.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Pace {
    /// Bytes of payload a second
    #[arg(long)]
    pub(crate) rate: f64,
    #[arg(long)]
    pub(crate) seconds: f64,
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

    pub(crate) fn audit_rounds(&self) -> usize {
        self.or(self.audit_rounds, 5, 1).max(1)
    }

    /// For how many seconds short statements are asked in a round.
    pub(crate) fn audit_seconds(&self) -> u32 {
        if self.quick { 2 } else { 10 }
    }

    /// For how many seconds messages come while freshness is measured.
    pub(crate) fn live_seconds(&self) -> f64 {
        self.or(self.live_seconds, 60.0, 10.0).max(1.0)
    }

    /// Whether a part is asked for, by its name or with all of ingest.
    pub(crate) fn wants(&self, part: Part) -> bool {
        let of_ingest = !matches!(part, Part::Query | Part::Audit);
        self.parts.is_empty() || self.parts.contains(&part) || (of_ingest && self.parts.contains(&Part::Ingest))
    }

    /// Whether the results stand for the project.
    pub(crate) fn is_whole(&self) -> bool {
        !self.quick && self.parts.is_empty()
    }
}

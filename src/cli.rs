//! The command line: names, flags and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A governed lakehouse: Kafka to Delta tables to SQL, where every cell of an answer depends on who asks.
#[derive(Debug, Parser)]
#[command(name = "lakeward", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole of it in one process: a broker, a clinic, tables, people and their answers
    Demo(DemoArgs),
    /// Run against a real Kafka, S3-compatible storage and OpenID Connect issuers
    Serve(ServeArgs),
    /// Check the configuration and the whole of `sql/`, and name every error with file and line
    Check(CheckArgs),
    /// Send records from files to a topic, or FHIR bundles to their topics
    Produce(ProduceArgs),
    /// Make a token with the development issuer (never with a real one)
    Token(TokenArgs),
    /// Ask a running endpoint and print the answer
    Sql(SqlArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Do the round once, check what it shows, and end: 0 if all is as it should be
    #[arg(long)]
    pub(crate) once: bool,
    /// Where tables and keys stand; started again on the same folder, the demo goes on
    #[arg(long, value_name = "DIR", default_value = ".lakeward/demo")]
    pub(crate) folder: PathBuf,
    /// Seed of the clinic: the same seed and size give the same patients, to the byte
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Patients of the chain
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(20..=20_000))]
    pub(crate) patients: u32,
    /// The lakehouse as declared
    #[arg(long, value_name = "DIR", default_value = "sql")]
    pub(crate) lakehouse: PathBuf,
    /// Preferred HTTP port; a free one is taken where it is in use
    #[arg(long, default_value_t = 8080)]
    pub(crate) http_port: u16,
    /// Preferred Flight SQL port; a free one is taken where it is in use
    #[arg(long, default_value_t = 32010)]
    pub(crate) flight_port: u16,
}

/// Which parts a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// From Kafka into the tables
    Ingest,
    /// From the tables to SQL answers
    Query,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration; `lakeward.example.toml` explains each key
    #[arg(long, value_name = "FILE", env = "LAKEWARD_CONFIG", default_value = "lakeward.toml")]
    pub(crate) config: PathBuf,
    /// Run one part alone; without it, one process runs everything
    #[arg(long, value_enum, value_name = "PART")]
    pub(crate) only: Option<Part>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The configuration to check; without it (and without a lakeward.toml), `sql/` alone is checked
    #[arg(long, value_name = "FILE", env = "LAKEWARD_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The lakehouse as declared; stands above the configuration's
    #[arg(long, value_name = "DIR")]
    pub(crate) lakehouse: Option<PathBuf>,
    /// Check the configuration for a process that runs one part alone
    #[arg(long, value_enum, value_name = "PART")]
    pub(crate) only: Option<Part>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["topic", "fhir"]))]
pub(crate) struct ProduceArgs {
    /// Files to send: NDJSON (one record a line), or FHIR bundles with --fhir
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The topic that every line goes to
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Take FHIR bundles apart and send each resource to the topic of its type
    #[arg(long)]
    pub(crate) fhir: bool,
    /// The field of a line that becomes the record's key
    #[arg(long, default_value = "id", conflicts_with = "fhir")]
    pub(crate) key: String,
    /// The configuration that names the broker
    #[arg(long, value_name = "FILE", env = "LAKEWARD_CONFIG", default_value = "lakeward.toml")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// Who the token is for
    #[arg(long = "as", value_name = "LOGIN")]
    pub(crate) subject: String,
    /// Roles of the person, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub(crate) roles: Vec<String>,
    /// The person's staff id
    #[arg(long)]
    pub(crate) staff_id: Option<String>,
    /// The person's patient id
    #[arg(long)]
    pub(crate) patient_id: Option<String>,
    /// Clinics of the person, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub(crate) clinics: Vec<String>,
    /// How long the token lives, in minutes
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub(crate) minutes: u32,
    /// A configuration with `[development]`, …
    #[arg(long, value_name = "FILE", env = "LAKEWARD_CONFIG", conflicts_with = "demo")]
    pub(crate) config: Option<PathBuf>,
    /// … or the folder of a demo, whose people are known by their logins
    #[arg(long, value_name = "DIR", default_value = ".lakeward/demo")]
    pub(crate) demo: PathBuf,
}

/// How `lakeward sql` prints an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for eyes
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a row
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// The statement; `-` reads it from standard input
    pub(crate) statement: String,
    /// The endpoint's address
    #[arg(long, env = "LAKEWARD_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// A bearer token; without one you are `anonymous`
    #[arg(long, env = "LAKEWARD_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// The purpose you ask for, where your roles have several
    #[arg(long, env = "LAKEWARD_PURPOSE")]
    pub(crate) purpose: Option<String>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

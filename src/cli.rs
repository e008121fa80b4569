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
    /// Begin a topic and its table from a sample: contracts, SELECT and policies, to be looked at and changed
    Init(InitArgs),
    /// Run a broker of one's own in memory, to try things out on this machine
    Broker(BrokerArgs),
    /// Show how far ingest is: what a running `serve` says, or what the tables hold
    Status(StatusArgs),
    /// Tell where a message landed, or as what dead letter, and show no value of it
    Trace(TraceArgs),
    /// Make a curated table again from raw, under the contracts of today, and swap it in
    Rebuild(RebuildArgs),
    /// Send the dead letters of a topic through the contracts of today; those that pass get their rows, once
    Replay(ReplayArgs),
    /// Print the rights on the broker that the contracts imply; make them; say what is wider than that
    Acl(AclArgs),
    /// Send records from files to a topic in its format, or FHIR bundles to their topics
    Produce(ProduceArgs),
    /// Make a token with the development issuer (never with a real one)
    Token(TokenArgs),
    /// Ask a running endpoint and print the answer
    Sql(SqlArgs),
    /// Tell what somebody sees of a table, and by which policies
    Access(AccessArgs),
    /// Look whether the audit is whole; ask who saw the rows of one person
    #[command(subcommand)]
    Audit(AuditCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Walk every chain of the audit and tell what was removed, changed, moved or put in: 1 if anything was
    Verify(AuditVerifyArgs),
    /// Tell who saw rows about one person, when, for what purpose, which columns at which level
    Subject(AuditSubjectArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerifyArgs {
    /// The configuration that names the tables and the key of the audit
    #[arg(long, value_name = "FILE", env = "LAKEWARD_CONFIG", default_value = "lakeward.toml")]
    pub(crate) config: PathBuf,
    /// Where earlier looks have written down how far each chain was: what they saw must still be there
    #[arg(long, value_name = "FILE")]
    pub(crate) heads: Option<PathBuf>,
    /// Write down how far each chain is; keep the file where nobody who can write the tables can write it
    #[arg(long, value_name = "FILE")]
    pub(crate) write_heads: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct AuditSubjectArgs {
    /// The id that rows have of the person, such as a patient's; `-` reads it from standard input
    pub(crate) id: String,
    /// The endpoint's address
    #[arg(long, env = "LAKEWARD_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// A bearer token of someone who may see the audit and who the persons are
    #[arg(long, env = "LAKEWARD_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// The purpose you ask for, where your roles have several
    #[arg(long, env = "LAKEWARD_PURPOSE")]
    pub(crate) purpose: Option<String>,
    /// Print the answer as it came, as JSON
    #[arg(long)]
    pub(crate) json: bool,
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
    /// Hold the policies against the rights that somebody wrote down by hand, cell by cell; without it, against the
    /// who-sees-what.csv of the lakehouse, if it has one
    #[arg(long, value_name = "FILE")]
    pub(crate) oracle: Option<PathBuf>,
    /// Also look at what is there: whether the tables in storage can follow their contracts, and which fields payloads
    /// had that no contract declares
    #[arg(long)]
    pub(crate) live: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The sample: NDJSON, one message a line
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// The topic that such messages come by; without it the file's name, up to `.ndjson`
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// The folder of the lakehouse as declared; made when it is not there
    #[arg(long, value_name = "DIR", default_value = "sql")]
    pub(crate) dir: PathBuf,
    /// The curated table; without it the last word of the topic, in the plural
    #[arg(long)]
    pub(crate) table: Option<String>,
    /// The field that tells one thing from another; without it `id`, or a field whose name says so
    #[arg(long, value_name = "FIELD")]
    pub(crate) key: Option<String>,
    /// The role of the policy skeleton
    #[arg(long, default_value = "reader")]
    pub(crate) role: String,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The address of a running `lakeward serve`
    #[arg(long, env = "LAKEWARD_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// The configuration that names the tables, for when nobody answers
    #[arg(long, value_name = "FILE", env = "LAKEWARD_CONFIG", default_value = "lakeward.toml")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct AclArgs {
    /// The configuration that names the broker, the group, and the lakehouse as declared
    #[arg(long, value_name = "FILE", env = "LAKEWARD_CONFIG", default_value = "lakeward.toml")]
    pub(crate) config: PathBuf,
    /// Another configuration whose `[kafka]` names a user that may change rights
    #[arg(long, value_name = "FILE")]
    pub(crate) admin: Option<PathBuf>,
    /// Give the broker what is missing; nothing is taken away
    #[arg(long)]
    pub(crate) apply: bool,
    /// Say what on the broker is wider than declared, or missing: 1 if anything is
    #[arg(long)]
    pub(crate) verify: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// The topic that the message came by
    #[arg(long)]
    pub(crate) topic: String,
    /// The message's key
    #[arg(long)]
    pub(crate) key: String,
    /// The configuration that names the tables
    #[arg(long, value_name = "FILE", env = "LAKEWARD_CONFIG", default_value = "lakeward.toml")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// The table, as in curated.observations
    #[arg(value_name = "TABLE")]
    pub(crate) table: String,
    /// The configuration that names the tables
    #[arg(long, value_name = "FILE", env = "LAKEWARD_CONFIG", default_value = "lakeward.toml")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The topic that the messages came by
    #[arg(value_name = "TOPIC")]
    pub(crate) topic: String,
    /// The configuration that names the tables
    #[arg(long, value_name = "FILE", env = "LAKEWARD_CONFIG", default_value = "lakeward.toml")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    /// Topics that it has, separated by commas
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) topics: Vec<String>,
    /// Partitions of each topic
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=64))]
    pub(crate) partitions: i32,
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
    /// The field of a line that becomes the record's key; without it the contract's `keyField`, or `id`
    #[arg(long, value_name = "FIELD", conflicts_with = "fhir")]
    pub(crate) key: Option<String>,
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
    /// A further claim of one text, such as `store=s-1`
    #[arg(long = "claim", value_name = "NAME=TEXT", value_parser = claim)]
    pub(crate) claims: Vec<(String, String)>,
    /// A further claim of several texts, such as `regions=north,south`
    #[arg(long = "claim-list", value_name = "NAME=TEXT,…", value_parser = claim)]
    pub(crate) claim_lists: Vec<(String, String)>,
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

fn claim(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a claim is NAME=TEXT".to_owned()),
    }
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

#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// Who would ask: a file with the claims of a token as JSON, a login of the demo, or `anonymous`
    #[arg(long = "as", value_name = "WHO")]
    pub(crate) who: String,
    /// The table; without it, every table that this person sees
    #[arg(long)]
    pub(crate) table: Option<String>,
    /// Tell of one column why it is shown as it is
    #[arg(long, value_name = "COLUMN", requires = "table")]
    pub(crate) why: Option<String>,
    /// The purpose that would be stated, where the roles have several
    #[arg(long)]
    pub(crate) purpose: Option<String>,
    /// The lakehouse as declared
    #[arg(long, value_name = "DIR", default_value = "sql")]
    pub(crate) lakehouse: PathBuf,
    /// The folder of the demo whose people are known by their logins
    #[arg(long, value_name = "DIR", default_value = ".lakeward/demo")]
    pub(crate) demo: PathBuf,
    /// Print JSON, as `GET /v1/access` gives it
    #[arg(long)]
    pub(crate) json: bool,
}

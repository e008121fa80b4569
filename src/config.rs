//! The configuration of `lakeward serve`: a TOML file with the environment laid over it.
//!
//! `lakeward.example.toml` explains each key. Secrets come from the environment or from files, never from the document.
//! What can be wrong with a value is found here, with its line, and not when it is first used.

mod maintenance;
mod reader;
mod sections;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lakeward_iam::{IssuerUrl, SignatureAlgorithm};
use lakeward_ingest::OnGap;
use lakeward_query::flight::TicketKey;
use lakeward_query::{AuditConfig, AuditKey, PseudonymKeys};
use lakeward_tables::StorageUrl;

use reader::Reader;
pub(crate) use reader::{ConfigProblem, Secret};

use crate::cli::Part;
use crate::telemetry::{LogFormat, LogLevel};

/// Everything that `lakeward serve` needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) lakehouse: PathBuf,
    pub(crate) storage: Storage,
    /// None in a process that only answers queries.
    pub(crate) ingest: Option<Ingest>,
    /// Where the schemas of payloads are that are not JSON.
    pub(crate) registry: Option<Registry>,
    /// None in a process that only answers queries, and where it is switched off.
    pub(crate) maintenance: Option<Maintenance>,
    /// How often what is asked goes into the audit's table, and is looked at.
    pub(crate) audit_pace: AuditPace,
    /// None in a process that only ingests.
    pub(crate) answers: Option<Answers>,
    pub(crate) http: SocketAddr,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: LogLevel,
}

/// Where the tables stand.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    pub(crate) url: StorageUrl,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) access_key_id: Option<Secret>,
    pub(crate) secret_access_key: Option<Secret>,
    pub(crate) allow_http: bool,
    pub(crate) ca_file: Option<PathBuf>,
}

/// The Kafka cluster.
#[derive(Debug, Clone)]
pub(crate) struct Kafka {
    /// The name under which this cluster's offsets are kept in the tables. Never reuse it for another cluster.
    pub(crate) source: String,
    pub(crate) brokers: String,
    pub(crate) group: String,
    /// Who this is for the broker, as `User:name`; `None` where it cannot be told.
    pub(crate) principal: Option<String>,
    pub(crate) security: Security,
    pub(crate) ca_file: Option<PathBuf>,
    /// After how long without a sign of life the group gives a process's partitions to others.
    pub(crate) session_timeout: Duration,
}

/// The schema registry.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    /// The address before `/schemas` and `/subjects`.
    pub(crate) url: String,
    pub(crate) credentials: Option<(String, Secret)>,
    pub(crate) ca_file: Option<PathBuf>,
}

/// How one proves to the broker who one is.
#[derive(Debug, Clone)]
pub(crate) enum Security {
    /// No encryption, no authentication: only with `insecure`.
    Plaintext,
    /// SCRAM (or another SASL mechanism with user name and password), over TLS or, only with `insecure`, without it.
    Sasl { tls: bool, mechanism: String, username: String, password: Secret },
    /// Mutual TLS.
    Ssl { certificate_file: PathBuf, key_file: PathBuf },
}

impl Security {
    /// Whether whoever stands between can read and change what comes.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Plaintext | Self::Sasl { tls: false, .. })
    }
}

/// Where events come from, when ingest commits and how much memory it holds.
#[derive(Debug, Clone)]
pub(crate) struct Ingest {
    pub(crate) kafka: Kafka,
    pub(crate) commit_interval: Duration,
    pub(crate) commit_bytes: usize,
    pub(crate) memory_budget: usize,
    pub(crate) on_gap: OnGap,
    /// What is older when it becomes visible is told by a warning.
    pub(crate) freshness_objective: Duration,
}

/// What keeps the tables healthy, and how often it looks at them.
#[derive(Debug, Clone)]
pub(crate) struct Maintenance {
    pub(crate) interval: Duration,
    pub(crate) config: lakeward_tables::maintenance::MaintenanceConfig,
}

/// Who may ask, and how they are answered.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) development: Option<Development>,
    pub(crate) anonymous: bool,
    pub(crate) pseudonyms: PseudonymKeys,
    pub(crate) audit: Audit,
    pub(crate) query: Query,
    pub(crate) flight: Flight,
}

/// How often the audit is worked on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AuditPace {
    /// Segments are brought into the table.
    pub(crate) fold: Duration,
    /// The rules are asked.
    pub(crate) alerts: Duration,
}

/// How what is asked is recorded.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    pub(crate) key: AuditKey,
    pub(crate) config: AuditConfig,
}

/// An OpenID Connect issuer.
#[derive(Debug, Clone)]
pub(crate) struct Issuer {
    pub(crate) url: IssuerUrl,
    pub(crate) audience: String,
    pub(crate) algorithms: Vec<SignatureAlgorithm>,
    pub(crate) roles_claim: String,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) allow_http: bool,
}

/// The development issuer: a key in a file, for machines where nothing is real.
#[derive(Debug, Clone)]
pub(crate) struct Development {
    pub(crate) key_file: PathBuf,
}

/// What bounds a query.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) freshness: Duration,
    pub(crate) row_limit: usize,
    pub(crate) time_limit: Duration,
    pub(crate) memory_limit: usize,
    /// 0 is the number of cores.
    pub(crate) partitions: usize,
}

/// The Flight SQL endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<FlightTls>,
    /// Seals tickets, so that any process of the lakehouse can redeem another's; random at each start without one.
    pub(crate) ticket_key: Option<TicketKey>,
}

/// The certificate that the Flight SQL endpoint shows.
#[derive(Debug, Clone)]
pub(crate) struct FlightTls {
    pub(crate) certificate_file: PathBuf,
    pub(crate) key_file: PathBuf,
}

/// A configuration that cannot be used: all of its problems.
#[derive(Debug)]
pub(crate) struct Misconfigured {
    pub(crate) problems: Vec<ConfigProblem>,
    /// The folder `sql/` as far as the configuration tells it, for who wants to look at it all the same.
    pub(crate) lakehouse: Option<PathBuf>,
}

impl fmt::Display for Misconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        f.write_str(&told.join("\n"))
    }
}

impl std::error::Error for Misconfigured {}

impl Config {
    /// Reads `file` with the process's environment over it, for all parts or for one; gives every problem at once.
    pub(crate) fn load(file: &Path, only: Option<Part>) -> Result<Self, Misconfigured> {
        Self::parse(file, &text(file)?, std::env::vars(), only)
    }

    fn parse(
        file: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        only: Option<Part>,
    ) -> Result<Self, Misconfigured> {
        let reader = Reader::new(file, text, environment);
        let folder = lakehouse(&reader, file);
        let storage = sections::storage(&reader.section("storage"));
        let kafka = sections::kafka(&reader.section("kafka"), only != Some(Part::Query));
        let ingest = sections::ingest(&reader.section("ingest"), kafka);
        let registry = sections::registry(&reader.section("registry"));
        let maintenance = maintenance::maintenance(&reader.section("maintenance"));
        let audited = reader.section("audit");
        let answers = sections::answers(&reader, &audited, only != Some(Part::Ingest));
        let audit_pace = sections::audit_pace(&audited);
        drop(audited);
        let http = sections::address(&reader.section("http"), "127.0.0.1:8080");
        let log = sections::log(&reader.section("log"));
        let problems = reader.finish();
        match (storage, http, log) {
            (Some(storage), Some(http), Some((log_format, log_level))) if problems.is_empty() => Ok(Self {
                lakehouse: folder,
                storage,
                ingest: ingest.filter(|_| only != Some(Part::Query)),
                registry,
                maintenance: maintenance.filter(|_| only != Some(Part::Query)),
                audit_pace,
                answers: answers.filter(|_| only != Some(Part::Ingest)),
                http,
                log_format,
                log_level,
            }),
            _ => Err(Misconfigured { problems, lakehouse: Some(folder) }),
        }
    }
}

/// The Kafka cluster of a configuration; nothing else of it is asked for.
pub(crate) fn kafka(file: &Path) -> Result<Kafka, Misconfigured> {
    let text = text(file)?;
    let reader = Reader::new(file, &text, std::env::vars());
    let kafka = sections::kafka(&reader.section("kafka"), true);
    whole(reader, kafka)
}

/// The schema registry of a configuration, if it has one; nothing else of it is asked for.
pub(crate) fn registry(file: &Path) -> Result<Option<Registry>, Misconfigured> {
    let text = text(file)?;
    let reader = Reader::new(file, &text, std::env::vars());
    let registry = sections::registry(&reader.section("registry"));
    whole(reader, Some(registry))
}

/// Where the tables of a configuration stand, and the folder `sql/`; nothing else of it is asked for.
pub(crate) fn tables(file: &Path) -> Result<(Storage, PathBuf), Misconfigured> {
    let text = text(file)?;
    let reader = Reader::new(file, &text, std::env::vars());
    let folder = lakehouse(&reader, file);
    let storage = sections::storage(&reader.section("storage"));
    whole(reader, storage.map(|storage| (storage, folder)))
}

/// Where the tables of a configuration stand, the folder `sql/`, and the key of the audit; nothing else of it is asked for.
pub(crate) fn audit(file: &Path) -> Result<(Storage, PathBuf, AuditKey), Misconfigured> {
    let text = text(file)?;
    let reader = Reader::new(file, &text, std::env::vars());
    let folder = lakehouse(&reader, file);
    let storage = sections::storage(&reader.section("storage"));
    let audited = reader.section("audit");
    let secret =
        sections::pseudonyms(&reader.section("pseudonyms"), !audited.has("secret") && !audited.has("secret_file"));
    let audit = sections::audit(&audited, secret);
    sections::audit_pace(&audited);
    drop(audited);
    whole(reader, storage.zip(audit).map(|(storage, audit)| (storage, folder, audit.key)))
}

/// The Kafka cluster of a configuration, and the folder `sql/`; nothing else of it is asked for.
pub(crate) fn rights(file: &Path) -> Result<(Kafka, PathBuf), Misconfigured> {
    let text = text(file)?;
    let reader = Reader::new(file, &text, std::env::vars());
    let folder = lakehouse(&reader, file);
    let kafka = sections::kafka(&reader.section("kafka"), true);
    whole(reader, kafka.map(|kafka| (kafka, folder)))
}

fn lakehouse(reader: &Reader<'_>, file: &Path) -> PathBuf {
    let folder = reader.section("lakehouse").path("directory");
    folder.unwrap_or_else(|| file.parent().unwrap_or(Path::new("")).join("sql"))
}

/// The development issuer of a configuration, if it has one; nothing else of it is asked for.
pub(crate) fn development(file: &Path) -> Result<Option<Development>, Misconfigured> {
    let text = text(file)?;
    let reader = Reader::new(file, &text, std::env::vars());
    let development = sections::development(&reader.section("development"));
    whole(reader, Some(development))
}

fn whole<T>(reader: Reader<'_>, read: Option<T>) -> Result<T, Misconfigured> {
    let problems = reader.problems();
    match read {
        Some(read) if problems.is_empty() => Ok(read),
        _ => Err(Misconfigured { problems, lakehouse: None }),
    }
}

fn text(file: &Path) -> Result<String, Misconfigured> {
    std::fs::read_to_string(file).map_err(|error| {
        let message = format!("cannot read the configuration: {error}; start from lakeward.example.toml");
        let problem = ConfigProblem { place: file.display().to_string(), message };
        Misconfigured { problems: vec![problem], lakehouse: None }
    })
}

//! The configuration of `lakeward serve`: a TOML file with the environment laid over it.
//!
//! `lakeward.example.toml` explains each key. Secrets come from the environment or from files, never from the document.

mod reader;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use reader::{ConfigProblem, Secret};
use reader::{Reader, Section};

use crate::telemetry::LogFormat;

/// Everything that `lakeward serve` needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) lakehouse: PathBuf,
    pub(crate) storage: Storage,
    pub(crate) kafka: Option<Kafka>,
    pub(crate) ingest: Ingest,
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) development: Option<Development>,
    pub(crate) anonymous: bool,
    pub(crate) pseudonym_secret: Option<Secret>,
    pub(crate) query: Query,
    pub(crate) http: SocketAddr,
    pub(crate) flight: Flight,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: String,
}

/// Where the tables stand.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    pub(crate) url: String,
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
    pub(crate) security: Security,
    pub(crate) ca_file: Option<PathBuf>,
}

/// How one proves to the broker who one is.
#[derive(Debug, Clone)]
pub(crate) enum Security {
    /// No encryption, no authentication: for tests on one machine.
    Plaintext,
    /// TLS and SCRAM (or another SASL mechanism with user name and password).
    SaslSsl { mechanism: String, username: String, password: Secret },
    /// Mutual TLS.
    Ssl { certificate_file: PathBuf, key_file: PathBuf },
}

/// When ingest commits and how much memory it holds.
#[derive(Debug, Clone)]
pub(crate) struct Ingest {
    pub(crate) commit_interval: Duration,
    pub(crate) commit_bytes: usize,
    pub(crate) memory_budget: usize,
}

/// An OpenID Connect issuer.
#[derive(Debug, Clone)]
pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) audience: String,
    pub(crate) algorithms: Vec<String>,
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
    pub(crate) partitions: usize,
}

/// The Flight SQL endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) listen: SocketAddr,
    pub(crate) certificate_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    /// Seals tickets, so that any process of the lakehouse can redeem another's.
    pub(crate) ticket_secret: Option<Secret>,
}

impl Config {
    /// Reads `file` with the process's environment over it; gives every problem at once.
    pub(crate) fn load(file: &Path) -> Result<Self, Vec<ConfigProblem>> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            vec![ConfigProblem {
                place: file.display().to_string(),
                message: format!("cannot read the configuration: {error}; start from lakeward.example.toml"),
            }]
        })?;
        Self::parse(file, &text, std::env::vars())
    }

    fn parse(
        file: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let reader = Reader::new(file, text, environment);
        let lakehouse = reader.section("lakehouse").path("directory");
        let lakehouse = lakehouse.unwrap_or_else(|| file.parent().unwrap_or(Path::new("")).join("sql"));
        let storage = storage(&reader.section("storage"));
        let kafka = kafka(&reader.section("kafka"));
        let ingest = ingest(&reader.section("ingest"));
        let issuers = reader.list("issuers").iter().map(issuer).collect();
        let development = reader.section("development").path("key_file").map(|key_file| Development { key_file });
        let anonymous = reader.section("identity").flag("anonymous", true);
        let pseudonym_secret = reader.section("pseudonyms").secret("secret", "secret_file");
        let query = query(&reader.section("query"));
        let http = address(&reader.section("http"), "127.0.0.1:8080");
        let flight = flight(&reader.section("flight"));
        let (log_format, log_level) = log(&reader.section("log"));
        let problems = reader.finish();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            lakehouse,
            storage,
            kafka,
            ingest,
            issuers,
            development,
            anonymous,
            pseudonym_secret,
            query,
            http,
            flight,
            log_format,
            log_level,
        })
    }
}

fn storage(section: &Section<'_, '_>) -> Storage {
    Storage {
        url: section.required("url", "where the tables stand, such as \"s3://bucket/prefix\" or \"file:///data/lake\""),
        endpoint: section.text("endpoint"),
        region: section.text("region"),
        access_key_id: section.secret("access_key_id", "access_key_id_file"),
        secret_access_key: section.secret("secret_access_key", "secret_access_key_file"),
        allow_http: section.flag("allow_http", false),
        ca_file: section.path("ca_file"),
    }
}

fn kafka(section: &Section<'_, '_>) -> Option<Kafka> {
    if !section.is_present() {
        return None;
    }
    let mechanism = section.text("sasl_mechanism").unwrap_or_else(|| "SCRAM-SHA-512".to_owned());
    let username = section.text("username");
    let password = section.secret("password", "password_file");
    let certificate_file = section.path("certificate_file");
    let key_file = section.path("key_file");
    let security = match section.text("security").as_deref() {
        Some("plaintext") => Security::Plaintext,
        Some("ssl") => {
            let missing = |key| {
                section.missing(key, "mutual TLS shows a certificate");
                PathBuf::new()
            };
            Security::Ssl {
                certificate_file: certificate_file.unwrap_or_else(|| missing("certificate_file")),
                key_file: key_file.unwrap_or_else(|| missing("key_file")),
            }
        }
        None | Some("sasl_ssl") => Security::SaslSsl {
            mechanism,
            username: username.unwrap_or_else(|| {
                section.missing("username", "SASL needs a user name");
                String::new()
            }),
            password: password.unwrap_or_else(|| {
                section.missing("password", "SASL needs a password, by environment or by `password_file`");
                Secret::new("")
            }),
        },
        Some(_) => {
            section.problem("security", "wants \"sasl_ssl\", \"ssl\" (mutual TLS) or \"plaintext\"".to_owned());
            Security::Plaintext
        }
    };
    Some(Kafka {
        source: section.required("source", "the name under which this cluster's offsets are kept in the tables"),
        brokers: section.required("brokers", "host:port of one or more brokers, separated by commas"),
        group: section.text("group").unwrap_or_else(|| "lakeward".to_owned()),
        security,
        ca_file: section.path("ca_file"),
    })
}

fn ingest(section: &Section<'_, '_>) -> Ingest {
    Ingest {
        commit_interval: section.duration("commit_interval", Duration::from_secs(5)),
        commit_bytes: section.size("commit_bytes", 64 << 20),
        memory_budget: section.size("memory_budget", 512 << 20),
    }
}

fn issuer(section: &Section<'_, '_>) -> Issuer {
    let mut algorithms = section.texts("algorithms");
    if algorithms.is_empty() {
        algorithms = vec!["RS256".to_owned()];
    }
    Issuer {
        url: section.required("url", "the issuer's address, exactly as it stands in `iss`"),
        audience: section.required("audience", "who the tokens are for, as it stands in `aud`"),
        algorithms,
        roles_claim: section.text("roles_claim").unwrap_or_else(|| "roles".to_owned()),
        ca_file: section.path("ca_file"),
        allow_http: section.flag("allow_http", false),
    }
}

fn query(section: &Section<'_, '_>) -> Query {
    Query {
        freshness: section.duration("freshness", Duration::from_secs(1)),
        row_limit: section.number("row_limit", 1_000_000),
        time_limit: section.duration("time_limit", Duration::from_secs(60)),
        memory_limit: section.size("memory_limit", 1 << 30),
        partitions: section.number("partitions", 0),
    }
}

fn flight(section: &Section<'_, '_>) -> Flight {
    let certificate_file = section.path("certificate_file");
    let key_file = section.path("key_file");
    if certificate_file.is_some() != key_file.is_some() {
        section.missing("key_file", "`certificate_file` and `key_file` come together");
    }
    Flight {
        listen: address(section, "127.0.0.1:32010"),
        certificate_file,
        key_file,
        ticket_secret: section.secret("ticket_secret", "ticket_secret_file"),
    }
}

fn log(section: &Section<'_, '_>) -> (LogFormat, String) {
    let format = match section.text("format").as_deref() {
        None | Some("json") => LogFormat::Json,
        Some("text") => LogFormat::Text,
        Some(_) => {
            section.problem("format", "wants \"json\" or \"text\"".to_owned());
            LogFormat::Json
        }
    };
    (format, section.text("level").unwrap_or_else(|| "info".to_owned()))
}

fn address(section: &Section<'_, '_>, default: &str) -> SocketAddr {
    let text = section.text("listen").unwrap_or_else(|| default.to_owned());
    text.parse().unwrap_or_else(|_| {
        section.problem("listen", "wants an address and port such as \"127.0.0.1:8080\"".to_owned());
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[storage]\nurl = \"file:///lake\"\n[kafka]\nsource = \"main\"\nbrokers = \"b:9093\"\nusername = \"lakeward\"\n";

    fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::parse(Path::new("lakeward.toml"), text, environment)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_environment_stands_above_the_file() {
        let environment = [("LAKEWARD_KAFKA_PASSWORD", "s"), ("LAKEWARD_STORAGE_URL", "s3://lake")];
        let config = parse(GOOD, &environment).unwrap();
        assert_eq!(config.storage.url, "s3://lake");
        assert!(
            matches!(config.kafka.unwrap().security, Security::SaslSsl { password, .. } if password.reveal() == "s")
        );
    }

    #[test]
    fn every_problem_is_named_with_its_line() {
        let text = "[storage]\nurll = 1\n\n[query]\nrow_limit = \"many\"\n[nonsense]\n";
        let problems = parse(text, &[("LAKEWARD_QUERY_SPEED", "fast")]).unwrap_err().join("\n");
        for expected in [
            "lakeward.toml:2: unknown key `urll`",
            "lakeward.toml:1: [storage] needs `url`",
            "lakeward.toml:5: `row_limit` wants a whole number",
            "lakeward.toml:6: unknown section or key `nonsense`",
            "LAKEWARD_QUERY_SPEED: no configuration key",
        ] {
            assert!(problems.contains(expected), "{expected} is not in:\n{problems}");
        }
    }

    #[test]
    fn a_secret_in_the_document_is_refused_and_never_printed() {
        let text = format!("{GOOD}password = \"hunter2\"\n");
        let problems = parse(&text, &[]).unwrap_err().join("\n");
        assert!(problems.contains("lakeward.toml:7: a secret does not stand in this file"), "{problems}");
        let config = parse(GOOD, &[("LAKEWARD_KAFKA_PASSWORD", "hunter2")]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}

//! The sections, one function each: from texts to values that can be used.
//!
//! `None` is a section that cannot be used, for a reason that has been noted; or that is not there and need not be.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use lakeward_iam::IssuerUrl;
use lakeward_ingest::OnGap;
use lakeward_query::flight::TicketKey;
use lakeward_query::{AuditConfig, AuditKey, PseudonymKeys};

use super::reader::{Reader, Secret, Section};
use super::{
    Answers, Audit, AuditPace, Development, Flight, FlightTls, Ingest, Issuer, Kafka, Query, Registry, Security,
    Storage,
};
use crate::development;
use crate::telemetry::{LogFormat, LogLevel};

/// What librdkafka is built with here and needs no more than a user name and a password for.
const MECHANISMS: [&str; 3] = ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"];

pub(super) fn storage(section: &Section<'_, '_>) -> Option<Storage> {
    let url =
        section.required("url", "where the tables stand, such as \"s3://bucket/prefix\" or \"file:///data/lake\"");
    let url = url.and_then(|url| section.parsed("url", url.parse()));
    let endpoint = section.text("endpoint");
    let allow_http = section.flag("allow_http", false);
    let scheme = endpoint.as_deref().map(|endpoint| reqwest::Url::parse(endpoint).map(|url| url.scheme().to_owned()));
    match scheme {
        Some(Ok(scheme)) if scheme == "http" && !allow_http => {
            section
                .problem("endpoint", "it has no TLS: write https, or set `allow_http` on a trusted network".to_owned());
        }
        Some(Ok(scheme)) if scheme == "http" || scheme == "https" => {}
        Some(_) => section.problem("endpoint", "wants an address such as \"https://s3.example.org\"".to_owned()),
        None => {}
    }
    let access_key_id = section.secret("access_key_id", "access_key_id_file");
    let secret_access_key = section.secret("secret_access_key", "secret_access_key_file");
    let given = |key, file| section.has(key) || section.has(file);
    match (given("access_key_id", "access_key_id_file"), given("secret_access_key", "secret_access_key_file")) {
        (true, false) => {
            section.missing_secret("secret_access_key", "secret_access_key_file", "an access key has two halves")
        }
        (false, true) => section.missing_secret("access_key_id", "access_key_id_file", "an access key has two halves"),
        _ => {}
    }
    Some(Storage {
        endpoint,
        region: section.text("region"),
        access_key_id,
        secret_access_key,
        allow_http,
        ca_file: section.pem("ca_file", "CERTIFICATE"),
        url: url?,
    })
}

pub(super) fn kafka(section: &Section<'_, '_>, needed: bool) -> Option<Kafka> {
    if !section.is_present() {
        if needed {
            section.absent("it names the brokers (what only answers queries runs with --only query)");
        }
        return None;
    }
    let source = section.required("source", "the name under which this cluster's offsets are kept in the tables");
    let brokers = section.required("brokers", "host:port of one or more brokers, separated by commas");
    if let Some(wrong) = brokers.iter().flat_map(|brokers| brokers.split(',')).find(|broker| !is_broker(broker)) {
        section.problem("brokers", format!("`{}` is not host:port", wrong.trim()));
    }
    let security = security(section);
    let group = section.text("group").unwrap_or_else(|| "lakeward".to_owned());
    if group.is_empty() {
        section.problem("group", "is empty".to_owned());
    }
    let ca_file = section.pem("ca_file", "CERTIFICATE");
    let session_timeout = section.duration("session_timeout", Duration::from_secs(10));
    let session_timeout = section.positive("session_timeout", session_timeout);
    let principal = section.text("principal").or(match &security {
        Some(Security::Sasl { username, .. }) => Some(format!("User:{username}")),
        // What a broker calls the owner of a certificate is the broker's own configuration.
        _ => None,
    });
    if principal.as_ref().is_some_and(|principal| principal.strip_prefix("User:").is_none_or(str::is_empty)) {
        section.problem("principal", "wants \"User:name\"".to_owned());
    }
    Some(Kafka { session_timeout, source: source?, brokers: brokers?, group, principal, security: security?, ca_file })
}

pub(super) fn registry(section: &Section<'_, '_>) -> Option<Registry> {
    if !section.is_present() {
        return None;
    }
    let url = section.required("url", "the registry's address, before /schemas and /subjects");
    let allow_http = section.flag("allow_http", false);
    let scheme = url.as_deref().map(|url| reqwest::Url::parse(url).map(|url| url.scheme().to_owned()));
    match scheme {
        Some(Ok(scheme)) if scheme == "http" && !allow_http => {
            section.problem("url", "it has no TLS: write https, or set `allow_http` on a trusted network".to_owned());
        }
        Some(Ok(scheme)) if scheme == "http" || scheme == "https" => {}
        Some(_) => section.problem("url", "wants an address such as \"https://schemas.example.org\"".to_owned()),
        None => {}
    }
    let username = section.text("username");
    let password = section.secret("password", "password_file");
    match (section.has("username"), section.has("password") || section.has("password_file")) {
        (true, false) => section.missing_secret("password", "password_file", "a user name comes with a password"),
        (false, true) => section.missing("username", "a password comes with a user name"),
        _ => {}
    }
    let ca_file = section.pem("ca_file", "CERTIFICATE");
    Some(Registry { url: url?, credentials: username.zip(password), ca_file })
}

fn is_broker(broker: &str) -> bool {
    let split = broker.trim().rsplit_once(':');
    split
        .is_some_and(|(host, port)| !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|p| p > 0))
}

fn security(section: &Section<'_, '_>) -> Option<Security> {
    let mechanism = section.text("sasl_mechanism").unwrap_or_else(|| MECHANISMS[0].to_owned());
    let username = section.text("username");
    let password = section.secret("password", "password_file");
    let certificate_file = section.pem("certificate_file", "CERTIFICATE");
    let key_file = section.pem("key_file", "PRIVATE KEY");
    let demand = |key: &'static str, why: &str| {
        if !section.has(key) {
            section.missing(key, why)
        }
    };
    let chosen = section.text("security");
    let insecure = section.flag("insecure", false);
    if let Some(chosen @ ("plaintext" | "sasl_plaintext")) = chosen.as_deref()
        && !insecure
    {
        let message = "has no TLS, and whoever stands between could read and change what comes: write sasl_ssl or ssl, or \
                       set `insecure = true` in [kafka] where nothing is real";
        section.problem("security", format!("`{chosen}` {message}"));
    }
    match chosen.as_deref() {
        Some("plaintext") => Some(Security::Plaintext),
        Some("ssl") => {
            demand("certificate_file", "mutual TLS shows a certificate");
            demand("key_file", "mutual TLS proves that the certificate is one's own");
            Some(Security::Ssl { certificate_file: certificate_file?, key_file: key_file? })
        }
        None | Some("sasl_ssl" | "sasl_plaintext") => {
            if !MECHANISMS.contains(&mechanism.as_str()) {
                section.problem("sasl_mechanism", format!("wants one of {}", MECHANISMS.join(", ")));
            }
            demand("username", "SASL needs a user name");
            if !section.has("password") && !section.has("password_file") {
                section.missing_secret("password", "password_file", "SASL needs a password");
            }
            let tls = chosen.as_deref() != Some("sasl_plaintext");
            Some(Security::Sasl { tls, mechanism, username: username?, password: password? })
        }
        Some(_) => {
            let known = "\"sasl_ssl\", \"ssl\" (mutual TLS) or, with `insecure`, \"sasl_plaintext\" or \"plaintext\"";
            section.problem("security", format!("wants {known}"));
            None
        }
    }
}

pub(super) fn ingest(section: &Section<'_, '_>, kafka: Option<Kafka>) -> Option<Ingest> {
    let commit_interval = section.duration("commit_interval", Duration::from_secs(5));
    let commit_bytes = section.size("commit_bytes", 64 << 20);
    let memory_budget = section.size("memory_budget", 512 << 20);
    let on_gap = match section.text("on_gap").as_deref() {
        None | Some("stop") => OnGap::Stop,
        Some("go-on") => OnGap::GoOn,
        Some(_) => {
            section.problem("on_gap", "wants \"stop\" or \"go-on\"".to_owned());
            OnGap::Stop
        }
    };
    let freshness_objective = section.duration("freshness_objective", Duration::from_secs(60));
    Some(Ingest {
        on_gap,
        freshness_objective: section.positive("freshness_objective", freshness_objective),
        commit_interval: section.positive("commit_interval", commit_interval),
        commit_bytes: section.positive("commit_bytes", commit_bytes),
        memory_budget: section.positive("memory_budget", memory_budget),
        kafka: kafka?,
    })
}

/// The sections of the answering side. Where it is not `needed` they are read all the same, and may lack what it needs.
pub(super) fn answers(reader: &Reader<'_>, audited: &Section<'_, '_>, needed: bool) -> Option<Answers> {
    let sections = reader.list("issuers");
    let mut known = BTreeSet::new();
    for section in &sections {
        if let Some(url) = section.text("url").filter(|url| !known.insert(url.clone())) {
            section.problem("url", format!("issuer {url} is configured twice"));
        }
    }
    let issuers = sections.iter().filter_map(issuer).collect();
    let development = development(&reader.section("development"));
    let identity = reader.section("identity");
    let anonymous = identity.flag("anonymous", true);
    if needed && !anonymous && sections.is_empty() && development.is_none() {
        identity.problem(
            "anonymous",
            "nobody could ask: there are no [[issuers]], and no one may come without a token".to_owned(),
        );
    }
    let section = reader.section("pseudonyms");
    let secret = pseudonyms(&section, needed);
    let pseudonyms = pseudonym_keys(&section, secret.as_ref());
    drop(section);
    let audit = audit(audited, secret);
    let query = query(&reader.section("query"));
    let flight = flight(&reader.section("flight"));
    Some(Answers { issuers, development, anonymous, pseudonyms: pseudonyms?, audit: audit?, query, flight: flight? })
}

fn issuer(section: &Section<'_, '_>) -> Option<Issuer> {
    let allow_http = section.flag("allow_http", false);
    let url = section.required("url", "the issuer's address, exactly as it stands in `iss`");
    let url = url.and_then(|url| section.parsed("url", IssuerUrl::parse(&url, allow_http)));
    let audience = section.required("audience", "who the tokens are for, as it stands in `aud`");
    let names = section.texts("algorithms").unwrap_or_else(|| vec!["RS256".to_owned()]);
    if names.is_empty() {
        section.problem("algorithms", "names none: no token could be accepted".to_owned());
    }
    let algorithms = names.iter().filter_map(|name| section.parsed("algorithms", name.parse())).collect();
    let roles_claim = section.text("roles_claim").unwrap_or_else(|| "roles".to_owned());
    if roles_claim.is_empty() {
        section.problem("roles_claim", "is empty".to_owned());
    }
    let ca_file = section.pem("ca_file", "CERTIFICATE");
    Some(Issuer { url: url?, audience: audience?, algorithms, roles_claim, ca_file, allow_http })
}

pub(super) fn development(section: &Section<'_, '_>) -> Option<Development> {
    if !section.is_present() {
        return None;
    }
    if !section.has("key_file") {
        section.missing("key_file", "the file of the development issuer's key; it is made when it is not there");
    }
    let key_file = section.path("key_file")?;
    if key_file.exists() {
        section.parsed("key_file", development::open(&key_file));
    } else if !key_file.parent().is_some_and(|folder| folder.as_os_str().is_empty() || folder.is_dir()) {
        section.problem("key_file", format!("{} cannot be made: its folder is not there", key_file.display()));
    }
    Some(Development { key_file })
}

/// The secret of the pseudonyms.
pub(super) fn pseudonyms(section: &Section<'_, '_>, needed: bool) -> Option<Secret> {
    let secret = section.secret("secret", "secret_file");
    if needed && !section.has("secret") && !section.has("secret_file") {
        section.missing_secret("secret", "secret_file", "at least 32 random characters, of which pseudonyms are made");
    }
    secret
}

fn pseudonym_keys(section: &Section<'_, '_>, secret: Option<&Secret>) -> Option<PseudonymKeys> {
    let key = if section.has("secret") { "secret" } else { "secret_file" };
    section.parsed(key, PseudonymKeys::from_master(secret?.reveal().as_bytes()))
}

/// The longest time that a record waits for others.
const LONGEST_WINDOW: Duration = Duration::from_millis(10);

/// The key of the audit is made of a secret of its own, or else of that of the pseudonyms: of one secret two uses have keys
/// that tell nothing of each other.
pub(super) fn audit(section: &Section<'_, '_>, pseudonyms: Option<Secret>) -> Option<Audit> {
    let own = section.secret("secret", "secret_file");
    let window = section.duration("window", AuditConfig::default().window);
    if window > LONGEST_WINDOW {
        section.problem("window", "must be at most \"10ms\": every answer waits for it".to_owned());
    }
    let from = if section.has("secret") { "secret" } else { "secret_file" };
    let key = match own {
        Some(own) => section.parsed(from, AuditKey::from_secret(own.reveal().as_bytes()))?,
        // What is wrong with the other secret has been told where the pseudonyms are.
        None => AuditKey::from_secret(pseudonyms?.reveal().as_bytes()).ok()?,
    };
    Some(Audit { key, config: AuditConfig { window, ..AuditConfig::default() } })
}

/// How often the audit is worked on.
pub(super) fn audit_pace(section: &Section<'_, '_>) -> AuditPace {
    let fold = section.duration("fold_interval", Duration::from_secs(5));
    let alerts = section.duration("alerts_interval", Duration::from_secs(60));
    AuditPace { fold: section.positive("fold_interval", fold), alerts: section.positive("alerts_interval", alerts) }
}

fn query(section: &Section<'_, '_>) -> Query {
    let row_limit = section.number("row_limit", 1_000_000);
    let time_limit = section.duration("time_limit", Duration::from_secs(60));
    let memory_limit = section.size("memory_limit", 1 << 30);
    Query {
        freshness: section.duration("freshness", Duration::from_secs(1)),
        row_limit: section.positive("row_limit", row_limit),
        time_limit: section.positive("time_limit", time_limit),
        memory_limit: section.positive("memory_limit", memory_limit),
        partitions: section.number("partitions", 0),
    }
}

fn flight(section: &Section<'_, '_>) -> Option<Flight> {
    let certificate_file = section.pem("certificate_file", "CERTIFICATE");
    let key_file = section.pem("key_file", "PRIVATE KEY");
    match (section.has("certificate_file"), section.has("key_file")) {
        (true, false) => section.missing("key_file", "`certificate_file` and `key_file` come together"),
        (false, true) => section.missing("certificate_file", "`certificate_file` and `key_file` come together"),
        _ => {}
    }
    let secret = section.secret("ticket_secret", "ticket_secret_file");
    let key = if section.has("ticket_secret") { "ticket_secret" } else { "ticket_secret_file" };
    let ticket_key = secret.and_then(|secret| section.parsed(key, TicketKey::new(secret.reveal().as_bytes())));
    let tls = certificate_file.zip(key_file);
    let tls = tls.map(|(certificate_file, key_file)| FlightTls { certificate_file, key_file });
    Some(Flight { listen: address(section, "127.0.0.1:32010")?, tls, ticket_key })
}

pub(super) fn log(section: &Section<'_, '_>) -> Option<(LogFormat, LogLevel)> {
    let format = match section.text("format").as_deref() {
        None | Some("json") => Some(LogFormat::Json),
        Some("text") => Some(LogFormat::Text),
        Some(_) => {
            section.problem("format", "wants \"json\" or \"text\"".to_owned());
            None
        }
    };
    let level = section.text("level").unwrap_or_else(|| "info".to_owned());
    let level = section.parsed("level", level.parse());
    Some((format?, level?))
}

pub(super) fn address(section: &Section<'_, '_>, default: &str) -> Option<SocketAddr> {
    let text = section.text("listen").unwrap_or_else(|| default.to_owned());
    let wanted = "wants an address and port such as \"127.0.0.1:8080\"";
    section.parsed("listen", text.parse().map_err(|_| wanted))
}

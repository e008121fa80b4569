//! `lakeward serve`: the parts against a real Kafka, real storage and real issuers.
//!
//! Order of the start: configuration, `sql/`, health, storage, tables, endpoints, ingest. Order of the end: no more requests, those
//! that run end, ingest commits what it holds.

mod alerts;
pub(crate) mod fold;
mod health;
pub(crate) mod maintenance;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use lakeward_iam::{Authenticator, AuthenticatorConfig, IssuerConfig};
use lakeward_ingest::{Ingest, IngestConfig, IngestMetrics};
use lakeward_query::flight::{FlightTls, TicketKey};
use lakeward_query::http::Operations;
use lakeward_query::{JournalAudit, QueryConfig};
use lakeward_tables::Lake;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ServeArgs;
use crate::config::{self, Answers, Config, Query};
use crate::declared::Declared;
use crate::endpoint::{Parts, Servers, gateway};
use crate::{development, kafka, registry, secrets, storage, telemetry};

use health::Health;

/// How long a start waits after its first attempt to reach the storage; after each further one twice as long, at most …
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// … this long.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Runs until SIGTERM or Ctrl-C.
pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.config, args.only)?;
    telemetry::start(config.log_format, &config.log_level)?;
    let declared = Declared::demand(&config.lakehouse).await?;
    if let Some(why) = registry::missing(&config, &declared.lakehouse) {
        bail!("{}:1: {why}", args.config.display());
    }
    if let Some(ingest) = config.ingest.as_ref().filter(|ingest| ingest.kafka.security.is_open()) {
        tracing::warn!(brokers = ingest.kafka.brokers, "the broker is reached without TLS, as `insecure` allows");
    }
    let ingests = config.ingest.is_some();
    let families = Registry::new();
    let mut stop = Stop::listen()?;
    let health = Health::new(ingests);
    let operations = Operations { readiness: health.probe(), registry: families.clone() };
    let mut servers = Servers::start(listen(config.http).await?, operations)?;
    let opened = stop.unless(open_lake(&config, &declared, ingests, &health)).await?;
    let Some(lake) = opened else { return servers.stop().await };
    health.watch_storage(lake.clone());
    let audit = match &config.answers {
        Some(answers) => Some(answer(&mut servers, answers, &declared, lake.clone(), &families).await?),
        None => None,
    };
    let folded = fold::start(lake.journal(), config.audit_pace.fold);
    let maintained = match (&config.maintenance, ingests) {
        (Some(maintenance), true) => Some(maintenance::start(lake.clone(), maintenance, &families)?),
        _ => None,
    };
    let watched = match &maintained {
        Some(_) => Some(alerts::start(lake.clone(), declared.rules.clone(), config.audit_pace.alerts, &families)?),
        None => None,
    };
    let ingest = match &config.ingest {
        None => None,
        Some(ingest) => {
            let ingest_config = IngestConfig {
                kafka: kafka::client(&ingest.kafka),
                commit_interval: ingest.commit_interval,
                commit_bytes: ingest.commit_bytes,
                memory_budget: ingest.memory_budget,
                on_gap: ingest.on_gap,
                registry: config.registry.as_ref().map(registry::client).transpose()?,
            };
            let metrics = Arc::new(IngestMetrics::new(&families)?.with_objective(ingest.freshness_objective));
            let handle = Ingest::start(ingest_config, lake, Arc::clone(&declared.lakehouse), metrics).await?;
            health.follow(&handle);
            Some(handle)
        }
    };
    tracing::info!(http = %servers.http, flight = ?servers.flight, ingest = ingests, "lakeward serves");
    let failure = tokio::select! {
        () = stop.wait() => None,
        error = servers.failed() => Some(error),
    };
    tracing::info!("stopping: no more requests, then the last commits");
    servers.stop().await?;
    if let Some(audit) = audit
        && audit.close().await.is_err()
    {
        tracing::warn!("the audit could not be closed in order; its chain ends without its last record");
    }
    folded.stop().await;
    // What it has not raised yet the next process raises.
    drop(watched);
    if let Some(maintained) = maintained {
        maintained.stop().await;
    }
    if let Some(ingest) = ingest {
        ingest.shutdown().await?;
    }
    tracing::info!("stopped");
    failure.map_or(Ok(()), Err)
}

/// Opens the storage; while it is away, says so and tries again.
async fn open_lake(config: &Config, declared: &Declared, create: bool, health: &Health) -> anyhow::Result<Lake> {
    let storage = storage::config(&config.storage);
    let mut pauses = pauses();
    loop {
        let opened = async {
            let lake = Lake::open(&storage, Arc::clone(&declared.lakehouse)).await?;
            if create {
                lake.create_all().await?;
            }
            Ok::<Lake, lakeward_tables::TablesError>(lake)
        };
        match opened.await {
            Ok(lake) => return Ok(lake),
            Err(error) if error.is_transient() => {
                let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
                tracing::warn!(%error, ?pause, "the storage cannot be reached; trying again after a pause");
                health.storage_is_away();
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(error).context("the storage cannot be used"),
        }
    }
}

/// The pauses between attempts: each twice the one before, up to an upper bound.
fn pauses() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(FIRST_PAUSE), |pause| Some((*pause * 2).min(LONGEST_PAUSE)))
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}: is it in use?"))
}

/// Answers statements over both protocols from now on.
async fn answer(
    servers: &mut Servers,
    config: &Answers,
    declared: &Declared,
    lake: Lake,
    registry: &Registry,
) -> anyhow::Result<Arc<JournalAudit>> {
    let (gateway, audit) = gateway(Parts {
        lake,
        declared,
        authenticator: authenticator(config)?,
        keys: config.pseudonyms.clone(),
        audit_key: config.audit.key.clone(),
        audit: config.audit.config,
        config: query_config(&config.query),
        registry,
    })?;
    servers.answer_http(gateway.clone()).await?;
    let key = match &config.flight.ticket_key {
        Some(key) => key.clone(),
        None => TicketKey::new(&secrets::random())?,
    };
    let tls = config.flight.tls.as_ref().map(flight_tls).transpose()?;
    servers.answer_flight(listen(config.flight.listen).await?, gateway, key, tls)?;
    Ok(audit)
}

fn flight_tls(files: &config::FlightTls) -> anyhow::Result<FlightTls> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    Ok(FlightTls { certificate: read(&files.certificate_file)?, key: read(&files.key_file)?, client_authority: None })
}

fn authenticator(config: &Answers) -> anyhow::Result<Authenticator> {
    let issuers = config
        .issuers
        .iter()
        .map(|issuer| IssuerConfig {
            algorithms: issuer.algorithms.iter().map(ToString::to_string).collect(),
            roles_claim: issuer.roles_claim.clone(),
            ca_file: issuer.ca_file.clone(),
            allow_http: issuer.allow_http,
            ..IssuerConfig::new(issuer.url.to_string(), &issuer.audience)
        })
        .collect();
    let mut local = Vec::new();
    if let Some(development) = &config.development {
        tracing::warn!("a development issuer is configured: whoever reads its key file can be anybody");
        local.push(development::open(&development.key_file)?.local());
    }
    let settings = AuthenticatorConfig { issuers, anonymous: config.anonymous, ..AuthenticatorConfig::default() };
    Ok(Authenticator::new(settings, local)?)
}

fn query_config(config: &Query) -> QueryConfig {
    let defaults = QueryConfig::default();
    let partitions = config.partitions;
    QueryConfig {
        freshness: config.freshness,
        row_limit: config.row_limit,
        time_limit: config.time_limit,
        memory_limit: config.memory_limit,
        target_partitions: if partitions == 0 { defaults.target_partitions } else { partitions },
        ..defaults
    }
}

/// SIGTERM and Ctrl-C.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// The work's result, or `None` if one was asked to stop before it was done.
    async fn unless<T>(&mut self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<Option<T>> {
        tokio::select! {
            () = self.wait() => Ok(None),
            done = work => done.map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_have_an_upper_bound() {
        let millis: Vec<u128> = pauses().take(9).map(|pause| pause.as_millis()).collect();
        assert_eq!(millis, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    }
}

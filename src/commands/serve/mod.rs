//! `lakeward serve`: the parts against a real Kafka, real storage and real issuers.
//!
//! Order of the start: configuration, `sql/`, health, storage, tables, endpoints, ingest. Order of the end: no more requests, those
//! that run end, ingest commits what it holds.

mod health;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use lakeward_iam::{Authenticator, AuthenticatorConfig, IssuerConfig};
use lakeward_ingest::{Ingest, IngestConfig, IngestMetrics};
use lakeward_query::flight::{FlightTls, TicketKey};
use lakeward_query::http::Operations;
use lakeward_query::{PseudonymKeys, QueryConfig};
use lakeward_tables::Lake;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Part, ServeArgs};
use crate::config::Config;
use crate::declared::Declared;
use crate::endpoint::{Parts, Servers, gateway};
use crate::{development, kafka, secrets, storage, telemetry};

use health::Health;

/// How long a start waits between two attempts to reach the storage.
const STORAGE_PATIENCE: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or Ctrl-C.
pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.config).map_err(|problems| {
        anyhow::anyhow!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    telemetry::start(config.log_format, &config.log_level)?;
    let declared = Declared::load(&config.lakehouse).map_err(|problems| {
        anyhow::anyhow!("{} is not in order:\n{}", config.lakehouse.display(), problems.join("\n"))
    })?;
    let misfits = declared.misfits().await?;
    if !misfits.is_empty() {
        bail!("{} is not in order:\n{}", config.lakehouse.display(), misfits.join("\n"));
    }
    let ingests = args.only != Some(Part::Query);
    let answers = args.only != Some(Part::Ingest);
    let consumer = match (&config.kafka, ingests) {
        (Some(kafka), true) => Some(kafka::client(kafka)),
        (None, true) => bail!("the configuration has no [kafka] section: write one, or run with --only query"),
        (_, false) => None,
    };
    let registry = Registry::new();
    let mut stop = Stop::listen()?;
    let health = Health::new(ingests);
    let operations = Operations { readiness: health.probe(), registry: registry.clone() };
    let mut servers = Servers::start(listen(config.http).await?, operations)?;
    let opened = stop.unless(open_lake(&config, &declared, ingests, &health)).await?;
    let Some(lake) = opened else { return servers.stop().await };
    health.watch_storage(lake.clone());
    if answers {
        answer(&mut servers, &config, &declared, lake.clone(), &registry).await?;
    }
    let ingest = match consumer {
        None => None,
        Some(kafka) => {
            let ingest_config = IngestConfig {
                kafka,
                commit_interval: config.ingest.commit_interval,
                commit_bytes: config.ingest.commit_bytes,
                memory_budget: config.ingest.memory_budget,
            };
            let metrics = Arc::new(IngestMetrics::new(&registry)?);
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
    if let Some(ingest) = ingest {
        ingest.shutdown().await?;
    }
    tracing::info!("stopped");
    failure.map_or(Ok(()), Err)
}

/// Opens the storage; while it is away, says so and tries again.
async fn open_lake(config: &Config, declared: &Declared, create: bool, health: &Health) -> anyhow::Result<Lake> {
    let storage = storage::config(&config.storage);
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
                tracing::warn!(%error, "the storage cannot be reached; trying again");
                health.storage_is_away();
                tokio::time::sleep(STORAGE_PATIENCE).await;
            }
            Err(error) => return Err(error).context("the storage cannot be used"),
        }
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}: is it in use?"))
}

/// Answers statements over both protocols from now on.
async fn answer(
    servers: &mut Servers,
    config: &Config,
    declared: &Declared,
    lake: Lake,
    registry: &Registry,
) -> anyhow::Result<()> {
    let Some(secret) = &config.pseudonym_secret else {
        bail!("[pseudonyms] needs `secret_file` (or LAKEWARD_PSEUDONYMS_SECRET): 32 random characters");
    };
    let gateway = gateway(Parts {
        lake,
        declared,
        authenticator: authenticator(config)?,
        keys: PseudonymKeys::from_master(secret.reveal().as_bytes())?,
        config: query_config(config),
        registry,
    })?;
    servers.answer_http(gateway.clone()).await?;
    let key = match &config.flight.ticket_secret {
        Some(secret) => TicketKey::new(secret.reveal().as_bytes())?,
        None => TicketKey::new(&secrets::random())?,
    };
    servers.answer_flight(listen(config.flight.listen).await?, gateway, key, flight_tls(config)?)
}

fn flight_tls(config: &Config) -> anyhow::Result<Option<FlightTls>> {
    let (Some(certificate), Some(key)) = (&config.flight.certificate_file, &config.flight.key_file) else {
        return Ok(None);
    };
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    Ok(Some(FlightTls { certificate: read(certificate)?, key: read(key)?, client_authority: None }))
}

fn authenticator(config: &Config) -> anyhow::Result<Authenticator> {
    let issuers = config
        .issuers
        .iter()
        .map(|issuer| IssuerConfig {
            algorithms: issuer.algorithms.clone(),
            roles_claim: issuer.roles_claim.clone(),
            ca_file: issuer.ca_file.clone(),
            allow_http: issuer.allow_http,
            ..IssuerConfig::new(&issuer.url, &issuer.audience)
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

fn query_config(config: &Config) -> QueryConfig {
    let defaults = QueryConfig::default();
    let partitions = config.query.partitions;
    QueryConfig {
        freshness: config.query.freshness,
        row_limit: config.query.row_limit,
        time_limit: config.query.time_limit,
        memory_limit: config.query.memory_limit,
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

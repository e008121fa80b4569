//! `lakeward serve`: the parts against a real Kafka, real storage and real issuers.
//!
//! Order of the start: configuration, `sql/`, storage, tables, endpoints, ingest. Order of the end: no more requests, those
//! that run end, ingest commits what it holds.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use lakeward_iam::{Authenticator, AuthenticatorConfig, IssuerConfig};
use lakeward_ingest::{Ingest, IngestConfig, IngestHandle, IngestMetrics, IngestState};
use lakeward_query::flight::{FlightTls, TicketKey};
use lakeward_query::http::{Readiness, ReadinessProbe};
use lakeward_query::{PseudonymKeys, QueryConfig};
use lakeward_tables::Lake;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::{Part, ServeArgs};
use crate::config::Config;
use crate::declared::Declared;
use crate::endpoint::{Parts, Servers, gateway};
use crate::{development, kafka, secrets, storage, telemetry};

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
    let ingests = args.only != Some(Part::Query);
    let answers = args.only != Some(Part::Ingest);
    let consumer = match (&config.kafka, ingests) {
        (Some(kafka), true) => Some(kafka::client(kafka)),
        (None, true) => bail!("the configuration has no [kafka] section: write one, or run with --only query"),
        (_, false) => None,
    };
    let registry = Registry::new();
    let mut stop = Stop::listen()?;
    let Some(lake) = stop.unless(open_lake(&config, &declared, ingests)).await? else { return Ok(()) };
    let metrics = Arc::new(IngestMetrics::new(&registry)?);
    let (state, watched) = watch::channel(IngestState::Starting);

    let mut servers =
        start_endpoints(&config, &declared, lake.clone(), &registry, answers, readiness(watched, ingests)).await?;
    let ingest = match consumer {
        None => None,
        Some(kafka) => {
            let ingest_config = IngestConfig {
                kafka,
                commit_interval: config.ingest.commit_interval,
                commit_bytes: config.ingest.commit_bytes,
                memory_budget: config.ingest.memory_budget,
            };
            let handle = Ingest::start(ingest_config, lake, Arc::clone(&declared.lakehouse), metrics).await?;
            follow(&handle, state);
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
async fn open_lake(config: &Config, declared: &Declared, create: bool) -> anyhow::Result<Lake> {
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
                tokio::time::sleep(STORAGE_PATIENCE).await;
            }
            Err(error) => return Err(error).context("the storage cannot be used"),
        }
    }
}

async fn start_endpoints(
    config: &Config,
    declared: &Declared,
    lake: Lake,
    registry: &Registry,
    answers: bool,
    readiness: ReadinessProbe,
) -> anyhow::Result<Servers> {
    let secret = match &config.pseudonym_secret {
        Some(secret) => secret.reveal().as_bytes().to_vec(),
        None if answers => {
            bail!("[pseudonyms] needs `secret_file` (or LAKEWARD_PSEUDONYMS_SECRET): 32 random characters")
        }
        None => secrets::random(),
    };
    let gateway = gateway(Parts {
        lake,
        declared,
        authenticator: authenticator(config)?,
        keys: PseudonymKeys::from_master(&secret)?,
        config: query_config(config),
        registry,
    })?;
    let listen = |address| async move {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}: is it in use?"))
    };
    let http = listen(config.http).await?;
    let mut servers = Servers::start_http(http, gateway.clone(), readiness, registry.clone(), answers)?;
    if answers {
        let key = match &config.flight.ticket_secret {
            Some(secret) => TicketKey::new(secret.reveal().as_bytes())?,
            None => TicketKey::new(&secrets::random())?,
        };
        let tls = match (&config.flight.certificate_file, &config.flight.key_file) {
            (Some(certificate), Some(key)) => Some(FlightTls {
                certificate: std::fs::read(certificate)
                    .with_context(|| format!("cannot read {}", certificate.display()))?,
                key: std::fs::read(key).with_context(|| format!("cannot read {}", key.display()))?,
                client_authority: None,
            }),
            _ => None,
        };
        servers.add_flight(listen(config.flight.listen).await?, gateway, key, tls)?;
    }
    Ok(servers)
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

/// What `/health/ready` says: which part is missing, if any.
fn readiness(state: watch::Receiver<IngestState>, ingests: bool) -> ReadinessProbe {
    Arc::new(move || {
        let readiness = Readiness::default().ready("endpoint");
        if !ingests {
            return readiness;
        }
        match &*state.borrow() {
            IngestState::Running => readiness.ready("ingest"),
            IngestState::Starting => readiness.missing("ingest", "it has not joined its group yet"),
            IngestState::Waiting { part, why } => readiness.ready("ingest").missing(*part, why.clone()),
        }
    })
}

/// Passes ingest's state on to the readiness probe.
fn follow(handle: &IngestHandle, state: watch::Sender<IngestState>) {
    let mut from = handle.state();
    tokio::spawn(async move {
        loop {
            state.send_replace(from.borrow_and_update().clone());
            if from.changed().await.is_err() {
                return;
            }
        }
    });
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

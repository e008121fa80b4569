//! `lakeward demo`: the whole of it in one process, with nothing to install.
//!
//! The broker is librdkafka's mock cluster, a small schema registry stands beside it, the tables stand in a local folder, tokens come from a development issuer, and
//! a generated clinic chain writes its history at once and then a live trickle. Everything behind the broker is what
//! `lakeward serve` runs.
#![allow(clippy::print_stdout, reason = "the demo talks to the person before the terminal")]

pub(crate) mod broker;
pub(crate) mod clinic;
pub(crate) mod ending;
mod feed;
pub(crate) mod people;
mod registry;
mod round;
mod show;
mod state;
mod status;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use lakeward_iam::{Authenticator, AuthenticatorConfig, DevelopmentIssuer};
use lakeward_ingest::{Ingest, IngestConfig, IngestHandle, IngestMetrics, KafkaConfig, OnGap, RegistryConfig};
use lakeward_query::flight::TicketKey;
use lakeward_query::http::{Operations, Readiness, ReadinessProbe};
use lakeward_query::{AuditConfig, AuditKey, JournalAudit, PseudonymKeys, QueryConfig};
use lakeward_tables::maintenance::MaintenanceConfig;
use lakeward_tables::{Lake, StorageConfig};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::DemoArgs;
use crate::commands::serve::{fold, maintenance};
use crate::config;
use crate::declared::Declared;
use crate::endpoint::{Parts, Servers, gateway};
use crate::telemetry::{self, LogFormat, LogLevel};
use crate::{development, secrets};

use broker::Broker;
use clinic::{Clinic, ClinicConfig, TOPICS};
use feed::{Encoders, Feed};
use registry::SchemaRegistry;
use state::State;

/// The development issuer's key, in the demo's folder.
pub(crate) const ISSUER_KEY: &str = "issuer.json";
/// The secret of the pseudonyms, in the demo's folder.
const PSEUDONYMS: &str = "pseudonyms";

/// How the demo's ingest runs: small and quick.
const COMMIT_INTERVAL: Duration = Duration::from_millis(2000);
const COMMIT_BYTES: usize = 8 << 20;
const MEMORY_BUDGET: usize = 256 << 20;
/// How often its tables are looked at.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(10);
/// How often the audit goes into its table.
const FOLD_INTERVAL: Duration = Duration::from_secs(2);

/// A running demo.
struct Demo {
    clinic: Clinic,
    state: State,
    folder: PathBuf,
    declared: Declared,
    lake: Lake,
    issuer: DevelopmentIssuer,
    metrics: Arc<IngestMetrics>,
    servers: Servers,
    audit: Arc<JournalAudit>,
    folded: fold::Running,
    ingest: IngestHandle,
    maintained: maintenance::Running,
    feed: Feed,
    started: Instant,
    /// Ingest asks it to the end.
    _schemas: SchemaRegistry,
}

/// Runs until Ctrl-C, or one round with `--once`.
pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let end = ending::asked_for()?;
    telemetry::start(LogFormat::Text, &LogLevel::errors())?;
    let once = args.once;
    let mut demo = Demo::start(args).await?;
    let folder = demo.folder.clone();
    let outcome = tokio::select! {
        biased;
        () = end.cancelled() => if once { Err(anyhow!("ended before everything was checked")) } else { Ok(()) },
        outcome = demo.round(once) => outcome,
    };
    if !once {
        status::leave();
        println!("Ending: the last commits …");
    }
    let ended = demo.end().await;
    outcome.and(ended)?;
    if once {
        println!("all as expected");
    } else {
        println!("Everything that came is in {}.", folder.display());
    }
    Ok(())
}

impl Demo {
    async fn start(args: DemoArgs) -> anyhow::Result<Self> {
        let started = Instant::now();
        let folder = std::path::absolute(&args.folder)?;
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let state = State::begin(&folder, &args)?;
        let declared = Declared::demand(&args.lakehouse).await?;
        let clinic = Clinic::new(ClinicConfig { seed: state.seed, patients: state.patients, epoch: state.epoch });
        people::write_down(&folder, clinic.people())?;
        let issuer = development::open(&folder.join(ISSUER_KEY))?;

        let lake = Lake::open(&StorageConfig::local(&folder.join("lake"))?, Arc::clone(&declared.lakehouse)).await?;
        lake.create_all().await?;
        let registry = Registry::new();
        let metrics = Arc::new(IngestMetrics::new(&registry)?);
        let broker = Broker::start(&BTreeMap::from(TOPICS))?;
        let schemas = SchemaRegistry::start(&folder).await?;
        let asked = RegistryConfig { url: schemas.url.clone(), credentials: None, ca: None };
        let asked = Arc::new(lakeward_ingest::Registry::new(asked)?);
        let encoders = Encoders::new(&declared.lakehouse, &asked).await?;
        let ingest = IngestConfig {
            kafka: KafkaConfig {
                brokers: broker.addresses().to_owned(),
                group: "lakeward".to_owned(),
                source: State::source(state.round),
                properties: BTreeMap::new(),
            },
            commit_interval: COMMIT_INTERVAL,
            commit_bytes: COMMIT_BYTES,
            memory_budget: MEMORY_BUDGET,
            on_gap: OnGap::Stop,
            registry: Some(asked),
        };
        let ingest = Ingest::start(ingest, lake.clone(), Arc::clone(&declared.lakehouse), Arc::clone(&metrics)).await?;
        let healthy = config::Maintenance { interval: MAINTENANCE_INTERVAL, config: MaintenanceConfig::default() };
        let maintained = maintenance::start(lake.clone(), &healthy, &registry)?;
        let (servers, audit) = endpoints(&args, &folder, &declared, lake.clone(), &issuer, &registry).await?;
        let folded = fold::start(lake.journal(), FOLD_INTERVAL);
        let landed = feed::landed(&lake, state.round).await?;
        let feed = Feed::new(broker, encoders, Arc::clone(&metrics), landed);
        Ok(Self {
            clinic,
            state,
            folder,
            declared,
            lake,
            issuer,
            metrics,
            servers,
            audit,
            folded,
            ingest,
            maintained,
            feed,
            started,
            _schemas: schemas,
        })
    }

    /// Fills the tables and shows them; then checks them, or goes on living without an end.
    async fn round(&mut self, once: bool) -> anyhow::Result<()> {
        let sent = self.feed.history(&self.clinic).await?;
        feed::caught_up(&self.lake, &self.declared.lakehouse, self.state.round, &sent).await?;
        let filled = self.started.elapsed();
        let asker = round::Asker::new(&self.servers.http, &self.issuer, &self.folder);
        println!("{}", round::people_and_commands(&self.clinic, &asker, self.servers.flight, filled).await?);
        println!("{}", asker.side_by_side().await?);
        if !once {
            return self.live().await;
        }
        let differences = round::differences(self, &asker).await?;
        if differences.is_empty() { Ok(()) } else { bail!("not as expected:\n{}", differences.join("\n")) }
    }

    /// The trickle and the status line; ends by a failure alone.
    async fn live(&mut self) -> anyhow::Result<()> {
        println!("Live now; Ctrl-C ends it, and the same command goes on where it stopped.\n");
        let (sent, live) = watch::channel(0);
        tokio::select! {
            ended = self.feed.trickle(&self.clinic, sent) => ended,
            error = self.servers.failed() => Err(error),
            () = status::line(&self.metrics, live) => Ok(()),
        }
    }

    /// Lets running requests end while what was read is committed. The broker goes last: it must outlive its consumer.
    async fn end(self) -> anyhow::Result<()> {
        let served = async {
            let served = self.servers.stop().await;
            // Nobody reads the demo's audit for what it lacks: an end without its last record is one of a process that was killed.
            let _ = self.audit.close().await;
            self.folded.stop().await;
            served
        };
        let (served, ingested, ()) = tokio::join!(served, self.ingest.shutdown(), self.maintained.stop());
        served?;
        Ok(ingested?)
    }
}

async fn endpoints(
    args: &DemoArgs,
    folder: &Path,
    declared: &Declared,
    lake: Lake,
    issuer: &DevelopmentIssuer,
    registry: &Registry,
) -> anyhow::Result<(Servers, Arc<JournalAudit>)> {
    let secret = secrets::kept(&folder.join(PSEUDONYMS))?;
    let (gateway, audit) = gateway(Parts {
        lake,
        declared,
        authenticator: Authenticator::new(AuthenticatorConfig::default(), vec![issuer.local()])?,
        keys: PseudonymKeys::from_master(&secret)?,
        audit_key: AuditKey::from_secret(&secret)?,
        audit: AuditConfig::default(),
        config: QueryConfig { freshness: Duration::from_millis(500), ..QueryConfig::default() },
        registry,
    })?;
    let readiness: ReadinessProbe = Arc::new(|| Readiness::default().ready("endpoint"));
    let operations = Operations { readiness, registry: registry.clone() };
    let mut servers = Servers::start(listen(args.http_port).await?, operations)?;
    servers.answer_http(gateway.clone()).await?;
    servers.answer_flight(listen(args.flight_port).await?, gateway, TicketKey::new(&secrets::random())?, None)?;
    Ok((servers, audit))
}

/// Listens on the preferred port, or on a free one where that is taken.
async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("127.0.0.1", 0)).await.context("there is no free port"),
    }
}

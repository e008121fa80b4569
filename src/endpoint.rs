//! The answering side, wired: service, gateway, HTTP and Flight SQL, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use lakeward_iam::Authenticator;
use lakeward_query::flight::{FlightState, FlightTls, TicketKey, serve_flight};
use lakeward_query::gateway::{Gateway, RequestMetrics};
use lakeward_query::http::{HttpState, ReadinessProbe, serve_http};
use lakeward_query::{PseudonymKeys, QueryConfig, QueryMetrics, QueryService, TracingAudit};
use lakeward_tables::Lake;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::declared::Declared;

/// What an endpoint is made of.
pub(crate) struct Parts<'a> {
    pub(crate) lake: Lake,
    pub(crate) declared: &'a Declared,
    pub(crate) authenticator: Authenticator,
    pub(crate) keys: PseudonymKeys,
    pub(crate) config: QueryConfig,
    pub(crate) registry: &'a Registry,
}

/// The gateway that both protocols ask.
pub(crate) fn gateway(parts: Parts<'_>) -> anyhow::Result<Gateway> {
    let Declared { lakehouse, policies, masks } = parts.declared;
    let service = QueryService::new(
        parts.lake,
        Arc::clone(lakehouse),
        Arc::clone(policies),
        masks.clone(),
        parts.keys,
        parts.config,
        Arc::new(TracingAudit),
        QueryMetrics::register(parts.registry)?,
    );
    let metrics = RequestMetrics::register(parts.registry)?;
    Ok(Gateway::new(service, Arc::new(parts.authenticator), Arc::clone(policies), metrics))
}

/// Servers that run until they are told to stop.
pub(crate) struct Servers {
    pub(crate) http: SocketAddr,
    pub(crate) flight: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Servers {
    /// Answers HTTP: health and metrics always, statements where this process `answers`.
    pub(crate) fn start_http(
        listener: TcpListener,
        gateway: Gateway,
        readiness: ReadinessProbe,
        registry: Registry,
        answers: bool,
    ) -> anyhow::Result<Self> {
        let http = listener.local_addr()?;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let signal = stop.clone().cancelled_owned();
        let mut state = HttpState::new(gateway, readiness, registry);
        state.operations_only = !answers;
        tasks.spawn(async move { serve_http(listener, state, signal).await.context("the HTTP endpoint failed") });
        Ok(Self { http, flight: None, stop, tasks })
    }

    /// Answers Flight SQL beside HTTP.
    pub(crate) fn add_flight(
        &mut self,
        listener: TcpListener,
        gateway: Gateway,
        key: TicketKey,
        tls: Option<FlightTls>,
    ) -> anyhow::Result<()> {
        self.flight = Some(listener.local_addr()?);
        let signal = self.stop.clone().cancelled_owned();
        let state = FlightState::new(gateway, key);
        self.tasks.spawn(async move {
            serve_flight(listener, state, signal, tls).await.context("the Flight SQL endpoint failed")
        });
        Ok(())
    }

    /// Waits for a server that ends by itself, which is a failure.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => anyhow::anyhow!("an endpoint's task failed: {error}"),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("an endpoint ended by itself"),
        }
    }

    /// Takes no more requests, lets those that run end, and returns when all is quiet.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

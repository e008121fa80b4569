//! The answering side, wired: service, gateway, HTTP and Flight SQL, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use lakeward_iam::Authenticator;
use lakeward_query::flight::{FlightState, FlightTls, TicketKey, serve_flight};
use lakeward_query::gateway::{Gateway, RequestMetrics};
use lakeward_query::http::{HttpState, Operations, serve_http, serve_operations};
use lakeward_query::{AuditConfig, AuditKey, AuditMetrics, JournalAudit};
use lakeward_query::{PseudonymKeys, QueryConfig, QueryMetrics, QueryService};
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
    pub(crate) audit_key: AuditKey,
    pub(crate) audit: AuditConfig,
    pub(crate) config: QueryConfig,
    pub(crate) registry: &'a Registry,
}

/// The gateway that both protocols ask, and the audit that is to be closed when nobody asks any more.
pub(crate) fn gateway(parts: Parts<'_>) -> anyhow::Result<(Gateway, Arc<JournalAudit>)> {
    let Declared { lakehouse, policies, masks, .. } = parts.declared;
    let metrics = AuditMetrics::register(parts.registry)?;
    let audit = JournalAudit::start(parts.lake.journal(), parts.audit_key, parts.audit, metrics);
    let service = QueryService::new(
        parts.lake,
        Arc::clone(lakehouse),
        Arc::clone(policies),
        masks.clone(),
        parts.keys,
        parts.config,
        Arc::clone(&audit) as _,
        QueryMetrics::register(parts.registry)?,
    );
    let metrics = RequestMetrics::register(parts.registry)?;
    Ok((Gateway::new(service, Arc::new(parts.authenticator), Arc::clone(policies), metrics), audit))
}

/// Servers that run until they are told to stop.
///
/// From the first moment health and counters are answered; statements too, once there is a gateway.
pub(crate) struct Servers {
    pub(crate) http: SocketAddr,
    pub(crate) flight: Option<SocketAddr>,
    /// The HTTP port itself: it stays open while one server hands over to the next.
    port: std::net::TcpListener,
    operations: Operations,
    operations_alone: CancellationToken,
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Servers {
    /// Answers health and counters.
    pub(crate) fn start(listener: TcpListener, operations: Operations) -> anyhow::Result<Self> {
        let http = listener.local_addr()?;
        let port = listener.into_std()?;
        let stop = CancellationToken::new();
        let operations_alone = stop.child_token();
        let mut tasks = JoinSet::new();
        let (listener, shown, signal) =
            (TcpListener::from_std(port.try_clone()?)?, operations.clone(), operations_alone.clone().cancelled_owned());
        tasks.spawn(async move { serve_operations(listener, shown, signal).await.context("the HTTP endpoint failed") });
        Ok(Self { http, flight: None, port, operations, operations_alone, stop, tasks })
    }

    /// Answers statements over HTTP from now on.
    pub(crate) async fn answer_http(&mut self, gateway: Gateway) -> anyhow::Result<()> {
        self.operations_alone.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        let Operations { readiness, registry } = self.operations.clone();
        let (listener, state, signal) = (
            TcpListener::from_std(self.port.try_clone()?)?,
            HttpState::new(gateway, readiness, registry),
            self.stop.clone().cancelled_owned(),
        );
        self.tasks.spawn(async move { serve_http(listener, state, signal).await.context("the HTTP endpoint failed") });
        Ok(())
    }

    /// Answers Flight SQL too.
    pub(crate) fn answer_flight(
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

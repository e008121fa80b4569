//! One request on its way, and the counters it moves when it ends.

use std::net::SocketAddr;
use std::time::Instant;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use tracing::info;
use uuid::Uuid;

use crate::ErrorCode;

/// By which door a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// JSON, CSV and Arrow over HTTP.
    Http,
    /// Arrow Flight SQL over gRPC.
    Flight,
}

impl Protocol {
    /// The stable name, for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Flight => "flight",
        }
    }
}

/// Counters of requests, by protocol and endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RequestMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
}

impl RequestMetrics {
    /// Creates the counters and registers them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("lakeward_requests_total", "Requests by protocol, endpoint and outcome"),
                &["protocol", "endpoint", "outcome"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new("lakeward_request_seconds", "Time from a request to the head of its answer")
                    .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]),
                &["protocol", "endpoint"],
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        Ok(metrics)
    }
}

/// One request on its way. Counts and logs itself when it ends, and as `cancelled` when it is dropped before.
#[derive(Debug)]
pub struct Arrival {
    request_id: String,
    at: Instant,
    protocol: Protocol,
    endpoint: &'static str,
    peer: Option<SocketAddr>,
    metrics: RequestMetrics,
    outcome: &'static str,
}

impl Arrival {
    pub(super) fn new(protocol: Protocol, endpoint: &'static str, metrics: RequestMetrics) -> Self {
        let request_id = Uuid::new_v4().to_string();
        Self { request_id, at: Instant::now(), protocol, endpoint, peer: None, metrics, outcome: "cancelled" }
    }

    /// The request's number, in answers, logs and audit.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// When it came.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The same, from an address.
    #[must_use]
    pub fn from(mut self, peer: Option<SocketAddr>) -> Self {
        self.peer = peer;
        self
    }

    /// The address that it came from: the client's, or that of what stands in front of this process.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// By which door it came.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Ends the request with an outcome that is not the service's.
    pub fn finish_as(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }

    /// Ends the request by the code of an error.
    pub fn fail(self, code: ErrorCode) {
        self.finish_as(code.as_str());
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let (protocol, taken) = (self.protocol.as_str(), self.at.elapsed());
        self.metrics.requests.with_label_values(&[protocol, self.endpoint, self.outcome]).inc();
        self.metrics.seconds.with_label_values(&[protocol, self.endpoint]).observe(taken.as_secs_f64());
        info!(
            target: "lakeward::request",
            request_id = self.request_id,
            protocol,
            endpoint = self.endpoint,
            outcome = self.outcome,
            milliseconds = u64::try_from(taken.as_millis()).unwrap_or(u64::MAX),
            "request"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(metrics: &RequestMetrics, outcome: &str) -> u64 {
        metrics.requests.with_label_values(&["http", "/v1/sql", outcome]).get()
    }

    #[test]
    fn a_request_is_counted_once_under_its_outcome() {
        let metrics = RequestMetrics::register(&Registry::new()).unwrap();
        let arrive = || Arrival::new(Protocol::Http, "/v1/sql", metrics.clone());
        arrive().finish_as("ok");
        arrive().fail(ErrorCode::TimeLimit);
        arrive().finish_as("not_acceptable");
        drop(arrive());
        for outcome in ["ok", "time_limit", "not_acceptable", "cancelled"] {
            assert_eq!(count(&metrics, outcome), 1, "{outcome}");
        }
    }

    #[test]
    fn no_two_requests_have_one_number() {
        let metrics = RequestMetrics::register(&Registry::new()).unwrap();
        let one = Arrival::new(Protocol::Flight, "DoGet", metrics.clone());
        let other = Arrival::new(Protocol::Flight, "DoGet", metrics);
        assert_ne!(one.request_id(), other.request_id());
    }
}

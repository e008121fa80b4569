//! The listening side.

use std::fmt;
use std::future::Future;

use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Error, Identity, Server, ServerTlsConfig};

use super::{FlightState, service};
use crate::gateway::serve_until;

/// Certificates in PEM.
#[derive(Clone)]
pub struct FlightTls {
    /// The server's certificate, with what is between it and its authority.
    pub certificate: Vec<u8>,
    /// The key of the certificate.
    pub key: Vec<u8>,
    /// Clients must show a certificate of this authority, if there is one.
    pub client_authority: Option<Vec<u8>>,
}

impl fmt::Debug for FlightTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightTls").field("client_authority", &self.client_authority.is_some()).finish_non_exhaustive()
    }
}

/// Serves until `shutdown` resolves, then takes no more calls, lets running answers end for as long as
/// [`FlightState::grace`] says, and returns.
pub async fn serve_flight(
    listener: TcpListener,
    state: FlightState,
    shutdown: impl Future<Output = ()> + Send + 'static,
    tls: Option<FlightTls>,
) -> Result<(), Error> {
    let mut server = Server::builder();
    if let Some(tls) = tls {
        let config = ServerTlsConfig::new().identity(Identity::from_pem(tls.certificate, tls.key));
        server = server.tls_config(match tls.client_authority {
            Some(authority) => config.client_ca_root(Certificate::from_pem(authority)),
            None => config,
        })?;
    }
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let grace = state.grace;
    serve_until(shutdown, grace, |signal| async move {
        server.add_service(service(state)).serve_with_incoming_shutdown(incoming, signal).await
    })
    .await
}

//! SQL over Arrow Flight SQL (gRPC), for ADBC, JDBC and whatever else speaks it.
//!
//! - `Handshake` takes `Basic` (the password is a token; the name does not matter) or `Bearer`, and gives back the
//!   bearer token to use; every other call carries `authorization: Bearer …`, or nothing for the anonymous.
//! - The header [`PURPOSE`] selects the purpose.
//! - A *ticket* or *handle* is everything the server needs to go on, sealed with a key that all processes share: nothing
//!   is kept between calls, so any process serves any of them and a restart loses none. See [`TicketKey`].
//! - Statements that change something are refused by kind.
//! - Rows that were cut off at the limit are told in the trailer [`TRUNCATED`].

mod actions;
mod commands;
mod handshake;
mod keys;
mod parameters;
mod placeholders;
mod seal;
mod serve;
mod service;
mod sql_info;
mod status;
#[cfg(test)]
mod tests;
mod type_info;

use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;

pub use seal::{TicketKey, TicketKeyError};
pub use serve::{FlightTls, serve_flight};
pub use service::LakewardFlight;

use crate::gateway::Gateway;

/// Header of a call: the purpose under which it is made.
pub const PURPOSE: &str = "x-lakeward-purpose";
/// Header of an answer: the number of the request.
pub const REQUEST_ID: &str = "x-lakeward-request-id";
/// Header of an answer: the most rows it has.
pub const ROW_LIMIT: &str = "x-lakeward-row-limit";
/// Header of an answer: how long its statement may take, in milliseconds.
pub const TIME_LIMIT: &str = "x-lakeward-time-limit-ms";
/// Trailer of an answer: `true` when rows were cut off.
pub const TRUNCATED: &str = "x-lakeward-truncated";
/// Trailer of a failure: its code.
pub const CODE: &str = "x-lakeward-code";

/// What the Flight endpoint needs. Cheap to clone.
#[derive(Clone)]
pub struct FlightState {
    /// Identity and the service.
    pub gateway: Gateway,
    /// Seals tickets and handles; the same in every process.
    pub key: TicketKey,
    /// How long a ticket can be redeemed; 10 minutes unless set.
    pub ticket_lifetime: Duration,
    /// How long a prepared statement can be used; 12 hours unless set.
    pub handle_lifetime: Duration,
    /// How long running answers may take to end after a shutdown began; 4 s unless set.
    pub grace: Duration,
}

impl FlightState {
    /// A state with the usual limits.
    pub fn new(gateway: Gateway, key: TicketKey) -> Self {
        Self {
            gateway,
            key,
            ticket_lifetime: Duration::from_secs(600),
            handle_lifetime: Duration::from_secs(12 * 3600),
            grace: Duration::from_secs(4),
        }
    }
}

/// The gRPC service.
pub fn service(state: FlightState) -> FlightServiceServer<LakewardFlight> {
    FlightServiceServer::new(LakewardFlight::new(state))
}

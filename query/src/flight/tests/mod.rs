//! The Flight SQL endpoint against a real service over a small lakehouse, asked by a client over a socket.

mod coverage;
mod listings;
mod statements;
mod tickets;

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightInfo, Ticket};
use datafusion::arrow::array::RecordBatch;
use futures::TryStreamExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::{FlightState, TicketKey, serve_flight};
use crate::QueryConfig;
use crate::gateway::fixture::House;

/// A server over the small lakehouse, until dropped.
struct Server {
    house: House,
    channel: Channel,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), tonic::transport::Error>>,
}

fn key() -> TicketKey {
    TicketKey::new(&[9; 32]).unwrap()
}

impl Server {
    async fn open() -> Self {
        Self::with(QueryConfig::default()).await
    }

    async fn with(config: QueryConfig) -> Self {
        let house = House::open(config).await;
        let state = FlightState::new(house.gateway.clone(), key());
        Self::of(house, state).await
    }

    async fn of(house: House, state: FlightState) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            // Dropped with the server's test: that is a stop as well.
            let _ = stopped.await;
        };
        let ended = tokio::spawn(serve_flight(listener, state, shutdown, None));
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { house, channel, stop, ended }
    }

    /// A client with this token, if there is one.
    fn sql(&self, token: Option<&str>) -> FlightSqlServiceClient<Channel> {
        let mut client = FlightSqlServiceClient::new(self.channel.clone());
        if let Some(token) = token {
            client.set_token(token.to_owned());
        }
        client
    }

    fn plain(&self) -> FlightServiceClient<Channel> {
        FlightServiceClient::new(self.channel.clone())
    }

    fn keeper(&self) -> FlightSqlServiceClient<Channel> {
        self.sql(Some(&self.house.token("kim", &["keeper"])))
    }
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

fn ticket(info: &FlightInfo) -> Ticket {
    let [endpoint] = info.endpoint.as_slice() else { panic!("one endpoint was expected: {info:?}") };
    endpoint.ticket.clone().unwrap()
}

/// The rows for the one ticket of an info.
async fn rows(client: &mut FlightSqlServiceClient<Channel>, info: &FlightInfo) -> Vec<RecordBatch> {
    let stream: FlightRecordBatchStream = client.do_get(ticket(info)).await.unwrap();
    stream.try_collect().await.unwrap()
}

/// The status behind a client's error.
fn status(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => panic!("no status: {other}"),
    }
}

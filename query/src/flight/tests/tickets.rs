//! Tickets and handles: whose they are, how long they hold, and that any process takes them.

use std::time::Duration;

use arrow_flight::sql::{Any, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightData, Ticket};
use futures::TryStreamExt;
use prost::Message;
use tonic::{Code, Request, Status};

use super::{Server, key, ticket, with_token};
use crate::QueryConfig;
use crate::flight::{FlightState, TicketKey};
use crate::gateway::fixture::House;

const QUESTION: &str = "SELECT id FROM people";

async fn redeem(server: &Server, request: Request<Ticket>) -> Result<usize, Status> {
    let stream = server.plain().do_get(request).await?.into_inner();
    Ok(stream.try_collect::<Vec<FlightData>>().await?.len())
}

async fn keepers_ticket(server: &Server) -> Ticket {
    ticket(&server.keeper().execute(QUESTION.to_owned(), None).await.unwrap())
}

#[tokio::test]
async fn a_ticket_is_redeemed_by_whom_it_was_made_for() {
    let server = Server::open().await;
    let token = server.house.token("kim", &["keeper"]);
    assert!(redeem(&server, with_token(keepers_ticket(&server).await, &token)).await.unwrap() >= 2);
}

#[tokio::test]
async fn a_ticket_is_of_no_use_to_anyone_else() {
    let server = Server::open().await;
    let ticket = keepers_ticket(&server).await;
    for (person, role) in [("lee", "keeper"), ("kim", "counter"), ("kim", "gardener")] {
        let token = server.house.token(person, &[role]);
        let refused = redeem(&server, with_token(ticket.clone(), &token)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{person} {role}");
    }
    assert_eq!(redeem(&server, Request::new(ticket)).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_ticket_holds_for_its_purpose_alone() {
    let server = Server::open().await;
    let token = server.house.token("kim", &["keeper", "counter"]);
    let mut client = server.sql(Some(&token));
    client.set_header(crate::flight::PURPOSE, "care");
    let ticket = ticket(&client.execute(QUESTION.to_owned(), None).await.unwrap());
    let mut other = with_token(ticket.clone(), &token);
    other.metadata_mut().insert(crate::flight::PURPOSE, "bi".parse().unwrap());
    assert_eq!(redeem(&server, other).await.unwrap_err().code(), Code::PermissionDenied);
    assert!(redeem(&server, with_token(ticket, &token)).await.is_ok());
}

#[tokio::test]
async fn a_ticket_that_was_changed_is_refused() {
    let server = Server::open().await;
    let token = server.house.token("kim", &["keeper"]);
    let any = Any::decode(keepers_ticket(&server).await.ticket).unwrap();
    let mut query = any.unpack::<TicketStatementQuery>().unwrap().unwrap();
    let changed = String::from_utf8_lossy(&query.statement_handle[33..]).replace("SELECT id", "SELECT name");
    query.statement_handle = [&query.statement_handle[..33], changed.as_bytes()].concat().into();
    let forged = Ticket::new(query.as_any().encode_to_vec());
    let status = redeem(&server, with_token(forged, &token)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("not made by this server"), "{}", status.message());
}

#[tokio::test]
async fn a_ticket_expires() {
    let house = House::open(QueryConfig::default()).await;
    let state = FlightState { ticket_lifetime: Duration::ZERO, ..FlightState::new(house.gateway.clone(), key()) };
    let server = Server::of(house, state).await;
    let token = server.house.token("kim", &["keeper"]);
    let status = redeem(&server, with_token(keepers_ticket(&server).await, &token)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("expired"), "{}", status.message());
}

#[tokio::test]
async fn any_process_with_the_key_redeems_a_ticket_and_no_other() {
    let server = Server::open().await;
    let token = server.house.token("kim", &["keeper"]);
    let ticket = keepers_ticket(&server).await;
    let gateway = server.house.gateway.clone();
    let Server { house, stop, ended, channel } = server;
    drop((channel, stop));
    ended.await.unwrap().unwrap();
    let restarted = Server::of(house, FlightState::new(gateway.clone(), key())).await;
    assert!(redeem(&restarted, with_token(ticket.clone(), &token)).await.is_ok());
    let other_key = TicketKey::new(&[8; 32]).unwrap();
    let Server { house, .. } = restarted;
    let foreign = Server::of(house, FlightState::new(gateway, other_key)).await;
    assert_eq!(redeem(&foreign, with_token(ticket, &token)).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_command_is_no_ticket() {
    let server = Server::open().await;
    let token = server.house.token("kim", &["keeper"]);
    let bare = Ticket::new(arrow_flight::sql::CommandGetCatalogs {}.as_any().encode_to_vec());
    assert_eq!(redeem(&server, with_token(bare, &token)).await.unwrap_err().code(), Code::InvalidArgument);
}

//! Every call and every command has a denial test.

use std::collections::BTreeSet;

use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, Any, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas,
    CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes,
    CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate,
    CommandStatementIngest, CommandStatementQuery, CommandStatementSubstraitPlan, CommandStatementUpdate,
    ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{Action, Criteria, Empty, FlightData, FlightDescriptor, HandshakeRequest, Ticket};
use prost::Message;
use tonic::{Code, Status};

use super::{Server, with_token};
use crate::flight::actions;

/// Every command of Flight SQL that the library knows, whether it is served or refused.
fn commands() -> Vec<Any> {
    vec![
        CommandStatementQuery { query: "SELECT 1".to_owned(), transaction_id: None }.as_any(),
        CommandPreparedStatementQuery::default().as_any(),
        CommandStatementUpdate { query: "DELETE FROM people".to_owned(), transaction_id: None }.as_any(),
        CommandPreparedStatementUpdate::default().as_any(),
        CommandStatementIngest::default().as_any(),
        CommandStatementSubstraitPlan::default().as_any(),
        CommandGetCatalogs {}.as_any(),
        CommandGetDbSchemas::default().as_any(),
        CommandGetTables::default().as_any(),
        CommandGetTableTypes {}.as_any(),
        CommandGetPrimaryKeys::default().as_any(),
        CommandGetExportedKeys::default().as_any(),
        CommandGetImportedKeys::default().as_any(),
        CommandGetCrossReference::default().as_any(),
        CommandGetSqlInfo::default().as_any(),
        CommandGetXdbcTypeInfo::default().as_any(),
        TicketStatementQuery::default().as_any(),
    ]
}

/// Makes a call of every kind with this token; gives the name of each and what became of it.
async fn call_everything(server: &Server, token: &str) -> Vec<(String, Result<(), Status>)> {
    let mut client = server.plain();
    let mut ended = Vec::new();
    for command in commands() {
        let name = command.type_url.rsplit('.').next().unwrap().to_owned();
        let bytes = command.encode_to_vec();
        let descriptor = FlightDescriptor::new_cmd(bytes.clone());
        let info = client.get_flight_info(with_token(descriptor.clone(), token)).await;
        ended.push((format!("GetFlightInfo {name}"), info.map(drop)));
        let schema = client.get_schema(with_token(descriptor.clone(), token)).await;
        ended.push((format!("GetSchema {name}"), schema.map(drop)));
        let poll = client.poll_flight_info(with_token(descriptor.clone(), token)).await;
        ended.push((format!("PollFlightInfo {name}"), poll.map(drop)));
        let rows = client.do_get(with_token(Ticket::new(bytes), token)).await;
        ended.push((format!("DoGet {name}"), rows.map(drop)));
        let data = FlightData { flight_descriptor: Some(descriptor), ..FlightData::default() };
        let put = client.do_put(with_token(futures::stream::iter([data.clone()]), token)).await;
        ended.push((format!("DoPut {name}"), put.map(drop)));
        let exchange = client.do_exchange(with_token(futures::stream::iter([data]), token)).await;
        ended.push((format!("DoExchange {name}"), exchange.map(drop)));
    }
    let body = ActionCreatePreparedStatementRequest { query: "SELECT 1".to_owned(), transaction_id: None };
    for action in actions::ALL {
        let name = action.described().r#type;
        let action = Action::new(name.clone(), body.as_any().encode_to_vec());
        ended.push((format!("DoAction {name}"), client.do_action(with_token(action, token)).await.map(drop)));
    }
    ended.push(("ListActions".to_owned(), client.list_actions(with_token(Empty {}, token)).await.map(drop)));
    ended.push(("ListFlights".to_owned(), client.list_flights(with_token(Criteria::default(), token)).await.map(drop)));
    let hello = futures::stream::iter([HandshakeRequest::default()]);
    ended.push(("Handshake".to_owned(), client.handshake(with_token(hello, token)).await.map(drop)));
    ended
}

#[tokio::test]
async fn bad_credentials_are_refused_in_every_call_without_a_word() {
    let server = Server::open().await;
    for (bad, token) in server.house.bad_tokens() {
        for (name, outcome) in call_everything(&server, &token).await {
            let status = outcome.expect_err(&name);
            let told = (status.code(), status.message());
            assert_eq!(told, (Code::Unauthenticated, "unauthenticated"), "{name}: {bad}");
        }
    }
}

/// The methods of the service as `Flight.proto` has them. The trait demands all of them, so a method that is new in
/// the library does not compile before it is written, and this fails before it is tested.
#[tokio::test]
async fn every_method_of_the_service_has_a_denial_test() {
    let server = Server::open().await;
    let tested: BTreeSet<String> = call_everything(&server, "nonsense")
        .await
        .into_iter()
        .map(|(name, _)| name.split(' ').next().unwrap().to_owned())
        .collect();
    let source = include_str!("../service.rs");
    let written: BTreeSet<String> = source
        .split("impl FlightService for")
        .nth(1)
        .unwrap()
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("async fn "))
        .map(|line| line.split('(').next().unwrap().split('_').map(capitalised).collect())
        .collect();
    assert_eq!(written, tested);
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

#[tokio::test]
async fn what_changes_something_is_refused_by_kind() {
    let server = Server::open().await;
    let token = server.house.token("kim", &["keeper"]);
    let ended = call_everything(&server, &token).await;
    let code = |call: &str| {
        let (_, outcome) = ended.iter().find(|(name, _)| name == call).unwrap();
        let status = outcome.clone().expect_err(call);
        status.metadata().get(super::super::CODE).unwrap().to_str().unwrap().to_owned()
    };
    for call in [
        "GetFlightInfo CommandStatementUpdate",
        "GetFlightInfo CommandPreparedStatementUpdate",
        "GetFlightInfo CommandStatementIngest",
        "DoPut CommandStatementUpdate",
        "DoPut CommandPreparedStatementUpdate",
        "DoPut CommandStatementIngest",
    ] {
        assert_eq!(code(call), "refused.dml", "{call}");
    }
    for call in
        ["DoAction BeginTransaction", "DoAction EndTransaction", "DoAction BeginSavepoint", "DoAction EndSavepoint"]
    {
        assert_eq!(code(call), "refused.transaction", "{call}");
    }
    assert_eq!(code("DoPut CommandStatementSubstraitPlan"), "refused.statement");
}

#[tokio::test]
async fn a_table_one_may_not_see_is_as_unknown_as_one_that_is_not() {
    let server = Server::open().await;
    let mut client = server.sql(None);
    let mut told = async |table: &str| {
        let refused = client.execute(format!("SELECT * FROM curated.{table}"), None).await.unwrap_err();
        super::status(refused)
    };
    let (hidden, absent) = (told("people").await, told("nobody").await);
    assert_eq!((hidden.code(), absent.code()), (Code::NotFound, Code::NotFound));
    assert_eq!(hidden.message().replace("people", "nobody"), absent.message());
}

#[tokio::test]
async fn a_message_that_is_no_command_is_refused() {
    let server = Server::open().await;
    let token = server.house.token("kim", &["keeper"]);
    let mut client = server.plain();
    for bytes in [&b""[..], b"\xff\xff", b"SELECT 1"] {
        let descriptor = FlightDescriptor::new_cmd(bytes.to_vec());
        let status = client.get_flight_info(with_token(descriptor, &token)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{bytes:?}");
        let status = client.do_get(with_token(Ticket::new(bytes.to_vec()), &token)).await.map(drop).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{bytes:?}");
    }
    let status = client.do_action(with_token(Action::new("Nothing", Vec::new()), &token)).await.map(drop).unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

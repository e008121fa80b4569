//! Statements, prepared and not.

use std::sync::Arc;

use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, CommandPreparedStatementQuery,
    ProstMessageExt,
};
use arrow_flight::{Action, FlightData, FlightDescriptor};
use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tonic::Code;

use super::{Server, rows, status, ticket, with_token};
use crate::flight::{PURPOSE, ROW_LIMIT, TRUNCATED};
use crate::{ColumnLevel, QueryConfig};

fn texts(batches: &[RecordBatch], column: usize) -> Vec<Option<String>> {
    let texts = |batch: &RecordBatch| -> Vec<Option<String>> {
        batch.column(column).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    };
    batches.iter().flat_map(texts).collect()
}

#[tokio::test]
async fn the_info_tells_the_schema_of_the_rows() {
    let server = Server::open().await;
    let token = server.house.token("cho", &["counter"]);
    let mut client = server.sql(Some(&token));
    let sql = "SELECT id, name, born, visits, count(*) OVER () AS n FROM people";
    let info = client.execute(sql.to_owned(), None).await.unwrap();
    let told = info.clone().try_decode_schema().unwrap();
    let batches = rows(&mut client, &info).await;
    assert_eq!(&told, batches[0].schema().as_ref());
    let types: Vec<&DataType> = told.fields().iter().map(|field| field.data_type()).collect();
    assert_eq!(types, [&DataType::Utf8, &DataType::Utf8, &DataType::Date32, &DataType::Int64, &DataType::Int64]);
    let levels: Vec<&str> =
        told.fields()[..4].iter().map(|field| field.metadata()[ColumnLevel::METADATA_KEY].as_str()).collect();
    assert_eq!(levels, ["pseudonym", "hidden", "generalised", "clear"]);
}

#[tokio::test]
async fn an_answer_without_rows_has_a_schema() {
    let server = Server::open().await;
    let token = server.house.token("kim", &["keeper"]);
    let info = server.keeper().execute("SELECT id FROM people WHERE false".to_owned(), None).await.unwrap();
    let stream = server.plain().do_get(with_token(ticket(&info), &token)).await.unwrap().into_inner();
    let frames: Vec<FlightData> = stream.try_collect().await.unwrap();
    assert!(!frames.is_empty());
}

#[tokio::test]
async fn the_purpose_is_chosen_by_header() {
    let server = Server::open().await;
    let token = server.house.token("kim", &["keeper", "counter"]);
    let sql = "SELECT name FROM people WHERE visits = 3";
    for (purpose, name) in [("care", Some("Ada".to_owned())), ("bi", None)] {
        let mut client = server.sql(Some(&token));
        client.set_header(PURPOSE, purpose);
        let info = client.execute(sql.to_owned(), None).await.unwrap();
        assert_eq!(texts(&rows(&mut client, &info).await, 0), [name], "{purpose}");
    }
    let mut client = server.sql(Some(&token));
    assert_eq!(status(client.execute(sql.to_owned(), None).await.unwrap_err()).code(), Code::InvalidArgument);
    client.set_header(PURPOSE, "billing");
    assert_eq!(status(client.execute(sql.to_owned(), None).await.unwrap_err()).code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_handshake_turns_a_password_into_a_bearer_token() {
    let server = Server::open().await;
    let token = server.house.token("kim", &["keeper"]);
    let mut client = server.sql(None);
    let payload = client.handshake("kim", &token).await.unwrap();
    assert_eq!(payload, token.as_bytes());
    assert_eq!(client.token(), Some(&token));
    let info = client.execute("SELECT id FROM people".to_owned(), None).await.unwrap();
    assert_eq!(rows(&mut client, &info).await.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    assert!(server.sql(None).handshake("kim", "nonsense").await.is_err());
}

#[tokio::test]
async fn a_handshake_tells_the_token_in_header_and_trailer() {
    let server = Server::open().await;
    let token = server.house.token("kim", &["keeper"]);
    let hello = futures::stream::iter([arrow_flight::HandshakeRequest::default()]);
    let response = server.plain().handshake(with_token(hello, &token)).await.unwrap();
    let expected = format!("Bearer {token}");
    assert_eq!(response.metadata().get("authorization").unwrap(), expected.as_str());
    let mut messages = response.into_inner();
    assert!(messages.message().await.unwrap().is_some());
    assert!(messages.message().await.unwrap().is_none());
    assert_eq!(messages.trailers().await.unwrap().unwrap().get("authorization").unwrap(), expected.as_str());
}

#[tokio::test]
async fn a_prepared_statement_takes_a_row_of_parameters() {
    let server = Server::open().await;
    let mut client = server.keeper();
    let sql = "SELECT name, visits FROM people WHERE id = ? AND visits >= ?";
    let mut prepared = client.prepare(sql.to_owned(), None).await.unwrap();
    let wanted: Vec<DataType> =
        prepared.parameter_schema().unwrap().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(wanted, [DataType::Utf8, DataType::Int64]);
    assert_eq!(prepared.dataset_schema().unwrap().field(0).name(), "name");
    for (id, name, visits) in [("a", "Ada", 3), ("b", "Bo", 0)] {
        let row = RecordBatch::try_from_iter([
            ("$1", Arc::new(StringArray::from(vec![id])) as _),
            ("$2", Arc::new(Int64Array::from(vec![0])) as _),
        ]);
        prepared.set_parameters(row.unwrap()).unwrap();
        let info = prepared.execute().await.unwrap();
        let batches = rows(&mut client, &info).await;
        assert_eq!(texts(&batches, 0), [Some(name.to_owned())]);
        assert_eq!(batches[0].column(1).as_primitive::<Int64Type>().value(0), visits);
    }
    prepared.close().await.unwrap();
}

#[tokio::test]
async fn a_statement_with_parameters_must_be_prepared() {
    let server = Server::open().await;
    let refused = server.keeper().execute("SELECT id FROM people WHERE id = $1".to_owned(), None).await.unwrap_err();
    assert_eq!(status(refused).code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_handle_is_of_no_use_to_anyone_else() {
    let server = Server::open().await;
    let prepare =
        ActionCreatePreparedStatementRequest { query: "SELECT id FROM people".to_owned(), transaction_id: None };
    let prepare = Action::new("CreatePreparedStatement", prepare.as_any().encode_to_vec());
    let token = server.house.token("kim", &["keeper"]);
    let mut results = server.plain().do_action(with_token(prepare, &token)).await.unwrap().into_inner();
    let body = Any::decode(results.message().await.unwrap().unwrap().body).unwrap();
    let prepared = body.unpack::<ActionCreatePreparedStatementResult>().unwrap().unwrap();
    let query = CommandPreparedStatementQuery { prepared_statement_handle: prepared.prepared_statement_handle };
    let descriptor = FlightDescriptor::new_cmd(query.as_any().encode_to_vec());
    let use_as = |person: &'static str| {
        let request = with_token(descriptor.clone(), &server.house.token(person, &["keeper"]));
        let mut client = server.plain();
        async move { client.get_flight_info(request).await.map(drop).map_err(|status| status.code()) }
    };
    assert_eq!(use_as("kim").await, Ok(()));
    assert_eq!(use_as("lee").await, Err(Code::PermissionDenied));
}

#[tokio::test]
async fn rows_beyond_the_limit_are_cut_off_and_told_in_the_trailer() {
    let server = Server::with(QueryConfig { row_limit: 2, ..QueryConfig::default() }).await;
    let token = server.house.token("kim", &["keeper"]);
    for (sql, cut) in [("SELECT id FROM people", true), ("SELECT id FROM people WHERE id < 'c'", false)] {
        let info = server.keeper().execute(sql.to_owned(), None).await.unwrap();
        let response = server.plain().do_get(with_token(ticket(&info), &token)).await.unwrap();
        assert_eq!(response.metadata().get(ROW_LIMIT).unwrap(), "2");
        let mut frames = response.into_inner();
        while frames.next().await.transpose().unwrap().is_some() {}
        let trailers = frames.trailers().await.unwrap().unwrap();
        assert_eq!(trailers.get(TRUNCATED).is_some(), cut, "{sql}");
    }
}

#[tokio::test]
async fn a_failure_while_rows_are_sent_is_told_without_the_value() {
    let server = Server::open().await;
    let token = server.house.token("kim", &["keeper"]);
    let info = server.keeper().execute("SELECT CAST(name AS INT) FROM people".to_owned(), None).await.unwrap();
    let stream = server.plain().do_get(with_token(ticket(&info), &token)).await.unwrap().into_inner();
    let status = stream.try_collect::<Vec<FlightData>>().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("evaluation: "), "{}", status.message());
    assert!(!status.message().contains("Ada") && !status.message().contains("Bo"), "{}", status.message());
}

#[tokio::test]
async fn statements_are_refused_by_kind() {
    let server = Server::open().await;
    let mut client = server.keeper();
    let refused = status(client.execute("DROP TABLE people".to_owned(), None).await.unwrap_err());
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("refused.ddl: "), "{}", refused.message());
    let refused = status(client.execute_update("CREATE TABLE t (a INT)".to_owned(), None).await.unwrap_err());
    assert!(refused.message().starts_with("refused.ddl: "), "{}", refused.message());
    let refused = status(client.execute_update("SELECT 1".to_owned(), None).await.unwrap_err());
    assert!(refused.message().starts_with("refused.statement: "), "{}", refused.message());
    let refused = client.prepare("SELEC 1".to_owned(), None).await.map(drop).unwrap_err();
    assert!(status(refused).message().starts_with("syntax: "));
}

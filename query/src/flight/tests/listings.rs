//! What there is, for whom.

use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo, SqlInfo,
};
use arrow_flight::{FlightInfo, IpcMessage};
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Schema;

use super::{Server, rows};
use crate::ColumnLevel;

fn texts(batches: &[RecordBatch], column: &str) -> Vec<String> {
    let texts = |batch: &RecordBatch| -> Vec<String> {
        let column = batch.column_by_name(column).unwrap();
        column.as_string::<i32>().iter().flatten().map(str::to_owned).collect()
    };
    batches.iter().flat_map(texts).collect()
}

fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

#[tokio::test]
async fn catalogs_schemas_and_tables_are_listed() {
    let server = Server::open().await;
    let mut client = server.keeper();
    let info = client.get_catalogs().await.unwrap();
    assert_eq!(texts(&rows(&mut client, &info).await, "catalog_name"), ["lakeward"]);
    let info = client.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap();
    assert_eq!(texts(&rows(&mut client, &info).await, "db_schema_name"), ["curated"]);
    let info = client.get_tables(CommandGetTables::default()).await.unwrap();
    assert_eq!(texts(&rows(&mut client, &info).await, "table_name"), ["people"]);
    let info = client.get_table_types().await.unwrap();
    assert_eq!(texts(&rows(&mut client, &info).await, "table_type"), ["TABLE"]);
}

#[tokio::test]
async fn who_can_see_no_table_is_listed_none() {
    let server = Server::open().await;
    let mut client = server.sql(None);
    let info = client.get_tables(CommandGetTables::default()).await.unwrap();
    assert_eq!(count(&rows(&mut client, &info).await), 0);
    let info = client.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap();
    assert_eq!(count(&rows(&mut client, &info).await), 0);
    let key = CommandGetPrimaryKeys { table: "people".to_owned(), ..CommandGetPrimaryKeys::default() };
    let info = client.get_primary_keys(key).await.unwrap();
    assert_eq!(count(&rows(&mut client, &info).await), 0);
}

#[tokio::test]
async fn the_schema_of_a_table_is_that_of_its_rows() {
    let server = Server::open().await;
    let token = server.house.token("cho", &["counter"]);
    let mut client = server.sql(Some(&token));
    let command = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
    let info = client.get_tables(command).await.unwrap();
    let listed = rows(&mut client, &info).await;
    let schema = listed[0].column_by_name("table_schema").unwrap().as_binary::<i32>().value(0).to_vec();
    let listed = Schema::try_from(IpcMessage(schema.into())).unwrap();
    let info: FlightInfo = client.execute("SELECT * FROM people".to_owned(), None).await.unwrap();
    let answered = info.try_decode_schema().unwrap();
    let shape = |schema: &Schema| -> Vec<_> {
        schema
            .fields()
            .iter()
            .map(|field| {
                let level = field.metadata().get(ColumnLevel::METADATA_KEY).cloned();
                (field.name().clone(), field.data_type().clone(), field.is_nullable(), level)
            })
            .collect()
    };
    assert_eq!(shape(&listed), shape(&answered));
}

#[tokio::test]
async fn keys_are_those_of_the_contract() {
    let server = Server::open().await;
    let mut client = server.keeper();
    let key = CommandGetPrimaryKeys { table: "people".to_owned(), ..CommandGetPrimaryKeys::default() };
    let info = client.get_primary_keys(key).await.unwrap();
    assert_eq!(texts(&rows(&mut client, &info).await, "column_name"), ["id"]);
    let table = || "people".to_owned();
    let exported = CommandGetExportedKeys { table: table(), ..Default::default() };
    let info = client.get_exported_keys(exported).await.unwrap();
    assert_eq!(count(&rows(&mut client, &info).await), 0);
    let imported = CommandGetImportedKeys { table: table(), ..Default::default() };
    let info = client.get_imported_keys(imported).await.unwrap();
    assert_eq!(count(&rows(&mut client, &info).await), 0);
    let info = client.get_cross_reference(CommandGetCrossReference::default()).await.unwrap();
    assert_eq!(count(&rows(&mut client, &info).await), 0);
}

#[tokio::test]
async fn the_server_tells_what_it_is_and_which_types_it_has() {
    let server = Server::open().await;
    let mut client = server.sql(None);
    let info = client.get_sql_info(vec![SqlInfo::FlightSqlServerName, SqlInfo::FlightSqlServerReadOnly]).await.unwrap();
    assert_eq!(count(&rows(&mut client, &info).await), 2);
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo::default()).await.unwrap();
    assert!(texts(&rows(&mut client, &info).await, "type_name").contains(&"timestamp with time zone".to_owned()));
}

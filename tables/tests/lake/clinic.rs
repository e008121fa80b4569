//! A small lakehouse to test with: one topic, and a table of each mode.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::prelude::SessionContext;
use lakeward_tables::{Lake, Lakehouse, Progress, StorageConfig, TableName, raw_schema};

pub(crate) const RAW: &str = "apiVersion: v3.0.2
kind: DataContract
id: shop.sale
version: 1.0.0
status: active
description: {purpose: Sales}
customProperties:
  - {property: topic, value: shop.sale}
  - {property: format, value: json}
  - {property: key, value: required}
schema:
  - name: raw.shop_sale
    properties:
      - {name: id, logicalType: string, required: true}
      - name: lines
        logicalType: array
        items: {logicalType: object, properties: [{name: amount, logicalType: number, physicalType: \"decimal(10,2)\"}]}
";

pub(crate) const SALES: &str = "apiVersion: v3.0.2
kind: DataContract
id: curated.sales
version: 1.0.0
status: active
schema:
  - name: curated.sales
    customProperties:
      - {property: from, value: shop.sale}
      - {property: mode, value: append}
      - property: scopes
        value: {own: \"buyer = attr('buyer')\"}
    properties:
      - {name: n, logicalType: integer, tags: [key.event], customProperties: [{property: prunable, value: true}]}
      - {name: buyer, logicalType: string, tags: [name]}
";

pub(crate) const BUYERS: &str = "apiVersion: v3.0.2
kind: DataContract
id: curated.buyers
version: 1.0.0
status: active
schema:
  - name: curated.buyers
    customProperties:
      - {property: from, value: shop.sale}
      - {property: mode, value: upsert}
      - {property: tombstone, value: delete}
      - {property: subject, value: buyer_id}
    properties:
      - {name: buyer_id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1, tags: [key.subject]}
      - {name: visits, logicalType: integer, tags: [operational]}
    quality:
      - {name: some_visits, type: sql, query: visits >= 0}
";

/// A corrected table whose events have several rows.
pub(crate) const RESULTS: &str = "apiVersion: v3.0.2
kind: DataContract
id: curated.results
version: 1.0.0
status: active
schema:
  - name: curated.results
    customProperties:
      - {property: from, value: shop.sale}
      - {property: mode, value: corrected}
      - {property: correction, value: \"payload['id'] = 'corrected'\"}
      - {property: removed, value: \"payload['id'] = 'removed'\"}
      - {property: replaces, value: [result_id]}
      - {property: keepMarkers, value: 30 days}
    properties:
      - {name: result_id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1, tags: [key.event]}
      - {name: component, logicalType: integer, required: true, primaryKey: true, primaryKeyPosition: 2, tags: [key.event]}
      - {name: value, logicalType: integer, tags: [clinical]}
";

/// An append table that takes no event twice.
pub(crate) const MOVES: &str = "apiVersion: v3.0.2
kind: DataContract
id: curated.moves
version: 1.0.0
status: active
schema:
  - name: curated.moves
    customProperties:
      - {property: from, value: shop.sale}
      - {property: mode, value: append}
      - {property: deduplicate, value: {key: [move_id], window: 1 hour}}
    properties:
      - {name: move_id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1, tags: [key.event]}
      - {name: value, logicalType: integer, tags: [operational]}
";

/// Besides [`write_sql`]: the corrected table and the one that takes no event twice.
pub(crate) fn write_events(dir: &Path) {
    for (file, text) in [
        ("contracts/curated/results.odcs.yaml", RESULTS),
        ("contracts/curated/moves.odcs.yaml", MOVES),
        ("curated/results.sql", "SELECT _lw_row, payload['id'] AS result_id, 0 AS component, 1 AS value FROM event"),
        ("curated/moves.sql", "SELECT _lw_row, payload['id'] AS move_id, 1 AS value FROM event"),
    ] {
        fs::write(dir.join(file), text).unwrap();
    }
}

/// Writes the folder `sql/` with the three contracts.
pub(crate) fn write_sql(dir: &Path) {
    for (file, text) in [
        ("contracts/raw/shop.sale.odcs.yaml", RAW),
        ("contracts/curated/sales.odcs.yaml", SALES),
        ("contracts/curated/buyers.odcs.yaml", BUYERS),
        ("curated/sales.sql", "SELECT _lw_row, 1 AS n, 'x' AS buyer FROM event"),
        ("curated/buyers.sql", "SELECT _lw_row, payload['id'] AS buyer_id, 1 AS visits FROM event"),
        ("reference/codes.csv", "system,code\nhttp://loinc.org,1234-5\n"),
    ] {
        let file = dir.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
}

/// A lake in a folder; opened twice on the same folder it is two processes.
pub(crate) async fn lake(dir: &Path) -> Lake {
    let sql = dir.join("sql");
    write_sql(&sql);
    write_events(&sql);
    let lakehouse = Arc::new(Lakehouse::load(&sql).unwrap());
    Lake::open(&StorageConfig::local(&dir.join("lake")).unwrap(), lakehouse).await.unwrap()
}

/// The lake of a process that starts with another contract of one table.
pub(crate) async fn lake_with(dir: &Path, table: &str, contract: &str) -> Lake {
    let sql = dir.join("sql");
    write_sql(&sql);
    write_events(&sql);
    fs::write(sql.join(format!("contracts/curated/{table}.odcs.yaml")), contract).unwrap();
    let lakehouse = Arc::new(Lakehouse::load(&sql).unwrap());
    Lake::open(&StorageConfig::local(&dir.join("lake")).unwrap(), lakehouse).await.unwrap()
}

pub(crate) fn sales() -> TableName {
    TableName::curated("sales")
}

pub(crate) fn buyers() -> TableName {
    TableName::curated("buyers")
}

pub(crate) fn results() -> TableName {
    TableName::curated("results")
}

pub(crate) fn moves() -> TableName {
    TableName::curated("moves")
}

pub(crate) fn step(partition: i32, from: i64, next: i64) -> Progress {
    Progress { source: "main".into(), topic: "shop.sale".into(), partition, from, next }
}

pub(crate) fn sale_rows(numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
    let numbers: Vec<i64> = numbers.into_iter().collect();
    let buyers: StringArray = numbers.iter().map(|n| Some(format!("buyer {n}"))).collect();
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("buyer", DataType::Utf8, true)]);
    RecordBatch::try_new(schema.into(), vec![Arc::new(Int64Array::from(numbers)), Arc::new(buyers)]).unwrap()
}

/// One event of an upsert table.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) buyer: String,
    /// None deletes.
    pub(crate) visits: Option<i64>,
    pub(crate) version: Option<i64>,
    pub(crate) time: i64,
    pub(crate) offset: i64,
}

pub(crate) fn visit_rows(visits: &[Visit]) -> RecordBatch {
    let column = |name: &str, array: ArrayRef| (name.to_string(), array, true);
    RecordBatch::try_from_iter_with_nullable([
        column("buyer_id", Arc::new(visits.iter().map(|v| Some(v.buyer.as_str())).collect::<StringArray>())),
        column("visits", Arc::new(visits.iter().map(|v| v.visits).collect::<Int64Array>())),
        column("_lw_version", Arc::new(visits.iter().map(|v| v.version).collect::<Int64Array>())),
        column("_lw_time", Arc::new(visits.iter().map(|v| Some(v.time)).collect::<Int64Array>())),
        column("_lw_offset", Arc::new(visits.iter().map(|v| Some(v.offset)).collect::<Int64Array>())),
        column("_lw_deleted", Arc::new(visits.iter().map(|v| Some(v.visits.is_none())).collect::<BooleanArray>())),
    ])
    .unwrap()
}

/// Raw rows of one partition with these offsets.
pub(crate) fn raw_rows(partition: i32, offsets: impl IntoIterator<Item = i64>) -> RecordBatch {
    let offsets: Vec<i64> = offsets.into_iter().collect();
    let rows = offsets.len();
    let schema = raw_schema();
    let headers: ListArray =
        new_null_array(schema.field_with_name("headers").unwrap().data_type(), rows).as_list().clone();
    let time = TimestampMicrosecondArray::from(vec![1_700_000_000_000_000; rows]).with_timezone("UTC");
    let payloads: Vec<Vec<u8>> = offsets.iter().map(|o| format!("{{\"id\":\"{o}\"}}").into_bytes()).collect();
    RecordBatch::try_new(
        schema,
        vec![
            Arc::new(StringArray::from(vec!["main"; rows])),
            Arc::new(StringArray::from(vec!["shop.sale"; rows])),
            Arc::new(Int32Array::from(vec![partition; rows])),
            Arc::new(Int64Array::from(offsets)),
            Arc::new(time.clone()),
            Arc::new(BinaryArray::from_iter_values(payloads.iter().map(|_| b"key"))),
            Arc::new(headers),
            Arc::new(BinaryArray::from_iter_values(&payloads)),
            Arc::new(time),
        ],
    )
    .unwrap()
}

/// The answer of a statement over the newest snapshot of one table, called `t`.
pub(crate) async fn ask(lake: &Lake, table: &TableName, sql: &str) -> Vec<RecordBatch> {
    let session = SessionContext::new();
    let snapshot = lake.snapshot(table, Duration::ZERO).await.unwrap();
    session.register_table("t", snapshot.provider()).unwrap();
    session.sql(sql).await.unwrap().collect().await.unwrap()
}

/// One number.
pub(crate) async fn number(lake: &Lake, table: &TableName, sql: &str) -> i64 {
    let batches = ask(lake, table, sql).await;
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

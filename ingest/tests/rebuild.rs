//! A curated table made again from raw: with what its SELECT says today, without what stands in the dead letters, and not at
//! all where rows would be lost. And dead letters that pass by now: they get their rows, once, and leave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    AsArray, BinaryArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use lakeward_ingest::{Rebuilt, Replayed, rebuild, replay};
use lakeward_tables::{
    Change, Lake, Lakehouse, Progress, StorageConfig, TableName, Underway, dead_letter_schema, raw_schema,
};

const RAW: &str = "apiVersion: v3.0.2
kind: DataContract
id: shop.sale
version: 1.0.0
status: active
description: {purpose: Sales}
customProperties:
  - {property: topic, value: shop.sale}
  - {property: format, value: json}
schema:
  - name: raw.shop_sale
    properties:
      - {name: id, logicalType: integer}
      - {name: amount, logicalType: integer}
";

const SALES: &str = "apiVersion: v3.0.2
kind: DataContract
id: curated.sales
version: 1.0.0
status: active
schema:
  - name: curated.sales
    customProperties:
      - {property: from, value: shop.sale}
      - {property: mode, value: append}
    properties:
      - {name: id, logicalType: integer, required: true, tags: [operational]}
      - {name: amount, logicalType: integer, tags: [operational]}
";

async fn lake(dir: &Path, select: &str) -> Lake {
    let sql = dir.join("sql");
    for (file, text) in [
        ("contracts/raw/shop.sale.odcs.yaml", RAW),
        ("contracts/curated/sales.odcs.yaml", SALES),
        ("curated/sales.sql", select),
    ] {
        let file = sql.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let lakehouse = Arc::new(Lakehouse::load(&sql).unwrap());
    Lake::open(&StorageConfig::local(&dir.join("lake")).unwrap(), lakehouse).await.unwrap()
}

fn raw(offsets: std::ops::Range<i64>) -> RecordBatch {
    let offsets: Vec<i64> = offsets.collect();
    let (rows, schema) = (offsets.len(), raw_schema());
    let headers: ListArray =
        new_null_array(schema.field_with_name("headers").unwrap().data_type(), rows).as_list().clone();
    let time = TimestampMicrosecondArray::from(vec![1_700_000_000_000_000; rows]).with_timezone("UTC");
    // Every tenth has no amount.
    let payload =
        |n: &i64| if n % 10 == 9 { format!("{{\"id\":{n}}}") } else { format!("{{\"id\":{n},\"amount\":{n}}}") };
    let payloads: Vec<String> = offsets.iter().map(payload).collect();
    let column = |name: &str| -> arrow::array::ArrayRef {
        match name {
            "source" => Arc::new(StringArray::from(vec!["main"; rows])),
            "topic" => Arc::new(StringArray::from(vec!["shop.sale"; rows])),
            "partition" => Arc::new(Int32Array::from(vec![0; rows])),
            "offset" => Arc::new(Int64Array::from(offsets.clone())),
            "key" => Arc::new(BinaryArray::from_iter_values(payloads.iter().map(|_| b"key"))),
            "headers" => Arc::new(headers.clone()),
            "payload" => Arc::new(BinaryArray::from_iter_values(payloads.iter().map(String::as_bytes))),
            _ => Arc::new(time.clone()),
        }
    };
    let columns = schema.fields().iter().map(|field| column(field.name())).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn step(next: i64) -> Vec<Progress> {
    vec![Progress { source: "main".into(), topic: "shop.sale".into(), partition: 0, from: 0, next }]
}

/// A raw table with forty events, of which 7 is a dead letter, and a curated one that ingest has filled with `id` alone.
async fn fill(lake: &Lake) {
    let (table, dead) = (TableName::raw("shop_sale"), TableName::raw("shop_sale__dead_letter"));
    lake.commit(&table, Change::Append { rows: vec![raw(0..40)], progress: step(40) }).await.unwrap();
    let mut letter = raw(7..8).columns().to_vec();
    letter.push(Arc::new(StringArray::from(vec!["quality:x"])));
    let letter = RecordBatch::try_new(dead_letter_schema(), letter).unwrap();
    lake.commit(&dead, Change::Append { rows: vec![letter], progress: step(40) }).await.unwrap();
    let ids: Vec<i64> = (0..40).filter(|id| *id != 7).collect();
    let nothing = Int64Array::new_null(ids.len());
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(ids)) as _, true),
        ("amount", Arc::new(nothing) as _, true),
    ]);
    lake.commit(&sales(), Change::Append { rows: vec![rows.unwrap()], progress: step(40) }).await.unwrap();
}

fn sales() -> TableName {
    TableName::curated("sales")
}

/// Three dead letters of another day, of which one has no amount.
async fn dead(lake: &Lake) {
    let table = TableName::raw("shop_sale__dead_letter");
    let rows = raw(7..10);
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec!["quality:x"; 3])));
    let letters = RecordBatch::try_new(dead_letter_schema(), columns).unwrap();
    lake.commit(&table, Change::Append { rows: vec![letters], progress: step(40) }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_pass_get_their_rows_once_and_leave() {
    let dir = tempfile::tempdir().unwrap();
    let lake =
        lake(dir.path(), "SELECT _lw_row, payload['amount'] AS id, payload['amount'] AS amount FROM event").await;
    dead(&lake).await;
    let topic = lake.lakehouse().topics["shop.sale"].clone();
    let replayed = replay(&lake, &topic, None).await.unwrap();
    assert_eq!(replayed, Replayed { passed: 2, stay: [("required:id".to_owned(), 1)].into() });
    assert_eq!(numbers(&lake, "SELECT count(*), sum(id) FROM t").await, [2, 15]);
    let letters = TableName::raw("shop_sale__dead_letter");
    assert_eq!(lake.row_count(&letters).await.unwrap(), 1);
    assert_eq!(lake.next_offsets(&letters, "main", "shop.sale").await.unwrap()[&0], 40, "positions stay");
    let again = replay(&lake, &topic, None).await.unwrap();
    assert_eq!(again, Replayed { passed: 0, stay: [("required:id".to_owned(), 1)].into() });
    assert_eq!(numbers(&lake, "SELECT count(*) FROM t").await, [2]);
}

/// Killed after the curated table had its rows, and before the dead letters left: or before either.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_replay_is_finished_and_doubles_nothing() {
    for table_has_them in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let select = "SELECT _lw_row, payload['id'] AS id, payload['amount'] AS amount FROM event";
        let lake = lake(dir.path(), select).await;
        dead(&lake).await;
        let topic = lake.lakehouse().topics["shop.sale"].clone();
        let number = lake.fresh_snapshot(&topic.dead_letter).await.unwrap().version;
        let begun = Underway { number, source: "main".into(), partition: 0, offsets: [7, 8].into() };
        assert!(lake.begin_replay("shop.sale", &begun).await.unwrap());
        assert!(!lake.begin_replay("shop.sale", &begun).await.unwrap(), "one at a time");
        if table_has_them {
            let both = || Arc::new(Int64Array::from(vec![7, 8])) as _;
            let rows =
                RecordBatch::try_from_iter_with_nullable([("id", both(), true), ("amount", both(), true)]).unwrap();
            let change = || Change::Append { rows: vec![rows.clone()], progress: Vec::new() };
            assert!(lake.commit_replayed(&sales(), "shop.sale", number, change()).await.unwrap().is_some());
            assert!(lake.commit_replayed(&sales(), "shop.sale", number, change()).await.unwrap().is_none());
        }
        let replayed = replay(&lake, &topic, None).await.unwrap();
        assert_eq!(replayed, Replayed { passed: 3, stay: [].into() });
        assert_eq!(numbers(&lake, "SELECT count(*), count(DISTINCT id) FROM t").await, [3, 3], "{table_has_them}");
        assert_eq!(lake.row_count(&topic.dead_letter).await.unwrap(), 0);
        assert_eq!(lake.replay_underway("shop.sale").await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_began_under_other_contracts_is_not_finished_under_these() {
    let dir = tempfile::tempdir().unwrap();
    let lake =
        lake(dir.path(), "SELECT _lw_row, payload['amount'] AS id, payload['amount'] AS amount FROM event").await;
    dead(&lake).await;
    let topic = lake.lakehouse().topics["shop.sale"].clone();
    let number = lake.fresh_snapshot(&topic.dead_letter).await.unwrap().version;
    let begun = Underway { number, source: "main".into(), partition: 0, offsets: [8, 9].into() };
    lake.begin_replay("shop.sale", &begun).await.unwrap();
    let nothing = Change::Append { rows: Vec::new(), progress: Vec::new() };
    lake.commit_replayed(&sales(), "shop.sale", number, nothing).await.unwrap();
    let refused = replay(&lake, &topic, None).await.unwrap_err().to_string();
    assert!(refused.contains("curated.sales had its rows") && refused.contains("1 of its 2"), "{refused}");
    assert_eq!(lake.row_count(&topic.dead_letter).await.unwrap(), 3);
}

async fn numbers(lake: &Lake, sql: &str) -> Vec<i64> {
    let session = SessionContext::new();
    session.register_table("t", lake.snapshot(&sales(), Duration::ZERO).await.unwrap().provider()).unwrap();
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    let first = batches[0].columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0));
    first.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_what_its_select_says_today_without_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let lake =
        lake(dir.path(), "SELECT _lw_row, payload['id'] AS id, payload['amount'] * 2 AS amount FROM event").await;
    fill(&lake).await;
    let mut seen = 0;
    let rebuilt = rebuild(&lake, &sales(), None, &mut |events| seen = events).await.unwrap();
    let Rebuilt::As { version, events } = rebuilt else { panic!("{rebuilt:?}") };
    assert_eq!((events, seen), (39, 39));
    assert_eq!(lake.fresh_snapshot(&sales()).await.unwrap().version, version as i64);
    let sum: i64 = (0..40).filter(|n| n % 10 != 9 && *n != 7).map(|n| n * 2).sum();
    assert_eq!(numbers(&lake, "SELECT count(*), sum(amount) FROM t").await, [39, sum]);
    assert_eq!(numbers(&lake, "SELECT count(*) FROM t WHERE id = 7").await, [0]);
    let again = rebuild(&lake, &sales(), None, &mut |_| {}).await.unwrap();
    assert_eq!(again, Rebuilt::As { version: version + 1, events: 39 });
    assert_eq!(numbers(&lake, "SELECT count(*), sum(amount) FROM t").await, [39, sum]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_events_would_lose_their_rows_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    // `id` is required, and comes from what every tenth lacks.
    let lake =
        lake(dir.path(), "SELECT _lw_row, payload['amount'] AS id, payload['amount'] AS amount FROM event").await;
    fill(&lake).await;
    let before = lake.fresh_snapshot(&sales()).await.unwrap().version;
    let rebuilt = rebuild(&lake, &sales(), None, &mut |_| {}).await.unwrap();
    assert_eq!(rebuilt, Rebuilt::WouldLose([("required:id".to_owned(), 4)].into()));
    assert_eq!(lake.fresh_snapshot(&sales()).await.unwrap().version, before);
    assert_eq!(numbers(&lake, "SELECT count(*) FROM t").await, [39]);
}

//! Types that become wider, and structs that gain fields, while old files stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use arrow::util::pretty::pretty_format_batches;
use lakeward_tables::maintenance::{Maintenance, MaintenanceConfig};
use lakeward_tables::{Change, Lake, TableName, TablesError};
use serde_json::{Value, json};

use crate::clinic::{BUYERS, RESULTS, ask, lake_with, number, results, sales, step};

/// The contract of sales with these columns.
fn contract(columns: &str) -> String {
    format!(
        "apiVersion: v3.0.2
kind: DataContract
id: curated.sales
version: 1.0.0
status: active
schema:
  - name: curated.sales
    customProperties:
      - {{property: from, value: shop.sale}}
      - {{property: mode, value: append}}
    properties:
{columns}"
    )
}

/// `n` is prunable: the log has its bounds as an integer.
fn narrow() -> String {
    contract(
        "      - {name: n, logicalType: integer, tags: [operational], customProperties: [{property: prunable, value: true}]}
      - {name: price, logicalType: number, physicalType: \"decimal(8,2)\", tags: [finance]}
      - name: lines
        logicalType: array
        tags: [finance]
        items:
          logicalType: object
          properties:
            - {name: amount, logicalType: number, physicalType: \"decimal(8,2)\"}
            - {name: item, logicalType: string}
",
    )
}

/// All three are wider, the items of `lines` have one more field, in another place, and the text of one is called otherwise.
fn wide() -> String {
    contract(
        "      - {name: n, logicalType: number, physicalType: \"decimal(22,2)\", tags: [operational], customProperties: [{property: prunable, value: true}]}
      - {name: price, logicalType: number, physicalType: \"decimal(12,4)\", tags: [finance]}
      - name: lines
        logicalType: array
        tags: [finance]
        items:
          logicalType: object
          properties:
            - {name: note, logicalType: string}
            - {name: amount, logicalType: number, physicalType: \"decimal(12,3)\"}
            - {name: item, logicalType: string}
",
    )
}

fn decimal(value: i128, precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).unwrap())
}

/// A list of one struct.
fn line(columns: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let fields: Fields =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let items = StructArray::new(fields.clone(), columns.into_iter().map(|(_, column)| column).collect(), None);
    let element = Arc::new(Field::new("element", DataType::Struct(fields), true));
    Arc::new(ListArray::new(element, OffsetBuffer::from_lengths([1]), Arc::new(items), None))
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn row(n: ArrayRef, price: ArrayRef, lines: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("n", n, true), ("price", price, true), ("lines", lines, true)]).unwrap()
}

fn narrow_row(n: i64) -> RecordBatch {
    let lines = line(vec![("amount", decimal(125, 8, 2)), ("item", text("pen"))]);
    row(Arc::new(Int64Array::from(vec![n])), decimal(995, 8, 2), lines)
}

fn wide_row(hundredths: i128) -> RecordBatch {
    let lines = line(vec![("note", text("gift")), ("amount", decimal(1_001, 12, 3)), ("item", text("ink"))]);
    row(decimal(hundredths, 22, 2), decimal(12_345_678, 12, 4), lines)
}

async fn append(lake: &Lake, rows: RecordBatch, offset: i64) {
    let change = Change::Append { rows: vec![rows], progress: vec![step(0, offset, offset + 1)] };
    lake.commit(&sales(), change).await.unwrap();
}

async fn shown(lake: &Lake, table: &TableName, sql: &str) -> String {
    pretty_format_batches(&ask(lake, table, sql).await).unwrap().to_string()
}

const ALL: &str = "SELECT n, price, lines FROM t ORDER BY n";

/// Two rows from before, two from after.
const EXPECTED: &str = "\
+-------+-----------+----------------------------------------+
| n     | price     | lines                                  |
+-------+-----------+----------------------------------------+
| 1.00  | 9.9500    | [{note: , amount: 1.250, item: pen}]   |
| 2.00  | 9.9500    | [{note: , amount: 1.250, item: pen}]   |
| 2.50  | 1234.5678 | [{note: gift, amount: 1.001, item: ink}] |
| 40.00 | 1234.5678 | [{note: gift, amount: 1.001, item: ink}] |
+-------+-----------+----------------------------------------+";

fn squeezed(table: &str) -> String {
    table.lines().filter(|line| !line.starts_with('+')).map(|line| line.replace(' ', "")).collect::<Vec<_>>().join("\n")
}

async fn holds_all(lake: &Lake) {
    assert_eq!(squeezed(&shown(lake, &sales(), ALL).await), squeezed(EXPECTED));
    // Asked by the widened columns, which prune files and row groups: exactly the rows that fit, of old files and new ones.
    for (filter, rows) in [
        ("n = 2", 1),
        ("n > 1.5", 3),
        ("n < 2.5", 2),
        ("n BETWEEN 2.5 AND 40", 2),
        ("price = 9.95", 2),
        ("price > 9.95", 2),
        ("price <= 9.95 AND n > 1", 1),
        ("price IN (1234.5678, 1)", 2),
        ("lines[1]['amount'] = 1.25", 2),
        ("lines[1]['note'] IS NULL", 2),
        ("lines[1]['note'] = 'gift' AND n > 3", 1),
    ] {
        let sql = format!("SELECT count(*) FROM t WHERE {filter}");
        assert_eq!(number(lake, &sales(), &sql).await, rows, "{filter}");
    }
    let extremes = shown(lake, &sales(), "SELECT min(n), max(n), sum(price), count(n) FROM t").await;
    assert!(squeezed(&extremes).contains("|1.00|40.00|2489.0356|4|"), "{extremes}");
}

/// Old rows and new ones in a table that became wider; four files.
async fn widened(dir: &Path) -> Lake {
    let before = lake_with(dir, "sales", &narrow()).await;
    append(&before, narrow_row(1), 0).await;
    append(&before, narrow_row(2), 1).await;
    let after = lake_with(dir, "sales", &wide()).await;
    append(&after, wide_row(250), 2).await;
    append(&after, wide_row(4_000), 3).await;
    after
}

/// The actions of a kind in the log, in its order.
fn logged(dir: &Path, table: &str, kind: &str) -> Vec<Value> {
    let mut commits: Vec<PathBuf> = fs::read_dir(dir.join(format!("lake/curated/{table}/_delta_log")))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    commits.sort();
    let lines = commits
        .iter()
        .flat_map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>());
    let action = |line: String| serde_json::from_str::<Value>(&line).unwrap().get(kind).cloned();
    lines.filter_map(action).collect()
}

fn maintenance(lake: &Lake) -> Maintenance {
    let config = MaintenanceConfig { lease: Duration::from_millis(300), ..MaintenanceConfig::default() };
    Maintenance::new(lake.clone(), config)
}

#[tokio::test]
async fn old_files_are_read_in_the_wider_type_and_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let lake = widened(dir.path()).await;
    holds_all(&lake).await;
    assert_eq!(logged(dir.path(), "sales", "remove").len(), 0, "a file was written anew");
    assert_eq!(lake.fresh_snapshot(&sales()).await.unwrap().files, 4);
    // Started again it has nothing to do.
    let version = lake.fresh_snapshot(&sales()).await.unwrap().version;
    let again = lake_with(dir.path(), "sales", &wide()).await;
    holds_all(&again).await;
    assert_eq!(again.fresh_snapshot(&sales()).await.unwrap().version, version);
}

#[tokio::test]
async fn the_log_says_what_the_protocol_wants_of_a_widened_table() {
    let dir = tempfile::tempdir().unwrap();
    widened(dir.path()).await;
    let protocols = logged(dir.path(), "sales", "protocol");
    let last = protocols.last().unwrap();
    assert_eq!((&last["minReaderVersion"], &last["minWriterVersion"]), (&json!(3), &json!(7)));
    assert_eq!(last["readerFeatures"], json!(["typeWidening"]));
    assert!(last["writerFeatures"].as_array().unwrap().contains(&json!("typeWidening")), "{last}");
    let metadata = logged(dir.path(), "sales", "metaData");
    let metadata = metadata.last().unwrap();
    assert_eq!(metadata["configuration"]["delta.enableTypeWidening"], json!("true"));
    let schema: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
    let changes = |field: &Value| field["metadata"]["delta.typeChanges"].clone();
    assert_eq!(changes(&schema["fields"][0]), json!([{"fromType": "long", "toType": "decimal(22,2)"}]));
    assert_eq!(changes(&schema["fields"][1]), json!([{"fromType": "decimal(8,2)", "toType": "decimal(12,4)"}]));
    let items = &schema["fields"][2]["type"]["elementType"]["fields"];
    assert_eq!(changes(&items[0]), json!([{"fromType": "decimal(8,2)", "toType": "decimal(12,3)"}]));
    assert_eq!((&items[2]["name"], &items[2]["type"]), (&json!("note"), &json!("string")));
}

#[tokio::test]
async fn compaction_and_checkpoints_keep_every_value() {
    let dir = tempfile::tempdir().unwrap();
    let before = lake_with(dir.path(), "sales", &narrow()).await;
    for n in 0..80 {
        append(&before, narrow_row(n), n).await;
    }
    let lake = lake_with(dir.path(), "sales", &wide()).await;
    for n in 80..105 {
        append(&lake, wide_row(i128::from(n) * 100 + 50), n).await;
    }
    let all = shown(&lake, &sales(), ALL).await;
    assert!(squeezed(&all).contains("|79.00|9.9500|[{note:,amount:1.250,item:pen}]|\n|80.50|1234.5678|"), "{all}");
    let done = maintenance(&lake).pass(&sales()).await.unwrap();
    assert!(done.compactions > 0 && done.files_in >= 60 && done.checkpoints == 1, "{done:?}");
    assert_eq!(shown(&lake, &sales(), ALL).await, all);
    // Who begins now begins with the checkpoint.
    let again = lake_with(dir.path(), "sales", &wide()).await;
    assert_eq!(shown(&again, &sales(), ALL).await, all);
    append(&again, wide_row(77), 105).await;
    assert_eq!(number(&again, &sales(), "SELECT count(*) FROM t WHERE n > 0.5 AND n < 2").await, 2);
}

#[tokio::test]
async fn a_widened_column_can_be_renamed_and_widened_again() {
    let dir = tempfile::tempdir().unwrap();
    widened(dir.path()).await;
    let renamed = wide().replace("name: price,", "name: amount, id: price,").replace("decimal(12,4)", "decimal(16,6)");
    let after = lake_with(dir.path(), "sales", &renamed).await;
    let sql = "SELECT count(*) FROM t WHERE amount = 9.95 OR amount > 1234.5677";
    assert_eq!(number(&after, &sales(), sql).await, 4);
    let last = logged(dir.path(), "sales", "protocol").pop().unwrap();
    assert_eq!(last["readerFeatures"], json!(["columnMapping", "typeWidening"]));
    let schema = logged(dir.path(), "sales", "metaData").pop().unwrap()["schemaString"].clone();
    let schema: Value = serde_json::from_str(schema.as_str().unwrap()).unwrap();
    assert_eq!(
        schema["fields"][1]["metadata"]["delta.typeChanges"],
        json!([
            {"fromType": "decimal(8,2)", "toType": "decimal(12,4)"},
            {"fromType": "decimal(12,4)", "toType": "decimal(16,6)"}
        ])
    );
    // And the other way round: first renamed, then wider.
    let dir = tempfile::tempdir().unwrap();
    append(&lake_with(dir.path(), "sales", &narrow()).await, narrow_row(1), 0).await;
    let renamed = narrow().replace("name: price,", "name: amount, id: price,");
    lake_with(dir.path(), "sales", &renamed).await.create_all().await.unwrap();
    let wider = renamed.replace("decimal(8,2)", "decimal(10,4)");
    let after = lake_with(dir.path(), "sales", &wider).await;
    assert_eq!(number(&after, &sales(), "SELECT count(*) FROM t WHERE amount = 9.95").await, 1);
    assert_eq!(number(&after, &sales(), "SELECT count(*) FROM t WHERE lines[1]['amount'] > 1.2499").await, 1);
}

#[tokio::test]
async fn a_table_that_is_made_again_is_plain_again() {
    let dir = tempfile::tempdir().unwrap();
    let lake = widened(dir.path()).await;
    let rebuild = lake.rebuild(&sales()).await.unwrap();
    for (offset, hundredths) in [(0, 100), (1, 200), (2, 250), (3, 4_000)] {
        let rows = vec![wide_row(hundredths)];
        rebuild.commit(Change::Append { rows, progress: vec![step(0, offset, offset + 1)] }).await.unwrap();
    }
    assert!(rebuild.swap().await.unwrap().is_some());
    let protocol = logged(dir.path(), "sales", "protocol").pop().unwrap();
    assert_eq!(protocol, json!({"minReaderVersion": 1, "minWriterVersion": 2}));
    let metadata = logged(dir.path(), "sales", "metaData").pop().unwrap();
    assert!(!metadata.to_string().contains("typeChanges") && !metadata.to_string().contains("Widening"), "{metadata}");
    // delta-rs, which reads no widened table, reads this one.
    let folder = url::Url::from_directory_path(dir.path().join("lake/curated/sales").canonicalize().unwrap()).unwrap();
    let delta = deltalake_core::DeltaTableBuilder::from_url(folder).unwrap().load().await.unwrap();
    let session = datafusion::prelude::SessionContext::new();
    session.register_table("t", Arc::new(delta.table_provider().build().await.unwrap())).unwrap();
    let theirs = session.sql("SELECT n FROM t ORDER BY n").await.unwrap().collect().await.unwrap();
    let theirs = squeezed(&pretty_format_batches(&theirs).unwrap().to_string());
    assert_eq!(theirs, "|n|\n|1.00|\n|2.00|\n|2.50|\n|40.00|");
    append(&lake, wide_row(77), 4).await;
    assert_eq!(number(&lake, &sales(), "SELECT count(*) FROM t").await, 5);
}

/// One event of the corrected table, by hand.
fn result(id: &str, value: ArrayRef, time: i64, offset: i64, corrected: bool) -> Change {
    let whole = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
    let flag: ArrayRef = Arc::new(arrow::array::BooleanArray::from(vec![corrected]));
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("result_id", text(id), true),
        ("component", whole(0), true),
        ("value", value, true),
        ("_lw_time", whole(time), true),
        ("_lw_offset", whole(offset), true),
        ("_lw_corrected", flag, true),
    ]);
    Change::Correct { rows: vec![rows.unwrap()], progress: vec![step(0, offset, offset + 1)] }
}

#[tokio::test]
async fn a_correction_rewrites_a_file_of_the_narrower_type() {
    let dir = tempfile::tempdir().unwrap();
    let before = lake_with(dir.path(), "results", RESULTS).await;
    let whole = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
    before.commit(&results(), result("a", whole(7), 10, 0, false)).await.unwrap();
    before.commit(&results(), result("b", whole(8), 10, 1, false)).await.unwrap();
    let wide = RESULTS.replace(
        "name: value, logicalType: integer",
        "name: value, logicalType: number, physicalType: \"decimal(22,2)\"",
    );
    let after = lake_with(dir.path(), "results", &wide).await;
    after.commit(&results(), result("a", decimal(725, 22, 2), 20, 2, true)).await.unwrap();
    // An older correction that comes late changes nothing.
    after.commit(&results(), result("a", decimal(999, 22, 2), 15, 3, true)).await.unwrap();
    let all = shown(&after, &results(), "SELECT result_id, value FROM t ORDER BY result_id").await;
    assert!(squeezed(&all).contains("|a|7.25|\n|b|8.00|"), "{all}");
    assert_eq!(number(&after, &results(), "SELECT count(*) FROM t").await, 2);
}

fn message(error: TablesError) -> String {
    assert!(matches!(error, TablesError::Schema { .. }), "{error}");
    error.to_string()
}

#[tokio::test]
async fn what_cannot_follow_is_refused_with_what_to_do_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let lake = widened(dir.path()).await;
    let version = lake.fresh_snapshot(&sales()).await.unwrap().version;
    for (from, to, words) in [
        (
            "decimal(12,4)",
            "decimal(12,5)",
            vec!["'price' is decimal(12,4) in storage and decimal(12,5)", "rebuild curated.sales"],
        ),
        (
            "decimal(12,4)",
            "decimal(8,2)",
            vec!["'price' is decimal(12,4) in storage and decimal(8,2)", "rebuild curated.sales"],
        ),
        ("decimal(12,3)", "decimal(9,3)", vec!["'lines[].amount'", "rebuild curated.sales"]),
        ("{name: item,", "{name: article,", vec!["'lines[].item'", "Declare it again", "rebuild curated.sales"]),
    ] {
        let changed = lake_with(dir.path(), "sales", &wide().replace(from, to)).await;
        let refused = message(changed.fresh_snapshot(&sales()).await.unwrap_err());
        assert!(words.iter().all(|word| refused.contains(word)), "{refused}");
    }
    assert_eq!(lake.fresh_snapshot(&sales()).await.unwrap().version, version);
    holds_all(&lake).await;
}

#[tokio::test]
async fn a_key_may_become_wider_only_where_it_is_written_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let keyed = |of: &str| {
        BUYERS
            .replace("{name: buyer_id, logicalType: string,", &format!("{{name: buyer_id, {of},"))
            .replace("      - {property: subject, value: buyer_id}\n", "")
            .replace("      - {property: tombstone, value: delete}\n", "")
    };
    let visit = |key: ArrayRef, visits: i64, offset: i64| {
        let whole = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
        let no: ArrayRef = Arc::new(arrow::array::BooleanArray::from(vec![false]));
        let rows = RecordBatch::try_from_iter_with_nullable([
            ("buyer_id", key, true),
            ("visits", whole(visits), true),
            ("_lw_version", whole(offset), true),
            ("_lw_time", whole(offset), true),
            ("_lw_offset", whole(offset), true),
            ("_lw_deleted", no, true),
        ]);
        let progress = vec![step(0, offset, offset + 1)];
        Change::Upsert { rows: vec![rows.unwrap()], key: vec!["buyer_id".into()], progress }
    };
    let buyers = TableName::curated("buyers");
    let before = lake_with(dir.path(), "buyers", &keyed("logicalType: integer")).await;
    let key: ArrayRef = Arc::new(Int64Array::from(vec![5]));
    before.commit(&buyers, visit(key, 1, 0)).await.unwrap();

    let finer = lake_with(dir.path(), "buyers", &keyed("logicalType: number, physicalType: \"decimal(22,2)\"")).await;
    let refused = message(finer.fresh_snapshot(&buyers).await.unwrap_err());
    assert!(refused.contains("'buyer_id'") && refused.contains("found by it"), "{refused}");

    let wider = lake_with(dir.path(), "buyers", &keyed("logicalType: number, physicalType: \"decimal(22,0)\"")).await;
    wider.commit(&buyers, visit(decimal(5, 22, 0), 2, 1)).await.unwrap();
    let all = shown(&wider, &buyers, "SELECT buyer_id, visits FROM t").await;
    assert_eq!(squeezed(&all), "|buyer_id|visits|\n|5|2|", "the row of the key was not found");
}

#[tokio::test]
async fn what_a_start_would_do_is_told_before() {
    let dir = tempfile::tempdir().unwrap();
    append(&lake_with(dir.path(), "sales", &narrow()).await, narrow_row(1), 0).await;
    let after = lake_with(dir.path(), "sales", &wide()).await;
    let told = after.pending(&sales()).await.unwrap();
    assert_eq!(
        told,
        [
            "column 'n' is widened from long to decimal(22,2)",
            "column 'price' is widened from decimal(8,2) to decimal(12,4)",
            "column 'lines[].amount' is widened from decimal(8,2) to decimal(12,3)",
            "column 'lines[].note' is added",
        ]
    );
    assert_eq!(logged(dir.path(), "sales", "metaData").len(), 1, "it was only asked");
}

#[tokio::test]
async fn a_process_with_the_narrower_contract_stops_and_of_many_with_the_wider_all_get_one_table() {
    let dir = tempfile::tempdir().unwrap();
    let old = lake_with(dir.path(), "sales", &narrow()).await;
    append(&old, narrow_row(1), 0).await;
    let mut lakes = Vec::new();
    for _ in 0..6 {
        lakes.push(lake_with(dir.path(), "sales", &wide()).await);
    }
    let name = sales();
    let versions = futures::future::join_all(lakes.iter().map(|lake| lake.fresh_snapshot(&name))).await;
    let versions: Vec<i64> = versions.into_iter().map(|snapshot| snapshot.unwrap().version).collect();
    assert!(versions.iter().all(|version| *version == versions[0]), "{versions:?}");
    assert_eq!(logged(dir.path(), "sales", "protocol").len(), 2);
    let change = Change::Append { rows: vec![narrow_row(2)], progress: vec![step(0, 1, 2)] };
    let refused = message(old.commit(&sales(), change).await.unwrap_err());
    assert!(refused.contains("another contract"), "{refused}");
    append(&lakes[3], wide_row(250), 1).await;
    assert_eq!(number(&lakes[0], &sales(), "SELECT count(*) FROM t").await, 2);
}

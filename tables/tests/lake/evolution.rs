//! Contracts that change while their tables live.
//!
//! What delta-rs' own reader sees is held against what readers here get: both must follow.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use deltalake_core::DeltaTableBuilder;
use lakeward_tables::{Change, Lake, TableName, TablesError};
use url::Url;

use crate::clinic::{BUYERS, SALES, Visit, ask, buyers, lake, lake_with, number, sale_rows, sales, step, visit_rows};

fn append(rows: RecordBatch, from: i64) -> Change {
    let next = from + rows.num_rows() as i64;
    Change::Append { rows: vec![rows], progress: vec![step(0, from, next)] }
}

/// Rows under other names, with one more column.
fn other_rows(names: [&str; 3], numbers: [i64; 2]) -> RecordBatch {
    let buyers: StringArray = numbers.iter().map(|n| Some(format!("buyer {n}"))).collect();
    let columns: [ArrayRef; 3] = [
        Arc::new(Int64Array::from(numbers.to_vec())),
        Arc::new(buyers),
        Arc::new(Int64Array::from(numbers.map(|n| n * 10).to_vec())),
    ];
    RecordBatch::try_from_iter_with_nullable(names.into_iter().zip(columns).map(|(name, column)| (name, column, true)))
        .unwrap()
}

/// The answer as text; and delta-rs' reader gives the same.
async fn shown(dir: &Path, lake: &Lake, table: &TableName, sql: &str) -> String {
    let ours = ask(lake, table, sql).await;
    let folder = dir.join(format!("lake/{}/{}", table.schema, table.table)).canonicalize().unwrap();
    let url = Url::from_directory_path(folder).unwrap();
    let delta = DeltaTableBuilder::from_url(url).unwrap().load().await.unwrap();
    let session = SessionContext::new();
    session.register_table("t", Arc::new(delta.table_provider().build().await.unwrap())).unwrap();
    let theirs = session.sql(sql).await.unwrap().collect().await.unwrap();
    let ours = pretty_format_batches(&ours).unwrap().to_string();
    assert_eq!(ours, pretty_format_batches(&theirs).unwrap().to_string(), "delta-rs reads otherwise");
    ours
}

fn message(error: TablesError) -> String {
    assert!(matches!(error, TablesError::Schema { .. }), "{error}");
    assert!(!error.is_transient());
    error.to_string()
}

async fn refusal(dir: &Path, table: &str, contract: &str) -> String {
    let lake = lake_with(dir, table, contract).await;
    message(lake.fresh_snapshot(&TableName::curated(table)).await.unwrap_err())
}

const PRICED: &str = "      - {name: price, logicalType: integer, tags: [finance]}\n";

#[tokio::test]
async fn an_added_column_is_null_in_rows_from_before() {
    let dir = tempfile::tempdir().unwrap();
    lake(dir.path()).await.commit(&sales(), append(sale_rows(1..3), 0)).await.unwrap();
    let after = lake_with(dir.path(), "sales", &format!("{SALES}{PRICED}")).await;
    after.commit(&sales(), append(other_rows(["n", "buyer", "price"], [3, 4]), 2)).await.unwrap();
    let all = shown(dir.path(), &after, &sales(), "SELECT n, buyer, price FROM t ORDER BY n").await;
    assert!(all.contains("| 2 | buyer 2 |       |") && all.contains("| 4 | buyer 4 | 40    |"), "{all}");
    assert_eq!(number(&after, &sales(), "SELECT count(*) FROM t WHERE price IS NULL").await, 2);
    assert_eq!(number(&after, &sales(), "SELECT sum(n) FROM t WHERE price > 30").await, 4);
    // Started again it has nothing to do.
    let version = after.fresh_snapshot(&sales()).await.unwrap().version;
    let again = lake_with(dir.path(), "sales", &format!("{SALES}{PRICED}")).await;
    assert_eq!(again.fresh_snapshot(&sales()).await.unwrap().version, version);
}

#[tokio::test]
async fn a_renamed_column_keeps_its_values_and_its_bounds() {
    let dir = tempfile::tempdir().unwrap();
    lake(dir.path()).await.commit(&sales(), append(sale_rows(1..3), 0)).await.unwrap();
    let renamed = SALES.replace("name: n,", "name: number, id: n,").replace("name: buyer,", "name: client, id: buyer,");
    let renamed = renamed.replace("buyer = attr", "client = attr");
    let after = lake_with(dir.path(), "sales", &format!("{renamed}{PRICED}")).await;
    after.commit(&sales(), append(other_rows(["number", "client", "price"], [3, 4]), 2)).await.unwrap();
    let sql = "SELECT number, client, price FROM t WHERE client <> 'buyer 1' AND number < 4 ORDER BY number";
    let some = shown(dir.path(), &after, &sales(), sql).await;
    assert!(some.contains("| 2      | buyer 2 |       |") && some.contains("| 3      | buyer 3 | 30    |"), "{some}");
    assert!(!some.contains("buyer 1") && !some.contains("buyer 4"), "{some}");

    // The first file, which still has the old name, cannot match.
    let folder = dir.path().join("lake/curated/sales");
    let files = || fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files().filter(|file| file.extension().is_some_and(|e| e == "parquet")).collect();
    files.sort_by_key(|file| file.metadata().unwrap().modified().unwrap());
    fs::remove_file(&files[0]).unwrap();
    assert_eq!(number(&after, &sales(), "SELECT sum(number) FROM t WHERE number > 2").await, 7);

    // And once more, back: the third file has the second's names.
    let back = lake_with(dir.path(), "sales", &format!("{SALES}{PRICED}")).await;
    assert_eq!(number(&back, &sales(), "SELECT sum(price) FROM t WHERE n > 3").await, 40);
}

#[tokio::test]
async fn an_upsert_finds_the_rows_of_a_renamed_key() {
    let dir = tempfile::tempdir().unwrap();
    let visit = |buyer: &str, visits, offset| Visit {
        buyer: buyer.into(),
        visits: Some(visits),
        version: None,
        time: offset,
        offset,
    };
    let upsert = |rows: RecordBatch, key: &str, from, next| Change::Upsert {
        rows: vec![rows],
        key: vec![key.into()],
        progress: vec![step(0, from, next)],
    };
    let before = lake(dir.path()).await;
    let rows = visit_rows(&[visit("a", 1, 0), visit("b", 1, 1)]);
    before.commit(&buyers(), upsert(rows, "buyer_id", 0, 2)).await.unwrap();
    let renamed = BUYERS
        .replace("name: buyer_id,", "name: client_id, id: buyer_id,")
        .replace("value: buyer_id", "value: client_id");
    let after = lake_with(dir.path(), "buyers", &renamed).await;
    let rows = visit_rows(&[visit("b", 7, 2)]);
    let names = rows.schema().fields().iter().map(|f| f.name().replace("buyer_id", "client_id")).collect::<Vec<_>>();
    let columns = names.into_iter().zip(rows.columns().to_vec()).map(|(name, column)| (name, column, true));
    let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    after.commit(&buyers(), upsert(rows, "client_id", 2, 3)).await.unwrap();
    let all = shown(dir.path(), &after, &buyers(), "SELECT client_id, visits FROM t ORDER BY client_id").await;
    assert!(all.contains("| a         | 1      |") && all.contains("| b         | 7      |"), "{all}");
    assert_eq!(number(&after, &buyers(), "SELECT count(*) FROM t").await, 2);
}

#[tokio::test]
async fn a_dropped_column_stays_away_also_when_its_name_returns() {
    let dir = tempfile::tempdir().unwrap();
    lake(dir.path()).await.commit(&sales(), append(sale_rows(1..3), 0)).await.unwrap();
    let buyer = "      - {name: buyer, logicalType: string, tags: [name]}\n";
    let scopes = "      - property: scopes\n        value: {own: \"buyer = attr('buyer')\"}\n";
    let without = SALES.replace(buyer, "").replace(scopes, "");
    let refused = refusal(dir.path(), "sales", &without).await;
    assert!(
        refused.contains("'buyer'") && refused.contains("`id: buyer`") && refused.contains("`dropped`"),
        "{refused}"
    );

    let dropped = without.replace("    properties:", "      - {property: dropped, value: [buyer]}\n    properties:");
    let after = lake_with(dir.path(), "sales", &dropped).await;
    let all = shown(dir.path(), &after, &sales(), "SELECT n FROM t ORDER BY n").await;
    assert!(all.contains("| 2 |"), "{all}");
    assert!(after.fresh_snapshot(&sales()).await.unwrap().schema().field_with_name("buyer").is_err());

    let again = format!("{dropped}      - {{name: buyer, id: buyer_2, logicalType: string, tags: [name]}}\n");
    let again = lake_with(dir.path(), "sales", &again).await;
    again.commit(&sales(), append(sale_rows(3..4), 2)).await.unwrap();
    let all = shown(dir.path(), &again, &sales(), "SELECT n, buyer FROM t ORDER BY n").await;
    assert!(all.contains("| 2 |         |") && all.contains("| 3 | buyer 3 |"), "{all}");
}

#[tokio::test]
async fn what_would_lose_values_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let before = lake(dir.path()).await;
    before.create_all().await.unwrap();
    let version = before.fresh_snapshot(&sales()).await.unwrap().version;
    let typed = SALES.replace("name: n, logicalType: integer", "name: n, logicalType: boolean");
    let refused = refusal(dir.path(), "sales", &typed).await;
    assert!(
        refused.contains("'n' is long in storage and boolean") && refused.contains("lakeward rebuild"),
        "{refused}"
    );
    let keyed = BUYERS.replace(
        "{name: visits, logicalType: integer,",
        "{name: visits, logicalType: integer, required: true, primaryKey: true, primaryKeyPosition: 2,",
    );
    let keyed = keyed.replace("      - {property: tombstone, value: delete}\n", "");
    let refused = refusal(dir.path(), "buyers", &keyed).await;
    assert!(refused.contains("(buyer_id)") && refused.contains("(buyer_id,visits)"), "{refused}");
    let refused = refusal(
        dir.path(),
        "buyers",
        &BUYERS.replace("value: upsert", "value: append").replace("      - {property: tombstone, value: delete}\n", ""),
    )
    .await;
    assert!(refused.contains("mode has changed"), "{refused}");
    assert_eq!(before.fresh_snapshot(&sales()).await.unwrap().version, version);
}

#[tokio::test]
async fn a_process_with_the_old_contract_stops_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let old = lake(dir.path()).await;
    old.commit(&sales(), append(sale_rows(1..3), 0)).await.unwrap();
    let new = lake_with(dir.path(), "sales", &format!("{SALES}{PRICED}")).await;
    new.create_all().await.unwrap();
    let refused = message(old.commit(&sales(), append(sale_rows(3..4), 2)).await.unwrap_err());
    assert!(refused.contains("another contract"), "{refused}");
    new.commit(&sales(), append(other_rows(["n", "buyer", "price"], [3, 4]), 2)).await.unwrap();
    assert_eq!(number(&new, &sales(), "SELECT count(*) FROM t").await, 4);
}

#[tokio::test]
async fn of_many_processes_with_the_new_contract_all_get_the_same_table() {
    let dir = tempfile::tempdir().unwrap();
    lake(dir.path()).await.commit(&sales(), append(sale_rows(1..3), 0)).await.unwrap();
    let mut lakes = Vec::new();
    for _ in 0..6 {
        lakes.push(lake_with(dir.path(), "sales", &format!("{SALES}{PRICED}")).await);
    }
    let name = sales();
    let versions = futures::future::join_all(lakes.iter().map(|lake| lake.fresh_snapshot(&name))).await;
    let versions: Vec<i64> = versions.into_iter().map(|snapshot| snapshot.unwrap().version).collect();
    assert!(versions.iter().all(|version| *version == versions[0]), "{versions:?}");
    assert_eq!(lakes[0].schema(&name).unwrap().field(2).data_type(), &DataType::Int64);
    assert_eq!(ask(&lakes[0], &name, "SELECT price FROM t").await[0].column(0).null_count(), 2);
}

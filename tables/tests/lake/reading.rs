//! Snapshots: what they show, how old they may be, and that pruning gets to the files.

use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use datafusion::common::stats::Precision;
use datafusion::prelude::{SessionContext, col, lit};
use lakeward_tables::{Change, Mode, TableName, TablesError, raw_schema, reading_schema};

use crate::clinic::{Visit, ask, buyers, lake, number, raw_rows, sale_rows, sales, step, visit_rows};

fn append(from: i64, next: i64) -> Change {
    Change::Append { rows: vec![sale_rows(from..next)], progress: vec![step(0, from, next)] }
}

#[tokio::test]
async fn readers_see_the_contracts_columns_and_types_and_nothing_of_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    let visit = Visit { buyer: "a".into(), visits: Some(1), version: None, time: 1, offset: 0 };
    let gone = Visit { buyer: "b".into(), visits: None, version: None, time: 1, offset: 1 };
    let rows = vec![visit_rows(&[visit, gone])];
    let key = vec!["buyer_id".into()];
    lake.commit(&buyers(), Change::Upsert { rows, key, progress: vec![step(0, 0, 2)] }).await.unwrap();
    let raw = TableName::raw("shop_sale");
    lake.commit(&raw, Change::Append { rows: vec![raw_rows(0, 0..2)], progress: vec![] }).await.unwrap();

    for name in [buyers(), raw] {
        let answer = ask(&lake, &name, "SELECT * FROM t").await;
        assert_eq!(answer[0].schema(), reading_schema(&lake.schema(&name).unwrap()), "{name}");
    }
    assert_eq!(lake.schema(&buyers()).unwrap().field(0).data_type(), &DataType::Utf8);
    assert_eq!(lake.schema(&TableName::raw("shop_sale")).unwrap(), raw_schema());
    assert_eq!(lake.mode(&buyers()).unwrap(), Mode::Upsert);
    let unknown = TableName::curated("nothing");
    assert!(matches!(lake.fresh_snapshot(&unknown).await, Err(TablesError::UnknownTable(_))));
}

#[tokio::test]
async fn an_empty_table_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    assert_eq!(number(&lake, &sales(), "SELECT count(*) FROM t").await, 0);
    assert_eq!(
        ask(&lake, &sales(), "SELECT n FROM t WHERE n > 3").await.iter().map(|b| b.num_rows()).sum::<usize>(),
        0
    );
}

#[tokio::test]
async fn a_snapshot_is_shared_until_it_is_too_old_and_never_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, reader) = (lake(dir.path()).await, lake(dir.path()).await);
    writer.commit(&sales(), append(0, 5)).await.unwrap();
    let hour = Duration::from_secs(3600);
    let before = reader.snapshot(&sales(), hour).await.unwrap();
    writer.commit(&sales(), append(5, 7)).await.unwrap();

    assert_eq!(reader.snapshot(&sales(), hour).await.unwrap().version, before.version);
    let after = reader.fresh_snapshot(&sales()).await.unwrap();
    assert_eq!((before.rows, after.rows), (5, 7));
    assert_eq!(after.version, before.version + 1);
    let session = SessionContext::new();
    let rows = session.read_table(before.provider()).unwrap().count().await.unwrap();
    assert_eq!(rows, 5);
}

#[tokio::test]
async fn files_that_cannot_match_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    for n in 0..4 {
        lake.commit(&sales(), append(n * 10, n * 10 + 10)).await.unwrap();
    }
    // All files but the first are gone: a statement that touched them would fail.
    let mut files: Vec<_> = std::fs::read_dir(dir.path().join("lake/curated/sales"))
        .unwrap()
        .map(|f| f.unwrap())
        .filter(|f| f.path().extension().is_some_and(|e| e == "parquet"))
        .collect();
    files.sort_by_key(|f| f.metadata().unwrap().modified().unwrap());
    for file in &files[1..] {
        std::fs::remove_file(file.path()).unwrap();
    }
    let answer = ask(&lake, &sales(), "SELECT buyer FROM t WHERE n < 3").await;
    assert_eq!(answer.iter().map(|b| b.num_rows()).sum::<usize>(), 3);
    assert_eq!(answer[0].column(0).as_string_view().value(0), "buyer 0");
}

#[tokio::test]
async fn the_optimizer_is_told_the_exact_number_of_rows() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    lake.commit(&sales(), append(0, 5)).await.unwrap();
    let provider = lake.fresh_snapshot(&sales()).await.unwrap().provider();
    let statistics = provider.statistics().unwrap();
    assert_eq!(statistics.num_rows, Precision::Exact(5));
    assert_eq!(statistics.column_statistics.len(), 2);
    assert_eq!(statistics.column_statistics[1].min_value, Precision::Absent);

    let session = SessionContext::new();
    let frame = session.read_table(provider).unwrap().filter(col("n").gt(lit(2))).unwrap();
    assert_eq!(frame.limit(0, Some(1)).unwrap().collect().await.unwrap()[0].num_rows(), 1);
}

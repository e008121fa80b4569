//! A table that is made again takes the place of the old one at once, at the same offsets, also with columns that the old one
//! could not have followed.

use std::time::Duration;

use datafusion::prelude::SessionContext;
use lakeward_tables::maintenance::{Maintenance, MaintenanceConfig};
use lakeward_tables::{Change, TablesError, Underway};

use crate::clinic::{SALES, ask, lake, lake_with, number, sale_rows, sales, step};

fn append(rows: arrow::array::RecordBatch, from: i64) -> Change {
    let next = from + rows.num_rows() as i64;
    Change::Append { rows: vec![rows], progress: vec![step(0, from, next)] }
}

#[tokio::test]
async fn readers_see_the_old_table_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, reader) = (lake(dir.path()).await, lake(dir.path()).await);
    lake.commit(&sales(), append(sale_rows(0..5), 0)).await.unwrap();
    let before = reader.fresh_snapshot(&sales()).await.unwrap();
    let rebuild = lake.rebuild(&sales()).await.unwrap();
    assert_eq!(rebuild.stands("shop.sale").await.unwrap()["main"][&0], 5);
    rebuild.commit(append(sale_rows(100..103), 0)).await.unwrap();
    assert_eq!(rebuild.swap().await.unwrap(), None, "it is behind");
    assert_eq!(number(&reader, &sales(), "SELECT sum(n) FROM t").await, 10);

    // The old one goes on meanwhile.
    rebuild.commit(append(sale_rows(103..105), 3)).await.unwrap();
    lake.commit(&sales(), append(sale_rows(5..6), 5)).await.unwrap();
    assert_eq!(rebuild.swap().await.unwrap(), None, "it is behind again");
    rebuild.commit(append(sale_rows(105..106), 5)).await.unwrap();
    let version = rebuild.swap().await.unwrap().expect("both stand at 6");

    let after = reader.fresh_snapshot(&sales()).await.unwrap();
    assert_eq!((after.version, after.rows), (version as i64, 6));
    assert_eq!(number(&reader, &sales(), "SELECT sum(n) FROM t").await, 615);
    let old = SessionContext::new().read_table(before.provider()).unwrap().count().await.unwrap();
    assert_eq!(old, 5, "who has the old snapshot keeps it");
    // It is an ordinary table: ingest goes on where it stood.
    lake.commit(&sales(), append(sale_rows(6..7), 6)).await.unwrap();
    assert_eq!(number(&reader, &sales(), "SELECT count(*) FROM t").await, 7);
    let refused = lake.commit(&sales(), append(sale_rows(6..7), 6)).await.unwrap_err();
    assert!(matches!(refused, TablesError::NotAtPosition { current: Some(7), .. }), "{refused}");
}

/// An overwrite by a handle that does not know of a compaction left the rows of the files that it made (delta-rs 1.1).
#[tokio::test]
async fn a_swap_after_another_process_has_compacted_leaves_no_old_row() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, other) = (lake(dir.path()).await, lake(dir.path()).await);
    for n in 0..20 {
        lake.commit(&sales(), append(sale_rows(n..n + 1), n)).await.unwrap();
    }
    let rebuild = lake.rebuild(&sales()).await.unwrap();
    rebuild.commit(append(sale_rows(100..120), 0)).await.unwrap();
    let done = Maintenance::new(other.clone(), MaintenanceConfig::default()).pass(&sales()).await.unwrap();
    assert!(done.compactions > 0, "{done:?}");
    rebuild.swap().await.unwrap().expect("both stand at 20");
    for lake in [&lake, &other] {
        assert_eq!(number(lake, &sales(), "SELECT sum(n) FROM t").await, (100..120).sum::<i64>());
        assert_eq!(lake.row_count(&sales()).await.unwrap(), 20);
    }
}

#[tokio::test]
async fn what_a_replay_brings_meanwhile_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    lake.commit(&sales(), append(sale_rows(0..2), 0)).await.unwrap();
    let rebuild = lake.rebuild(&sales()).await.unwrap();
    rebuild.commit(append(sale_rows(0..2), 0)).await.unwrap();
    let rows = Change::Append { rows: vec![sale_rows(7..8)], progress: Vec::new() };
    lake.commit_replayed(&sales(), "shop.sale", 1, rows).await.unwrap().unwrap();
    let refused = rebuild.swap().await.unwrap_err().to_string();
    assert!(refused.contains("replayed into it"), "{refused}");
    assert_eq!(number(&lake, &sales(), "SELECT count(*) FROM t").await, 3);

    let begun = Underway { number: 2, source: "main".into(), partition: 0, offsets: [0].into() };
    assert!(lake.begin_replay("shop.sale", &begun).await.unwrap());
    let refused = lake.rebuild(&sales()).await.unwrap_err().to_string();
    assert!(refused.contains("`lakeward replay shop.sale` finishes it"), "{refused}");
    lake.end_replay("shop.sale").await.unwrap();
    assert!(lake.rebuild(&sales()).await.is_ok());
}

#[tokio::test]
async fn a_type_that_the_table_cannot_follow_comes_by_a_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    lake(dir.path()).await.commit(&sales(), append(sale_rows(0..2), 0)).await.unwrap();
    let typed = SALES.replace("name: n, logicalType: integer", "name: n, logicalType: string");
    let after = lake_with(dir.path(), "sales", &typed).await;
    let refused = after.fresh_snapshot(&sales()).await.unwrap_err().to_string();
    assert!(refused.contains("lakeward rebuild curated.sales"), "{refused}");
    let rebuild = after.rebuild(&sales()).await.unwrap();
    let rows = sale_rows(0..2);
    let numbers = arrow::compute::cast(rows.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
    let rows = arrow::array::RecordBatch::try_from_iter_with_nullable([
        ("n", numbers, true),
        ("buyer", rows.column(1).clone(), true),
    ]);
    rebuild.commit(append(rows.unwrap(), 0)).await.unwrap();
    assert!(rebuild.swap().await.unwrap().is_some());
    let shown = ask(&after, &sales(), "SELECT n FROM t WHERE n = '1'").await;
    assert_eq!(shown.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
}

#[tokio::test]
async fn a_rebuild_that_is_given_up_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    assert!(lake.rebuild(&sales()).await.is_err(), "there is no table yet");
    lake.commit(&sales(), append(sale_rows(0..2), 0)).await.unwrap();
    let version = lake.snapshot(&sales(), Duration::ZERO).await.unwrap().version;
    let rebuild = lake.rebuild(&sales()).await.unwrap();
    rebuild.commit(append(sale_rows(0..1), 0)).await.unwrap();
    rebuild.abandon().await.unwrap();
    assert_eq!(lake.fresh_snapshot(&sales()).await.unwrap().version, version);
    let folder = dir.path().join("lake/curated/sales");
    let left = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files: usize = left
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("rebuilt-"))
        .map(|entry| walk(&entry.path()))
        .sum();
    assert_eq!(files, 0);
}

fn walk(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

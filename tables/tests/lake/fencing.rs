//! Positions: refusing, restarting, racing.

use std::collections::{BTreeMap, BTreeSet};

use lakeward_tables::maintenance::{Maintenance, MaintenanceConfig};
use lakeward_tables::{Change, TableName, TablesError};

use serde_json::Value;

use crate::clinic::{lake, number, raw_rows, sale_rows, sales, step};

fn append(from: i64, next: i64) -> Change {
    Change::Append { rows: vec![sale_rows(from..next)], progress: vec![step(0, from, next)] }
}

#[tokio::test]
async fn rows_and_position_are_committed_together_and_found_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let committed = lake(dir.path()).await.commit(&sales(), append(0, 5)).await.unwrap();
    assert_eq!((committed.version, committed.rows, committed.files), (1, 5, 1));
    assert!(committed.bytes > 0);

    let restarted = lake(dir.path()).await;
    assert_eq!(restarted.next_offsets(&sales(), "main", "shop.sale").await.unwrap(), BTreeMap::from([(0, 5)]));
    assert_eq!(restarted.row_count(&sales()).await.unwrap(), 5);
    restarted.commit(&sales(), append(5, 7)).await.unwrap();
    assert_eq!(number(&restarted, &sales(), "SELECT count(DISTINCT n) FROM t").await, 7);
}

#[tokio::test]
async fn a_writer_who_is_behind_or_ahead_is_refused_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    lake.commit(&sales(), append(0, 5)).await.unwrap();
    for change in [append(0, 5), append(3, 6), append(6, 7)] {
        let error = lake.commit(&sales(), change).await.unwrap_err();
        assert!(matches!(error, TablesError::NotAtPosition { current: Some(5), partition: 0, .. }), "{error}");
        assert!(error.is_fenced() && !error.is_transient());
    }
    assert_eq!(lake.row_count(&sales()).await.unwrap(), 5);
}

#[tokio::test]
async fn a_batch_of_nothing_still_commits_its_position() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    let change = Change::Append { rows: vec![], progress: vec![step(0, 0, 9), step(1, 100, 101)] };
    let committed = lake.commit(&sales(), change).await.unwrap();
    assert_eq!((committed.rows, committed.files), (0, 0));
    let offsets = lake.next_offsets(&sales(), "main", "shop.sale").await.unwrap();
    assert_eq!(offsets, BTreeMap::from([(0, 9), (1, 101)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_processes_that_own_one_partition_exactly_one_wins_each_round() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (lake(dir.path()).await, lake(dir.path()).await);
    for round in 0..12 {
        let (from, next) = (round * 10, round * 10 + 10);
        let race = [&one, &two].map(|lake| {
            let lake = lake.clone();
            tokio::spawn(async move { lake.commit(&sales(), append(from, next)).await })
        });
        let [first, second] = race;
        let outcomes = [first.await.unwrap(), second.await.unwrap()];
        assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1, "{outcomes:?}");
        let lost = outcomes.into_iter().find_map(Result::err).unwrap();
        assert!(matches!(lost, TablesError::NotAtPosition { .. }), "{lost}");
    }
    let third = lake(dir.path()).await;
    assert_eq!(number(&third, &sales(), "SELECT count(*) FROM t").await, 120);
    assert_eq!(number(&third, &sales(), "SELECT count(DISTINCT n) FROM t").await, 120);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_different_partitions_do_not_hinder_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut writers = Vec::new();
    for partition in 0..3 {
        let lake = lake(dir.path()).await;
        writers.push(tokio::spawn(async move {
            for round in 0..5 {
                let rows = vec![sale_rows([i64::from(partition) * 100 + round])];
                let change = Change::Append { rows, progress: vec![step(partition, round, round + 1)] };
                lake.commit(&sales(), change).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let lake = lake(dir.path()).await;
    let offsets = lake.next_offsets(&sales(), "main", "shop.sale").await.unwrap();
    assert_eq!(offsets, BTreeMap::from([(0, 5), (1, 5), (2, 5)]));
    assert_eq!(number(&lake, &sales(), "SELECT count(DISTINCT n) FROM t").await, 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_creators_all_get_the_same_table() {
    let dir = tempfile::tempdir().unwrap();
    let mut creators = Vec::new();
    for _ in 0..4 {
        let lake = lake(dir.path()).await;
        creators.push(tokio::spawn(async move { lake.create_all().await }));
    }
    for creator in creators {
        creator.await.unwrap().unwrap();
    }
    let lake = lake(dir.path()).await;
    assert_eq!(lake.fresh_snapshot(&sales()).await.unwrap().version, 0);
    let log = dir.path().join("lake/curated/sales/_delta_log");
    assert_eq!(
        std::fs::read_dir(log)
            .unwrap()
            .filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "json"))
            .count(),
        1
    );
}

#[tokio::test]
async fn positions_survive_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let writer = lake(dir.path()).await;
    writer.commit(&sales(), Change::Append { rows: vec![], progress: vec![step(7, 0, 42)] }).await.unwrap();
    for n in 0..110 {
        writer.commit(&sales(), append(n, n + 1)).await.unwrap();
    }
    let done = Maintenance::new(writer.clone(), MaintenanceConfig::default()).pass(&sales()).await.unwrap();
    assert_eq!(done.checkpoints, 1);
    for version in 0..=100 {
        std::fs::remove_file(dir.path().join(format!("lake/curated/sales/_delta_log/{version:020}.json"))).unwrap();
    }
    let reader = lake(dir.path()).await;
    let offsets = reader.next_offsets(&sales(), "main", "shop.sale").await.unwrap();
    assert_eq!(offsets, BTreeMap::from([(0, 110), (7, 42)]));
    assert_eq!(reader.row_count(&sales()).await.unwrap(), 110);
    assert_eq!(number(&reader, &sales(), "SELECT count(*) FROM t WHERE n >= 100").await, 10);
}

/// A commit costs what came since the last, however long the log is.
#[tokio::test]
async fn a_commit_reads_nothing_of_the_log_but_what_came_since_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (lake(dir.path()).await, lake(dir.path()).await);
    for n in 0..50 {
        one.commit(&sales(), append(n, n + 1)).await.unwrap();
    }
    assert_eq!(two.next_offsets(&sales(), "main", "shop.sale").await.unwrap()[&0], 50);
    // The table was made by version 0.
    for version in 0..50 {
        std::fs::remove_file(dir.path().join(format!("lake/curated/sales/_delta_log/{version:020}.json"))).unwrap();
    }
    one.commit(&sales(), append(50, 51)).await.unwrap();
    two.commit(&sales(), append(51, 52)).await.unwrap();
    one.commit(&sales(), append(52, 53)).await.unwrap();
    assert_eq!(one.row_count(&sales()).await.unwrap(), 53);
}

#[tokio::test]
async fn what_the_contract_keeps_from_the_log_is_not_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    lake.commit(&sales(), append(0, 5)).await.unwrap();
    lake.commit(&raw(), Change::Append { rows: vec![raw_rows(0, 0..3)], progress: vec![step(0, 0, 3)] }).await.unwrap();
    // Of these alone a contract allows bounds.
    let allowed: [(&str, &[&str]); 2] =
        [("curated/sales", &["n"]), ("raw/shop_sale", &["ingested_at", "offset", "partition", "timestamp"])];
    for (log, allowed) in allowed {
        let mut bounds = BTreeSet::new();
        for file in std::fs::read_dir(dir.path().join("lake").join(log).join("_delta_log")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|e| e == "json") {
                let text = std::fs::read_to_string(path).unwrap();
                assert!(!text.contains("buyer ") && !text.contains("a2V5"), "{text}");
                for action in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
                    let Some(statistics) = action["add"]["stats"].as_str() else { continue };
                    let statistics: Value = serde_json::from_str(statistics).unwrap();
                    for kind in ["minValues", "maxValues"] {
                        bounds.extend(statistics[kind].as_object().unwrap().keys().cloned());
                    }
                }
            }
        }
        let known: Vec<&str> = bounds.iter().map(String::as_str).filter(|name| !name.starts_with("_lw_")).collect();
        assert!(!known.is_empty() && known.iter().all(|name| allowed.contains(name)), "{log}: {known:?}");
    }
}

fn raw() -> TableName {
    TableName::raw("shop_sale")
}

#[tokio::test]
async fn a_range_of_raw_rows_comes_by_rising_offset() {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use futures::TryStreamExt;

    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    for (partition, from, next) in [(0, 0, 4), (1, 0, 9), (0, 4, 9)] {
        let rows = vec![raw_rows(partition, from..next)];
        lake.commit(&raw(), Change::Append { rows, progress: vec![step(partition, from, next)] }).await.unwrap();
    }
    let stream = lake.raw_rows(&raw(), "main", "shop.sale", 0, 2, 7).await.unwrap();
    let batches: Vec<_> = stream.try_collect().await.unwrap();
    let offsets: Vec<i64> =
        batches.iter().flat_map(|b| b["offset"].as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(offsets, [2, 3, 4, 5, 6]);
    assert_eq!(batches[0]["payload"].as_binary::<i32>().value(0), b"{\"id\":\"2\"}");
}

#[tokio::test]
async fn a_gap_is_passed_and_remembered_in_one_commit_and_by_nobody_who_stands_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let writer = lake(dir.path()).await;
    writer.commit(&sales(), append(0, 5)).await.unwrap();
    let error = writer.commit(&sales(), Change::Gap { lost: step(0, 3, 9) }).await.unwrap_err();
    assert!(matches!(error, TablesError::NotAtPosition { current: Some(5), .. }), "{error}");
    writer.commit(&sales(), Change::Gap { lost: step(0, 5, 9) }).await.unwrap();
    writer.commit(&sales(), append(9, 11)).await.unwrap();

    let restarted = lake(dir.path()).await;
    let gaps: Vec<_> = restarted.gaps(&sales(), "main", "shop.sale").await.unwrap().into_iter().collect();
    assert_eq!(gaps, [lakeward_tables::Gap { partition: 0, from: 5, next: 9 }]);
    assert_eq!(restarted.next_offsets(&sales(), "main", "shop.sale").await.unwrap(), BTreeMap::from([(0, 11)]));
    assert_eq!(restarted.row_count(&sales()).await.unwrap(), 7);
}

#[tokio::test]
async fn positions_belong_to_the_first_topic_that_was_bound_to_them() {
    let dir = tempfile::tempdir().unwrap();
    let bind = async |id: &str| lake(dir.path()).await.bind_topic(&sales(), "main", "shop.sale", id).await.unwrap();
    assert_eq!(bind("one").await.into_iter().collect::<Vec<_>>(), ["one"]);
    assert_eq!(bind("two").await.into_iter().collect::<Vec<_>>(), ["one"]);
    let other = lake(dir.path()).await.bind_topic(&sales(), "other", "shop.sale", "two").await.unwrap();
    assert_eq!(other.into_iter().collect::<Vec<_>>(), ["two"]);
    // What is bound is no source and no position.
    let lake = lake(dir.path()).await;
    assert!(lake.sources(&sales(), "shop.sale").await.unwrap().is_empty());
    assert!(lake.next_offsets(&sales(), "main", "shop.sale").await.unwrap().is_empty());
}

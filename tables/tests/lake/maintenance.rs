//! Maintenance: compaction, checkpoints, the end of what is old, and who may do it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lakeward_tables::maintenance::{Maintenance, MaintenanceConfig};
use lakeward_tables::{Change, Lake};

use crate::clinic::{Visit, buyers, lake, number, sale_rows, sales, step, visit_rows};

async fn append(lake: &Lake, commits: std::ops::Range<i64>) {
    for n in commits {
        let change = Change::Append { rows: vec![sale_rows([n])], progress: vec![step(0, n, n + 1)] };
        lake.commit(&sales(), change).await.unwrap();
    }
}

fn maintenance(lake: &Lake) -> Maintenance {
    let config = MaintenanceConfig {
        lease: Duration::from_millis(300),
        log_retention: Duration::from_secs(3_600),
        file_retention: Duration::from_secs(3_600),
        vacuum_every: Duration::ZERO,
        ..MaintenanceConfig::default()
    };
    Maintenance::new(lake.clone(), config)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// As if it had been written two hours ago.
fn made_old(file: &Path) {
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(7_200)).unwrap();
}

#[tokio::test]
async fn small_files_become_few_and_readers_of_an_older_version_keep_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    append(&lake, 0..40).await;
    let before = lake.fresh_snapshot(&sales()).await.unwrap();
    let done = maintenance(&lake).pass(&sales()).await.unwrap();
    assert!(done.due && done.holds_lease && done.compactions > 0 && done.files_in >= 32, "{done:?}");
    let after = lake.fresh_snapshot(&sales()).await.unwrap();
    assert!(after.files < 12 && after.rows == 40, "{} files", after.files);
    assert_eq!(number(&lake, &sales(), "SELECT count(DISTINCT n) FROM t").await, 40);
    // Bounds of the allowed column stand in the log as before.
    assert_eq!(number(&lake, &sales(), "SELECT max(n) FROM t").await, 39);
    let session = datafusion::prelude::SessionContext::new();
    assert_eq!(session.read_table(before.provider()).unwrap().count().await.unwrap(), 40);
    // Ingest goes on where it stood.
    append(&lake, 40..41).await;
    assert_eq!(lake.row_count(&sales()).await.unwrap(), 41);
}

#[tokio::test]
async fn an_idle_table_gets_no_commit() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    append(&lake, 0..40).await;
    let maintenance = maintenance(&lake);
    maintenance.pass(&sales()).await.unwrap();
    let version = lake.fresh_snapshot(&sales()).await.unwrap().version;
    for _ in 0..5 {
        assert_eq!(maintenance.pass(&sales()).await.unwrap().compactions, 0);
    }
    assert_eq!(lake.fresh_snapshot(&sales()).await.unwrap().version, version);
}

#[tokio::test]
async fn what_is_not_there_yet_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    assert!(!maintenance(&lake).pass(&sales()).await.unwrap().due);
    assert!(!dir.path().join("lake/curated/sales").exists());
}

#[tokio::test]
async fn a_table_with_a_key_keeps_its_rows_and_markers_through_a_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    // Markers are dropped by age: these are young.
    let now = chrono::Utc::now().timestamp_micros();
    for n in 0..40_i64 {
        let visits = (n % 4 != 3).then_some(n);
        let visit = Visit { buyer: format!("buyer-{n}"), visits, version: None, time: now, offset: n };
        let rows = vec![visit_rows(&[visit])];
        let change = Change::Upsert { rows, key: vec!["buyer_id".into()], progress: vec![step(0, n, n + 1)] };
        lake.commit(&buyers(), change).await.unwrap();
    }
    let done = maintenance(&lake).pass(&buyers()).await.unwrap();
    assert!(done.compactions > 0, "{done:?}");
    assert_eq!(lake.row_count(&buyers()).await.unwrap(), 30);
    // An older event of a key that was deleted comes late.
    let late = Visit { buyer: "buyer-3".into(), visits: Some(1), version: None, time: now - 1, offset: 40 };
    let newer = Visit { buyer: "buyer-4".into(), visits: Some(77), version: None, time: now + 1, offset: 41 };
    let change = Change::Upsert {
        rows: vec![visit_rows(&[late, newer])],
        key: vec!["buyer_id".into()],
        progress: vec![step(0, 40, 42)],
    };
    lake.commit(&buyers(), change).await.unwrap();
    assert_eq!(lake.row_count(&buyers()).await.unwrap(), 30);
    assert_eq!(number(&lake, &buyers(), "SELECT visits FROM t WHERE buyer_id = 'buyer-4'").await, 77);
}

#[tokio::test]
async fn a_marker_goes_when_its_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    for n in 0..20_i64 {
        // Kafka's timestamp is of 1970.
        let visit =
            Visit { buyer: format!("buyer-{n}"), visits: (n > 4).then_some(n), version: None, time: 5, offset: n };
        let change = Change::Upsert {
            rows: vec![visit_rows(&[visit])],
            key: vec!["buyer_id".into()],
            progress: vec![step(0, n, n + 1)],
        };
        lake.commit(&buyers(), change).await.unwrap();
    }
    assert!(maintenance(&lake).pass(&buyers()).await.unwrap().compactions > 0);
    assert_eq!(lake.row_count(&buyers()).await.unwrap(), 15);
    let log = files(&dir.path().join("lake/curated/buyers/_delta_log"));
    let newest = log.iter().filter(|file| file.extension().is_some_and(|e| e == "json")).max().unwrap();
    let text = std::fs::read_to_string(newest).unwrap();
    assert!(text.contains("\\\"numRecords\\\":15") && text.contains("\\\"_lw_deleted\\\":15"), "{text}");
}

#[tokio::test]
async fn only_files_that_nothing_needs_and_that_are_old_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    append(&lake, 0..20).await;
    let folder = dir.path().join("lake/curated/sales");
    let is_data = |file: &PathBuf| file.extension().is_some_and(|e| e == "parquet");
    let first: Vec<PathBuf> = files(&folder).into_iter().filter(is_data).collect();
    first.iter().for_each(|file| made_old(file));
    let (old, young) = (folder.join("part-old.zstd.parquet"), folder.join("part-young.zstd.parquet"));
    std::fs::write(&old, b"nobody refers to it").unwrap();
    std::fs::write(&young, b"a commit may still add it").unwrap();
    // delta-rs' VACUUM leaves these.
    let changes = folder.join("_change_data/cdc-old.parquet");
    std::fs::create_dir(changes.parent().unwrap()).unwrap();
    std::fs::write(&changes, b"rows that were").unwrap();
    [&old, &changes].into_iter().for_each(|file| made_old(file));
    // The compaction takes files out of the table that were written two hours ago: statements may still read them.
    let done = maintenance(&lake).pass(&sales()).await.unwrap();
    assert!(done.compactions > 0 && done.files_deleted == 2, "{done:?}");
    assert!(!old.exists() && !changes.exists() && young.exists());
    assert!(first.iter().all(|file| file.exists()));
    assert_eq!(number(&lake, &sales(), "SELECT count(*) FROM t").await, 20);
}

#[tokio::test]
async fn the_log_loses_what_is_old_and_nothing_that_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    append(&lake, 0..120).await;
    let log = dir.path().join("lake/curated/sales/_delta_log");
    let maintenance = maintenance(&lake);
    let done = maintenance.pass(&sales()).await.unwrap();
    assert_eq!((done.checkpoints, done.log_files_deleted), (1, 0), "{done:?}");
    files(&log).iter().for_each(|file| made_old(file));
    append(&lake, 120..230).await;
    let done = maintenance.pass(&sales()).await.unwrap();
    assert_eq!(done.checkpoints, 1, "{done:?}");
    assert!(!log.join(format!("{:020}.json", 5)).exists(), "{done:?}");
    let restarted = crate::clinic::lake(dir.path()).await;
    assert_eq!(restarted.row_count(&sales()).await.unwrap(), 230);
    assert_eq!(restarted.next_offsets(&sales(), "main", "shop.sale").await.unwrap()[&0], 230);
}

#[tokio::test]
async fn one_process_at_a_time_maintains_a_table_and_another_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (lake(dir.path()).await, lake(dir.path()).await);
    append(&one, 0..20).await;
    let (first, second) = (maintenance(&one), maintenance(&two));
    assert!(first.pass(&sales()).await.unwrap().holds_lease);
    let done = second.pass(&sales()).await.unwrap();
    assert!(done.due && !done.holds_lease && done.checkpoints + done.compactions == 0, "{done:?}");
    // The first gives no sign of life for as long as a lease lasts.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(second.pass(&sales()).await.unwrap().holds_lease);
    assert!(!first.pass(&sales()).await.unwrap().holds_lease);
    // What is given back need not be waited for.
    second.release().await;
    assert!(first.pass(&sales()).await.unwrap().holds_lease);
}

/// Ingest and two processes that maintain, all at once: every row is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_are_neither_lost_nor_doubled_while_ingest_and_two_processes_work() {
    let dir = tempfile::tempdir().unwrap();
    let writer = lake(dir.path()).await;
    append(&writer, 0..1).await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut workers = Vec::new();
    for _ in 0..2 {
        let (lake, stop) = (lake(dir.path()).await, stop.clone());
        workers.push(tokio::spawn(async move {
            let mut compactions = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let maintenance = maintenance(&lake);
                compactions += maintenance.pass(&sales()).await.unwrap().compactions;
                maintenance.release().await;
            }
            compactions
        }));
    }
    append(&writer, 1..150).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut compactions = 0;
    for worker in workers {
        compactions += worker.await.unwrap();
    }
    assert!(compactions > 0);
    assert_eq!(number(&writer, &sales(), "SELECT count(*) FROM t").await, 150);
    assert_eq!(number(&writer, &sales(), "SELECT count(DISTINCT n) FROM t").await, 150);
}

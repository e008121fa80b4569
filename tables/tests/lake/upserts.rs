//! Upsert: the newest event of a key is its row.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use lakeward_tables::maintenance::{Maintenance, MaintenanceConfig};
use lakeward_tables::{Change, Lake, TablesError};
use proptest::prelude::*;

use crate::clinic::{Visit, ask, buyers, lake, number, sale_rows, step, visit_rows};

fn visit(buyer: &str, visits: Option<i64>, time: i64, offset: i64) -> Visit {
    Visit { buyer: buyer.into(), visits, version: None, time, offset }
}

async fn upsert(lake: &Lake, visits: &[Visit], from: i64, next: i64) -> Result<(), TablesError> {
    let change = Change::Upsert {
        rows: vec![visit_rows(visits)],
        key: vec!["buyer_id".into()],
        progress: vec![step(0, from, next)],
    };
    lake.commit(&buyers(), change).await.map(|_| ())
}

async fn rows(lake: &Lake) -> BTreeMap<String, i64> {
    let mut rows = BTreeMap::new();
    for batch in ask(lake, &buyers(), "SELECT buyer_id, visits FROM t").await {
        for row in 0..batch.num_rows() {
            let buyer = batch.column(0).as_string_view().value(row).to_string();
            let visits = batch.column(1).as_primitive::<Int64Type>().value(row);
            assert_eq!(rows.insert(buyer, visits), None, "a key has two rows");
        }
    }
    rows
}

#[tokio::test]
async fn a_marker_keeps_a_late_older_event_from_bringing_the_row_back() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    upsert(&lake, &[visit("a", Some(1), 10, 0), visit("b", Some(1), 10, 1)], 0, 2).await.unwrap();
    upsert(&lake, &[visit("a", None, 20, 2)], 2, 3).await.unwrap();
    assert_eq!(rows(&lake).await, BTreeMap::from([("b".into(), 1)]));
    upsert(&lake, &[visit("a", Some(9), 15, 3)], 3, 4).await.unwrap();
    assert_eq!(rows(&lake).await, BTreeMap::from([("b".into(), 1)]));
    assert_eq!(lake.row_count(&buyers()).await.unwrap(), 1);
    assert_eq!(number(&lake, &buyers(), "SELECT count(*) FROM t").await, 1);
    upsert(&lake, &[visit("a", Some(5), 30, 4)], 4, 5).await.unwrap();
    assert_eq!(rows(&lake).await, BTreeMap::from([("a".into(), 5), ("b".into(), 1)]));
}

#[tokio::test]
async fn a_replayed_upsert_is_refused_and_a_key_without_a_value_too() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    upsert(&lake, &[visit("a", Some(1), 10, 0)], 0, 1).await.unwrap();
    let again = upsert(&lake, &[visit("a", Some(2), 11, 0)], 0, 1).await.unwrap_err();
    assert!(again.is_fenced(), "{again}");

    let mut keyless = visit_rows(&[visit("x", Some(1), 10, 1)]);
    let nulls = arrow::array::new_null_array(keyless.column(0).data_type(), 1);
    let mut columns = keyless.columns().to_vec();
    columns[0] = nulls;
    keyless = arrow::array::RecordBatch::try_new(keyless.schema(), columns).unwrap();
    let change = Change::Upsert { rows: vec![keyless], key: vec!["buyer_id".into()], progress: vec![step(0, 1, 2)] };
    let error = lake.commit(&buyers(), change).await.unwrap_err();
    assert!(error.to_string().contains("no value of 'buyer_id'"), "{error}");
    assert_eq!(rows(&lake).await, BTreeMap::from([("a".into(), 1)]));
}

#[tokio::test]
async fn an_append_to_an_upsert_table_and_a_wrong_column_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    let change = Change::Append { rows: vec![sale_rows([1])], progress: vec![] };
    assert!(lake.commit(&buyers(), change).await.unwrap_err().to_string().contains("takes no appends"));
    let change = Change::Upsert { rows: vec![sale_rows([1])], key: vec!["buyer_id".into()], progress: vec![] };
    assert!(lake.commit(&buyers(), change).await.unwrap_err().to_string().contains("column 'n'"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_the_same_buckets_lose_no_update() {
    let dir = tempfile::tempdir().unwrap();
    let mut writers = Vec::new();
    for partition in 0..3 {
        let lake = lake(dir.path()).await;
        writers.push(tokio::spawn(async move {
            for round in 0..4 {
                let rows = vec![visit_rows(&[visit(&format!("{partition}-{round}"), Some(round), 1, round)])];
                let progress = vec![step(partition, round, round + 1)];
                let change = Change::Upsert { rows, key: vec!["buyer_id".into()], progress };
                lake.commit(&buyers(), change).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let lake = lake(dir.path()).await;
    assert_eq!(rows(&lake).await.len(), 12);
}

/// A merge costs what its keys' buckets hold, and not what the table does.
#[tokio::test]
async fn a_merge_writes_the_bucket_of_its_key_anew_and_touches_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    let now = chrono::Utc::now().timestamp_micros();
    for n in 0..40 {
        let many: Vec<Visit> = (0..50).map(|m| visit(&format!("{n}-{m}"), Some(1), now, n * 50 + m)).collect();
        upsert(&lake, &many, n * 50, (n + 1) * 50).await.unwrap();
    }
    let config = MaintenanceConfig { target_file_size: 64 << 10, ..MaintenanceConfig::default() };
    assert!(Maintenance::new(lake.clone(), config).pass(&buyers()).await.unwrap().compactions > 0);
    let before = lake.fresh_snapshot(&buyers()).await.unwrap();
    upsert(&lake, &[visit("7-7", Some(2), now + 1, 2_000)], 2_000, 2_001).await.unwrap();
    let after = lake.fresh_snapshot(&buyers()).await.unwrap();
    let log = dir.path().join(format!("lake/curated/buyers/_delta_log/{:020}.json", after.version));
    let log = std::fs::read_to_string(log).unwrap();
    let removed: Vec<&str> = log.lines().filter(|line| line.starts_with("{\"remove\"")).collect();
    let buckets: BTreeSet<&str> =
        removed.iter().map(|line| line.split("_lw_bucket=").nth(1).unwrap()).map(|rest| &rest[..1]).collect();
    assert_eq!(buckets.len(), 1, "{log}");
    assert!(
        before.files >= 8 && removed.len() < before.files / 4,
        "{} of {} files: {log}",
        removed.len(),
        before.files
    );
    assert_eq!(number(&lake, &buyers(), "SELECT sum(visits) FROM t").await, 2_001);
    // Of the others it reads nothing either.
    let kept = format!("_lw_bucket={}", buckets.first().unwrap());
    for entry in std::fs::read_dir(dir.path().join("lake/curated/buyers")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("_lw_bucket=") && name != kept {
            std::fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    upsert(&lake, &[visit("7-7", Some(3), now + 2, 2_001)], 2_001, 2_002).await.unwrap();
}

fn visits() -> impl Strategy<Value = Vec<Vec<Visit>>> {
    let one = (0..6_u8, proptest::option::weighted(0.8, 0..100_i64), proptest::option::of(0..4_i64), 0..4_i64);
    proptest::collection::vec(proptest::collection::vec(one, 1..8), 1..6).prop_map(|commits| {
        let mut offset = 0;
        let mut numbered = |(buyer, visits, version, time): (u8, Option<i64>, Option<i64>, i64)| {
            offset += 1;
            Visit { buyer: format!("buyer-{buyer}"), visits, version, time, offset }
        };
        commits.into_iter().map(|commit| commit.into_iter().map(&mut numbered).collect()).collect()
    })
}

/// What must come out, whatever the commits were: for each key its greatest (version, time, offset).
fn model(commits: &[Vec<Visit>]) -> BTreeMap<String, i64> {
    let mut newest: BTreeMap<&str, &Visit> = BTreeMap::new();
    for visit in commits.iter().flatten() {
        let order = |v: &Visit| (v.version.unwrap_or(i64::MIN), v.time, v.offset);
        let entry = newest.entry(&visit.buyer).or_insert(visit);
        if order(visit) > order(entry) {
            *entry = visit;
        }
    }
    newest.into_iter().filter_map(|(buyer, visit)| Some((buyer.to_string(), visit.visits?))).collect()
}

proptest! {
    // A failure prints its seed and the shrunken case; `PROPTEST_CASES` makes it longer.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_newest_event_of_a_key_wins_in_whatever_order_events_come(commits in visits()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (found, counted) = runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let lake = lake(dir.path()).await;
            for (at, commit) in commits.iter().enumerate() {
                upsert(&lake, commit, at as i64, at as i64 + 1).await.unwrap();
            }
            (rows(&lake).await, lake.row_count(&buyers()).await.unwrap())
        });
        let expected = model(&commits);
        prop_assert_eq!(counted, expected.len() as u64);
        prop_assert_eq!(found, expected);
    }
}

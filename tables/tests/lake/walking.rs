//! The way through a raw table: every event once, each partition's by rising offset, in whatever files they stand.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use lakeward_tables::{Change, Lake, RawWindow, TableName};
use proptest::prelude::*;

use crate::clinic::{lake, raw_rows, step};

const SOURCE: &str = "main";
const TOPIC: &str = "shop.sale";

fn raw() -> TableName {
    TableName::raw("shop_sale")
}

/// Commits a file with these events, in this order, whatever stands before it.
async fn file(lake: &Lake, events: &[(i32, i64)]) {
    let rows = events.iter().map(|(partition, offset)| raw_rows(*partition, [*offset])).collect();
    lake.commit(&raw(), Change::Append { rows, progress: vec![] }).await.unwrap();
}

async fn walk(lake: &Lake, offsets: &BTreeMap<i32, Range<i64>>) -> Vec<RawWindow> {
    let mut windows = Vec::new();
    let mut walk = lake.walk_raw(&raw(), SOURCE, TOPIC, offsets.clone()).await.unwrap();
    while let Some((window, rest)) = walk.next().await.unwrap() {
        windows.push(window);
        walk = rest;
    }
    windows
}

fn events(window: &RawWindow) -> Vec<(i32, i64)> {
    let partitions = window.rows["partition"].as_primitive::<Int32Type>().values();
    let offsets = window.rows["offset"].as_primitive::<Int64Type>().values();
    let payloads = window.rows["payload"].as_binary::<i32>();
    for (offset, payload) in offsets.iter().zip(payloads) {
        assert_eq!(payload.unwrap(), format!("{{\"id\":\"{offset}\"}}").as_bytes());
    }
    partitions.iter().copied().zip(offsets.iter().copied()).collect()
}

/// Each window goes on, in each of its partitions, where those before it ended, has events of nothing else, and they rise.
/// Gives the events, by partition and offset.
fn in_order(windows: &[RawWindow], wanted: &BTreeMap<i32, Range<i64>>) -> Vec<(i32, i64)> {
    let (mut stands, mut all) = (wanted.clone(), Vec::new());
    for window in windows {
        for (partition, range) in &window.ranges {
            let rest = stands.get_mut(partition).unwrap();
            assert!(range.start == rest.start && range.start < range.end && range.end <= rest.end, "{windows:?}");
            rest.start = range.end;
        }
        let mut before = BTreeMap::new();
        for (partition, offset) in events(window) {
            assert!(window.ranges[&partition].contains(&offset), "{windows:?}");
            assert!(before.insert(partition, offset).is_none_or(|before| before < offset), "{windows:?}");
            all.push((partition, offset));
        }
    }
    assert!(stands.values().all(Range::is_empty), "{stands:?} is left of {wanted:?}");
    all.sort_unstable();
    all
}

proptest! {
    // A failure prints its seed and the shrunken case; `PROPTEST_CASES` makes it longer.
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn a_walk_gives_each_event_once_and_in_order_in_whatever_files_they_stand(
        mut files in prop::collection::vec(prop::collection::vec((0..3_i32, 0..40_i64), 1..12), 1..8),
        from in prop::collection::vec(0..20_i64, 3),
        to in prop::collection::vec(10..60_i64, 3),
        rise in prop::collection::vec(any::<bool>(), 8),
    ) {
        let mut seen = std::collections::BTreeSet::new();
        for (events, rise) in files.iter_mut().zip(&rise) {
            events.retain(|event| seen.insert(*event));
            if *rise {
                events.sort_by_key(|(_, offset)| *offset);
            }
        }
        let wanted: BTreeMap<i32, Range<i64>> =
            from.iter().zip(&to).enumerate().filter(|(_, (from, to))| from < to)
                .map(|(partition, (from, to))| (partition as i32, *from..*to)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let lake = lake(dir.path()).await;
            for events in files.iter().filter(|events| !events.is_empty()) {
                file(&lake, events).await;
            }
            in_order(&walk(&lake, &wanted).await, &wanted)
        });
        let is_wanted = |(partition, offset): &(i32, i64)| wanted.get(partition).is_some_and(|r| r.contains(offset));
        let expected: Vec<(i32, i64)> = seen.into_iter().filter(is_wanted).collect();
        prop_assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_long_way_is_given_in_pieces_and_a_short_one_in_one() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    for (from, next) in [(0, 90_000), (90_000, 90_010), (90_010, 90_020)] {
        let rows = vec![raw_rows(0, from..next), raw_rows(1, from..next)];
        let progress = vec![step(0, from, next), step(1, from, next)];
        lake.commit(&raw(), Change::Append { rows, progress }).await.unwrap();
    }
    let all = BTreeMap::from([(0, 0..90_020), (1, 0..90_020)]);
    let windows = walk(&lake, &all).await;
    assert_eq!(in_order(&windows, &all).len(), 2 * 90_020);
    assert!(windows.len() > 3 && windows.iter().all(|window| window.rows.num_rows() <= 75_000));

    let end = BTreeMap::from([(0, 90_005..90_020), (1, 89_999..90_020)]);
    let windows = walk(&lake, &end).await;
    assert_eq!((windows.len(), in_order(&windows, &end).len()), (1, 36));
}

#[tokio::test]
async fn offsets_without_events_are_passed_and_others_events_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    let far = 1_000_000_000_000;
    // The second file is between the two halves of the first one.
    file(&lake, &[(0, 5), (0, far + 5)]).await;
    file(&lake, &[(0, 7), (2, 0)]).await;
    let all = BTreeMap::from([(0, 0..far + 100), (1, 3..9)]);
    assert_eq!(in_order(&walk(&lake, &all).await, &all), [(0, 5), (0, 7), (0, far + 5)]);
    let nothing = BTreeMap::from([(0, 8..far), (1, 0..0)]);
    let windows = walk(&lake, &nothing).await;
    assert_eq!(windows.len(), 1);
    assert_eq!((windows[0].rows.num_rows(), &windows[0].ranges), (0, &BTreeMap::from([(0, 8..far)])));
    let elsewhere = lake.walk_raw(&raw(), "other", TOPIC, all).await.unwrap().next().await.unwrap().unwrap();
    assert_eq!(elsewhere.0.rows.num_rows(), 0);
}

#[tokio::test]
async fn after_a_file_could_not_be_read_another_walk_goes_on_where_the_last_events_ended() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    let folder = dir.path().join("lake/raw/shop_sale");
    let parquet = || -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|ending| ending == "parquet")).collect()
    };
    lake.commit(&raw(), Change::Append { rows: vec![raw_rows(0, 0..50_000)], progress: vec![step(0, 0, 50_000)] })
        .await
        .unwrap();
    let first = parquet();
    lake.commit(
        &raw(),
        Change::Append { rows: vec![raw_rows(0, 50_000..50_010)], progress: vec![step(0, 50_000, 50_010)] },
    )
    .await
    .unwrap();
    let second = parquet().into_iter().find(|path| !first.contains(path)).unwrap();

    let all = BTreeMap::from([(0, 0..50_010)]);
    let walk_on = lake.walk_raw(&raw(), SOURCE, TOPIC, all.clone()).await.unwrap();
    let (window, walk_on) = walk_on.next().await.unwrap().unwrap();
    assert_eq!(window.ranges, BTreeMap::from([(0, 0..50_000)]));
    std::fs::rename(&second, second.with_extension("away")).unwrap();
    walk_on.next().await.unwrap_err();
    std::fs::rename(second.with_extension("away"), &second).unwrap();
    let rest = BTreeMap::from([(0, 50_000..50_010)]);
    assert_eq!(in_order(&walk(&lake, &rest).await, &rest).len(), 10);
}

//! Append tables that take no event twice within a window.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use lakeward_tables::maintenance::{Maintenance, MaintenanceConfig};
use lakeward_tables::{Change, Lake};
use proptest::prelude::*;

use crate::clinic::{lake, moves, number, step};

const MINUTE: i64 = 60_000_000;

/// Number of the key, and Kafka's timestamp in minutes.
type Move = (u16, i64);

fn rows_of(moves: &[Move], first: i64) -> RecordBatch {
    let column = |name: &str, array: ArrayRef| (name.to_string(), array, true);
    let offsets = || (0..moves.len() as i64).map(|n| Some(first + n)).collect::<Int64Array>();
    RecordBatch::try_from_iter_with_nullable([
        column("move_id", Arc::new(moves.iter().map(|(id, _)| Some(format!("move-{id}"))).collect::<StringArray>())),
        column("value", Arc::new(offsets())),
        column("_lw_time", Arc::new(moves.iter().map(|(_, time)| Some(time * MINUTE)).collect::<Int64Array>())),
        column("_lw_offset", Arc::new(offsets())),
    ])
    .unwrap()
}

async fn append(lake: &Lake, moves: &[Move], from: i64) -> i64 {
    let next = from + moves.len() as i64;
    let (rows, progress) = (vec![rows_of(moves, from)], vec![step(0, from, next)]);
    lake.commit(&crate::clinic::moves(), Change::Append { rows, progress }).await.unwrap();
    next
}

/// How many rows there must be: a repetition within an hour of one that was taken is not taken.
fn model(events: &[Move]) -> i64 {
    let mut taken: BTreeMap<u16, Vec<i64>> = BTreeMap::new();
    for (id, time) in events {
        let of_key = taken.entry(*id).or_default();
        if of_key.iter().all(|other| (time - other).abs() > 60) {
            of_key.push(*time);
        }
    }
    taken.values().map(|times| times.len() as i64).sum()
}

#[tokio::test]
async fn a_repetition_within_the_window_is_not_added_and_one_beyond_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    let mut at = append(&lake, &[(1, 0), (2, 0), (1, 5)], 0).await;
    assert_eq!(lake.row_count(&moves()).await.unwrap(), 2);
    at = append(&lake, &[(1, 60), (3, 60)], at).await;
    assert_eq!(lake.row_count(&moves()).await.unwrap(), 3);
    at = append(&lake, &[(1, 61)], at).await;
    assert_eq!(lake.row_count(&moves()).await.unwrap(), 4);
    // All of it is there already: positions are committed, and no file.
    let before = lake.fresh_snapshot(&moves()).await.unwrap();
    at = append(&lake, &[(1, 62), (3, 61)], at).await;
    let after = lake.fresh_snapshot(&moves()).await.unwrap();
    assert_eq!((after.files, after.version), (before.files, before.version + 1));
    assert_eq!(lake.next_offsets(&moves(), "main", "shop.sale").await.unwrap()[&0], at);
}

#[tokio::test]
async fn a_restart_and_another_process_know_what_was_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (lake(dir.path()).await, lake(dir.path()).await);
    let at = append(&two, &[(7, 0)], 0).await;
    let at = append(&one, &[(1, 0), (2, 0)], at).await;
    let at = append(&two, &[(1, 10)], at).await;
    append(&lake(dir.path()).await, &[(2, 20), (7, 30)], at).await;
    assert_eq!(number(&one, &moves(), "SELECT count(DISTINCT move_id) FROM t").await, 3);
    assert_eq!(number(&one, &moves(), "SELECT count(*) FROM t").await, 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_events_come_to_the_same_rows_however_they_are_cut_into_commits(
        events in proptest::collection::vec((0..12_u16, 0..300_i64), 1..60),
        cuts in proptest::collection::vec((1..12_usize, 0..4_u8), 60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let counted = runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut lake = crate::clinic::lake(dir.path()).await;
            let (mut rest, mut at) = (events.as_slice(), 0);
            for (cut, then) in cuts {
                if rest.is_empty() {
                    break;
                }
                let (some, others) = rest.split_at(cut.min(rest.len()));
                at = append(&lake, some, at).await;
                rest = others;
                match then {
                    0 => lake = crate::clinic::lake(dir.path()).await,
                    1 => {
                        let maintenance = Maintenance::new(lake.clone(), MaintenanceConfig::default());
                        maintenance.pass(&moves()).await.unwrap();
                        maintenance.release().await;
                    }
                    _ => {}
                }
            }
            number(&lake, &moves(), "SELECT count(*) FROM t").await
        });
        prop_assert_eq!(counted, model(&events));
    }
}

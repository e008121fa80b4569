//! Corrected tables: plain events are appended, the newest of a corrected key takes the place of all others.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use lakeward_tables::maintenance::{Maintenance, MaintenanceConfig};
use lakeward_tables::{Change, Committed, Lake, TablesError};
use proptest::prelude::*;

use crate::clinic::{ask, lake, number, results, step};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Correction,
    Removal,
}

/// One event, which has as many rows as components.
#[derive(Debug, Clone)]
struct Event {
    id: u8,
    kind: Kind,
    components: i64,
    version: Option<i64>,
    time: i64,
    offset: i64,
}

fn event(id: u8, kind: Kind, components: i64, time: i64, offset: i64) -> Event {
    Event { id, kind, components, version: None, time, offset }
}

/// As ingest brings them: of what removes only the key.
fn rows_of(events: &[Event]) -> RecordBatch {
    let rows: Vec<(&Event, i64)> =
        events.iter().flat_map(|event| (0..event.components.max(1)).map(move |component| (event, component))).collect();
    let removes = |event: &Event| event.kind == Kind::Removal;
    let column = |name: &str, array: ArrayRef| (name.to_string(), array, true);
    let numbers = |value: &dyn Fn(&Event, i64) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(|(event, component)| value(event, *component)).collect::<Int64Array>())
    };
    let flags = |value: &dyn Fn(&Event) -> bool| -> ArrayRef {
        Arc::new(rows.iter().map(|(event, _)| Some(value(event))).collect::<BooleanArray>())
    };
    let ids: StringArray = rows.iter().map(|(event, _)| Some(format!("result-{}", event.id))).collect();
    RecordBatch::try_from_iter_with_nullable([
        column("result_id", Arc::new(ids)),
        column("component", numbers(&|event, component| (!removes(event)).then_some(component))),
        column("value", numbers(&|event, _| (!removes(event)).then_some(event.offset))),
        column("_lw_version", numbers(&|event, _| event.version)),
        column("_lw_time", numbers(&|event, _| Some(event.time))),
        column("_lw_offset", numbers(&|event, _| Some(event.offset))),
        column("_lw_corrected", flags(&|event| event.kind != Kind::Plain)),
        column("_lw_deleted", flags(&|event| removes(event))),
    ])
    .unwrap()
}

async fn commit(lake: &Lake, partition: i32, events: &[Event], from: i64, next: i64) -> Result<Committed, TablesError> {
    let progress = vec![step(partition, from, next)];
    lake.commit(&results(), Change::Correct { rows: vec![rows_of(events)], progress }).await
}

type Rows = BTreeMap<(String, i64, i64), u64>;

async fn found(lake: &Lake) -> Rows {
    let mut rows = Rows::new();
    for batch in ask(lake, &results(), "SELECT result_id, component, value FROM t").await {
        for row in 0..batch.num_rows() {
            let id = batch.column(0).as_string_view().value(row).to_string();
            let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
            *rows.entry((id, number(1), number(2))).or_default() += 1;
        }
    }
    rows
}

/// What must be there, whatever the order and the commits: of a key that somebody corrected the rows of its newest event, of
/// all others the rows of every event.
fn model(events: &[Event]) -> Rows {
    let mut by_key: BTreeMap<u8, Vec<&Event>> = BTreeMap::new();
    events.iter().for_each(|event| by_key.entry(event.id).or_default().push(event));
    let mut rows = Rows::new();
    for (id, mut events) in by_key {
        events.sort_by_key(|event| (event.version.is_some(), event.version, event.time, event.offset));
        if events.iter().any(|event| event.kind != Kind::Plain) {
            events = events.pop().filter(|event| event.kind != Kind::Removal).into_iter().collect();
        }
        for event in events {
            for component in 0..event.components {
                *rows.entry((format!("result-{id}"), component, event.offset)).or_default() += 1;
            }
        }
    }
    rows
}

#[tokio::test]
async fn a_correction_replaces_all_rows_of_its_event_and_a_withdrawal_takes_them_away() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    let first = [event(1, Kind::Plain, 3, 10, 0), event(2, Kind::Plain, 1, 10, 1), event(3, Kind::Plain, 2, 10, 2)];
    let committed = commit(&lake, 0, &first, 0, 3).await.unwrap();
    assert_eq!((committed.files, committed.rows), (1, 6));
    // Three components become two, in the commit that brings a plain event as well.
    let second = [event(1, Kind::Correction, 2, 20, 3), event(4, Kind::Plain, 1, 20, 4)];
    commit(&lake, 0, &second, 3, 5).await.unwrap();
    commit(&lake, 0, &[event(3, Kind::Removal, 2, 30, 5)], 5, 6).await.unwrap();
    let all = [first.as_slice(), second.as_slice(), &[event(3, Kind::Removal, 2, 30, 5)]].concat();
    assert_eq!(found(&lake).await, model(&all));
    assert_eq!(lake.row_count(&results()).await.unwrap(), 4);
    assert_eq!(number(&lake, &results(), "SELECT count(*) FROM t").await, 4);
    assert_eq!(number(&lake, &results(), "SELECT count(*) FROM t WHERE result_id = 'result-3'").await, 0);
}

#[tokio::test]
async fn a_plain_event_without_its_key_is_refused_also_where_nobody_looks_for_keys_yet() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    let rows = rows_of(&[event(1, Kind::Plain, 1, 10, 0)]);
    let mut columns = rows.columns().to_vec();
    columns[0] = Arc::new(StringArray::from(vec![None::<&str>]));
    let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
    let refused = lake.commit(&results(), Change::Correct { rows: vec![rows], progress: vec![step(0, 0, 1)] }).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("a row has no value of 'result_id', which is in its key"), "{error}");
    assert_eq!(lake.row_count(&results()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_late_plain_event_of_a_corrected_key_brings_nothing_back_in_no_process_and_after_no_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (lake(dir.path()).await, lake(dir.path()).await);
    commit(&two, 1, &[event(9, Kind::Plain, 1, 1, 100)], 100, 101).await.unwrap();
    let mut all = vec![event(9, Kind::Plain, 1, 1, 100)];
    let corrections = [event(1, Kind::Correction, 1, 20, 0), event(2, Kind::Removal, 1, 20, 1)];
    commit(&one, 0, &corrections, 0, 2).await.unwrap();
    all.extend(corrections);
    // Older ones come later, through a process that has seen none of it, and then through one that has just begun.
    let late =
        [event(1, Kind::Plain, 2, 10, 101), event(2, Kind::Plain, 1, 15, 102), event(5, Kind::Plain, 1, 15, 103)];
    commit(&two, 1, &late, 101, 104).await.unwrap();
    all.extend(late);
    let third = lake(dir.path()).await;
    let later =
        [event(1, Kind::Plain, 2, 11, 104), event(2, Kind::Plain, 1, 16, 105), event(1, Kind::Plain, 1, 30, 106)];
    commit(&third, 1, &later, 104, 107).await.unwrap();
    all.extend(later);
    assert_eq!(found(&third).await, model(&all));
    assert_eq!(lake(dir.path()).await.row_count(&results()).await.unwrap(), model(&all).len() as u64);
}

#[tokio::test]
async fn plain_events_are_appended_whatever_was_corrected_and_rewrite_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    commit(&lake, 0, &[event(1, Kind::Plain, 1, 1, 0), event(1, Kind::Correction, 1, 2, 1)], 0, 2).await.unwrap();
    for n in 0..5_u8 {
        let offset = 2 + i64::from(n);
        let one = [event(10 + n, Kind::Plain, 1, 3, offset)];
        let committed = commit(&lake, 0, &one, offset, offset + 1).await.unwrap();
        assert_eq!((committed.files, committed.rows, committed.attempts), (1, 1, 1));
    }
    assert_eq!(lake.fresh_snapshot(&results()).await.unwrap().files, 6);
}

#[tokio::test]
async fn a_late_correction_that_loses_is_remembered_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    let all = [
        event(1, Kind::Plain, 1, 30, 0),
        // Older than what is there.
        event(1, Kind::Correction, 1, 20, 1),
        // Older still, and the key was corrected.
        event(1, Kind::Plain, 1, 10, 2),
    ];
    for (at, event) in all.iter().enumerate() {
        commit(&lake, 0, std::slice::from_ref(event), at as i64, at as i64 + 1).await.unwrap();
    }
    assert_eq!(found(&lake).await, model(&all));
    assert_eq!(found(&lake).await.len(), 1);
}

#[tokio::test]
async fn a_table_made_before_corrections_were_built_is_read_and_corrected() {
    let dir = tempfile::tempdir().unwrap();
    let name = "lake/curated/results/_delta_log/00000000000000000000.json";
    lake(dir.path()).await.create_all().await.unwrap();
    let first = std::fs::read_to_string(dir.path().join(name)).unwrap();
    let mut before = first.clone();
    for column in ["_lw_deleted", "_lw_corrected"] {
        let field = format!(
            ",{{\\\"name\\\":\\\"{column}\\\",\\\"type\\\":\\\"boolean\\\",\\\"nullable\\\":true,\\\"metadata\\\":{{}}}}"
        );
        assert!(before.contains(&field), "{before}");
        before = before.replace(&field, "");
    }
    std::fs::write(dir.path().join(name), before).unwrap();
    let lake = lake(dir.path()).await;
    let all = [event(1, Kind::Plain, 1, 10, 0), event(1, Kind::Correction, 1, 20, 1)];
    for (at, event) in all.iter().enumerate() {
        commit(&lake, 0, std::slice::from_ref(event), at as i64, at as i64 + 1).await.unwrap();
    }
    assert_eq!(found(&lake).await, model(&all));
}

/// Writers of other partitions correct the same keys at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_that_correct_the_same_keys_all_come_through_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writers = Vec::new();
    let mut all = Vec::new();
    for partition in 0..3_i32 {
        let lake = lake(dir.path()).await;
        let rounds: Vec<Vec<Event>> = (0..8_i64)
            .map(|round| {
                let offset = i64::from(partition) * 1_000 + round * 10;
                let kind = |n: i64| [Kind::Plain, Kind::Correction, Kind::Removal][((n + round) % 3) as usize];
                (0..6).map(|n| event(n as u8, kind(n), 1 + n % 2, 10 * round + n * 7 % 5, offset + n)).collect()
            })
            .collect();
        all.extend(rounds.iter().flatten().cloned());
        writers.push(tokio::spawn(async move {
            let mut most = 0;
            for (round, events) in rounds.iter().enumerate() {
                let from = i64::from(partition) * 1_000 + round as i64 * 10;
                most = most.max(commit(&lake, partition, events, from, from + 10).await.unwrap().attempts);
            }
            most
        }));
    }
    for writer in writers {
        let most = writer.await.unwrap();
        assert!(most <= 16, "{most} attempts");
    }
    assert_eq!(found(&lake(dir.path()).await).await, model(&all));
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Event>),
    Restart,
    Maintain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![6 => Just(Kind::Plain), 2 => Just(Kind::Correction), 1 => Just(Kind::Removal)];
    let one = (0..7_u8, kind, 1..4_i64, proptest::option::of(0..4_i64), 0..6_i64);
    let commit = proptest::collection::vec(one, 1..6);
    let step = prop_oneof![8 => commit.prop_map(Some), 1 => Just(None)];
    proptest::collection::vec((step, any::<bool>()), 1..30).prop_map(|steps| {
        let mut offset = 0;
        let mut numbered = |(id, kind, components, version, time)| {
            offset += 1;
            Event { id, kind, components, version, time, offset }
        };
        let step = |(step, restart): (Option<Vec<_>>, bool)| match (step, restart) {
            (Some(events), _) => Step::Commit(events.into_iter().map(&mut numbered).collect()),
            (None, true) => Step::Restart,
            (None, false) => Step::Maintain,
        };
        steps.into_iter().map(step).collect()
    })
}

proptest! {
    // A failure prints its seed and the shrunken case; `PROPTEST_CASES` makes it longer.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_rows_come_of_the_same_events_in_whatever_order_and_whatever_happens_between(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (found, counted, events) = runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            // Two processes take turns, each with partitions of its own.
            let mut lakes = [lake(dir.path()).await, lake(dir.path()).await];
            let (mut at, mut all) = ([0_i64; 2], Vec::new());
            let small = MaintenanceConfig { target_file_size: 1 << 20, ..MaintenanceConfig::default() };
            for (number, step) in steps.iter().enumerate() {
                let turn = number % 2;
                match step {
                    Step::Commit(events) => {
                        let next = events.last().unwrap().offset + 1;
                        commit(&lakes[turn], turn as i32, events, at[turn], next).await.unwrap();
                        at[turn] = next;
                        all.extend(events.iter().cloned());
                    }
                    Step::Restart => lakes[turn] = lake(dir.path()).await,
                    Step::Maintain => {
                        let maintenance = Maintenance::new(lakes[turn].clone(), small.clone());
                        maintenance.pass(&results()).await.unwrap();
                        maintenance.release().await;
                    }
                }
            }
            (found(&lakes[0]).await, lakes[1].row_count(&results()).await.unwrap(), all)
        });
        let expected = model(&events);
        prop_assert_eq!(counted, expected.values().sum::<u64>());
        prop_assert_eq!(found, expected);
    }
}

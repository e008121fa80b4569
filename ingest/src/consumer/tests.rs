//! Waiting for room: nobody here looks at how long anything takes.

use std::collections::{BTreeMap, HashSet};

use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::buffer::{Spare, TopicBuffer};
use crate::intake::{Lane, Limits, Work};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// An intake whose memory is used up by one batch that is on its way; that batch, too.
fn full() -> (Mutex<Intake>, Arc<Budget>, crate::budget::Held) {
    let budget = Budget::new(1);
    let (work, mut given) = unbounded_channel();
    let buffer = TopicBuffer::new(lakeward_tables::raw_schema(), "test", "a", Spare::default());
    let lane = Lane { topic: "a".to_owned(), buffer, work, positions: BTreeMap::new(), halted: HashSet::new() };
    let limits = Limits { commit_interval: YEAR, commit_bytes: 10, held_bytes: 100 };
    let mut intake = Intake::new(vec![lane], Arc::clone(&budget), limits);
    intake.assign(0, &[(0, Some(0))], &[]).unwrap();
    let payload = [b'x'; 200];
    let message =
        Incoming { partition: 0, offset: 0, timestamp: Some(1), key: None, payload: Some(&payload), headers: None };
    intake.push(0, &message).unwrap();
    assert!(intake.is_full());
    let held = loop {
        match given.try_recv().unwrap() {
            Work::Batch(_, held) => break held,
            Work::Assigned(_) => {}
        }
    };
    // Nobody takes the batches any more, and none is made.
    std::mem::forget(given);
    (Mutex::new(intake), budget, held)
}

#[test]
fn while_memory_is_full_nothing_is_taken_until_a_batch_has_landed() {
    let (intake, budget, held) = full();
    let (stop, given_up) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // It lands when somebody waits for it, and not before.
            while !budget.wake() && !given_up.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            drop(held);
        });
        wait_for_room(&intake, &budget, &stop, Instant::now() + YEAR).unwrap();
        let full = intake.lock().is_full();
        given_up.store(true, Ordering::Relaxed);
        assert!(!full, "it went on while memory was full");
    });
}

#[test]
fn nobody_waits_for_room_beyond_the_moment_that_was_set_or_a_stop() {
    let (intake, budget, _held) = full();
    let (going, stopped) = (AtomicBool::new(false), AtomicBool::new(true));
    wait_for_room(&intake, &budget, &going, Instant::now()).unwrap();
    wait_for_room(&intake, &budget, &stopped, Instant::now() + YEAR).unwrap();
    assert!(intake.lock().is_full());
}

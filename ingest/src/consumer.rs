//! The poll thread: takes messages as fast as the tables allow, seals batches, pauses and resumes partitions.
//!
//! One consumer lives as long as it works; when it does not, a new one is made and starts from where the tables stand.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::budget::Budget;
use crate::buffer::Incoming;
use crate::error::IngestError;
use crate::intake::{Intake, Taken};
use crate::rebalance::{Intermediary, Session};
use crate::standing::{made_anew, trouble_key};
use crate::state::KAFKA;
use crate::topic_id::topic_ids;

const TICK: Duration = Duration::from_millis(20);
/// Messages that are taken without waiting before somebody looks at the clock.
const CLOCK_EVERY: u32 = 64;
const GROUP_COMMIT: Duration = Duration::from_secs(5);
/// How long messages are left in librdkafka's queue when memory is full, before partitions are paused: a pause throws the
/// queue away, and after its end librdkafka asks for nothing during up to a second.
const WAIT_FOR_ROOM: Duration = Duration::from_secs(1);
/// How often the topics' ids are asked for.
const WATCH_TOPICS: Duration = Duration::from_secs(5);
const SHUTDOWN_DRAIN: Duration = Duration::from_millis(4_000);

/// Runs until it is told to stop; what was read by then is handed over and, if storage answers, committed.
pub(crate) fn run(shared: &Arc<Intermediary>, fetched_bytes: usize) {
    let mut pause = Duration::from_millis(200);
    while !shared.stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        match session(shared, fetched_bytes) {
            Ok(()) => break,
            Err(error) => {
                shared.board.joined(false);
                shared.board.raise(KAFKA, "consumer", error.to_string());
            }
        }
        if begun.elapsed() > Duration::from_secs(60) {
            pause = Duration::from_millis(200);
        }
        let until = Instant::now() + pause;
        while Instant::now() < until && !shared.stop.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
        }
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

fn session(shared: &Arc<Intermediary>, fetched_bytes: usize) -> Result<(), IngestError> {
    *shared.broken.lock() = None;
    let context = Session(Arc::clone(shared));
    let consumer: BaseConsumer<Session> =
        shared.kafka.consumer(fetched_bytes).create_with_context(context).map_err(IngestError::client)?;
    let topics: Vec<&str> = shared.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(IngestError::client)?;
    let done = AtomicBool::new(false);
    let polled = std::thread::scope(|scope| {
        scope.spawn(|| watch_topics(shared, &consumer, &done));
        let polled = poll(shared, &consumer);
        done.store(true, Ordering::Relaxed);
        polled
    });
    // Whatever ended the session: what was read belongs into the tables, and its positions are known there.
    let sealed = seal_all(shared);
    let all: Vec<usize> = (0..shared.topics.len()).collect();
    let stopping = shared.stop.load(Ordering::Relaxed);
    if stopping {
        shared.budget.drained(&all, SHUTDOWN_DRAIN, || false);
        commit_group(shared, &consumer, CommitMode::Sync);
    }
    drop(consumer);
    polled.and(sealed)
}

/// Ends the session when a topic is not the one that was assigned any more: the next assignment tells what that means.
fn watch_topics(shared: &Intermediary, consumer: &BaseConsumer<Session>, done: &AtomicBool) {
    let mut next = Instant::now() + WATCH_TOPICS;
    while !done.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        if Instant::now() < next {
            continue;
        }
        next = Instant::now() + WATCH_TOPICS;
        let known = shared.ids.lock().clone();
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let Ok(told) = topic_ids(consumer.client(), &names, Duration::from_millis(1_500)) else { continue };
        if let Some((topic, _)) = told.iter().find(|(topic, id)| known.get(*topic).is_some_and(|known| known != *id)) {
            *shared.broken.lock() = Some(format!("{topic} was made anew"));
        }
    }
}

fn seal_all(shared: &Intermediary) -> Result<(), IngestError> {
    let mut intake = shared.intake.lock();
    (0..intake.topics()).try_for_each(|topic| intake.seal(topic))
}

fn poll(shared: &Arc<Intermediary>, consumer: &BaseConsumer<Session>) -> Result<(), IngestError> {
    let mut paused: BTreeSet<(String, i32)> = BTreeSet::new();
    let mut next_tick = Instant::now();
    let mut next_group_commit = Instant::now() + GROUP_COMMIT;
    let mut troubled = true;
    let mut since_the_clock = 0;
    loop {
        let mut pressed = false;
        let polled = consumer.poll(Duration::ZERO).or_else(|| {
            since_the_clock = CLOCK_EVERY;
            consumer.poll(TICK)
        });
        match polled {
            Some(Ok(message)) => {
                pressed = take(shared, &message)?;
                since_the_clock += 1;
                if troubled {
                    // A message is the proof that what was refused is granted now.
                    shared.board.clear(KAFKA, &format!("topic {}", message.topic()));
                    shared.board.clear(KAFKA, "consumer");
                    troubled = false;
                }
            }
            // What the callbacks told already.
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                return Err(IngestError::Client(format!("the consumer cannot go on: {code}")));
            }
            // The offset is not there (any more): whether events are lost or the topic is another one shows at the next
            // assignment.
            Some(Err(KafkaError::MessageConsumption(Code::AutoOffsetReset))) => {
                shared.examine.store(true, Ordering::Relaxed);
                return Err(IngestError::Client("Kafka does not have the offset that is due".to_owned()));
            }
            Some(Err(_)) => troubled = true,
            None => {}
        }
        if !pressed && since_the_clock < CLOCK_EVERY && !troubled {
            continue;
        }
        since_the_clock = 0;
        let now = Instant::now();
        if !pressed && now < next_tick {
            continue;
        }
        next_tick = now + TICK;
        if shared.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(why) = shared.broken.lock().take() {
            return Err(IngestError::Client(why));
        }
        if paused.is_empty() {
            wait_for_room(&shared.intake, &shared.budget, &shared.stop, now + WAIT_FOR_ROOM)?;
        }
        let held = {
            let mut intake = shared.intake.lock();
            intake.seal_due(now)?;
            let due: BTreeSet<(String, i32)> = intake.paused().into_iter().map(|(t, p)| (t.to_owned(), p)).collect();
            if shared.reassigned.swap(false, Ordering::Relaxed) {
                // What stayed over a rebalance may be paused and what came is not: each is told anew.
                paused = assigned(consumer)?.difference(&due).cloned().collect();
                shared.board.clear(KAFKA, "consumer");
            }
            set_pauses(consumer, &mut paused, due)?;
            intake.held()
        };
        shared.metrics.held(held, !paused.is_empty());
        if now >= next_group_commit {
            next_group_commit = now + GROUP_COMMIT;
            commit_group(shared, consumer, CommitMode::Async);
        }
    }
}

/// Takes nothing while memory is full, for a while.
fn wait_for_room(
    intake: &Mutex<Intake>,
    budget: &Budget,
    stop: &AtomicBool,
    until: Instant,
) -> Result<(), IngestError> {
    loop {
        let now = Instant::now();
        let full = {
            let mut intake = intake.lock();
            intake.seal_due(now)?;
            intake.is_full()
        };
        if !full || now >= until || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        budget.wait_for_a_batch(TICK);
    }
}

/// True when it is time to look at pauses.
fn take(shared: &Intermediary, message: &BorrowedMessage<'_>) -> Result<bool, IngestError> {
    let mut intake = shared.intake.lock();
    let Some(topic) = intake.index(message.topic()) else { return Ok(false) };
    let incoming = Incoming {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key(),
        payload: message.payload(),
        headers: message.headers(),
    };
    match intake.push(topic, &incoming)? {
        Taken::Yes => Ok(intake.presses(topic)),
        Taken::Skipped => Ok(false),
        Taken::StartedOver { position } => {
            let (name, partition, offset) = (message.topic(), message.partition(), message.offset());
            let how = format!("partition {partition} goes on at offset {offset}, and the table stands at {position}");
            shared.board.raise(KAFKA, &trouble_key(name, partition), made_anew(name, &shared.raw[topic], &how));
            Ok(true)
        }
    }
}

fn assigned(consumer: &BaseConsumer<Session>) -> Result<BTreeSet<(String, i32)>, IngestError> {
    let list = consumer.assignment().map_err(IngestError::client)?;
    Ok(list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect())
}

fn set_pauses(
    consumer: &BaseConsumer<Session>,
    paused: &mut BTreeSet<(String, i32)>,
    due: BTreeSet<(String, i32)>,
) -> Result<(), IngestError> {
    if *paused == due {
        return Ok(());
    }
    let list = |partitions: &mut dyn Iterator<Item = &(String, i32)>| {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
        }
        list
    };
    let (pause, resume) = (list(&mut due.difference(paused)), list(&mut paused.difference(&due)));
    if pause.count() > 0 {
        consumer.pause(&pause).map_err(IngestError::client)?;
    }
    if resume.count() > 0 {
        consumer.resume(&resume).map_err(IngestError::client)?;
    }
    *paused = due;
    Ok(())
}

/// Tells the group where the tables stand. For those who watch lag from outside; nobody starts from it.
fn commit_group(shared: &Intermediary, consumer: &BaseConsumer<Session>, mode: CommitMode) {
    let Ok(assignment) = consumer.assignment() else { return };
    let committed = shared.committed.lock().clone();
    let mut list = TopicPartitionList::new();
    for element in assignment.elements() {
        let at = committed.get(element.topic()).and_then(|partitions| partitions.get(&element.partition()));
        if let Some(at) = at {
            // Only a logical offset could be refused here.
            let _ = list.add_partition_offset(element.topic(), element.partition(), Offset::Offset(*at));
        }
    }
    if list.count() > 0
        && let Err(error) = consumer.commit(&list, mode)
    {
        tracing::debug!(%error, "the group's offsets were not committed");
    }
}

#[cfg(test)]
mod tests;

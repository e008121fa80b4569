//! What the poll thread holds: the open batch of each topic, where each partition stands, and when to pause.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::budget::{Budget, Held};
use crate::buffer::{Incoming, Sealed, TopicBuffer};
use crate::error::IngestError;

/// How many batches of a topic may be in flight; further events wait in the open batch, which makes the next commit larger.
const BATCHES_IN_FLIGHT: usize = 2;

/// What a topic's task is given, in order.
#[derive(Debug)]
pub(crate) enum Work {
    /// These partitions are read from now on: see where the tables stand, and bring those up that are behind.
    Assigned(Vec<i32>),
    /// Events to be committed.
    Batch(Sealed, Held),
}

/// A topic, as the poll thread sees it. The channel is not bounded by itself: batches are, by [`BATCHES_IN_FLIGHT`] and the
/// budget, and assignments are few.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) topic: String,
    pub(crate) buffer: TopicBuffer,
    pub(crate) work: UnboundedSender<Work>,
    /// The next offset of each assigned partition; `None` until the first event of a partition that no table knows.
    pub(crate) positions: BTreeMap<i32, Option<i64>>,
    /// Partitions of which nothing is taken, see [`crate::standing`].
    pub(crate) halted: HashSet<i32>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) commit_interval: Duration,
    pub(crate) commit_bytes: usize,
    pub(crate) held_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Intake {
    lanes: Vec<Lane>,
    by_topic: HashMap<String, usize>,
    /// Whose index was asked for last.
    last: usize,
    budget: Arc<Budget>,
    limits: Limits,
    buffered: usize,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It stands in the open batch.
    Yes,
    /// It stands in the table already, or its partition is no longer read.
    Skipped,
    /// Its offset is below where the table stands, and it is the first to tell: the topic was made anew.
    StartedOver { position: i64 },
}

impl Intake {
    pub(crate) fn new(lanes: Vec<Lane>, budget: Arc<Budget>, limits: Limits) -> Self {
        let by_topic = lanes.iter().enumerate().map(|(index, lane)| (lane.topic.clone(), index)).collect();
        Intake { lanes, by_topic, last: 0, budget, limits, buffered: 0 }
    }

    pub(crate) fn index(&mut self, topic: &str) -> Option<usize> {
        // Most messages are of the same topic as the one before.
        if self.lanes.get(self.last).is_some_and(|lane| lane.topic == topic) {
            return Some(self.last);
        }
        let index = self.by_topic.get(topic).copied();
        self.last = index.unwrap_or(self.last);
        index
    }

    pub(crate) fn topics(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn held(&self) -> usize {
        self.buffered + self.budget.bytes()
    }

    /// From now on these partitions are read, from these positions; but not those that are halted.
    pub(crate) fn assign(
        &mut self,
        topic: usize,
        partitions: &[(i32, Option<i64>)],
        halted: &[i32],
    ) -> Result<(), IngestError> {
        let lane = &mut self.lanes[topic];
        lane.positions.extend(partitions.iter().copied());
        for (partition, _) in partitions {
            lane.halted.remove(partition);
        }
        lane.halted.extend(halted);
        let numbers = partitions.iter().map(|(partition, _)| *partition).collect();
        lane.work.send(Work::Assigned(numbers)).map_err(|_| IngestError::Ended("the task of a topic"))
    }

    pub(crate) fn revoke(&mut self, topic: usize, partition: i32) {
        self.lanes[topic].positions.remove(&partition);
    }

    pub(crate) fn push(&mut self, topic: usize, message: &Incoming<'_>) -> Result<Taken, IngestError> {
        let lane = &mut self.lanes[topic];
        let Some(position) = lane.positions.get_mut(&message.partition) else { return Ok(Taken::Skipped) };
        if lane.halted.contains(&message.partition) {
            return Ok(Taken::Skipped);
        }
        if let Some(position) = position.filter(|position| message.offset < *position) {
            lane.halted.insert(message.partition);
            return Ok(Taken::StartedOver { position });
        }
        let from = position.replace(message.offset + 1).unwrap_or(message.offset);
        let before = lane.buffer.bytes();
        lane.buffer.push(message, from);
        self.buffered += lane.buffer.bytes() - before;
        if lane.buffer.bytes() >= self.limits.commit_bytes && self.budget.batches(topic) < BATCHES_IN_FLIGHT {
            self.seal(topic)?;
        }
        Ok(Taken::Yes)
    }

    /// Hands the open batch of a topic over, whatever is in flight.
    pub(crate) fn seal(&mut self, topic: usize) -> Result<(), IngestError> {
        let lane = &mut self.lanes[topic];
        if lane.buffer.is_empty() {
            return Ok(());
        }
        let sealed = lane.buffer.seal()?;
        self.buffered -= sealed.bytes;
        let held = self.budget.hold(topic, sealed.bytes);
        lane.work.send(Work::Batch(sealed, held)).map_err(|_| IngestError::Ended("the task of a topic"))
    }

    /// Hands over what is due by time, by size, or because memory is short.
    pub(crate) fn seal_due(&mut self, now: Instant) -> Result<(), IngestError> {
        let full = self.is_full();
        for topic in 0..self.lanes.len() {
            let buffer = &self.lanes[topic].buffer;
            let waited =
                buffer.opened().is_some_and(|opened| now.duration_since(opened) >= self.limits.commit_interval);
            let due = full || waited || buffer.bytes() >= self.limits.commit_bytes;
            if due && self.budget.batches(topic) < BATCHES_IN_FLIGHT {
                self.seal(topic)?;
            }
        }
        Ok(())
    }

    /// Whether no more may be held.
    pub(crate) fn is_full(&self) -> bool {
        self.held() >= self.limits.held_bytes
    }

    /// The partitions that must not be read now: all when memory is full, those of a topic whose tables do not keep up.
    pub(crate) fn paused(&self) -> Vec<(&str, i32)> {
        let full = self.is_full();
        let lanes = self.lanes.iter().map(|lane| (lane, full || lane.buffer.bytes() >= 2 * self.limits.commit_bytes));
        lanes
            .flat_map(|(lane, all)| {
                let partitions = lane.positions.keys().filter(move |p| all || lane.halted.contains(p));
                partitions.map(|partition| (lane.topic.as_str(), *partition))
            })
            .collect()
    }

    /// Whether [`Intake::paused`] may have changed for the worse; asked for every message.
    pub(crate) fn presses(&self, topic: usize) -> bool {
        self.lanes[topic].buffer.bytes() >= 2 * self.limits.commit_bytes || self.is_full()
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::buffer::Spare;

    fn lane(topic: &str) -> (Lane, UnboundedReceiver<Work>) {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let fields = [
            ("source", DataType::Utf8),
            ("topic", DataType::Utf8),
            ("partition", DataType::Int32),
            ("offset", DataType::Int64),
            ("timestamp", utc.clone()),
            ("ingested_at", utc),
            ("key", DataType::Binary),
            ("payload", DataType::Binary),
        ];
        let pair = [Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Binary, true)];
        let headers = DataType::List(Arc::new(Field::new("element", DataType::Struct(pair.to_vec().into()), true)));
        let fields: Vec<Field> =
            fields.into_iter().chain([("headers", headers)]).map(|(name, kind)| Field::new(name, kind, true)).collect();
        let (work, given) = unbounded_channel();
        let buffer = TopicBuffer::new(Arc::new(Schema::new(fields)), "test", topic, Spare::default());
        (Lane { topic: topic.to_owned(), buffer, work, positions: BTreeMap::new(), halted: HashSet::new() }, given)
    }

    fn message(offset: i64, payload: &[u8]) -> Incoming<'_> {
        Incoming { partition: 0, offset, timestamp: Some(1), key: Some(b"k"), payload: Some(payload), headers: None }
    }

    fn intake(limits: Limits) -> (Intake, UnboundedReceiver<Work>) {
        let (lane, given) = lane("a");
        (Intake::new(vec![lane], Budget::new(1), limits), given)
    }

    fn batch(given: &mut UnboundedReceiver<Work>) -> Option<(Sealed, Held)> {
        loop {
            match given.try_recv() {
                Ok(Work::Batch(sealed, held)) => return Some((sealed, held)),
                Ok(Work::Assigned(_)) => {}
                Err(_) => return None,
            }
        }
    }

    #[test]
    fn a_batch_is_sealed_by_size_and_continues_where_the_last_one_ended() {
        let limits = Limits { commit_interval: Duration::from_secs(3600), commit_bytes: 10, held_bytes: 1 << 20 };
        let (mut intake, mut given) = intake(limits);
        intake.assign(0, &[(0, Some(5))], &[]).unwrap();
        // Offset 6 was compacted away or is a transaction's marker.
        for offset in [5, 7, 8] {
            assert_eq!(intake.push(0, &message(offset, b"12345")).unwrap(), Taken::Yes);
        }
        let (first, _held) = batch(&mut given).unwrap();
        assert_eq!(first.ranges[&0], crate::buffer::Range { from: 5, next: 8 });
        assert_eq!(first.rows.num_rows(), 2);
        assert!(batch(&mut given).is_none());
        intake.seal(0).unwrap();
        assert_eq!(batch(&mut given).unwrap().0.ranges[&0], crate::buffer::Range { from: 8, next: 9 });
    }

    #[test]
    fn an_offset_below_the_position_halts_its_partition_and_is_told_once() {
        let limits = Limits { commit_interval: Duration::from_secs(1), commit_bytes: 1 << 20, held_bytes: 1 << 20 };
        let (mut intake, mut given) = intake(limits);
        intake.assign(0, &[(0, Some(5))], &[]).unwrap();
        assert_eq!(intake.push(0, &message(4, b"old")).unwrap(), Taken::StartedOver { position: 5 });
        for offset in [4, 5, 6] {
            assert_eq!(intake.push(0, &message(offset, b"old")).unwrap(), Taken::Skipped);
        }
        assert_eq!(intake.paused(), [("a", 0)]);
        intake.seal(0).unwrap();
        assert!(batch(&mut given).is_none());
    }

    #[test]
    fn nothing_is_taken_from_a_halted_partition_until_it_is_assigned_to_be_read() {
        let limits = Limits { commit_interval: Duration::from_secs(1), commit_bytes: 1 << 20, held_bytes: 1 << 20 };
        let (mut intake, mut given) = intake(limits);
        intake.assign(0, &[(0, None)], &[0]).unwrap();
        assert_eq!(intake.push(0, &message(40, b"x")).unwrap(), Taken::Skipped);
        assert_eq!(intake.paused(), [("a", 0)]);
        intake.seal(0).unwrap();
        assert!(batch(&mut given).is_none());
        intake.assign(0, &[(0, Some(40))], &[]).unwrap();
        assert!(intake.paused().is_empty());
        assert_eq!(intake.push(0, &message(40, b"x")).unwrap(), Taken::Yes);
    }

    #[test]
    fn time_seals_what_size_does_not() {
        let limits = Limits { commit_interval: Duration::from_secs(1), commit_bytes: 1 << 20, held_bytes: 1 << 20 };
        let (mut intake, mut given) = intake(limits);
        intake.assign(0, &[(0, None)], &[]).unwrap();
        intake.push(0, &message(40, b"x")).unwrap();
        intake.seal_due(Instant::now()).unwrap();
        assert!(batch(&mut given).is_none());
        intake.seal_due(Instant::now() + Duration::from_secs(1)).unwrap();
        assert_eq!(batch(&mut given).unwrap().0.ranges[&0], crate::buffer::Range { from: 40, next: 41 });
    }

    #[test]
    fn partitions_are_paused_while_the_budget_is_used_up_and_resumed_after() {
        let limits = Limits { commit_interval: Duration::from_secs(1), commit_bytes: 100, held_bytes: 150 };
        let (mut intake, mut given) = intake(limits);
        intake.assign(0, &[(0, Some(0))], &[]).unwrap();
        intake.push(0, &message(0, &[b'x'; 120])).unwrap();
        assert!(intake.paused().is_empty());
        intake.push(0, &message(1, &[b'x'; 60])).unwrap();
        assert!(intake.presses(0));
        assert_eq!(intake.paused(), [("a", 0)]);
        drop(batch(&mut given));
        assert!(intake.paused().is_empty());
    }
}

//! Whether a partition can be read on from where its raw table stands.
//!
//! It cannot when the topic is not the one that was read before (its id is another, or its offsets end before the
//! position), and not at once when events that were still due are gone from Kafka: such a *gap* is recorded and passed, or
//! reading stops, as configured. What may not be read is *halted*: nothing is taken from it, and an operator is told why.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lakeward_tables::{Change, Progress};
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::config::OnGap;
use crate::rebalance::{Intermediary, Session};
use crate::state::{KAFKA, STORAGE};
use crate::topic_id::topic_ids;

/// How long an assignment may wait for storage or a broker, well below `max.poll.interval.ms`.
const ASSIGN: Duration = Duration::from_secs(120);
/// How long one question to a broker may take.
const QUESTION: Duration = Duration::from_secs(5);

/// What is to be done with a partition that was assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is read from this offset; from the beginning when no table knows it.
    Read(Option<i64>),
    /// It is not read, for this reason.
    Halted(String),
}

/// The key under which the state board has what is wrong with a partition.
pub(crate) fn trouble_key(topic: &str, partition: i32) -> String {
    format!("partition {topic} {partition}")
}

/// In words: the offsets are those of another topic.
pub(crate) fn made_anew(topic: &str, raw: &dyn std::fmt::Display, how: &str) -> String {
    format!(
        "{topic} is not the topic that {raw} was filled from: {how}. It was made anew, or this is another cluster. Give the \
         source a new name, or bring the old topic back"
    )
}

impl Intermediary {
    /// Where each partition of a list that was assigned is read from. Nothing where storage or the brokers did not answer.
    pub(crate) fn standings(
        &self,
        consumer: &BaseConsumer<Session>,
        assigned: &BTreeMap<usize, Vec<i32>>,
    ) -> Option<BTreeMap<usize, Vec<(i32, Standing)>>> {
        let names: Vec<&str> = assigned.keys().map(|topic| self.topics[*topic].as_str()).collect();
        let ids = self.patiently(KAFKA, "topic ids", || {
            topic_ids(consumer.client(), &names, QUESTION)
                .map_err(|code| format!("the brokers do not tell the topics' ids: {code}"))
        })?;
        self.ids.lock().extend(ids.clone());
        let mut standings = BTreeMap::new();
        for (topic, partitions) in assigned {
            standings.insert(*topic, self.of_topic(consumer, *topic, partitions, ids.get(&self.topics[*topic]))?);
        }
        Some(standings)
    }

    fn of_topic(
        &self,
        consumer: &BaseConsumer<Session>,
        topic: usize,
        partitions: &[i32],
        id: Option<&String>,
    ) -> Option<Vec<(i32, Standing)>> {
        let (table, name, source) = (&self.raw[topic], &self.topics[topic], &self.kafka.source);
        let key = format!("positions {name}");
        let bound = match id {
            None => None,
            Some(id) => self
                .patiently(STORAGE, &key, || {
                    self.runtime
                        .block_on(self.lake.bind_topic(table, source, name, id))
                        .map_err(|error| format!("which topic {table} is filled from cannot be read: {error}"))
                })?
                .into_iter()
                .find(|bound| bound != id),
        };
        let known = self.positions(topic)?;
        let mut standings = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let standing = match (&bound, known.get(partition)) {
                (Some(bound), _) => {
                    let how = format!("its id is {}, and was {bound}", id.map_or("", String::as_str));
                    Standing::Halted(made_anew(name, table, &how))
                }
                (None, Some(at)) if self.examine.load(Ordering::Relaxed) => {
                    self.examined(consumer, topic, *partition, *at)?
                }
                (None, at) => Standing::Read(at.copied()),
            };
            standings.push((*partition, standing));
        }
        self.tell_gaps(topic);
        Some(standings)
    }

    /// Compares where the raw table stands with what Kafka has: asked for only when a position was out of reach.
    fn examined(&self, consumer: &BaseConsumer<Session>, topic: usize, partition: i32, at: i64) -> Option<Standing> {
        let (table, name) = (&self.raw[topic], &self.topics[topic]);
        let (low, high) = self.patiently(KAFKA, &format!("offsets {name}"), || {
            consumer
                .fetch_watermarks(name, partition, QUESTION)
                .map_err(|error| format!("what Kafka has of {name} partition {partition} cannot be read: {error}"))
        })?;
        if at > high {
            let how = format!("partition {partition} ends at offset {high}, and {table} stands at {at}");
            return Some(Standing::Halted(made_anew(name, table, &how)));
        }
        if at >= low {
            return Some(Standing::Read(Some(at)));
        }
        let lost = low - at;
        match self.on_gap {
            OnGap::Stop => Some(Standing::Halted(format!(
                "{lost} offsets of {name} partition {partition}, {at} to {}, are gone from Kafka and were never read: restore \
                 them, or set ingest.on_gap = \"go-on\" to record the gap and read on from {low}",
                low - 1
            ))),
            OnGap::GoOn => self.pass(topic, partition, at, low),
        }
    }

    /// Records a gap in the raw table, and goes on behind it.
    fn pass(&self, topic: usize, partition: i32, from: i64, next: i64) -> Option<Standing> {
        let (table, name) = (&self.raw[topic], &self.topics[topic]);
        let change = || Change::Gap {
            lost: Progress { source: self.kafka.source.clone(), topic: name.clone(), partition, from, next },
        };
        let key = format!("positions {name}");
        let recorded =
            self.patiently(STORAGE, &key, || match self.runtime.block_on(self.lake.commit(table, change())) {
                Ok(_) => Ok(true),
                // Somebody else was first, or an answer was lost: the table says where it stands now.
                Err(error) if error.is_fenced() => Ok(false),
                Err(error) => Err(format!("a gap cannot be recorded in {table}: {error}")),
            })?;
        if recorded {
            tracing::error!(
                topic = name,
                partition,
                from,
                next,
                lost = next - from,
                "offsets are lost: recorded as a gap"
            );
        }
        let at = self.positions(topic)?.get(&partition).copied();
        Some(Standing::Read(at))
    }

    /// Where the raw table of a topic stands; tries until storage answers.
    pub(crate) fn positions(&self, topic: usize) -> Option<BTreeMap<i32, i64>> {
        let (table, name) = (&self.raw[topic], &self.topics[topic]);
        self.patiently(STORAGE, &format!("positions {name}"), || {
            self.runtime
                .block_on(self.lake.next_offsets(table, &self.kafka.source, name))
                .map_err(|error| format!("where {table} stands cannot be read: {error}"))
        })
    }

    /// The gauge of lost offsets is what the raw table has, so that it survives every restart.
    fn tell_gaps(&self, topic: usize) {
        let (table, name) = (&self.raw[topic], &self.topics[topic]);
        match self.runtime.block_on(self.lake.gaps(table, &self.kafka.source, name)) {
            Ok(gaps) => self.metrics.lost(name, gaps.iter().map(|gap| gap.next - gap.from).sum()),
            Err(error) => tracing::debug!(topic = name, %error, "the gaps could not be read"),
        }
    }

    /// Tries until it is told, and says meanwhile what the matter is. Nothing when that takes too long or at a shutdown.
    fn patiently<T>(&self, part: &'static str, key: &str, mut ask: impl FnMut() -> Result<T, String>) -> Option<T> {
        let deadline = Instant::now() + ASSIGN;
        let mut pause = Duration::from_millis(100);
        loop {
            match ask() {
                Ok(told) => {
                    self.board.clear(part, key);
                    return Some(told);
                }
                Err(why) => {
                    self.metrics.retry();
                    self.board.raise(part, key, why);
                }
            }
            if self.stop.load(Ordering::Relaxed) || Instant::now() + pause > deadline {
                return None;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

//! What happens when partitions come and go: each is read from where its raw table stands, and is given up only when what
//! was read of it is committed. Runs on the poll thread, inside `poll`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lakeward_tables::{Lake, TableName};
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio::runtime::Handle;

use crate::budget::Budget;
use crate::config::KafkaConfig;
use crate::error::IngestError;
use crate::intake::Intake;
use crate::metrics::IngestMetrics;
use crate::state::{KAFKA, STORAGE, StateBoard};
use crate::trouble::{self, Trouble};

/// How long a partition that is taken away may wait for its last commit.
const DRAIN: Duration = Duration::from_secs(30);
/// How long an assignment may wait for storage, well below `max.poll.interval.ms`.
const ASSIGN: Duration = Duration::from_secs(120);

/// Where each partition stands in its raw table, by topic.
pub(crate) type Committed = Mutex<BTreeMap<String, BTreeMap<i32, i64>>>;

/// Shared by the poll thread, librdkafka's callbacks and the topic tasks.
pub(crate) struct Intermediary {
    pub(crate) kafka: KafkaConfig,
    pub(crate) topics: Vec<String>,
    pub(crate) raw: Vec<TableName>,
    pub(crate) lake: Lake,
    pub(crate) runtime: Handle,
    pub(crate) intake: Mutex<Intake>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) board: Arc<StateBoard>,
    pub(crate) metrics: Arc<IngestMetrics>,
    pub(crate) committed: Arc<Committed>,
    pub(crate) stop: Arc<AtomicBool>,
    /// The assignment changed, so pauses have to be set again.
    pub(crate) reassigned: AtomicBool,
    /// The consumer has to be made anew.
    pub(crate) broken: Arc<Mutex<Option<String>>>,
}

/// The context of one consumer.
pub(crate) struct Session(pub(crate) Arc<Intermediary>);

impl Intermediary {
    fn by_topic(&self, list: &TopicPartitionList) -> BTreeMap<usize, Vec<i32>> {
        let intake = self.intake.lock();
        let mut partitions: BTreeMap<usize, Vec<i32>> = BTreeMap::new();
        for element in list.elements() {
            if let Some(topic) = intake.index(element.topic()) {
                partitions.entry(topic).or_default().push(element.partition());
            }
        }
        partitions
    }

    /// Where the raw table of a topic stands; tries until storage answers.
    fn positions(&self, topic: usize) -> Option<BTreeMap<i32, i64>> {
        let (table, name) = (&self.raw[topic], &self.topics[topic]);
        let key = format!("positions {name}");
        let deadline = Instant::now() + ASSIGN;
        let mut pause = Duration::from_millis(100);
        loop {
            match self.runtime.block_on(self.lake.next_offsets(table, &self.kafka.source, name)) {
                Ok(positions) => {
                    self.board.clear(STORAGE, &key);
                    return Some(positions);
                }
                Err(error) => {
                    self.metrics.retry();
                    self.board.raise(STORAGE, &key, format!("where {table} stands cannot be read: {error}"));
                }
            }
            if self.stop.load(Ordering::Relaxed) || Instant::now() + pause > deadline {
                return None;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    fn assign(&self, list: &mut TopicPartitionList) -> Result<(), IngestError> {
        for (topic, partitions) in self.by_topic(list) {
            let name = &self.topics[topic];
            let Some(known) = self.positions(topic) else {
                *self.broken.lock() = Some(format!("the start positions of {name} could not be read"));
                return Ok(());
            };
            let mut starts = Vec::with_capacity(partitions.len());
            for partition in partitions {
                let start = known.get(&partition).copied();
                let offset = start.map_or(Offset::Beginning, Offset::Offset);
                list.set_partition_offset(name, partition, offset).map_err(IngestError::client)?;
                starts.push((partition, start));
            }
            tracing::info!(topic = name, partitions = starts.len(), "partitions assigned");
            self.committed
                .lock()
                .entry(name.clone())
                .or_default()
                .extend(starts.iter().filter_map(|(p, s)| Some((*p, (*s)?))));
            self.intake.lock().assign(topic, &starts)?;
            self.board.clear(KAFKA, &format!("topic {name}"));
        }
        self.board.clear(KAFKA, "group");
        self.board.clear(KAFKA, "connection");
        self.board.joined(true);
        Ok(())
    }

    fn revoke(&self, list: &TopicPartitionList) -> Result<(), IngestError> {
        let by_topic = self.by_topic(list);
        let topics: Vec<usize> = by_topic.keys().copied().collect();
        for topic in &topics {
            self.intake.lock().seal(*topic)?;
        }
        // When this does not come about, the commits still in flight are held against the table's position: whoever reads
        // the partition next, nothing stands there twice.
        let drained = self.budget.drained(&topics, DRAIN, || self.stop.load(Ordering::Relaxed));
        tracing::info!(partitions = list.count(), drained, "partitions revoked");
        let mut intake = self.intake.lock();
        for (topic, partitions) in by_topic {
            partitions.into_iter().for_each(|partition| intake.revoke(topic, partition));
        }
        Ok(())
    }
}

impl ConsumerContext for Session {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let shared = &self.0;
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let assigned = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let prepared = if assigned { shared.assign(list) } else { shared.revoke(list) };
        if let Err(error) = prepared {
            *shared.broken.lock() = Some(error.to_string());
        }
        let done = match (assigned, cooperative) {
            // Without start positions nothing may be read; the session begins anew.
            (true, _) if shared.broken.lock().is_some() => Ok(()),
            (true, true) => consumer.incremental_assign(list),
            (true, false) => consumer.assign(list),
            (false, true) => consumer.incremental_unassign(list),
            (false, false) => consumer.unassign(),
        };
        if let Err(error) = done {
            *shared.broken.lock() = Some(error.to_string());
        }
        shared.reassigned.store(true, Ordering::Relaxed);
    }
}

impl ClientContext for Session {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Debug => tracing::trace!(target: "librdkafka", facility, message),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => tracing::debug!(target: "librdkafka", facility, message),
            // What matters comes as an error too, and is told in words there.
            _ => tracing::debug!(target: "librdkafka", facility, message, severe = true),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let shared = &self.0;
        let Some(code) = error.rdkafka_error_code() else { return };
        match trouble::read(code, reason, &shared.kafka, &shared.topics) {
            Trouble::Connection(why) => shared.board.raise_first(KAFKA, "connection", why, code_is_vague(code)),
            Trouble::Group(why) => shared.board.raise(KAFKA, "group", why),
            Trouble::Topic(topic, why) => shared.board.raise(KAFKA, &format!("topic {topic}"), why),
            Trouble::Passing(what) => tracing::warn!(what, "kafka reports"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        let shared = &self.0;
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            shared.board.clear(KAFKA, "connection");
        }
        shared.metrics.freshness().look();
        let committed = shared.committed.lock();
        for (name, topic) in &statistics.topics {
            let known = committed.get(name);
            let mut lag = 0;
            for (number, partition) in &topic.partitions {
                if *number >= 0 && partition.desired && partition.hi_offset >= 0 {
                    let at = known.and_then(|known| known.get(number)).copied().unwrap_or(partition.lo_offset.max(0));
                    lag += u64::try_from(partition.hi_offset - at).unwrap_or(0);
                }
            }
            shared.metrics.lag(name, lag);
        }
    }
}

/// "All brokers down" follows every refusal and says less than the refusal did. A single broken connection is mended
/// by librdkafka.
fn code_is_vague(code: rdkafka::types::RDKafkaErrorCode) -> bool {
    use rdkafka::types::RDKafkaErrorCode as Code;
    matches!(code, Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve)
}

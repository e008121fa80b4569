//! What happens when partitions come and go: each is read from where its raw table stands, and is given up only when what
//! was read of it is committed. Runs on the poll thread, inside `poll`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
use crate::config::{KafkaConfig, OnGap};
use crate::error::IngestError;
use crate::intake::Intake;
use crate::metrics::IngestMetrics;
use crate::silence::{Heard, heard};
use crate::standing::{Standing, trouble_key};
use crate::state::{KAFKA, StateBoard};
use crate::trouble::{self, Trouble};

/// How long a partition that is taken away may wait for its last commit.
const DRAIN: Duration = Duration::from_secs(30);

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
    pub(crate) on_gap: OnGap,
    pub(crate) stop: Arc<AtomicBool>,
    /// A position was out of reach of what Kafka has: from now on each is looked at before it is read from.
    pub(crate) examine: AtomicBool,
    /// The topics' ids as they were told at the last assignment.
    pub(crate) ids: Mutex<BTreeMap<String, String>>,
    /// The assignment changed, so pauses have to be set again.
    pub(crate) reassigned: AtomicBool,
    /// The consumer has to be made anew.
    pub(crate) broken: Arc<Mutex<Option<String>>>,
}

/// The context of one consumer.
pub(crate) struct Session(pub(crate) Arc<Intermediary>);

impl Intermediary {
    fn by_topic(&self, list: &TopicPartitionList) -> BTreeMap<usize, Vec<i32>> {
        let mut intake = self.intake.lock();
        let mut partitions: BTreeMap<usize, Vec<i32>> = BTreeMap::new();
        for element in list.elements() {
            if let Some(topic) = intake.index(element.topic()) {
                partitions.entry(topic).or_default().push(element.partition());
            }
        }
        partitions
    }

    fn assign(&self, consumer: &BaseConsumer<Session>, list: &mut TopicPartitionList) -> Result<(), IngestError> {
        let Some(standings) = self.standings(consumer, &self.by_topic(list)) else {
            *self.broken.lock() = Some("where to start could not be read".to_owned());
            return Ok(());
        };
        for (topic, standings) in standings {
            let name = &self.topics[topic];
            let mut starts = Vec::with_capacity(standings.len());
            let mut halted = Vec::new();
            for (partition, standing) in standings {
                let key = trouble_key(name, partition);
                let (start, offset) = match standing {
                    Standing::Read(start) => {
                        self.board.clear(KAFKA, &key);
                        (start, start.map_or(Offset::Beginning, Offset::Offset))
                    }
                    Standing::Halted(why) => {
                        self.board.raise(KAFKA, &key, why);
                        halted.push(partition);
                        (None, Offset::End)
                    }
                };
                list.set_partition_offset(name, partition, offset).map_err(IngestError::client)?;
                starts.push((partition, start));
            }
            tracing::info!(topic = name, partitions = starts.len(), halted = halted.len(), "partitions assigned");
            self.committed
                .lock()
                .entry(name.clone())
                .or_default()
                .extend(starts.iter().filter_map(|(p, s)| Some((*p, (*s)?))));
            self.intake.lock().assign(topic, &starts, &halted)?;
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
            for partition in partitions {
                intake.revoke(topic, partition);
                self.board.clear(KAFKA, &trouble_key(&self.topics[topic], partition));
            }
        }
        Ok(())
    }
}

impl ConsumerContext for Session {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let shared = &self.0;
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let assigned = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let prepared = if assigned { shared.assign(consumer, list) } else { shared.revoke(list) };
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
        match heard(statistics.brokers.values()) {
            Heard::Something => shared.board.clear(KAFKA, "connection"),
            Heard::Nothing => shared.board.raise_first(KAFKA, "connection", trouble::silent(&shared.kafka), true),
            Heard::Unknown => {}
        }
        shared.metrics.freshness().look();
        let committed = shared.committed.lock();
        // What is at a topic's end may be no event: a transaction's marker, an aborted record, what was compacted away. Once
        // all that was fetched stands in the tables, what was passed so is no lag.
        let idle = shared.intake.lock().held() == 0;
        for (name, topic) in &statistics.topics {
            let known = committed.get(name);
            let mut lag = 0;
            for (number, partition) in &topic.partitions {
                if *number >= 0 && partition.desired && partition.hi_offset >= 0 {
                    let at = known.and_then(|known| known.get(number)).copied().unwrap_or(partition.lo_offset.max(0));
                    let passed = if idle && partition.fetchq_cnt == 0 { partition.next_offset } else { 0 };
                    let at = at.max(passed);
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

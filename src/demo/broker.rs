//! The embedded broker: librdkafka's mock cluster, in this process and in memory.
//!
//! It keeps at most 5 MB per partition and forgets everything at the end of the process. So the producer never runs
//! further ahead of the tables than [`WINDOW`], and every start is a new Kafka *source* whose offsets begin at 0.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::ToBytes;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::clinic::Event;

/// Bytes that may be on their way between producer and tables: below what the mock keeps of one partition.
pub(super) const WINDOW: u64 = 3 << 20;

/// A broker and its only producer.
pub(crate) struct Broker {
    producer: ThreadedProducer<DefaultProducerContext>,
    addresses: String,
}

impl Broker {
    /// Starts the broker with these topics and numbers of partitions.
    pub(crate) fn start(topics: &BTreeMap<&str, i32>) -> anyhow::Result<Self> {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .set("bootstrap.servers", "127.0.0.1:1")
            .set("linger.ms", "5")
            .set("acks", "all")
            .set_log_level(rdkafka::config::RDKafkaLogLevel::Critical)
            .create()
            .context("the embedded broker does not start")?;
        let mock = producer.client().mock_cluster().context("the embedded broker has no mock cluster")?;
        for (topic, partitions) in topics {
            mock.create_topic(topic, *partitions, 1).with_context(|| format!("topic {topic} cannot be made"))?;
        }
        let addresses = mock.bootstrap_servers();
        drop(mock);
        Ok(Self { producer, addresses })
    }

    /// `host:port` for consumers.
    pub(crate) fn addresses(&self) -> &str {
        &self.addresses
    }

    /// Hands an event over; waits for room in the producer's queue.
    pub(super) async fn send(&self, event: &Event) -> anyhow::Result<()> {
        loop {
            let record = BaseRecord::to(event.topic)
                .partition(event.partition)
                .key(event.key.as_str())
                .payload(event.payload.to_bytes())
                .timestamp(event.timestamp.timestamp_millis());
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err((error, _)) => return Err(error).with_context(|| format!("cannot send to {}", event.topic)),
            }
        }
    }
}

//! Sends records to Kafka: idempotent, bounded in flight, and with failures told in words.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::config::KafkaConfig;
use crate::error::IngestError;
use crate::trouble::{self, Trouble};

/// One record to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The id of the thing: keeps one thing in order.
    pub key: Option<Vec<u8>>,
    /// The event; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What was delivered and acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Produced {
    /// Records.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// Sends all `records` to `topic` and waits until the broker has them. Blocks: not for an async thread.
pub fn produce(
    config: &KafkaConfig,
    topic: &str,
    records: impl IntoIterator<Item = Record>,
) -> Result<Produced, IngestError> {
    let producer = Producer::connect(config)?;
    for record in records {
        producer.send(topic, &record)?;
    }
    producer.flush()
}

/// A connection for sending records to any topic.
pub struct Producer {
    inner: BaseProducer<Deliveries>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl Producer {
    /// Prepares to send; the connection itself is made in the background.
    pub fn connect(config: &KafkaConfig) -> Result<Self, IngestError> {
        let deliveries = Deliveries { config: config.clone(), outcome: Mutex::default() };
        let inner = config.producer().create_with_context(deliveries).map_err(IngestError::client)?;
        Ok(Producer { inner })
    }

    /// Enqueues one record; waits while too much is in flight. An error may be that of an earlier record.
    pub fn send(&self, topic: &str, record: &Record) -> Result<(), IngestError> {
        self.inner.poll(Duration::ZERO);
        self.failure()?;
        let mut base: BaseRecord<'_, [u8], [u8], ()> = BaseRecord::to(topic);
        base.key = record.key.as_deref();
        base.payload = record.payload.as_deref();
        if !record.headers.is_empty() {
            let empty = OwnedHeaders::new_with_capacity(record.headers.len());
            base.headers = Some(
                record
                    .headers
                    .iter()
                    .fold(empty, |headers, (key, value)| headers.insert(Header { key, value: Some(value) })),
            );
        }
        loop {
            match self.inner.send(base) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), refused)) => {
                    self.inner.poll(Duration::from_millis(20));
                    self.failure()?;
                    base = refused;
                }
                Err((error, _)) => return Err(IngestError::Delivery(self.inner.context().words(topic, &error))),
            }
        }
    }

    /// Waits until all that was sent has been acknowledged, and says how much that is since the start.
    pub fn flush(&self) -> Result<Produced, IngestError> {
        let patience: u64 = self
            .inner
            .context()
            .config
            .producer()
            .get("message.timeout.ms")
            .and_then(|ms| ms.parse().ok())
            .unwrap_or(30_000);
        let deadline = Instant::now() + Duration::from_millis(patience) + Duration::from_secs(5);
        while self.inner.in_flight_count() > 0 && Instant::now() < deadline {
            self.inner.poll(Duration::from_millis(10));
            self.failure()?;
        }
        self.failure()?;
        match self.inner.in_flight_count() {
            0 => Ok(self.inner.context().outcome.lock().produced),
            left => Err(IngestError::Delivery(format!("{left} records were not acknowledged in time"))),
        }
    }

    fn failure(&self) -> Result<(), IngestError> {
        match &self.inner.context().outcome.lock().failure {
            Some(failure) => Err(IngestError::Delivery(failure.clone())),
            None => Ok(()),
        }
    }
}

struct Deliveries {
    config: KafkaConfig,
    outcome: Mutex<Outcome>,
}

#[derive(Default)]
struct Outcome {
    produced: Produced,
    failure: Option<String>,
    connection: Option<String>,
}

impl Deliveries {
    fn words(&self, topic: &str, error: &KafkaError) -> String {
        let user = self.config.user();
        match error.rdkafka_error_code() {
            Some(Code::TopicAuthorizationFailed) => {
                format!("{user} may not write to {topic}: grant Write and Describe on topic {topic}")
            }
            Some(Code::ClusterAuthorizationFailed) => {
                format!(
                    "{user} may not produce idempotently: grant IdempotentWrite on the cluster, or Write on the topic"
                )
            }
            Some(Code::MessageSizeTooLarge) => {
                format!("a record is larger than the broker takes for {topic} (max.message.bytes)")
            }
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                format!("there is no topic {topic}")
            }
            Some(Code::MessageTimedOut) => {
                let connection = self.outcome.lock().connection.clone();
                connection.unwrap_or_else(|| format!("the broker did not acknowledge a record of {topic} in time"))
            }
            Some(code) => format!("the broker refused a record of {topic}: {code}"),
            None => format!("a record of {topic} could not be sent: {error}"),
        }
    }
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code()
            && let Trouble::Connection(why) = trouble::read(code, reason, &self.config, &[])
        {
            let mut outcome = self.outcome.lock();
            // "All brokers down" follows every refusal and says less.
            if outcome.connection.is_none() || !matches!(code, Code::AllBrokersDown | Code::BrokerTransportFailure) {
                outcome.connection = Some(why);
            }
        }
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => {
                let mut outcome = self.outcome.lock();
                outcome.produced.messages += 1;
                outcome.produced.bytes += message.payload_len() as u64;
                outcome.connection = None;
            }
            Err((error, message)) => {
                let words = self.words(message.topic(), error);
                self.outcome.lock().failure.get_or_insert(words);
            }
        }
    }
}

//! Who sends while freshness is measured: messages of the topic itself, again, at a steady rate.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use crate::arguments::{Produce, Reading};

/// Bytes of payload that are held, to be sent over and over.
const HELD: usize = 8_000_000;

/// How long the broker may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was sent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// From the first to the last, all acknowledged.
    pub(super) seconds: f64,
}

struct Held {
    key: Vec<u8>,
    payload: Vec<u8>,
}

/// Sends, and prints what was sent.
pub(super) fn once(task: &Produce) -> anyhow::Result<()> {
    let held = take(task)?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &task.bootstrap)
        .set("linger.ms", "20")
        .set("queue.buffering.max.kbytes", "65536")
        .create()
        .context("a producer")?;
    let began = Instant::now();
    let mut sent = Sent { messages: 0, bytes: 0, seconds: 0.0 };
    let mut next = held.iter().cycle();
    while began.elapsed().as_secs_f64() < task.pace.seconds {
        let due = began.elapsed().as_secs_f64() * task.pace.rate;
        while (sent.bytes as f64) < due {
            let Some(one) = next.next() else { bail!("there is nothing to send") };
            send(&producer, &task.topic, one)?;
            sent.messages += 1;
            sent.bytes += one.payload.len() as u64;
        }
        producer.poll(Duration::from_millis(5));
    }
    producer.flush(PATIENCE).context("the broker does not take what was sent")?;
    sent.seconds = began.elapsed().as_secs_f64();
    println!("{}", serde_json::to_string(&sent)?);
    Ok(())
}

/// The first messages of a partition.
fn take(task: &Produce) -> anyhow::Result<Vec<Held>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &task.bootstrap)
        .set("group.id", "lakeward-bench-producer")
        .set("enable.auto.commit", "false")
        .create()
        .context("a consumer")?;
    let mut first = TopicPartitionList::new();
    first.add_partition_offset(&task.topic, 0, Offset::Beginning)?;
    let (_, end) = consumer.fetch_watermarks(&task.topic, 0, PATIENCE)?;
    consumer.assign(&first)?;
    let (mut held, mut bytes, mut at) = (Vec::new(), 0, 0);
    while bytes < HELD && at < end {
        let message = consumer.poll(PATIENCE).context("the topic does not come")??;
        let (key, payload) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
        bytes += payload.len();
        at = message.offset() + 1;
        held.push(Held { key: key.to_vec(), payload: payload.to_vec() });
    }
    ensure!(bytes > 0, "partition 0 of {} is empty", task.topic);
    Ok(held)
}

/// Waits while the queue is full: then the rate is not reached, and what is told says so.
fn send(producer: &BaseProducer, topic: &str, one: &Held) -> anyhow::Result<()> {
    loop {
        match producer.send(BaseRecord::to(topic).key(&one.key).payload(&one.payload)) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => return Err(error).context("the broker does not take a message"),
        }
    }
}

/// The command line of this program as such a producer.
pub(super) fn arguments(reading: &Reading, rate: f64, seconds: f64) -> Vec<String> {
    let words = ["produce", "--bootstrap", &reading.bootstrap, "--topic", &reading.topic].map(str::to_owned);
    words
        .into_iter()
        .chain(["--rate".to_owned(), rate.to_string(), "--seconds".to_owned(), seconds.to_string()])
        .collect()
}

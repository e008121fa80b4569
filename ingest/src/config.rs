//! What ingest needs to be told: the Kafka cluster, and how much to hold for how long.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;

use crate::registry::Registry;

/// A Kafka cluster, as clients reach it.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `host:port` of some brokers, separated by commas.
    pub brokers: String,
    /// The consumer group. Its committed offsets are for monitoring only.
    pub group: String,
    /// The configured name of this cluster: part of every row's position. A cluster that starts its offsets anew needs a
    /// new name.
    pub source: String,
    /// Further properties of librdkafka: `security.protocol`, `sasl.*`, `ssl.*`, tuning.
    pub properties: BTreeMap<String, String>,
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |name: &str| !["password", "pem", "secret", "jaas", "oauthbearer.config"].iter().any(|s| name.contains(s));
        let properties: BTreeMap<&str, &str> = self
            .properties
            .iter()
            .map(|(name, value)| (name.as_str(), if shown(name) { value.as_str() } else { "…" }))
            .collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("source", &self.source)
            .field("properties", &properties)
            .finish()
    }
}

impl KafkaConfig {
    /// Who the brokers take this client for, in words.
    pub(crate) fn user(&self) -> String {
        match (self.properties.get("sasl.username"), self.properties.get("ssl.certificate.location")) {
            (Some(user), _) => format!("user {user}"),
            (None, Some(_)) => "the user of the client certificate".to_owned(),
            (None, None) => "the anonymous user".to_owned(),
        }
    }

    pub(crate) fn client(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("client.id", "lakeward")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", "2000");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        for (name, value) in fixed {
            config.set(*name, *value);
        }
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    pub(crate) fn consumer(&self, queue_bytes: usize) -> ClientConfig {
        let queue_kilobytes = (queue_bytes / 1024).clamp(1024, 1 << 20).to_string();
        let defaults = [
            // A process that was killed keeps its partitions for the length of its session.
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "2000"),
            ("topic.metadata.refresh.interval.ms", "10000"),
            ("fetch.wait.max.ms", "100"),
            ("queued.max.messages.kbytes", &queue_kilobytes),
            ("queued.min.messages", "100000"),
            // A full queue is drained within milliseconds, and by default nothing is asked for during a second.
            ("fetch.queue.backoff.ms", "20"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("isolation.level", "read_committed"),
        ];
        let fixed = [
            ("group.id", self.group.as_str()),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // A position that Kafka does not have is looked at before anything else is read.
            ("auto.offset.reset", "error"),
            ("statistics.interval.ms", "1000"),
        ];
        self.client(&defaults, &fixed)
    }

    pub(crate) fn producer(&self) -> ClientConfig {
        let defaults = [
            ("compression.type", "zstd"),
            ("linger.ms", "20"),
            ("message.timeout.ms", "30000"),
            // The broker says what is too large, not the client.
            ("message.max.bytes", "100000000"),
            ("queue.buffering.max.kbytes", "65536"),
        ];
        self.client(&defaults, &[("enable.idempotence", "true")])
    }
}

/// What to do when events are gone from Kafka before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnGap {
    /// The partition is not read on; the others are.
    #[default]
    Stop,
    /// The gap is recorded in the raw table's log, and the partition is read on behind it.
    GoOn,
}

/// How ingest runs.
#[derive(Debug, Clone)]
pub struct IngestConfig {
    /// Where events come from.
    pub kafka: KafkaConfig,
    /// A topic's events are committed at the latest this long after the first of them was read…
    pub commit_interval: Duration,
    /// …or once there are so many bytes of keys, headers and payloads, whichever comes first.
    pub commit_bytes: usize,
    /// How much memory ingest may use, in bytes. Partitions are paused when it is reached.
    pub memory_budget: usize,
    /// What to do when events are gone from Kafka before they were read.
    pub on_gap: OnGap,
    /// Where schemas are looked up; needed as soon as a topic is not of JSON.
    pub registry: Option<Arc<Registry>>,
}

impl IngestConfig {
    /// Decoding, the curated rows and the files being written take memory beside the bytes that were read.
    const MEMORY_PER_BYTE: usize = 5;

    /// How many bytes of events may be buffered and in flight.
    pub(crate) fn held_bytes(&self) -> usize {
        (self.memory_budget / Self::MEMORY_PER_BYTE).max(1 << 20)
    }

    /// How many bytes librdkafka may hold that were fetched and not yet polled.
    pub(crate) fn fetched_bytes(&self) -> usize {
        (self.memory_budget / 8).clamp(1 << 20, 64 << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_secret() {
        let secrets = ["sasl.password", "ssl.key.pem", "ssl.key.password", "sasl.oauthbearer.client.secret"];
        let mut properties: BTreeMap<String, String> =
            secrets.iter().map(|s| ((*s).to_owned(), "hush".to_owned())).collect();
        properties.insert("sasl.username".to_owned(), "reader".to_owned());
        let config = KafkaConfig { brokers: "b:1".into(), group: "g".into(), source: "s".into(), properties };
        let shown = format!("{config:?}");
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("reader"), "{shown}");
    }
}

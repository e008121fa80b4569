//! The configured Kafka cluster as librdkafka wants it.

use std::collections::BTreeMap;

use lakeward_ingest::KafkaConfig;

use crate::config::{Kafka, Security};

/// Client properties of the configured cluster.
pub(crate) fn client(kafka: &Kafka) -> KafkaConfig {
    let mut properties = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        properties.insert(name.to_owned(), value.to_owned());
    };
    match &kafka.security {
        Security::Plaintext => set("security.protocol", "plaintext"),
        Security::Sasl { tls, mechanism, username, password } => {
            set("security.protocol", if *tls { "sasl_ssl" } else { "sasl_plaintext" });
            set("sasl.mechanism", mechanism);
            set("sasl.username", username);
            set("sasl.password", password.reveal());
        }
        Security::Ssl { certificate_file, key_file } => {
            set("security.protocol", "ssl");
            set("ssl.certificate.location", &certificate_file.to_string_lossy());
            set("ssl.key.location", &key_file.to_string_lossy());
        }
    }
    if let Some(file) = &kafka.ca_file {
        set("ssl.ca.location", &file.to_string_lossy());
    }
    let session = kafka.session_timeout.as_millis();
    set("session.timeout.ms", &session.to_string());
    set("heartbeat.interval.ms", &(session / 5).max(1).to_string());
    KafkaConfig { brokers: kafka.brokers.clone(), group: kafka.group.clone(), source: kafka.source.clone(), properties }
}

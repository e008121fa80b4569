//! What Kafka refuses, in words: who is refused what, and what to grant.

use rdkafka::types::RDKafkaErrorCode as Code;

use crate::config::KafkaConfig;

/// A trouble that librdkafka reported.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No broker, or none that accepts this client: over as soon as a broker answers.
    Connection(String),
    /// A topic that may not be read: over when it gives events or is assigned.
    Topic(String, String),
    /// The consumer group may not be used: over when partitions are assigned.
    Group(String),
    /// Nothing that stops ingest; worth a line in the log.
    Passing(String),
}

/// Reads an error as librdkafka's error callback reports it. `reason` is librdkafka's own text: names of brokers, topics
/// and groups, and what OpenSSL says.
pub(crate) fn read(code: Code, reason: &str, kafka: &KafkaConfig, topics: &[String]) -> Trouble {
    let user = kafka.user();
    // The longest that is named: a topic's name may begin with another's.
    let topic = topics.iter().filter(|topic| reason.contains(topic.as_str())).max_by_key(|topic| topic.len());
    match code {
        Code::TopicAuthorizationFailed => {
            let name = topic.map_or("a subscribed topic", String::as_str);
            let why = format!("{user} may not read {name}: grant Read and Describe on topic {name}");
            Trouble::Topic(name.to_owned(), why)
        }
        Code::GroupAuthorizationFailed => {
            Trouble::Group(format!("{user} may not use the consumer group {0}: grant Read on group {0}", kafka.group))
        }
        Code::ClusterAuthorizationFailed => {
            Trouble::Group(format!("{user} lacks a right on the cluster itself ({reason})"))
        }
        Code::Authentication | Code::SaslAuthenticationFailed => {
            let mechanism = kafka.properties.get("sasl.mechanism").or_else(|| kafka.properties.get("sasl.mechanisms"));
            let by = mechanism.map_or(String::new(), |mechanism| format!(" by {mechanism}"));
            Trouble::Connection(format!(
                "the broker does not accept the credentials of {user}{by}: check name and password"
            ))
        }
        Code::SSL => Trouble::Connection(format!(
            "TLS with {} failed: check ssl.ca.location, the broker's name in its certificate, and the client certificate ({reason})",
            kafka.brokers
        )),
        Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve => {
            Trouble::Connection(format!("no Kafka broker answers at {}", kafka.brokers))
        }
        Code::UnknownTopicOrPartition | Code::UnknownTopic => {
            Trouble::Passing(format!("the topic {} does not exist yet", topic.map_or("asked for", String::as_str)))
        }
        _ => Trouble::Passing(reason.to_owned()),
    }
}

/// Connections stand, and nothing comes.
pub(crate) fn silent(kafka: &KafkaConfig) -> String {
    format!(
        "no Kafka broker answers at {}, though connections stand: a broker or something on the way hangs",
        kafka.brokers
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_refusal_names_who_what_and_the_remedy() {
        let properties = BTreeMap::from([
            ("sasl.username".to_owned(), "reader".to_owned()),
            ("sasl.mechanism".to_owned(), "SCRAM-SHA-512".to_owned()),
            ("sasl.password".to_owned(), "hush".to_owned()),
        ]);
        let kafka =
            KafkaConfig { brokers: "b:9092".into(), group: "lakeward".into(), source: "clinic".into(), properties };
        let topics = ["clinic.patient".to_owned(), "clinic.patient_merge".to_owned()];
        let met = read(
            Code::TopicAuthorizationFailed,
            "Subscribed topic not available: clinic.patient: Broker: Topic authorization failed",
            &kafka,
            &topics,
        );
        let why = "user reader may not read clinic.patient: grant Read and Describe on topic clinic.patient";
        assert_eq!(met, Trouble::Topic("clinic.patient".into(), why.into()));
        let met = read(Code::GroupAuthorizationFailed, "FindCoordinator", &kafka, &topics);
        assert_eq!(
            met,
            Trouble::Group("user reader may not use the consumer group lakeward: grant Read on group lakeward".into())
        );
        let met = read(Code::Authentication, "SASL", &kafka, &topics);
        let why = "the broker does not accept the credentials of user reader by SCRAM-SHA-512: check name and password";
        assert_eq!(met, Trouble::Connection(why.into()));
    }
}

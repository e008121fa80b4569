//! A broker that has been told who one is, and is asked about rights.

use bytes::Bytes;
use data_encoding::BASE64;
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::{CreateAclsRequest, DescribeAclsRequest, SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;

use super::connection::Connection;
use super::scram::{Mechanism, Scram};
use super::{Operation, Pattern, Resource, Right};
use crate::{IngestError, KafkaConfig};

/// Kafka's numbers: any value of a filter, and a right that permits.
const ANY: i8 = 1;
const ALLOW: i8 = 3;
/// The oldest versions that brokers of Kafka 4 take, which those since 2.0 take too.
const ACL_VERSION: i16 = 1;
const HANDSHAKE_VERSION: i16 = 1;
const AUTHENTICATE_VERSION: i16 = 1;

pub(super) struct Broker {
    connection: Connection,
    user: String,
    brokers: String,
}

impl Broker {
    /// Connects and says who one is, by the properties that librdkafka is given.
    pub(super) async fn connect(kafka: &KafkaConfig) -> Result<Self, IngestError> {
        let connection = Connection::open(kafka).await;
        let connection = connection.map_err(|why| IngestError::Access(format!("no Kafka broker answers ({why})")))?;
        let mut broker = Self { connection, user: kafka.user(), brokers: kafka.brokers.clone() };
        if kafka.properties.get("security.protocol").is_some_and(|protocol| protocol.starts_with("sasl_")) {
            broker.authenticate(kafka).await?;
        }
        Ok(broker)
    }

    async fn authenticate(&mut self, kafka: &KafkaConfig) -> Result<(), IngestError> {
        let property = |name: &str| kafka.properties.get(name).map_or("", String::as_str);
        let (name, user, password) = (property("sasl.mechanism"), property("sasl.username"), property("sasl.password"));
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_string(name.to_owned()));
        let answer = self.connection.ask(&handshake, HANDSHAKE_VERSION).await;
        if let Some(error) = answer.map_err(|why| self.failed(&why))?.error_code.err() {
            return Err(self.failed(&format!("it does not take {name}: {error}")));
        }
        let Some(mechanism) = Mechanism::named(name) else {
            // RFC 4616.
            return self.step(format!("\0{user}\0{password}")).await.map(drop);
        };
        let nonce: [u8; 24] = rand::random();
        let scram = Scram::new(mechanism, user, password, BASE64.encode(&nonce));
        let server_first = self.step(scram.first()).await?;
        let proved = scram.prove(&server_first).map_err(|why| self.failed(why))?;
        let server_final = self.step(proved.message.clone()).await?;
        if proved.is_answered_by(&server_final) {
            Ok(())
        } else {
            Err(self.failed("it does not prove that it knows the password"))
        }
    }

    /// One message of SASL and the server's answer.
    async fn step(&mut self, message: String) -> Result<String, IngestError> {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(message));
        let answer = self.connection.ask(&request, AUTHENTICATE_VERSION).await;
        let answer = answer.map_err(|why| self.failed(&why))?;
        if answer.error_code.err().is_some() {
            return Err(IngestError::Access(format!(
                "the broker does not accept the credentials of {}: check name and password",
                self.user
            )));
        }
        String::from_utf8(answer.auth_bytes.to_vec()).map_err(|_| self.failed("its answer is no text"))
    }

    pub(super) async fn rights(&mut self) -> Result<Vec<Right>, IngestError> {
        let everything = DescribeAclsRequest::default()
            .with_resource_type_filter(ANY)
            // Left alone they would be empty texts, which nothing is called.
            .with_resource_name_filter(None)
            .with_principal_filter(None)
            .with_host_filter(None)
            .with_pattern_type_filter(ANY)
            .with_operation(ANY)
            .with_permission_type(ANY);
        let answer = self.connection.ask(&everything, ACL_VERSION).await.map_err(|why| self.failed(&why))?;
        if let Some(error) = answer.error_code.err() {
            return Err(self.refused(&error, "Describe"));
        }
        let mut rights = Vec::new();
        for resource in answer.resources {
            for acl in resource.acls.into_iter().filter(|acl| acl.permission_type == ALLOW) {
                rights.push(Right {
                    resource: Resource::of(resource.resource_type),
                    pattern: Pattern::of(resource.pattern_type),
                    name: resource.resource_name.to_string(),
                    principal: acl.principal.to_string(),
                    host: acl.host.to_string(),
                    operation: Operation::of(acl.operation),
                });
            }
        }
        Ok(rights)
    }

    pub(super) async fn grant(&mut self, rights: &[Right]) -> Result<(), IngestError> {
        let text = |text: &String| StrBytes::from_string(text.clone());
        let creations = rights.iter().map(|right| {
            AclCreation::default()
                .with_resource_type(right.resource.number())
                .with_resource_pattern_type(right.pattern.number())
                .with_resource_name(text(&right.name))
                .with_principal(text(&right.principal))
                .with_host(text(&right.host))
                .with_operation(right.operation.number())
                .with_permission_type(ALLOW)
        });
        let request = CreateAclsRequest::default().with_creations(creations.collect());
        let answer = self.connection.ask(&request, ACL_VERSION).await.map_err(|why| self.failed(&why))?;
        let errors = answer.results.iter().map(|result| result.error_code.err());
        match errors.zip(rights).find_map(|(error, right)| Some((error?, right))) {
            None if answer.results.len() == rights.len() => Ok(()),
            None => Err(self.failed("it does not say what became of each right")),
            Some((ResponseError::ClusterAuthorizationFailed, _)) => {
                Err(self.refused(&ResponseError::ClusterAuthorizationFailed, "Alter"))
            }
            Some((error, right)) => Err(self.failed(&format!("it does not take `{right}`: {error}"))),
        }
    }

    fn failed(&self, why: &str) -> IngestError {
        IngestError::Access(format!("{}: {why}", self.brokers))
    }

    fn refused(&self, error: &ResponseError, wanted: &str) -> IngestError {
        let user = &self.user;
        IngestError::Access(match error {
            ResponseError::ClusterAuthorizationFailed => format!(
                "{user} may not {} access lists: grant {wanted} on the cluster, or ask as somebody who may (--admin)",
                if wanted == "Alter" { "change" } else { "read" }
            ),
            ResponseError::SecurityDisabled => {
                "the broker has no authorizer: everybody may do everything there".to_owned()
            }
            other => format!("{}: {other}", self.brokers),
        })
    }
}

impl Resource {
    fn of(number: i8) -> Self {
        match number {
            2 => Self::Topic,
            3 => Self::Group,
            4 => Self::Cluster,
            5 => Self::TransactionalId,
            other => Self::Other(other),
        }
    }

    fn number(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Group => 3,
            Self::Cluster => 4,
            Self::TransactionalId => 5,
            Self::Other(number) => number,
        }
    }
}

impl Pattern {
    fn of(number: i8) -> Self {
        match number {
            3 => Self::Literal,
            4 => Self::Prefixed,
            other => Self::Other(other),
        }
    }

    fn number(self) -> i8 {
        match self {
            Self::Literal => 3,
            Self::Prefixed => 4,
            Self::Other(number) => number,
        }
    }
}

impl Operation {
    fn of(number: i8) -> Self {
        match number {
            2 => Self::All,
            3 => Self::Read,
            4 => Self::Write,
            8 => Self::Describe,
            other => Self::Other(other),
        }
    }

    fn number(self) -> i8 {
        match self {
            Self::All => 2,
            Self::Read => 3,
            Self::Write => 4,
            Self::Describe => 8,
            Self::Other(number) => number,
        }
    }
}

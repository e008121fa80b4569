//! Access lists of the broker: those that the contracts imply, those that the broker has, and how the two differ.
//!
//! A *right* lets one principal do one thing with the resources that a pattern names. Of one topic, producers may write,
//! consumers and Lakeward may read; each under group names and transactional ids of its own, and nothing else.
//!
//! librdkafka's Rust client has no calls for access lists, so the four requests that it takes are sent over a connection of
//! their own, by the crate `kafka-protocol`.

mod broker;
mod connection;
mod implied;
mod scram;
mod tls;

use std::fmt;

pub use implied::{Difference, implied_rights};

use crate::{IngestError, KafkaConfig};
use broker::Broker;

/// What a right is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
    /// A transactional id.
    TransactionalId,
    /// The cluster itself.
    Cluster,
    /// Anything else, by Kafka's number.
    Other(i8),
}

/// How a right names its resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// By the name; `*` is every resource.
    Literal,
    /// By the beginning of the name.
    Prefixed,
    /// Anything else, by Kafka's number.
    Other(i8),
}

/// What a right permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Everything.
    All,
    /// To read, which includes to describe.
    Read,
    /// To write, which includes to describe.
    Write,
    /// To see that it is there.
    Describe,
    /// Anything else, by Kafka's number.
    Other(i8),
}

/// One right; forbidding ones are no rights.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Right {
    /// What it is about.
    pub resource: Resource,
    /// How `name` is to be understood.
    pub pattern: Pattern,
    /// The name, or its beginning.
    pub name: String,
    /// Who may, as `User:name`.
    pub principal: String,
    /// From where; `*` is from everywhere.
    pub host: String,
    /// What.
    pub operation: Operation,
}

/// The rights that the broker has.
///
/// # Errors
///
/// [`IngestError::Access`]: no broker answers, or it refuses; says who may not do what.
pub async fn rights(kafka: &KafkaConfig) -> Result<Vec<Right>, IngestError> {
    Broker::connect(kafka).await?.rights().await
}

/// Gives the broker these rights, and takes none away.
///
/// # Errors
///
/// [`IngestError::Access`], as for [`rights`].
pub async fn grant(kafka: &KafkaConfig, rights: &[Right]) -> Result<(), IngestError> {
    Broker::connect(kafka).await?.grant(rights).await
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.pattern {
            Pattern::Literal if self.name == "*" => "every ".to_owned() + &self.resource.to_string(),
            Pattern::Literal if self.resource == Resource::Cluster => "the cluster".to_owned(),
            Pattern::Literal => format!("{} {}", self.resource, self.name),
            Pattern::Prefixed => format!("{} {}…", self.resource, self.name),
            Pattern::Other(_) => format!("{} {} (a pattern of another kind)", self.resource, self.name),
        };
        write!(f, "{} may {} {of}", self.principal, self.operation)?;
        if self.host == "*" { Ok(()) } else { write!(f, ", from {}", self.host) }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic => f.write_str("topic"),
            Self::Group => f.write_str("group"),
            Self::TransactionalId => f.write_str("transactional id"),
            Self::Cluster => f.write_str("cluster"),
            Self::Other(number) => write!(f, "resource of kind {number}"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names of Kafka's own tools.
        f.write_str(match self {
            Self::All => "All",
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Describe => "Describe",
            Self::Other(5) => "Create",
            Self::Other(6) => "Delete",
            Self::Other(7) => "Alter",
            Self::Other(9) => "ClusterAction",
            Self::Other(10) => "DescribeConfigs",
            Self::Other(11) => "AlterConfigs",
            Self::Other(12) => "IdempotentWrite",
            Self::Other(_) => "something unknown with",
        })
    }
}

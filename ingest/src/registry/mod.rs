//! A schema registry, by the REST interface that Confluent's, Karapace, Redpanda and Apicurio (`/apis/ccompat/v7`) share.
//!
//! A schema under an id never changes, so what was once answered is kept. Three things are told apart: the schema, the
//! registry's own word that there is none under an id ([`Answer::Unknown`]), and everything else: nobody answers, or
//! what answers is no registry. The last is never a reason to refuse a message.

mod client;
mod source;
#[cfg(test)]
mod tests;

pub use client::{Registry, RegistryConfig};
pub(crate) use source::Schemas;

use std::sync::Arc;

/// In which language a schema is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchemaKind {
    Avro,
    Protobuf,
    Json,
    Other,
}

impl SchemaKind {
    /// As the registry writes it; Avro is what it means when it says nothing.
    fn of(name: Option<&str>) -> Self {
        match name {
            None | Some("AVRO") => SchemaKind::Avro,
            Some("PROTOBUF") => SchemaKind::Protobuf,
            Some("JSON") => SchemaKind::Json,
            Some(_) => SchemaKind::Other,
        }
    }

    /// As the registry writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            SchemaKind::Avro => "AVRO",
            SchemaKind::Protobuf => "PROTOBUF",
            SchemaKind::Json => "JSON",
            SchemaKind::Other => "another kind",
        }
    }
}

/// A schema that another one refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Referred {
    /// The name that it is referred to by: of a type in Avro, of a file in Protobuf.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A schema as the registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegisteredSchema {
    pub(crate) kind: SchemaKind,
    pub(crate) text: String,
    /// All that it refers to, also by way of others; what is referred to stands before what refers to it.
    pub(crate) references: Vec<Referred>,
}

/// What a registry says of an id.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Schema(Arc<RegisteredSchema>),
    /// There is no schema under this id.
    Unknown,
    /// There is one, and something that it refers to is gone.
    Incomplete,
}

/// The registry does not answer, or not as a registry does.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Away(pub(crate) String);

//! From Kafka topics to raw, curated and dead-letter tables, exactly once.
//!
//! A *batch* is a run of messages of one topic; of each partition it holds a *range* of consecutive offsets. A batch is
//! *open* while the poll thread fills it, *sealed* when it is handed to the topic's task, and has *landed* when every
//! table of the topic has committed it. Where reading starts is told by the raw table's own positions, never by the
//! consumer group.
//!
//! - [`Ingest`] runs all of it; [`IngestState`] says in words what it waits for.
//! - [`misfits`] says what is wrong with the declared SELECTs before anything runs.
//! - [`producer`] sends records the other way.
//! - [`Registry`] is where schemas of Avro and Protobuf payloads are; [`PayloadEncoder`] writes such payloads.
//! - [`acl`] says which rights on the broker all of this takes, and gives them.
//!
//! Nothing here logs, reports or counts by a key, a payload or anything else of an event but its position.

pub mod acl;
#[doc(hidden)]
pub mod bench;
mod budget;
mod buffer;
mod changes;
mod codes;
mod config;
mod consumer;
mod curation;
mod decoder;
mod engine;
mod error;
mod event;
mod fhir;
mod formats;
mod freshness;
mod intake;
mod json;
mod key;
mod metrics;
mod nested;
pub mod producer;
mod rebalance;
mod rebuild;
mod record;
mod registry;
mod replay;
mod revive;
mod running;
mod service;
mod shape;
mod silence;
mod sink;
mod standing;
mod state;
mod texts;
mod topic;
mod topic_id;
mod trace;
mod trouble;
mod undeclared;

pub use config::{IngestConfig, KafkaConfig, OnGap};
pub use engine::misfits;
pub use error::IngestError;
pub use formats::PayloadEncoder;
pub use metrics::{IngestMetrics, Totals};
pub use rebuild::{Rebuilt, rebuild};
pub use registry::{Registry, RegistryConfig};
pub use revive::{Replayed, replay};
pub use service::{Ingest, IngestHandle};
pub use state::IngestState;
pub use trace::{Made, trace};
pub use undeclared::is_declared;

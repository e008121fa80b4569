//! From Kafka topics to raw, curated and dead-letter tables, exactly once.

mod config;
mod curation;
mod decoder;
mod error;
mod event;
mod fhir;
mod json;
mod metrics;
pub mod producer;
mod shape;
mod state;
mod trouble;

pub use config::{IngestConfig, KafkaConfig};
pub use error::IngestError;
pub use metrics::{IngestMetrics, Totals};
pub use state::IngestState;

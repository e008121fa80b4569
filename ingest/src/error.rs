//! What can go wrong in ingest that its caller has to know of.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use lakeward_tables::TablesError;
use rdkafka::error::KafkaError;

/// An error of ingest. Brokers and storage that are away are no errors but a state, see [`crate::IngestState`].
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The Kafka properties are not usable. A configuration fault.
    #[error("the Kafka client cannot be made: {0}")]
    Client(String),
    /// A curated SELECT does not fit its contract or its topic. A fault of the lakehouse as declared.
    #[error("{table}: {message}")]
    Curation {
        /// The curated table.
        table: String,
        /// What does not fit: names of columns and types.
        message: String,
    },
    /// Records could not be sent; says to whom, why, and what would help.
    #[error("{0}")]
    Delivery(String),
    /// The tables refused something for good.
    #[error("the tables refused")]
    Tables(#[from] TablesError),
    /// Columns that do not fit together: a defect of ingest.
    #[error("columns do not fit together")]
    Columns(#[from] ArrowError),
    /// A thread or task of ingest ended before its time: a defect of ingest.
    #[error("{0} ended before its time")]
    Ended(&'static str),
}

impl IngestError {
    pub(crate) fn client(error: KafkaError) -> Self {
        IngestError::Client(error.to_string())
    }

    pub(crate) fn plan(table: &str, error: DataFusionError) -> Self {
        IngestError::Curation { table: table.to_owned(), message: error.strip_backtrace() }
    }
}

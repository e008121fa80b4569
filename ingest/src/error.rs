//! What can go wrong in ingest that its caller has to know of.

use std::path::Path;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use lakeward_tables::{Problem, TablesError};
use rdkafka::error::KafkaError;

/// What DataFusion says of a statement that begins at the top of `file`.
pub(crate) fn planned(file: &Path, error: &DataFusionError) -> Problem {
    let message = error.strip_backtrace();
    let first = message.lines().next().unwrap_or_default();
    let line = error.diagnostic().and_then(|told| told.span).map(|span| span.start.line as usize);
    misfit(file, line.or_else(|| line_in(&message)).unwrap_or(0), first)
}

pub(crate) fn misfit(file: &Path, line: usize, message: impl Into<String>) -> Problem {
    Problem { file: file.to_owned(), line, message: message.into() }
}

/// The parser of SQL gives the place as text: `… at Line: 3, Column: 7`.
fn line_in(message: &str) -> Option<usize> {
    let (_, rest) = message.split_once("Line: ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// An error of ingest. Brokers and storage that are away are no errors but a state, see [`crate::IngestState`].
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The Kafka properties are not usable. A configuration fault.
    #[error("the Kafka client cannot be made: {0}")]
    Client(String),
    /// A curated SELECT does not fit its contract or its topic. A fault of the lakehouse as declared.
    #[error("{0}")]
    Curation(Problem),
    /// Records could not be sent; says to whom, why, and what would help.
    #[error("{0}")]
    Delivery(String),
    /// The broker's access lists could not be read or changed; says who may not, and what would help.
    #[error("{0}")]
    Access(String),
    /// The schema registry does not answer or refuses; says which one, and what would help.
    #[error("{0}")]
    Registry(String),
    /// The process ends before what it waited for came back; nothing is lost.
    #[error("ended while waiting")]
    Abandoned,
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

    /// The engine cannot plan what every lakehouse has, such as `event`: a defect of ingest.
    pub(crate) fn plan(what: &str, error: DataFusionError) -> Self {
        IngestError::Curation(misfit(Path::new(what), 0, error.strip_backtrace()))
    }
}

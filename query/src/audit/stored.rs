//! Records as they stand in `audit.events`, read as they were written.
//!
//! This is the one reader of a table that has no barrier above it: what it gives goes to `lakeward audit verify`, and to
//! whoever may ask whose rows were seen.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::json::LineDelimitedWriter;
use datafusion::common::DataFusionError;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{ident, lit};
use datafusion::prelude::{SessionConfig, SessionContext};
use lakeward_tables::{Lake, TableName, TablesError};

use super::Record;

pub(super) fn failed(source: DataFusionError) -> TablesError {
    TablesError::Query { table: TableName::audit_events(), source: Box::new(source) }
}

/// The table as of now.
pub(super) async fn events(lake: &Lake) -> Result<DataFrame, TablesError> {
    let snapshot = lake.fresh_snapshot(&TableName::audit_events()).await?;
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    session.read_table(snapshot.provider()).map_err(failed)
}

/// The records of one writer, in its order.
pub(super) async fn of_writer(lake: &Lake, writer: &str) -> Result<SendableRecordBatchStream, TablesError> {
    let events = events(lake).await?;
    let sorted = events
        .filter(ident("writer").eq(lit(writer)))
        .and_then(|rows| rows.sort(vec![ident("sequence").sort(true, false), ident("segment").sort(true, false)]))
        .map_err(failed)?;
    sorted.execute_stream().await.map_err(failed)
}

/// Rows as records. One that was changed so that it is none is left out, and missing then.
pub(super) fn records(rows: &RecordBatch) -> Result<Vec<Record>, TablesError> {
    let mut lines = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut lines);
    let arrow = |error| failed(DataFusionError::ArrowError(Box::new(error), None));
    writer.write(rows).map_err(arrow)?;
    writer.finish().map_err(arrow)?;
    drop(writer);
    Ok(lines_of(&lines).filter_map(Result::ok).collect())
}

/// Each line as a record.
pub(super) fn lines_of(lines: &[u8]) -> impl Iterator<Item = Result<Record, serde_json::Error>> {
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(serde_json::from_slice)
}

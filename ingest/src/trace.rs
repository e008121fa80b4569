//! What becomes of messages: the rows that they make in each curated table, by the engine that ingest runs.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use lakeward_tables::{Lakehouse, TableName, TopicContract};

use crate::engine::{Engine, tables_of};
use crate::error::IngestError;
use crate::registry::{Registry, Schemas};

/// What messages of one topic make in one curated table, under the contracts as they are declared now.
#[derive(Debug, Clone)]
pub struct Made {
    /// The table.
    pub table: TableName,
    /// How many rows each message makes, in the order of the messages.
    pub rows: Vec<usize>,
    /// The rows, with the contract's columns.
    pub batches: Vec<RecordBatch>,
}

/// What messages make, in the schema of raw tables, in each table that their topic feeds. Nothing is read or written.
///
/// # Errors
///
/// A SELECT that does not fit the contracts, a schema registry that is needed and does not answer, or a defect of the engine; neither text quotes a message.
pub async fn trace(
    lakehouse: &Lakehouse,
    topic: &TopicContract,
    messages: &RecordBatch,
    registry: Option<Arc<Registry>>,
) -> Result<Vec<Made>, IngestError> {
    let mut engine = Engine::new(lakehouse, topic, Schemas::at_once(registry)).await?;
    let outcome = engine.process(messages).await?;
    let tables = tables_of(lakehouse, &topic.topic).into_iter().zip(outcome.tables);
    tables
        .map(|(table, made)| {
            let mut rows = vec![0; messages.num_rows()];
            let mut batches = Vec::with_capacity(made.batches.len());
            for batch in made.batches {
                for number in batch.column(0).as_primitive::<Int64Type>().values() {
                    if let Some(count) = rows.get_mut(*number as usize) {
                        *count += 1;
                    }
                }
                let columns: Vec<usize> = (1..batch.num_columns()).collect();
                batches.push(batch.project(&columns)?);
            }
            Ok(Made { table: table.name.clone(), rows, batches })
        })
        .collect()
}

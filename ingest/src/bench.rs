//! What ingest makes of messages, without Kafka and without commits: for `benches/`, which ask how much of ingest's time
//! that takes.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use lakeward_tables::{Lakehouse, TableName, TopicContract};

use crate::buffer::{Range, Ranges};
use crate::changes::{curated_rows, dead_rows, raw_rows};
use crate::engine::{Engine, tables_of};
use crate::error::IngestError;
use crate::registry::Schemas;

/// The work of one topic on messages that stand in memory.
pub struct Alone {
    lakehouse: Arc<Lakehouse>,
    contract: TopicContract,
    engine: Engine,
}

impl Alone {
    /// Plans the topic's SELECTs.
    ///
    /// # Errors
    ///
    /// A SELECT that does not fit the contracts.
    pub async fn new(lakehouse: Arc<Lakehouse>, contract: TopicContract) -> Result<Self, IngestError> {
        let engine = Engine::new(&lakehouse, &contract, Schemas::none()).await?;
        Ok(Alone { lakehouse, contract, engine })
    }

    /// Decodes and curates messages, in the schema of raw tables: the rows that each table of the topic would be given.
    ///
    /// # Errors
    ///
    /// A defect of the engine; the text quotes no message.
    pub async fn rows(&mut self, messages: &RecordBatch) -> Result<Vec<(TableName, Vec<RecordBatch>)>, IngestError> {
        let partitions = messages.column(messages.schema_ref().index_of("partition")?).as_primitive::<Int32Type>();
        let all = Range { from: 0, next: i64::MAX };
        let due: Ranges = partitions.values().chunk_by(|one, next| one == next).map(|run| (run[0], all)).collect();
        let outcome = self.engine.process(messages).await?;
        let mut rows = vec![
            (self.contract.table.clone(), raw_rows(messages, &due)?),
            (self.contract.dead_letter.clone(), dead_rows(messages, &due, &outcome)?),
        ];
        for (table, made) in tables_of(&self.lakehouse, &self.contract.topic).into_iter().zip(&outcome.tables) {
            rows.push((table.name.clone(), curated_rows(messages, &due, table, made, &outcome.tombstones)?));
        }
        Ok(rows)
    }
}

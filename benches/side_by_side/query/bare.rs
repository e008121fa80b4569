//! DataFusion as it comes, over the warehouse's files.

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::TryStreamExt;

use super::house::{House, TABLES};
use super::question::Question;

pub(super) struct Bare {
    context: SessionContext,
}

/// An answer, taken whole. Only small ones are kept.
pub(super) struct Answered {
    pub(super) rows: usize,
    kept: Vec<RecordBatch>,
}

impl Answered {
    /// Rows of answers that are kept, to be compared.
    const KEPT: usize = 100;

    pub(super) fn nothing() -> Self {
        Self { rows: 0, kept: Vec::new() }
    }

    pub(super) fn take(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows();
        if self.rows <= Self::KEPT {
            self.kept.push(batch);
        }
    }

    /// The rows as text, without the names of the columns.
    pub(super) fn text(&self) -> anyhow::Result<String> {
        let text = pretty_format_batches(&self.kept)?.to_string();
        Ok(text.lines().skip(3).collect::<Vec<_>>().join("\n"))
    }
}

impl Bare {
    pub(super) async fn open(house: &House) -> anyhow::Result<Self> {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(house.partitions));
        for table in TABLES {
            let folder = house.folder_of(table);
            let registered = context.register_parquet(table, folder.to_string_lossy(), ParquetReadOptions::default());
            registered.await.with_context(|| format!("bare DataFusion cannot read {}", folder.display()))?;
        }
        Ok(Self { context })
    }

    pub(super) async fn answer(&self, question: &Question) -> anyhow::Result<Answered> {
        let mut stream = self.context.sql(question.bare).await?.execute_stream().await?;
        let mut answer = Answered::nothing();
        while let Some(batch) = stream.try_next().await? {
            answer.take(batch);
        }
        Ok(answer)
    }
}

//! Messages that leave a raw or dead-letter table.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use futures::TryStreamExt;
use parquet::arrow::ProjectionMask;

use super::commit::ATTEMPTS;
use super::parquet_file::{Output, WrittenFile, open, parquet_error};
use super::physical::from_file;
use super::snapshot::DataFile;
use super::table::Table;
use crate::TablesError;
use crate::replay::Once;

/// Whether a message is meant: by source, topic, partition and offset.
pub(crate) type Meant<'a> = &'a (dyn Fn(&str, &str, i32, i64) -> bool + Sync);

impl Table {
    /// Rewrites the files that hold a message that is meant; gives how many those were. None where it was done before.
    pub(crate) async fn remove_messages(&self, once: &Once, meant: Meant<'_>) -> Result<Option<u64>, TablesError> {
        let _one_writer = self.writing.lock().await;
        let id = uuid::Uuid::new_v4().to_string();
        for _ in 0..ATTEMPTS {
            let state = self.state().await?;
            if state.positions.of_app(&once.app_id).is_some_and(|version| version >= once.version) {
                return Ok(None);
            }
            let (mut removed, mut added, mut gone) = (Vec::new(), Vec::new(), 0);
            for file in state.files.iter() {
                if self.holds(file, meant).await? {
                    let (rest, without) = self.without(file, meant).await?;
                    removed.push(Arc::clone(file));
                    added.extend(rest);
                    gone += without;
                }
            }
            let actions = self.actions(&removed, &added, true);
            let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
            let transactions = vec![(once.app_id.clone(), once.version)];
            if self.attempt(&id, &state, actions, transactions, operation).await?.is_some() {
                return Ok(Some(gone));
            }
        }
        Err(TablesError::Conflict { table: self.layout.name.clone(), attempts: ATTEMPTS })
    }

    pub(crate) async fn has(&self, once: &Once) -> Result<bool, TablesError> {
        Ok(self.state().await?.positions.of_app(&once.app_id).is_some_and(|version| version >= once.version))
    }

    /// Of a file that has none only the positions are read.
    async fn holds(&self, file: &DataFile, meant: Meant<'_>) -> Result<bool, TablesError> {
        let builder = open(&self.layout, &self.files, file).await?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["source", "topic", "partition", "offset"]);
        let failed = |source| parquet_error(&self.layout, source);
        let mut stream = builder.with_projection(mask).build().map_err(failed)?;
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            if self.are_meant(&batch, meant)?.true_count() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn without(&self, file: &DataFile, meant: Meant<'_>) -> Result<(Option<WrittenFile>, u64), TablesError> {
        let failed = |source| parquet_error(&self.layout, source);
        let mut stream = open(&self.layout, &self.files, file).await?.build().map_err(failed)?;
        let mut output = Output::new(&self.layout, &self.files, file.bucket, 1, true)?;
        let mut gone = 0;
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            let batch = from_file(&self.layout, &batch)?;
            let stays = arrow::compute::not(&self.are_meant(&batch, meant)?);
            let kept = stays.and_then(|stays| filter_record_batch(&batch, &stays));
            let kept = kept.map_err(|source| TablesError::Arrow { table: self.layout.name.clone(), source })?;
            gone += (batch.num_rows() - kept.num_rows()) as u64;
            output.write(&kept).await?;
        }
        Ok((output.finish().await?, gone))
    }

    fn are_meant(&self, batch: &RecordBatch, meant: Meant<'_>) -> Result<BooleanArray, TablesError> {
        let lacks = |name: &str| TablesError::Schema {
            table: self.layout.name.clone(),
            message: format!("a file lacks the column '{name}'"),
        };
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| lacks(name));
        let text = |name: &str| {
            cast(column(name)?, &DataType::Utf8)
                .map_err(|source| TablesError::Arrow { table: self.layout.name.clone(), source })
        };
        let (sources, topics) = (text("source")?, text("topic")?);
        let (sources, topics) = (sources.as_string::<i32>(), topics.as_string::<i32>());
        let partitions = column("partition")?.as_primitive_opt::<Int32Type>().ok_or_else(|| lacks("partition"))?;
        let offsets = column("offset")?.as_primitive_opt::<Int64Type>().ok_or_else(|| lacks("offset"))?;
        let is = |row: usize| meant(sources.value(row), topics.value(row), partitions.value(row), offsets.value(row));
        Ok((0..batch.num_rows()).map(|row| Some(is(row))).collect())
    }
}

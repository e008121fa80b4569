//! Writing the rows of several files into fewer, batch by batch.

use arrow::array::{BooleanArray, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use tokio::runtime::Handle;

use super::plan::Compaction;
use crate::delta::Table;
use crate::delta::keys::{flag, hashes, is_set, orders};
use crate::delta::parquet_file::{Output, WrittenFile, open, parquet_error};
use crate::delta::physical::from_file;
use crate::{DELETED_COLUMN, TablesError};

impl Table {
    /// Writes what a compaction reads. Markers that have outlived their time are left out; of all other rows there are as
    /// many as before, or it is an error. `now` is in milliseconds since 1970.
    pub(crate) async fn compacted(
        &self,
        task: &Compaction,
        target: u64,
        buckets: i32,
        now: i64,
    ) -> Result<Vec<WrittenFile>, TablesError> {
        let layout = self.layout.clone();
        let writing = Writing {
            layout,
            store: self.files.clone(),
            target,
            buckets: if task.into_buckets { buckets } else { 1 },
            bucket: task.bucket,
            into_buckets: task.into_buckets,
            inputs: task.inputs.clone(),
            now,
        };
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(writing.run())).await?
    }
}

struct Writing {
    layout: std::sync::Arc<crate::delta::layout::Layout>,
    store: std::sync::Arc<dyn object_store::ObjectStore>,
    target: u64,
    buckets: i32,
    bucket: Option<i32>,
    into_buckets: bool,
    inputs: super::Inputs,
    /// In milliseconds since 1970.
    now: i64,
}

impl Writing {
    async fn run(self) -> Result<Vec<WrittenFile>, TablesError> {
        let mut outputs: Vec<Option<Output>> = (0..self.buckets).map(|_| None).collect();
        let (mut files, mut read, mut expired) = (Vec::new(), 0_u64, 0_u64);
        let before = self.now.saturating_mul(1_000).saturating_sub(self.layout.keep_markers);
        for file in &self.inputs {
            let builder = open(&self.layout, &self.store, file).await?;
            let mut stream = builder.build().map_err(|source| parquet_error(&self.layout, source))?;
            while let Some(batch) = stream.try_next().await.map_err(|source| parquet_error(&self.layout, source))? {
                read += batch.num_rows() as u64;
                let batch = from_file(&self.layout, &batch)?;
                let batch = match file.live < file.rows {
                    true => {
                        let kept = self.without_expired(&batch, before)?;
                        expired += (batch.num_rows() - kept.num_rows()) as u64;
                        kept
                    }
                    false => batch,
                };
                for (at, rows) in self.split(batch)? {
                    if outputs[at].is_none() {
                        let bucket = if self.into_buckets { Some(at as i32) } else { self.bucket };
                        let output = Output::new(&self.layout, &self.store, bucket, self.buckets as usize, true)?;
                        outputs[at] = Some(output);
                    }
                    if let Some(output) = &mut outputs[at] {
                        output.write(&rows).await?;
                        if output.size() as u64 > self.target
                            && let Some(full) = outputs[at].take()
                        {
                            files.extend(full.finish().await?);
                        }
                    }
                }
            }
        }
        for output in outputs.into_iter().flatten() {
            files.extend(output.finish().await?);
        }
        let declared: u64 = self.inputs.iter().map(|file| file.rows).sum();
        let written: u64 = files.iter().map(|file| file.rows).sum();
        if declared != read || written + expired != read {
            return Err(TablesError::Schema {
                table: self.layout.name.clone(),
                message: format!(
                    "a compaction read {read} rows where the log says {declared}, and wrote {written} and left out \
                     {expired}: nothing of it is committed"
                ),
            });
        }
        Ok(files)
    }

    /// Without the markers of events that are older than a time, in microseconds since 1970.
    fn without_expired(&self, batch: &RecordBatch, before: i64) -> Result<RecordBatch, TablesError> {
        let deleted = flag(batch, DELETED_COLUMN);
        let kept: BooleanArray = orders(batch)
            .into_iter()
            .enumerate()
            .map(|(row, (_, time, _, _))| Some(!is_set(&deleted, row) || time == i64::MIN || time >= before))
            .collect();
        if kept.true_count() == kept.len() {
            return Ok(batch.clone());
        }
        filter_record_batch(batch, &kept)
            .map_err(|source| TablesError::Arrow { table: self.layout.name.clone(), source })
    }

    fn split(&self, batch: RecordBatch) -> Result<Vec<(usize, RecordBatch)>, TablesError> {
        let Some(key) = self.layout.key.as_ref().filter(|_| self.into_buckets) else { return Ok(vec![(0, batch)]) };
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.buckets as usize];
        for (row, hash) in hashes(&self.layout, key, &batch)?.into_iter().enumerate() {
            rows[(hash % self.buckets as u64) as usize].push(row as u32);
        }
        let filled = rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty());
        filled
            .map(|(at, rows)| {
                let taken = take_record_batch(&batch, &UInt32Array::from(rows))
                    .map_err(|source| TablesError::Arrow { table: self.layout.name.clone(), source })?;
                Ok((at, taken))
            })
            .collect()
    }
}

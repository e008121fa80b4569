//! Writing what was decided: the commit's own file, and files without the rows that lost.

use std::sync::Arc;

use arrow::array::{BooleanArray, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use futures::TryStreamExt;

use super::{Fresh, Merge, Touch};
use crate::TablesError;
use crate::delta::parquet_file::{Output, open, parquet_error};
use crate::delta::physical::{from_file, marked};
use crate::delta::snapshot::DataFile;

impl Merge {
    /// Writes the commit's own file and those that lose a row, where that was not done for an earlier attempt.
    pub(super) async fn write(&mut self, fresh: Fresh, removed: &[Arc<DataFile>]) -> Result<(), TablesError> {
        let is_done = self.fresh.as_ref().is_some_and(|(done, _)| *done == fresh);
        let mut own = if is_done { None } else { Some(self.begin(&fresh).await?) };
        for file in removed {
            let touch = &fresh.touched[&file.path];
            let folded = fresh.folded.contains(&file.path);
            let written = self.rewritten.get(&file.path).is_some_and(|(done, _)| done == touch);
            let mut other = match folded || written {
                true => None,
                false => Some(Output::new(&self.layout, &self.store, file.bucket, 2, file.bucket.is_some())?),
            };
            let wanted_here = own.is_some() && (folded || !touch.promoted.is_empty());
            if other.is_some() || wanted_here {
                self.copy(file, touch, folded, own.as_mut(), other.as_mut()).await?;
            }
            if let Some(other) = other {
                self.rewritten.insert(file.path.clone(), (touch.clone(), other.finish().await?));
            } else if folded {
                self.rewritten.remove(&file.path);
            }
        }
        if let Some(own) = own {
            self.fresh = Some((fresh, own.finish().await?));
        }
        Ok(())
    }

    /// The commit's own file with the rows that were given.
    async fn begin(&self, fresh: &Fresh) -> Result<Output, TablesError> {
        let mut own = Output::new(&self.layout, &self.store, None, 2, false)?;
        let Some(chosen) = &self.chosen else { return Ok(own) };
        for batch in &chosen.plain {
            own.write(batch).await?;
        }
        for (at, compared) in chosen.compared.iter().enumerate() {
            for corrected in [false, true] {
                let rows = fresh.kept.iter().filter(|(batch, _, is)| *batch == at && *is == corrected);
                let indices = UInt32Array::from_iter_values(rows.map(|(_, row, _)| *row));
                let taken = take_record_batch(&compared.rows, &indices)
                    .map_err(|source| TablesError::Arrow { table: self.layout.name.clone(), source })?;
                own.write(&marked(&self.layout, &taken, corrected)?).await?;
            }
        }
        Ok(own)
    }

    /// Copies what is left of a file, and what goes on as corrected.
    async fn copy(
        &self,
        file: &DataFile,
        touch: &Touch,
        folded: bool,
        mut own: Option<&mut Output>,
        mut other: Option<&mut Output>,
    ) -> Result<(), TablesError> {
        let arrow = |source| TablesError::Arrow { table: self.layout.name.clone(), source };
        let builder = open(&self.layout, &self.store, file).await?;
        let mut stream = builder.build().map_err(|source| parquet_error(&self.layout, source))?;
        let mut base = 0_u32;
        while let Some(batch) = stream.try_next().await.map_err(|source| parquet_error(&self.layout, source))? {
            let rows = batch.num_rows() as u32;
            let batch = from_file(&self.layout, &batch)?;
            let (dropped, promoted) = (within(&touch.dropped, base, rows), within(&touch.promoted, base, rows));
            if let Some(own) = own.as_deref_mut().filter(|_| !promoted.is_empty()) {
                let indices = UInt32Array::from_iter_values(promoted.iter().map(|row| row - base));
                let taken = take_record_batch(&batch, &indices).map_err(arrow)?;
                own.write(&marked(&self.layout, &taken, true)?).await?;
            }
            let left = match dropped.len() + promoted.len() {
                0 => batch,
                _ => {
                    let mut left = vec![true; rows as usize];
                    dropped.iter().chain(promoted).for_each(|row| left[(row - base) as usize] = false);
                    filter_record_batch(&batch, &BooleanArray::from(left)).map_err(arrow)?
                }
            };
            if let Some(other) = other.as_deref_mut() {
                other.write(&left).await?;
            } else if let Some(own) = own.as_deref_mut().filter(|_| folded) {
                own.write(&left).await?;
            }
            base += rows;
        }
        if u64::from(base) != file.rows {
            let message = format!("a file has {base} rows, and {} according to the log", file.rows);
            return Err(TablesError::Schema { table: self.layout.name.clone(), message });
        }
        Ok(())
    }
}

/// The places of a sorted list in a range.
fn within(places: &[u32], base: u32, rows: u32) -> &[u32] {
    let from = places.partition_point(|place| *place < base);
    let until = places.partition_point(|place| *place < base + rows);
    &places[from..until]
}

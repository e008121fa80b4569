//! From segments into `audit.events`, each exactly once.

use arrow::compute::concat_batches;
use arrow::json::ReaderBuilder;
use arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};

use super::journal::{ABREAST, Journal, SOURCE};
use crate::{Change, Progress, TableName, TablesError, events_schema};

/// Segments of one fold: what is more waits for the next one.
const MOST: usize = 2_000;
/// Rows of a batch.
const BATCH: usize = 8_192;

/// What a fold has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Folded {
    /// Segments that are in the table since.
    pub segments: usize,
    /// Their records.
    pub records: usize,
    /// Segments that had disappeared before they were folded, or cannot be read: the chain of their writer tells what is
    /// missing.
    pub lost: usize,
    /// Whether there are more.
    pub more: bool,
}

/// Segments of one writer that follow on what the table has of it.
struct Next {
    writer: String,
    from: i64,
    next: i64,
    rows: Vec<RecordBatch>,
    segments: usize,
    lost: usize,
}

impl Journal {
    /// Brings segments into the table, in one commit, and deletes them. Where somebody else is doing so it does nothing.
    pub async fn fold(&self) -> Result<Folded, TablesError> {
        let mut folded = Folded::default();
        let (mut next, mut there, mut left) = (Vec::new(), Vec::new(), MOST);
        let segments = self.segments().await?;
        if segments.is_empty() {
            return Ok(folded);
        }
        // Looked up after the listing: what is listed and below a position is in the table.
        let positions = self.folded().await?;
        for (writer, numbers) in segments {
            let from = positions.get(&writer).copied().unwrap_or(0);
            there.extend(numbers.iter().filter(|number| **number < from).map(|number| (writer.clone(), *number)));
            let new: Vec<i64> = numbers.into_iter().filter(|number| *number >= from).collect();
            folded.more |= new.len() > left;
            let Some(last) = new.iter().take(left).next_back().copied() else { continue };
            left -= new.len().min(left);
            next.push(self.following(writer, from, last).await?);
        }
        let rows: Vec<RecordBatch> = next.iter_mut().flat_map(|of| std::mem::take(&mut of.rows)).collect();
        let rows = together(&rows)?;
        folded.records = rows.iter().map(RecordBatch::num_rows).sum();
        folded.lost = next.iter().map(|of| of.lost).sum();
        if !next.is_empty() {
            let progress = next.iter().map(Next::progress).collect();
            match self.lake.commit(&TableName::audit_events(), Change::Append { rows, progress }).await {
                Ok(_) => {}
                // They are in the table by somebody else's commit, and that one deletes them.
                Err(TablesError::NotAtPosition { .. }) => return Ok(Folded::default()),
                Err(error) => return Err(error),
            }
        }
        for of in next {
            folded.segments += of.segments;
            there.extend((of.from..of.next).map(|number| (of.writer.clone(), number)));
        }
        self.delete(there).await?;
        Ok(folded)
    }

    /// Reads the segments up to this one. A number that a listing lacks may have been put while it was made, so that each is
    /// asked for.
    async fn following(&self, writer: String, from: i64, last: i64) -> Result<Next, TablesError> {
        let mut read = futures::stream::iter(from..=last)
            .map(|number| {
                let writer = &writer;
                async move { Ok::<_, TablesError>((number, self.read(writer, number).await?)) }
            })
            .buffered(ABREAST);
        let (mut rows, mut segments, mut lost) = (Vec::new(), 0, 0);
        while let Some((number, bytes)) = read.try_next().await? {
            match bytes.as_ref().map(|bytes| decoded(bytes)) {
                Some(Ok(batches)) => {
                    rows.extend(batches);
                    segments += 1;
                }
                Some(Err(())) => {
                    tracing::error!(writer, number, "a segment of the audit cannot be read and is set aside");
                    self.set_aside(&writer, number, bytes.unwrap_or_default()).await?;
                    lost += 1;
                }
                None => {
                    tracing::error!(writer, number, "a segment of the audit has disappeared");
                    lost += 1;
                }
            }
        }
        drop(read);
        Ok(Next { writer, from, next: last + 1, rows, segments, lost })
    }
}

impl Next {
    fn progress(&self) -> Progress {
        Progress {
            source: SOURCE.to_owned(),
            topic: self.writer.clone(),
            partition: 0,
            from: self.from,
            next: self.next,
        }
    }
}

/// The rows of one segment. The decoder's own words may quote a record.
fn decoded(mut rest: &[u8]) -> Result<Vec<RecordBatch>, ()> {
    let mut decoder = ReaderBuilder::new(events_schema()).with_batch_size(BATCH).build_decoder().map_err(drop)?;
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let read = decoder.decode(rest).map_err(drop)?;
        rest = rest.get(read..).unwrap_or_default();
        if read == 0 {
            batches.extend(decoder.flush().map_err(drop)?);
        }
    }
    if decoder.has_partial_record() {
        return Err(());
    }
    batches.extend(decoder.flush().map_err(drop)?);
    Ok(batches)
}

/// Many small batches as one.
fn together(rows: &[RecordBatch]) -> Result<Vec<RecordBatch>, TablesError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let one = concat_batches(&events_schema(), rows);
    one.map(|rows| vec![rows]).map_err(|source| TablesError::Arrow { table: TableName::audit_events(), source })
}

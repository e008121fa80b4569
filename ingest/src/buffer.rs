//! The open batch of one topic: messages go straight into Arrow builders, nothing is allocated for each of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    ArrayBuilder, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int32Builder, Int64Builder, ListArray,
    NullBufferBuilder, RecordBatch, StringArray, StringBuilder, StructArray, TimestampMicrosecondArray,
    TimestampMicrosecondBuilder,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use parking_lot::Mutex;
use rdkafka::message::{BorrowedHeaders, Headers};

use crate::error::IngestError;

/// Consecutive positions of one partition, as they stand in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// Where the partition stood before the batch.
    pub(crate) from: i64,
    /// Where it stands after it: the last offset and one.
    pub(crate) next: i64,
}

/// Ranges by partition.
pub(crate) type Ranges = BTreeMap<i32, Range>;

/// One message as it came from a broker.
pub(crate) struct Incoming<'a> {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Milliseconds since 1970.
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) headers: Option<&'a BorrowedHeaders>,
}

#[derive(Debug)]
pub(crate) struct TopicBuffer {
    schema: SchemaRef,
    source: String,
    topic: String,
    partition: Int32Builder,
    offset: Int64Builder,
    timestamp: TimestampMicrosecondBuilder,
    key: BinaryBuilder,
    headers: HeaderColumn,
    payload: Payloads,
    spare: Spare,
    ranges: Ranges,
    rows: usize,
    bytes: usize,
    opened: Option<Instant>,
    /// Bytes that are taken for the payloads of a batch: a little more than the largest of the last ones had, for to grow is
    /// to copy them all.
    room: usize,
}

/// However much a commit may hold by configuration, a batch is due at so many bytes: an array of payloads counts its bytes
/// in 31 bits.
pub(crate) const MOST_IN_BATCH: usize = 512 << 20;

/// Payloads side by side in one block of memory.
#[derive(Debug)]
struct Payloads {
    values: Vec<u8>,
    ends: Vec<i32>,
    valid: NullBufferBuilder,
}

impl Payloads {
    fn within(values: Vec<u8>) -> Self {
        Payloads { values, ends: vec![0], valid: NullBufferBuilder::new(0) }
    }

    fn push(&mut self, payload: Option<&[u8]>) {
        self.values.extend_from_slice(payload.unwrap_or_default());
        // Far below what fits: a batch is sealed, or its partitions paused, at [`MOST_IN_BATCH`] or twice of it.
        self.ends.push(self.values.len() as i32);
        self.valid.append(payload.is_some());
    }

    fn finish(&mut self) -> Result<BinaryArray, ArrowError> {
        let Payloads { values, ends, mut valid } = std::mem::replace(self, Payloads::within(Vec::new()));
        BinaryArray::try_new(OffsetBuffer::new(ends.into()), Buffer::from_vec(values), valid.finish())
    }
}

/// The memory in which the payloads of a batch stood, kept for the next batch of whatever topic: to take so much from the
/// system anew costs more than to fill it. One block at most.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spare(Arc<Mutex<Vec<u8>>>);

impl Spare {
    /// Takes back the payloads' memory of a batch, unless somebody looks into it still.
    pub(crate) fn keep(&self, rows: RecordBatch) {
        let payload = rows.column_by_name("payload").and_then(|column| column.as_binary_opt::<i32>()).cloned();
        drop(rows);
        let values = payload.and_then(|payload| payload.into_parts().1.into_vec().ok());
        if let Some(mut values) = values {
            values.clear();
            let mut kept = self.0.lock();
            if kept.capacity() < values.capacity() {
                *kept = values;
            }
        }
    }

    /// A block that is empty; of so many bytes where none was kept that is as large.
    fn block(&self, bytes: usize) -> Vec<u8> {
        let kept = std::mem::take(&mut *self.0.lock());
        if kept.capacity() >= bytes.max(1) { kept } else { Vec::with_capacity(bytes) }
    }
}

/// A batch that takes no more messages.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// In the schema of raw tables.
    pub(crate) rows: RecordBatch,
    pub(crate) ranges: Ranges,
    pub(crate) bytes: usize,
    /// Where the memory of the rows goes once they are committed.
    pub(crate) spare: Spare,
}

impl TopicBuffer {
    /// `schema` is that of the raw table.
    pub(crate) fn new(schema: SchemaRef, source: &str, topic: &str, spare: Spare) -> Self {
        TopicBuffer {
            schema,
            source: source.to_owned(),
            topic: topic.to_owned(),
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            timestamp: TimestampMicrosecondBuilder::new(),
            key: BinaryBuilder::new(),
            headers: HeaderColumn::default(),
            payload: Payloads::within(Vec::new()),
            spare,
            ranges: Ranges::new(),
            rows: 0,
            bytes: 0,
            opened: None,
            room: 0,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(crate) fn opened(&self) -> Option<Instant> {
        self.opened
    }

    /// Takes one message; `position` is where its partition stood.
    pub(crate) fn push(&mut self, message: &Incoming<'_>, position: i64) {
        if self.opened.is_none() {
            self.opened = Some(Instant::now());
            self.payload = Payloads::within(self.spare.block(self.room));
        }
        self.partition.append_value(message.partition);
        self.offset.append_value(message.offset);
        self.timestamp.append_option(message.timestamp.map(|millis| millis.saturating_mul(1000)));
        self.key.append_option(message.key);
        self.payload.push(message.payload);
        let header_bytes = self.headers.push(message.headers);
        let next = message.offset + 1;
        self.ranges.entry(message.partition).or_insert(Range { from: position, next }).next = next;
        self.rows += 1;
        self.bytes += message.key.map_or(0, <[u8]>::len) + message.payload.map_or(0, <[u8]>::len) + header_bytes;
    }

    /// Closes the batch and opens an empty one.
    pub(crate) fn seal(&mut self) -> Result<Sealed, IngestError> {
        let now = chrono::Utc::now().timestamp_micros();
        let rows = std::mem::take(&mut self.rows);
        let payloads = self.payload.values.len();
        self.room = (payloads + payloads / 16).max(self.room - self.room / 8);
        let columns: [(&str, ArrayRef); 8] = [
            ("source", Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.source, rows)))),
            ("topic", Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.topic, rows)))),
            ("partition", Arc::new(self.partition.finish())),
            ("offset", Arc::new(self.offset.finish())),
            ("timestamp", Arc::new(self.timestamp.finish().with_timezone("UTC"))),
            ("ingested_at", Arc::new(TimestampMicrosecondArray::from_value(now, rows).with_timezone("UTC"))),
            ("key", Arc::new(self.key.finish())),
            ("payload", Arc::new(self.payload.finish()?)),
        ];
        let headers = std::mem::take(&mut self.headers);
        let mut headers = Some(headers);
        let mut by_name = |name: &str, declared: &DataType| -> Result<ArrayRef, IngestError> {
            if name == "headers" {
                return headers.take().unwrap_or_default().build(declared);
            }
            let found = columns.iter().find(|(column, _)| *column == name).map(|(_, array)| array);
            let array = found.ok_or(IngestError::Ended("a column of the raw table"))?;
            Ok(if array.data_type() == declared { Arc::clone(array) } else { cast(array, declared)? })
        };
        let arrays = self.schema.fields().iter().map(|field| by_name(field.name(), field.data_type()));
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), arrays.collect::<Result<_, _>>()?)?;
        self.opened = None;
        let (ranges, bytes) = (std::mem::take(&mut self.ranges), std::mem::take(&mut self.bytes));
        Ok(Sealed { rows, ranges, bytes, spare: self.spare.clone() })
    }
}

/// The headers of all messages of a batch: a list of names and values for each message.
#[derive(Debug, Default)]
struct HeaderColumn {
    names: StringBuilder,
    values: BinaryBuilder,
    counts: Vec<usize>,
}

impl HeaderColumn {
    /// Takes the headers of one message; gives their bytes.
    fn push(&mut self, headers: Option<&BorrowedHeaders>) -> usize {
        let (before, mut bytes) = (self.names_len(), 0);
        if let Some(headers) = headers {
            // rdkafka panics at a name that is not UTF-8, which Kafka's protocol forbids: such a header is left out, and
            // those after it.
            let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for header in headers.iter() {
                    bytes += header.key.len() + header.value.map_or(0, <[u8]>::len);
                    self.names.append_value(header.key);
                    self.values.append_option(header.value);
                }
            }));
            if read.is_err() {
                tracing::warn!("a header's name is not UTF-8");
            }
        }
        self.counts.push(self.names_len() - before);
        bytes
    }

    fn names_len(&self) -> usize {
        self.names.len()
    }

    fn build(mut self, declared: &DataType) -> Result<ArrayRef, IngestError> {
        let DataType::List(element) = declared else { return Err(IngestError::Ended("the headers' type")) };
        let DataType::Struct(fields) = element.data_type() else { return Err(IngestError::Ended("the headers' type")) };
        let pairs = StructArray::try_new(
            fields.clone(),
            vec![Arc::new(self.names.finish()), Arc::new(self.values.finish())],
            None,
        )?;
        let offsets = OffsetBuffer::from_lengths(self.counts.iter().copied());
        Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, Arc::new(pairs), None)?))
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    fn rows(payloads: &mut Payloads) -> RecordBatch {
        let column: ArrayRef = Arc::new(payloads.finish().unwrap());
        let field = Field::new("payload", DataType::Binary, true);
        RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(vec![field])), vec![column]).unwrap()
    }

    #[test]
    fn payloads_come_out_as_they_went_in() {
        let mut payloads = Payloads::within(Vec::new());
        for _ in 0..2 {
            let given: [Option<&[u8]>; 4] = [Some(b"a"), None, Some(b""), Some(b"bc")];
            given.into_iter().for_each(|payload| payloads.push(payload));
            assert_eq!(payloads.finish().unwrap(), BinaryArray::from_iter(given));
        }
    }

    #[test]
    fn the_memory_of_a_batch_is_used_again_but_not_while_somebody_looks_into_it() {
        let spare = Spare::default();
        let mut payloads = Payloads::within(spare.block(4096));
        payloads.push(Some(b"first"));
        let batch = rows(&mut payloads);
        let reader = batch.column(0).clone();
        spare.keep(batch);
        assert_eq!(spare.block(0).capacity(), 0, "somebody looks into it");
        assert_eq!(reader.as_binary::<i32>().value(0), b"first");

        let mut payloads = Payloads::within(spare.block(4096));
        payloads.push(Some(b"second"));
        let place = payloads.values.as_ptr();
        spare.keep(rows(&mut payloads));
        let again = spare.block(0);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(again.capacity() >= 4096);
        assert_eq!(spare.block(0).capacity(), 0, "it is given once");

        let mut payloads = Payloads::within(again);
        payloads.push(Some(b"third"));
        spare.keep(rows(&mut payloads));
        assert!(spare.block(8192).capacity() >= 8192, "what is too small would have to grow");
    }
}

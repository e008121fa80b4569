//! The values of a declared field, as Arrow's builders take them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, ListArray, NullBufferBuilder, StringViewBuilder,
    StructArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;

use super::members::Members;
use super::{NotPlain, Payload, Text, number, string};
use crate::json::{MAX_DEPTH, Scan};

/// The values of one declared field.
pub(super) enum Column {
    Text(StringViewBuilder),
    Float(Float64Builder),
    Integer(Int64Builder),
    Flag(BooleanBuilder),
    Object { members: Members, valid: NullBufferBuilder },
    List { field: FieldRef, item: Box<Column>, offsets: Vec<i32>, valid: NullBufferBuilder },
}

impl Column {
    pub(super) fn new(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Utf8View => Column::Text(StringViewBuilder::new()),
            DataType::Float64 => Column::Float(Float64Builder::new()),
            DataType::Int64 => Column::Integer(Int64Builder::new()),
            DataType::Boolean => Column::Flag(BooleanBuilder::new()),
            DataType::Struct(fields) => {
                Column::Object { members: Members::new(fields)?, valid: NullBufferBuilder::new(0) }
            }
            DataType::List(field) => Column::List {
                field: Arc::clone(field),
                item: Box::new(Column::new(field.data_type())?),
                offsets: vec![0],
                valid: NullBufferBuilder::new(0),
            },
            _ => return None,
        })
    }

    pub(super) fn look_into(&mut self, buffer: &Buffer) {
        match self {
            Column::Text(builder) => drop(builder.append_block(buffer.clone())),
            Column::Object { members, .. } => members.look_into(buffer),
            Column::List { item, .. } => item.look_into(buffer),
            Column::Float(_) | Column::Integer(_) | Column::Flag(_) => {}
        }
    }

    /// Takes the value that comes next, around which so many levels are open. Takes one, also when it fails.
    pub(super) fn read(&mut self, payload: Payload<'_>, scan: &mut Scan<'_>, depth: usize) -> Result<(), NotPlain> {
        let token = scan.token();
        match (self, token) {
            (Column::Object { members, valid }, Ok(b'{')) => {
                valid.append_non_null();
                members.read(payload, scan, depth + 1)
            }
            (Column::List { item, offsets, valid, .. }, Ok(b'[')) => {
                let mut count = 0;
                let read = read_items(item, payload, scan, depth + 1, &mut count);
                offsets.push(offsets.last().copied().unwrap_or_default() + count);
                valid.append_non_null();
                read
            }
            (column, Ok(token)) => {
                let read = column.read_scalar(token, payload, scan);
                if !matches!(read, Ok(Scalar::Taken)) {
                    column.append_nulls(1);
                }
                read.map(drop)
            }
            (column, Err(_)) => {
                column.append_nulls(1);
                Err(NotPlain)
            }
        }
    }

    fn read_scalar(&mut self, token: u8, payload: Payload<'_>, scan: &mut Scan<'_>) -> Result<Scalar, NotPlain> {
        match (self, token) {
            (_, b'n') => {
                scan.literal(b"null")?;
                return Ok(Scalar::Null);
            }
            (Column::Text(builder), b'"') => match string(payload.text, scan)? {
                Text { text, escaped: true, .. } => {
                    builder.append_value(serde_json::from_str::<String>(&format!("\"{text}\""))?);
                }
                Text { text, at, .. } => {
                    builder.try_append_view(0, u32::try_from(payload.at + at)?, u32::try_from(text.len())?)?;
                }
            },
            (Column::Float(builder), b'-' | b'0'..=b'9') => {
                let number: f64 = number(payload.text, scan)?.parse()?;
                if number.is_infinite() {
                    return Err(NotPlain);
                }
                builder.append_value(number);
            }
            // A fraction or an exponent does not parse.
            (Column::Integer(builder), b'-' | b'0'..=b'9') => {
                builder.append_value(number(payload.text, scan)?.parse()?)
            }
            (Column::Flag(builder), b't') => {
                scan.literal(b"true")?;
                builder.append_value(true);
            }
            (Column::Flag(builder), b'f') => {
                scan.literal(b"false")?;
                builder.append_value(false);
            }
            _ => return Err(NotPlain),
        }
        Ok(Scalar::Taken)
    }

    pub(super) fn append_nulls(&mut self, count: usize) {
        match self {
            Column::Text(builder) => (0..count).for_each(|_| builder.append_null()),
            Column::Float(builder) => builder.append_nulls(count),
            Column::Integer(builder) => builder.append_nulls(count),
            Column::Flag(builder) => builder.append_nulls(count),
            Column::Object { members, valid } => {
                members.append_nulls(count);
                valid.append_n_nulls(count);
            }
            Column::List { offsets, valid, .. } => {
                offsets.extend(std::iter::repeat_n(offsets.last().copied().unwrap_or_default(), count));
                valid.append_n_nulls(count);
            }
        }
    }

    /// The values so far. The next ones will be about as many.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Column::Text(builder) => {
                let texts = builder.finish();
                *builder = StringViewBuilder::with_capacity(texts.len());
                Arc::new(texts)
            }
            Column::Float(builder) => Arc::new(builder.finish()),
            Column::Integer(builder) => Arc::new(builder.finish()),
            Column::Flag(builder) => Arc::new(builder.finish()),
            Column::Object { members, valid } => {
                let columns = members.finish()?;
                Arc::new(StructArray::try_new(members.fields.clone(), columns, valid.finish())?)
            }
            Column::List { field, item, offsets, valid } => {
                let mut next = Vec::with_capacity(offsets.len());
                next.push(0);
                let ends = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, next)));
                Arc::new(ListArray::try_new(Arc::clone(field), ends, item.finish()?, valid.finish())?)
            }
        })
    }
}

/// What became of a value that is neither object nor list.
enum Scalar {
    Taken,
    Null,
}

/// The items of a list, from the opening bracket on; `count` of them were taken.
fn read_items(
    item: &mut Column,
    payload: Payload<'_>,
    scan: &mut Scan<'_>,
    depth: usize,
    count: &mut i32,
) -> Result<(), NotPlain> {
    if depth > MAX_DEPTH {
        return Err(NotPlain);
    }
    scan.step();
    if scan.token()? == b']' {
        scan.step();
        return Ok(());
    }
    loop {
        *count += 1;
        item.read(payload, scan, depth)?;
        match scan.token()? {
            b',' => scan.step(),
            b']' => {
                scan.step();
                return Ok(());
            }
            _ => return Err(NotPlain),
        }
    }
}

//! The values of a declared column, as they come out of Protobuf messages.
//!
//! Every column takes one value for each message, also for one that is refused: what that one leaves is dropped.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewBuilder, BooleanBuilder, Decimal128Builder, Float64Builder, Int64Builder, ListArray,
    NullBufferBuilder, StringViewBuilder, StructArray, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields};
use arrow::error::ArrowError;
use prost_reflect::{DynamicMessage, Kind, ReflectMessage, Value};

use super::conform::beyond;
use super::protobuf_plan::Slot;

/// Why a value cannot be taken.
pub(super) struct Misfit {
    /// Below the column.
    path: String,
    why: Why,
}

enum Why {
    /// Beyond what is declared, which is named.
    Range(DataType),
    NotFinite,
    /// A number for which the enum has no name.
    Nameless,
    /// The schema does not give what was planned: a defect.
    Shape,
}

impl Misfit {
    fn new(why: Why) -> Self {
        Misfit { path: String::new(), why }
    }

    fn below(mut self, step: &str) -> Self {
        self.path.insert_str(0, step);
        self
    }

    /// Code, path and shape.
    pub(super) fn reason(&self) -> String {
        let path = format!("${}", self.path);
        match &self.why {
            Why::Range(declared) => beyond(&path, declared),
            Why::NotFinite => format!("value.not_finite: {path} is no finite number"),
            Why::Nameless => format!("protobuf.enum: {path} is a number that its enum does not name"),
            Why::Shape => format!("protobuf.type: {path} does not fit"),
        }
    }
}

/// The values of one declared column.
pub(super) enum Column {
    Text(StringViewBuilder),
    Float(Float64Builder),
    Integer(Int64Builder),
    Decimal { builder: Decimal128Builder, precision: u8, scale: i8 },
    Flag(BooleanBuilder),
    Bytes(BinaryViewBuilder),
    Instant(TimestampMicrosecondBuilder),
    Object { fields: Fields, columns: Vec<Column>, valid: NullBufferBuilder },
    List { field: FieldRef, item: Box<Column>, offsets: Vec<i32>, valid: NullBufferBuilder },
}

/// Columns for all fields; `None` where one has a type that no message gives.
pub(super) fn columns(fields: &Fields) -> Option<Vec<Column>> {
    fields.iter().map(|field| Column::new(field.data_type())).collect()
}

/// Takes the members of a message; all of them, also after a misfit.
pub(super) fn append_members(
    columns: &mut [Column],
    fields: &Fields,
    slots: &[Slot],
    message: &DynamicMessage,
) -> Result<(), Misfit> {
    let mut met = Ok(());
    for ((column, field), slot) in columns.iter_mut().zip(fields).zip(slots) {
        let taken = match &slot.field {
            // Without presence the default of the type is the value; with it, what is not there is not there.
            Some(written) if !written.supports_presence() || message.has_field(written) => {
                column.append(&message.get_field(written), &written.kind(), slot)
            }
            _ => {
                column.append_null();
                Ok(())
            }
        };
        if let (Err(misfit), Ok(())) = (taken, &met) {
            met = Err(misfit.below(&format!(".{}", field.name())));
        }
    }
    met
}

impl Column {
    fn new(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Utf8View => Column::Text(StringViewBuilder::new()),
            DataType::Float64 => Column::Float(Float64Builder::new()),
            DataType::Int64 => Column::Integer(Int64Builder::new()),
            DataType::Decimal128(precision, scale) => Column::Decimal {
                builder: Decimal128Builder::new().with_data_type(data_type.clone()),
                precision: *precision,
                scale: *scale,
            },
            DataType::Boolean => Column::Flag(BooleanBuilder::new()),
            DataType::BinaryView => Column::Bytes(BinaryViewBuilder::new()),
            DataType::Timestamp(_, zone) => {
                Column::Instant(TimestampMicrosecondBuilder::new().with_timezone_opt(zone.clone()))
            }
            DataType::Struct(fields) => {
                Column::Object { fields: fields.clone(), columns: columns(fields)?, valid: NullBufferBuilder::new(0) }
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

    /// Takes one value, also when it fails.
    fn append(&mut self, value: &Value, kind: &Kind, slot: &Slot) -> Result<(), Misfit> {
        match (&mut *self, value) {
            (Column::Object { fields, columns, valid }, Value::Message(message)) => {
                valid.append_non_null();
                append_members(columns, fields, &slot.members, message)
            }
            (Column::List { item, offsets, valid, .. }, Value::List(values)) => {
                let mut met = Ok(());
                for (place, value) in values.iter().enumerate() {
                    if let (Err(misfit), Ok(())) = (item.append(value, kind, slot), &met) {
                        met = Err(misfit.below(&format!("[{place}]")));
                    }
                }
                let count = i32::try_from(values.len()).unwrap_or(i32::MAX);
                offsets.push(offsets.last().copied().unwrap_or_default() + count);
                valid.append_non_null();
                met
            }
            (column, value) => {
                let taken = column.append_scalar(value, kind);
                if taken.is_err() {
                    column.append_null();
                }
                taken
            }
        }
    }

    fn append_scalar(&mut self, value: &Value, kind: &Kind) -> Result<(), Misfit> {
        match (self, value) {
            (Column::Text(builder), Value::String(text)) => builder.append_value(text),
            (Column::Text(builder), Value::EnumNumber(number)) => {
                let Kind::Enum(names) = kind else { return Err(Misfit::new(Why::Shape)) };
                let name = names.get_value(*number).ok_or_else(|| Misfit::new(Why::Nameless))?;
                builder.append_value(name.name());
            }
            (Column::Float(builder), value) => {
                let number = match value {
                    Value::F64(number) => *number,
                    Value::F32(number) => f64::from(*number),
                    other => integer(other).ok_or_else(|| Misfit::new(Why::Shape))? as f64,
                };
                if !number.is_finite() {
                    return Err(Misfit::new(Why::NotFinite));
                }
                builder.append_value(number);
            }
            (Column::Integer(builder), value) => {
                let number = integer(value).ok_or_else(|| Misfit::new(Why::Shape))?;
                let number = i64::try_from(number).map_err(|_| Misfit::new(Why::Range(DataType::Int64)))?;
                builder.append_value(number);
            }
            (Column::Decimal { builder, precision, scale }, value) => {
                let number = integer(value).ok_or_else(|| Misfit::new(Why::Shape))?;
                let scaled =
                    u32::try_from(*scale).ok().and_then(|scale| number.checked_mul(10_i128.checked_pow(scale)?));
                let most = 10_i128.pow(u32::from(*precision)).unsigned_abs();
                match scaled.filter(|scaled| scaled.unsigned_abs() < most) {
                    Some(scaled) => builder.append_value(scaled),
                    None => return Err(Misfit::new(Why::Range(DataType::Decimal128(*precision, *scale)))),
                }
            }
            (Column::Flag(builder), Value::Bool(flag)) => builder.append_value(*flag),
            (Column::Bytes(builder), Value::Bytes(bytes)) => builder.append_value(bytes),
            (Column::Instant(builder), Value::Message(message)) => {
                let out =
                    || Misfit::new(Why::Range(DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None)));
                builder.append_value(instant(message).ok_or_else(out)?);
            }
            _ => return Err(Misfit::new(Why::Shape)),
        }
        Ok(())
    }

    pub(super) fn append_null(&mut self) {
        match self {
            Column::Text(builder) => builder.append_null(),
            Column::Float(builder) => builder.append_null(),
            Column::Integer(builder) => builder.append_null(),
            Column::Decimal { builder, .. } => builder.append_null(),
            Column::Flag(builder) => builder.append_null(),
            Column::Bytes(builder) => builder.append_null(),
            Column::Instant(builder) => builder.append_null(),
            Column::Object { columns, valid, .. } => {
                columns.iter_mut().for_each(Column::append_null);
                valid.append_null();
            }
            Column::List { offsets, valid, .. } => {
                offsets.push(offsets.last().copied().unwrap_or_default());
                valid.append_null();
            }
        }
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Column::Text(builder) => Arc::new(builder.finish()),
            Column::Float(builder) => Arc::new(builder.finish()),
            Column::Integer(builder) => Arc::new(builder.finish()),
            Column::Decimal { builder, .. } => Arc::new(builder.finish()),
            Column::Flag(builder) => Arc::new(builder.finish()),
            Column::Bytes(builder) => Arc::new(builder.finish()),
            Column::Instant(builder) => Arc::new(builder.finish()),
            Column::Object { fields, columns, valid } => {
                let columns = columns.iter_mut().map(Column::finish).collect::<Result<_, _>>()?;
                Arc::new(StructArray::try_new(fields.clone(), columns, valid.finish())?)
            }
            Column::List { field, item, offsets, valid } => {
                let ends = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])));
                Arc::new(ListArray::try_new(Arc::clone(field), ends, item.finish()?, valid.finish())?)
            }
        })
    }
}

fn integer(value: &Value) -> Option<i128> {
    Some(match value {
        Value::I32(number) => i128::from(*number),
        Value::I64(number) => i128::from(*number),
        Value::U32(number) => i128::from(*number),
        Value::U64(number) => i128::from(*number),
        _ => return None,
    })
}

/// Microseconds since 1970 of a `google.protobuf.Timestamp`, whose years are 1 to 9999.
fn instant(message: &DynamicMessage) -> Option<i64> {
    let descriptor = message.descriptor();
    let member = |number| descriptor.get_field(number).and_then(|field| integer(&message.get_field(&field)));
    let (seconds, nanos) = (i64::try_from(member(1)?).ok()?, member(2)?);
    let nanos = i64::try_from(nanos).ok().filter(|nanos| (0..1_000_000_000).contains(nanos))?;
    (-62_135_596_800..253_402_300_800).contains(&seconds).then(|| seconds * 1_000_000 + nanos / 1_000)
}

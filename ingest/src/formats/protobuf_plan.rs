//! How a writer's message becomes the declared columns: by the numbers that the reader's schema gives the declared names.
//!
//! So a field that the writer renamed is found, one that the writer's schema lacks is NULL, and one whose type cannot
//! become the declared one makes the writer's schema unusable.

use arrow::datatypes::{DataType, Fields};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// Where a declared column finds its value.
#[derive(Debug)]
pub(super) struct Slot {
    /// The writer's field; none where the writer has no such field.
    pub(super) field: Option<FieldDescriptor>,
    /// Those of the members, where the column (or each item of it) is an object.
    pub(super) members: Vec<Slot>,
}

/// The slots of the declared columns, or what stands in their way.
pub(super) fn plan(
    reader: &MessageDescriptor,
    writer: &MessageDescriptor,
    declared: &Fields,
) -> Result<Vec<Slot>, Vec<String>> {
    let mut problems = Vec::new();
    let slots = members(reader, Some(writer), declared, "$", &mut problems);
    if problems.is_empty() { Ok(slots) } else { Err(problems) }
}

fn members(
    reader: &MessageDescriptor,
    writer: Option<&MessageDescriptor>,
    declared: &Fields,
    path: &str,
    problems: &mut Vec<String>,
) -> Vec<Slot> {
    let mut slots = Vec::with_capacity(declared.len());
    for column in declared {
        let path = format!("{path}.{}", column.name());
        let Some(read) = reader.get_field_by_name(column.name()) else {
            problems.push(format!("{path}: the contract declares it, and the schema has no such field"));
            continue;
        };
        let written = writer.and_then(|writer| writer.get_field(read.number()));
        let (data_type, is_list) = match column.data_type() {
            DataType::List(item) => (item.data_type(), true),
            other => (other, false),
        };
        let fits = |field: &FieldDescriptor| {
            !field.is_map() && field.is_list() == is_list && kind_fits(&field.kind(), data_type)
        };
        if let Some(wrong) = [Some(&read), written.as_ref()].into_iter().flatten().find(|field| !fits(field)) {
            let repeated = if wrong.is_list() { "repeated " } else { "" };
            problems.push(format!(
                "{path}: the schema has it as {repeated}{:?}, which does not give the contract's {}",
                wrong.kind(),
                column.data_type()
            ));
            continue;
        }
        let inner = match (data_type, read.kind()) {
            (DataType::Struct(fields), Kind::Message(reader)) => {
                let writer = match written.as_ref().map(FieldDescriptor::kind) {
                    Some(Kind::Message(writer)) => Some(writer),
                    _ => None,
                };
                members(&reader, writer.as_ref(), fields, &path, problems)
            }
            _ => Vec::new(),
        };
        slots.push(Slot { field: written, members: inner });
    }
    slots
}

fn kind_fits(kind: &Kind, declared: &DataType) -> bool {
    match declared {
        DataType::Utf8 | DataType::Utf8View => matches!(kind, Kind::String | Kind::Enum(_)),
        DataType::Int64 | DataType::Decimal128(_, _) => is_integer(kind),
        DataType::Float64 => matches!(kind, Kind::Double | Kind::Float) || is_integer(kind),
        DataType::Boolean => matches!(kind, Kind::Bool),
        DataType::Binary | DataType::BinaryView => matches!(kind, Kind::Bytes),
        DataType::Timestamp(_, _) => {
            matches!(kind, Kind::Message(message) if message.full_name() == "google.protobuf.Timestamp")
        }
        DataType::Struct(_) => matches!(kind, Kind::Message(_)),
        _ => false,
    }
}

fn is_integer(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Int32
            | Kind::Int64
            | Kind::Uint32
            | Kind::Uint64
            | Kind::Sint32
            | Kind::Sint64
            | Kind::Fixed32
            | Kind::Fixed64
            | Kind::Sfixed32
            | Kind::Sfixed64
    )
}

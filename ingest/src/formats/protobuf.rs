//! Protobuf bodies behind a schema's id and the numbers of a message in it.
//!
//! A body is read by the very message that it was written with, and its fields are taken by their numbers
//! ([`super::protobuf_plan`]). A field that this message does not declare is no later version's: whoever wrote the body
//! named its schema. It is refused, for it is mostly something else that was taken for a body.
//!
//! Protobuf cannot tell that a body was cut off between two fields: what is missing then is NULL, and only the contract's
//! `required` columns find it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{BinaryArray, StructArray};
use arrow::datatypes::Fields;
use prost_reflect::{DynamicMessage, FileDescriptor, MessageDescriptor, Value};

use super::protobuf_column::{Column, append_members, columns};
use super::protobuf_plan::{Slot, plan};
use super::{framing, protobuf_schema, reading_fields};
use crate::decoder::{CHUNK_BYTES, CHUNK_ROWS, Decoded, Fault};
use crate::error::IngestError;
use crate::registry::{Answer, SchemaKind, Schemas};

/// How many writers' schemas are kept ready; then all are made anew as they come.
const MOST_WRITERS: usize = 256;

/// Decodes the payloads of one topic.
pub(crate) struct ProtobufDecoder {
    declared: Fields,
    reader: MessageDescriptor,
    schemas: Schemas,
    writers: HashMap<u32, Writer>,
}

/// A writer's schema.
enum Writer {
    Usable {
        file: FileDescriptor,
        messages: HashMap<Vec<usize>, Result<Written, String>>,
    },
    /// Whatever is written by it is a fault, for this reason.
    Unusable(String),
}

/// One message of a writer's schema, and how it becomes the declared columns.
struct Written {
    message: MessageDescriptor,
    slots: Vec<Slot>,
}

impl std::fmt::Debug for ProtobufDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProtobufDecoder").field("declared", &self.declared).finish_non_exhaustive()
    }
}

/// The message of a reader's schema: the first of the file.
pub(super) fn reader(text: &str) -> Result<MessageDescriptor, String> {
    let file = protobuf_schema::compile(text, &[]).map_err(|error| format!("no usable Protobuf schema: {error}"))?;
    protobuf_schema::first(&file).ok_or_else(|| "the Protobuf schema has no message".to_owned())
}

impl ProtobufDecoder {
    /// A decoder into the declared fields by a reader's schema, or what is wrong with that.
    pub(super) fn new(declared: &Fields, text: &str, schemas: Schemas) -> Result<Self, Vec<String>> {
        let reader = reader(text).map_err(|problem| vec![problem])?;
        let declared = reading_fields(declared);
        plan(&reader, &reader, &declared)?;
        if columns(&declared).is_none() {
            return Err(vec!["the contract declares a type that no Protobuf message gives".to_owned()]);
        }
        Ok(ProtobufDecoder { declared, reader, schemas, writers: HashMap::new() })
    }

    pub(super) async fn decode(&mut self, payloads: &BinaryArray, rows: &[usize]) -> Result<Decoded, IngestError> {
        let mut decoded = Decoded::default();
        let (mut framed, mut new) = (Vec::with_capacity(rows.len()), BTreeSet::new());
        for row in rows {
            match framing::split(payloads.value(*row)) {
                Some((id, body)) => {
                    if !self.writers.contains_key(&id) {
                        new.insert(id);
                    }
                    framed.push((*row, id, body));
                }
                None => decoded.faults.push(Fault { row: *row, reason: framing::MISSING.to_owned() }),
            }
        }
        for (id, answer) in self.schemas.all(new).await? {
            if let Some(writer) = writer(id, answer) {
                self.writers.insert(id, writer);
            }
        }
        let mut gathering = Gathering::new(&self.declared);
        for (row, id, body) in framed {
            if gathering.is_full(body.len()) {
                gathering.finish(&mut decoded)?;
            }
            let message = read(&mut self.writers, &self.reader, &self.declared, id, body);
            gathering.take(row, body.len(), message);
        }
        gathering.finish(&mut decoded)?;
        if self.writers.len() > MOST_WRITERS {
            self.writers.clear();
        }
        decoded.faults.sort_by_key(|fault| fault.row);
        Ok(decoded)
    }
}

/// The writer's schema under an id; nothing where the registry knows none, which may not stay so.
fn writer(id: u32, answer: Answer) -> Option<Writer> {
    Some(match answer {
        Answer::Unknown => return None,
        Answer::Incomplete => Writer::Unusable(super::unresolved(id, "something it refers to is gone")),
        Answer::Schema(schema) if schema.kind != SchemaKind::Protobuf => {
            Writer::Unusable(super::other_kind(id, schema.kind, SchemaKind::Protobuf))
        }
        Answer::Schema(schema) => match protobuf_schema::compile(&schema.text, &schema.references) {
            Ok(file) => Writer::Usable { file, messages: HashMap::new() },
            Err(_) => Writer::Unusable(super::unresolved(id, "it does not compile")),
        },
    })
}

/// A body as the message that it was written with.
fn read<'w>(
    writers: &'w mut HashMap<u32, Writer>,
    reader: &MessageDescriptor,
    declared: &Fields,
    id: u32,
    body: &[u8],
) -> Result<(DynamicMessage, &'w [Slot]), String> {
    const NO_MESSAGE: &str = "protobuf.index: the numbers before the body are of no message of its schema";
    let (file, messages) = match writers.get_mut(&id) {
        Some(Writer::Usable { file, messages }) => (file, messages),
        Some(Writer::Unusable(reason)) => return Err(reason.clone()),
        None => return Err(super::UNKNOWN.to_owned()),
    };
    let (indexes, body) = framing::message_indexes(body).ok_or(NO_MESSAGE)?;
    if !messages.contains_key(&indexes) {
        let message = protobuf_schema::message(file, &indexes).ok_or(NO_MESSAGE)?;
        let planned = plan(reader, &message, declared);
        let planned = planned.map(|slots| Written { message, slots });
        let unresolved = |_| super::unresolved(id, "a field's type is another than the reader's");
        messages.insert(indexes.clone(), planned.map_err(unresolved));
    }
    let written = match messages.get(&indexes) {
        Some(Ok(written)) => written,
        Some(Err(reason)) => return Err(reason.clone()),
        None => return Err(NO_MESSAGE.to_owned()),
    };
    // The library's words may quote what stands there.
    let message = DynamicMessage::decode(written.message.clone(), body)
        .map_err(|_| "protobuf.malformed: the body is not what its schema says".to_owned())?;
    if has_undeclared(&message) {
        return Err("protobuf.undeclared: the body has a field that its schema does not declare".to_owned());
    }
    Ok((message, &written.slots))
}

fn has_undeclared(message: &DynamicMessage) -> bool {
    message.unknown_fields().next().is_some()
        || message.fields().any(|(_, value)| match value {
            Value::Message(message) => has_undeclared(message),
            Value::List(values) => {
                values.iter().any(|value| matches!(value, Value::Message(message) if has_undeclared(message)))
            }
            Value::Map(values) => {
                values.values().any(|value| matches!(value, Value::Message(message) if has_undeclared(message)))
            }
            _ => false,
        })
}

/// Messages of one chunk, as they gather.
struct Gathering<'a> {
    fields: &'a Fields,
    columns: Vec<Column>,
    rows: Vec<usize>,
    /// By place in `rows`.
    faults: BTreeMap<usize, String>,
    bytes: usize,
}

impl<'a> Gathering<'a> {
    fn new(fields: &'a Fields) -> Self {
        let columns = columns(fields).unwrap_or_default();
        Gathering { fields, columns, rows: Vec::new(), faults: BTreeMap::new(), bytes: 0 }
    }

    fn is_full(&self, more: usize) -> bool {
        self.rows.len() == CHUNK_ROWS || (self.bytes + more > CHUNK_BYTES && !self.rows.is_empty())
    }

    fn take(&mut self, row: usize, bytes: usize, message: Result<(DynamicMessage, &[Slot]), String>) {
        let taken = match message {
            Ok((message, slots)) => {
                append_members(&mut self.columns, self.fields, slots, &message).map_err(|misfit| misfit.reason())
            }
            Err(reason) => {
                self.columns.iter_mut().for_each(Column::append_null);
                Err(reason)
            }
        };
        if let Err(reason) = taken {
            self.faults.insert(self.rows.len(), reason);
        }
        self.rows.push(row);
        self.bytes += bytes;
    }

    fn finish(&mut self, decoded: &mut Decoded) -> Result<(), IngestError> {
        let columns = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        let records = StructArray::try_new(self.fields.clone(), columns, None)?;
        self.bytes = 0;
        super::push_chunk(decoded, std::mem::take(&mut self.rows), records, std::mem::take(&mut self.faults))
    }
}

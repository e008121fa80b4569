//! Whether the texts of a payload are what the contract says of them, where it says so.
//!
//! The functions that read such texts in SELECTs give NULL for what they cannot read, as they do where there is none. So a
//! text that is there and cannot be read is told here, once for all tables, by its path and never by what it says.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Fields};
use lakeward_tables::TextFormat;

use crate::decoder::DecodedChunk;
use crate::fhir;

/// What there is to look at in a topic's payloads.
pub(crate) struct Texts(Vec<Member>);

/// A declared field that has a format, or has one somewhere inside.
struct Member {
    name: String,
    place: usize,
    look: Look,
}

enum Look {
    Text(TextFormat),
    Object(Vec<Member>),
    List(Box<Look>),
}

/// A text that is not what it should be.
struct Found {
    /// Which value of a column.
    position: usize,
    /// The path from there on.
    path: String,
    format: TextFormat,
}

impl Texts {
    /// Of the fields that a contract declares, in their order.
    pub(crate) fn new(declared: &Fields) -> Self {
        Texts(members(declared))
    }

    /// Adds the rows of a chunk of which a text cannot be read.
    pub(crate) fn unreadable(&self, chunk: &DecodedChunk, faults: &mut BTreeMap<usize, String>) {
        let mut found = Vec::new();
        look_at_members(&self.0, chunk.payload.columns(), &mut found);
        for Found { position, path, format } in found {
            faults.entry(chunk.rows[position]).or_insert_with(|| {
                format!("value.time: ${path} is no {}, expected one of the years 1 to 9999", expected(format))
            });
        }
    }
}

fn members(declared: &Fields) -> Vec<Member> {
    let looks = declared.iter().enumerate().filter_map(|(place, field)| {
        let look = match TextFormat::of(field) {
            Some(format) => Look::Text(format),
            None => inside(field.data_type())?,
        };
        Some(Member { name: field.name().clone(), place, look })
    });
    looks.collect()
}

fn inside(data_type: &DataType) -> Option<Look> {
    match data_type {
        DataType::Struct(fields) => Some(members(fields)).filter(|inner| !inner.is_empty()).map(Look::Object),
        DataType::List(item) => inside(item.data_type()).map(|item| Look::List(Box::new(item))),
        _ => None,
    }
}

fn look_at_members(members: &[Member], columns: &[ArrayRef], found: &mut Vec<Found>) {
    for Member { name, place, look } in members {
        let before = found.len();
        look.at(&columns[*place], found);
        found[before..].iter_mut().for_each(|found| found.path.insert_str(0, &format!(".{name}")));
    }
}

impl Look {
    /// Adds what cannot be read; what stands behind a NULL is nobody's text.
    fn at(&self, column: &ArrayRef, found: &mut Vec<Found>) {
        match self {
            Look::Text(format) => {
                for (position, text) in column.as_string_view().iter().enumerate() {
                    if text.is_some_and(|text| !reads(*format, text)) {
                        found.push(Found { position, path: String::new(), format: *format });
                    }
                }
            }
            Look::Object(members) => {
                let mut inner = Vec::new();
                look_at_members(members, column.as_struct().columns(), &mut inner);
                found.extend(inner.into_iter().filter(|found| column.is_valid(found.position)));
            }
            Look::List(item) => {
                let lists = column.as_list::<i32>();
                let mut inner = Vec::new();
                item.at(lists.values(), &mut inner);
                let offsets = lists.value_offsets();
                found.extend(inner.into_iter().filter_map(|found| {
                    let list = offsets.partition_point(|offset| *offset as usize <= found.position).checked_sub(1)?;
                    let place = found.position - offsets[list] as usize;
                    let is_there = list < lists.len() && lists.is_valid(list);
                    is_there.then(|| Found { position: list, path: format!("[{place}]{}", found.path), ..found })
                }));
            }
        }
    }
}

fn reads(format: TextFormat, text: &str) -> bool {
    match format {
        TextFormat::FhirDate => fhir::date(text).is_some(),
        TextFormat::FhirInstant => fhir::instant(text).is_some(),
    }
}

fn expected(format: TextFormat) -> &'static str {
    match format {
        TextFormat::FhirDate => "FHIR date",
        TextFormat::FhirInstant => "FHIR instant, dateTime or date",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ListArray, StringViewArray, StructArray};
    use arrow::buffer::{NullBuffer, OffsetBuffer};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn a_text_is_told_by_its_place_in_a_list_and_one_behind_a_null_is_nobodys() {
        let text = || Field::new("at", DataType::Utf8View, true);
        let objects = |texts: Vec<Option<&str>>, valid: Vec<bool>| {
            let texts = Arc::new(StringViewArray::from(texts));
            StructArray::new(Fields::from(vec![text()]), vec![texts], Some(NullBuffer::from(valid)))
        };
        let bad = Some("soon");
        let inner = objects(vec![bad, Some("2024"), None, bad, bad, bad], vec![true, true, true, true, false, true]);
        let item = Arc::new(Field::new("element", inner.data_type().clone(), true));
        // Of the four lists the third is NULL and has an element all the same.
        let offsets = OffsetBuffer::from_lengths([0, 4, 1, 1]);
        let valid = NullBuffer::from(vec![true, true, true, false]);
        let lists = ListArray::new(item, offsets, Arc::new(inner), Some(valid));
        let single = objects(vec![bad, None, bad, bad], vec![true, true, false, false]);
        let payload = StructArray::from(vec![
            (
                Arc::new(Field::new("plain", DataType::Utf8View, true)),
                Arc::new(StringViewArray::from(vec![bad; 4])) as _,
            ),
            (Arc::new(Field::new("list", lists.data_type().clone(), true)), Arc::new(lists) as ArrayRef),
            (Arc::new(Field::new("one", single.data_type().clone(), true)), Arc::new(single) as ArrayRef),
        ]);
        let object =
            || Look::Object(vec![Member { name: "at".into(), place: 0, look: Look::Text(TextFormat::FhirInstant) }]);
        let texts = Texts(vec![
            Member { name: "list".into(), place: 1, look: Look::List(Box::new(object())) },
            Member { name: "one".into(), place: 2, look: object() },
        ]);
        let mut faults = BTreeMap::new();
        texts.unreadable(&DecodedChunk { rows: vec![10, 11, 12, 13], payload }, &mut faults);
        let told: Vec<(usize, &str)> =
            faults.iter().map(|(row, reason)| (*row, reason.split(" is ").next().unwrap())).collect();
        assert_eq!(told, [(10, "value.time: $.one.at"), (11, "value.time: $.list[0].at")]);
    }
}

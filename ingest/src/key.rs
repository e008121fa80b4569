//! Whether a message's key is what its payload says it is, where a contract names the field.

use std::collections::BTreeMap;
use std::io::Write;

use arrow::array::{Array, AsArray, BinaryArray};
use arrow::datatypes::{DataType, Int64Type};

use crate::decoder::DecodedChunk;

/// Adds the rows of a chunk whose key and field differ. A missing key or field contradicts nothing.
pub(crate) fn contradictions(
    field: &str,
    keys: &BinaryArray,
    chunk: &DecodedChunk,
    faults: &mut BTreeMap<usize, String>,
) {
    let Some(column) = chunk.payload.column_by_name(field) else { return };
    let mut note = |row: usize| {
        faults.entry(row).or_insert_with(|| format!("key.contradicts: $.{field} is another than the message's key"));
    };
    match column.data_type() {
        DataType::Utf8View => {
            let texts = column.as_string_view();
            for (place, row) in chunk.rows.iter().enumerate() {
                if texts.is_valid(place) && keys.is_valid(*row) && texts.value(place).as_bytes() != keys.value(*row) {
                    note(*row);
                }
            }
        }
        DataType::Int64 => {
            let numbers = column.as_primitive::<Int64Type>();
            let mut text = Vec::new();
            for (place, row) in chunk.rows.iter().enumerate() {
                if numbers.is_valid(place) && keys.is_valid(*row) {
                    text.clear();
                    // Writing to a Vec cannot fail.
                    let _ = write!(text, "{}", numbers.value(place));
                    if text != keys.value(*row) {
                        note(*row);
                    }
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringViewArray, StructArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn only_a_key_that_differs_from_a_field_that_is_there_contradicts() {
        let ids = StringViewArray::from(vec![Some("a"), Some("b"), None, Some("d")]);
        let numbers = Int64Array::from(vec![Some(1), Some(-2), Some(3), None]);
        let payload = StructArray::from(vec![
            (Arc::new(Field::new("id", DataType::Utf8View, true)), Arc::new(ids) as ArrayRef),
            (Arc::new(Field::new("n", DataType::Int64, true)), Arc::new(numbers) as ArrayRef),
        ]);
        let chunk = DecodedChunk { rows: vec![1, 2, 3, 4], payload };
        let met = |field: &str, keys: [Option<&[u8]>; 5]| {
            let mut faults = BTreeMap::new();
            contradictions(field, &BinaryArray::from_iter(keys), &chunk, &mut faults);
            assert!(faults.values().all(|reason| reason.starts_with("key.contradicts: $.")));
            faults.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(met("id", [Some(b"x"), Some(b"a"), Some(b"x"), Some(b"x"), None]), [2]);
        assert_eq!(met("n", [Some(b"x"), Some(b"01"), Some(b"-2"), Some(b"3"), Some(b"x")]), [1]);
        assert!(met("other", [None; 5]).is_empty());
    }
}

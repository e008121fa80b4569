//! Where and how a payload does not fit the fields its contract declares: the reason text of a dead letter.
//!
//! Run for the few records that the decoder refuses, so it may build a document tree. A reason names the path by the
//! contract's own field names and the shape that was met. It never holds anything of the payload.

use std::fmt::Write;

use arrow::datatypes::{DataType, Fields};
use serde_json::Value;

use crate::json::Shape;

/// The first place where `payload` does not fit `fields`, as `json.type: $.a[2].b is a string, expected an object`;
/// `None` where nothing misfits. The payload has passed [`crate::json::check_object`], so its depth is bounded.
pub(crate) fn misfit(payload: &[u8], fields: &Fields) -> Option<String> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let mut path = String::from("$");
    object(&value, fields, &mut path)
}

/// Names of the fields anywhere in `fields` that hold numbers. A record that gives one a text needs [`misfit`] although it
/// decodes: the decoder takes the text `"12"` for a number.
pub(crate) fn numbers(fields: &Fields) -> Vec<String> {
    names(fields, &|data_type| data_type.is_numeric())
}

/// Names of the fields anywhere in `fields` that hold integers. A record that names one and has a fraction somewhere needs
/// [`misfit`] although it decodes: the decoder silently cuts the fraction off a number that is declared as an integer.
pub(crate) fn integers(fields: &Fields) -> Vec<String> {
    names(fields, &|data_type| data_type.is_integer())
}

fn names(fields: &Fields, wanted: &dyn Fn(&DataType) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for field in fields {
        let mut item = field.data_type();
        while let DataType::List(of) = item {
            item = of.data_type();
        }
        match item {
            DataType::Struct(members) => found.extend(names(members, wanted)),
            other if wanted(other) => found.push(field.name().clone()),
            _ => {}
        }
    }
    found.sort();
    found.dedup();
    found
}

fn object(value: &Value, fields: &Fields, path: &mut String) -> Option<String> {
    let Value::Object(members) = value else { return Some(reason(value, "an object", path)) };
    fields.iter().find_map(|field| {
        let member = members.get(field.name())?;
        let length = path.len();
        path.push('.');
        path.push_str(field.name());
        let found = member_misfit(member, field.data_type(), path);
        path.truncate(length);
        found
    })
}

fn member_misfit(value: &Value, declared: &DataType, path: &mut String) -> Option<String> {
    if value.is_null() {
        return None;
    }
    match declared {
        DataType::Struct(fields) => object(value, fields, path),
        DataType::List(item) => {
            let Value::Array(items) = value else { return Some(reason(value, "an array", path)) };
            items.iter().enumerate().find_map(|(index, value)| {
                let length = path.len();
                // Writing to a String cannot fail.
                let _ = write!(path, "[{index}]");
                let found = member_misfit(value, item.data_type(), path);
                path.truncate(length);
                found
            })
        }
        DataType::Utf8 | DataType::Utf8View => (!value.is_string()).then(|| reason(value, "a string", path)),
        DataType::Boolean => (!value.is_boolean()).then(|| reason(value, "a boolean", path)),
        DataType::Date32 => text(value, "a date", path, |t| t.parse::<chrono::NaiveDate>().is_ok()),
        DataType::Timestamp(_, _) => {
            text(value, "a timestamp", path, |t| chrono::DateTime::parse_from_rfc3339(t).is_ok())
        }
        DataType::Binary | DataType::BinaryView => {
            text(value, "hexadecimal text", path, |t| t.bytes().all(|b| b.is_ascii_hexdigit()))
        }
        other if other.is_integer() => match value {
            Value::Number(number) if number.is_i64() => None,
            _ => Some(reason(value, "an integer of 64 bits", path)),
        },
        DataType::Decimal128(precision, scale) => match value.as_f64() {
            // Close to the bound the decoder judges by itself, without the path.
            Some(number) if number.abs() < 10_f64.powi(i32::from(*precision) - i32::from(*scale)) => None,
            Some(_) => {
                Some(format!("value.range: {path} is beyond what is declared, expected decimal({precision},{scale})"))
            }
            None => Some(reason(value, "a number", path)),
        },
        other if other.is_numeric() => match value {
            Value::Number(_) => None,
            _ => Some(reason(value, "a number", path)),
        },
        _ => None,
    }
}

fn text(value: &Value, expected: &str, path: &str, fits: impl Fn(&str) -> bool) -> Option<String> {
    match value.as_str() {
        Some(text) if fits(text) => None,
        _ => Some(reason(value, expected, path)),
    }
}

fn reason(value: &Value, expected: &str, path: &str) -> String {
    let shape = match value {
        Value::Null => Shape::Null,
        Value::Bool(_) => Shape::Boolean,
        Value::Number(number) if number.is_f64() => Shape::Number,
        Value::Number(_) => Shape::Integer,
        Value::String(_) => Shape::Text,
        Value::Array(_) => Shape::Array,
        Value::Object(_) => Shape::Object,
    };
    format!("json.type: {path} is {shape}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn the_reason_names_path_and_shape_and_no_value() {
        let item =
            Field::new("item", DataType::Struct(Fields::from(vec![Field::new("n", DataType::Int64, true)])), true);
        let fields = Fields::from(vec![
            Field::new("id", DataType::Utf8, true),
            Field::new("list", DataType::List(Arc::new(item)), true),
            Field::new("day", DataType::Date32, true),
            Field::new("sum", DataType::Decimal128(5, 2), true),
        ]);
        for (payload, expected) in [
            (
                r#"{"id":"secret","list":[{"n":1},{"n":2.5}]}"#,
                Some("json.type: $.list[1].n is a number, expected an integer of 64 bits"),
            ),
            (r#"{"id":{"secret":1}}"#, Some("json.type: $.id is an object, expected a string")),
            (r#"{"list":"secret"}"#, Some("json.type: $.list is a string, expected an array")),
            (r#"{"list":[{"n":"7"}]}"#, Some("json.type: $.list[0].n is a string, expected an integer of 64 bits")),
            (r#"{"sum":"7.5"}"#, Some("json.type: $.sum is a string, expected a number")),
            (r#"{"sum":1000.5}"#, Some("value.range: $.sum is beyond what is declared, expected decimal(5,2)")),
            (r#"{"sum":-999.99}"#, None),
            (r#"{"day":"secret"}"#, Some("json.type: $.day is a string, expected a date")),
            (r#"{"id":null,"undeclared":[[[]]]}"#, None),
        ] {
            assert_eq!(misfit(payload.as_bytes(), &fields).as_deref(), expected, "{payload}");
        }
        assert_eq!(integers(&fields), ["n"]);
        assert_eq!(numbers(&fields), ["n", "sum"]);
    }
}

//! A type in storage that follows the contract's, as far as no value can be lost.
//!
//! - A type becomes a wider one, also inside of lists and structs (protocol, *Type Widening*): of the contract's types
//!   decimal(p, s) becomes decimal(p + a, s + b) where a >= b >= 0, and an integer decimal(20 + a, b).
//! - A struct gains a field: rows from before have NULL there.
//! - All else is refused. A nested field has no id, so one that is called otherwise is one that is gone.

use serde_json::{Map, Value, json};

/// Key of the types that a field had (protocol, *Type Change Metadata*).
const TYPE_CHANGES: &str = "delta.typeChanges";

/// Decimal digits that hold every integer of 64 bits, as the protocol counts them.
const DIGITS_OF_LONG: u8 = 20;

/// What the types of one column went through.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// For people, a sentence each.
    pub(super) what: Vec<String>,
    /// Whether files may have a narrower type by now.
    pub(super) widened: bool,
}

/// Why a type cannot follow.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Values could be lost between the two.
    Other { path: String, stored: String, wanted: String },
    /// The contract has no such nested field any more.
    Gone { path: String },
}

impl Following {
    /// Makes the type of a field the wanted one, and notes in its metadata what it was.
    pub(super) fn follow(
        &mut self,
        path: &str,
        metadata: &mut Map<String, Value>,
        stored: &mut Value,
        wanted: &Value,
    ) -> Result<(), Refusal> {
        self.inside(Place { path, within: "" }, metadata, stored, wanted)
    }

    fn inside(
        &mut self,
        place: Place<'_>,
        metadata: &mut Map<String, Value>,
        stored: &mut Value,
        wanted: &Value,
    ) -> Result<(), Refusal> {
        match (kind(stored), kind(wanted)) {
            ("struct", "struct") => self.fields(place.path, stored, wanted),
            ("array", "array") => {
                let within =
                    if place.within.is_empty() { "element".into() } else { format!("{}.element", place.within) };
                let element = Place { path: &format!("{}[]", place.path), within: &within };
                self.inside(element, metadata, &mut stored["elementType"], &wanted["elementType"])
            }
            _ if stored == wanted => Ok(()),
            _ if widens(stored, wanted) => {
                self.what.push(format!(
                    "column '{}' is widened from {} to {}",
                    place.path,
                    spelled(stored),
                    spelled(wanted)
                ));
                self.widened = true;
                note(metadata, stored, wanted, place.within);
                *stored = wanted.clone();
                Ok(())
            }
            _ => Err(Refusal::Other { path: place.path.to_owned(), stored: spelled(stored), wanted: spelled(wanted) }),
        }
    }

    /// The fields of a struct, told apart by their names.
    fn fields(&mut self, path: &str, stored: &mut Value, wanted: &Value) -> Result<(), Refusal> {
        let Some(fields) = stored["fields"].as_array_mut() else { return Ok(()) };
        let wanted: &[Value] = wanted["fields"].as_array().map_or(&[], Vec::as_slice);
        for field in fields.iter_mut() {
            let path = format!("{path}.{}", name(field));
            let Some(of_contract) = wanted.iter().find(|wanted| name(wanted) == name(field)) else {
                return Err(Refusal::Gone { path });
            };
            let mut metadata = field["metadata"].as_object_mut().map(std::mem::take).unwrap_or_default();
            self.follow(&path, &mut metadata, &mut field["type"], &of_contract["type"])?;
            field["metadata"] = Value::Object(metadata);
        }
        for field in wanted {
            if !fields.iter().any(|stored| name(stored) == name(field)) {
                self.what.push(format!("column '{path}.{}' is added", name(field)));
                fields.push(field.clone());
            }
        }
        Ok(())
    }
}

/// Where in a column a type stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// For people: `lines[].price`.
    path: &'a str,
    /// From the nearest field that has metadata, as the protocol writes it: `element.element`.
    within: &'a str,
}

fn kind(data_type: &Value) -> &str {
    data_type["type"].as_str().unwrap_or_default()
}

fn name(field: &Value) -> &str {
    field["name"].as_str().unwrap_or_default()
}

fn note(metadata: &mut Map<String, Value>, from: &Value, to: &Value, within: &str) {
    let mut change = json!({"fromType": from, "toType": to});
    if !within.is_empty() {
        change["fieldPath"] = json!(within);
    }
    match metadata.get_mut(TYPE_CHANGES).and_then(Value::as_array_mut) {
        Some(changes) => changes.push(change),
        None => {
            metadata.insert(TYPE_CHANGES.into(), json!([change]));
        }
    }
}

/// Whether every value of one type is a value of the other, and the protocol has the change.
fn widens(from: &Value, to: &Value) -> bool {
    let (precision, scale) = match (from.as_str(), from.as_str().and_then(decimal)) {
        (_, Some(decimal)) => decimal,
        (Some("long"), None) => (DIGITS_OF_LONG, 0),
        _ => return false,
    };
    let Some((wider, finer)) = to.as_str().and_then(decimal) else { return false };
    finer >= scale && wider >= precision && wider - precision >= finer - scale
}

/// Whether a value is written otherwise in the other type: 5 and 5.00.
pub(super) fn rewritten(from: &Value, to: &Value) -> bool {
    let scale = |data_type: &Value| data_type.as_str().and_then(decimal).map_or(0, |(_, scale)| scale);
    scale(from) != scale(to)
}

fn decimal(data_type: &str) -> Option<(u8, u8)> {
    let (precision, scale) = data_type.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

/// A type for people: without what the log notes of the fields in it.
pub(super) fn spelled(data_type: &Value) -> String {
    match kind(data_type) {
        "struct" => {
            let fields = data_type["fields"].as_array().into_iter().flatten();
            let fields = fields.map(|field| format!("{}: {}", name(field), spelled(&field["type"])));
            format!("struct<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        "array" => format!("array<{}>", spelled(&data_type["elementType"])),
        _ => data_type.as_str().map_or_else(|| data_type.to_string(), str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(stored: &Value, wanted: &Value) -> Result<(Value, Map<String, Value>, Following), Refusal> {
        let (mut data_type, mut metadata, mut following) = (stored.clone(), Map::new(), Following::default());
        following.follow("c", &mut metadata, &mut data_type, wanted)?;
        Ok((data_type, metadata, following))
    }

    #[test]
    fn only_what_holds_every_value_is_wider() {
        for (from, to) in [
            ("decimal(12,2)", "decimal(14,2)"),
            ("decimal(12,2)", "decimal(14,4)"),
            ("decimal(1,0)", "decimal(38,37)"),
            ("long", "decimal(20,0)"),
            ("long", "decimal(24,4)"),
        ] {
            let (data_type, metadata, following) = followed(&json!(from), &json!(to)).unwrap();
            assert_eq!(data_type, json!(to));
            assert_eq!(metadata[TYPE_CHANGES], json!([{"fromType": from, "toType": to}]));
            assert_eq!(following.what, [format!("column 'c' is widened from {from} to {to}")]);
        }
        for (from, to) in [
            ("decimal(14,2)", "decimal(12,2)"),
            ("decimal(12,2)", "decimal(12,4)"),
            ("decimal(12,2)", "decimal(13,4)"),
            ("decimal(12,4)", "decimal(38,2)"),
            ("long", "decimal(19,0)"),
            ("long", "decimal(22,4)"),
            ("long", "double"),
            ("double", "decimal(38,2)"),
            ("decimal(12,2)", "double"),
            ("decimal(12,0)", "long"),
            ("date", "timestamp"),
            ("long", "string"),
        ] {
            let refusal = followed(&json!(from), &json!(to)).map(|_| ()).unwrap_err();
            assert_eq!(refusal, Refusal::Other { path: "c".into(), stored: from.into(), wanted: to.into() });
        }
    }

    #[test]
    fn a_change_is_noted_at_the_nearest_field() {
        let lines = |amount: &str, noted: Value| {
            json!({"type": "array", "containsNull": true, "elementType": {"type": "struct", "fields": [
                {"name": "amounts", "nullable": true, "metadata": noted,
                 "type": {"type": "array", "containsNull": true, "elementType": amount}}]}})
        };
        let (data_type, metadata, following) =
            followed(&lines("long", json!({"kept": 1})), &lines("decimal(20,0)", json!({}))).unwrap();
        let first = json!({"fromType": "long", "toType": "decimal(20,0)", "fieldPath": "element"});
        assert_eq!(data_type, lines("decimal(20,0)", json!({"kept": 1, TYPE_CHANGES: [first]})));
        assert!(metadata.is_empty() && following.widened);
        assert_eq!(following.what, ["column 'c[].amounts[]' is widened from long to decimal(20,0)"]);

        // The next one stands after it.
        let (again, _, _) = followed(&data_type, &lines("decimal(22,2)", json!({}))).unwrap();
        let second = json!({"fromType": "decimal(20,0)", "toType": "decimal(22,2)", "fieldPath": "element"});
        assert_eq!(again, lines("decimal(22,2)", json!({"kept": 1, TYPE_CHANGES: [first, second]})));

        let twice = |of: &str| json!({"type": "array", "elementType": {"type": "array", "elementType": of}});
        let (_, metadata, _) = followed(&twice("long"), &twice("decimal(20,0)")).unwrap();
        assert_eq!(metadata[TYPE_CHANGES][0]["fieldPath"], json!("element.element"));
    }

    #[test]
    fn a_struct_gains_fields_in_any_place_and_loses_none() {
        let of = |names: &[&str]| {
            let field = |name: &&str| json!({"name": name, "type": "long", "nullable": true, "metadata": {}});
            json!({"type": "struct", "fields": names.iter().map(field).collect::<Vec<_>>()})
        };
        let (data_type, _, following) = followed(&of(&["a", "b"]), &of(&["new", "b", "a"])).unwrap();
        assert_eq!(data_type, of(&["a", "b", "new"]));
        assert_eq!(following.what, ["column 'c.new' is added"]);
        assert!(!following.widened);
        let refusal = followed(&of(&["a", "b"]), &of(&["a", "renamed"])).map(|_| ()).unwrap_err();
        assert_eq!(refusal, Refusal::Gone { path: "c.b".into() });
        let refusal = followed(&of(&["a"]), &json!("string")).map(|_| ()).unwrap_err();
        assert!(matches!(refusal, Refusal::Other { stored, .. } if stored == "struct<a: long>"));
    }
}

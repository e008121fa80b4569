//! Avro schemas as a registry keeps them, made ready for the decoder: types of other subjects put in where they are first
//! named, and what would keep a decoder busy without end refused.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::registry::RegisteredSchema;

const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// The whole schema in one text, or why it cannot be used.
pub(super) fn whole(schema: &RegisteredSchema) -> Result<String, &'static str> {
    let mut walk = Walk::default();
    for referred in &schema.references {
        walk.keep(parse(&referred.text)?);
    }
    let (whole, _) = walk.schema(&parse(&schema.text)?, "")?;
    Ok(whole.to_string())
}

fn parse(text: &str) -> Result<Value, &'static str> {
    // A registry may give the name of a primitive type without quotation marks.
    if PRIMITIVES.contains(&text) {
        return Ok(Value::from(text));
    }
    serde_json::from_str(text).map_err(|_| "it is no JSON")
}

#[derive(Default)]
struct Walk {
    /// Types of other subjects, by their full names.
    referred: HashMap<String, Value>,
    /// Types met so far, and whether a value of them may take no byte at all.
    defined: HashMap<String, bool>,
    /// Types around the place that is looked at.
    open: Vec<String>,
}

impl Walk {
    fn keep(&mut self, schema: Value) {
        if let Some(object) = schema.as_object()
            && let Some(name) = full_name(object, "")
        {
            self.referred.insert(name, schema);
        }
    }

    /// The schema, and whether a value of it may take no byte at all.
    fn schema(&mut self, schema: &Value, namespace: &str) -> Result<(Value, bool), &'static str> {
        match schema {
            Value::String(name) => self.name(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| Ok(self.schema(branch, namespace)?.0));
                Ok((Value::Array(branches.collect::<Result<_, &'static str>>()?), false))
            }
            Value::Object(object) => self.object(object, namespace),
            _ => Err("it is no schema"),
        }
    }

    fn name(&mut self, name: &str, namespace: &str) -> Result<(Value, bool), &'static str> {
        if PRIMITIVES.contains(&name) {
            return Ok((Value::from(name), name == "null"));
        }
        let candidates = [qualified(name, namespace), name.to_owned()];
        if candidates.iter().any(|name| self.open.contains(name)) {
            return Err("a type in it contains itself");
        }
        if let Some((name, empty)) =
            candidates.iter().find_map(|name| self.defined.get(name).map(|empty| (name.clone(), *empty)))
        {
            return Ok((Value::from(name), empty));
        }
        match candidates.iter().find_map(|name| self.referred.remove(name)) {
            // It brings its own namespace, or has none.
            Some(definition) => self.schema(&definition, ""),
            None => Err("a type that it names is declared nowhere"),
        }
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<(Value, bool), &'static str> {
        let mut made = object.clone();
        if let Some((namespace, name)) = full_name(object, namespace).as_deref().and_then(|name| name.rsplit_once('.'))
        {
            // `arrow_avro` compares names as they are written.
            made.insert("name".to_owned(), Value::from(name));
            made.insert("namespace".to_owned(), Value::from(namespace));
        }
        let kind = object.get("type").ok_or("a type in it is not said")?;
        let empty = match kind.as_str() {
            Some("record" | "error") => {
                let name = full_name(object, namespace).ok_or("a record in it has no name")?;
                let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
                self.open.push(name.clone());
                let fields = object.get("fields").and_then(Value::as_array).ok_or("a record in it has no fields")?;
                let mut whole = Vec::with_capacity(fields.len());
                let mut empty = true;
                for field in fields {
                    let mut field = field.as_object().ok_or("a field in it is none")?.clone();
                    let (schema, takes_none) =
                        self.schema(field.get("type").ok_or("a field in it has no type")?, &namespace)?;
                    empty &= takes_none;
                    field.insert("type".to_owned(), schema);
                    whole.push(Value::Object(field));
                }
                made.insert("fields".to_owned(), Value::Array(whole));
                self.open.pop();
                self.defined.insert(name, empty);
                empty
            }
            Some("enum" | "fixed") => {
                let name = full_name(object, namespace).ok_or("a type in it has no name")?;
                let empty = object.get("size").and_then(Value::as_u64) == Some(0);
                self.defined.insert(name, empty);
                empty
            }
            Some(container @ ("array" | "map")) => {
                let member = if container == "array" { "items" } else { "values" };
                let (items, empty) = self.schema(object.get(member).ok_or("a list in it has no items")?, namespace)?;
                if container == "array" && empty {
                    // A count of some billions in a few bytes would be as many turns.
                    return Err("a list in it has items that take no bytes");
                }
                made.insert(member.to_owned(), items);
                false
            }
            _ => {
                let (schema, empty) = self.schema(kind, namespace)?;
                made.insert("type".to_owned(), schema);
                empty
            }
        };
        Ok((Value::Object(made), empty))
    }
}

fn full_name(object: &Map<String, Value>, namespace: &str) -> Option<String> {
    let name = object.get("name")?.as_str()?;
    let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    Some(qualified(name, namespace))
}

fn qualified(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Referred, SchemaKind};

    fn registered(text: &str, references: &[&str]) -> RegisteredSchema {
        let references = references.iter().map(|text| Referred { name: "n".into(), text: (*text).into() });
        RegisteredSchema { kind: SchemaKind::Avro, text: text.into(), references: references.collect() }
    }

    #[test]
    fn a_type_of_another_subject_is_put_in_where_it_is_first_named() {
        let money = r#"{"type":"record","name":"Money","namespace":"erp","fields":[{"name":"amount","type":"long"}]}"#;
        let text = r#"{"type":"record","name":"P","namespace":"erp","fields":[
            {"name":"a","type":"Money"},{"name":"b","type":["null","erp.Money"]}]}"#;
        let whole: Value = serde_json::from_str(&whole(&registered(text, &[money])).unwrap()).unwrap();
        assert_eq!(whole["fields"][0]["type"], serde_json::from_str::<Value>(money).unwrap());
        assert_eq!(whole["fields"][1]["type"][1], "erp.Money");
    }

    #[test]
    fn what_has_no_end_or_no_meaning_is_refused() {
        for (text, why) in [
            ("{", "no JSON"),
            ("7", "no schema"),
            (r#"{"type":"record","name":"L","fields":[{"name":"n","type":["null","L"]}]}"#, "contains itself"),
            (r#"{"type":"record","name":"L","fields":[{"name":"n","type":"Gone"}]}"#, "declared nowhere"),
            (r#"{"type":"array","items":"null"}"#, "no bytes"),
            (r#"{"type":"array","items":{"type":"record","name":"E","fields":[]}}"#, "no bytes"),
            (r#"{"type":"array","items":{"type":"fixed","name":"F","size":0}}"#, "no bytes"),
        ] {
            let refused = whole(&registered(text, &[])).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}

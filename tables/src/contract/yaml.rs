//! YAML as a tree that keeps its lines, and readers that note every problem instead of stopping at the first.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::Problem;

/// A value and the line it begins on.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    /// Numbers stay as they read: contracts hold none that is reckoned with.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) line: usize,
    pub(super) name: String,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { line: line_of(&spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tree;

        impl<'de> Visitor<'de> for Tree {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("YAML")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Boolean(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Number(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Number(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Number(value.to_string()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Text(value.to_owned()))
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
                Value::deserialize(deserializer)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = seq.next_element()? {
                    nodes.push(node);
                }
                Ok(Value::List(nodes))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, node)) = map.next_entry::<Spanned<String>, Node>()? {
                    entries.push((Key { line: line_of(&key.referenced), name: key.value }, node));
                }
                Ok(Value::Map(entries))
            }
        }

        deserializer.deserialize_any(Tree)
    }
}

fn line_of(location: &serde_saphyr::Location) -> usize {
    usize::try_from(location.line()).unwrap_or(0)
}

/// Reads nodes of one file and notes what is wrong.
pub(super) struct Reader<'a> {
    pub(super) file: &'a Path,
    pub(super) problems: &'a mut Vec<Problem>,
}

/// The entries of a map that were allowed.
pub(super) struct Entries<'n> {
    /// Where the map begins.
    pub(super) line: usize,
    entries: BTreeMap<&'n str, (usize, &'n Node)>,
}

impl<'n> Entries<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.get(key).map(|(_, node)| *node)
    }

    /// The line of the key, or of the map where the key is missing.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.entries.get(key).map_or(self.line, |(line, _)| *line)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'n str, usize, &'n Node)> + '_ {
        self.entries.iter().map(|(key, (line, node))| (*key, *line, *node))
    }
}

impl Reader<'_> {
    /// Parses a document; a syntax error or a duplicate key is the one problem that hides all others of its file.
    pub(super) fn parse(&mut self, text: &str) -> Option<Node> {
        match serde_saphyr::from_str_with_options::<Node>(text, serde_saphyr::options! { strict_booleans: true }) {
            Ok(node) => Some(node),
            Err(error) => {
                let line = error.location().map_or(0, |l| line_of(&l));
                let message = error.without_snippet().to_string();
                self.note(line, format!("not readable as YAML: {}", message.lines().next().unwrap_or_default()));
                None
            }
        }
    }

    pub(super) fn note(&mut self, line: usize, message: impl Into<String>) {
        self.problems.push(Problem::new(self.file, line, message));
    }

    /// The entries of a map whose keys are all among `allowed`.
    pub(super) fn map<'n>(&mut self, node: &'n Node, what: &str, allowed: &[&str]) -> Entries<'n> {
        let entries = self.any_map(node, what);
        for (key, line, _) in entries.iter() {
            if !allowed.contains(&key) {
                self.note(line, format!("unknown key '{key}' in {what}; known are {}", allowed.join(", ")));
            }
        }
        entries
    }

    /// The entries of a map with free keys.
    pub(super) fn any_map<'n>(&mut self, node: &'n Node, what: &str) -> Entries<'n> {
        let mut entries = BTreeMap::new();
        match &node.value {
            Value::Map(map) => {
                for (key, value) in map {
                    entries.insert(key.name.as_str(), (key.line, value));
                }
            }
            _ => self.note(node.line, format!("{what} must be a map")),
        }
        Entries { line: node.line, entries }
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.value {
            Value::List(nodes) => nodes,
            _ => {
                self.note(node.line, format!("{what} must be a list"));
                &[]
            }
        }
    }

    /// A text; numbers and booleans read as their text too.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) | Value::Number(text) => Some(text.clone()),
            Value::Boolean(value) => Some(value.to_string()),
            _ => {
                self.note(node.line, format!("{what} must be a text"));
                None
            }
        }
    }

    pub(super) fn optional_text(&mut self, entries: &Entries<'_>, key: &str) -> Option<String> {
        entries.get(key).and_then(|node| self.text(node, key))
    }

    pub(super) fn required_text(&mut self, entries: &Entries<'_>, key: &str, what: &str) -> Option<String> {
        match entries.get(key) {
            Some(node) => self.text(node, key).filter(|text| {
                let filled = !text.trim().is_empty();
                if !filled {
                    self.note(node.line, format!("'{key}' of {what} is empty"));
                }
                filled
            }),
            None => {
                self.note(entries.line, format!("{what} lacks '{key}'"));
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, node: &Node, what: &str) -> bool {
        match node.value {
            Value::Boolean(value) => value,
            _ => {
                self.note(node.line, format!("{what} must be true or false"));
                false
            }
        }
    }

    pub(super) fn optional_boolean(&mut self, entries: &Entries<'_>, key: &str) -> bool {
        entries.get(key).is_some_and(|node| self.boolean(node, key))
    }

    pub(super) fn texts(&mut self, entries: &Entries<'_>, key: &str) -> Vec<String> {
        let Some(node) = entries.get(key) else { return Vec::new() };
        self.list(node, key).iter().filter_map(|node| self.text(node, key)).collect()
    }

    /// `customProperties: [{property, value}]` with names among `allowed`.
    pub(super) fn custom<'n>(&mut self, entries: &Entries<'n>, what: &str, allowed: &[&str]) -> Entries<'n> {
        let mut custom = Entries { line: entries.line_of("customProperties"), entries: BTreeMap::new() };
        let Some(list) = entries.get("customProperties") else { return custom };
        for item in self.list(list, "customProperties") {
            let pair = self.map(item, "a custom property", &["property", "value"]);
            let (Some(name), Some(value)) = (pair.get("property"), pair.get("value")) else {
                self.note(item.line, "a custom property needs 'property' and 'value'");
                continue;
            };
            let Value::Text(text) = &name.value else {
                self.note(name.line, "the name of a custom property must be a text");
                continue;
            };
            if !allowed.contains(&text.as_str()) {
                let known = if allowed.is_empty() { "none".into() } else { allowed.join(", ") };
                self.note(name.line, format!("unknown custom property '{text}' of {what}; known are {known}"));
            } else if custom.entries.insert(text, (name.line, value)).is_some() {
                self.note(name.line, format!("custom property '{text}' is given twice"));
            }
        }
        custom
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_keys_keep_their_lines() {
        let mut problems = Vec::new();
        let mut reader = Reader { file: Path::new("x.yaml"), problems: &mut problems };
        let node = reader.parse("# comment\na: 1\nb:\n  - {property: p, value: true}\n  - two\nc:\n").unwrap();
        let map = reader.map(&node, "it", &["a", "b"]);
        assert_eq!((map.line_of("a"), map.line_of("b"), map.line_of("c")), (2, 3, 6));
        let list = reader.list(map.get("b").unwrap(), "b");
        assert_eq!(list.iter().map(|n| n.line).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(problems, [Problem::new(Path::new("x.yaml"), 6, "unknown key 'c' in it; known are a, b")]);
    }

    #[test]
    fn a_syntax_error_and_a_duplicate_key_have_a_line() {
        for (text, line) in [("a: [1\nb: 2\n", 2), ("a: 1\nb: 2\na: 3\n", 3)] {
            let mut problems = Vec::new();
            assert!(Reader { file: Path::new("x.yaml"), problems: &mut problems }.parse(text).is_none());
            assert_eq!(problems.len(), 1);
            assert_eq!(problems[0].line, line, "{}", problems[0]);
        }
    }
}

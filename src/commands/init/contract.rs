//! The texts of both contracts and of the SELECT between them.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::names::{guess, snake};
use super::sample::{Field, LeftOut, Sample, Type};

/// What the texts are about.
pub(super) struct Subject<'a> {
    pub(super) topic: &'a str,
    /// The curated table's name, without its schema.
    pub(super) table: &'a str,
    pub(super) sample: &'a Sample,
    /// The field that tells one thing from another.
    pub(super) key: Option<&'a Field>,
}

/// A column of the curated table.
pub(super) struct Column<'a> {
    pub(super) name: String,
    /// Names from the payload's root.
    path: Vec<&'a str>,
    of: &'a Type,
    is_key: bool,
    pub(super) guess: Option<&'static str>,
}

impl Subject<'_> {
    /// The columns: nested objects become columns of their own, arrays stay what they are.
    pub(super) fn columns(&self) -> Vec<Column<'_>> {
        let mut columns = Vec::new();
        self.flatten(&self.sample.fields, &mut Vec::new(), &mut BTreeSet::new(), &mut columns);
        columns
    }

    fn flatten<'a>(
        &self,
        fields: &'a [Field],
        path: &mut Vec<&'a str>,
        taken: &mut BTreeSet<String>,
        columns: &mut Vec<Column<'a>>,
    ) {
        for field in fields {
            path.push(&field.name);
            if let Type::Object(fields) = &field.of {
                self.flatten(fields, path, taken, columns);
            } else {
                let wanted = snake(&path.join("_"));
                let mut names = std::iter::once(wanted.clone()).chain((2..).map(|count| format!("{wanted}_{count}")));
                let name = names.find(|name| !taken.contains(name)).unwrap_or(wanted);
                taken.insert(name.clone());
                let is_key = path.len() == 1 && self.key.is_some_and(|key| key.name == field.name);
                let is_time = matches!(field.of, Type::Date | Type::Timestamp);
                let guess = guess(&name, is_key, is_time, field.is_address);
                columns.push(Column { name, path: path.clone(), of: &field.of, is_key, guess });
            }
            path.pop();
        }
    }

    /// `contracts/raw/<topic>.odcs.yaml`.
    pub(super) fn raw(&self) -> String {
        let table = self.topic.replace(['.', '-'], "_");
        let key = if self.key.is_some() { "required" } else { "optional" };
        let mut text = head(self.topic, &format!("messages of {}", self.topic), self.sample.records);
        text += &format!(
            "customProperties:
  - {{property: topic, value: {topic}}}
  - {{property: format, value: json}}
  # Kafka's key of a message: `required` makes a message without one a dead letter.
  - {{property: key, value: {key}}}
schema:
  - name: raw.{table}
    physicalName: raw.{table}
    logicalType: object
    # The fields of the payload that curated tables may use; all others stay in the raw payload alone. A message in which
    # one of them has another type becomes a dead letter.
    properties:
",
            topic = self.topic,
        );
        write_fields(&mut text, 6, &self.sample.fields, self.key);
        if !self.sample.left_out.is_empty() {
            text += "    # Left to the raw payload:\n";
            for LeftOut { path, why } in &self.sample.left_out {
                let _ = writeln!(text, "    #   {}: {why}", scalar(path));
            }
        }
        text
    }

    /// `contracts/curated/<table>.odcs.yaml`.
    pub(super) fn curated(&self) -> String {
        let table = self.table;
        let mut text = head(&format!("curated.{table}"), table, self.sample.records);
        text += &format!(
            "schema:
  - name: curated.{table}
    physicalName: curated.{table}
    logicalType: object
    customProperties:
      - {{property: from, value: {}}}
",
            self.topic
        );
        let mode = match self.key.map(|key| &key.of) {
            None => {
                "      # Each message is a row. With a primary key it could be `upsert`: the newest message of a key is the row.
      - {property: mode, value: append}
"
            }
            Some(Type::Text) => {
                "      # The newest message of a key is the row, by Kafka's time; `append` where each message is a row of its own.
      - {property: mode, value: upsert}
      # A message without a payload deletes the row of its key.
      - {property: tombstone, value: delete}
"
            }
            Some(_) => {
                "      # The newest message of a key is the row, by Kafka's time; `append` where each message is a row of its own.
      - {property: mode, value: upsert}
"
            }
        };
        text += mode;
        text += "    # Until a column has a tag it is hidden from everybody. Tags are words of your own; policies/*.cedar say which role
    # sees which tag, policies/masks.yaml how it looks when it is not clear. Guesses stand in comments: accept one by
    # taking away its first `# `.
    properties:
";
        for column in self.columns() {
            column.write(&mut text);
        }
        text
    }

    /// `curated/<table>.sql`.
    pub(super) fn select(&self) -> String {
        let columns: Vec<String> = self.columns().iter().map(Column::selected).collect();
        format!(
            "-- One row of each message of {}. SQL over one message at a time; `_lw_row` comes first and says which.\n\
             SELECT\n  _lw_row,\n{}\nFROM event\n",
            self.topic,
            columns.join(",\n")
        )
    }
}

impl Column<'_> {
    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "      - name: {}", scalar(&self.name));
        write_type(text, 8, self.of);
        if self.is_key {
            *text += "        required: true\n        primaryKey: true\n        primaryKeyPosition: 1\n";
        }
        match self.guess {
            Some(tag) => drop(writeln!(text, "        # tags: [{tag}]  # a guess, by the name")),
            None => *text += "        # tags: []  # the name tells nothing\n",
        }
    }

    fn selected(&self) -> String {
        let path: String = self.path.iter().map(|name| format!("['{}']", name.replace('\'', "''"))).collect();
        format!("  payload{path} AS {}", self.name)
    }
}

fn head(id: &str, name: &str, records: usize) -> String {
    format!(
        "apiVersion: v3.0.2
kind: DataContract
id: {id}
name: {}
version: 0.1.0
status: draft
description:
  # Written by `lakeward init` from a sample of {records} records: say what it holds, and for whom.
  purpose: >-
    Not described yet.
",
        scalar(name)
    )
}

fn write_fields(text: &mut String, indent: usize, fields: &[Field], key: Option<&Field>) {
    for field in fields {
        let name = scalar(&field.name);
        let required = if key.is_some_and(|key| key.name == field.name) { ", required: true" } else { "" };
        let pad = " ".repeat(indent);
        match &field.of {
            Type::Object(_) | Type::List(_) => {
                let _ = writeln!(text, "{pad}- name: {name}");
                write_type(text, indent + 2, &field.of);
            }
            of => drop(writeln!(text, "{pad}- {{name: {name}, logicalType: {}{required}}}", of.logical())),
        }
    }
}

fn write_type(text: &mut String, indent: usize, of: &Type) {
    let pad = " ".repeat(indent);
    let _ = writeln!(text, "{pad}logicalType: {}", of.logical());
    match of {
        Type::Object(fields) => {
            let _ = writeln!(text, "{pad}properties:");
            write_fields(text, indent + 2, fields, None);
        }
        Type::List(item) => {
            let _ = writeln!(text, "{pad}items:");
            write_type(text, indent + 2, item);
        }
        _ => {}
    }
}

/// A text as YAML takes it for that text and nothing else.
fn scalar(text: &str) -> String {
    const MEANT_OTHERWISE: [&str; 12] =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"];
    let mut letters = text.chars();
    let is_plain = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-'))
        && !MEANT_OTHERWISE.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

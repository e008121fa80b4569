//! What a sample of messages tells of their payload: which fields there are, and of what type.
//!
//! Only shapes are kept, no value. A field is declared when one type fits all of the sample; what does not fit any stays in
//! the raw payload and is named as *left out*.

use std::collections::BTreeSet;
use std::fmt;
use std::io::BufRead;
use std::path::Path;

use anyhow::{Context, bail};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// A type that a contract can declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Boolean,
    Integer,
    Number,
    Text,
    Date,
    Timestamp,
    Object(Vec<Field>),
    List(Box<Type>),
}

impl Type {
    /// The `logicalType` of a contract.
    pub(super) fn logical(&self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Text => "string",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Object(_) => "object",
            Self::List(_) => "array",
        }
    }
}

/// A field that can be declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) of: Type,
    /// Every text of the sample looks like an e-mail address.
    pub(super) is_address: bool,
    /// Every record of the sample has a value here.
    pub(super) always: bool,
}

/// A field that no type fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Names from the payload's root, joined by dots.
    pub(super) path: String,
    pub(super) why: String,
}

/// What the whole sample tells.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) records: usize,
    pub(super) fields: Vec<Field>,
    pub(super) left_out: Vec<LeftOut>,
}

impl Sample {
    /// Reads NDJSON, one object a line. An error names the line and quotes nothing of it.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let open = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::of_lines(&file.display().to_string(), std::io::BufReader::new(open))
    }

    fn of_lines(name: &str, lines: impl BufRead) -> anyhow::Result<Self> {
        let (mut root, mut records) = (Seen::default(), 0);
        for (index, line) in lines.lines().enumerate() {
            let line = line.with_context(|| format!("cannot read {name}"))?;
            if line.trim().is_empty() {
                continue;
            }
            let place = || format!("{name}:{}", index + 1);
            if !line.trim_start().starts_with('{') {
                bail!("{}: is not a JSON object: a sample has one object a line", place());
            }
            let mut document = serde_json::Deserializer::from_str(&line);
            (&mut root).deserialize(&mut document).and_then(|()| document.end()).with_context(place)?;
            records += 1;
        }
        if records == 0 {
            bail!("{name} holds no record: a sample has one JSON object a line");
        }
        let mut left_out = Vec::new();
        let fields = root.declared_fields("", records, &mut left_out);
        if fields.is_empty() {
            bail!("{name}: there is no field that one type fits in every record");
        }
        Ok(Self { records, fields, left_out })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Boolean,
    Integer,
    Number,
    Text,
    Object,
    List,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Text => "string",
            Self::Object => "object",
            Self::List => "array",
        })
    }
}

/// What was met at one place of the payload.
#[derive(Debug)]
struct Seen {
    kinds: BTreeSet<Kind>,
    /// Values that are not null.
    values: usize,
    are_timestamps: bool,
    are_dates: bool,
    are_addresses: bool,
    /// In the order in which they were first met.
    fields: Vec<(String, Seen)>,
    items: Option<Box<Seen>>,
    has_items: bool,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            kinds: BTreeSet::new(),
            values: 0,
            are_timestamps: true,
            are_dates: true,
            are_addresses: true,
            fields: Vec::new(),
            items: None,
            has_items: false,
        }
    }
}

impl Seen {
    fn met(&mut self, kind: Kind) {
        self.kinds.insert(kind);
        self.values += 1;
    }

    fn met_text(&mut self, text: &str) {
        self.met(Kind::Text);
        self.are_timestamps &= chrono::DateTime::parse_from_rfc3339(text).is_ok();
        self.are_dates &= text.len() == 10 && text.parse::<chrono::NaiveDate>().is_ok();
        let halves = text.split_once('@');
        self.are_addresses &= halves.is_some_and(|(who, at)| !who.is_empty() && at.contains('.') && !at.contains(' '));
    }

    fn declared_fields(&self, path: &str, of: usize, left_out: &mut Vec<LeftOut>) -> Vec<Field> {
        let mut fields: Vec<Field> = Vec::new();
        for (name, seen) in &self.fields {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let twice = fields.iter().any(|field| field.name.eq_ignore_ascii_case(name));
            let declared = if name.trim().is_empty() {
                Err("has no name".to_owned())
            } else if twice {
                Err("differs from another field by upper and lower case alone".to_owned())
            } else {
                seen.declared(&path, left_out)
            };
            match declared {
                Ok(declared) => fields.push(Field {
                    name: name.clone(),
                    is_address: declared == Type::Text && seen.are_addresses,
                    of: declared,
                    always: seen.values >= of,
                }),
                Err(why) => left_out.push(LeftOut { path, why }),
            }
        }
        fields
    }

    /// The one type that fits all that was met, or why there is none.
    fn declared(&self, path: &str, left_out: &mut Vec<LeftOut>) -> Result<Type, String> {
        let kinds: Vec<Kind> = self.kinds.iter().copied().collect();
        match kinds.as_slice() {
            [] => Err("null in every record of the sample".to_owned()),
            [Kind::Boolean] => Ok(Type::Boolean),
            [Kind::Integer] => Ok(Type::Integer),
            [Kind::Number] | [Kind::Integer, Kind::Number] => Ok(Type::Number),
            [Kind::Text] if self.are_timestamps => Ok(Type::Timestamp),
            [Kind::Text] if self.are_dates => Ok(Type::Date),
            [Kind::Text] => Ok(Type::Text),
            [Kind::Object] => match self.declared_fields(path, self.values, left_out) {
                fields if fields.is_empty() => Err("an object without a field that can be declared".to_owned()),
                fields => Ok(Type::Object(fields)),
            },
            [Kind::List] => match self.items.as_ref().filter(|_| self.has_items) {
                None => Err("an empty array in every record of the sample".to_owned()),
                Some(items) => Ok(Type::List(Box::new(items.declared(&format!("{path}[]"), left_out)?))),
            },
            several => {
                let met: Vec<String> = several.iter().map(ToString::to_string).collect();
                Err(format!("{} in the sample: no one type fits", met.join(" and ")))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Seen {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Seen {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.met(Kind::Boolean);
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.met(Kind::Integer);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        // What 64 bits with a sign do not hold is a number at best.
        self.met(if i64::try_from(number).is_ok() { Kind::Integer } else { Kind::Number });
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.met(Kind::Number);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.met_text(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.met(Kind::List);
        let mut item = self.items.take().unwrap_or_default();
        let mut is_empty = true;
        while items.next_element_seed(&mut *item)?.is_some() {
            is_empty = false;
        }
        // Of empty arrays alone nothing is known, not even that they hold nulls.
        self.has_items |= !is_empty;
        self.items = Some(item);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.met(Kind::Object);
        while let Some(name) = members.next_key::<String>()? {
            let at = match self.fields.iter().position(|(known, _)| *known == name) {
                Some(at) => at,
                None => {
                    self.fields.push((name, Seen::default()));
                    self.fields.len() - 1
                }
            };
            members.next_value_seed(&mut self.fields[at].1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(lines: &str) -> Sample {
        Sample::of_lines("s.ndjson", lines.as_bytes()).unwrap()
    }

    fn types(sample: &Sample) -> Vec<(&str, &Type)> {
        sample.fields.iter().map(|field| (field.name.as_str(), &field.of)).collect()
    }

    #[test]
    fn one_type_must_fit_every_record() {
        let sample = sample(
            r#"{"b": true, "i": 1, "n": 1, "t": "x", "d": "2026-01-02", "at": "2026-01-02T03:04:05Z", "u": 1}
               {"b": null, "i": -9223372036854775808, "n": 2.5, "t": "2026-01-02", "d": "2024-02-29", "at": "2026-01-02T03:04:05.5+03:00", "u": 18446744073709551615}"#,
        );
        let expected = [
            ("b", &Type::Boolean),
            ("i", &Type::Integer),
            ("n", &Type::Number),
            ("t", &Type::Text),
            ("d", &Type::Date),
            ("at", &Type::Timestamp),
            ("u", &Type::Number),
        ];
        assert_eq!(types(&sample), expected);
        assert_eq!((sample.records, sample.fields[0].always, sample.fields[1].always), (2, false, true));
    }

    #[test]
    fn what_no_type_fits_is_left_out_with_a_reason() {
        let sample = sample(
            r#"{"id": "1", "ID": 2, "never": null, "mixed": 1, "empty": [], "bare": {}, "deep": {"x": null, "y": [{"z": 1, "q": null}]}}
               {"id": "2", "mixed": "one", "empty": [null]}"#,
        );
        let left: Vec<(&str, &str)> =
            sample.left_out.iter().map(|left| (left.path.as_str(), left.why.as_str())).collect();
        let expected = [
            ("ID", "differs from another field by upper and lower case alone"),
            ("never", "null in every record of the sample"),
            ("mixed", "integer and string in the sample: no one type fits"),
            ("empty", "null in every record of the sample"),
            ("bare", "an object without a field that can be declared"),
            ("deep.x", "null in every record of the sample"),
            ("deep.y[].q", "null in every record of the sample"),
        ];
        assert_eq!(left, expected);
        assert_eq!(types(&sample).iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["id", "deep"]);
    }

    #[test]
    fn a_line_that_is_no_object_is_named_and_not_quoted() {
        for (lines, said) in [
            ("{\"a\": 1}\n[\"secret\"]\n", "s.ndjson:2: is not a JSON object"),
            ("{\"a\": \"secret\"}\n\n{\"a\": \"secret\"", "s.ndjson:3"),
            ("{\"a\": \"secret\"} {}", "s.ndjson:1"),
            ("\n", "holds no record"),
            ("{\"a\": null}", "no field that one type fits"),
        ] {
            let told = format!("{:#}", Sample::of_lines("s.ndjson", lines.as_bytes()).unwrap_err());
            assert!(told.contains(said) && !told.contains("secret"), "{told}");
        }
    }
}

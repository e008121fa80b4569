//! `masks.yaml`, read and checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lakeward_iam::Level;
use lakeward_tables::{GovernedTable, Unread};
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;
use sha2::{Digest, Sha256};

use super::{MASKED_LEVELS, Mask, MaskProblem, Masked};

/// The masks of all tags.
#[derive(Debug, Clone, Default)]
pub struct Masks {
    file: PathBuf,
    generalised: BTreeMap<String, BTreeMap<String, Entry>>,
    pseudonym: BTreeMap<String, Entry>,
    /// Where each tag stands.
    lines: BTreeMap<(Level, String), usize>,
    digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    mask: Mask,
    line: usize,
}

const DEFAULT: &str = "default";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    generalised: BTreeMap<Tag, BTreeMap<String, Spanned<Value>>>,
    #[serde(default)]
    pseudonym: BTreeMap<Tag, Spanned<Value>>,
}

/// A tag with the line it stands on.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Tag {
    name: String,
    line: usize,
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self { line: written.referenced.line() as usize, name: written.value })
    }
}

impl Masks {
    /// Reads a file without a mistake; else every problem at once.
    pub fn load(file: &Path) -> Result<Self, Vec<MaskProblem>> {
        let (masks, problems) = Self::read(file);
        if problems.is_empty() { Ok(masks) } else { Err(problems) }
    }

    /// Reads what can be read of the file. With problems it is there to be looked at, and never to be used.
    pub fn read(file: &Path) -> (Self, Vec<MaskProblem>) {
        match std::fs::read_to_string(file) {
            Ok(text) => Self::understand(&text, file),
            Err(error) => {
                let problem = MaskProblem::new(file, 1, format!("cannot be read: {}", error.kind()));
                (Self::default(), vec![problem])
            }
        }
    }

    /// Reads the text of a file.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Vec<MaskProblem>> {
        let (masks, problems) = Self::understand(text, file);
        if problems.is_empty() { Ok(masks) } else { Err(problems) }
    }

    fn understand(text: &str, file: &Path) -> (Self, Vec<MaskProblem>) {
        let written: Written = match serde_saphyr::from_str(text) {
            Ok(written) => written,
            Err(error) => {
                let line = error.location().map_or(1, |location| location.line() as usize);
                let problem = MaskProblem::new(file, line, error.without_snippet().to_string());
                return (Self::default(), vec![problem]);
            }
        };
        let mut problems = Vec::new();
        let mut read = |level: Level, written: &Spanned<Value>| {
            let line = written.referenced.line() as usize;
            let mask = mask_of(&written.value).and_then(|mask| match level {
                Level::Pseudonym if mask.is_keyed() || mask == Mask::Null => Ok(mask),
                Level::Generalised if !mask.is_keyed() => Ok(mask),
                _ => Err(format!("this mask does not make a value {level}")),
            });
            mask.map(|mask| Entry { mask, line }).map_err(|why| problems.push(MaskProblem::new(file, line, why))).ok()
        };
        let mut masks = Self { file: file.to_owned(), ..Self::default() };
        for (tag, columns) in &written.generalised {
            let entries = columns
                .iter()
                .filter_map(|(column, mask)| Some((column.clone(), read(Level::Generalised, mask)?)))
                .collect();
            masks.lines.insert((Level::Generalised, tag.name.clone()), tag.line);
            masks.generalised.insert(tag.name.clone(), entries);
        }
        for (tag, mask) in &written.pseudonym {
            masks.lines.insert((Level::Pseudonym, tag.name.clone()), tag.line);
            masks.pseudonym.extend(read(Level::Pseudonym, mask).map(|entry| (tag.name.clone(), entry)));
        }
        masks.digest = data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
        problems.sort_by_key(|problem| problem.line);
        (masks, problems)
    }

    /// What in the masks does not fit the tables: tags and columns that are not there, types that cannot be masked so.
    /// What a contract in `unread` may declare is taken for declared.
    pub fn check(&self, tables: &[GovernedTable], unread: &[Unread]) -> Vec<MaskProblem> {
        let mut problems = Vec::new();
        let mut report = |line, message: String| problems.push(MaskProblem::new(&self.file, line, message));
        let tagged = |tag: &str| {
            let tag = tag.to_owned();
            tables
                .iter()
                .flat_map(|table| table.columns.iter().map(move |column| (table, column)))
                .filter(move |(_, column)| column.tags.contains(&tag))
        };
        let may_exist = |names: &[&str]| unread.iter().any(|of| names.iter().all(|name| of.may_declare(name)));
        for ((_, tag), line) in &self.lines {
            if tagged(tag).next().is_none() && !may_exist(&[tag]) {
                report(*line, format!("no column has the tag {tag}"));
            }
        }
        for (tag, entries) in &self.generalised {
            for (name, entry) in entries.iter().filter(|(name, _)| *name != DEFAULT) {
                if !tagged(tag).any(|(_, column)| column.name == *name) && !may_exist(&[tag, name]) {
                    report(entry.line, format!("no column {name} has the tag {tag}"));
                }
            }
        }
        for level in MASKED_LEVELS {
            for table in tables {
                for column in &table.columns {
                    let Some((tag, entry)) = self.entry(level, &column.tags, &column.name) else { continue };
                    if !entry.mask.fits(&column.data_type) {
                        let message = format!(
                            "column {}.{} with the tag {tag} has the type {}, which this mask does not take",
                            table.name, column.name, column.data_type
                        );
                        report(entry.line, message);
                    }
                }
            }
        }
        problems.sort_by_key(|problem| problem.line);
        problems
    }

    /// The mask of a column at a level; none hides it.
    pub(crate) fn mask(&self, level: Level, tags: &[String], column: &str) -> Option<Masked> {
        self.entry(level, tags, column).map(|(tag, entry)| Masked { tag: tag.to_owned(), mask: entry.mask })
    }

    /// Why a column of the table is hidden at a level that a policy gives it, if it is: there is no mask, or none that works.
    pub fn misses(&self, table: &GovernedTable, column: &str, level: Level) -> Option<String> {
        let column = table.columns.iter().find(|known| known.name == column)?;
        if !MASKED_LEVELS.contains(&level) {
            return None;
        }
        match self.mask(level, &column.tags, &column.name) {
            None => Some(format!("no {level} mask for the tag {}", column.tags.join(", "))),
            Some(masked) if !masked.works(&column.data_type, true, table.subject.is_some()) => Some(format!(
                "the {level} mask of the tag {} does not work for it: {}",
                masked.tag,
                if masked.mask.fits(&column.data_type) { "the table names no subject" } else { "it has another type" }
            )),
            Some(_) => None,
        }
    }

    /// Digest of the file's text.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    fn entry<'a>(&'a self, level: Level, tags: &'a [String], column: &str) -> Option<(&'a str, &'a Entry)> {
        tags.iter().find_map(|tag| {
            let entry = match level {
                Level::Generalised => {
                    let columns = self.generalised.get(tag)?;
                    columns.get(column).or_else(|| columns.get(DEFAULT))?
                }
                Level::Pseudonym => self.pseudonym.get(tag)?,
                Level::Clear | Level::Hidden => return None,
            };
            Some((tag.as_str(), entry))
        })
    }
}

fn mask_of(value: &Value) -> Result<Mask, String> {
    const KNOWN: &str = "expected keep, null, year, week, hmac, shift_days, {prefix: N} or {band_years: N, top_age: N}";
    match value {
        Value::Null => Ok(Mask::Null),
        Value::String(name) => match name.as_str() {
            "keep" => Ok(Mask::Keep),
            "null" => Ok(Mask::Null),
            "year" => Ok(Mask::Year),
            "week" => Ok(Mask::Week),
            "hmac" => Ok(Mask::Hmac),
            "shift_days" => Ok(Mask::ShiftDays),
            _ => Err(format!("unknown mask {name}: {KNOWN}")),
        },
        Value::Object(fields) => {
            let number =
                |name: &str, range: std::ops::RangeInclusive<u64>| match fields.get(name).and_then(Value::as_u64) {
                    Some(number) if range.contains(&number) => Ok(number),
                    _ => Err(format!("{name} must be a whole number from {} to {}", range.start(), range.end())),
                };
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            match names.as_slice() {
                ["prefix"] => Ok(Mask::Prefix(number("prefix", 1..=1000)? as usize)),
                ["band_years", "top_age"] => Ok(Mask::Band {
                    years: number("band_years", 1..=1000)? as u32,
                    top_age: number("top_age", 0..=1000)? as u32,
                }),
                _ => Err(KNOWN.to_owned()),
            }
        }
        _ => Err(KNOWN.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
generalised:
  identifier.quasi:
    birth_date: {band_years: 5, top_age: 90}
    city: null
    gender: keep
    postal_code: {prefix: 3}
    default: null
  time: {default: week}
pseudonym:
  key.subject: hmac
  time: shift_days
";

    fn tags(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_column_takes_its_own_entry_or_the_default() {
        let masks = Masks::parse(TEXT, Path::new("masks.yaml")).unwrap();
        let quasi = tags(&["identifier.quasi"]);
        let at = |column: &str| masks.mask(Level::Generalised, &quasi, column).map(|masked| masked.mask);
        assert_eq!(at("birth_date"), Some(Mask::Band { years: 5, top_age: 90 }));
        assert_eq!(at("postal_code"), Some(Mask::Prefix(3)));
        assert_eq!(at("city"), Some(Mask::Null));
        assert_eq!(at("something_new"), Some(Mask::Null));
        assert_eq!(masks.mask(Level::Pseudonym, &quasi, "birth_date"), None);
        assert_eq!(masks.mask(Level::Generalised, &tags(&["key.subject"]), "patient_id"), None);
    }

    #[test]
    fn the_first_tag_with_an_entry_decides() {
        let masks = Masks::parse(TEXT, Path::new("masks.yaml")).unwrap();
        let masked = masks.mask(Level::Pseudonym, &tags(&["other", "time", "key.subject"]), "x").unwrap();
        assert_eq!(masked, Masked { tag: "time".into(), mask: Mask::ShiftDays });
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let text =
            "generalised:\n  time:\n    a: fortnight\n    b: {prefix: 0}\n    c: hmac\npseudonym:\n  key: week\n";
        let problems = Masks::parse(text, Path::new("masks.yaml")).unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [3, 4, 5, 7]);
        assert!(problems[0].to_string().starts_with("masks.yaml:3: unknown mask fortnight"));
    }

    #[test]
    fn an_unknown_key_is_a_problem() {
        let problems = Masks::parse("clear:\n  time: keep\n", Path::new("masks.yaml")).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].line, 1);
    }
}

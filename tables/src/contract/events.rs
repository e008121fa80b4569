//! What a curated contract says of events that are not simply new: corrections, withdrawals, duplicates.

use std::time::Duration;

use super::check;
use super::curated::Mode;
use super::schema::Expression;
use super::yaml::{Entries, Reader};

/// Markers are kept for so long where a contract does not say it.
const KEEP_MARKERS: Duration = Duration::from_secs(400 * DAY);
const DAY: u64 = 24 * 60 * 60;

/// Events that a producer sent again are not added a second time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deduplication {
    /// Columns that are equal in an event and its repetition.
    pub key: Vec<String>,
    /// By how much Kafka's timestamps of the two may differ.
    pub window: Duration,
}

/// The custom properties of this module.
pub(super) const CUSTOM: [&str; 5] = ["correction", "removed", "replaces", "keepMarkers", "deduplicate"];

/// As read.
pub(super) struct Events {
    pub(super) correction: Option<Expression>,
    pub(super) removed: Option<Expression>,
    pub(super) replaces: Vec<String>,
    pub(super) keep_markers: Duration,
    pub(super) deduplication: Option<Deduplication>,
}

/// What the contract's other lines say, as far as they could be understood.
pub(super) struct Rest<'a> {
    pub(super) mode: Option<Mode>,
    pub(super) primary_key: &'a [String],
    /// Names, and whether they must be filled; none where not all columns could be understood.
    pub(super) columns: Option<Vec<(&'a str, bool)>>,
}

pub(super) fn read(reader: &mut Reader<'_>, custom: &Entries<'_>, rest: &Rest<'_>) -> Events {
    let mode = rest.mode;
    let correction = predicate(reader, custom, "correction");
    let removed = predicate(reader, custom, "removed");
    let replaces = reader.texts(custom, "replaces");
    for key in ["correction", "removed", "replaces"] {
        if custom.get(key).is_some() && mode.is_some_and(|mode| mode != Mode::Corrected) {
            reader.note(custom.line_of(key), format!("'{key}' is for tables of mode corrected"));
        }
    }
    if mode == Some(Mode::Corrected) && custom.get("correction").is_none() {
        let message =
            "a table of mode corrected needs 'correction': which events replace those before them of their key";
        reader.note(custom.line_of("mode"), message);
    }
    let begins_the_key = !replaces.is_empty() && rest.primary_key.starts_with(&replaces);
    if custom.get("replaces").is_some() && rest.columns.is_some() && !begins_the_key {
        let key = rest.primary_key.join(", ");
        reader.note(custom.line_of("replaces"), format!("'replaces' must be the beginning of the primary key ({key})"));
    }
    let keep_markers = duration(reader, custom, "keepMarkers", KEEP_MARKERS);
    if custom.get("keepMarkers").is_some() && mode == Some(Mode::Append) {
        reader.note(custom.line_of("keepMarkers"), "an append table has no markers to keep");
    }
    Events { correction, removed, replaces, keep_markers, deduplication: deduplication(reader, custom, rest) }
}

fn predicate(reader: &mut Reader<'_>, custom: &Entries<'_>, key: &str) -> Option<Expression> {
    let node = custom.get(key)?;
    let line = node.line;
    let sql = reader.text(node, key)?;
    check::expression(reader, line, key, &sql);
    Some(Expression { sql, line })
}

fn deduplication(reader: &mut Reader<'_>, custom: &Entries<'_>, rest: &Rest<'_>) -> Option<Deduplication> {
    let node = custom.get("deduplicate")?;
    let map = reader.map(node, "deduplicate", &["key", "window"]);
    if rest.mode.is_some_and(|mode| mode != Mode::Append) {
        let message = "'deduplicate' is for append tables: in the others a newer event of a key replaces the older one";
        reader.note(custom.line_of("deduplicate"), message);
    }
    let key = reader.texts(&map, "key");
    if key.is_empty() {
        reader
            .note(map.line_of("key"), "'deduplicate' needs a key: the columns that an event and its repetition share");
    }
    if let Some(columns) = &rest.columns {
        for name in &key {
            let problem = match columns.iter().find(|(column, _)| column == name) {
                None => "is not a column of the table",
                Some((_, false)) => "is in the key of 'deduplicate' and must be required: true",
                Some((_, true)) => continue,
            };
            reader.note(map.line_of("key"), format!("'{name}' {problem}"));
        }
    }
    if map.get("window").is_none() {
        reader.note(map.line, "'deduplicate' needs a window, such as \"1 hour\"");
    }
    let window = duration(reader, &map, "window", Duration::from_secs(3_600));
    Some(Deduplication { key, window })
}

/// A number and a unit, as in `1 hour` and `90 days`.
fn duration(reader: &mut Reader<'_>, entries: &Entries<'_>, key: &str, default: Duration) -> Duration {
    let Some(text) = reader.optional_text(entries, key) else { return default };
    let seconds = text.trim().split_once(' ').and_then(|(number, unit)| {
        let unit = match unit.trim().trim_end_matches('s') {
            "second" => 1,
            "minute" => 60,
            "hour" => 60 * 60,
            "day" => DAY,
            _ => return None,
        };
        number.parse::<u32>().ok().filter(|number| *number > 0).map(|number| u64::from(number) * unit)
    });
    match seconds {
        Some(seconds) => Duration::from_secs(seconds),
        None => {
            reader.note(
                entries.line_of(key),
                format!("{key} wants a number and a unit, such as \"1 hour\" or \"90 days\""),
            );
            default
        }
    }
}

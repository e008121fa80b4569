//! What the lakehouse should hold once it has taken in the whole history, and perhaps the beginning of what is live.

use std::collections::{BTreeMap, BTreeSet};

use super::timeline::{Defect, Entry, Fate};

/// Counts, by topic and by curated table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// By topic.
    pub(crate) topics: BTreeMap<&'static str, TopicCount>,
    /// By curated table.
    pub(crate) tables: BTreeMap<&'static str, TableCount>,
    /// Encounters with anything special in them.
    pub(crate) special_encounters: u64,
}

/// What a topic was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TopicCount {
    /// Messages, broken ones included.
    pub(crate) messages: u64,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
    /// The broken ones.
    pub(crate) dead_letters: BTreeMap<Defect, u64>,
}

/// What a curated table holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TableCount {
    /// Rows: of each key the newest version, without what was withdrawn (`entered-in-error`).
    pub(crate) rows: u64,
    /// Those of them that are special, or belong to an encounter with anything special in it.
    pub(crate) special: u64,
    /// Rows of all versions, as a table that only appends would hold them.
    pub(crate) appended: u64,
    /// Distinct keys of all versions, the withdrawn included; one for each component of an observation.
    pub(crate) keys: u64,
}

/// Counts.
pub(super) fn summary<'a>(entries: impl Iterator<Item = &'a Entry>) -> Summary {
    let mut summary = Summary::default();
    let mut newest: BTreeMap<(&'static str, &str), &Fate> = BTreeMap::new();
    let mut special = BTreeSet::new();
    for Entry { event, fate } in entries {
        let topic = summary.topics.entry(event.topic).or_default();
        topic.messages += 1;
        topic.bytes += event.payload.len() as u64;
        match fate {
            Fate::Dead(defect) => *topic.dead_letters.entry(*defect).or_default() += 1,
            Fate::RawOnly => {}
            Fate::Rows { table, rows, encounter, special: own, .. } => {
                summary.tables.entry(table).or_default().appended += rows;
                newest.insert((table, &event.key), fate);
                if *own && let Some(encounter) = encounter {
                    special.insert(encounter.as_str());
                }
            }
        }
    }
    for ((table, _), fate) in newest {
        let Fate::Rows { rows, withdrawn, encounter, special: own, .. } = fate else { continue };
        let count = summary.tables.entry(table).or_default();
        count.keys += rows;
        if *withdrawn {
            continue;
        }
        count.rows += rows;
        if *own || encounter.as_deref().is_some_and(|encounter| special.contains(encounter)) {
            count.special += rows;
        }
    }
    summary.special_encounters = special.len() as u64;
    summary
}

//! What is written to topics, and what the lakehouse should make of it.

use chrono::{DateTime, Utc};

use super::chance::stable_hash;

/// A message of the clinic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The topic.
    pub(crate) topic: &'static str,
    /// The partition: the same for the same key, below [`partitions`] of the topic.
    pub(crate) partition: i32,
    /// The id of the thing.
    pub(crate) key: String,
    /// JSON, save in the few records that are broken on purpose; written in the topic's format when it is sent.
    pub(crate) payload: Vec<u8>,
    /// When it is written: in the past of the first start for history, due then for the live stream.
    pub(crate) timestamp: DateTime<Utc>,
}

/// The topics of the chain with their numbers of partitions.
pub(crate) const TOPICS: [(&str, i32); 13] = [
    ("clinic.patient", 2),
    ("clinic.practitioner", 1),
    ("clinic.organization", 1),
    ("clinic.location", 1),
    ("clinic.appointment", 2),
    ("clinic.encounter", 2),
    ("clinic.condition", 2),
    ("clinic.medication_request", 2),
    ("clinic.observation", 4),
    ("clinic.consent", 1),
    ("clinic.document", 2),
    ("erp.payment", 2),
    ("erp.stock_movement", 1),
];

/// How many partitions a topic has; 1 for a topic that is not the clinic's.
pub(crate) fn partitions(topic: &str) -> i32 {
    TOPICS.iter().find(|(name, _)| *name == topic).map_or(1, |(_, count)| *count)
}

/// What should become of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Rows of a curated table, all with this key as (the first part of) theirs. `special`: by codes of their own.
    Rows { table: &'static str, rows: u64, withdrawn: bool, encounter: Option<String>, special: bool },
    /// It is kept in its raw table only.
    RawOnly,
    /// A dead letter.
    Dead(Defect),
}

/// What is wrong with a record that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Defect {
    /// The payload is not JSON.
    NotJson,
    /// The thing has no id.
    MissingId,
    /// A value is not of its declared type.
    WrongType,
}

/// An event with its fate.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) event: Event,
    pub(super) fate: Fate,
}

/// Entries in the order of their making.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    pub(super) entries: Vec<Entry>,
}

impl Timeline {
    /// Adds a message.
    pub(super) fn write(&mut self, topic: &'static str, key: &str, at: DateTime<Utc>, payload: Vec<u8>, fate: Fate) {
        let partition = (stable_hash(key.as_bytes()) % partitions(topic).unsigned_abs() as u64) as i32;
        self.entries
            .push(Entry { event: Event { topic, partition, key: key.to_owned(), payload, timestamp: at }, fate });
    }

    /// In the order of time; what is written at the same instant stays in the order of its making.
    pub(super) fn sorted(mut self) -> Vec<Entry> {
        self.entries.sort_by_key(|entry| entry.event.timestamp);
        self.entries
    }
}

impl Fate {
    /// One row of a table that does not follow an encounter.
    pub(super) fn row(table: &'static str) -> Self {
        Self::Rows { table, rows: 1, withdrawn: false, encounter: None, special: false }
    }

    /// A row of a booking, which belongs to no encounter yet.
    pub(super) fn of_booking(special: bool) -> Self {
        Self::Rows { table: "appointments", rows: 1, withdrawn: false, encounter: None, special }
    }

    /// One row of an encounter.
    pub(super) fn of_encounter(table: &'static str, encounter: &str, special: bool) -> Self {
        Self::Rows { table, rows: 1, withdrawn: false, encounter: Some(encounter.to_owned()), special }
    }
}

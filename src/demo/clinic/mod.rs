//! A chain of clinics that writes as a real one would: FHIR R4 resources, payments and movements of stock, each to its
//! topic.
//!
//! *History* is what happened before the first start, at `epoch`; *live* is what happens after it, without an end. Both
//! depend on seed, number of patients and epoch alone, so that whoever knows how many messages of each partition were kept
//! knows where to go on. A *fate* is what the lakehouse should make of a message; the [`Summary`] counts fates. A
//! *defect* is a message that is broken on purpose.

mod chain;
mod chance;
mod clinical;
mod codes;
mod defects;
mod erp;
mod history;
mod json;
mod live;
mod measurements;
mod names;
mod patients;
mod people;
mod registry;
mod summary;
#[cfg(test)]
mod tests;
mod timeline;
mod visits;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

pub(crate) use self::people::Person;
pub(crate) use self::timeline::{Event, TOPICS};

use self::live::Live;
use self::summary::Summary;
use self::timeline::{Entry, Timeline};

/// What the clinic depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClinicConfig {
    /// Of all chance.
    pub(crate) seed: u64,
    /// How many patients the chain has; fewer than eight are made eight.
    pub(crate) patients: u32,
    /// "Now" at the first start.
    pub(crate) epoch: DateTime<Utc>,
}

/// Numbers of events by topic and partition.
pub(crate) type Counts = BTreeMap<(&'static str, i32), u64>;

/// The chain of clinics.
#[derive(Debug)]
pub(crate) struct Clinic {
    history: Vec<Entry>,
    live: Live,
    people: Vec<Person>,
}

impl Clinic {
    /// Draws the chain, its people and its history.
    pub(crate) fn new(config: ClinicConfig) -> Self {
        let ClinicConfig { seed, patients, epoch } = config;
        let chain = Arc::new(chain::Chain::new(seed));
        let mut timeline = Timeline::default();
        let patients = history::write(&chain, seed, patients.max(patients::FEWEST), epoch, &mut timeline);
        let people = people::people(&chain, &patients);
        let mut history = timeline.sorted();
        let later = history.split_off(history.partition_point(|entry| entry.event.timestamp <= epoch));
        Self { history, live: Live::new(chain, patients, seed, epoch, later), people }
    }

    /// What happened up to the epoch, in the order of time.
    pub(crate) fn history(&self) -> impl Iterator<Item = Event> + '_ {
        self.history.iter().map(|entry| entry.event.clone())
    }

    /// What happens after the epoch, in the order of the times when it is due; endless.
    pub(crate) fn live(&self) -> impl Iterator<Item = Event> + Send + use<> {
        self.live.clone().map(|entry| entry.event)
    }

    /// Who may sign in.
    pub(crate) fn people(&self) -> &[Person] {
        &self.people
    }

    /// What the lakehouse should hold after the history and so many live events of each topic and partition.
    pub(crate) fn summary(&self, live: &Counts) -> Summary {
        let mut left = live.clone();
        left.retain(|_, count| *count > 0);
        let mut stream = self.live.clone();
        let landed = std::iter::from_fn(|| {
            while !left.is_empty() {
                let entry = stream.next()?;
                let of = (entry.event.topic, entry.event.partition);
                if let Some(count) = left.get_mut(&of) {
                    *count -= 1;
                    if *count == 0 {
                        left.remove(&of);
                    }
                    return Some(entry);
                }
            }
            None
        });
        let landed: Vec<Entry> = landed.collect();
        summary::summary(self.history.iter().chain(&landed))
    }
}

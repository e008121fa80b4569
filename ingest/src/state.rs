//! Whether ingest runs, and what it waits for if it does not: in words that tell an operator what to do.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use prometheus::IntGaugeVec;
use tokio::sync::watch;

/// What ingest is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngestState {
    /// Not yet in its consumer group.
    Starting,
    /// Events are taken as they come.
    Running,
    /// Something refuses or is away; ingest tries again by itself.
    Waiting {
        /// `kafka`, `registry` or `storage`.
        part: &'static str,
        /// What is the matter and what would help.
        why: String,
    },
}

/// The current troubles, each under a key so that it can be taken back when it is over.
#[derive(Debug)]
pub(crate) struct StateBoard {
    troubles: Mutex<Troubles>,
    state: watch::Sender<IngestState>,
    /// How many there are, by part.
    waiting: IntGaugeVec,
}

#[derive(Debug, Default)]
struct Troubles {
    joined: bool,
    by_key: BTreeMap<(&'static str, String), String>,
}

pub(crate) const KAFKA: &str = "kafka";
pub(crate) const STORAGE: &str = "storage";
pub(crate) const REGISTRY: &str = "registry";
/// Whatever ingest may wait for.
pub(crate) const PARTS: [&str; 3] = [KAFKA, STORAGE, REGISTRY];

impl StateBoard {
    /// `waiting` has the label `part`.
    pub(crate) fn new(waiting: IntGaugeVec) -> Self {
        StateBoard { troubles: Mutex::default(), state: watch::Sender::new(IngestState::Starting), waiting }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<IngestState> {
        self.state.subscribe()
    }

    /// The group has been joined (or left, before a new attempt).
    pub(crate) fn joined(&self, joined: bool) {
        self.change(|troubles| troubles.joined = joined);
    }

    pub(crate) fn raise(&self, part: &'static str, key: &str, why: String) {
        let mut new = false;
        self.change(|troubles| {
            new = troubles.by_key.insert((part, key.to_owned()), why.clone()).as_ref() != Some(&why);
        });
        if new {
            tracing::warn!(part, why, "ingest waits");
        }
    }

    /// As [`StateBoard::raise`], but a vague reason does not replace one that is there.
    pub(crate) fn raise_first(&self, part: &'static str, key: &str, why: String, vague: bool) {
        if vague && self.troubles.lock().by_key.contains_key(&(part, key.to_owned())) {
            return;
        }
        self.raise(part, key, why);
    }

    pub(crate) fn clear(&self, part: &'static str, key: &str) {
        // The poll thread calls this often, and mostly there is nothing to clear.
        if self.troubles.lock().by_key.is_empty() {
            return;
        }
        let mut cleared = false;
        self.change(|troubles| cleared = troubles.by_key.remove(&(part, key.to_owned())).is_some());
        if cleared {
            tracing::info!(part, key, "ingest goes on");
        }
    }

    fn change(&self, change: impl FnOnce(&mut Troubles)) {
        let mut troubles = self.troubles.lock();
        change(&mut troubles);
        for part in PARTS {
            let count = troubles.by_key.keys().filter(|(of, _)| *of == part).count();
            self.waiting.with_label_values(&[part]).set(count as i64);
        }
        let state = match troubles.by_key.first_key_value() {
            Some((&(part, _), _)) => {
                let of_part = troubles.by_key.iter().filter(|((p, _), _)| *p == part);
                let why: Vec<&str> = of_part.map(|(_, why)| why.as_str()).collect();
                IngestState::Waiting { part, why: why.join("; ") }
            }
            None if troubles.joined => IngestState::Running,
            None => IngestState::Starting,
        };
        self.state.send_if_modified(|current| {
            let changed = *current != state;
            *current = state;
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_until_it_is_over() {
        let waiting = IntGaugeVec::new(prometheus::Opts::new("waiting", "waiting"), &["part"]).unwrap();
        let board = StateBoard::new(waiting.clone());
        let counts = || PARTS.map(|part| waiting.with_label_values(&[part]).get());
        let state = board.watch();
        assert_eq!(*state.borrow(), IngestState::Starting);
        board.raise(STORAGE, "raw.a", "storage is away".to_owned());
        board.joined(true);
        assert_eq!(*state.borrow(), IngestState::Waiting { part: STORAGE, why: "storage is away".to_owned() });
        board.raise(KAFKA, "group", "no group".to_owned());
        board.raise(KAFKA, "topic a", "no topic".to_owned());
        assert_eq!(*state.borrow(), IngestState::Waiting { part: KAFKA, why: "no group; no topic".to_owned() });
        assert_eq!(counts(), [2, 1, 0]);
        board.clear(KAFKA, "group");
        board.clear(KAFKA, "topic a");
        board.clear(STORAGE, "raw.a");
        assert_eq!(counts(), [0, 0, 0]);
        assert_eq!(*state.borrow(), IngestState::Running);
    }
}

//! What `/health/ready` is answered from: which part is there, and what is the matter with the others.

use std::sync::Arc;
use std::time::Duration;

use lakeward_ingest::{IngestHandle, IngestState};
use lakeward_query::http::{Readiness, ReadinessProbe};
use lakeward_tables::Lake;
use tokio::sync::watch;

/// How long it takes at most until a lost storage shows.
const GLANCE: Duration = Duration::from_secs(5);

/// Whether the storage answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storage {
    Unopened,
    There,
    Away,
    Refuses,
}

impl Storage {
    /// What is the matter, and what would help.
    fn trouble(self) -> Option<&'static str> {
        match self {
            Storage::There => None,
            Storage::Unopened => Some("it has not been opened yet"),
            Storage::Away => Some("it does not answer; tried again all the time"),
            Storage::Refuses => Some(
                "it refuses: look at the credentials and what they may do, and at this machine's clock; tried again all the time",
            ),
        }
    }
}

/// The parts' state; those that know it write it, the probe reads it.
pub(super) struct Health {
    ingests: bool,
    storage: watch::Sender<Storage>,
    ingest: watch::Sender<IngestState>,
}

impl Health {
    pub(super) fn new(ingests: bool) -> Self {
        Self {
            ingests,
            storage: watch::Sender::new(Storage::Unopened),
            ingest: watch::Sender::new(IngestState::Starting),
        }
    }

    /// Answers `/health/ready`.
    pub(super) fn probe(&self) -> ReadinessProbe {
        let (ingests, storage, ingest) = (self.ingests, self.storage.subscribe(), self.ingest.subscribe());
        Arc::new(move || {
            let readiness = match storage.borrow().trouble() {
                None => Readiness::default().ready("storage"),
                Some(why) => Readiness::default().missing("storage", why),
            };
            if !ingests {
                return readiness;
            }
            match &*ingest.borrow() {
                IngestState::Running => readiness.ready("ingest"),
                IngestState::Starting => readiness.missing("ingest", "it has not joined its group yet"),
                IngestState::Waiting { part, why } => readiness.missing("ingest", format!("{part}: {why}")),
            }
        })
    }

    pub(super) fn storage_is_away(&self) {
        self.storage.send_replace(Storage::Away);
    }

    /// Looks from time to time whether the storage still answers, for as long as this lives.
    pub(super) fn watch_storage(&self, lake: Lake) {
        let storage = self.storage.clone();
        storage.send_replace(Storage::There);
        tokio::spawn(async move {
            let mut pace = tokio::time::interval(GLANCE);
            loop {
                tokio::select! {
                    () = storage.closed() => return,
                    _ = pace.tick() => {}
                }
                let answer = tokio::time::timeout(GLANCE, lake.check_reachable()).await;
                let now = match answer {
                    Ok(Ok(())) => Storage::There,
                    Ok(Err(error)) if error.is_refusal() => Storage::Refuses,
                    _ => Storage::Away,
                };
                if storage.send_replace(now) != now {
                    match now.trouble() {
                        None => tracing::info!("the storage answers again"),
                        Some(why) => tracing::warn!(why, "the storage is missing"),
                    }
                }
            }
        });
    }

    /// Takes ingest's state as its own.
    pub(super) fn follow(&self, ingest: &IngestHandle) {
        let (mut from, to) = (ingest.state(), self.ingest.clone());
        tokio::spawn(async move {
            loop {
                to.send_replace(from.borrow_and_update().clone());
                if from.changed().await.is_err() {
                    return;
                }
            }
        });
    }
}

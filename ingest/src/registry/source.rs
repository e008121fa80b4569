//! Where an engine has its schemas from: the registry, and what to do while it is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Answer, Registry};
use crate::error::IngestError;
use crate::state::{REGISTRY, StateBoard};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long an id is not yet believed to be unknown.
const SECOND_THOUGHTS: Duration = Duration::from_secs(1);
/// How often there may be such a pause.
const BETWEEN_DOUBTS: Duration = Duration::from_secs(10);

/// Schemas by their ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schemas {
    registry: Option<Arc<Registry>>,
    patience: Option<Patience>,
    doubted: Arc<Mutex<Option<Instant>>>,
}

/// Waits for a registry that is away, and says so meanwhile.
#[derive(Debug, Clone)]
struct Patience {
    board: Arc<StateBoard>,
    topic: String,
    abandon: CancellationToken,
}

impl Schemas {
    /// For who only looks at what is declared: no id can be looked up.
    pub(crate) fn none() -> Self {
        Schemas::default()
    }

    /// For who asks once: a registry that is away is an error.
    pub(crate) fn at_once(registry: Option<Arc<Registry>>) -> Self {
        Schemas { registry, patience: None, doubted: Arc::default() }
    }

    /// For ingest: a registry that is away is waited for, until `abandon`.
    pub(crate) fn patient(
        registry: Option<Arc<Registry>>,
        board: Arc<StateBoard>,
        topic: &str,
        abandon: CancellationToken,
    ) -> Self {
        Schemas {
            registry,
            patience: Some(Patience { board, topic: topic.to_owned(), abandon }),
            doubted: Arc::default(),
        }
    }

    /// What the registry says of these ids.
    ///
    /// That it knows none is asked again after a moment: a registry of several servers may answer before it has heard of
    /// what was registered with another one.
    ///
    /// # Errors
    ///
    /// There is no registry, or it is away and is not waited for; [`IngestError::Abandoned`] when the process ends first.
    pub(crate) async fn all(&self, ids: BTreeSet<u32>) -> Result<BTreeMap<u32, Answer>, IngestError> {
        let Some(registry) = &self.registry else {
            return Err(IngestError::Registry("no schema registry is configured: [registry] url names it".to_owned()));
        };
        let (mut answers, mut unknown) = (BTreeMap::new(), Vec::new());
        for id in ids {
            let answer = match registry.kept(id) {
                Some(answer) => answer,
                None => {
                    let answer = self.ask(registry, id).await?;
                    if matches!(answer, Answer::Unknown) {
                        unknown.push(id);
                    }
                    answer
                }
            };
            answers.insert(id, answer);
        }
        if !unknown.is_empty() && self.may_doubt() {
            self.pause(SECOND_THOUGHTS).await?;
            for id in unknown {
                answers.insert(id, self.ask(registry, id).await?);
            }
        }
        Ok(answers)
    }

    /// Whoever sends nothing but unknown ids must not keep others waiting.
    fn may_doubt(&self) -> bool {
        let mut doubted = self.doubted.lock();
        let may = doubted.is_none_or(|at| at.elapsed() >= BETWEEN_DOUBTS);
        if may {
            *doubted = Some(Instant::now());
        }
        may
    }

    async fn pause(&self, pause: Duration) -> Result<(), IngestError> {
        let abandoned = async {
            match &self.patience {
                Some(patience) => patience.abandon.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = abandoned => Err(IngestError::Abandoned),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    async fn ask(&self, registry: &Registry, id: u32) -> Result<Answer, IngestError> {
        let mut pause = FIRST_PAUSE;
        let mut raised = false;
        loop {
            let away = match registry.schema(id).await {
                Ok(answer) => {
                    if let Some(patience) = self.patience.as_ref().filter(|_| raised) {
                        patience.board.clear(REGISTRY, &patience.topic);
                    }
                    return Ok(answer);
                }
                Err(away) => away,
            };
            let Some(Patience { board, topic, .. }) = &self.patience else { return Err(away.into()) };
            board.raise(REGISTRY, topic, format!("{topic} waits for its schemas: {away}"));
            raised = true;
            self.pause(pause).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

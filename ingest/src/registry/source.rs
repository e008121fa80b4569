//! Where an engine has its schemas from: the registry, and what to do while it is away.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Answer, Registry};
use crate::error::IngestError;
use crate::state::{REGISTRY, StateBoard};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Schemas by their ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schemas {
    registry: Option<Arc<Registry>>,
    patience: Option<Patience>,
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
        Schemas { registry, patience: None }
    }

    /// For ingest: a registry that is away is waited for, until `abandon`.
    pub(crate) fn patient(
        registry: Option<Arc<Registry>>,
        board: Arc<StateBoard>,
        topic: &str,
        abandon: CancellationToken,
    ) -> Self {
        Schemas { registry, patience: Some(Patience { board, topic: topic.to_owned(), abandon }) }
    }

    /// What the registry says of an id.
    ///
    /// # Errors
    ///
    /// There is no registry, or it is away and is not waited for; [`IngestError::Abandoned`] when the process ends first.
    pub(crate) async fn schema(&self, id: u32) -> Result<Answer, IngestError> {
        let Some(registry) = &self.registry else {
            return Err(IngestError::Registry("no schema registry is configured: [registry] url names it".to_owned()));
        };
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
            let Some(Patience { board, topic, abandon }) = &self.patience else { return Err(away.into()) };
            board.raise(REGISTRY, topic, format!("{topic} waits for its schemas: {away}"));
            raised = true;
            tokio::select! {
                () = abandon.cancelled() => {
                    return Err(IngestError::Abandoned);
                }
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

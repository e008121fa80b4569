//! One table's files in the place of another's.

use std::collections::BTreeMap;

use deltalake_core::kernel::{Action, Add, Remove};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use futures::TryStreamExt;
use serde_json::Value;

use super::commit::ATTEMPTS;
use super::position::delta;
use super::snapshot::State;
use super::table::Table;
use crate::TablesError;
use crate::rebuild::Standing;
use crate::replay::replays;

impl Table {
    /// Becomes what `made` is, whose files lie in `folder`, as long as both stand at the same offsets of each topic, and no
    /// replay has brought anything but those in `replayed`; gives the version.
    pub(crate) async fn replace(
        &self,
        made: &Table,
        folder: &str,
        topics: &BTreeMap<String, Standing>,
        replayed: &BTreeMap<String, i64>,
    ) -> Result<Option<u64>, TablesError> {
        let failed = |error| delta(&self.layout.name, error);
        // The state that a writer follows does not keep what the log says of its files.
        made.state().await?;
        let new = DeltaTableState::try_new(made.log().as_ref(), None).await.map_err(failed)?;
        let mut added = Vec::new();
        let mut views = new.snapshot().file_views(made.log().as_ref(), None);
        while let Some(view) = views.try_next().await.map_err(failed)? {
            added.push(Action::Add(Add {
                path: format!("{folder}/{}", view.path()),
                partition_values: view.partition_values_map().into_iter().collect(),
                size: view.size(),
                modification_time: view.modification_time(),
                data_change: true,
                stats: view.stats(),
                ..Add::default()
            }));
        }
        drop(views);
        let _one_writer = self.writing.lock().await;
        let id = uuid::Uuid::new_v4().to_string();
        for _ in 0..ATTEMPTS {
            let state = self.state().await?;
            if topics.iter().any(|(topic, standing)| self.stands(&state, topic) != *standing) {
                return Ok(None);
            }
            if state.positions.of_apps(&replays(&self.layout.name)) != *replayed {
                let message = "dead letters were replayed into it while it was made again; begin once more";
                return Err(TablesError::Schema { table: self.layout.name.clone(), message: message.to_owned() });
            }
            let mut actions = vec![self.metadata(&state, &new)?];
            // No file of the old table is left, and so nothing that only newer readers could read.
            if state.delta.protocol() != new.protocol() {
                actions.push(Action::Protocol(new.protocol().clone()));
            }
            actions.extend(state.files.iter().map(|file| {
                Action::Remove(Remove {
                    path: file.path.clone(),
                    data_change: true,
                    deletion_timestamp: Some(chrono::Utc::now().timestamp_millis()),
                    size: Some(file.meta.size as i64),
                    ..Remove::default()
                })
            }));
            actions.extend(added.iter().cloned());
            let operation = DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by: None, predicate: None };
            if let Some(version) = self.attempt(&id, &state, actions, Vec::new(), operation).await? {
                return Ok(Some(version));
            }
        }
        Err(TablesError::Conflict { table: self.layout.name.clone(), attempts: ATTEMPTS })
    }

    fn stands(&self, state: &State, topic: &str) -> Standing {
        let name = &self.layout.name;
        let sources = state.positions.sources(name, topic).into_iter();
        sources.map(|source| (source.clone(), state.positions.of_topic(name, &source, topic))).collect()
    }

    /// The new columns and properties; it stays the same table.
    fn metadata(&self, state: &State, new: &DeltaTableState) -> Result<Action, TablesError> {
        let json = |value: &_| serde_json::to_value(value).map_err(|error| delta(&self.layout.name, error.into()));
        let (old, mut metadata): (Value, Value) = (json(state.delta.metadata())?, json(new.metadata())?);
        for kept in ["id", "name", "createdTime"] {
            metadata[kept] = old[kept].clone();
        }
        let metadata = serde_json::from_value(metadata).map_err(|error| delta(&self.layout.name, error.into()))?;
        Ok(Action::Metadata(metadata))
    }
}

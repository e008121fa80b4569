//! A table that is made again beside the old one, and then takes its place in one commit: readers see the one or the other.
//!
//! The new table is a Delta table of its own in a folder of the old one's. Its files stay where they are when it takes over:
//! the commit names them in that folder, removes all others, and brings the columns of the contract. Positions do not
//! change by it: it is refused unless both tables stand at the same offsets.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use crate::delta::layout::Layout;
use crate::delta::{REBUILT, Table};
use crate::replay::replays;
use crate::{Change, Committed, Lake, TableContract, TableName, TablesError};

/// Where a table stands of one topic: the next offset by source and partition.
pub type Standing = BTreeMap<String, BTreeMap<i32, i64>>;

/// A curated table that is being made again. Rows come into it by [`Rebuild::commit`] until it stands where the old one does.
#[derive(Debug)]
pub struct Rebuild {
    contract: TableContract,
    old: Table,
    new: Table,
    folder: String,
    /// The replays that the old table had when it began: those after it brought rows that the new one has not.
    replayed: BTreeMap<String, i64>,
}

impl Lake {
    /// Begins to make a curated table again, under its contract as it is declared now. The old one is left as it is.
    ///
    /// # Errors
    ///
    /// No contract declares it as curated, it is not in storage yet, or a replay of dead letters into it is not finished.
    pub async fn rebuild(&self, table: &TableName) -> Result<Rebuild, TablesError> {
        let contract = self.lakehouse().table(table).ok_or_else(|| TablesError::UnknownTable(table.clone()))?.clone();
        let folder = format!("{REBUILT}{}", uuid::Uuid::new_v4());
        let old = self.beside(Layout::curated(&contract).left_alone(), None)?;
        if !old.exists().await? {
            let message = "it is not in storage yet: there is nothing to make again".to_owned();
            return Err(TablesError::Schema { table: table.clone(), message });
        }
        // What it has brought so far stands among the dead letters still, of which no row would be made.
        for source in &contract.from {
            if self.replay_underway(&source.topic).await?.is_some() {
                let topic = &source.topic;
                let message = format!("a replay of {topic} is not finished; `lakeward replay {topic}` finishes it");
                return Err(TablesError::Schema { table: table.clone(), message });
            }
        }
        let replayed = old.state().await?.positions.of_apps(&replays(table));
        let new = self.beside(Layout::curated(&contract), Some(&folder))?;
        Ok(Rebuild { contract, old, new, folder, replayed })
    }
}

impl Rebuild {
    /// Where the old table stands of a topic.
    pub async fn stands(&self, topic: &str) -> Result<Standing, TablesError> {
        standing(&self.old, topic).await
    }

    /// How far the new one has got.
    pub async fn made(&self, topic: &str) -> Result<Standing, TablesError> {
        standing(&self.new, topic).await
    }

    /// Brings rows into the new table.
    pub async fn commit(&self, change: Change) -> Result<Committed, TablesError> {
        self.new.commit(change).await
    }

    /// Puts the new table in the place of the old one; gives the version. None while they do not stand at the same offsets:
    /// the old one has gone on meanwhile.
    ///
    /// # Errors
    ///
    /// Dead letters were replayed into the old table meanwhile: it must be begun again.
    pub async fn swap(&self) -> Result<Option<u64>, TablesError> {
        let mut made = BTreeMap::new();
        for source in &self.contract.from {
            made.insert(source.topic.clone(), self.made(&source.topic).await?);
        }
        let version = self.old.replace(&self.new, &self.folder, &made, &self.replayed).await?;
        if version.is_some() {
            // Without its log the folder is one of data files, which are vacuumed when they are needed no more.
            self.remove(&format!("{}/_delta_log/", self.folder)).await?;
        }
        Ok(version)
    }

    /// Gives up: what was written is deleted.
    pub async fn abandon(self) -> Result<(), TablesError> {
        self.remove(&format!("{}/", self.folder)).await
    }

    async fn remove(&self, below: &str) -> Result<(), TablesError> {
        let failed =
            |source| TablesError::Storage { action: format!("tidying up beside {}", self.contract.name), source };
        let prefix = object_store::path::Path::from(below);
        let listed: Vec<_> = self.old.folder().list(Some(&prefix)).try_collect().await.map_err(failed)?;
        for entry in listed {
            self.old.folder().delete(&entry.location).await.map_err(failed)?;
        }
        Ok(())
    }
}

async fn standing(table: &Table, topic: &str) -> Result<Standing, TablesError> {
    let mut standing = Standing::new();
    for source in table.sources(topic).await? {
        let offsets = table.next_offsets(&source, topic).await?;
        standing.insert(source, offsets);
    }
    Ok(standing)
}

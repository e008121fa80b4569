//! The tables of one store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::JoinType;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::functions_aggregate::expr_fn::min;
use datafusion::logical_expr::{Expr, cast, ident, lit};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::future::try_join_all;
use object_store::ObjectStore;

use crate::delta::Table;
use crate::delta::layout::Layout;
use crate::storage::Store;
use crate::{Change, Committed, Gap, Lakehouse, Mode, Snapshot, StorageConfig, TableName, TablesError};

/// How many tables are opened at the same time.
const OPENING: usize = 8;

/// The tables that a lakehouse declares, in one store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lake {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    lakehouse: Arc<Lakehouse>,
    store: Store,
    store_url: ObjectStoreUrl,
    tables: BTreeMap<TableName, Table>,
}

impl Lake {
    /// Opens the store, which must be reachable and have put-if-absent. Tables are created when first used.
    pub async fn open(config: &StorageConfig, lakehouse: Arc<Lakehouse>) -> Result<Self, TablesError> {
        let store = Store::open(config)?;
        store.probe().await?;
        // Several lakes may meet in one RuntimeEnv.
        static LAKES: AtomicU64 = AtomicU64::new(0);
        let number = LAKES.fetch_add(1, Ordering::Relaxed);
        let store_url = ObjectStoreUrl::parse(format!("lakeward://lake-{number}"))
            .map_err(|e| TablesError::Configuration(e.to_string()))?;
        let mut tables = BTreeMap::new();
        let layouts = lakehouse.governed_tables().into_iter().map(|governed| match lakehouse.table(&governed.name) {
            Some(contract) => Layout::curated(contract),
            None => Layout::raw(&governed),
        });
        for layout in layouts {
            let name = layout.name.clone();
            let log = store.log_store(&name, None)?;
            tables.insert(name, Table::new(layout, log, store.tables().clone(), store_url.clone()));
        }
        Ok(Self { inner: Arc::new(Inner { lakehouse, store, store_url, tables }) })
    }

    /// What the tables are declared to be.
    pub fn lakehouse(&self) -> &Arc<Lakehouse> {
        &self.inner.lakehouse
    }

    /// Where the tables stand, without credentials.
    pub fn url(&self) -> String {
        self.inner.store.url().to_string()
    }

    /// The names of all tables, declared and therefore readable, whether in storage yet or not.
    pub fn names(&self) -> impl Iterator<Item = &TableName> {
        self.inner.tables.keys()
    }

    /// The contract's columns of a table, as appends and upserts must bring them.
    pub fn schema(&self, table: &TableName) -> Result<SchemaRef, TablesError> {
        Ok(self.table(table)?.schema())
    }

    /// How a table is written: by [`Change::Append`] (raw and dead-letter tables as well), [`Change::Upsert`] or
    /// [`Change::Correct`].
    pub fn mode(&self, table: &TableName) -> Result<Mode, TablesError> {
        self.table(table)?;
        Ok(self.inner.lakehouse.table(table).map_or(Mode::Append, |contract| contract.mode))
    }

    /// A version of the table that was the newest at most `max_age` ago. Callers share it; one of them looks it up.
    pub async fn snapshot(&self, table: &TableName, max_age: Duration) -> Result<Snapshot, TablesError> {
        self.table(table)?.snapshot(max_age).await
    }

    /// The newest version, looked up after this call began.
    pub async fn fresh_snapshot(&self, table: &TableName) -> Result<Snapshot, TablesError> {
        self.table(table)?.snapshot(Duration::ZERO).await
    }

    /// The next offset of each partition of a topic that the table has anything of, as of its newest version.
    pub async fn next_offsets(
        &self,
        table: &TableName,
        source: &str,
        topic: &str,
    ) -> Result<BTreeMap<i32, i64>, TablesError> {
        self.table(table)?.next_offsets(source, topic).await
    }

    /// The next offset of the first partition of each topic of a source, as of the table's newest version.
    pub(crate) async fn next_of_topics(
        &self,
        table: &TableName,
        source: &str,
    ) -> Result<BTreeMap<String, i64>, TablesError> {
        Ok(self.table(table)?.state().await?.positions.of_source(table, source))
    }

    /// The sources from which the table has anything of a topic, as of its newest version.
    pub async fn sources(&self, table: &TableName, topic: &str) -> Result<BTreeSet<String>, TablesError> {
        self.table(table)?.sources(topic).await
    }

    /// Binds the positions that a table has of a topic to the id that the brokers gave it, unless they are bound already;
    /// gives what they are bound to. Anything but this one id means that the topic is not the one that was read before.
    pub async fn bind_topic(
        &self,
        table: &TableName,
        source: &str,
        topic: &str,
        id: &str,
    ) -> Result<BTreeSet<String>, TablesError> {
        self.table(table)?.bind_topic(source, topic, id).await
    }

    /// Where events of a topic are missing for good, as of the table's newest version.
    pub async fn gaps(&self, table: &TableName, source: &str, topic: &str) -> Result<BTreeSet<Gap>, TablesError> {
        self.table(table)?.gaps(source, topic).await
    }

    /// Commits rows and positions together. After an error that [`TablesError::is_transient`] the commit may have
    /// landed: read [`Lake::next_offsets`] before trying again.
    pub async fn commit(&self, table: &TableName, change: Change) -> Result<Committed, TablesError> {
        self.table(table)?.commit(change).await
    }

    /// Rows as the bytes of the data file that a commit would write; nothing is written. For `benches/`, which ask how much of
    /// a commit's time that takes.
    #[doc(hidden)]
    pub fn encoded(&self, table: &TableName, rows: &[RecordBatch]) -> Result<bytes::Bytes, TablesError> {
        self.table(table)?.encoded(rows)
    }

    /// What the first use of the table would do to it in storage, in words; nothing is done. An error is a contract that
    /// the table cannot follow.
    pub async fn pending(&self, table: &TableName) -> Result<Vec<String>, TablesError> {
        self.table(table)?.pending().await
    }

    /// Live rows of the newest version.
    pub async fn row_count(&self, table: &TableName) -> Result<u64, TablesError> {
        Ok(self.fresh_snapshot(table).await?.rows)
    }

    /// The rows of a raw table from one partition with `from <= offset < to`, by rising offset, with the columns of
    /// [`crate::raw_schema`]: what another table catches up from. The range is sorted in memory: ask for a bounded one.
    pub async fn raw_rows(
        &self,
        table: &TableName,
        source: &str,
        topic: &str,
        partition: i32,
        from: i64,
        to: i64,
    ) -> Result<SendableRecordBatchStream, TablesError> {
        let snapshot = self.fresh_snapshot(table).await?;
        self.by_offset(table, snapshot.provider(), stand_in(source, topic, partition, from, to)).await
    }

    /// Rows of a raw table's files in the declared types, by rising offset.
    pub(crate) async fn by_offset(
        &self,
        table: &TableName,
        files: Arc<dyn TableProvider>,
        wanted: Expr,
    ) -> Result<SendableRecordBatchStream, TablesError> {
        let as_declared = self.as_declared(table)?;
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let query = async {
            session
                .read_table(files)?
                .filter(wanted)?
                .sort(vec![ident("offset").sort(true, false)])?
                .select(as_declared)?
                .execute_stream()
                .await
        };
        query.await.map_err(|source| TablesError::Query { table: table.clone(), source: Box::new(source) })
    }

    /// The first offset with `from <= offset < to` that a raw table has of one partition: a topic may begin, or go on, at
    /// an offset far from the last one.
    pub async fn first_raw_offset(
        &self,
        table: &TableName,
        source: &str,
        topic: &str,
        partition: i32,
        from: i64,
        to: i64,
    ) -> Result<Option<i64>, TablesError> {
        let snapshot = self.fresh_snapshot(table).await?;
        self.first_offset(table, snapshot.provider(), stand_in(source, topic, partition, from, to)).await
    }

    /// The first offset among the wanted rows of a raw table's files.
    pub(crate) async fn first_offset(
        &self,
        table: &TableName,
        files: Arc<dyn TableProvider>,
        wanted: Expr,
    ) -> Result<Option<i64>, TablesError> {
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let query = async {
            session
                .read_table(files)?
                .filter(wanted)?
                .aggregate(Vec::new(), vec![min(ident("offset"))])?
                .collect()
                .await
        };
        let found =
            query.await.map_err(|source| TablesError::Query { table: table.clone(), source: Box::new(source) })?;
        let first = |batch: &RecordBatch| batch.column(0).as_primitive_opt::<Int64Type>()?.iter().next()?;
        Ok(found.iter().find_map(first))
    }

    /// The offsets that a raw or dead-letter table has of a range of one partition.
    pub async fn offsets(
        &self,
        table: &TableName,
        source: &str,
        topic: &str,
        partition: i32,
        range: std::ops::Range<i64>,
    ) -> Result<BTreeSet<i64>, TablesError> {
        let snapshot = self.fresh_snapshot(table).await?;
        let query = async {
            SessionContext::new()
                .read_table(snapshot.provider())?
                .filter(stand_in(source, topic, partition, range.start, range.end))?
                .select(vec![ident("offset")])?
                .collect()
                .await
        };
        let found =
            query.await.map_err(|source| TablesError::Query { table: table.clone(), source: Box::new(source) })?;
        let offsets = found.iter().filter_map(|batch| batch.column(0).as_primitive_opt::<Int64Type>());
        Ok(offsets.flat_map(|offsets| offsets.values().iter().copied()).collect())
    }

    /// The messages of a raw or dead-letter table that have this key, the newest `limit` of them, by rising source,
    /// partition and offset, with the declared columns; and the version they were found in.
    pub async fn rows_with_key(
        &self,
        table: &TableName,
        key: &[u8],
        limit: usize,
    ) -> Result<(Vec<RecordBatch>, i64), TablesError> {
        let snapshot = self.fresh_snapshot(table).await?;
        let as_declared = self.as_declared(table)?;
        let (wanted, version) = (ident("key").eq(lit(key)), snapshot.version);
        let place =
            |ascending| ["source", "partition", "offset"].map(|name| ident(name).sort(ascending, true)).to_vec();
        let newest = ["timestamp", "offset"].map(|name| ident(name).sort(false, false)).to_vec();
        let query = async {
            SessionContext::new()
                .read_table(snapshot.provider())?
                .filter(wanted)?
                .sort(newest)?
                .limit(0, Some(limit))?
                .sort(place(true))?
                .select(as_declared)?
                .collect()
                .await
        };
        let found =
            query.await.map_err(|source| TablesError::Query { table: table.clone(), source: Box::new(source) })?;
        Ok((found, version))
    }

    /// How many rows of a curated table have one of the primary keys that stand in `rows`; `None` for a table without
    /// a primary key.
    pub async fn count_of_keys(&self, table: &TableName, rows: &[RecordBatch]) -> Result<Option<usize>, TablesError> {
        let key = self.inner.lakehouse.table(table).map(|contract| contract.primary_key.clone()).unwrap_or_default();
        if key.is_empty() {
            return Ok(None);
        }
        let columns: Vec<Expr> = key.iter().map(ident).collect();
        let provider = self.fresh_snapshot(table).await?.provider();
        let query = async {
            let session = SessionContext::new();
            let wanted = session.read_batches(rows.to_vec())?.select(columns.clone())?.distinct()?;
            let names: Vec<&str> = key.iter().map(String::as_str).collect();
            session.read_table(provider)?.join(wanted, JoinType::LeftSemi, &names, &names, None)?.count().await
        };
        if rows.is_empty() {
            return Ok(Some(0));
        }
        let counted =
            query.await.map_err(|source| TablesError::Query { table: table.clone(), source: Box::new(source) });
        counted.map(Some)
    }

    /// Makes the store known to a `RuntimeEnv`. Scans of [`Snapshot::provider`] do it by themselves; this is for plans
    /// that run in another `RuntimeEnv` than they were made in.
    pub fn register_stores(&self, runtime: &RuntimeEnv) {
        runtime.register_object_store(self.inner.store_url.as_ref(), self.inner.store.tables().clone());
    }

    /// Opens every table, and creates those that are absent.
    pub async fn create_all(&self) -> Result<(), TablesError> {
        let tables: Vec<&Table> = self.inner.tables.values().collect();
        for some in tables.chunks(OPENING) {
            try_join_all(some.iter().map(|table| table.snapshot(Duration::ZERO))).await?;
        }
        Ok(())
    }

    /// Another handle of a table, or one for a folder in it.
    pub(crate) fn beside(&self, layout: Layout, folder: Option<&str>) -> Result<Table, TablesError> {
        let Inner { store, store_url, .. } = &*self.inner;
        let log = store.log_store(&layout.name, folder)?;
        Ok(Table::new(layout, log, store.tables().clone(), store_url.clone()))
    }

    /// The store in whose folder the tables stand.
    pub(crate) fn beside_tables(&self) -> &Arc<dyn ObjectStore> {
        self.inner.store.tables()
    }

    /// Whether the storage answers now.
    pub async fn check_reachable(&self) -> Result<(), TablesError> {
        let listed = self.inner.store.tables().list_with_delimiter(None).await;
        let action = format!("listing {}", self.inner.store.url());
        listed.map(|_| ()).map_err(|source| TablesError::Storage { action, source })
    }

    /// The columns in the declared types, which writers take; snapshots are read in others.
    fn as_declared(&self, table: &TableName) -> Result<Vec<Expr>, TablesError> {
        let schema = self.schema(table)?;
        let fields = schema.fields().iter();
        Ok(fields.map(|field| cast(ident(field.name()), field.data_type().clone()).alias(field.name())).collect())
    }

    pub(crate) fn maintained(&self, name: &TableName) -> Result<&Table, TablesError> {
        self.table(name)
    }

    pub(crate) fn table(&self, name: &TableName) -> Result<&Table, TablesError> {
        self.inner.tables.get(name).ok_or_else(|| TablesError::UnknownTable(name.clone()))
    }
}

/// The rows of a raw table that come from a range of one partition.
pub(crate) fn stand_in(source: &str, topic: &str, partition: i32, from: i64, to: i64) -> Expr {
    ident("source")
        .eq(lit(source))
        .and(ident("topic").eq(lit(topic)))
        .and(ident("partition").eq(lit(partition)))
        .and(ident("offset").gt_eq(lit(from)))
        .and(ident("offset").lt(lit(to)))
}

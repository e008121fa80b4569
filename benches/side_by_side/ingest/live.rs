//! Freshness: how old messages are when a query can see their rows, while they come at a steady rate.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::logical_expr::ident;
use datafusion::prelude::SessionContext;
use lakeward_ingest::IngestMetrics;
use lakeward_query::QueryConfig;
use lakeward_tables::{Lake, TableName};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::produce::{self, Sent};
use super::run;
use super::worker::{House, SOURCE, storage};
use crate::arguments::Live;
use crate::clock;

/// How often ingest commits.
const COMMIT_INTERVAL: Duration = Duration::from_secs(2);

/// How often the query side is asked.
const POLLED: Duration = Duration::from_millis(20);

/// What was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Lived {
    /// Of payload, millions of bytes a second, as the producer reached it.
    pub(super) rate: f64,
    pub(super) messages: u64,
    /// Seconds from the producer's timestamp to visible in a query.
    pub(super) median: f64,
    pub(super) p99: f64,
    pub(super) most: f64,
    /// Versions of the curated table that the query side saw meanwhile.
    pub(super) versions: usize,
    pub(super) peak_memory_bytes: u64,
}

/// When the query side saw a version first, in microseconds since 1970.
struct Seen {
    version: i64,
    at: i64,
}

/// The next offset of each partition that a query lacks, from some time on.
type Visible = BTreeMap<i32, Vec<(i64, i64)>>;

/// Reads what the topic holds, then what a producer adds to it, and prints how old that was when it became visible.
pub(super) async fn once(task: &Live) -> anyhow::Result<()> {
    let reading = &task.reading;
    let house = House::open(reading).await?;
    let table = House::observations()?;
    let metrics = Arc::new(IngestMetrics::new(&prometheus::Registry::new())?);
    let handle = house.start(reading, COMMIT_INTERVAL, &metrics).await?;
    house.wait(reading.messages, Duration::from_millis(100), &metrics, &handle).await?;
    let before = house.lake.next_offsets(&house.contract.table, SOURCE, &reading.topic).await?;

    // Tables of its own: a process that only answers queries learns of a commit from storage.
    let asking = Lake::open(&storage(reading)?, Arc::clone(&house.lakehouse)).await?;
    let until = AtomicI64::new(i64::MAX);
    let working = async {
        let sent = send(task).await?;
        let all = reading.messages + sent.messages;
        house.wait(all, Duration::from_millis(100), &metrics, &handle).await?;
        until.store(house.lake.fresh_snapshot(&table).await?.version, Ordering::Relaxed);
        Ok(sent)
    };
    let (sent, seen) = tokio::try_join!(working, watch(&asking, &table, &until))?;
    let peak_memory_bytes = clock::peak_memory()?;
    handle.shutdown().await?;

    let log = reading.dir.join(&table.schema).join(&table.table).join("_delta_log");
    let visible = visible(&log, &table, &reading.topic, &seen)?;
    let ages = ages(&house, &before, &visible).await?;
    ensure!(ages.len() as u64 == sent.messages, "{} of {} messages became visible", ages.len(), sent.messages);
    let at = |share: f64| ages.get(((ages.len() as f64 * share).ceil() as usize).max(1) - 1).copied();
    let seconds = |age: Option<i64>| age.map_or(f64::NAN, |micros| micros as f64 / 1e6);
    let lived = Lived {
        rate: sent.bytes as f64 / 1e6 / sent.seconds,
        messages: sent.messages,
        median: seconds(at(0.5)),
        p99: seconds(at(0.99)),
        most: seconds(ages.last().copied()),
        versions: seen.len(),
        peak_memory_bytes,
    };
    println!("{}", serde_json::to_string(&lived)?);
    Ok(())
}

/// A producer in a process of its own.
async fn send(task: &Live) -> anyhow::Result<Sent> {
    let mut command = Command::new(std::env::current_exe().context("the bench does not find itself")?);
    command.args(produce::arguments(&task.reading, task.pace.rate, task.pace.seconds));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    run::told(command).await.context("the producer")
}

/// Asks for the snapshot that a query would read, again and again, until it is the last one.
async fn watch(lake: &Lake, table: &TableName, until: &AtomicI64) -> anyhow::Result<Vec<Seen>> {
    let freshness = QueryConfig::default().freshness;
    let mut seen: Vec<Seen> = Vec::new();
    loop {
        let version = lake.snapshot(table, freshness).await?.version;
        if seen.last().is_none_or(|last| last.version < version) {
            seen.push(Seen { version, at: chrono::Utc::now().timestamp_micros() });
        }
        if version >= until.load(Ordering::Relaxed) {
            return Ok(seen);
        }
        tokio::time::sleep(POLLED).await;
    }
}

#[derive(Deserialize)]
struct Action {
    txn: Option<Txn>,
}

#[derive(Deserialize)]
struct Txn {
    #[serde(rename = "appId")]
    app: String,
    version: i64,
}

/// Where the table stood at each version that was seen, from its log.
fn visible(log: &Path, table: &TableName, topic: &str, seen: &[Seen]) -> anyhow::Result<Visible> {
    let prefix = format!("lakeward/{table}/{SOURCE}/{topic}/");
    let (mut positions, mut visible) = (BTreeMap::<i32, i64>::new(), Visible::new());
    let mut next = 0;
    for seen in seen {
        for version in next..=seen.version {
            let file = log.join(format!("{version:020}.json"));
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            for line in text.lines() {
                let Some(txn) = serde_json::from_str::<Action>(line).context("a line of a Delta log")?.txn else {
                    continue;
                };
                if let Some(partition) = txn.app.strip_prefix(&prefix) {
                    positions.insert(partition.parse().context("the partition of a position")?, txn.version);
                }
            }
        }
        next = seen.version + 1;
        for (partition, position) in &positions {
            visible.entry(*partition).or_default().push((*position, seen.at));
        }
    }
    Ok(visible)
}

/// Of each message behind `before` how old it was when it became visible, in microseconds, the youngest first.
async fn ages(house: &House, before: &BTreeMap<i32, i64>, visible: &Visible) -> anyhow::Result<Vec<i64>> {
    let raw = house.lake.fresh_snapshot(&house.contract.table).await?;
    let columns = ["partition", "offset", "timestamp"].map(ident).to_vec();
    let rows = SessionContext::new().read_table(raw.provider())?.select(columns)?.collect().await?;
    let mut ages = Vec::new();
    for batch in &rows {
        let partitions = batch.column(0).as_primitive::<Int32Type>().values();
        let offsets = batch.column(1).as_primitive::<Int64Type>().values();
        let times = batch.column(2).as_primitive::<TimestampMicrosecondType>().values();
        for ((partition, offset), time) in partitions.iter().zip(offsets).zip(times) {
            if before.get(partition).is_some_and(|next| offset < next) {
                continue;
            }
            let stands = visible.get(partition).context("a partition that never became visible")?;
            let first = stands.partition_point(|(next, _)| next <= offset);
            let (_, at) = stands.get(first).context("a message that never became visible")?;
            ages.push(at - time);
        }
    }
    ages.sort_unstable();
    Ok(ages)
}

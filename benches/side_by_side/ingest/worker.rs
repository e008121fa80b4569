//! Lakeward's side, in a process of its own: the shipped `sql/`, a topic, a folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use lakeward_ingest::{Ingest, IngestConfig, IngestHandle, IngestMetrics, KafkaConfig, OnGap};
use lakeward_tables::{Lake, Lakehouse, StorageConfig, TableName};

use super::run::Run;
use crate::arguments::IngestOnce;
use crate::clock::{self, Mark};
use crate::{ROOT, report_problems};

const SOURCE: &str = "bench";

/// So long after an event at the latest its batch is handed over: the last batch does not wait for events that never come.
const COMMIT_INTERVAL: Duration = Duration::from_millis(250);

/// The default of `lakeward serve`.
const MEMORY_BUDGET: usize = 512 << 20;

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(120);

/// Reads the topic to its end and prints what that took.
pub(crate) async fn once(task: &IngestOnce) -> anyhow::Result<()> {
    let mut lakehouse = Lakehouse::load(&Path::new(ROOT).join("sql")).map_err(|found| report_problems(&found))?;
    let Some(contract) = lakehouse.topics.get(&task.topic).cloned() else { bail!("no contract for {}", task.topic) };
    // The other topics are not in the broker, and the Python job does not look for them either.
    lakehouse.topics.retain(|name, _| *name == task.topic);
    let lakehouse = Arc::new(lakehouse);
    let lake = Lake::open(&StorageConfig::local(&task.dir)?, Arc::clone(&lakehouse)).await?;
    lake.create_all().await?;
    let (raw, dead) = (contract.table, contract.dead_letter);
    let derived: Vec<TableName> = lakehouse
        .curated
        .values()
        .filter(|table| table.from.iter().any(|source| source.topic == task.topic))
        .map(|table| table.name.clone())
        .chain([raw.clone(), dead.clone()])
        .collect();

    let metrics = Arc::new(IngestMetrics::new(&prometheus::Registry::new())?);
    let config = IngestConfig {
        kafka: KafkaConfig {
            brokers: task.bootstrap.clone(),
            group: "lakeward-bench".to_owned(),
            source: SOURCE.to_owned(),
            properties: BTreeMap::from([("security.protocol".to_owned(), "plaintext".to_owned())]),
        },
        commit_interval: COMMIT_INTERVAL,
        commit_bytes: task.commit_bytes,
        memory_budget: MEMORY_BUDGET,
        on_gap: OnGap::Stop,
        registry: None,
    };
    let mark = Mark::now()?;
    let handle = Ingest::start(config, lake.clone(), Arc::clone(&lakehouse), Arc::clone(&metrics)).await?;
    read_to_the_end(task, &lake, &derived, &metrics, &handle).await?;
    let spent = mark.spent()?;
    let peak_memory_bytes = clock::peak_memory()?;
    handle.shutdown().await?;

    let curated: TableName = "curated.observations".parse().context("a table's name")?;
    let dead_letters = lake.row_count(&dead).await?;
    ensure!(dead_letters * 100 < task.messages, "{dead_letters} of {} events are dead letters", task.messages);
    let run = Run {
        messages: task.messages,
        megabytes: task.bytes as f64 / 1e6,
        seconds: spent.seconds,
        cpu_seconds: spent.cpu_seconds,
        raw_rows: lake.row_count(&raw).await?,
        curated_rows: lake.row_count(&curated).await?,
        raw_file_bytes: lake.fresh_snapshot(&raw).await?.bytes,
        curated_file_bytes: lake.fresh_snapshot(&curated).await?.bytes,
        peak_memory_bytes,
    };
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
}

/// Waits until every table that is made from the topic stands at its end.
async fn read_to_the_end(
    task: &IngestOnce,
    lake: &Lake,
    tables: &[TableName],
    metrics: &IngestMetrics,
    handle: &IngestHandle,
) -> anyhow::Result<()> {
    let (mut before, mut since) = (metrics.totals(), Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = metrics.totals();
        if now.messages >= task.messages && stand_at_the_end(task, lake, tables).await? {
            return Ok(());
        }
        if now != before {
            (before, since) = (now, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            bail!("nothing happens at {now:?} of {} messages: {:?}", task.messages, *handle.state().borrow());
        }
    }
}

/// The topic's offsets begin at 0 and have no gaps.
async fn stand_at_the_end(task: &IngestOnce, lake: &Lake, tables: &[TableName]) -> anyhow::Result<bool> {
    for table in tables {
        let positions = lake.next_offsets(table, SOURCE, &task.topic).await?;
        if positions.values().sum::<i64>() < i64::try_from(task.messages)? {
            return Ok(false);
        }
    }
    Ok(true)
}

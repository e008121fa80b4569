//! Lakeward's side, in a process of its own: the shipped `sql/`, a topic, a place for the tables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use lakeward_ingest::{Ingest, IngestConfig, IngestHandle, IngestMetrics, KafkaConfig, OnGap};
use lakeward_tables::{Lake, Lakehouse, Secret, StorageConfig, TableName, TopicContract};
use serde::Deserialize;

use super::run::Run;
use crate::arguments::Reading;
use crate::clock::{self, Mark};
use crate::{ROOT, report_problems};

pub(super) const SOURCE: &str = "bench";

/// So long after an event at the latest its batch is handed over: the last batch does not wait for events that never come.
const COMMIT_INTERVAL: Duration = Duration::from_millis(250);

/// The default of `lakeward serve`.
pub(super) const MEMORY_BUDGET: usize = 512 << 20;

/// A topic is never read in more.
const BATCHES: u64 = 100;

/// How long nothing may happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// The tables of one topic.
pub(super) struct House {
    pub(super) lakehouse: Arc<Lakehouse>,
    pub(super) contract: TopicContract,
    pub(super) lake: Lake,
    /// All tables that are made from the topic, raw among them.
    pub(super) tables: Vec<TableName>,
}

impl House {
    /// The lakehouse without the other topics: they are not in the broker, and the rivals do not look for them either.
    pub(super) async fn open(task: &Reading) -> anyhow::Result<Self> {
        let mut lakehouse = Lakehouse::load(&Path::new(ROOT).join("sql")).map_err(|found| report_problems(&found))?;
        let Some(contract) = lakehouse.topics.get(&task.topic).cloned() else {
            bail!("no contract for {}", task.topic)
        };
        lakehouse.topics.retain(|name, _| *name == task.topic);
        if let Some(of) = task.failing {
            let observations = lakehouse.curated.get_mut("observations").context("no table of observations")?;
            observations.from.iter_mut().try_for_each(|source| fail_for_one_of(of, &mut source.sql))?;
        }
        let lakehouse = Arc::new(lakehouse);
        let lake = Lake::open(&storage(task)?, Arc::clone(&lakehouse)).await?;
        lake.create_all().await?;
        let made_from_it =
            lakehouse.curated.values().filter(|table| table.from.iter().any(|of| of.topic == task.topic));
        let tables = made_from_it
            .map(|table| table.name.clone())
            .chain([contract.table.clone(), contract.dead_letter.clone()])
            .collect();
        Ok(Self { lakehouse, contract, lake, tables })
    }

    pub(super) fn observations() -> anyhow::Result<TableName> {
        "curated.observations".parse().context("a table's name")
    }

    pub(super) async fn start(
        &self,
        task: &Reading,
        commit_interval: Duration,
        metrics: &Arc<IngestMetrics>,
    ) -> anyhow::Result<IngestHandle> {
        let config = IngestConfig {
            kafka: kafka(task)?,
            commit_interval,
            commit_bytes: task.commit_bytes,
            memory_budget: MEMORY_BUDGET,
            on_gap: OnGap::Stop,
            registry: None,
        };
        Ok(Ingest::start(config, self.lake.clone(), Arc::clone(&self.lakehouse), Arc::clone(metrics)).await?)
    }

    /// Waits until every table that is made from the topic has so many messages: offsets begin at 0 and have no gaps.
    pub(super) async fn wait(
        &self,
        messages: u64,
        every: Duration,
        metrics: &IngestMetrics,
        handle: &IngestHandle,
    ) -> anyhow::Result<()> {
        let (mut before, mut since) = (metrics.totals(), Instant::now());
        while !self.stands_at(messages).await? {
            tokio::time::sleep(every).await;
            let now = metrics.totals();
            if now != before {
                (before, since) = (now, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                bail!("nothing happens at {now:?} of {messages} messages: {:?}", *handle.state().borrow());
            }
        }
        Ok(())
    }

    async fn stands_at(&self, messages: u64) -> anyhow::Result<bool> {
        for table in &self.tables {
            let positions = self.lake.next_offsets(table, SOURCE, &self.contract.topic).await?;
            if positions.values().sum::<i64>() < i64::try_from(messages)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What stands in the tables, with what that took.
    async fn told(&self, task: &Reading, spent: clock::Spent, peak_memory_bytes: u64) -> anyhow::Result<Run> {
        let observations = Self::observations()?;
        let dead_letters = self.lake.row_count(&self.contract.dead_letter).await?;
        // Each batch may have one less that a SELECT fails for.
        let broken = task.poisoned + task.failing.map_or(0, |of| (task.messages / of).saturating_sub(BATCHES));
        ensure!(
            (broken..=broken + task.messages / 100).contains(&dead_letters),
            "{dead_letters} of {} events are dead letters, and {broken} cannot be read",
            task.messages
        );
        Ok(Run {
            messages: task.messages,
            megabytes: task.bytes as f64 / 1e6,
            seconds: spent.seconds,
            cpu_seconds: spent.cpu_seconds,
            raw_rows: self.lake.row_count(&self.contract.table).await?,
            curated_rows: self.lake.row_count(&observations).await?,
            raw_file_bytes: self.lake.fresh_snapshot(&self.contract.table).await?.bytes,
            curated_file_bytes: self.lake.fresh_snapshot(&observations).await?.bytes,
            peak_memory_bytes,
            first_time: None,
        })
    }
}

/// Makes a SELECT of Observations fail for one of so many events of a batch: what is no number is to become one.
fn fail_for_one_of(of: u64, sql: &mut String) -> anyhow::Result<()> {
    const STATUS: &str = "payload['status'] AS status";
    ensure!(sql.contains(STATUS), "the SELECT has no {STATUS}");
    let fails = format!("_lw_row % {of} = {}", of / 2);
    let number = "CAST(CAST(payload['status'] AS BIGINT) AS VARCHAR)";
    let status = format!("CASE WHEN {fails} THEN {number} ELSE payload['status'] END AS status");
    *sql = sql.replace(STATUS, &status);
    Ok(())
}

/// Reads the topic to its end and prints what that took.
pub(super) async fn once(task: &Reading) -> anyhow::Result<()> {
    let house = House::open(task).await?;
    let metrics = Arc::new(IngestMetrics::new(&prometheus::Registry::new())?);
    let mark = Mark::now()?;
    let handle = house.start(task, COMMIT_INTERVAL, &metrics).await?;
    // Where the tables stand is looked up in storage: not before there is something to find.
    let (mut before, mut since) = (metrics.totals(), Instant::now());
    while metrics.totals().messages < task.messages && since.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if metrics.totals() != before {
            (before, since) = (metrics.totals(), Instant::now());
        }
    }
    house.wait(task.messages, Duration::from_millis(5), &metrics, &handle).await?;
    let (spent, peak) = (mark.spent()?, clock::peak_memory()?);
    handle.shutdown().await?;
    println!("{}", serde_json::to_string(&house.told(task, spent, peak).await?)?);
    Ok(())
}

/// Takes all tables of the topic away but raw, lets ingest bring them up from it, and prints what that took.
pub(super) async fn catch_up(task: &Reading) -> anyhow::Result<()> {
    let House { contract, tables, lake, .. } = House::open(task).await?;
    drop(lake);
    for table in tables.iter().filter(|table| **table != contract.table) {
        let folder = task.dir.join(&table.schema).join(&table.table);
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let house = House::open(task).await?;
    let metrics = Arc::new(IngestMetrics::new(&prometheus::Registry::new())?);
    let mark = Mark::now()?;
    let handle = house.start(task, COMMIT_INTERVAL, &metrics).await?;
    // To look is to read the log, and there is something to see from the first commit on.
    house.wait(task.messages, Duration::from_millis(20), &metrics, &handle).await?;
    let (spent, peak) = (mark.spent()?, clock::peak_memory()?);
    ensure!(metrics.totals().messages == 0, "messages came from Kafka while the tables were to catch up from raw");
    handle.shutdown().await?;
    println!("{}", serde_json::to_string(&house.told(task, spent, peak).await?)?);
    Ok(())
}

/// Where credentials of the secured servers stand.
#[derive(Debug, Deserialize)]
struct Secured {
    mechanism: String,
    username: String,
    password_file: PathBuf,
    ca: PathBuf,
    storage: Bucket,
}

#[derive(Debug, Deserialize)]
struct Bucket {
    endpoint: String,
    region: String,
    bucket: String,
    ca: PathBuf,
    access_key_id_file: PathBuf,
    secret_access_key_file: PathBuf,
}

fn secured(task: &Reading) -> anyhow::Result<Option<Secured>> {
    let parse = |text: &String| serde_json::from_str(text).context("--secured");
    task.secured.as_ref().map(parse).transpose()
}

fn read(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.trim_end().to_owned())
}

pub(super) fn storage(task: &Reading) -> anyhow::Result<StorageConfig> {
    let Some(Secured { storage: bucket, .. }) = secured(task)? else { return Ok(StorageConfig::local(&task.dir)?) };
    Ok(StorageConfig {
        url: format!("s3://{}/{}", bucket.bucket, task.dir.display()),
        endpoint: Some(bucket.endpoint),
        region: Some(bucket.region),
        access_key_id: Some(read(&bucket.access_key_id_file)?),
        secret_access_key: Some(Secret::new(read(&bucket.secret_access_key_file)?)),
        allow_http: false,
        ca_file: Some(bucket.ca),
    })
}

fn kafka(task: &Reading) -> anyhow::Result<KafkaConfig> {
    let mut properties = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(properties.insert(name.to_owned(), value));
    match secured(task)? {
        None => set("security.protocol", "plaintext".to_owned()),
        Some(secured) => {
            set("security.protocol", "sasl_ssl".to_owned());
            set("sasl.mechanism", secured.mechanism);
            set("sasl.username", secured.username);
            set("sasl.password", read(&secured.password_file)?);
            set("ssl.ca.location", secured.ca.display().to_string());
        }
    }
    let group = "lakeward-bench".to_owned();
    Ok(KafkaConfig { brokers: task.bootstrap.clone(), group, source: SOURCE.to_owned(), properties })
}

//! The physical limit of the work: decoding, the SELECTs, and both tables as Parquet, in one process and one thread, over
//! messages that stand in memory. No Kafka, no storage, no commits.

use std::sync::Arc;

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use futures::TryStreamExt;
use lakeward_ingest::bench::Alone;
use lakeward_tables::raw_schema;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::worker::{House, PATIENCE, SOURCE};
use crate::arguments::Reading;
use crate::clock::Mark;

/// What it took.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Limit {
    /// Of payload, millions of bytes.
    pub(super) megabytes: f64,
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    /// Of these: decoding and the SELECTs.
    pub(super) rows_cpu_seconds: f64,
    /// The raw table as Parquet.
    pub(super) raw_cpu_seconds: f64,
    /// The curated tables as Parquet.
    pub(super) curated_cpu_seconds: f64,
    /// Not of these: librdkafka handing out all messages of the topic, and nobody looking at them.
    pub(super) client_cpu_seconds: f64,
}

impl Limit {
    pub(super) fn per_cpu(&self) -> f64 {
        self.megabytes / self.cpu_seconds
    }
}

/// Reads the raw table of a run into memory, does the work on it, and prints what that took.
pub(super) async fn once(task: &Reading) -> anyhow::Result<()> {
    let client_cpu_seconds = client_alone(task)?;
    let house = House::open(task).await?;
    let batches = messages(&house, task).await?;
    let mut alone = Alone::new(Arc::clone(&house.lakehouse), house.contract.clone()).await?;
    // The first batch once more than is counted: a plan that has never run, and memory that was never used.
    if let Some(first) = batches.first() {
        process(&house, &mut alone, first, &mut Limit::default()).await?;
    }
    let mut limit = Limit { megabytes: task.bytes as f64 / 1e6, client_cpu_seconds, ..Limit::default() };
    let mark = Mark::now()?;
    for batch in &batches {
        process(&house, &mut alone, batch, &mut limit).await?;
    }
    let spent = mark.spent()?;
    (limit.seconds, limit.cpu_seconds) = (spent.seconds, spent.cpu_seconds);
    println!("{}", serde_json::to_string(&limit)?);
    Ok(())
}

/// Processor time of reading the topic with librdkafka and nothing else.
fn client_alone(task: &Reading) -> anyhow::Result<f64> {
    let mark = Mark::now()?;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &task.bootstrap)
        .set("group.id", "lakeward-bench-alone")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "100")
        .create()
        .context("a consumer")?;
    let metadata = consumer.fetch_metadata(Some(&task.topic), PATIENCE)?;
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        all.add_partition_offset(&task.topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    for _ in 0..task.messages {
        consumer.poll(PATIENCE).context("the topic does not come")??;
    }
    Ok(mark.spent()?.cpu_seconds)
}

/// What the raw table holds, in batches of the size of a commit.
async fn messages(house: &House, task: &Reading) -> anyhow::Result<Vec<RecordBatch>> {
    let table = &house.contract.table;
    let window = (task.messages as f64 * task.commit_bytes as f64 / task.bytes as f64).max(1.0) as i64;
    let mut batches = Vec::new();
    for (partition, next) in house.lake.next_offsets(table, SOURCE, &task.topic).await? {
        for from in (0..next).step_by(usize::try_from(window)?) {
            let to = next.min(from + window);
            let rows = house.lake.raw_rows(table, SOURCE, &task.topic, partition, from, to).await?;
            let rows: Vec<RecordBatch> = rows.try_collect().await?;
            batches.push(concat_batches(&raw_schema(), &rows).context("the rows of raw")?);
        }
    }
    Ok(batches)
}

async fn process(house: &House, alone: &mut Alone, batch: &RecordBatch, limit: &mut Limit) -> anyhow::Result<()> {
    let mark = Mark::now()?;
    let tables = alone.rows(batch).await?;
    limit.rows_cpu_seconds += mark.spent()?.cpu_seconds;
    for (name, rows) in tables {
        let mark = Mark::now()?;
        house.lake.encoded(&name, &rows)?;
        let spent = mark.spent()?.cpu_seconds;
        let of = if name == house.contract.table { &mut limit.raw_cpu_seconds } else { &mut limit.curated_cpu_seconds };
        *of += spent;
    }
    Ok(())
}

//! `lakeward trace`: where the messages of one key stand, what they made, or as what dead letter they ended.
//!
//! Everything is read from the tables, so no `serve` need run. Positions, counts and reasons are told, and no value.
#![allow(clippy::print_stdout, reason = "what was found belongs on standard output")]

use anyhow::{Context, bail};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use lakeward_ingest::Made;
use lakeward_tables::{Lake, TopicContract, raw_schema};

use crate::aligned::aligned;
use crate::cli::TraceArgs;
use crate::commands::status::{contracts, declared_topic};
use crate::{config, registry, storage};

/// How many messages of one key are looked at, the newest.
const NEWEST: usize = 50;

/// Prints what was found; an error when there is nothing.
pub(crate) async fn run(args: TraceArgs) -> anyhow::Result<()> {
    let (config, folder) = config::tables(&args.config)?;
    let lakehouse = contracts(&folder)?;
    let topic = declared_topic(&lakehouse, &folder, &args.topic)?;
    let lake = Lake::open(&storage::config(&config), lakehouse.clone()).await.context("the storage cannot be used")?;
    let (found, version) = lake.rows_with_key(&topic.table, args.key.as_bytes(), NEWEST).await?;
    let messages = concat_batches(&raw_schema(), &found)?;
    if messages.num_rows() == 0 {
        bail!(
            "no message with this key stands in {} (version {version}): it never came by {}, or it has not landed yet \
             (`lakeward status` tells the lag)",
            topic.table,
            topic.topic
        );
    }
    let (dead, _) = lake.rows_with_key(&topic.dead_letter, args.key.as_bytes(), NEWEST).await?;
    let places = places(&messages)?;
    println!("{}, version {version}: {}", topic.table, counted(messages.num_rows(), "message", "messages"));
    if messages.num_rows() == NEWEST {
        println!("(only the newest {NEWEST} are looked at)");
    }
    println!("{}", aligned(["source", "partition", "offset", "timestamp", "ingested at"], &rows(&places)));

    let dead = dead_letters(&dead)?;
    match dead.as_slice() {
        [] => println!("{}: none", topic.dead_letter),
        dead => {
            println!("{}: {}", topic.dead_letter, counted(dead.len(), "message", "messages"));
            println!("{}", aligned(["source", "partition", "offset", "reason"], dead).trim_end());
        }
    }
    let registry = config::registry(&args.config)?.as_ref().map(registry::client).transpose()?;
    for made in lakeward_ingest::trace(&lakehouse, topic, &messages, registry).await? {
        println!("{}", of_table(&lake, topic, &places, &made).await?);
    }
    Ok(())
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Where one message came from.
struct Place {
    source: String,
    partition: i32,
    offset: i64,
    timestamp: String,
    ingested_at: String,
}

fn places(messages: &RecordBatch) -> anyhow::Result<Vec<Place>> {
    let column = |name: &str| messages.column_by_name(name).with_context(|| format!("the raw table lacks {name}"));
    let sources = column("source")?.as_string::<i32>();
    let partitions = column("partition")?.as_primitive::<Int32Type>();
    let offsets = column("offset")?.as_primitive::<Int64Type>();
    let instant = |name: &str, row: usize| -> anyhow::Result<String> {
        let times = column(name)?.as_primitive::<TimestampMicrosecondType>();
        let time = times.is_valid(row).then(|| chrono::DateTime::from_timestamp_micros(times.value(row))).flatten();
        Ok(time.map_or_else(|| "–".to_owned(), |time| time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()))
    };
    (0..messages.num_rows())
        .map(|row| {
            Ok(Place {
                source: sources.value(row).to_owned(),
                partition: partitions.value(row),
                offset: offsets.value(row),
                timestamp: instant("timestamp", row)?,
                ingested_at: instant("ingested_at", row)?,
            })
        })
        .collect()
}

fn rows(places: &[Place]) -> Vec<[String; 5]> {
    let row = |place: &Place| {
        let (partition, offset) = (place.partition.to_string(), place.offset.to_string());
        [place.source.clone(), partition, offset, place.timestamp.clone(), place.ingested_at.clone()]
    };
    places.iter().map(row).collect()
}

/// Source, partition, offset and reason: a code, a path and a shape.
fn dead_letters(batches: &[RecordBatch]) -> anyhow::Result<Vec<[String; 4]>> {
    let mut dead = Vec::new();
    for batch in batches {
        let reasons = batch.column_by_name("reason").context("the dead letters lack their reason")?.as_string::<i32>();
        for (row, place) in places(batch)?.into_iter().enumerate() {
            let (partition, offset) = (place.partition.to_string(), place.offset.to_string());
            dead.push([place.source, partition, offset, reasons.value(row).to_owned()]);
        }
    }
    Ok(dead)
}

/// How far a curated table is with these messages, and what they make in it.
async fn of_table(lake: &Lake, topic: &TopicContract, places: &[Place], made: &Made) -> anyhow::Result<String> {
    let mut landed = 0;
    for place in places {
        let next = lake.next_offsets(&made.table, &place.source, &topic.topic).await?;
        landed += usize::from(next.get(&place.partition).is_some_and(|next| *next > place.offset));
    }
    let table = &made.table;
    if landed < places.len() {
        let behind = places.len() - landed;
        return Ok(format!("{table}: {} not there yet", counted(behind, "message is", "messages are")));
    }
    let rows: usize = made.rows.iter().sum();
    let makers = made.rows.iter().filter(|rows| **rows > 0).count();
    let made_of = format!("{} made of {}", counted(rows, "row", "rows"), counted(makers, "message", "messages"));
    Ok(match lake.count_of_keys(table, &made.batches).await? {
        Some(standing) if rows > 0 => {
            format!("{table}: {made_of}; with their keys {} there now", counted(standing, "row stands", "rows stand"))
        }
        _ => format!("{table}: {made_of}"),
    })
}

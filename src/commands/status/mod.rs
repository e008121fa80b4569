//! `lakeward status`: how far ingest is, as a running `serve` says it; where none answers, what the tables hold.
#![allow(clippy::print_stdout, reason = "the status belongs on standard output")]

mod exposition;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use lakeward_tables::{Lake, Lakehouse, TopicContract};

use crate::aligned::{aligned, bytes};
use crate::cli::StatusArgs;
use crate::{config, declared, storage};
use exposition::Exposition;

/// How long a process that runs may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints the status.
pub(crate) async fn run(args: StatusArgs) -> anyhow::Result<()> {
    let url = args.url.trim_end_matches('/');
    match get(&format!("{url}/metrics")).await {
        Ok(metrics) => {
            let ready = get(&format!("{url}/health/ready")).await.unwrap_or_else(|why| why.to_string());
            print!("{}", running(url, &ready, &Exposition::read(&metrics)));
            Ok(())
        }
        Err(why) => {
            let tables = stored(&args).await.with_context(|| format!("{url} does not answer ({why})"))?;
            print!("No `lakeward serve` answers at {url}: this is what the tables hold.\n\n{tables}");
            Ok(())
        }
    }
}

async fn get(url: &str) -> anyhow::Result<String> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let answer = client.get(url).send().await.map_err(|error| {
        anyhow::anyhow!(if error.is_timeout() { "no answer in time" } else { "nobody listens there" })
    })?;
    Ok(answer.text().await?)
}

/// What is the matter, from the answer of `/health/ready`.
fn readiness(answer: &str) -> String {
    let Ok(answer) = serde_json::from_str::<serde_json::Value>(answer) else {
        return "its health is unknown".to_owned();
    };
    let missing: Vec<String> = answer["parts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|part| part["ready"] != true)
        .map(|part| {
            let text = |key: &str| part[key].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", text("name"), text("reason"))
        })
        .collect();
    if missing.is_empty() { "ready".to_owned() } else { format!("NOT READY, {}", missing.join("; ")) }
}

fn running(url: &str, ready: &str, metrics: &Exposition) -> String {
    let count = |name: &str, label: &str, value: &str| {
        metrics.sum(name, label, value).map_or_else(|| "–".to_owned(), |found| format!("{found:.0}"))
    };
    let mut text = format!("{url}: {}\n", readiness(ready));
    let topics = metrics.labels("lakeward_ingest_messages_total", "topic");
    if topics.is_empty() {
        return text + "It does not ingest.\n";
    }
    let rows: Vec<[String; 6]> = topics
        .iter()
        .map(|topic| {
            let fresh = metrics.sum("lakeward_ingest_freshness_current_seconds", "topic", topic);
            let is_known = metrics.sum("lakeward_ingest_freshness_seconds_count", "topic", topic) > Some(0.0);
            let fresh = fresh.filter(|age| is_known || *age > 0.0);
            let size = metrics.sum("lakeward_ingest_bytes_total", "topic", topic);
            let dead = metrics.sum("lakeward_ingest_dead_letters_total", "topic", topic).unwrap_or(0.0);
            [
                (*topic).to_owned(),
                count("lakeward_ingest_lag", "topic", topic),
                fresh.map_or_else(|| "–".to_owned(), |age| format!("{age:.1} s")),
                count("lakeward_ingest_messages_total", "topic", topic),
                size.map_or_else(|| "–".to_owned(), bytes),
                format!("{dead:.0}"),
            ]
        })
        .collect();
    text += &format!("\n{}", aligned(["topic", "lag", "freshness", "messages", "bytes", "dead letters"], &rows));
    text += &reasons(metrics, &topics);
    let tables = metrics.labels("lakeward_ingest_commits_total", "table");
    let rows: Vec<[String; 4]> = tables
        .iter()
        .map(|table| {
            [
                (*table).to_owned(),
                count("lakeward_ingest_rows_total", "table", table),
                count("lakeward_ingest_commits_total", "table", table),
                count("lakeward_ingest_conflicts_total", "table", table),
            ]
        })
        .collect();
    text += &format!("\n{}", aligned(["table", "rows", "commits", "conflicts"], &rows));
    let value = |name: &str| metrics.value(name).unwrap_or(0.0);
    let paused = if value("lakeward_ingest_paused") > 0.0 { "partitions are PAUSED for memory" } else { "not paused" };
    text + &format!(
        "\nSince its start. Held: {} of {}, {paused}. Storage asked again: {:.0} times. Freshness should be at most {:.0} s.\n",
        bytes(value("lakeward_ingest_held_bytes")),
        bytes(value("lakeward_ingest_budget_bytes")),
        value("lakeward_ingest_storage_retries_total"),
        value("lakeward_ingest_freshness_objective_seconds"),
    )
}

/// Dead letters by the codes of their reasons, where there are any.
fn reasons(metrics: &Exposition, topics: &[&str]) -> String {
    let family = "lakeward_ingest_dead_letters_total";
    let of_topic = |topic: &&str| {
        let topic = (*topic).to_owned();
        let found = metrics.by("code", family, "topic", &topic).into_iter();
        found.map(move |(code, events)| [topic.clone(), code.to_owned(), format!("{events:.0}")]).collect::<Vec<_>>()
    };
    let rows: Vec<[String; 3]> = topics.iter().flat_map(of_topic).collect();
    match rows.is_empty() {
        true => String::new(),
        false => format!("\n{}", aligned(["topic", "reason", "dead letters"], &rows)),
    }
}

/// What stands in each table.
async fn stored(args: &StatusArgs) -> anyhow::Result<String> {
    let (config, folder) = config::tables(&args.config)?;
    let lakehouse = contracts(&folder)?;
    let lake = Lake::open(&storage::config(&config), lakehouse).await.context("the storage cannot be used")?;
    let mut rows = Vec::new();
    for name in lake.names() {
        let snapshot = lake.fresh_snapshot(name).await?;
        rows.push([
            name.to_string(),
            snapshot.rows.to_string(),
            snapshot.files.to_string(),
            bytes(snapshot.bytes as f64),
            snapshot.version.to_string(),
        ]);
    }
    Ok(aligned(["table", "rows", "files", "bytes", "version"], &rows))
}

/// A topic that is declared, or an error that names those that are.
pub(super) fn declared_topic<'a>(
    lakehouse: &'a Lakehouse,
    folder: &std::path::Path,
    name: &str,
) -> anyhow::Result<&'a TopicContract> {
    lakehouse.topics.get(name).with_context(|| {
        let known: Vec<&str> = lakehouse.topics.keys().map(String::as_str).collect();
        format!("{} declares no topic {name}: it knows {}", folder.display(), known.join(", "))
    })
}

/// The contracts of a folder, without the policies.
pub(super) fn contracts(folder: &std::path::Path) -> anyhow::Result<Arc<Lakehouse>> {
    match Lakehouse::load(folder) {
        Ok(lakehouse) => Ok(Arc::new(lakehouse)),
        Err(problems) => bail!(declared::not_in_order(folder, &problems)),
    }
}

//! `lakeward produce`: records from files to topics, in the format that the topic's contract names.

mod fhir;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use lakeward_ingest::producer::{Producer, Record};
use lakeward_ingest::{KafkaConfig, PayloadEncoder};

use crate::cli::ProduceArgs;
use crate::commands::status::contracts;
use crate::{config, kafka, registry};

/// Sends all files and says how much went to which topic.
pub(crate) async fn run(args: ProduceArgs) -> anyhow::Result<()> {
    let (kafka, folder) = config::rights(&args.config)?;
    let kafka = kafka::client(&kafka);
    let way = way(&args, &folder).await?;
    tokio::task::spawn_blocking(move || send_all(&args, &kafka, way)).await?
}

/// How the lines of a topic become records.
struct Way {
    /// The field that becomes the key.
    key: String,
    /// Nothing where no contract is at hand: then lines are sent as they stand.
    encoder: Option<PayloadEncoder>,
}

async fn way(args: &ProduceArgs, folder: &Path) -> anyhow::Result<Way> {
    let unknown = || Way { key: args.key.clone().unwrap_or_else(|| "id".to_owned()), encoder: None };
    let Some(topic) = args.topic.as_ref().filter(|_| folder.is_dir()) else { return Ok(unknown()) };
    let lakehouse = contracts(folder)?;
    let Some(contract) = lakehouse.topics.get(topic) else { return Ok(unknown()) };
    let registry = config::registry(&args.config)?.as_ref().map(registry::client).transpose()?;
    let encoder = Some(PayloadEncoder::new(contract, registry.as_deref()).await?);
    let key = args.key.clone().or_else(|| contract.key_field.clone());
    Ok(Way { key: key.unwrap_or_else(|| "id".to_owned()), encoder })
}

fn send_all(args: &ProduceArgs, kafka: &KafkaConfig, mut way: Way) -> anyhow::Result<()> {
    let producer = Producer::connect(kafka)?;
    let mut sent = BTreeMap::new();
    let mut passed_over: BTreeMap<String, usize> = BTreeMap::new();
    for (index, file) in args.files.iter().enumerate() {
        let name = file.display();
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K{} of {}: {name}", index + 1, args.files.len());
        }
        if args.fhir {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
            let (resources, others) = fhir::explode(&text).with_context(|| name.to_string())?;
            for resource in resources {
                let record =
                    Record { key: Some(resource.key.into_bytes()), payload: Some(resource.payload), headers: vec![] };
                producer.send(resource.topic, &record)?;
                *sent.entry(resource.topic.to_owned()).or_insert(0_usize) += 1;
            }
            for (kind, count) in others {
                *passed_over.entry(kind).or_default() += count;
            }
        } else if let Some(topic) = &args.topic {
            *sent.entry(topic.clone()).or_default() += send_lines(&producer, topic, &mut way, file)?;
        }
    }
    let produced = producer.flush()?;
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    for (topic, count) in &sent {
        eprintln!("{count:>9}  {topic}");
    }
    if !passed_over.is_empty() {
        let kinds: Vec<String> = passed_over.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        eprintln!("no topic takes these, they were not sent: {}", kinds.join(", "));
    }
    eprintln!("{} records, {:.1} MB, acknowledged", produced.messages, produced.bytes as f64 / 1e6);
    Ok(())
}

/// Sends each line that is not empty; the key is a field of the line.
fn send_lines(producer: &Producer, topic: &str, way: &mut Way, file: &Path) -> anyhow::Result<usize> {
    let name = file.display();
    let open = std::fs::File::open(file).with_context(|| format!("cannot read {name}"))?;
    let mut count = 0;
    for (index, line) in BufReader::new(open).lines().enumerate() {
        let line = line.with_context(|| format!("cannot read {name}"))?;
        if line.trim().is_empty() {
            continue;
        }
        let place = || format!("{name}:{}", index + 1);
        let value: serde_json::Value = serde_json::from_str(&line).with_context(place)?;
        let id = match value.get(&way.key) {
            Some(serde_json::Value::String(id)) => id.clone(),
            Some(serde_json::Value::Number(id)) => id.to_string(),
            _ => bail!("{}: no field `{}` for the record's key; name another by --key", place(), way.key),
        };
        let payload = match &mut way.encoder {
            None => line.into_bytes(),
            Some(encoder) => encoder.encode(line.as_bytes()).map_err(|why| anyhow!("{}: {why}", place()))?,
        };
        producer.send(topic, &Record { key: Some(id.into_bytes()), payload: Some(payload), headers: vec![] })?;
        count += 1;
    }
    Ok(count)
}

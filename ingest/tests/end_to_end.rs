//! Ingest from librdkafka's mock cluster into a folder: counts, poison, restart, catch-up, upserts and tombstones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use lakeward_ingest::producer::{Record, produce};
use lakeward_ingest::{Ingest, IngestConfig, IngestHandle, IngestMetrics, IngestState, KafkaConfig, OnGap};
use lakeward_tables::{Change, Lake, Lakehouse, Progress, StorageConfig, TableName, raw_schema};
use prometheus::Registry;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaRespErr;
use tempfile::TempDir;

const READING: &str = "apiVersion: v3.0.2
kind: DataContract
id: lab.reading
name: Readings
version: 1.0.0
status: active
domain: lab
description: {purpose: tests}
schema:
  - name: raw.lab_reading
    physicalName: raw.lab_reading
    logicalType: object
    properties:
      - {name: id, logicalType: string, description: id}
      - {name: value, logicalType: number, description: value}
      - {name: secret, logicalType: boolean, description: secret}
customProperties:
  - {property: topic, value: lab.reading}
  - {property: format, value: json}
  - {property: retention, value: 7d}
  - {property: owner, value: lab}
  - {property: key, value: required}
";

const READINGS: &str = "apiVersion: v3.0.2
kind: DataContract
id: curated.readings
name: Readings
version: 1.0.0
status: active
domain: lab
description: {purpose: tests}
schema:
  - name: curated.readings
    physicalName: curated.readings
    logicalType: object
    customProperties:
      - {property: from, value: lab.reading}
      - {property: mode, value: append}
    properties:
      - {name: reading_id, logicalType: string, description: id, required: true, primaryKey: true, primaryKeyPosition: 1, tags: [clinical]}
      - {name: value, logicalType: number, description: value, tags: [clinical]}
    quality:
      - {name: not_negative, type: sql, query: \"value IS NULL OR value >= 0\"}
";

const SECRETS: &str = "apiVersion: v3.0.2
kind: DataContract
id: curated.secret_readings
name: Secret readings
version: 1.0.0
status: active
domain: lab
description: {purpose: tests}
schema:
  - name: curated.secret_readings
    physicalName: curated.secret_readings
    logicalType: object
    customProperties:
      - {property: from, value: [lab.reading]}
      - {property: mode, value: upsert}
      - {property: tombstone, value: ignore}
      - {property: hidden, value: true}
    properties:
      - {name: reading_id, logicalType: string, description: id, required: true, primaryKey: true, primaryKeyPosition: 1, tags: [clinical]}
";

const PERSON: &str = "apiVersion: v3.0.2
kind: DataContract
id: lab.person
name: Persons
version: 1.0.0
status: active
domain: lab
description: {purpose: tests}
schema:
  - name: raw.lab_person
    physicalName: raw.lab_person
    logicalType: object
    properties:
      - {name: name, logicalType: string, description: name}
      - {name: version, logicalType: integer, description: version}
customProperties:
  - {property: topic, value: lab.person}
  - {property: format, value: json}
  - {property: retention, value: 7d}
  - {property: owner, value: lab}
  - {property: key, value: required}
";

const PERSONS: &str = "apiVersion: v3.0.2
kind: DataContract
id: curated.persons
name: Persons
version: 1.0.0
status: active
domain: lab
description: {purpose: tests}
schema:
  - name: curated.persons
    physicalName: curated.persons
    logicalType: object
    customProperties:
      - {property: from, value: lab.person}
      - {property: mode, value: upsert}
      - {property: version, value: \"coalesce(payload['version'], 1000)\"}
      - {property: tombstone, value: delete}
    properties:
      - {name: person_id, logicalType: string, description: id, required: true, primaryKey: true, primaryKeyPosition: 1, tags: [clinical]}
      - {name: name, logicalType: string, description: name, tags: [clinical]}
";

/// The events of a topic whose rows others correct; the same events, taken once each, are the table `moves`.
const RESULT: &str = "apiVersion: v3.0.2
kind: DataContract
id: lab.result
name: Results
version: 1.0.0
status: active
domain: lab
description: {purpose: tests}
schema:
  - name: raw.lab_result
    properties:
      - {name: id, logicalType: string}
      - {name: version, logicalType: integer}
      - {name: values, logicalType: array, items: {logicalType: integer}}
      - {name: status, logicalType: string}
customProperties:
  - {property: topic, value: lab.result}
  - {property: format, value: json}
  - {property: key, value: required}
";

const RESULTS: &str = "apiVersion: v3.0.2
kind: DataContract
id: curated.results
name: Results
version: 1.0.0
status: active
domain: lab
description: {purpose: tests}
schema:
  - name: curated.results
    customProperties:
      - {property: from, value: lab.result}
      - {property: mode, value: corrected}
      - {property: version, value: \"payload['version']\"}
      - {property: correction, value: \"payload['version'] > 1 OR payload['status'] = 'amended'\"}
      - {property: removed, value: \"payload['status'] = 'withdrawn'\"}
      - {property: replaces, value: [result_id]}
    properties:
      - {name: result_id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: value, logicalType: integer, required: true, primaryKey: true, primaryKeyPosition: 2}
";

const MOVES: &str = "apiVersion: v3.0.2
kind: DataContract
id: curated.moves
name: Moves
version: 1.0.0
status: active
domain: lab
description: {purpose: tests}
schema:
  - name: curated.moves
    customProperties:
      - {property: from, value: lab.result}
      - {property: mode, value: append}
      - {property: deduplicate, value: {key: [move_id, version], window: 1 hour}}
    properties:
      - {name: move_id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: version, logicalType: integer, required: true}
";

struct Bench {
    folder: TempDir,
    cluster: MockCluster<'static, DefaultProducerContext>,
    lakehouse: Arc<Lakehouse>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("contracts/raw/lab.reading.odcs.yaml", READING),
            ("contracts/raw/lab.person.odcs.yaml", PERSON),
            ("contracts/curated/readings.odcs.yaml", READINGS),
            ("contracts/curated/secret_readings.odcs.yaml", SECRETS),
            ("contracts/curated/persons.odcs.yaml", PERSONS),
            (
                "curated/readings.sql",
                "SELECT _lw_row, payload['id'] AS reading_id, payload['value'] AS value FROM event",
            ),
            (
                "curated/secret_readings.sql",
                "SELECT _lw_row, payload['id'] AS reading_id FROM event WHERE payload['secret']",
            ),
            ("contracts/raw/lab.result.odcs.yaml", RESULT),
            ("contracts/curated/results.odcs.yaml", RESULTS),
            ("contracts/curated/moves.odcs.yaml", MOVES),
            (
                "curated/results.sql",
                "SELECT _lw_row, payload['id'] AS result_id, unnest(payload['values']) AS value FROM event",
            ),
            ("curated/moves.sql", "SELECT _lw_row, payload['id'] AS move_id, payload['version'] AS version FROM event"),
            ("curated/persons.sql", "SELECT _lw_row, key AS person_id, payload['name'] AS name FROM event"),
        ];
        let sql = folder.path().join("sql");
        // A single topic in a list may be read from either file name.
        let named = [("curated/secret_readings.lab.reading.sql", files[6].1)];
        for (path, text) in files.into_iter().chain(named) {
            write(&sql.join(path), text);
        }
        let lakehouse = match Lakehouse::load(&sql) {
            Ok(lakehouse) => lakehouse,
            Err(_) => {
                std::fs::remove_file(sql.join("curated/secret_readings.lab.reading.sql")).unwrap();
                Lakehouse::load(&sql).unwrap_or_else(|problems| panic!("{problems:#?}"))
            }
        };
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("lab.reading", 2, 1).unwrap();
        cluster.create_topic("lab.person", 1, 1).unwrap();
        cluster.create_topic("lab.result", 1, 1).unwrap();
        Bench { folder, cluster, lakehouse: Arc::new(lakehouse) }
    }

    fn kafka(&self) -> KafkaConfig {
        KafkaConfig {
            brokers: self.cluster.bootstrap_servers(),
            group: "lakeward-test".to_owned(),
            source: "test".to_owned(),
            properties: BTreeMap::new(),
        }
    }

    async fn lake(&self) -> Lake {
        let tables = self.folder.path().join("tables");
        std::fs::create_dir_all(&tables).unwrap();
        let config = StorageConfig::local(&tables).unwrap();
        Lake::open(&config, Arc::clone(&self.lakehouse)).await.unwrap()
    }

    async fn start(&self) -> (IngestHandle, Arc<IngestMetrics>) {
        let metrics = Arc::new(IngestMetrics::new(&Registry::new()).unwrap());
        let config = IngestConfig {
            kafka: self.kafka(),
            commit_interval: Duration::from_millis(100),
            commit_bytes: 1 << 20,
            memory_budget: 64 << 20,
            on_gap: OnGap::Stop,
            registry: None,
        };
        let handle =
            Ingest::start(config, self.lake().await, Arc::clone(&self.lakehouse), Arc::clone(&metrics)).await.unwrap();
        (handle, metrics)
    }

    async fn send(&self, topic: &'static str, records: Vec<(Option<&str>, Option<Vec<u8>>)>) {
        let kafka = self.kafka();
        let records: Vec<Record> = records
            .into_iter()
            .map(|(key, payload)| Record {
                key: key.map(|k| k.as_bytes().to_vec()),
                payload,
                headers: vec![("h".into(), b"v".to_vec())],
            })
            .collect();
        let count = records.len() as u64;
        let produced = tokio::task::spawn_blocking(move || produce(&kafka, topic, records)).await.unwrap().unwrap();
        assert_eq!(produced.messages, count);
    }

    async fn rows(&self, sql: &str) -> Vec<RecordBatch> {
        let lake = self.lake().await;
        let context = SessionContext::new();
        for table in self.lakehouse.governed_tables() {
            if let Ok(snapshot) = lake.fresh_snapshot(&table.name).await {
                context.register_table(table.name.table.as_str(), snapshot.provider()).unwrap();
            }
        }
        context.sql(sql).await.unwrap().collect().await.unwrap()
    }

    async fn count(&self, sql: &str) -> i64 {
        self.rows(sql).await[0].column(0).as_primitive::<Int64Type>().value(0)
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        let batches = self.rows(sql).await;
        let column = |batch: &RecordBatch| {
            let texts = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
            texts.as_string::<i32>().iter().map(|text| text.unwrap_or("NULL").to_owned()).collect::<Vec<_>>()
        };
        batches.iter().flat_map(column).collect()
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Waits until the metrics say that so many messages stand in raw and what was made of them too.
async fn until(metrics: &IngestMetrics, what: &str, reached: impl Fn(&lakeward_ingest::Totals) -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(90);
    while !reached(&metrics.totals()) {
        assert!(tokio::time::Instant::now() < deadline, "{what}: {:?}", metrics.totals());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn reading(number: usize) -> Vec<u8> {
    format!(r#"{{"id":"r{number}","value":{number}.25,"secret":{}}}"#, number.is_multiple_of(10)).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_stands_once_in_raw_and_once_in_curated_or_dead_letters_over_restarts() {
    let bench = Bench::new();
    let keys: Vec<String> = (0..50).map(|n| format!("k{n}")).collect();
    let good = |from: usize, to: usize| -> Vec<(Option<&str>, Option<Vec<u8>>)> {
        (from..to).map(|n| (Some(keys[n % 50].as_str()), Some(reading(n)))).collect()
    };
    let mut first = good(0, 500);
    first.insert(100, (Some("k1"), Some(b"{\"id\":\"broken\"".to_vec())));
    first.insert(200, (Some("k1"), Some(b"{\"id\":\"x\",\"value\":\"seven\"}".to_vec())));
    first.insert(300, (Some("k1"), Some(b"{\"value\":1}".to_vec())));
    first.insert(301, (Some("k2"), Some(b"{\"id\":\"n\",\"value\":-1}".to_vec())));
    first.insert(302, (None, Some(reading(9999))));
    first.insert(303, (Some("k3"), None));
    bench.send("lab.reading", first).await;

    let (handle, metrics) = bench.start().await;
    until(&metrics, "the first batch", |t| t.messages == 506 && t.rows == 550 && t.dead_letters == 6).await;
    assert_eq!(*handle.state().borrow(), IngestState::Running);
    handle.shutdown().await.unwrap();

    bench.send("lab.reading", good(500, 800)).await;
    let (handle, metrics) = bench.start().await;
    until(&metrics, "after the restart", |t| t.messages == 300 && t.rows == 330).await;
    handle.shutdown().await.unwrap();
    assert_eq!(metrics.totals().messages, 300, "nothing is read twice");

    assert_eq!(bench.count("SELECT count(*) FROM lab_reading").await, 806);
    assert_eq!(bench.count("SELECT count(DISTINCT (partition, \"offset\")) FROM lab_reading").await, 806);
    assert_eq!(bench.count("SELECT count(*) FROM readings").await, 800);
    assert_eq!(bench.count("SELECT count(DISTINCT reading_id) FROM readings").await, 800);
    assert_eq!(bench.count("SELECT count(*) FROM secret_readings").await, 80);
    assert_eq!(
        bench.texts("SELECT reason FROM lab_reading__dead_letter ORDER BY reason").await,
        [
            "json.truncated: after 14 bytes",
            "json.type: $.value is a string, expected a number",
            "key.missing",
            "quality:not_negative",
            "required:reading_id",
            "tombstone",
        ]
    );
    let headers = "SELECT count(*) FROM lab_reading WHERE headers[1]['key'] = 'h'";
    assert_eq!(bench.count(headers).await, 806);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_version_of_a_key_is_its_row_and_a_tombstone_takes_it_away() {
    let bench = Bench::new();
    let person = |key, name: &str, version: i64| {
        (Some(key), Some(format!(r#"{{"name":"{name}","version":{version}}}"#).into_bytes()))
    };
    bench
        .send(
            "lab.person",
            vec![
                person("a", "a1", 1),
                person("a", "a3", 3),
                person("a", "a2", 2),
                person("b", "b1", 1),
                person("c", "c1", 1),
            ],
        )
        .await;
    let (handle, metrics) = bench.start().await;
    until(&metrics, "the first versions", |t| t.rows == 5).await;
    bench.send("lab.person", vec![(Some("b"), None), person("c", "c2", 2)]).await;
    until(&metrics, "the second versions", |t| t.rows == 7).await;
    handle.shutdown().await.unwrap();
    assert_eq!(bench.texts("SELECT person_id || '=' || name FROM persons ORDER BY 1").await, ["a=a3", "c=c2"]);
    assert_eq!(metrics.totals().dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correction_replaces_its_rows_a_withdrawal_removes_them_and_a_repetition_adds_none() {
    let bench = Bench::new();
    let result = |key, version: i64, values: &str, status: &str| {
        let payload = format!(r#"{{"id":"{key}","version":{version},"values":[{values}],"status":"{status}"}}"#);
        (Some(key), Some(payload.into_bytes()))
    };
    let first = vec![
        result("a", 1, "1,2,3", "final"),
        result("b", 1, "4", "final"),
        result("c", 1, "5,6", "final"),
        // The producer was not told that the first had arrived.
        result("a", 1, "1,2,3", "final"),
    ];
    bench.send("lab.result", first).await;
    let (handle, metrics) = bench.start().await;
    until(&metrics, "the first events", |t| t.messages == 4 && t.rows == 13).await;
    let second = vec![
        result("a", 2, "7,8", "final"),
        result("b", 1, "4", "withdrawn"),
        result("c", 1, "9", "amended"),
        result("d", 1, "10", "final"),
        // Late and older than what is there.
        result("a", 1, "1,2,3", "final"),
    ];
    bench.send("lab.result", second).await;
    until(&metrics, "the second events", |t| t.messages == 9).await;
    handle.shutdown().await.unwrap();
    let results = "SELECT concat(result_id, '=', value) FROM results ORDER BY result_id, value";
    assert_eq!(bench.texts(results).await, ["a=7", "a=8", "c=9", "d=10"]);
    let moves = "SELECT concat(move_id, version) FROM moves ORDER BY move_id, version";
    assert_eq!(bench.texts(moves).await, ["a1", "a2", "b1", "c1", "d1"]);
    assert_eq!(metrics.totals().dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_idle_makes_no_commits() {
    let bench = Bench::new();
    bench.send("lab.reading", vec![(Some("k"), Some(reading(1)))]).await;
    let (handle, metrics) = bench.start().await;
    until(&metrics, "the one event", |t| t.messages == 1 && t.rows == 1).await;
    let versions = async || {
        let lake = bench.lake().await;
        let mut versions = BTreeMap::new();
        for table in bench.lakehouse.governed_tables() {
            versions.insert(table.name.to_string(), lake.fresh_snapshot(&table.name).await.unwrap().version);
        }
        versions
    };
    // The dead letters and the hidden table follow within moments.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = versions().await;
    // Ten times as long as what is read waits for its commit.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(versions().await, before);
    handle.shutdown().await.unwrap();
    assert_eq!(versions().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_raw_alone_is_curated_at_the_next_start() {
    // Also when the source has another name by then, as after a move to another cluster.
    for source in ["test", "earlier"] {
        curated_at_the_next_start(source, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_begins_at_a_high_offset_is_caught_up_with_at_once() {
    curated_at_the_next_start("earlier", 1_000_000_000_000).await;
}

async fn curated_at_the_next_start(source: &str, first: i64) {
    let bench = Bench::new();
    // A process died after the commit of raw and before those of the curated tables.
    let lake = bench.lake().await;
    let payloads: Vec<Vec<u8>> = (0..30).map(reading).chain([b"no json".to_vec()]).collect();
    let schema = raw_schema();
    let columns = schema.fields().iter().map(|field| -> arrow::array::ArrayRef {
        use arrow::array::*;
        let rows = payloads.len();
        match field.name().as_str() {
            "source" => Arc::new(StringArray::from(vec![source; rows])),
            "topic" => Arc::new(StringArray::from(vec!["lab.reading"; rows])),
            "partition" => Arc::new(Int32Array::from(vec![1; rows])),
            "offset" => Arc::new(Int64Array::from_iter_values(first..first + rows as i64)),
            "key" => Arc::new(BinaryArray::from_iter_values(vec![b"k"; rows])),
            "payload" => Arc::new(BinaryArray::from_iter_values(&payloads)),
            _ => new_null_array(field.data_type(), rows),
        }
    });
    let rows = vec![RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()];
    let progress = vec![Progress {
        source: source.into(),
        topic: "lab.reading".into(),
        partition: 1,
        from: first,
        next: first + 31,
    }];
    lake.commit(&TableName::raw("lab_reading"), Change::Append { rows, progress }).await.unwrap();

    let (handle, metrics) = bench.start().await;
    until(&metrics, "the catch-up", |t| t.rows == 33 && t.dead_letters == 1).await;
    handle.shutdown().await.unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM readings").await, 30);
    assert_eq!(bench.count("SELECT count(*) FROM secret_readings").await, 3);
    assert_eq!(bench.count("SELECT count(*) FROM lab_reading").await, 31);
    assert_eq!(bench.texts("SELECT reason FROM lab_reading__dead_letter").await, ["json.syntax: at byte 1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_topic_is_said_in_words_and_ingest_goes_on_when_it_is_granted() {
    let bench = Bench::new();
    bench.cluster.topic_error("lab.person", RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    let (handle, _) = bench.start().await;
    let mut state = handle.state();
    let waiting =
        tokio::time::timeout(Duration::from_secs(60), state.wait_for(|s| matches!(s, IngestState::Waiting { .. })))
            .await;
    let IngestState::Waiting { part, why } = waiting.unwrap().unwrap().clone() else { unreachable!() };
    assert_eq!(part, "kafka");
    assert_eq!(why, "the anonymous user may not read lab.person: grant Read and Describe on topic lab.person");
    bench.cluster.topic_error("lab.person", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    let running = tokio::time::timeout(Duration::from_secs(60), state.wait_for(|s| *s == IngestState::Running)).await;
    running.unwrap().unwrap();
    handle.shutdown().await.unwrap();
}

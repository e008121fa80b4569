use std::path::Path;

use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::Int64Type;
use arrow::util::pretty::pretty_format_batches;
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::*;

const TOPIC: &str = "
id: lab.result
schema:
  - name: raw.lab_result
    properties:
      - {name: id, logicalType: string}
      - {name: text, logicalType: string}
      - {name: parts, logicalType: array, items: {logicalType: integer}}
      - {name: version, logicalType: integer}
customProperties:
  - {property: topic, value: lab.result}
  - {property: format, value: json}
  - {property: key, value: required}
";

const TABLE: &str = "
id: curated.NAME
schema:
  - name: curated.NAME
    customProperties:
      - {property: from, value: lab.result}
      - {property: mode, value: corrected}
      - {property: version, value: \"payload['version']\"}
      - {property: correction, value: \"payload['version'] > 1\"}
    properties:
      - {name: result_id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: number, logicalType: integer, required: true, primaryKey: true, primaryKeyPosition: 2}
    quality:
      - {name: small, type: sql, query: \"number < 100000\"}
";

/// Goes on: a filter, a union, an unnest, and a cast that fails for some texts.
const STREAMED: &str = "
SELECT _lw_row, payload['id'] AS result_id, CAST(payload['text'] AS BIGINT) AS number FROM event
WHERE payload['text'] IS NOT NULL
UNION ALL
SELECT _lw_row, payload['id'] AS result_id, unnest(payload['parts']) AS number FROM event";

/// Cannot go on: it knows what it gives only at the end.
const GROUPED: &str = "
SELECT _lw_row, max(payload['id']) AS result_id, CAST(max(payload['text']) AS BIGINT) AS number FROM event GROUP BY _lw_row";

/// Fails for texts that are no number, but one that it does not come to; and for version 0, where there is a row.
const GUARDED: &str = "
SELECT _lw_row, payload['id'] AS result_id,
  CAST(payload['text'] AS BIGINT) + CASE WHEN payload['version'] IS NULL THEN 0 ELSE 12 / payload['version'] END AS number
FROM event
WHERE payload['text'] <> 'skip' AND CAST(payload['text'] AS BIGINT) < 1000";

/// Goes on, and fails for the event of a number in a way that a plan does not spare the others: it must not be NULL.
const NOT_SPARED: &str = "SELECT _lw_row, payload['id'] AS result_id, 10 / (_lw_row - 2053) AS number FROM event";

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn engine(tables: &[(&str, &str)]) -> Engine {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let frame = "apiVersion: v3.0.2\nkind: DataContract\nname: Tests\nversion: 1.0.0\nstatus: active\ndomain: lab\n\
                 description: {purpose: tests}";
    write("contracts/raw/lab.result.odcs.yaml", &format!("{frame}{TOPIC}"));
    for (name, sql) in tables {
        let contract = format!("{frame}{}", TABLE.replace("NAME", name));
        write(&format!("contracts/curated/{name}.odcs.yaml"), &contract);
        write(&format!("curated/{name}.sql"), sql);
    }
    of(folder.path(), "lab.result")
}

fn of(sql: &Path, topic: &str) -> Engine {
    let lakehouse = Lakehouse::load(sql).unwrap_or_else(|problems| panic!("{problems:#?}"));
    runtime().block_on(Engine::new(&lakehouse, &lakehouse.topics[topic], Schemas::none())).unwrap()
}

/// A batch of the raw table; a message without payload is a tombstone.
fn raw(payloads: &[Option<String>]) -> RecordBatch {
    let (schema, rows) = (raw_schema(), payloads.len());
    let column = |name: &str, data_type: &DataType| -> ArrayRef {
        match name {
            "source" | "topic" => Arc::new(StringArray::from(vec!["test"; rows])),
            "partition" => Arc::new(Int32Array::from(vec![0; rows])),
            "offset" => Arc::new(Int64Array::from_iter_values(0..rows as i64)),
            "timestamp" | "ingested_at" => {
                Arc::new(TimestampMicrosecondArray::from(vec![1; rows]).with_timezone("UTC"))
            }
            "key" => Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n(b"k", rows))),
            "payload" => Arc::new(BinaryArray::from_iter(payloads.iter().map(Option::as_deref))),
            _ => new_null_array(data_type, rows),
        }
    };
    let columns = schema.fields().iter().map(|field| column(field.name(), field.data_type())).collect();
    RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
}

/// What came of a batch, in words; rows in no order.
fn told(outcome: &Outcome) -> Vec<String> {
    let mut told: Vec<String> = outcome.faults.iter().map(|(row, reason)| format!("{row} {reason}")).collect();
    told.extend(outcome.tombstones.iter().map(|row| format!("{row} tombstone")));
    for (number, table) in outcome.tables.iter().enumerate() {
        let text = pretty_format_batches(&table.batches).unwrap().to_string();
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('+')).collect();
        lines.sort_unstable();
        lines.dedup_by(|one, other| one.contains("result_id") && one == other);
        told.extend(lines.into_iter().map(|line| format!("table {number} {line}")));
        told.push(format!("{:?} {:?}", table.versions, table.kinds));
    }
    told
}

fn good(row: usize) -> String {
    format!(r#"{{"id":"r{row}","text":"{row}","parts":[{row},1],"version":{}}}"#, row % 3)
}

/// Now and then one that breaks a rule, is malformed or is a tombstone, or, where they are let in, one that a SELECT fails for.
fn payload(failing: bool) -> impl Strategy<Value = Option<String>> {
    let fails = r#"{"id":"a","text":"no number","version":1}"#;
    prop_oneof![
        400 => (0..1000_usize).prop_map(|row| Some(good(row))),
        1 => Just(failing.then(|| fails.to_owned())),
        1 => Just(Some(r#"{"id":"a","text":"100001"}"#.to_owned())),
        1 => Just(Some(r#"{"text":"1"}"#.to_owned())),
        1 => Just(Some(r#"{"id":"a","parts":[]}"#.to_owned())),
        1 => Just(Some("{".to_owned())),
        1 => Just(None),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn to_go_on_over_a_batch_gives_what_its_parts_give_by_themselves(
        payloads in any::<bool>().prop_flat_map(|failing| prop::collection::vec(payload(failing), 0..3 * CHUNK_ROWS))
    ) {
        let mut engine = engine(&[("results", STREAMED)]);
        let raw = raw(&payloads);
        let (gone_on, stopped, apart) = runtime().block_on(async {
            let gone_on = engine.process(&raw).await.unwrap();
            let stopped = std::mem::replace(&mut engine.part_by_part, 1) > 0;
            (gone_on, stopped, engine.process(&raw).await.unwrap())
        });
        prop_assert!(!stopped);
        prop_assert_eq!(told(&gone_on), told(&apart));
    }

    #[test]
    fn a_select_fails_for_those_events_alone_for_which_it_fails_by_themselves(
        events in prop::collection::vec((prop::sample::select(vec!["7", "8", "skip", "none"]), 0..3_i64), 0..600)
    ) {
        let payload = |(text, version): &(&str, i64)| {
            let version = if *version == 2 { "null".to_owned() } else { version.to_string() };
            Some(format!(r#"{{"id":"a","text":"{text}","version":{version}}}"#))
        };
        // What is said of an event here is written out once more, in Rust.
        let (mut rows, mut faults) = (Vec::new(), Vec::new());
        for (row, (text, version)) in events.iter().enumerate() {
            match (*text, *version) {
                ("skip", _) => {}
                ("none", _) | (_, 0) => faults.push(row),
                (text, version) => rows.push((row as i64, text.parse::<i64>().unwrap() + if version == 1 { 12 } else { 0 })),
            }
        }
        let raw = raw(&events.iter().map(payload).collect::<Vec<_>>());
        for apart in [0, 1] {
            let mut engine = engine(&[("results", GUARDED)]);
            engine.part_by_part = apart;
            let outcome = runtime().block_on(engine.process(&raw)).unwrap();
            let column = |at: usize| {
                let columns = outcome.tables[0].batches.iter().map(move |batch| batch.column(at).as_primitive::<Int64Type>());
                columns.flat_map(|column| column.values().to_vec())
            };
            prop_assert_eq!(column(0).zip(column(2)).collect::<Vec<_>>(), rows.clone());
            prop_assert_eq!(outcome.faults.keys().copied().collect::<Vec<_>>(), faults.clone());
            prop_assert!(outcome.faults.values().all(|reason| reason == "select:curated.results"));
            prop_assert_eq!(engine.part_by_part, 0);
        }
    }
}

#[test]
fn a_plan_goes_on_unless_it_knows_its_rows_only_at_the_end() {
    let (streamed, mut engine) = (engine(&[("results", STREAMED)]), engine(&[("grouped", GROUPED)]));
    runtime().block_on(async {
        assert!(streamed.curation.go_on().await.is_some());
        assert!(engine.curation.go_on().await.is_none());
        let payloads: Vec<_> = (0..2 * CHUNK_ROWS + 7).map(|row| Some(good(row))).collect();
        let outcome = engine.process(&raw(&payloads)).await.unwrap();
        let rows: usize = outcome.tables[0].batches.iter().map(RecordBatch::num_rows).sum();
        assert_eq!((rows, outcome.faults.len()), (payloads.len(), 0));
    });
}

#[test]
fn a_long_batch_goes_on_to_its_end() {
    // A task of the runtime has leave for 128 such steps before it is to give way.
    let payloads: Vec<_> = (0..100 * CHUNK_ROWS).map(|row| Some(format!(r#"{{"id":"r","text":"{row}"}}"#))).collect();
    let mut engine = engine(&[("results", &STREAMED.replace("payload['text'] AS BIGINT", "1 AS BIGINT"))]);
    let outcome = runtime().block_on(engine.process(&raw(&payloads))).unwrap();
    let rows: usize = outcome.tables[0].batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!((rows, outcome.faults.len(), engine.part_by_part), (payloads.len(), 0, 0));
}

#[test]
fn the_shipped_selects_go_on_but_where_one_gathers() {
    let lakehouse = Lakehouse::load(&shipped()).unwrap();
    let goes_on = |topic: &&String| runtime().block_on(of(&shipped(), topic).curation.go_on()).is_some();
    let (_, apart): (Vec<&String>, Vec<&String>) = lakehouse.topics.keys().partition(goes_on);
    let grouped = ["clinic.appointment", "clinic.location", "clinic.patient", "clinic.practitioner"];
    assert_eq!(apart, [grouped.as_slice(), &["erp.payment"]].concat());
}

/// No tree of a document is built for an event of the clinics as it should be.
#[test]
fn every_shipped_topic_of_json_has_the_quick_way() {
    let lakehouse = Lakehouse::load(&shipped()).unwrap();
    let json = lakehouse.topics.values().filter(|topic| topic.format == lakeward_tables::PayloadFormat::Json);
    let slow: Vec<&str> = json
        .filter(|topic| crate::record::Records::new(&reading_fields(&topic.payload)).is_none())
        .map(|topic| topic.topic.as_str())
        .collect();
    assert_eq!(slow, [""; 0]);
}

#[test]
fn and_and_or_say_of_each_event_what_sql_says() {
    let select = "
SELECT _lw_row, result_id, CASE (number > 1 OR text IS NOT NULL) WHEN TRUE THEN 1 WHEN FALSE THEN 2 ELSE 3 END
  + 10 * CASE (number > 1 AND text IS NOT NULL) WHEN TRUE THEN 1 WHEN FALSE THEN 2 ELSE 3 END AS number
FROM (SELECT _lw_row, payload['id'] AS result_id, payload['version'] AS number, payload['text'] AS text FROM event)";
    let cases = [("2", "\"x\"", 11), ("2", "null", 21), ("1", "\"x\"", 21), ("1", "null", 22), ("null", "\"x\"", 31)];
    let cases = [cases.as_slice(), &[("null", "null", 23)]].concat();
    let payload =
        |(version, text, _): &(&str, &str, i64)| Some(format!(r#"{{"id":"a","version":{version},"text":{text}}}"#));
    let mut engine = engine(&[("results", select)]);
    let outcome = runtime().block_on(engine.process(&raw(&cases.iter().map(payload).collect::<Vec<_>>()))).unwrap();
    let numbers = outcome.tables[0].batches[0].column(2).as_primitive::<Int64Type>().values();
    assert_eq!(numbers.to_vec(), cases.iter().map(|(.., number)| *number).collect::<Vec<_>>());
}

#[test]
fn a_select_may_read_the_key() {
    let select = "SELECT _lw_row, key AS result_id, payload['version'] AS number FROM event";
    let mut engine = engine(&[("results", select), ("streamed", STREAMED)]);
    let outcome = runtime().block_on(engine.process(&raw(&[Some(good(1)), Some(good(2))]))).unwrap();
    assert_eq!(outcome.faults, BTreeMap::new());
    let keys = cast(outcome.tables[0].batches[0].column(1), &DataType::Utf8).unwrap();
    assert_eq!(keys.as_string::<i32>(), &StringArray::from(vec!["k", "k"]));
}

#[test]
fn one_event_that_a_select_fails_for_is_a_dead_letter_and_all_others_have_their_rows() {
    let mut payloads: Vec<_> = (0..3 * CHUNK_ROWS).map(|row| Some(good(row))).collect();
    let bad = 2 * CHUNK_ROWS + 5;
    payloads[bad] = Some(r#"{"id":"a","text":"no number","parts":[1]}"#.to_owned());
    for (select, of_event, part_by_part) in [(STREAMED, 3, 0), (NOT_SPARED, 1, PART_BY_PART)] {
        let mut engine = engine(&[("results", select)]);
        let outcome = runtime().block_on(engine.process(&raw(&payloads))).unwrap();
        assert_eq!(outcome.faults, BTreeMap::from([(bad, "select:curated.results".to_owned())]));
        let rows: usize = outcome.tables[0].batches.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, of_event * (payloads.len() - 1));
        assert_eq!(engine.part_by_part, part_by_part);
    }
}

fn shipped() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql")
}

#[test]
fn a_time_that_is_written_and_cannot_be_is_a_dead_letter_and_one_that_is_not_there_is_null() {
    let told = |topic: &str, payloads: &[&str]| {
        let payloads: Vec<_> = payloads.iter().map(|payload| Some((*payload).replace('\'', "\""))).collect();
        let outcome = runtime().block_on(of(&shipped(), topic).process(&raw(&payloads))).unwrap();
        // The table that people see comes last.
        let rows = &outcome.tables.last().unwrap().batches;
        (outcome.faults, rows.clone())
    };
    let named =
        |path: &str, what: &str| format!("value.time: {path} is no {what}, expected one of the years 1 to 9999");
    let (instant, date) = ("FHIR instant, dateTime or date", "FHIR date");

    let head = "'resourceType':'Patient','id':'k','gender':'male'";
    let patient = |more: &str| format!("{{{head}{more}}}");
    let patients = [
        patient(",'birthDate':'1980-02-29'"),
        patient(",'birthDate':'1981-02-29'"),
        patient(",'birthDate':'1980'"),
        patient(",'birthDate':'1980-05','meta':{'lastUpdated':'2024'}"),
        patient(""),
        patient(",'birthDate':null,'meta':null"),
        patient(",'birthDate':''"),
        patient(",'deceasedDateTime':'30000-01-01T00:00:00Z'"),
        patient(",'meta':{'lastUpdated':'2024-05-01T10:00:00'}"),
    ];
    let (faults, rows) = told("clinic.patient", &patients.iter().map(String::as_str).collect::<Vec<_>>());
    let expected = BTreeMap::from([
        (1, named("$.birthDate", date)),
        (6, named("$.birthDate", date)),
        (7, named("$.deceasedDateTime", instant)),
        (8, named("$.meta.lastUpdated", instant)),
    ]);
    assert_eq!(faults, expected);
    let rows = arrow::compute::concat_batches(&rows[0].schema(), &rows).unwrap();
    let births = arrow::compute::cast(rows.column_by_name("birth_date").unwrap(), &DataType::Utf8).unwrap();
    let mut births: Vec<Option<&str>> = births.as_string::<i32>().iter().collect();
    births.sort_unstable();
    assert_eq!(births, [None, None, Some("1980-01-01"), Some("1980-02-29"), Some("1980-05-01")]);

    let document = "{'resourceType':'DocumentReference','id':'k','content':[{'attachment':{'creation':'2024-13-01'}}]}";
    let (faults, rows) = told("clinic.document", &[document]);
    assert_eq!(faults, BTreeMap::from([(0, named("$.content[0].attachment.creation", instant))]));
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
}

/// What a SELECT reads as a time and no contract calls one would be NULL where it cannot be read, and nobody would be told.
#[test]
fn whatever_the_shipped_selects_read_as_a_time_has_its_format_in_the_contract() {
    fn formats(fields: &arrow::datatypes::Fields, found: &mut Vec<(String, &'static str)>) {
        for field in fields {
            found.extend(lakeward_tables::TextFormat::of(field).map(|format| (field.name().clone(), format.name())));
            let mut inner = field.data_type();
            while let DataType::List(item) = inner {
                inner = item.data_type();
            }
            if let DataType::Struct(fields) = inner {
                formats(fields, found);
            }
        }
    }
    let lakehouse = Lakehouse::load(&shipped()).unwrap();
    let mut looked_at = 0;
    for table in lakehouse.curated.values() {
        for source in &table.from {
            let mut declared = Vec::new();
            formats(&lakehouse.topics[&source.topic].payload, &mut declared);
            let sql = format!("{} {}", source.sql, table.version.clone().unwrap_or_default());
            for name in ["fhir_date", "fhir_instant"] {
                for call in sql.split(&format!("{name}(")).skip(1) {
                    let path = call.split(')').next().unwrap();
                    let field = path.rsplit('\'').nth(1).unwrap_or_else(|| panic!("{path}"));
                    let read = (field.to_owned(), name);
                    assert!(declared.contains(&read), "{}: {name}({path}) has no such format", table.name);
                    looked_at += 1;
                }
            }
        }
    }
    assert!(looked_at > 20, "the SELECTs were not read");
}

#[test]
fn a_payload_of_ten_megabytes_is_a_dead_letter_and_its_neighbours_have_their_rows() {
    let of_size = |bytes: usize| {
        let frame = r#"{"id":"large","text":"7","more":""}"#;
        Some(format!(r#"{{"id":"large","text":"7","more":"{}"}}"#, "x".repeat(bytes - frame.len())))
    };
    let batch = raw(&[Some(good(0)), of_size(10 << 20), of_size(MOST_BYTES + 1), of_size(MOST_BYTES), Some(good(4))]);
    let outcome = runtime().block_on(engine(&[("results", STREAMED)]).process(&batch)).unwrap();
    let reasons: Vec<(usize, &str)> = outcome.faults.iter().map(|(row, reason)| (*row, reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (1, "payload.size: 10485760 bytes, expected at most 8388608"),
            (2, "payload.size: 8388609 bytes, expected at most 8388608")
        ]
    );
}

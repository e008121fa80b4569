//! Codings as they come, judged.

use arrow::array::{StringBuilder, new_null_array};
use arrow::datatypes::Schema;
use arrow::json::ReaderBuilder;
use datafusion::prelude::SessionContext;

use super::*;

fn table(columns: &[&str], rows: &[&[Option<&str>]]) -> RecordBatch {
    let fields: Vec<Field> = columns.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    let arrays = (0..columns.len()).map(|column| {
        let mut texts = StringBuilder::new();
        rows.iter().for_each(|row| texts.append_option(row[column]));
        Arc::new(texts.finish()) as ArrayRef
    });
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays.collect()).unwrap()
}

fn reference() -> BTreeMap<String, RecordBatch> {
    let systems = table(
        &["system", "canonical", "matching"],
        &[
            &[Some("icd"), Some("icd"), Some("category")],
            &[Some("icd-cm"), Some("icd"), Some("category")],
            &[Some("loinc"), Some("loinc"), Some("exact")],
        ],
    );
    let codes = table(
        &["system", "code"],
        &[&[Some("icd"), Some("F32")], &[Some("icd"), Some("Z30.1")], &[Some("loinc"), Some("123")]],
    );
    [("known_systems".to_owned(), systems), ("special_codes".to_owned(), codes)].into()
}

fn event_schema() -> Arc<Schema> {
    let coding = DataType::Struct(
        vec![Field::new("system", DataType::Utf8View, true), Field::new("code", DataType::Utf8View, true)].into(),
    );
    let list = |item: DataType| DataType::List(Arc::new(Field::new("element", item, true)));
    let concept = DataType::Struct(vec![Field::new("coding", list(coding.clone()), true)].into());
    let part = DataType::Struct(vec![Field::new("value", concept.clone(), true)].into());
    Arc::new(Schema::new(vec![
        Field::new("code", concept, true),
        Field::new("component", list(part), true),
        Field::new("class", coding, true),
    ]))
}

fn context() -> SessionContext {
    let context = SessionContext::new();
    for function in functions(&reference()) {
        context.register_udf(function.as_ref().clone());
    }
    context
}

async fn listed(events: RecordBatch) -> Vec<Option<bool>> {
    let context = context();
    context.register_batch("event", events).unwrap();
    let sql = "SELECT fhir_listed('special_codes', 'known_systems', code, component, class) FROM event";
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    batches.iter().flat_map(|batch| batch.column(0).as_boolean().iter().collect::<Vec<_>>()).collect()
}

fn events(lines: &[&str]) -> RecordBatch {
    let mut decoder = ReaderBuilder::new(event_schema()).build_decoder().unwrap();
    let text = lines.join("\n");
    assert_eq!(decoder.decode(text.as_bytes()).unwrap(), text.len());
    decoder.flush().unwrap().unwrap()
}

const CASES: [(&str, Option<bool>); 17] = [
    (r#"{"code":{"coding":[{"system":"icd","code":"F32"}]}}"#, Some(true)),
    (r#"{"code":{"coding":[{"system":"icd","code":"F32.1"}]}}"#, Some(true)),
    (r#"{"code":{"coding":[{"system":"icd-cm","code":"F32.10"}]}}"#, Some(true)),
    (r#"{"code":{"coding":[{"system":"icd","code":"Z30"}]}}"#, Some(false)),
    (r#"{"code":{"coding":[{"system":"icd","code":"Z30.1"}]}}"#, Some(true)),
    (r#"{"code":{"coding":[{"system":"loinc","code":"1234"}]}}"#, Some(false)),
    (r#"{"code":{"coding":[{"system":"loinc","code":"F32"}]}}"#, Some(false)),
    (r#"{"code":{"coding":[{"system":"other","code":"F32"}]}}"#, None),
    (r#"{"code":{"coding":[{"code":"F32"}]}}"#, None),
    (r#"{"code":{"coding":[{"system":"icd"}]}}"#, None),
    (r#"{"code":{"coding":[null]}}"#, None),
    (r#"{"code":{"coding":[{"system":"other","code":"1"},{"system":"loinc","code":"123"}]}}"#, Some(true)),
    (r#"{"code":{"coding":[]},"component":[]}"#, Some(false)),
    (r#"{}"#, Some(false)),
    (r#"{"component":[null,{"value":null},{"value":{"coding":[{"system":"loinc","code":"123"}]}}]}"#, Some(true)),
    (r#"{"code":{"coding":[{"system":"loinc","code":"1"}]},"component":[{"value":{"coding":[{"code":"1"}]}}]}"#, None),
    (r#"{"class":{"system":"loinc","code":"123"}}"#, Some(true)),
];

#[tokio::test]
async fn every_coding_at_any_depth_is_judged() {
    let lines = CASES.map(|(line, _)| line);
    assert_eq!(listed(events(&lines)).await, CASES.map(|(_, expected)| expected));
}

#[tokio::test]
async fn the_same_events_are_judged_once_and_not_kept() {
    let context = context();
    let ask = async |batch: &RecordBatch| {
        context.register_batch("event", batch.clone()).unwrap();
        let sql = "SELECT fhir_listed('special_codes', 'known_systems', code, component) AS told FROM event";
        let told = context.sql(sql).await.unwrap().collect().await.unwrap();
        context.deregister_table("event").unwrap();
        told[0].column(0).clone()
    };
    let one = events(&[CASES[0].0, CASES[3].0]);
    let told = ask(&one).await;
    assert!(Arc::ptr_eq(&told, &ask(&one).await), "asked again");
    let other = events(&[CASES[3].0, CASES[0].0]);
    assert_eq!(ask(&other).await.as_boolean().iter().collect::<Vec<_>>(), [Some(false), Some(true)]);
    let column = Arc::downgrade(other.column(0));
    drop(other);
    assert!(column.upgrade().is_none(), "the answer keeps the events");
}

#[tokio::test]
async fn rows_of_a_slice_are_judged_by_their_own_codings() {
    let all = events(&CASES.map(|(line, _)| line));
    for (from, rows) in [(0, 1), (3, 5), (9, 8)] {
        let expected: Vec<_> = CASES[from..from + rows].iter().map(|(_, expected)| *expected).collect();
        assert_eq!(listed(all.slice(from, rows)).await, expected, "{from} {rows}");
    }
}

#[tokio::test]
async fn nothing_behind_a_null_counts() {
    let codings = events(&[CASES[0].0]);
    let concept = codings.column(0).as_struct();
    let hidden = StructArray::new(concept.fields().clone(), concept.columns().to_vec(), Some(vec![false].into()));
    let columns: Vec<ArrayRef> = event_schema()
        .fields()
        .iter()
        .enumerate()
        .map(|(at, field)| if at == 0 { Arc::new(hidden.clone()) as _ } else { new_null_array(field.data_type(), 1) })
        .collect();
    assert_eq!(listed(RecordBatch::try_new(event_schema(), columns).unwrap()).await, [Some(false)]);
}

#[tokio::test]
async fn a_system_is_known_or_not_and_never_null() {
    let sql = "SELECT fhir_known_system('known_systems', s) FROM (VALUES ('icd-cm'), ('other'), (NULL)) AS t(s)";
    let batches = context().sql(sql).await.unwrap().collect().await.unwrap();
    let told: Vec<Option<bool>> =
        batches.iter().flat_map(|b| b.column(0).as_boolean().iter().collect::<Vec<_>>()).collect();
    assert_eq!(told, [Some(true), Some(false), Some(false)]);
}

#[tokio::test]
async fn reference_tables_that_are_not_there_are_refused_at_planning() {
    for sql in [
        "SELECT fhir_listed('nothing', 'known_systems', 1)",
        "SELECT fhir_listed('special_codes', 'special_codes', 1)",
        "SELECT fhir_listed('special_codes', 'known_systems')",
        "SELECT fhir_known_system('special_codes', 'icd')",
        "SELECT fhir_known_system('known_systems')",
    ] {
        assert!(context().sql(sql).await.is_err(), "{sql}");
    }
}

//! The tables of the house: what is declared, and who is in them.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use lakeward_tables::{Column, Expression, GovernedTable};

use super::SECRET;

const MY_PATIENTS: &str = "patient_id IN (SELECT patient_id FROM curated.appointments \
     WHERE practitioner_id = attr('staff_id') AND starts_at > now() - INTERVAL '90 days')";

fn table(name: &str, columns: &[(&str, DataType, &str)], scopes: &[(&str, &str)]) -> GovernedTable {
    GovernedTable {
        name: format!("curated.{name}").parse().unwrap(),
        description: format!("About {name}."),
        columns: columns
            .iter()
            .map(|(name, data_type, tag)| Column {
                name: (*name).into(),
                data_type: data_type.clone(),
                tags: vec![(*tag).into()],
                description: String::new(),
                required: false,
                prunable: false,
                read_as: None,
                id: None,
                line: 1,
            })
            .collect(),
        primary_key: vec![columns[0].0.into()],
        subject: columns.iter().any(|(name, ..)| *name == "patient_id").then(|| "patient_id".to_owned()),
        scopes: scopes
            .iter()
            .map(|(scope, sql)| ((*scope).into(), Expression { sql: (*sql).into(), line: 1 }))
            .collect(),
        hidden: false,
        file: "x.odcs.yaml".into(),
    }
}

pub(in crate::tests) fn declared() -> Vec<GovernedTable> {
    let others = MY_PATIENTS.replace(" IN ", " NOT IN ");
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut encounters = table(
        "encounters",
        &[
            ("encounter_id", DataType::Utf8, "key.event"),
            ("patient_id", DataType::Utf8, "key.subject"),
            ("sensitivity", DataType::Utf8, "sensitivity"),
            ("value", DataType::Int64, "clinical"),
        ],
        &[("ordinary", "sensitivity = 'ordinary'"), ("my_patients", MY_PATIENTS)],
    );
    let read_as = "CASE WHEN encounter_id IN (SELECT encounter_id FROM curated.special_encounters) THEN 'special' ELSE sensitivity END";
    encounters.columns[2].read_as = Some(Expression { sql: read_as.into(), line: 1 });
    let mut special = table("special_encounters", &[("encounter_id", DataType::Utf8, "key.event")], &[]);
    special.hidden = true;
    vec![
        table(
            "patients",
            &[
                ("patient_id", DataType::Utf8, "key.subject"),
                ("family_name", DataType::Utf8, "name"),
                ("birth_date", DataType::Date32, "identifier.quasi"),
                ("clinic_id", DataType::Utf8, "key.place"),
                ("number", DataType::Utf8, "clinical"),
            ],
            &[
                ("own", "patient_id = attr('patient_id')"),
                ("my_patients", MY_PATIENTS),
                ("others", &others),
                ("my_clinics", "array_has(attr('clinics'), clinic_id)"),
                ("secret", &format!("family_name = '{SECRET}'")),
            ],
        ),
        table(
            "appointments",
            &[
                ("patient_id", DataType::Utf8, "key.subject"),
                ("practitioner_id", DataType::Utf8, "key.staff"),
                ("starts_at", time, "time"),
            ],
            &[],
        ),
        encounters,
        special,
        table("clinics", &[("clinic_id", DataType::Utf8, "key.place"), ("name", DataType::Utf8, "public")], &[]),
    ]
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn strings(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn day(text: &str) -> Option<i32> {
    use chrono::Datelike;
    Some(text.parse::<chrono::NaiveDate>().unwrap().num_days_from_ce() - 719_163)
}

/// p1 and p2 in clinic c1; p3 in c2, with a secret for name and number; p4 without a name in c2.
pub(in crate::tests) fn patients(secret: &str) -> RecordBatch {
    batch(vec![
        ("patient_id", strings(&[Some("p1"), Some("p2"), Some("p3"), Some("p4")])),
        ("family_name", strings(&[Some("Ada"), Some("Bo"), Some(secret), None])),
        (
            "birth_date",
            Arc::new(Date32Array::from(vec![day("1951-02-03"), day("1993-05-06"), day("1901-07-08"), None])),
        ),
        ("clinic_id", strings(&[Some("c1"), Some("c1"), Some("c2"), Some("c2")])),
        ("number", strings(&[Some("12"), Some("34"), Some(secret), Some("56")])),
    ])
}

/// Of dr1: p1 ten days ago, p2 too long ago, and one without a patient. Of dr2: p3.
pub(super) fn appointments() -> RecordBatch {
    let micros = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_micros();
    let times = vec![
        micros("2026-05-22T08:00:00Z"),
        micros("2025-01-01T08:00:00Z"),
        micros("2026-05-22T09:00:00Z"),
        micros("2026-05-22T10:00:00Z"),
    ];
    batch(vec![
        ("patient_id", strings(&[Some("p1"), Some("p2"), None, Some("p3")])),
        ("practitioner_id", strings(&[Some("dr1"), Some("dr1"), Some("dr1"), Some("dr2")])),
        ("starts_at", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
    ])
}

/// e2 is written down as ordinary but is special; e5 has no patient.
pub(super) fn encounters() -> RecordBatch {
    batch(vec![
        ("encounter_id", strings(&[Some("e1"), Some("e2"), Some("e3"), Some("e4"), Some("e5")])),
        ("patient_id", strings(&[Some("p1"), Some("p1"), Some("p3"), Some("p3"), None])),
        ("sensitivity", strings(&[Some("ordinary"), Some("ordinary"), Some("special"), Some("ordinary"), None])),
        ("value", Arc::new(Int64Array::from(vec![1, 20, 300, 4000, 50000]))),
    ])
}

pub(super) fn special_encounters() -> RecordBatch {
    batch(vec![("encounter_id", strings(&[Some("e2"), Some("e3")]))])
}

pub(super) fn clinics() -> RecordBatch {
    batch(vec![("clinic_id", strings(&[Some("c1"), Some("c2")])), ("name", strings(&[Some("North"), Some("South")]))])
}

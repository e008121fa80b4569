//! No answer without its record, and whose rows left the barrier.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};

use super::house::{House, Person, audit_key};
use crate::witness::MOST;
use crate::{ErrorCode, Kind, QueryConfig, Record};

/// The persons of a table in the last record, by their ids; `None` for everybody in scope.
fn persons(record: &Record, table: &str, ids: &[&str]) -> Option<BTreeSet<String>> {
    let Some(seen) = record.subjects.iter().find(|seen| seen.table == table) else { return Some(BTreeSet::new()) };
    if seen.all_in_scope {
        return None;
    }
    let key = audit_key();
    let known: BTreeSet<String> =
        ids.iter().filter(|id| seen.digests.contains(&key.subject(id))).map(|id| (*id).to_owned()).collect();
    assert_eq!(known.len(), seen.digests.len(), "digests of others: {seen:?}");
    Some(known)
}

async fn seen(house: &House, person: Person, sql: &str, table: &str) -> Option<BTreeSet<String>> {
    house.rows(person, sql).await.unwrap();
    let record = house.finished().pop().unwrap();
    persons(&record, table, &["p1", "p2", "p3", "p4"])
}

fn ids(ids: &[&str]) -> Option<BTreeSet<String>> {
    Some(ids.iter().map(|id| (*id).to_owned()).collect())
}

#[tokio::test]
async fn a_statement_has_two_records_and_a_question_about_tables_one() {
    let house = House::open().await;
    house.rows(Person::Keeper, "SELECT number FROM patients").await.unwrap();
    house.service.plan(&house.context(Person::Keeper), "SELECT number FROM patients").await.unwrap();
    house.service.tables(&house.context(Person::Keeper)).await.unwrap();
    house.error(Person::Keeper, "SELECT nothing FROM patients").await;
    let kinds: Vec<Kind> = house.events.lock().iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [Kind::Started, Kind::Finished, Kind::Described, Kind::Listed, Kind::Finished]);
    let started = house.events.lock()[0].clone();
    assert_eq!(started.tables[0].name, "curated.patients");
    assert_eq!(house.events.lock()[4].outcome.as_deref(), Some("invalid_request"));
}

#[tokio::test]
async fn a_statement_is_recorded_before_its_first_row_leaves_and_its_end_before_that_is_told() {
    let house = House::open().await;
    let kinds = || house.events.lock().iter().map(|record| record.kind).collect::<Vec<_>>();
    let mut answer = house.answer(Person::Keeper, "SELECT number FROM patients").await.unwrap();
    assert_eq!(kinds(), [Kind::Started]);
    while let Some(batch) = futures::StreamExt::next(&mut answer.stream).await {
        batch.unwrap();
    }
    assert_eq!(kinds(), [Kind::Started, Kind::Finished]);
}

#[tokio::test]
async fn without_its_record_nothing_is_answered() {
    let house = House::open().await;
    house.broken.store(true, Ordering::Release);
    let context = house.context(Person::Keeper);
    let unkept = [
        // Not even its columns.
        house.answer(Person::Keeper, "SELECT number FROM patients").await.err(),
        house.answer(Person::Keeper, "SELECT nothing FROM patients").await.err(),
        house.service.plan(&context, "SELECT 1").await.err(),
        house.service.tables(&context).await.err(),
    ];
    for error in unkept {
        assert_eq!(error.map(|error| error.code), Some(ErrorCode::AuditUnavailable));
    }
}

#[tokio::test]
async fn an_answer_whose_end_is_not_recorded_does_not_end_well() {
    let house = House::open().await;
    let mut answer = house.answer(Person::Keeper, "SELECT number FROM patients").await.unwrap();
    house.broken.store(true, Ordering::Release);
    let mut last = None;
    while let Some(batch) = futures::StreamExt::next(&mut answer.stream).await {
        last = Some(batch);
    }
    assert_eq!(last.unwrap().unwrap_err().code, ErrorCode::AuditUnavailable);
}

#[tokio::test]
async fn whose_rows_left_an_opaque_barrier_is_told_whatever_was_asked_for() {
    let house = House::open().await;
    let patients = "curated.patients";
    // Those of the doctor, by a look-up.
    for sql in
        ["SELECT family_name FROM patients", "SELECT * FROM patients", "SELECT 1 FROM patients WHERE number <> ''"]
    {
        assert_eq!(seen(&house, Person::Doctor, sql, patients).await, ids(&["p1"]), "{sql}");
    }
    assert_eq!(seen(&house, Person::Patient, "SELECT birth_date FROM patients", patients).await, ids(&["p2"]));
    let masked = seen(&house, Person::Analyst, "SELECT birth_date FROM patients", patients).await;
    assert_eq!(masked, ids(&["p1", "p2", "p3", "p4"]));
    // A row without a person is about nobody.
    let encounters = seen(&house, Person::Analyst, "SELECT * FROM encounters", "curated.encounters").await;
    assert!(encounters.unwrap().is_subset(&ids(&["p1", "p3"]).unwrap()));
}

#[tokio::test]
async fn whose_rows_went_through_a_transparent_barrier_is_told_though_the_plan_is_the_same() {
    let house = House::open().await;
    let patients = "curated.patients";
    for (sql, expected) in [
        ("SELECT * FROM patients", &["p1", "p2", "p3", "p4"][..]),
        ("SELECT number FROM patients", &["p1", "p2", "p3", "p4"]),
        ("SELECT upper(number) FROM patients WHERE clinic_id = 'c1'", &["p1", "p2", "p3", "p4"]),
        ("SELECT number AS patient_id FROM patients", &["p1", "p2", "p3", "p4"]),
        ("SELECT clinic_id, count(*) FROM patients GROUP BY clinic_id", &["p1", "p2", "p3", "p4"]),
        ("SELECT number FROM patients LIMIT 1", &["p1"]),
        ("SELECT c.name FROM clinics c JOIN patients p USING (clinic_id)", &["p1", "p2", "p3", "p4"]),
        ("SELECT name FROM clinics", &[]),
        ("SELECT count(*) FROM patients", &[]),
    ] {
        assert_eq!(seen(&house, Person::Keeper, sql, patients).await, ids(expected), "{sql}");
        let plan = house.explain(Person::Keeper, sql).await;
        assert!(!plan.contains("_lw_subject"), "{plan}");
    }
}

#[tokio::test]
async fn rows_without_a_cell_are_of_everybody_in_scope() {
    let house = House::open().await;
    assert_eq!(seen(&house, Person::Doctor, "SELECT count(*) FROM patients", "curated.patients").await, None);
}

#[tokio::test]
async fn nothing_is_seen_of_a_plan_that_is_only_shown() {
    let house = House::open().await;
    house.explain(Person::Keeper, "SELECT number FROM patients").await;
    assert!(house.finished().pop().unwrap().subjects.is_empty());
}

fn many(count: usize) -> RecordBatch {
    let text = |prefix: &str| -> ArrayRef {
        Arc::new((0..count).map(|n| Some(format!("{prefix}{n}"))).collect::<StringArray>())
    };
    let patients = super::house::patients("x");
    let born = datafusion::arrow::array::new_null_array(patients.schema().field(2).data_type(), count);
    RecordBatch::try_from_iter_with_nullable([
        ("patient_id", text("p"), true),
        ("family_name", text("f"), true),
        ("birth_date", born, true),
        ("clinic_id", text("c"), true),
        ("number", text("n"), true),
    ])
    .unwrap()
}

#[tokio::test]
async fn beyond_ten_thousand_persons_it_is_everybody_in_scope() {
    for (count, told) in [(MOST, Some(MOST)), (MOST + 1, None)] {
        let house = House::with(QueryConfig::default(), &many(count)).await;
        for person in [Person::Keeper, Person::Analyst] {
            house.rows(person, "SELECT birth_date FROM patients").await.unwrap();
            let seen = house.finished().pop().unwrap().subjects;
            assert_eq!(Some(seen[0].digests.len()).filter(|_| !seen[0].all_in_scope), told, "{person:?} {count}");
        }
    }
}

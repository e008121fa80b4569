//! Who sees which rows and cells.

use datafusion::common::{ParamValues, ScalarValue};

use super::house::{House, Person, SECRET};
use crate::{ColumnLevel, ErrorCode};

const CELLS: &str = "SELECT patient_id, family_name, birth_date, clinic_id, number FROM patients";

#[tokio::test]
async fn a_doctor_sees_patients_with_an_appointment_and_no_others() {
    let house = House::open().await;
    assert_eq!(house.rows(Person::Doctor, CELLS).await.unwrap(), ["p1|Ada|1951-02-03|c1|12"]);
}

#[tokio::test]
async fn a_patient_sees_the_own_row() {
    let house = House::open().await;
    assert_eq!(house.rows(Person::Patient, CELLS).await.unwrap(), ["p2|Bo|1993-05-06|c1|34"]);
}

#[tokio::test]
async fn without_the_attribute_of_the_scope_the_table_does_not_exist() {
    let house = House::open().await;
    let missing = house.error(Person::PatientWithoutId, CELLS).await;
    assert_eq!(missing.code, ErrorCode::NotFound);
    assert_eq!(missing, house.error(Person::Nobody, CELLS).await);
}

#[tokio::test]
async fn an_analyst_sees_every_row_masked() {
    let house = House::open().await;
    let rows =
        house.rows(Person::Analyst, "SELECT family_name, birth_date, clinic_id, number FROM patients").await.unwrap();
    // p3 is 124 years old: in the band of those who are 90 today.
    assert_eq!(rows, ["-|-|c2|-", "-|1935-01-01|c2|-", "-|1950-01-01|c1|-", "-|1990-01-01|c1|-"]);
    let ids = house.rows(Person::Analyst, "SELECT patient_id FROM patients").await.unwrap();
    assert!(ids.iter().all(|id| id.len() == 32), "{ids:?}");
}

#[tokio::test]
async fn a_head_physician_sees_each_cell_at_the_highest_level_of_its_row() {
    let house = House::open().await;
    let rows = house.rows(Person::Head, CELLS).await.unwrap();
    assert_eq!(rows.len(), 2);
    let (own, other): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.starts_with("p1|"));
    assert_eq!(own, [&"p1|Ada|1951-02-03|c1|12".to_owned()]);
    let (pseudonym, rest) = other[0].split_once('|').unwrap();
    assert_eq!(pseudonym.len(), 32);
    assert_eq!(rest, "-|1990-01-01|c1|34");
    assert_eq!(house.levels(Person::Head, CELLS).await, ["varies", "varies", "varies", "clear", "clear"]);
}

#[tokio::test]
async fn not_in_holds_no_row_with_an_unknown_key_and_is_not_emptied_by_a_null_in_the_look_up() {
    let house = House::open().await;
    let rows = house.rows(Person::Stranger, "SELECT patient_id FROM patients").await.unwrap();
    assert_eq!(rows, ["p2", "p3", "p4"]);
}

#[tokio::test]
async fn a_forbidden_scope_takes_its_rows_and_those_of_which_it_is_unknown() {
    let house = House::open().await;
    // p3 is in the forbidden scope; p4 has no name, so nobody knows.
    assert_eq!(house.rows(Person::Guarded, "SELECT patient_id FROM patients").await.unwrap(), ["p1", "p2"]);
}

#[tokio::test]
async fn scopes_and_readers_see_what_a_column_reads_as() {
    let house = House::open().await;
    let all = "SELECT encounter_id, sensitivity, value FROM encounters";
    assert_eq!(
        house.rows(Person::Keeper, all).await.unwrap(),
        ["e1|ordinary|1", "e2|special|20", "e3|special|300", "e4|ordinary|4000", "e5|-|50000"]
    );
    assert_eq!(house.rows(Person::Analyst, all).await.unwrap(), ["e1|ordinary|1", "e4|ordinary|4000"]);
    let sum = house.rows(Person::Analyst, "SELECT sum(value) FROM encounters WHERE sensitivity = 'special'").await;
    assert_eq!(sum.unwrap(), ["-"]);
}

#[tokio::test]
async fn a_hidden_table_and_an_unknown_one_are_the_same_to_everyone() {
    let house = House::open().await;
    for person in [Person::Keeper, Person::Analyst, Person::Nobody] {
        let hidden = house.error(person, "SELECT * FROM special_encounters").await;
        let unknown = house.error(person, "SELECT * FROM no_such_thing").await;
        assert_eq!(hidden.message.replace("special_encounters", "no_such_thing"), unknown.message);
        assert_eq!(hidden.code, ErrorCode::NotFound);
    }
}

#[tokio::test]
async fn the_schema_is_the_same_for_everyone_but_for_the_levels() {
    let house = House::open().await;
    let mut schemas = Vec::new();
    for person in [Person::Keeper, Person::Analyst, Person::Doctor, Person::Head, Person::Patient] {
        let schema = house.answer(person, "SELECT * FROM patients").await.unwrap().schema;
        assert!(schema.fields().iter().all(|field| field.is_nullable()));
        schemas.push(
            schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect::<Vec<_>>(),
        );
    }
    schemas.dedup();
    assert_eq!(schemas.len(), 1);
    assert_eq!(
        house.levels(Person::Analyst, "SELECT * FROM patients").await,
        ["pseudonym", "hidden", "generalised", "clear", "hidden"]
    );
}

#[tokio::test]
async fn joins_aggregates_and_recursion_run_over_governed_rows() {
    let house = House::open().await;
    let joined = "SELECT c.name, count(*) FROM patients p JOIN clinics c USING (clinic_id) GROUP BY c.name";
    assert_eq!(house.rows(Person::Analyst, joined).await.unwrap(), ["North|2", "South|2"]);
    assert_eq!(house.rows(Person::Doctor, joined).await.unwrap(), ["North|1"]);
    // The barrier stands on both sides of the recursion, and its stateful joins run again in each round.
    let recursive = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL \
         SELECT r.n + 1 FROM r, (SELECT count(*) AS k FROM patients) WHERE k = 1 AND r.n < 3) SELECT n FROM r";
    assert_eq!(house.rows(Person::Doctor, recursive).await.unwrap(), ["1", "2", "3"]);
}

#[tokio::test]
async fn tables_tell_what_is_visible_and_how() {
    let house = House::open().await;
    let tables = house.service.tables(&house.context(Person::Analyst)).await.unwrap();
    assert_eq!(
        tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(),
        ["clinics", "encounters", "patients"]
    );
    let levels: Vec<ColumnLevel> = tables[2].columns.iter().map(|column| column.level).collect();
    use ColumnLevel::{Clear, Generalised, Hidden, Pseudonym};
    assert_eq!(levels, [Pseudonym, Hidden, Generalised, Clear, Hidden]);
}

#[tokio::test]
async fn information_schema_shows_visible_tables_only() {
    let house = House::open().await;
    let names = "SELECT table_schema || '.' || table_name FROM information_schema.tables";
    assert_eq!(house.rows(Person::Nobody, names).await.unwrap(), ["curated.clinics"]);
    assert_eq!(
        house.rows(Person::Analyst, names).await.unwrap(),
        ["curated.clinics", "curated.encounters", "curated.patients"]
    );
    let columns = "SELECT column_name, is_nullable FROM information_schema.columns WHERE table_name = 'clinics'";
    assert_eq!(house.rows(Person::Nobody, columns).await.unwrap(), ["clinic_id|YES", "name|YES"]);
    assert_eq!(house.rows(Person::Nobody, "SHOW TABLES").await.unwrap().len(), 1);
    assert_eq!(house.rows(Person::Nobody, "SHOW COLUMNS FROM clinics").await.unwrap().len(), 2);
    assert_eq!(house.rows(Person::Nobody, "DESCRIBE clinics").await.unwrap().len(), 2);
    assert_eq!(house.error(Person::Nobody, "DESCRIBE patients").await.code, ErrorCode::NotFound);
    assert_eq!(
        house.error(Person::Nobody, "SELECT * FROM information_schema.df_settings").await.code,
        ErrorCode::NotFound
    );
}

#[tokio::test]
async fn parameters_are_typed_values() {
    let house = House::open().await;
    let sql = "SELECT patient_id FROM patients WHERE family_name = $1";
    let prepared = house.service.plan(&house.context(Person::Keeper), sql).await.unwrap();
    assert_eq!(prepared.parameters.fields().len(), 1);
    assert_eq!(prepared.parameters.field(0).name(), "$1");
    assert_eq!(prepared.schema.field(0).name(), "patient_id");
    let with = |text: &str| ParamValues::from(vec![ScalarValue::from(text)]);
    assert_eq!(house.rows_with(Person::Keeper, sql, with("Ada")).await.unwrap(), ["p1"]);
    assert!(house.rows_with(Person::Keeper, sql, with("' OR 1 = 1 --")).await.unwrap().is_empty());
    assert!(house.rows_with(Person::Doctor, sql, with(SECRET)).await.unwrap().is_empty());
    assert_eq!(house.error(Person::Keeper, sql).await.code, ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn now_is_fixed_and_who_is_asking_can_be_asked() {
    let house = House::open().await;
    assert_eq!(house.rows(Person::Analyst, "SELECT now()").await.unwrap(), ["2026-06-01T00:00:00Z"]);
    let who = "SELECT current_principal(), current_purpose()";
    assert_eq!(house.rows(Person::Analyst, who).await.unwrap(), ["a|bi"]);
}

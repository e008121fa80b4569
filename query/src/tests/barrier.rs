//! What does not cross an opaque barrier. Each test holds one property, at every upgrade of the engine.

use super::house::{House, Person, SECRET, patients};
use crate::QueryConfig;

fn is_leaf(plan: &str) -> bool {
    plan.contains("SecurityBarrier: table=curated.patients, policy=") && !plan.contains("DataSourceExec")
}

#[tokio::test]
async fn a_predicate_is_not_evaluated_on_hidden_rows() {
    let house = House::open().await;
    // p3's number is no number.
    for sql in [
        "SELECT patient_id FROM patients WHERE CAST(number AS INT) > 0",
        "SELECT patient_id FROM patients WHERE 100 / (CASE WHEN number = 'Geheim77' THEN 0 ELSE 1 END) > 0",
        "SELECT patient_id FROM patients WHERE arrow_cast(number, 'Int8') > 0",
        "SELECT patient_id FROM patients WHERE number::INT > 0 AND clinic_id = 'c1'",
    ] {
        assert_eq!(house.rows(Person::Doctor, sql).await.unwrap(), ["p1"], "{sql}");
    }
}

#[tokio::test]
async fn a_predicate_is_not_evaluated_on_what_a_mask_covers() {
    let house = House::open().await;
    let sql = "SELECT count(*) FROM patients WHERE CAST(number AS INT) > 0";
    assert_eq!(house.rows(Person::Analyst, sql).await.unwrap(), ["0"]);
    let name = format!("SELECT count(*) FROM patients WHERE family_name = '{SECRET}'");
    assert_eq!(house.rows(Person::Analyst, &name).await.unwrap(), ["0"]);
    assert_eq!(
        house.rows(Person::Analyst, "SELECT count(*) FROM patients WHERE patient_id = 'p1'").await.unwrap(),
        ["0"]
    );
}

#[tokio::test]
async fn explain_shows_the_barrier_as_a_leaf() {
    let house = House::open().await;
    for person in [Person::Doctor, Person::Head, Person::Patient, Person::Analyst] {
        let plan = house.explain(person, "SELECT patient_id, number FROM patients").await;
        assert!(is_leaf(&plan), "{plan}");
        for hidden in ["appointments", "lakeward_mask", "parquet", "dr1", "p2", "look_up"] {
            assert!(!plan.contains(hidden), "{hidden} in {plan}");
        }
    }
}

#[tokio::test]
async fn only_literal_comparisons_of_clear_columns_get_below() {
    let house = House::open().await;
    let below = async |person, sql: &str| {
        house.scans.lock().clear();
        house.rows(person, sql).await.unwrap();
        let scans = house.scans.lock().clone();
        let filters: Vec<String> =
            scans.into_iter().filter(|scan| scan.table == "curated.patients").flat_map(|scan| scan.filters).collect();
        filters.join(" AND ")
    };
    // Clear in every permitted scope: may prune.
    assert!(below(Person::Head, "SELECT patient_id FROM patients WHERE clinic_id = 'c1x'").await.contains("c1x"));
    assert!(
        below(Person::Head, "SELECT patient_id FROM patients WHERE number IN ('77x', '78x')").await.contains("77x")
    );
    for (person, sql) in [
        (Person::Head, "SELECT clinic_id FROM patients WHERE patient_id = '77x'"),
        (Person::Head, "SELECT clinic_id FROM patients WHERE family_name = '77x'"),
        (Person::Head, "SELECT clinic_id FROM patients WHERE upper(clinic_id) = '77x'"),
        (Person::Head, "SELECT clinic_id FROM patients WHERE clinic_id || 'a' = '77x'"),
        (Person::Head, "SELECT clinic_id FROM patients WHERE clinic_id LIKE '%77x%'"),
        (Person::Head, "SELECT clinic_id FROM patients WHERE CASE WHEN clinic_id = '77x' THEN 1 / 0 ELSE 1 END = 1"),
        (Person::Analyst, "SELECT patient_id FROM patients WHERE birth_date = DATE '1977-07-07'"),
        (Person::Analyst, "SELECT patient_id FROM patients WHERE number = '77x'"),
    ] {
        let filters = below(person, sql).await;
        assert!(!filters.contains("77"), "{sql}: {filters}");
    }
}

#[tokio::test]
async fn a_column_that_reads_as_something_else_prunes_nothing() {
    let house = House::open().await;
    house.rows(Person::Keeper, "SELECT value FROM encounters WHERE sensitivity = 'special'").await.unwrap();
    let scans = house.scans.lock().clone();
    let below: Vec<_> = scans.iter().filter(|scan| scan.table == "curated.encounters").collect();
    assert!(!below.is_empty() && below.iter().all(|scan| scan.filters.is_empty()), "{below:?}");
    assert_eq!(
        house.rows(Person::Keeper, "SELECT value FROM encounters WHERE sensitivity = 'special'").await.unwrap(),
        ["20", "300"]
    );
}

#[tokio::test]
async fn a_limit_does_not_cross() {
    let house = House::open().await;
    let rows = house.rows(Person::Doctor, "SELECT patient_id FROM patients LIMIT 1").await.unwrap();
    assert_eq!(rows, ["p1"]);
    assert!(house.scans.lock().iter().all(|scan| scan.limit.is_none()));
}

#[tokio::test]
async fn statistics_do_not_cross() {
    let house = House::open().await;
    for (person, sql, expected) in [
        (Person::Doctor, "SELECT count(*) FROM patients", "1"),
        (Person::Doctor, "SELECT min(number), max(number) FROM patients", "12|12"),
        (Person::Analyst, "SELECT min(number), max(family_name), count(number) FROM patients", "-|-|0"),
        (Person::Analyst, "SELECT min(birth_date) FROM patients", "1935-01-01"),
    ] {
        assert_eq!(house.rows(person, sql).await.unwrap(), [expected], "{sql}");
        let plan = house.explain(person, sql).await;
        assert!(is_leaf(&plan), "{plan}");
    }
}

#[tokio::test]
async fn no_dynamic_filter_crosses() {
    let house = House::open().await;
    let plan = house.explain(Person::Doctor, "SELECT patient_id FROM patients ORDER BY number LIMIT 1").await;
    assert!(is_leaf(&plan), "{plan}");
    let joined = "SELECT a.patient_id FROM patients a JOIN patients b ON a.number = b.number";
    assert_eq!(house.rows(Person::Doctor, joined).await.unwrap(), ["p1"]);
}

#[tokio::test]
async fn two_lakes_that_differ_in_what_is_hidden_look_the_same() {
    let one = House::with(QueryConfig::default(), &patients(SECRET)).await;
    let longer = "A different secret, of another length, which also sorts elsewhere";
    let other = House::with(QueryConfig::default(), &patients(longer)).await;
    for person in [Person::Doctor, Person::Head, Person::Patient, Person::Analyst] {
        for sql in [
            "SELECT * FROM patients",
            "SELECT count(*), min(number), max(family_name) FROM patients",
            "SELECT patient_id FROM patients WHERE CAST(number AS INT) > 20",
            "SELECT clinic_id FROM patients ORDER BY number LIMIT 2",
            "SELECT 1 / 0 FROM patients",
        ] {
            assert_eq!(one.rows(person, sql).await, other.rows(person, sql).await, "{person:?}: {sql}");
            assert_eq!(one.explain(person, sql).await, other.explain(person, sql).await, "{person:?}: {sql}");
        }
    }
}

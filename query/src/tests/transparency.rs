//! What crosses a barrier when the table is shown whole: everything.

use super::house::{House, Person};

#[tokio::test]
async fn filters_reach_the_scan() {
    let house = House::open().await;
    let sql = "SELECT patient_id FROM patients WHERE upper(number) = '34'";
    assert_eq!(house.rows(Person::Keeper, sql).await.unwrap(), ["p2"]);
    let scans = house.scans.lock().clone();
    assert!(scans[0].filters.iter().any(|filter| filter.contains("upper")), "{scans:?}");
}

#[tokio::test]
async fn a_limit_reaches_the_scan() {
    let house = House::open().await;
    assert_eq!(house.rows(Person::Keeper, "SELECT patient_id FROM patients LIMIT 2").await.unwrap().len(), 2);
    assert_eq!(house.scans.lock()[0].limit, Some(2));
}

#[tokio::test]
async fn the_scan_is_visible_below_the_barrier() {
    let house = House::open().await;
    let plan = house.explain(Person::Keeper, "SELECT patient_id FROM patients").await;
    let barrier = plan.find("SecurityBarrier").unwrap();
    assert!(plan[barrier..].contains("DataSourceExec"), "{plan}");
}

#[tokio::test]
async fn statistics_answer_a_count() {
    let house = House::open().await;
    let plan = house.explain(Person::Keeper, "SELECT count(*) FROM patients").await;
    assert!(!plan.contains("SecurityBarrier") && plan.contains("PlaceholderRowExec"), "{plan}");
    assert_eq!(house.rows(Person::Keeper, "SELECT count(*) FROM patients").await.unwrap(), ["4"]);
}

#[tokio::test]
async fn dynamic_filters_reach_the_scan() {
    let house = House::open().await;
    let plan = house.explain(Person::Keeper, "SELECT * FROM patients ORDER BY number LIMIT 1").await;
    assert!(plan.contains("DynamicFilter"), "{plan}");
}

#[tokio::test]
async fn clear_columns_of_a_masked_table_are_read_as_they_are() {
    let house = House::open().await;
    let rows = house.rows(Person::Analyst, "SELECT clinic_id FROM patients WHERE upper(clinic_id) = 'C2'").await;
    assert_eq!(rows.unwrap(), ["c2", "c2"]);
    let scans = house.scans.lock().clone();
    assert!(scans[0].filters.iter().any(|filter| filter.contains("upper")), "{scans:?}");
    // Files are not shown: their sizes tell of the columns that are masked.
    let plan = house.explain(Person::Analyst, "SELECT clinic_id FROM patients").await;
    assert!(plan.contains("SecurityBarrier") && !plan.contains("DataSourceExec"), "{plan}");
}

#[tokio::test]
async fn an_empty_projection_counts_rows() {
    let house = House::open().await;
    assert_eq!(house.rows(Person::Keeper, "SELECT count(*) FROM patients, clinics").await.unwrap(), ["8"]);
    assert_eq!(house.rows(Person::Doctor, "SELECT count(*) FROM patients, clinics").await.unwrap(), ["2"]);
}

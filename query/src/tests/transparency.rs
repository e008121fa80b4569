//! What crosses a barrier when the table is shown whole: everything.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Date32Array, RecordBatch, StringArray};

use super::house::{House, Person};
use crate::QueryConfig;

/// A plan without its barriers.
fn without_barriers(plan: &str) -> String {
    let mut lines = Vec::new();
    let mut barriers: Vec<usize> = Vec::new();
    for line in plan.lines() {
        let depth = line.len() - line.trim_start().len();
        barriers.retain(|above| *above < depth);
        if line.trim_start().starts_with("SecurityBarrier") {
            barriers.push(depth);
        } else {
            lines.push(line[2 * barriers.len()..].to_owned());
        }
    }
    lines.join("\n")
}

/// A plan in which a merge of the one partition of another merge, which only passes it on, is left out.
fn merged_once(plan: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut left_out: Option<usize> = None;
    for line in plan.lines() {
        let depth = line.len() - line.trim_start().len();
        left_out = left_out.filter(|above| *above < depth);
        let same = lines.last().is_some_and(|above| above.trim_start() == line.trim_start());
        if same && line.trim_start().starts_with("SortPreservingMergeExec") {
            left_out = Some(depth);
        } else {
            lines.push(line[if left_out.is_some() { 2 } else { 0 }..].to_owned());
        }
    }
    lines.join("\n")
}

/// Patients whose file is large enough to be read in pieces.
fn many_patients() -> RecordBatch {
    let count = 150_000_u64;
    let mixed = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let text = |salt: u64| -> ArrayRef {
        let texts = (0..count).map(|n| Some(format!("{:016x}{:016x}", mixed(n + salt), mixed(mixed(n) + salt))));
        Arc::new(texts.collect::<StringArray>())
    };
    let clinics: StringArray = (0..count).map(|n| Some(format!("c{}", mixed(n) % 7))).collect();
    let born: Date32Array = (0..count).map(|n| Some((mixed(n) % 20_000) as i32)).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("patient_id", text(1), true),
        ("family_name", text(2), true),
        ("birth_date", Arc::new(born) as ArrayRef, true),
        ("clinic_id", Arc::new(clinics) as ArrayRef, true),
        ("number", text(3), true),
    ])
    .unwrap()
}

#[tokio::test]
async fn but_for_the_barrier_the_plan_is_that_of_the_engine_alone() {
    for patients in [super::house::patients("x"), many_patients()] {
        let house = House::with(QueryConfig::default(), &patients).await;
        for sql in [
            "SELECT * FROM patients",
            "SELECT patient_id, upper(number) FROM patients WHERE clinic_id = 'c1'",
            "SELECT number FROM patients WHERE birth_date >= DATE '1990-01-01' AND clinic_id IN ('c1', 'c2')",
            "SELECT count(*) FROM patients WHERE number LIKE '%a%'",
            "SELECT clinic_id, count(*), max(birth_date) FROM patients GROUP BY clinic_id",
            "SELECT DISTINCT clinic_id FROM patients",
            "SELECT * FROM patients LIMIT 3",
            "SELECT patient_id FROM patients ORDER BY number LIMIT 3",
            "SELECT patient_id FROM patients ORDER BY number",
            "SELECT p.number, c.name FROM patients p JOIN clinics c USING (clinic_id) WHERE c.name = 'North'",
            "SELECT number FROM patients WHERE clinic_id IN (SELECT clinic_id FROM clinics WHERE name = 'North')",
            "SELECT a.number FROM patients a JOIN patients b ON a.patient_id = b.number",
            "SELECT number, row_number() OVER (PARTITION BY clinic_id ORDER BY birth_date) FROM patients",
            "SELECT number FROM patients UNION ALL SELECT name FROM clinics",
        ] {
            let governed = house.explain(Person::Keeper, sql).await;
            assert!(governed.contains("SecurityBarrier"), "{governed}");
            assert_eq!(merged_once(&without_barriers(&governed)), house.bare_plan(sql).await, "{sql}");
        }
    }
}

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

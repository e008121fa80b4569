//! Ways round the barrier that someone might try. Each test is an attempt.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};

use super::house::{House, Person, SECRET, patients};
use crate::{ErrorCode, QueryConfig, RefusedKind};

#[tokio::test]
async fn no_function_tells_where_files_are() {
    let house = House::open().await;
    for sql in [
        "SELECT input_file_name()",
        "SELECT clinic_id, INPUT_FILE_NAME() FROM patients",
        "SELECT 1 FROM patients WHERE \"input_file_name\"() LIKE '%a%'",
    ] {
        for person in [Person::Keeper, Person::Analyst] {
            assert_eq!(house.error(person, sql).await.code, ErrorCode::Refused(RefusedKind::Function), "{sql}");
        }
    }
}

#[tokio::test]
async fn explain_shows_no_value_that_statistics_know() {
    let house = House::open().await;
    for sql in [
        "SELECT max(number) FROM patients",
        "SELECT max(number) AS m, min(family_name) FROM patients",
        "SELECT patient_id FROM patients WHERE number = (SELECT max(number) FROM patients)",
        "SELECT m FROM (SELECT max(number) AS m FROM patients) WHERE m > 'A'",
        "SELECT p.patient_id FROM patients p, (SELECT max(number) AS m FROM patients) WHERE p.number = m",
        "SELECT max(number) FROM patients UNION ALL SELECT name FROM clinics",
    ] {
        for person in [Person::Keeper, Person::Analyst, Person::Doctor] {
            let batches = house.batches(person, &format!("EXPLAIN {sql}")).await.unwrap();
            let told = format!("{batches:?}");
            for value in [SECRET, "Ada", "1951", "1901"] {
                assert!(!told.contains(value), "{value} in {told}");
            }
        }
    }
}

/// Patients in one clinic; the size of their names is all that differs.
fn with_names_of(length: usize) -> RecordBatch {
    let count = 20_000;
    let same = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; count])) };
    let names: StringArray =
        (0..count).map(|n| Some(format!("{n}").repeat(length).chars().take(length).collect::<String>())).collect();
    let first = patients("x");
    let born = datafusion::arrow::array::new_null_array(first.column(2).data_type(), count);
    let columns = vec![same("p"), Arc::new(names), born, same("c1"), same("1")];
    RecordBatch::try_new(first.schema(), columns).unwrap()
}

#[tokio::test]
async fn the_size_of_hidden_columns_shows_in_no_plan() {
    let small = House::with(QueryConfig::default(), &with_names_of(1)).await;
    let large = House::with(QueryConfig::default(), &with_names_of(1_000)).await;
    for sql in [
        "SELECT clinic_id FROM patients",
        "SELECT clinic_id, count(*) FROM patients WHERE clinic_id > 'a' GROUP BY clinic_id",
        "SELECT count(*) FROM patients WHERE upper(clinic_id) = 'C1'",
        "SELECT clinic_id FROM patients ORDER BY clinic_id",
        "SELECT a.clinic_id FROM patients a JOIN clinics b USING (clinic_id)",
        "SELECT a.clinic_id FROM patients a JOIN patients b USING (clinic_id)",
        "SELECT a.encounter_id FROM encounters a JOIN patients b ON a.encounter_id = b.clinic_id",
    ] {
        let explain = format!("EXPLAIN {sql}");
        let [small, large] = [&small, &large].map(|house| house.rows(Person::Analyst, &explain));
        assert_eq!(without_folders(&small.await.unwrap()), without_folders(&large.await.unwrap()), "{sql}");
    }
}

#[tokio::test]
async fn a_level_is_claimed_for_no_column_that_mixes_levels() {
    let house = House::open().await;
    for (sql, level) in [
        ("SELECT clinic_id AS x FROM patients UNION ALL SELECT family_name FROM patients", ""),
        ("SELECT family_name AS x FROM patients UNION ALL SELECT clinic_id FROM patients", ""),
        ("SELECT coalesce(clinic_id, family_name) AS x FROM patients", ""),
        ("SELECT CASE WHEN true THEN clinic_id ELSE patient_id END AS x FROM patients", ""),
        ("SELECT patient_id || '' AS x FROM patients", ""),
        ("SELECT patient_id AS x FROM patients", "pseudonym"),
        ("SELECT x FROM (SELECT patient_id AS x FROM patients) ORDER BY x LIMIT 1", "pseudonym"),
    ] {
        assert_eq!(house.levels(Person::Analyst, sql).await, [level], "{sql}");
    }
}

#[tokio::test]
async fn a_hidden_table_is_unknown_in_every_position() {
    let house = House::open().await;
    let unknown = "no_such_thing";
    for hidden in ["special_encounters", "appointments"] {
        for sql in [
            "SELECT * FROM {}",
            "SHOW COLUMNS FROM {}",
            "DESCRIBE {}",
            "EXPLAIN SELECT * FROM {}",
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM curated.{})",
            "SELECT 1 WHERE 'e2' IN (SELECT encounter_id FROM lakeward.curated.{})",
            "WITH x AS (SELECT * FROM {}) SELECT 1",
            "SELECT (SELECT count(*) FROM {})",
            "SELECT * FROM clinics JOIN {} ON true",
            "SELECT {}.encounter_id FROM clinics, {}",
            "SELECT * FROM clinics, LATERAL (SELECT * FROM {}) AS l",
        ] {
            for person in [Person::Analyst, Person::Nobody] {
                let of_hidden = house.error(person, &sql.replace("{}", hidden)).await;
                let of_unknown = house.error(person, &sql.replace("{}", unknown)).await;
                assert_eq!(of_hidden.code, ErrorCode::NotFound, "{sql}");
                assert_eq!(of_hidden.message.replace(hidden, unknown), of_unknown.message, "{sql}");
            }
        }
        let plan = house.service.plan(&house.context(Person::Nobody), &format!("SELECT * FROM {hidden}")).await;
        assert_eq!(plan.unwrap_err().code, ErrorCode::NotFound);
    }
}

#[tokio::test]
async fn a_name_that_hides_a_table_gives_no_other_rows() {
    let house = House::open().await;
    for (sql, expected) in [
        ("WITH patients AS (SELECT 'x' AS patient_id) SELECT patient_id FROM patients", "x"),
        ("WITH patients AS (SELECT 'x' AS patient_id) SELECT patient_id FROM curated.patients", "p1"),
        (
            "SELECT patient_id FROM patients WHERE patient_id IN \
             (WITH patients AS (SELECT 'p1' AS i) SELECT i FROM patients)",
            "p1",
        ),
        (
            "WITH a AS (WITH patients AS (SELECT 'y' AS i) SELECT i FROM patients) SELECT patient_id FROM patients, a",
            "p1",
        ),
    ] {
        assert_eq!(house.rows(Person::Doctor, sql).await.unwrap(), [expected], "{sql}");
    }
}

#[tokio::test]
async fn what_the_engine_would_leave_out_in_silence_is_no_way_round() {
    let house = House::open().await;
    for sql in [
        "SELECT patient_id FROM patients TABLESAMPLE (100 PERCENT)",
        "SELECT patient_id FROM patients FOR SYSTEM_TIME AS OF '2020-01-01'",
        "SELECT patient_id FROM patients VERSION AS OF 1",
        "SELECT patient_id FROM patients WITH (NOLOCK)",
        "SELECT patient_id FROM ONLY patients",
        "SELECT patient_id FROM patients PARTITION (p0)",
    ] {
        if let Ok(rows) = house.rows(Person::Doctor, sql).await {
            assert_eq!(rows, ["p1"], "{sql}");
        }
    }
}

#[tokio::test]
async fn a_statement_of_great_depth_is_an_error_and_no_crash() {
    let house = House::open().await;
    let times = 20_000;
    for sql in [
        format!("SELECT 1{}", "+1".repeat(times)),
        format!("SELECT 1{}", " IS NULL".repeat(times)),
        format!("SELECT 1{}", "::int".repeat(times)),
        format!("SELECT {}1", "NOT ".repeat(times)),
        format!("SELECT {}1", "- ".repeat(times)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(times / 2)),
        format!("SELECT 1 FROM clinics a{}", ",clinics".repeat(times)),
        format!("SELECT 1 FROM clinics a{}", " JOIN clinics".repeat(times / 2)),
        format!("SELECT 1 WHERE true{}", " OR false".repeat(times)),
        format!("SELECT {}1{}", "(".repeat(times), ")".repeat(times)),
        format!("SELECT {}1{}", "abs(".repeat(times), ")".repeat(times)),
        format!("SELECT {}1{}", "[".repeat(times), "]".repeat(times)),
        format!("SELECT a{}", ".a".repeat(times)),
        format!("SELECT a{}", "[1]".repeat(times)),
        format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(times / 4), " END".repeat(times / 4)),
        format!("SELECT * FROM {}clinics{}", "(SELECT * FROM ".repeat(times / 4), ")".repeat(times / 4)),
        format!(
            "WITH a0 AS (SELECT 1){} SELECT 1",
            (1..3_000).map(|n| format!(", a{n} AS (SELECT * FROM a{})", n - 1)).collect::<String>()
        ),
    ] {
        let error = house.error(Person::Nobody, &sql).await;
        let code = error.code;
        assert!(matches!(code, ErrorCode::Syntax | ErrorCode::InvalidRequest), "{code:?}: {}", &sql[..40]);
    }
}

#[tokio::test]
async fn a_long_list_is_no_depth() {
    let house = House::open().await;
    let list: Vec<String> = (0..5_000).map(|n| format!("'c{n}'")).collect();
    let sql = format!("SELECT name FROM clinics WHERE clinic_id IN ({})", list.join(", "));
    assert_eq!(house.rows(Person::Nobody, &sql).await.unwrap(), ["North", "South"]);
    let many: Vec<String> = (0..400).map(|n| format!("clinic_id = 'c{n}'")).collect();
    let sql = format!("SELECT name FROM clinics WHERE {}", many.join(" OR "));
    assert_eq!(house.rows(Person::Nobody, &sql).await.unwrap(), ["North", "South"]);
}

/// Statements that work on what someone may not see.
const PROBES: [&str; 22] = [
    "SELECT count(*), count(family_name), min(number), max(birth_date) FROM patients",
    "SELECT count(DISTINCT patient_id), sum(length(family_name)) FROM patients",
    "SELECT clinic_id, count(*) FROM patients GROUP BY 1 ORDER BY 2",
    "SELECT 1 / (length(number) - 8) FROM patients",
    "SELECT 1 / (CASE WHEN family_name LIKE 'G%' THEN 0 ELSE 1 END) FROM patients",
    "SELECT CAST(number AS BIGINT) + 9223372036854775800 FROM patients",
    "SELECT CAST(family_name AS DATE) FROM patients",
    "SELECT arrow_cast(family_name, 'Int8') FROM patients",
    "SELECT patient_id FROM patients WHERE CAST(number AS INT) > 20",
    "SELECT patient_id FROM patients WHERE to_timestamp(family_name) > now()",
    "SELECT patient_id FROM patients ORDER BY family_name, patient_id LIMIT 1",
    "SELECT patient_id FROM patients ORDER BY patient_id OFFSET 1",
    "SELECT rank() OVER (ORDER BY number, patient_id) FROM patients",
    "SELECT a.clinic_id FROM patients a JOIN patients b ON a.number = b.family_name",
    "SELECT clinic_id FROM patients WHERE number IN (SELECT family_name FROM patients)",
    "SELECT clinic_id FROM patients p WHERE EXISTS (SELECT 1 FROM patients q WHERE q.family_name = p.number)",
    "SELECT (SELECT max(number) FROM patients), c.name FROM clinics c",
    "SELECT family_name FROM patients INTERSECT SELECT number FROM patients",
    "SELECT regexp_replace(family_name, '(.)', '\\1\\1', 'g') FROM patients",
    "SELECT unnest(string_to_array(number, '')) FROM patients",
    "SELECT encode(digest(family_name, 'sha256'), 'hex') FROM patients",
    "SELECT array_agg(number ORDER BY family_name) FROM patients",
];

/// The files of a table that is shown whole may be seen, and each lake has a folder of its own.
fn without_folders(plan: &[String]) -> Vec<String> {
    plan.iter()
        .flat_map(|plan| plan.lines())
        .map(|line| line.split("DataSourceExec: file_groups").next().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn no_probe_tells_two_lakes_apart_that_differ_in_what_is_hidden() {
    let one = House::with(QueryConfig::default(), &patients(SECRET)).await;
    let mut others = Vec::new();
    for secret in ["12345678", ""] {
        others.push(House::with(QueryConfig::default(), &patients(secret)).await);
    }
    for person in [Person::Doctor, Person::Head, Person::Analyst] {
        for sql in PROBES {
            let explain = format!("EXPLAIN {sql}");
            let told = async |house: &House| {
                let plans = house.rows(person, &explain).await.map(|plan| without_folders(&plan));
                (house.rows(person, sql).await, plans)
            };
            let known = told(&one).await;
            for other in &others {
                assert_eq!(known, told(other).await, "{person:?}: {sql}");
            }
        }
    }
}

#[tokio::test]
async fn planning_and_its_errors_read_no_row() {
    let house = House::open().await;
    for sql in PROBES {
        let _ = house.service.plan(&house.context(Person::Doctor), sql).await;
    }
    assert!(house.scans.lock().is_empty());
}

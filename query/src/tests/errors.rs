//! What an error says, and what it never says.

use super::house::{House, Person, SECRET};
use crate::{ErrorCode, RefusedKind};

#[tokio::test]
async fn no_error_holds_a_value_of_the_data() {
    let house = House::open().await;
    for (sql, code) in [
        ("SELECT CAST(number AS INT) FROM patients", ErrorCode::Evaluation),
        ("SELECT CAST(family_name AS DATE) FROM patients", ErrorCode::Evaluation),
        ("SELECT 1 / (CASE WHEN number = '12' THEN 0 ELSE 1 END) FROM patients", ErrorCode::Evaluation),
        ("SELECT arrow_cast(number, 'Int8') FROM patients", ErrorCode::Evaluation),
        ("SELECT arrow_cast(extract(year FROM birth_date), 'Int8') FROM patients", ErrorCode::Evaluation),
        ("SELECT arrow_cast(birth_date, 'Int8') FROM patients", ErrorCode::InvalidRequest),
        ("SELECT to_timestamp(number) FROM patients", ErrorCode::Evaluation),
    ] {
        let error = house.error(Person::Keeper, sql).await;
        assert_eq!(error.code, code, "{sql}: {error:?}");
        for value in [SECRET, "Ada", "12", "34", "1951"] {
            assert!(!format!("{error:?}").contains(value), "{sql}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_planning_error_names_names_but_no_literal() {
    let house = House::open().await;
    let error = house.error(Person::Analyst, "SELECT no_such_column FROM patients").await;
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::InvalidRequest, "column no_such_column does not exist")
    );
    let error = house.error(Person::Analyst, "SELECT no_such_function(1)").await;
    assert_eq!(error.message, "function no_such_function does not exist");
    for sql in [
        "SELECT clinic_id + 'Ivanova' FROM patients",
        "SELECT abs('Ivanova')",
        "SELECT * FROM patients WHERE clinic_id = 'Ivanova' + 1",
        "SELECT CAST('Ivanova' AS INT)",
        "SELECT date_trunc('Ivanova', now())",
    ] {
        let error = house.error(Person::Analyst, sql).await;
        assert!(!format!("{error:?}").contains("Ivanova"), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn files_and_functions_that_read_them_are_refused() {
    let house = House::open().await;
    for sql in ["SELECT * FROM read_parquet('/etc/passwd')", "SELECT * FROM read_csv('/etc/passwd')"] {
        assert_eq!(house.error(Person::Keeper, sql).await.code, ErrorCode::Refused(RefusedKind::Function), "{sql}");
    }
    for sql in
        ["SELECT * FROM '/etc/passwd'", "SELECT * FROM \"/etc/passwd.csv\"", "SELECT * FROM \"s3://b/x.parquet\""]
    {
        let code = house.error(Person::Keeper, sql).await.code;
        assert!(
            matches!(code, ErrorCode::NotFound | ErrorCode::Refused(RefusedKind::ExternalTable)),
            "{sql}: {code:?}"
        );
    }
}

#[tokio::test]
async fn the_attribute_function_is_not_the_askers() {
    let house = House::open().await;
    assert_eq!(house.error(Person::Doctor, "SELECT attr('staff_id')").await.code, ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn other_catalogs_and_schemas_do_not_exist() {
    let house = House::open().await;
    for sql in
        ["SELECT * FROM other.curated.patients", "SELECT * FROM lakeward.other.patients", "SELECT * FROM raw.patients"]
    {
        assert_eq!(house.error(Person::Keeper, sql).await.code, ErrorCode::NotFound, "{sql}");
    }
    assert_eq!(house.rows(Person::Keeper, "SELECT count(*) FROM lakeward.curated.patients").await.unwrap(), ["4"]);
}

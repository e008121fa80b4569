//! Rows, time and memory, and what the audit keeps.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};

use super::house::{House, Person, SECRET, patients};
use crate::{ErrorCode, QueryConfig};

#[tokio::test]
async fn rows_beyond_the_limit_are_cut_off_and_the_answer_says_so() {
    let config = QueryConfig { row_limit: 3, ..QueryConfig::default() };
    let house = House::with(config, &patients(SECRET)).await;
    for (sql, rows, truncated) in [
        ("SELECT patient_id FROM patients", 3, true),
        ("SELECT patient_id FROM patients LIMIT 3", 3, false),
        ("SELECT patient_id FROM patients LIMIT 2", 2, false),
    ] {
        let answer = house.answer(Person::Keeper, sql).await.unwrap();
        let flag = answer.truncated.clone();
        assert_eq!(answer.row_limit, 3);
        let batches: Vec<_> = answer.stream.try_collect().await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), rows, "{sql}");
        assert_eq!(flag.load(Ordering::Acquire), truncated, "{sql}");
    }
    let outcomes: Vec<String> = house.finished().into_iter().filter_map(|record| record.outcome).collect();
    assert_eq!(outcomes, ["truncated", "complete", "complete"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_ends_at_its_deadline() {
    let house = House::open().await;
    let mut context = house.context(Person::Keeper);
    context.deadline = Instant::now() + Duration::from_millis(300);
    let sql = "SELECT count(*) FROM generate_series(1, 1000000000000) AS t(n) WHERE n % 7 = 3";
    let error = match house.service.execute(&context, sql, None).await {
        Ok(answer) => answer.stream.try_collect::<Vec<_>>().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.code, ErrorCode::TimeLimit);
    assert!(Instant::now() < context.deadline + Duration::from_secs(5));
    assert_eq!(house.finished()[0].outcome.as_deref(), Some("time_limit"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_without_end_hold_nobody_up_after_their_deadline() {
    let house = House::open().await;
    let mut context = house.context(Person::Nobody);
    context.deadline = Instant::now() + Duration::from_millis(300);
    let sql = "SELECT sum(a.n * b.n) FROM generate_series(1, 1000000) AS a(n), generate_series(1, 1000000) AS b(n)";
    let endless = || async {
        let answer = house.service.execute(&context, sql, None).await?;
        answer.stream.try_collect::<Vec<_>>().await
    };
    // One for each thread, and one more.
    let (first, second, third) = tokio::join!(endless(), endless(), endless());
    for ended in [first, second, third] {
        assert_eq!(ended.unwrap_err().code, ErrorCode::TimeLimit);
    }
    let begun = Instant::now();
    assert_eq!(house.rows(Person::Keeper, "SELECT 1").await.unwrap(), ["1"]);
    assert!(begun.elapsed() < Duration::from_secs(10), "waited {:?}", begun.elapsed());
}

#[tokio::test]
async fn functions_without_measure_are_refused() {
    let house = House::open().await;
    for sql in [
        "SELECT levenshtein('a', 'b')",
        "SELECT repeat('a', 3)",
        "SELECT lpad('a', 3)",
        "SELECT \"rpad\"('a', 3)",
        "SELECT file_row_index() FROM clinics",
    ] {
        assert!(house.rows(Person::Nobody, sql).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn a_statement_that_needs_too_much_memory_fails_alone() {
    let config = QueryConfig { memory_limit: 1 << 20, ..QueryConfig::default() };
    let house = House::with(config, &patients(SECRET)).await;
    let sql = "SELECT count(DISTINCT n) FROM generate_series(1, 2000000) AS t(n)";
    assert_eq!(house.error(Person::Keeper, sql).await.code, ErrorCode::ResourceLimit);
    assert_eq!(house.rows(Person::Keeper, "SELECT 1").await.unwrap(), ["1"]);
}

#[tokio::test]
async fn the_audit_tells_who_read_what_and_no_value() {
    let house = House::open().await;
    let sql = format!("SELECT birth_date FROM patients WHERE family_name = '{SECRET}'");
    house.rows(Person::Analyst, &sql).await.unwrap();
    let event = house.finished()[0].clone();
    assert_eq!((event.principal.as_str(), event.purpose.as_str(), event.rows), ("a", "bi", Some(0)));
    assert_eq!(event.outcome.as_deref(), Some("complete"));
    assert_eq!(event.statement.as_deref(), Some("SELECT birth_date FROM patients WHERE family_name = ?"));
    let table = &event.tables[0];
    assert_eq!((table.name.as_str(), table.version), ("curated.patients", 7));
    let read: Vec<_> = table.columns.iter().map(|column| (column.name.as_str(), column.level.as_str())).collect();
    assert_eq!(read, [("family_name", "hidden"), ("birth_date", "generalised")]);
    assert_eq!(table.scopes, ["all"]);
    assert!(!format!("{event:?}").contains(SECRET));
    assert!(event.digest.is_some());
}

#[tokio::test]
async fn a_refused_statement_is_audited() {
    let house = House::open().await;
    house.error(Person::Analyst, "DROP TABLE patients").await;
    assert_eq!(house.finished()[0].outcome.as_deref(), Some("refused"));
}

#[tokio::test]
async fn an_answer_that_is_dropped_is_cancelled() {
    let house = House::open().await;
    let mut answer =
        house.answer(Person::Keeper, "SELECT n FROM generate_series(1, 1000000000) AS t(n)").await.unwrap();
    assert!(answer.stream.next().await.unwrap().is_ok());
    drop(answer);
    assert_eq!(house.finished()[0].outcome.as_deref(), Some("cancelled"));
}

//! The shipped rules over records of a made-up month.

use std::fs;

use chrono::TimeDelta;
use datafusion::arrow::json::ReaderBuilder;
use lakeward_tables::{Lakehouse, StorageConfig};
use tempfile::TempDir;

use super::*;
use crate::audit::{AuditedSubjects, Kind, Record};

struct Audit {
    folder: TempDir,
    lake: Lake,
    now: DateTime<Utc>,
    records: Vec<Record>,
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql")
}

impl Audit {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("sql")).unwrap();
        let lakehouse = Arc::new(Lakehouse::load(&folder.path().join("sql")).unwrap());
        let lake = Lake::open(&StorageConfig::local(&folder.path().join("lake")).unwrap(), lakehouse).await.unwrap();
        Self { folder, lake, now: "2026-06-20T15:00:00Z".parse().unwrap(), records: Vec::new() }
    }

    fn finished(&mut self, principal: &str, ago: TimeDelta, change: impl FnOnce(&mut Record)) {
        let mut record = Record {
            at: self.now - ago,
            principal: principal.into(),
            outcome: Some("complete".into()),
            rows: Some(10),
            statement: Some("SELECT ?".into()),
            digest: Some("d".into()),
            ..Record::new(Kind::Finished)
        };
        change(&mut record);
        self.records.push(record);
    }

    /// What the shipped rules raise, by rule and principal.
    async fn raised(&mut self) -> Vec<String> {
        let lines: Vec<u8> =
            self.records.drain(..).flat_map(|record| [record.line(), b"\n".to_vec()].concat()).collect();
        let rows = ReaderBuilder::new(events_schema()).with_batch_size(100_000).build(lines.as_slice()).unwrap();
        let rows = rows.collect::<Result<Vec<_>, _>>().unwrap();
        self.lake.commit(&TableName::audit_events(), Change::Append { rows, progress: vec![] }).await.unwrap();
        let rules = AlertRules::load(&shipped()).await.unwrap();
        let alerts = rules.raise(&self.lake, self.now).await.unwrap();
        let mut told: Vec<String> =
            alerts.into_iter().map(|alert| format!("{} {}", alert.rule, alert.principal)).collect();
        told.sort();
        told
    }
}

#[tokio::test]
async fn ordinary_work_raises_nothing() {
    let mut audit = Audit::open().await;
    for day in 0..20 {
        for _ in 0..5 {
            audit.finished("ana", TimeDelta::days(day), |record| record.rows = Some(9_000));
        }
    }
    assert_eq!(audit.raised().await, Vec::<String>::new());
}

#[tokio::test]
async fn each_shipped_rule_finds_what_it_is_about_and_says_it_once() {
    let mut audit = Audit::open().await;
    for day in 1..10 {
        audit.finished("more", TimeDelta::days(day), |record| record.rows = Some(1_000));
    }
    audit.finished("more", TimeDelta::minutes(1), |record| record.rows = Some(20_000));
    for _ in 0..20 {
        audit.finished("denied", TimeDelta::minutes(5), |record| record.outcome = Some("not_found".into()));
    }
    for number in 0..100 {
        audit.finished("prober", TimeDelta::minutes(5), |record| record.digest = Some(format!("d{number}")));
    }
    audit.finished("night", TimeDelta::hours(13), |record| record.grant_id = Some("g-1".into()));
    audit.finished("day", TimeDelta::hours(2), |record| record.grant_id = Some("g-2".into()));
    let persons = |from: usize, to: usize, all: bool| {
        let digests = (from..to).map(|number| format!("p{number}")).collect();
        vec![AuditedSubjects { table: "curated.patients".into(), all_in_scope: all, digests }]
    };
    for part in 0..5 {
        audit.finished(&format!("few{part}"), TimeDelta::days(9), |record| {
            record.subjects = persons(part * 900, part * 900 + 900, false);
        });
    }
    audit.finished("many", TimeDelta::minutes(9), |record| record.subjects = persons(0, 1_000, false));
    audit.finished("everybody", TimeDelta::minutes(9), |record| {
        record.subjects = persons(0, 0, true);
        record.rows = Some(10_000);
    });
    audit.finished("counts", TimeDelta::minutes(9), |record| record.subjects = persons(0, 0, true));
    let expected = [
        "break_glass_at_night night",
        "many_denials denied",
        "many_persons everybody",
        "many_persons many",
        "more_rows_than_usual more",
        "probing prober",
    ];
    assert_eq!(audit.raised().await, expected);
    assert_eq!(audit.lake.row_count(&TableName::audit_alerts()).await.unwrap(), 6);
    assert_eq!(audit.raised().await, Vec::<String>::new());
    // Another night is another alert.
    audit.now += TimeDelta::days(1);
    audit.finished("night", TimeDelta::hours(13), |record| record.grant_id = Some("g-1".into()));
    assert_eq!(audit.raised().await, ["break_glass_at_night night"]);
}

#[tokio::test]
async fn two_that_ask_at_once_raise_it_once() {
    let mut audit = Audit::open().await;
    audit.finished("night", TimeDelta::hours(13), |record| record.grant_id = Some("g-1".into()));
    let lines = [audit.records[0].line(), b"\n".to_vec()].concat();
    let rows = ReaderBuilder::new(events_schema()).build(lines.as_slice()).unwrap();
    let rows = rows.collect::<Result<Vec<_>, _>>().unwrap();
    audit.lake.commit(&TableName::audit_events(), Change::Append { rows, progress: vec![] }).await.unwrap();
    let rules = AlertRules::load(&shipped()).await.unwrap();
    let raised = futures::future::join_all((0..4).map(|_| rules.raise(&audit.lake, audit.now))).await;
    assert_eq!(raised.into_iter().map(|raised| raised.unwrap().len()).sum::<usize>(), 1);
    assert_eq!(audit.lake.row_count(&TableName::audit_alerts()).await.unwrap(), 1);
    drop(audit.folder);
}

#[tokio::test]
async fn what_is_wrong_with_a_rule_is_told_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("audit")).unwrap();
    let good = "SELECT principal AS key, principal, at, kind AS detail FROM audit.events";
    for (name, text, told) in [
        ("no_title.sql", format!("-- severity: info\n{good}"), "begins with `-- title: …`"),
        ("severity.sql", format!("-- title: a\n-- severity: bad\n{good}"), "severity is one of"),
        ("column.sql", format!("-- title: a\n-- severity: info\n{}", good.replace("kind AS", "nothing AS")), "nothing"),
        ("columns.sql", "-- title: a\n-- severity: info\nSELECT 1 AS key".to_owned(), "gives the columns"),
        ("table.sql", format!("-- title: a\n-- severity: info\n{}", good.replace("audit.events", "curated.x")), "x"),
        ("writes.sql", "-- title: a\n-- severity: info\nDELETE FROM audit.events".to_owned(), "not allowed"),
        ("other.txt", String::new(), "end with .sql"),
    ] {
        let file = folder.path().join("audit").join(name);
        fs::write(&file, text).unwrap();
        let problems = AlertRules::load(folder.path()).await.unwrap_err();
        assert!(
            problems.iter().any(|problem| problem.file == file && problem.message.contains(told)),
            "{name}: {problems:?}"
        );
        fs::remove_file(&file).unwrap();
    }
    assert!(AlertRules::load(folder.path()).await.is_ok());
}

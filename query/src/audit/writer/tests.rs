//! Segments in a folder: how records become durable, and how what was done to them shows.

use std::fs;
use std::path::{Path, PathBuf};

use lakeward_tables::{Change, Lake, Lakehouse, StorageConfig, TableName};
use tempfile::TempDir;

use super::*;
use crate::audit::{Head, Verified, verify};

struct Store {
    folder: TempDir,
    lake: Lake,
    key: AuditKey,
}

impl Store {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sql = folder.path().join("sql");
        fs::create_dir_all(&sql).unwrap();
        let lakehouse = Arc::new(Lakehouse::load(&sql).unwrap());
        let lake = Lake::open(&StorageConfig::local(&folder.path().join("lake")).unwrap(), lakehouse).await.unwrap();
        Self { folder, lake, key: AuditKey::from_secret(&[9; 32]).unwrap() }
    }

    fn writer(&self) -> Arc<JournalAudit> {
        self.writer_with(AuditConfig::default())
    }

    fn writer_with(&self, config: AuditConfig) -> Arc<JournalAudit> {
        let metrics = AuditMetrics::register(&prometheus::Registry::new()).unwrap();
        JournalAudit::start(self.lake.journal(), self.key.clone(), config, metrics)
    }

    /// Records of so many statements, one after the other.
    async fn write(&self, count: usize) {
        let audit = self.writer();
        for number in 0..count {
            audit.keep(record(number)).await.unwrap();
        }
        audit.close().await.unwrap();
    }

    async fn verify(&self) -> Verified {
        verify(&self.lake, &self.key, &[]).await.unwrap()
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for writer in fs::read_dir(self.folder.path().join("lake/audit/segments")).unwrap() {
            files.extend(fs::read_dir(writer.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
        }
        files.sort();
        files
    }

    /// What is wrong after something was done to the lines of all segments, which become one line a record.
    async fn after(&self, change: impl Fn(&mut Vec<String>)) -> Vec<String> {
        for file in self.segments() {
            let text = fs::read_to_string(&file).unwrap();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            change(&mut lines);
            fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        }
        told(&self.verify().await)
    }
}

fn told(verified: &Verified) -> Vec<String> {
    verified.findings.iter().map(|finding| finding.what.clone()).collect()
}

fn record(number: usize) -> Record {
    Record {
        request_id: format!("r{number}"),
        principal: "dr.who".into(),
        purpose: "care".into(),
        roles: vec!["doctor".into(), "nobody".into()],
        protocol: "http".into(),
        statement: Some("SELECT ?".into()),
        digest: Some("d".into()),
        tables: vec![crate::AuditedTable {
            name: "curated.patients".into(),
            version: 3,
            policy: "p".into(),
            scopes: vec!["all".into()],
            columns: vec![crate::AuditedColumn { name: "a".into(), level: "clear".into() }],
        }],
        rows: Some(number as i64),
        bytes: Some(8),
        outcome: Some("complete".into()),
        milliseconds: Some(1),
        subjects: vec![crate::AuditedSubjects {
            table: "curated.patients".into(),
            all_in_scope: false,
            digests: vec!["x".into(), "y".into()],
        }],
        ..Record::new(Kind::Finished)
    }
}

#[tokio::test]
async fn chains_are_whole_before_and_after_they_are_folded() {
    let store = Store::open().await;
    store.write(5).await;
    let before = store.verify().await;
    assert_eq!((before.records, before.waiting, before.unclosed, told(&before).len()), (7, 7, 0, 0), "{before:?}");
    let folded = store.lake.journal().fold().await.unwrap();
    assert_eq!((folded.segments, folded.records, folded.lost, folded.more), (6, 7, 0, false));
    assert!(store.segments().is_empty());
    let after = store.verify().await;
    assert_eq!((after.records, after.waiting, told(&after)), (7, 0, vec![]));
    assert_eq!(after.heads, before.heads);
    store.write(1).await;
    assert_eq!((store.verify().await.records, store.verify().await.heads.len()), (10, 2));
}

#[tokio::test]
async fn records_that_come_together_become_durable_together() {
    let store = Store::open().await;
    let audit = store.writer_with(AuditConfig { window: Duration::from_millis(10), ..AuditConfig::default() });
    audit.keep(record(0)).await.unwrap();
    futures::future::join_all((1..=100).map(|number| audit.keep(record(number)))).await;
    assert_eq!(store.segments().len(), 2);
    assert_eq!(store.verify().await.records, 102);
}

#[tokio::test]
async fn each_record_is_in_the_table_once_whoever_folds() {
    let store = Store::open().await;
    store.write(20).await;
    let journal = store.lake.journal();
    let folds = futures::future::join_all((0..4).map(|_| journal.fold())).await;
    let records: usize = folds.into_iter().map(|fold| fold.unwrap().records).sum();
    assert_eq!(records, 22);
    assert_eq!(store.lake.row_count(&TableName::audit_events()).await.unwrap(), 22);
    assert_eq!(journal.fold().await.unwrap(), lakeward_tables::Folded::default());
}

#[tokio::test]
async fn a_segment_that_was_left_behind_after_its_fold_is_not_folded_again() {
    let store = Store::open().await;
    store.write(3).await;
    let kept: Vec<(PathBuf, Vec<u8>)> =
        store.segments().into_iter().map(|file| (file.clone(), fs::read(&file).unwrap())).collect();
    store.lake.journal().fold().await.unwrap();
    // As if the process had died before it deleted them.
    for (file, bytes) in kept {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    assert_eq!(store.lake.journal().fold().await.unwrap().records, 0);
    assert!(store.segments().is_empty());
    assert_eq!(told(&store.verify().await), Vec::<String>::new());
}

#[tokio::test]
async fn a_store_that_takes_nothing_refuses_and_is_taken_up_again() {
    let store = Store::open().await;
    let audit = store.writer();
    audit.keep(record(0)).await.unwrap();
    // A folder that is a file takes no segment, whoever asks.
    let segments = store.folder.path().join("lake/audit/segments");
    let aside = store.folder.path().join("aside");
    fs::rename(&segments, &aside).unwrap();
    fs::write(&segments, "").unwrap();
    assert_eq!(audit.keep(record(1)).await, Err(AuditUnavailable));
    fs::remove_file(&segments).unwrap();
    fs::rename(&aside, &segments).unwrap();
    audit.keep(record(2)).await.unwrap();
    let verified = store.verify().await;
    assert_eq!((verified.heads.len(), told(&verified)), (2, vec![]), "the next record begins a chain of its own");
}

#[tokio::test]
async fn what_was_done_to_a_segment_shows() {
    let store = Store::open().await;
    store.write(6).await;
    assert!(store.after(|_| {}).await.is_empty());
    let last =
        |lines: &[String], number: usize| lines.iter().any(|line| line.contains(&format!("\"sequence\":{number},")));
    let changed =
        store.after(|lines| lines.iter_mut().for_each(|line| *line = line.replace("\"rows\":2", "\"rows\":1")));
    assert_eq!(
        changed.await,
        ["record 3 is not what was written after the one before: it was changed, moved or put in"]
    );
    let store = Store::open().await;
    store.write(6).await;
    let doubled = store.after(|lines| {
        if last(lines, 4) {
            lines.push(lines[0].clone())
        }
    });
    assert_eq!(doubled.await, ["there is a second record 4: it was put in"]);
    let store = Store::open().await;
    store.write(6).await;
    let removed = store.after(|lines| {
        if last(lines, 4) {
            lines.clear()
        }
    });
    assert_eq!(removed.await, ["records 4 to 4 are missing"]);
    let store = Store::open().await;
    store.write(6).await;
    let moved = store.after(|lines| {
        for line in lines {
            *line = match () {
                () if line.contains("\"sequence\":2,") => {
                    line.replace("\"request_id\":\"r1\"", "\"request_id\":\"r2\"")
                }
                () => line.replace("\"request_id\":\"r2\"", "\"request_id\":\"r1\""),
            };
        }
    });
    assert_eq!(moved.await.len(), 2);
}

#[tokio::test]
async fn another_key_finds_every_link_wrong() {
    let store = Store::open().await;
    store.write(2).await;
    let other = AuditKey::from_secret(&[8; 32]).unwrap();
    assert_eq!(verify(&store.lake, &other, &[]).await.unwrap().findings.len(), 4);
}

#[tokio::test]
async fn the_end_of_a_chain_that_is_cut_off_shows_by_what_was_seen_of_it_before() {
    let store = Store::open().await;
    store.write(3).await;
    let heads: Vec<Head> = store.verify().await.heads;
    fs::remove_file(store.segments().pop().unwrap()).unwrap();
    let cut = store.verify().await;
    assert_eq!((cut.unclosed, told(&cut)), (1, vec![]));
    let compared = verify(&store.lake, &store.key, &heads).await.unwrap();
    assert_eq!(told(&compared), ["record 4 is not there any more as an earlier look found it"]);
}

/// The data files of the table, by name.
fn data_files(table: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(table).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "parquet"));
    files.sort();
    files
}

/// Writes the one data file of the table anew with other rows, and corrects its size in the log.
async fn rewrite(store: &Store, change: impl Fn(&[Record]) -> Vec<Record>) -> Store {
    use datafusion::arrow::json::ReaderBuilder;
    use datafusion::parquet::arrow::ArrowWriter;
    let table = store.folder.path().join("lake/audit/events");
    let [file] = <[PathBuf; 1]>::try_from(data_files(&table)).unwrap();
    let size = fs::metadata(&file).unwrap().len();
    let mut records = Vec::new();
    for batch in crate::audit::stored::events(&store.lake).await.unwrap().collect().await.unwrap() {
        records.extend(crate::audit::stored::records(&batch).unwrap());
    }
    records.sort_by_key(|record| record.sequence);
    let changed = change(&records);
    let lines: Vec<u8> = changed.iter().flat_map(|record| [record.line(), b"\n".to_vec()].concat()).collect();
    let schema = lakeward_tables::events_schema();
    let mut writer = ArrowWriter::try_new(fs::File::create(&file).unwrap(), schema.clone(), None).unwrap();
    for batch in ReaderBuilder::new(schema).build(lines.as_slice()).unwrap() {
        writer.write(&batch.unwrap()).unwrap();
    }
    writer.close().unwrap();
    let now = fs::metadata(&file).unwrap().len();
    for log in fs::read_dir(table.join("_delta_log")).unwrap() {
        let log = log.unwrap().path();
        if log.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read_to_string(&log).unwrap();
            let rows = |count: usize| format!("\\\"numRecords\\\":{count}");
            let text = text.replace(&format!("\"size\":{size}"), &format!("\"size\":{now}"));
            fs::write(&log, text.replace(&rows(records.len()), &rows(changed.len()))).unwrap();
        }
    }
    let sql = store.folder.path().join("sql");
    let config = StorageConfig::local(&store.folder.path().join("lake")).unwrap();
    let lake = Lake::open(&config, Arc::new(Lakehouse::load(&sql).unwrap())).await.unwrap();
    Store { folder: tempfile::tempdir().unwrap(), lake, key: store.key.clone() }
}

async fn after_rewrite(change: impl Fn(&[Record]) -> Vec<Record>) -> Vec<String> {
    let store = Store::open().await;
    store.write(6).await;
    store.lake.journal().fold().await.unwrap();
    told(&rewrite(&store, change).await.verify().await)
}

#[tokio::test]
async fn what_was_done_to_a_row_of_the_table_shows() {
    let wrong = "is not what was written after the one before: it was changed, moved or put in";
    assert_eq!(after_rewrite(<[Record]>::to_vec).await, Vec::<String>::new());
    let changed = after_rewrite(|records| {
        let mut records = records.to_vec();
        records[3].subjects.clear();
        records
    });
    assert_eq!(changed.await, [format!("record 3 {wrong}")]);
    let removed = after_rewrite(|records| records.iter().filter(|r| r.sequence != 3).cloned().collect());
    assert_eq!(removed.await, ["records 3 to 3 are missing"]);
    let cut = after_rewrite(|records| records[..6].to_vec());
    assert_eq!(cut.await, ["the records of segments 5 to 6 are missing at the end of what is in the table"]);
    let moved = after_rewrite(|records| {
        let mut records = records.to_vec();
        records.swap(2, 3);
        (records[2].sequence, records[3].sequence) = (2, 3);
        records
    });
    assert_eq!(moved.await.len(), 3);
    let gone = after_rewrite(|_| Vec::new()).await;
    assert_eq!(gone, ["the records of segments 0 to 6 are missing at the end of what is in the table"]);
}

#[tokio::test]
async fn a_row_that_was_put_in_shows() {
    let store = Store::open().await;
    store.write(3).await;
    store.lake.journal().fold().await.unwrap();
    let rows: Vec<_> = crate::audit::stored::events(&store.lake).await.unwrap().collect().await.unwrap();
    let mut of_record = crate::audit::stored::records(&rows[0]).unwrap();
    let mut line = of_record.swap_remove(2).line();
    line.push(b'\n');
    let rows = datafusion::arrow::json::ReaderBuilder::new(lakeward_tables::events_schema())
        .build(line.as_slice())
        .unwrap()
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    store.lake.commit(&TableName::audit_events(), Change::Append { rows, progress: Vec::new() }).await.unwrap();
    let [found] = <[String; 1]>::try_from(told(&store.verify().await)).unwrap();
    assert!(found.starts_with("there is a second record"), "{found}");
}

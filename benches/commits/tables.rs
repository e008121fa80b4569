//! Three small tables, one for each way in which rows come into one.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use lakeward_tables::{Change, Lake, Lakehouse, Progress, StorageConfig};

/// How rows come into a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Append,
    Upsert,
    Correct,
}

/// Their names.
pub(crate) const TABLES: [(&str, Kind); 3] =
    [("appended", Kind::Append), ("corrected", Kind::Correct), ("upserted", Kind::Upsert)];

/// Keys of the table that is upserted: few, so that it has all of them early and grows old without growing large.
const KEYS: u64 = 2_000;
/// A correction is of the event so many before it: most are of what came a short while ago.
const BACK: u64 = 1_000;
/// One event in so many corrects an earlier one.
const CORRECTED: u64 = 50;

const RAW: &str = "apiVersion: v3.0.2
kind: DataContract
id: bench.event
version: 1.0.0
status: active
customProperties:
  - {property: topic, value: bench.event}
  - {property: format, value: json}
schema:
  - name: raw.bench_event
    properties:
      - {name: id, logicalType: string}
";

fn contract(name: &str, kind: Kind) -> String {
    let mode = match kind {
        Kind::Append => "append}",
        Kind::Upsert => "upsert}",
        Kind::Correct => "corrected}\n      - {property: correction, value: \"payload['id'] IS NULL\"}",
    };
    format!(
        "apiVersion: v3.0.2
kind: DataContract
id: curated.{name}
version: 1.0.0
status: active
schema:
  - name: curated.{name}
    customProperties:
      - {{property: from, value: bench.event}}
      - {{property: mode, value: {mode}
    properties:
      - {{name: id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}}
      - {{name: value, logicalType: integer, customProperties: [{{property: prunable, value: true}}]}}
      - {{name: text, logicalType: string}}
"
    )
}

/// A lake in a folder.
pub(crate) async fn lake(folder: &Path) -> anyhow::Result<Lake> {
    let sql = folder.join("sql");
    let mut files = vec![("contracts/raw/bench.event.odcs.yaml".to_owned(), RAW.to_owned())];
    for (name, kind) in TABLES {
        files.push((format!("contracts/curated/{name}.odcs.yaml"), contract(name, kind)));
        let select = "SELECT _lw_row, payload['id'] AS id, 1 AS value, 'x' AS text FROM event".to_owned();
        files.push((format!("curated/{name}.sql"), select));
    }
    for (file, text) in files {
        let file = sql.join(file);
        std::fs::create_dir_all(file.parent().unwrap_or(&sql))?;
        std::fs::write(file, text)?;
    }
    let lakehouse = Lakehouse::load(&sql).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    Ok(Lake::open(&StorageConfig::local(&folder.join("lake"))?, Arc::new(lakehouse)).await?)
}

/// The commit of some events from a number on.
pub(crate) fn change(kind: Kind, first: u64, rows: u64) -> anyhow::Result<Change> {
    let numbers: Vec<u64> = match kind {
        Kind::Append => (first..first + rows).collect(),
        // A fixed walk over the keys, so that each is met again and again.
        Kind::Upsert => (first..first + rows).map(|n| n * 7_919 % KEYS).collect(),
        Kind::Correct => (first..first + rows)
            .map(|n| if n.is_multiple_of(CORRECTED) { n.saturating_sub(BACK) } else { n })
            .collect(),
    };
    Ok(change_of(kind, rows_of(kind, &numbers, first as i64)?, first, first + rows))
}

pub(crate) fn change_of(kind: Kind, rows: RecordBatch, from: u64, next: u64) -> Change {
    let (source, topic) = ("bench".to_owned(), "bench.event".to_owned());
    let progress = vec![Progress { source, topic, partition: 0, from: from as i64, next: next as i64 }];
    let rows = vec![rows];
    match kind {
        Kind::Append => Change::Append { rows, progress },
        Kind::Upsert => Change::Upsert { rows, key: vec!["id".to_owned()], progress },
        Kind::Correct => Change::Correct { rows, progress },
    }
}

/// Rows with these keys, newer the greater `time` is.
pub(crate) fn rows_of(kind: Kind, numbers: &[u64], time: i64) -> anyhow::Result<RecordBatch> {
    let count = numbers.len();
    let integers = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    // As long and as unlike as a UUID.
    let id = |n: &u64| Some(format!("{:016x}-{n:019}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(numbers.iter().map(id).collect::<StringArray>())),
        ("value", integers(numbers.iter().map(|n| *n as i64).collect())),
        ("text", Arc::new(numbers.iter().map(|n| Some(format!("text {}", n % 97))).collect::<StringArray>())),
    ];
    if kind != Kind::Append {
        columns.push(("_lw_version", Arc::new(Int64Array::new_null(count))));
        columns.push(("_lw_time", integers(vec![time; count])));
        columns.push(("_lw_offset", integers((0..count as i64).map(|n| time * 1_000 + n).collect())));
        columns.push(("_lw_deleted", Arc::new(BooleanArray::from(vec![false; count]))));
    }
    if kind == Kind::Correct {
        let corrects =
            numbers.iter().enumerate().map(|(at, _)| Some((time as u64 + at as u64).is_multiple_of(CORRECTED)));
        columns.push(("_lw_corrected", Arc::new(corrects.collect::<BooleanArray>())));
    }
    Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))?)
}

//! Races that must be arranged by hand: a holder that is paused between reading and committing.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::prelude::SessionContext;

use super::plan::{Compaction, plan};
use super::*;
use crate::delta::commit::{Exchange, Exchanged};
use crate::{Change, Lakehouse, Progress, StorageConfig};

const RAW: &str = "apiVersion: v3.0.2
kind: DataContract
id: shop.sale
version: 1.0.0
status: active
customProperties:
  - {property: topic, value: shop.sale}
  - {property: format, value: json}
schema:
  - name: raw.shop_sale
    properties:
      - {name: id, logicalType: string}
";

const SALES: &str = "apiVersion: v3.0.2
kind: DataContract
id: curated.sales
version: 1.0.0
status: active
schema:
  - name: curated.sales
    customProperties:
      - {property: from, value: shop.sale}
      - {property: mode, value: append}
    properties:
      - {name: n, logicalType: integer}
";

async fn lake(dir: &Path) -> Lake {
    for (file, text) in [
        ("contracts/raw/shop.sale.odcs.yaml", RAW),
        ("contracts/curated/sales.odcs.yaml", SALES),
        ("curated/sales.sql", "SELECT _lw_row, 1 AS n FROM event"),
    ] {
        let file = dir.join("sql").join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let lakehouse = Arc::new(Lakehouse::load(&dir.join("sql")).unwrap());
    Lake::open(&StorageConfig::local(&dir.join("lake")).unwrap(), lakehouse).await.unwrap()
}

fn sales() -> TableName {
    TableName::curated("sales")
}

async fn append(lake: &Lake, numbers: std::ops::Range<i64>) {
    for n in numbers {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
        let rows = vec![RecordBatch::try_new(schema.into(), vec![Arc::new(Int64Array::from(vec![n]))]).unwrap()];
        let step = Progress { source: "main".into(), topic: "shop.sale".into(), partition: 0, from: n, next: n + 1 };
        lake.commit(&sales(), Change::Append { rows, progress: vec![step] }).await.unwrap();
    }
}

/// The rows as a statement counts them, all and distinct.
async fn counted(lake: &Lake) -> (i64, i64) {
    let session = SessionContext::new();
    session.register_table("t", lake.fresh_snapshot(&sales()).await.unwrap().provider()).unwrap();
    let answer = session.sql("SELECT count(n), count(DISTINCT n) FROM t").await.unwrap().collect().await.unwrap();
    let number = |column: usize| answer[0].column(column).as_primitive::<Int64Type>().value(0);
    (number(0), number(1))
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// What a holder has in hand who has read and written, and not committed.
async fn in_hand(lake: &Lake, epoch: i64, inputs: std::ops::Range<usize>) -> Exchange {
    let table = lake.maintained(&sales()).unwrap();
    let state = table.state().await.unwrap();
    let inputs = state.files[inputs].to_vec();
    let task = Compaction { inputs, bucket: None, into_buckets: false };
    let outputs = table.compacted(&task, 128 << 20, state.buckets, now()).await.unwrap();
    Exchange { epoch, inputs: task.inputs, outputs }
}

#[tokio::test]
async fn of_two_racing_compactions_one_lands_and_no_row_is_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (lake(dir.path()).await, lake(dir.path()).await);
    append(&one, 0..8).await;
    let (first, second) = (in_hand(&one, 1, 0..8).await, in_hand(&two, 2, 0..8).await);
    assert!(matches!(one.maintained(&sales()).unwrap().exchange(&first).await.unwrap(), Exchanged::At(_)));
    let late = two.maintained(&sales()).unwrap().exchange(&second).await.unwrap();
    assert_eq!(counted(&two).await, (8, 8));
    assert_eq!(late, Exchanged::Stale);
    assert_eq!(two.row_count(&sales()).await.unwrap(), 8);
}

#[tokio::test]
async fn a_holder_that_was_paused_is_refused_although_its_inputs_are_all_there() {
    let dir = tempfile::tempdir().unwrap();
    let (paused, other) = (lake(dir.path()).await, lake(dir.path()).await);
    append(&paused, 0..16).await;
    let late = in_hand(&paused, 1, 0..8).await;
    let new = in_hand(&other, 2, 8..16).await;
    assert!(matches!(other.maintained(&sales()).unwrap().exchange(&new).await.unwrap(), Exchanged::At(_)));
    assert_eq!(paused.maintained(&sales()).unwrap().exchange(&late).await.unwrap(), Exchanged::Fenced);
    assert_eq!(counted(&other).await, (16, 16));
    // A restart reads the epoch from the log.
    let restarted = lake(dir.path()).await;
    let state = restarted.maintained(&sales()).unwrap().state().await.unwrap();
    assert_eq!(state.positions.of_app(crate::delta::commit::MAINTENANCE), Some(2));
}

#[tokio::test]
async fn a_compaction_that_lost_rows_is_never_committed() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    append(&lake, 0..4).await;
    let table = lake.maintained(&sales()).unwrap();
    let state = table.state().await.unwrap();
    // Somebody put another file in the place of one: it is readable and has another number of rows.
    let path = |at: usize| dir.path().join("lake/curated/sales").join(&state.files[at].path);
    append(&lake, 4..5).await;
    let two = in_hand(&lake, 1, 0..2).await;
    let both = dir.path().join("lake/curated/sales").join(&two.outputs[0].add.path);
    std::fs::copy(both, path(3)).unwrap();
    let mut wrong = state.files.to_vec();
    let size = std::fs::metadata(path(3)).unwrap().len();
    let mut of_wrong = crate::delta::snapshot::DataFile::of_size(size, None);
    of_wrong.path = state.files[3].path.clone();
    wrong[3] = Arc::new(of_wrong);
    let task = Compaction { inputs: wrong, bucket: None, into_buckets: false };
    let error = table.compacted(&task, 128 << 20, 4, now()).await.err().unwrap().to_string();
    assert!(error.contains("read 5 rows where the log says 4"), "{error}");
}

#[tokio::test]
async fn inputs_are_chosen_of_the_newest_version() {
    let dir = tempfile::tempdir().unwrap();
    let lake = lake(dir.path()).await;
    append(&lake, 0..20).await;
    let state = lake.maintained(&sales()).unwrap().state().await.unwrap();
    let tasks = plan(&state.files, 128 << 20, false);
    assert_eq!(tasks.iter().map(|task| task.inputs.len()).sum::<usize>(), 20);
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A lake with a file that somebody has uploaded and not committed yet, eight days ago by the files' clock; and what maintains
/// it.
async fn about_to_be_committed(dir: &Path) -> (std::path::PathBuf, Maintenance) {
    let lake = lake(dir).await;
    append(&lake, 0..2).await;
    let file = dir.join("lake/curated/sales/part-about-to-be-committed.parquet");
    std::fs::write(&file, "rows").unwrap();
    written(&file, 8 * DAY);
    let config = MaintenanceConfig { vacuum_every: Duration::ZERO, ..MaintenanceConfig::default() };
    (file, Maintenance::new(lake, config))
}

fn written(file: &Path, ago: Duration) {
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.set_modified(std::time::SystemTime::now() - ago).unwrap();
}

#[tokio::test]
async fn a_clock_that_is_set_ahead_makes_no_file_old() {
    let dir = tempfile::tempdir().unwrap();
    let (file, mut maintenance) = about_to_be_committed(dir.path()).await;
    // This process has just begun, and by the clock that was eight days ago.
    maintenance.clock.said -= i64::try_from((8 * DAY).as_millis()).unwrap();
    assert_eq!(maintenance.pass(&sales()).await.unwrap().files_deleted, 0);
    assert!(file.exists());
    maintenance.clock = Clock::new();
    assert_eq!(maintenance.pass(&sales()).await.unwrap().files_deleted, 1);
}

#[tokio::test]
async fn a_clock_ahead_of_the_storages_makes_no_file_old() {
    let dir = tempfile::tempdir().unwrap();
    let (file, maintenance) = about_to_be_committed(dir.path()).await;
    let of = maintenance.lake.maintained(&sales()).unwrap();
    let epoch = maintenance.leases.hold(of).await.unwrap().unwrap();
    let lease = dir.path().join(format!("lake/curated/sales/_lakeward/maintenance/{epoch:020}"));
    // By the storage's clock the lease was written a moment after the file.
    written(&lease, 8 * DAY);
    assert_eq!(maintenance.pass(&sales()).await.unwrap().files_deleted, 0);
    assert!(file.exists());
    written(&lease, Duration::ZERO);
    assert_eq!(maintenance.pass(&sales()).await.unwrap().files_deleted, 1);
}

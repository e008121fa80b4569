//! A store that takes a commit and loses the answer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::object_store::ObjectStoreUrl;
use deltalake_core::logstore::{StorageConfig, default_logstore};
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use url::Url;

use super::layout::Layout;
use super::{Change, Progress, Table};
use crate::{Lakehouse, TableName};

/// What becomes of the next commits: each has its fate, from the last to the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It lands, and an error is told.
    Lands,
    /// It does not land, and the same error is told.
    IsLost,
    /// Somebody else's commit lands in its place, and an error is told.
    IsOvertaken,
}

#[derive(Debug)]
struct Forgetful {
    of: InMemory,
    fates: parking_lot::Mutex<Vec<Fate>>,
    puts: AtomicUsize,
}

impl fmt::Display for Forgetful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("forgetful")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Forgetful {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let is_commit = path.as_ref().contains("_delta_log/") && matches!(options.mode, PutMode::Create);
        let fate = if is_commit { self.fates.lock().pop() } else { None };
        let Some(fate) = fate else { return self.of.put_opts(path, payload, options).await };
        self.puts.fetch_add(1, Ordering::Relaxed);
        match fate {
            Fate::Lands => drop(self.of.put_opts(path, payload, options).await?),
            Fate::IsLost => {}
            Fate::IsOvertaken => drop(self.of.put_opts(path, other(), options).await?),
        }
        Err(Error::Generic { store: "forgetful", source: "the connection was reset".into() })
    }
    async fn put_multipart_opts(&self, path: &Path, o: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.of.put_multipart_opts(path, o).await
    }
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.of.get_opts(path, options).await
    }
    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.of.delete_stream(paths)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.of.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.of.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.of.copy_opts(from, to, options).await
    }
}

/// A commit of another process, about a partition of its own.
fn other() -> PutPayload {
    let transaction = r#"{"txn":{"appId":"lakeward/raw.t/main/t/9","version":1}}"#;
    PutPayload::from(format!("{}\n{transaction}\n", r#"{"commitInfo":{"operation":"WRITE"}}"#).into_bytes())
}

fn table() -> (Table, Arc<Forgetful>) {
    let sql = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("contracts/raw/t.odcs.yaml", RAW),
        ("contracts/curated/t.odcs.yaml", CURATED),
        ("curated/t.sql", "SELECT _lw_row, 1 AS n FROM event"),
    ] {
        let file = sql.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let lakehouse = Lakehouse::load(sql.path()).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let layout = Layout::curated(lakehouse.table(&TableName::curated("t")).unwrap());
    let store =
        Arc::new(Forgetful { of: InMemory::new(), fates: parking_lot::Mutex::default(), puts: AtomicUsize::new(0) });
    let root: Arc<dyn ObjectStore> = Arc::clone(&store) as _;
    let prefixed = Arc::new(PrefixStore::new(Arc::clone(&root), Path::from("curated/t")));
    let location = Url::parse("memory:///curated/t/").unwrap();
    let log = default_logstore(prefixed, Arc::clone(&root), &location, &StorageConfig::default());
    (Table::new(layout, log, root, ObjectStoreUrl::parse("test://t").unwrap()), store)
}

const RAW: &str = "apiVersion: v3.0.2
kind: DataContract
id: t
version: 1.0.0
status: active
customProperties:
  - {property: topic, value: t}
schema:
  - name: raw.t
    properties:
      - {name: id, logicalType: string}
";

const CURATED: &str = "apiVersion: v3.0.2
kind: DataContract
id: curated.t
version: 1.0.0
status: active
schema:
  - name: curated.t
    customProperties:
      - {property: from, value: t}
      - {property: mode, value: append}
    properties:
      - {name: n, logicalType: integer}
";

fn append(n: i64) -> Change {
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
    let rows = vec![RecordBatch::try_new(schema.into(), vec![Arc::new(Int64Array::from(vec![n]))]).unwrap()];
    Change::Append {
        rows,
        progress: vec![Progress { source: "main".into(), topic: "t".into(), partition: 0, from: n, next: n + 1 }],
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_known_by_its_id_to_have_landed() {
    let (table, store) = table();
    table.commit(append(0)).await.unwrap();
    store.fates.lock().push(Fate::Lands);
    let landed = table.commit(append(1)).await.unwrap();
    assert_eq!((landed.version, landed.attempts), (2, 1));
    let next = table.commit(append(2)).await.unwrap();
    assert_eq!(next.version, 3);
    assert_eq!(table.snapshot(std::time::Duration::ZERO).await.unwrap().rows, 3);
}

#[tokio::test]
async fn a_commit_that_did_not_land_or_was_overtaken_is_told_as_the_error_that_it_met() {
    let (table, store) = table();
    table.commit(append(0)).await.unwrap();
    for fate in [Fate::IsLost, Fate::IsOvertaken] {
        store.fates.lock().push(fate);
        let error = table.commit(append(1)).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("reset"), "{error}");
    }
    // Tried again, it lands once, behind the other's.
    assert_eq!(table.commit(append(1)).await.unwrap().version, 3);
    assert_eq!(table.snapshot(std::time::Duration::ZERO).await.unwrap().rows, 2);
    assert_eq!(store.puts.load(Ordering::Relaxed), 2);
}

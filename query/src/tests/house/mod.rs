//! Two clinics with three patients, and people who see different things of them.

mod tables;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{ParamValues, Result as EngineResult};
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use futures::TryStreamExt;
use lakeward_iam::{Claims, Policies, ResourceTable};
use lakeward_tables::{TableName, reading_schema};
use parking_lot::Mutex;
use prometheus::Registry;
use tempfile::TempDir;

use self::tables::{appointments, clinics, encounters, special_encounters};
pub(super) use self::tables::{declared, patients};
use crate::catalog::{GovernedCatalog, Tables};
use crate::session::Sessions;
use crate::{
    Answer, Audit, AuditKey, AuditUnavailable, Kind, Masks, PseudonymKeys, QueryConfig, QueryError, QueryMetrics,
    QueryService, Record, RequestContext, TableSnapshot, TableSnapshots, attributes_of,
};

/// What nobody but the keeper may ever find in an answer, an error or a plan.
pub(super) const SECRET: &str = "Geheim77";

const CEDAR_SCHEMA: &str = "
entity User in [Role] = { staff_id?: String, patient_id?: String, clinics?: Set<String> };
entity Role;
entity Schema;
entity Table in [Schema, Table];
entity Column in [Table, Tag];
entity Tag;
type Asked = { rows: String, purpose: String };
action read, export, erase appliesTo { principal: [User], resource: [Table], context: Asked };
action see_clear, see_generalised, see_pseudonym appliesTo { principal: [User], resource: [Column], context: Asked };
";

const MASKS: &str = "
generalised:
  identifier.quasi: {birth_date: {band_years: 5, top_age: 90}, default: null}
pseudonym:
  key.subject: hmac
";

const PURPOSES: &str = "
roles: {doctor: care, head: operations, analyst: bi, keeper: engineering, patient: self, guarded: oversight, stranger: care2, nobody: public}
incompatible: []
";

/// role, table, scope, level, tags
const RIGHTS: [(&str, &str, &str, &str, &[&str]); 17] = [
    (
        "doctor",
        "patients",
        "my_patients",
        "clear",
        &["key.subject", "name", "identifier.quasi", "key.place", "clinical"],
    ),
    ("doctor", "encounters", "my_patients", "clear", &["key.event", "key.subject", "sensitivity", "clinical"]),
    ("head", "patients", "my_patients", "clear", &["key.subject", "name", "identifier.quasi", "key.place", "clinical"]),
    ("head", "patients", "my_clinics", "pseudonym", &["key.subject"]),
    ("head", "patients", "my_clinics", "generalised", &["identifier.quasi"]),
    ("head", "patients", "my_clinics", "clear", &["key.place", "clinical"]),
    ("analyst", "patients", "all", "pseudonym", &["key.subject"]),
    ("analyst", "patients", "all", "generalised", &["identifier.quasi"]),
    ("analyst", "patients", "all", "clear", &["key.place"]),
    ("analyst", "encounters", "ordinary", "clear", &["key.event", "sensitivity", "clinical"]),
    ("keeper", "patients", "all", "clear", &["key.subject", "name", "identifier.quasi", "key.place", "clinical"]),
    ("keeper", "encounters", "all", "clear", &["key.event", "key.subject", "sensitivity", "clinical"]),
    ("keeper", "special_encounters", "all", "clear", &["key.event"]),
    ("patient", "patients", "own", "clear", &["key.subject", "name", "identifier.quasi", "key.place", "clinical"]),
    ("guarded", "patients", "all", "clear", &["key.subject", "name", "identifier.quasi", "key.place", "clinical"]),
    ("stranger", "patients", "others", "clear", &["key.subject", "name", "identifier.quasi", "key.place", "clinical"]),
    ("nobody", "clinics", "all", "clear", &["key.place", "public"]),
];

/// One scan of an ungoverned table, as the engine asked for it.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) table: String,
    pub(super) filters: Vec<String>,
    pub(super) limit: Option<usize>,
}

pub(super) struct House {
    pub(super) service: QueryService,
    pub(super) scans: Arc<Mutex<Vec<Scan>>>,
    pub(super) events: Arc<Mutex<Vec<Record>>>,
    /// Set to let no record be kept.
    pub(super) broken: Arc<AtomicBool>,
    bare: SessionState,
    policies: Arc<Policies>,
    _folder: TempDir,
}

/// Someone who asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Person {
    Doctor,
    /// A doctor of patient p1, head of clinic c1.
    Head,
    Analyst,
    Keeper,
    Patient,
    /// Has the role of a patient but no patient id.
    PatientWithoutId,
    Guarded,
    Stranger,
    Nobody,
}

impl House {
    pub(super) async fn open() -> Self {
        Self::with(QueryConfig::default(), &patients(SECRET)).await
    }

    pub(super) async fn with(config: QueryConfig, patients: &RecordBatch) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policies = policies(&folder.path().join("policies"));
        let files: BTreeMap<String, RecordBatch> = [
            ("curated.patients".to_owned(), patients.clone()),
            ("curated.appointments".to_owned(), appointments()),
            ("curated.encounters".to_owned(), encounters()),
            ("curated.special_encounters".to_owned(), special_encounters()),
            ("curated.clinics".to_owned(), clinics()),
        ]
        .into();
        let scans = Arc::default();
        let mut tables = BTreeMap::new();
        let mut bare = Tables::new();
        for (name, rows) in files {
            let inner = parquet(&folder.path().join(&name), &rows).await;
            let (schema, table) = name.split_once('.').unwrap();
            bare.entry(schema.to_owned()).or_default().insert(table.to_owned(), Arc::new(inner.clone()));
            let recording = Recording { name: name.clone(), inner, scans: Arc::clone(&scans) };
            tables.insert(name, Arc::new(recording) as Arc<dyn TableProvider>);
        }
        let events = Arc::new(Mutex::new(Vec::new()));
        let broken = Arc::new(AtomicBool::new(false));
        let config = QueryConfig { now: Some("2026-06-01T00:00:00Z".parse().unwrap()), target_partitions: 2, ..config };
        let bare = Sessions::new(&config)
            .unwrap()
            .state(Arc::new(GovernedCatalog::without_information(bare)), config.now.unwrap());
        let service = QueryService::over(
            Arc::new(Files(tables)),
            declared(),
            Arc::clone(&policies),
            Masks::parse(MASKS, Path::new("masks.yaml")).unwrap(),
            PseudonymKeys::from_master(&[7; 32]).unwrap(),
            config,
            Arc::new(Kept { events: Arc::clone(&events), key: audit_key(), broken: Arc::clone(&broken) }),
            QueryMetrics::register(&Registry::new()).unwrap(),
        );
        Self { service, scans, events, broken, bare, policies, _folder: folder }
    }

    pub(super) fn context(&self, person: Person) -> RequestContext {
        let claims = match person {
            Person::Doctor => Claims::new("d").role("doctor").text("staff_id", "dr1"),
            Person::Head => Claims::new("h").role("head").text("staff_id", "dr1").list("clinics", ["c1"]),
            Person::Analyst => Claims::new("a").role("analyst"),
            Person::Keeper => Claims::new("k").role("keeper"),
            Person::Patient => Claims::new("p").role("patient").text("patient_id", "p2"),
            Person::PatientWithoutId => Claims::new("q").role("patient"),
            Person::Guarded => Claims::new("g").role("guarded"),
            Person::Stranger => Claims::new("s").role("stranger").text("staff_id", "dr1"),
            Person::Nobody => Claims::anonymous(),
        };
        RequestContext {
            principal: self.policies.principal(&claims, None).unwrap(),
            request_id: "r-1".into(),
            deadline: Instant::now() + Duration::from_secs(60),
            protocol: "test",
            peer: None,
            grant_id: None,
            row_limit: None,
        }
    }

    /// The last records of statements, in their order.
    pub(super) fn finished(&self) -> Vec<Record> {
        self.events.lock().iter().filter(|record| record.kind == Kind::Finished).cloned().collect()
    }

    pub(super) async fn answer(&self, person: Person, sql: &str) -> Result<Answer, QueryError> {
        self.service.execute(&self.context(person), sql, None).await
    }

    pub(super) async fn batches(&self, person: Person, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
        self.answer(person, sql).await?.stream.try_collect().await
    }

    /// Rows as texts with `|` between cells and `-` for NULL, sorted.
    pub(super) async fn rows(&self, person: Person, sql: &str) -> Result<Vec<String>, QueryError> {
        Ok(texts(&self.batches(person, sql).await?))
    }

    pub(super) async fn rows_with(
        &self,
        person: Person,
        sql: &str,
        parameters: ParamValues,
    ) -> Result<Vec<String>, QueryError> {
        let answer = self.service.execute(&self.context(person), sql, Some(parameters)).await?;
        Ok(texts(&answer.stream.try_collect::<Vec<_>>().await?))
    }

    pub(super) async fn error(&self, person: Person, sql: &str) -> QueryError {
        match self.rows(person, sql).await {
            Ok(rows) => panic!("{sql} answered {rows:?}"),
            Err(error) => error,
        }
    }

    pub(super) async fn explain(&self, person: Person, sql: &str) -> String {
        let batches = self.batches(person, &format!("EXPLAIN {sql}")).await.unwrap();
        array_value_to_string(batches[0].column(1), 1).unwrap()
    }

    /// The physical plan of the engine alone, over the same files.
    pub(super) async fn bare_plan(&self, sql: &str) -> String {
        let logical = self.bare.create_logical_plan(sql).await.unwrap();
        let physical = self.bare.create_physical_plan(&logical).await.unwrap();
        displayable(physical.as_ref()).indent(false).to_string().trim_end().to_owned()
    }

    /// The levels of an answer's columns, where they are told.
    pub(super) async fn levels(&self, person: Person, sql: &str) -> Vec<String> {
        let schema = self.answer(person, sql).await.unwrap().schema;
        let level = |field: &Arc<datafusion::arrow::datatypes::Field>| {
            field.metadata().get(crate::ColumnLevel::METADATA_KEY).cloned().unwrap_or_default()
        };
        schema.fields().iter().map(level).collect()
    }
}

fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let cell = |column: &ArrayRef, row| match column.is_null(row) {
        true => "-".to_owned(),
        false => array_value_to_string(column, row).unwrap(),
    };
    let mut rows: Vec<String> = batches
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)))
        .map(|(batch, row)| batch.columns().iter().map(|column| cell(column, row)).collect::<Vec<_>>().join("|"))
        .collect();
    rows.sort();
    rows
}

/// The key of every house's audit.
pub(super) fn audit_key() -> AuditKey {
    AuditKey::from_secret(&[9; 32]).unwrap()
}

/// Records in memory, or none at all.
pub(super) struct Kept {
    events: Arc<Mutex<Vec<Record>>>,
    key: AuditKey,
    broken: Arc<AtomicBool>,
}

#[async_trait]
impl Audit for Kept {
    async fn keep(&self, record: Record) -> Result<(), AuditUnavailable> {
        if self.broken.load(Ordering::Acquire) {
            return Err(AuditUnavailable);
        }
        self.keep_later(record);
        Ok(())
    }

    fn keep_later(&self, record: Record) {
        self.events.lock().push(record);
    }

    fn key(&self) -> &AuditKey {
        &self.key
    }
}

struct Files(BTreeMap<String, Arc<dyn TableProvider>>);

#[async_trait]
impl TableSnapshots for Files {
    async fn snapshot(&self, table: &TableName, _max_age: Duration) -> Result<TableSnapshot, QueryError> {
        Ok(TableSnapshot { version: 7, provider: Arc::clone(&self.0[&table.to_string()]) })
    }
}

#[derive(Debug)]
struct Recording {
    name: String,
    inner: ListingTable,
    scans: Arc<Mutex<Vec<Scan>>>,
}

#[async_trait]
impl TableProvider for Recording {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        self.inner.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let filters_shown = filters.iter().map(ToString::to_string).collect();
        self.scans.lock().push(Scan { table: self.name.clone(), filters: filters_shown, limit });
        self.inner.scan(state, projection, filters, limit).await
    }
}

async fn parquet(folder: &Path, rows: &RecordBatch) -> ListingTable {
    fs::create_dir_all(folder).unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(folder.join("1.parquet")).unwrap(), rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    let url = ListingTableUrl::parse(format!("{}/", folder.display())).unwrap();
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
    ListingTable::try_new(
        ListingTableConfig::new(url).with_listing_options(options).with_schema(reading_schema(&rows.schema())),
    )
    .unwrap()
}

fn policies(folder: &Path) -> Arc<Policies> {
    fs::create_dir_all(folder).unwrap();
    let mut cedar = String::new();
    for (number, (role, table, scope, level, tags)) in RIGHTS.iter().enumerate() {
        if *table == "special_encounters" {
            continue; // A hidden table: policies are not even told of it, and the service must hide it by itself.
        }
        let tags: Vec<String> = tags.iter().map(|tag| format!("Tag::\"{tag}\"")).collect();
        cedar.push_str(&format!(
            "@id(\"p{number}\") permit (principal in Role::\"{role}\", action in [Action::\"read\", Action::\"see_{level}\"], \
             resource in Table::\"curated.{table}\") when {{ context.rows == \"{scope}\" && \
             (action == Action::\"read\" || resource in [{}]) }};\n",
            tags.join(", ")
        ));
    }
    cedar.push_str(
        "@id(\"f\") forbid (principal in Role::\"guarded\", action == Action::\"read\", \
         resource in Table::\"curated.patients\") when { context.rows == \"secret\" };\n",
    );
    for (name, text) in [("a.cedarschema", CEDAR_SCHEMA), ("a.cedar", &cedar), ("purposes.yaml", PURPOSES)] {
        fs::write(folder.join(name), text).unwrap();
    }
    let resources: Vec<ResourceTable> = declared()
        .iter()
        .filter(|table| !table.hidden)
        .map(|table| ResourceTable {
            name: table.name.to_string(),
            parents: Vec::new(),
            columns: table.columns.iter().map(|column| (column.name.clone(), column.tags.clone())).collect(),
            scopes: table.scopes.keys().cloned().collect(),
            scope_attributes: table
                .scopes
                .iter()
                .map(|(scope, sql)| (scope.clone(), attributes_of(&table.name, sql)))
                .collect(),
        })
        .collect();
    Arc::new(Policies::load(folder, &resources).unwrap())
}

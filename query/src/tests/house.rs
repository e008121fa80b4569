//! Two clinics with three patients, and people who see different things of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion::arrow::array::{
    Array, ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, SchemaRef, TimeUnit};
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
use lakeward_tables::{Column, Expression, GovernedTable, TableName, reading_schema};
use parking_lot::Mutex;
use prometheus::Registry;
use tempfile::TempDir;

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

const MY_PATIENTS: &str = "patient_id IN (SELECT patient_id FROM curated.appointments \
     WHERE practitioner_id = attr('staff_id') AND starts_at > now() - INTERVAL '90 days')";

fn table(name: &str, columns: &[(&str, DataType, &str)], scopes: &[(&str, &str)]) -> GovernedTable {
    GovernedTable {
        name: format!("curated.{name}").parse().unwrap(),
        description: format!("About {name}."),
        columns: columns
            .iter()
            .map(|(name, data_type, tag)| Column {
                name: (*name).into(),
                data_type: data_type.clone(),
                tags: vec![(*tag).into()],
                description: String::new(),
                required: false,
                prunable: false,
                read_as: None,
                id: None,
                line: 1,
            })
            .collect(),
        primary_key: vec![columns[0].0.into()],
        subject: columns.iter().any(|(name, ..)| *name == "patient_id").then(|| "patient_id".to_owned()),
        scopes: scopes
            .iter()
            .map(|(scope, sql)| ((*scope).into(), Expression { sql: (*sql).into(), line: 1 }))
            .collect(),
        hidden: false,
        file: "x.odcs.yaml".into(),
    }
}

pub(super) fn declared() -> Vec<GovernedTable> {
    let others = MY_PATIENTS.replace(" IN ", " NOT IN ");
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut encounters = table(
        "encounters",
        &[
            ("encounter_id", DataType::Utf8, "key.event"),
            ("patient_id", DataType::Utf8, "key.subject"),
            ("sensitivity", DataType::Utf8, "sensitivity"),
            ("value", DataType::Int64, "clinical"),
        ],
        &[("ordinary", "sensitivity = 'ordinary'"), ("my_patients", MY_PATIENTS)],
    );
    let read_as = "CASE WHEN encounter_id IN (SELECT encounter_id FROM curated.special_encounters) THEN 'special' ELSE sensitivity END";
    encounters.columns[2].read_as = Some(Expression { sql: read_as.into(), line: 1 });
    let mut special = table("special_encounters", &[("encounter_id", DataType::Utf8, "key.event")], &[]);
    special.hidden = true;
    vec![
        table(
            "patients",
            &[
                ("patient_id", DataType::Utf8, "key.subject"),
                ("family_name", DataType::Utf8, "name"),
                ("birth_date", DataType::Date32, "identifier.quasi"),
                ("clinic_id", DataType::Utf8, "key.place"),
                ("number", DataType::Utf8, "clinical"),
            ],
            &[
                ("own", "patient_id = attr('patient_id')"),
                ("my_patients", MY_PATIENTS),
                ("others", &others),
                ("my_clinics", "array_has(attr('clinics'), clinic_id)"),
                ("secret", &format!("family_name = '{SECRET}'")),
            ],
        ),
        table(
            "appointments",
            &[
                ("patient_id", DataType::Utf8, "key.subject"),
                ("practitioner_id", DataType::Utf8, "key.staff"),
                ("starts_at", time, "time"),
            ],
            &[],
        ),
        encounters,
        special,
        table("clinics", &[("clinic_id", DataType::Utf8, "key.place"), ("name", DataType::Utf8, "public")], &[]),
    ]
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn strings(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn day(text: &str) -> Option<i32> {
    use chrono::Datelike;
    Some(text.parse::<chrono::NaiveDate>().unwrap().num_days_from_ce() - 719_163)
}

/// p1 and p2 in clinic c1; p3 in c2, with a secret for name and number; p4 without a name in c2.
pub(super) fn patients(secret: &str) -> RecordBatch {
    batch(vec![
        ("patient_id", strings(&[Some("p1"), Some("p2"), Some("p3"), Some("p4")])),
        ("family_name", strings(&[Some("Ada"), Some("Bo"), Some(secret), None])),
        (
            "birth_date",
            Arc::new(Date32Array::from(vec![day("1951-02-03"), day("1993-05-06"), day("1901-07-08"), None])),
        ),
        ("clinic_id", strings(&[Some("c1"), Some("c1"), Some("c2"), Some("c2")])),
        ("number", strings(&[Some("12"), Some("34"), Some(secret), Some("56")])),
    ])
}

/// Of dr1: p1 ten days ago, p2 too long ago, and one without a patient. Of dr2: p3.
fn appointments() -> RecordBatch {
    let micros = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_micros();
    let times = vec![
        micros("2026-05-22T08:00:00Z"),
        micros("2025-01-01T08:00:00Z"),
        micros("2026-05-22T09:00:00Z"),
        micros("2026-05-22T10:00:00Z"),
    ];
    batch(vec![
        ("patient_id", strings(&[Some("p1"), Some("p2"), None, Some("p3")])),
        ("practitioner_id", strings(&[Some("dr1"), Some("dr1"), Some("dr1"), Some("dr2")])),
        ("starts_at", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
    ])
}

/// e2 is written down as ordinary but is special; e5 has no patient.
fn encounters() -> RecordBatch {
    batch(vec![
        ("encounter_id", strings(&[Some("e1"), Some("e2"), Some("e3"), Some("e4"), Some("e5")])),
        ("patient_id", strings(&[Some("p1"), Some("p1"), Some("p3"), Some("p3"), None])),
        ("sensitivity", strings(&[Some("ordinary"), Some("ordinary"), Some("special"), Some("ordinary"), None])),
        ("value", Arc::new(Int64Array::from(vec![1, 20, 300, 4000, 50000]))),
    ])
}

fn special_encounters() -> RecordBatch {
    batch(vec![("encounter_id", strings(&[Some("e2"), Some("e3")]))])
}

fn clinics() -> RecordBatch {
    batch(vec![("clinic_id", strings(&[Some("c1"), Some("c2")])), ("name", strings(&[Some("North"), Some("South")]))])
}

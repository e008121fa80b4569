//! Two lakes with everything around them that a person can ask: HTTP and Flight SQL.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::catalog::TableProvider;
use datafusion::execution::session_state::SessionState;
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;
use lakeward_iam::{Authenticator, AuthenticatorConfig, Claims, DevelopmentIssuer};
use lakeward_tables::Lake;
use parking_lot::Mutex;
use prometheus::Registry;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;

use super::lake::{Rows, write};
use super::world::World;
use crate::catalog::{GovernedCatalog, Tables};
use crate::flight::{FlightState, TicketKey, serve_flight};
use crate::gateway::{Gateway, RequestMetrics};
use crate::http::{HttpState, Readiness, router};
use crate::session::Sessions;
use crate::{Audit, AuditKey, AuditUnavailable, PseudonymKeys, QueryConfig, QueryMetrics, QueryService, Record};

/// What a statement told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// By which protocol.
    pub(super) by: Protocol,
    /// Names, types and levels of the columns, or nothing where it failed.
    pub(super) schema: String,
    /// Rows in no order, or the error.
    pub(super) rows: Result<Vec<String>, String>,
    /// What else came with it: levels and limits in headers, the number of endpoints, what the audit has.
    pub(super) beside: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Json,
    Lines,
    Csv,
    Arrow,
    Flight,
}

impl Protocol {
    pub(super) const ALL: [Self; 5] = [Self::Json, Self::Lines, Self::Csv, Self::Arrow, Self::Flight];

    fn accept(self) -> &'static str {
        match self {
            Self::Json | Self::Flight => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// One lake with its doors.
pub(super) struct House {
    http: Router,
    flight: Channel,
    issuer: DevelopmentIssuer,
    audit: Arc<Kept>,
    bare: SessionState,
    _folder: Arc<TempDir>,
}

struct Kept {
    records: Mutex<Vec<Record>>,
    key: AuditKey,
}

#[async_trait]
impl Audit for Kept {
    async fn keep(&self, record: Record) -> Result<(), AuditUnavailable> {
        self.keep_later(record);
        Ok(())
    }

    fn keep_later(&self, record: Record) {
        self.records.lock().push(record);
    }

    fn key(&self) -> &AuditKey {
        &self.key
    }
}

impl House {
    /// `name` is a folder's: two names of one length, so that nothing differs by it.
    pub(super) async fn open(
        world: &World,
        rows: &Rows,
        keys: PseudonymKeys,
        folder: &Arc<TempDir>,
        name: &str,
    ) -> Self {
        let lake = write(world, rows, &folder.path().join(name)).await;
        let config = QueryConfig {
            now: Some(World::now()),
            target_partitions: 2,
            // Nothing is written any more.
            freshness: Duration::from_secs(86_400),
            ..QueryConfig::default()
        };
        let bare = bare(world, &lake, &config).await;
        let registry = Registry::new();
        let audit = Arc::new(Kept { records: Mutex::default(), key: AuditKey::from_secret(&[9; 32]).unwrap() });
        let service = QueryService::new(
            lake,
            Arc::clone(&world.lakehouse),
            Arc::clone(&world.policies),
            world.masks.clone(),
            keys,
            config,
            Arc::clone(&audit) as Arc<dyn Audit>,
            QueryMetrics::register(&registry).unwrap(),
        );
        let issuer =
            DevelopmentIssuer::open(&folder.path().join("key.pem"), "https://dev.example", "lakeward").unwrap();
        let authenticator = Authenticator::new(AuthenticatorConfig::default(), vec![issuer.local()]).unwrap();
        let metrics = RequestMetrics::register(&registry).unwrap();
        let gateway = Gateway::new(service, Arc::new(authenticator), Arc::clone(&world.policies), metrics);
        let http = router(HttpState::new(gateway.clone(), Arc::new(Readiness::default), registry));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = FlightState::new(gateway, TicketKey::new(&[9; 32]).unwrap());
        tokio::spawn(serve_flight(listener, state, std::future::pending(), None));
        let flight = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { http, flight, issuer, audit, bare, _folder: Arc::clone(folder) }
    }

    /// A token of a person; none for the anonymous.
    pub(super) fn token(&self, claims: &Claims) -> Option<String> {
        (!claims.is_anonymous()).then(|| self.issuer.mint(claims, Duration::from_secs(86_400)).unwrap())
    }

    /// Asks, as somebody would by this protocol.
    pub(super) async fn ask(&self, token: Option<&str>, sql: &str, by: Protocol) -> Told {
        self.audit.records.lock().clear();
        let mut told = match by {
            Protocol::Flight => self.by_flight(token, sql).await,
            _ => self.by_http(token, sql, by).await,
        };
        told.beside.push_str(&self.audited());
        told
    }

    async fn by_http(&self, token: Option<&str>, sql: &str, by: Protocol) -> Told {
        let mut request = Request::builder().method("POST").uri("/v1/sql").header("accept", by.accept());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = serde_json::json!({ "sql": sql }).to_string();
        let response = self.http.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.map(|body| body.to_vec());
        let mut headers: Vec<String> = head
            .headers
            .iter()
            // What numbers the request, and what tells how much time is left.
            .filter(|(name, _)| !["x-lakeward-request-id", "x-lakeward-time-limit-ms"].contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or_default()))
            .collect();
        headers.sort();
        let beside = format!("{}\n{}\n", head.status, headers.join("\n"));
        let (schema, rows) = match body {
            Err(_) => (String::new(), Err("the body was broken off".to_owned())),
            Ok(body) if !head.status.is_success() => (String::new(), Err(without_number(&body))),
            Ok(body) => told_in(by, &body),
        };
        Told { by, schema, rows, beside }
    }

    async fn by_flight(&self, token: Option<&str>, sql: &str) -> Told {
        let mut client = FlightSqlServiceClient::new(self.flight.clone());
        if let Some(token) = token {
            client.set_token(token.to_owned());
        }
        let failed = |error: FlightError| match error {
            FlightError::Tonic(status) => {
                format!("{:?} {}", status.code(), status.message())
            }
            other => other.to_string(),
        };
        let info = match client.execute(sql.to_owned(), None).await {
            Ok(info) => info,
            Err(error) => {
                return Told {
                    by: Protocol::Flight,
                    schema: String::new(),
                    rows: Err(failed(error)),
                    beside: String::new(),
                };
            }
        };
        let beside = format!(
            "{} endpoints, {} records, {} bytes, ordered {}, {:?}\n",
            info.endpoint.len(),
            info.total_records,
            info.total_bytes,
            info.ordered,
            info.app_metadata
        );
        let schema = info.clone().try_decode_schema().map(|schema| columns(&schema)).unwrap_or_default();
        let mut rows = Ok(Vec::new());
        for endpoint in info.endpoint {
            let Some(ticket) = endpoint.ticket else { continue };
            let batches = match client.do_get(ticket).await {
                Ok(stream) => stream.try_collect::<Vec<RecordBatch>>().await,
                Err(error) => Err(error),
            };
            match (batches, &mut rows) {
                (Ok(batches), Ok(rows)) => rows.extend(texts(&batches)),
                (Err(error), _) => rows = Err(failed(error)),
                _ => {}
            }
        }
        if let Ok(rows) = &mut rows {
            rows.sort();
        }
        Told { by: Protocol::Flight, schema, rows, beside }
    }

    /// What the audit has of the last statement: without times, the versions of tables, and the digests of whom rows are
    /// about, none of which the person may read.
    fn audited(&self) -> String {
        let records = self.audit.records.lock();
        let of_record = |record: &Record| {
            let tables: Vec<String> = record
                .tables
                .iter()
                .map(|table| format!("{} {} {:?} {:?}", table.name, table.policy, table.scopes, table.columns))
                .collect();
            let Record { kind, statement, rows, bytes, outcome, .. } = record;
            format!("{kind:?} {statement:?} {rows:?} {bytes:?} {outcome:?} {}", tables.join("; "))
        };
        records.iter().map(of_record).collect::<Vec<_>>().join("\n")
    }

    /// The rows that somebody gets who sees everything: the engine alone over the same files.
    pub(super) async fn bare(&self, sql: &str) -> Result<Vec<String>, ()> {
        let plan = self.bare.create_logical_plan(sql).await.map_err(drop)?;
        let frame = DataFrame::new(self.bare.clone(), plan);
        let limit = tokio::time::timeout(Duration::from_secs(20), frame.collect());
        let mut rows = texts(&limit.await.map_err(drop)?.map_err(drop)?);
        rows.sort();
        Ok(rows)
    }
}

async fn bare(world: &World, lake: &Lake, config: &QueryConfig) -> SessionState {
    let mut tables = Tables::new();
    for table in &world.tables {
        let snapshot = lake.fresh_snapshot(&table.name).await.unwrap();
        let provider: Arc<dyn TableProvider> = snapshot.provider();
        tables.entry(table.name.schema.clone()).or_default().insert(table.name.table.clone(), provider);
    }
    let catalog = Arc::new(GovernedCatalog::without_information(tables));
    Sessions::new(config).unwrap().state(catalog, World::now())
}

/// Columns and rows of a body.
fn told_in(by: Protocol, body: &[u8]) -> (String, Result<Vec<String>, String>) {
    let text = || String::from_utf8_lossy(body).into_owned();
    match by {
        Protocol::Json | Protocol::Flight => {
            let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body) else {
                return (String::new(), Err("not JSON".to_owned()));
            };
            let rows = answer["rows"].as_array().map(|rows| rows.iter().map(ToString::to_string).collect::<Vec<_>>());
            let error = answer.get("error").map(|error| without_number(error.to_string().as_bytes()));
            let rows = match (error, rows) {
                (Some(error), _) => Err(error),
                (None, Some(mut rows)) => {
                    rows.sort();
                    Ok(rows)
                }
                (None, None) => Err("no rows".to_owned()),
            };
            (format!("{} {}", answer["columns"], answer["truncated"]), rows)
        }
        Protocol::Lines => {
            let mut lines: Vec<String> = text().lines().map(str::to_owned).collect();
            match lines.iter().find(|line| line.starts_with("{\"error\"")) {
                Some(error) => (String::new(), Err(without_number(error.as_bytes()))),
                None => {
                    lines.sort();
                    (String::new(), Ok(lines))
                }
            }
        }
        Protocol::Csv => {
            let text = text();
            let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
            // A quoted text may hold the end of a line: then lines are compared, which is as good.
            let mut lines: Vec<String> = rest.lines().map(str::to_owned).collect();
            lines.sort();
            (head.to_owned(), Ok(lines))
        }
        Protocol::Arrow => match StreamReader::try_new(body, None) {
            Err(error) => (String::new(), Err(error.to_string())),
            Ok(reader) => {
                let schema = columns(&reader.schema());
                match reader.collect::<Result<Vec<RecordBatch>, _>>() {
                    Err(error) => (schema, Err(error.to_string())),
                    Ok(batches) => {
                        let mut rows = texts(&batches);
                        rows.sort();
                        (schema, Ok(rows))
                    }
                }
            }
        },
    }
}

/// A problem document without the number of its request.
fn without_number(body: &[u8]) -> String {
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(mut problem) => {
            if let Some(members) = problem.as_object_mut() {
                members.remove("instance");
                members.remove("request_id");
                if let Some(error) = members.get_mut("error").and_then(|error| error.as_object_mut()) {
                    error.remove("instance");
                    error.remove("request_id");
                }
            }
            problem.to_string()
        }
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

fn columns(schema: &Schema) -> String {
    let column = |field: &Arc<datafusion::arrow::datatypes::Field>| {
        let metadata: std::collections::BTreeMap<_, _> = HashMap::iter(field.metadata()).collect();
        format!("{} {} {} {metadata:?}", field.name(), field.data_type(), field.is_nullable())
    };
    schema.fields().iter().map(column).collect::<Vec<_>>().join(", ")
}

fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let cell = |column: &ArrayRef, row| match column.is_null(row) {
        true => "-".to_owned(),
        false => array_value_to_string(column, row).unwrap_or_else(|error| error.to_string()),
    };
    let of_row = |batch: &RecordBatch, row| batch.columns().iter().map(|column| cell(column, row)).collect::<Vec<_>>();
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| of_row(batch, row).join("|"))).collect()
}

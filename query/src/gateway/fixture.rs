//! A small lakehouse in a temporary folder, with people who may and people who may not, for the tests of protocols.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use datafusion::arrow::array::{Date32Array, Int64Array, RecordBatch, StringArray};
use lakeward_iam::{Authenticator, AuthenticatorConfig, Claims, DevelopmentIssuer, Policies, ResourceTable};
use lakeward_tables::{Change, Lake, Lakehouse, StorageConfig, TableName};
use prometheus::Registry;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{Gateway, RequestMetrics};
use crate::governed::attributes_of;
use crate::{
    AuditConfig, AuditKey, AuditMetrics, JournalAudit, Masks, PseudonymKeys, QueryConfig, QueryMetrics, QueryService,
};

const FILES: [(&str, &str); 8] = [
    (
        "contracts/raw/demo.person.odcs.yaml",
        "apiVersion: v3.0.2
kind: DataContract
id: demo.person
name: People
version: 1.0.0
status: active
customProperties:
  - {property: topic, value: demo.person}
  - {property: format, value: json}
schema:
  - name: raw.demo_person
    physicalName: raw.demo_person
    logicalType: object
    properties:
      - {name: id, logicalType: string}
",
    ),
    (
        "contracts/curated/people.odcs.yaml",
        "apiVersion: v3.0.2
kind: DataContract
id: curated.people
name: People
version: 1.0.0
status: active
description: {purpose: Who the people are.}
schema:
  - name: curated.people
    physicalName: curated.people
    logicalType: object
    customProperties:
      - {property: from, value: demo.person}
      - {property: mode, value: append}
      - {property: subject, value: id}
      - property: scopes
        value: {own: id = attr('person_id')}
    properties:
      - {name: id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1, tags: [key.subject]}
      - {name: name, logicalType: string, tags: [name], description: The full name.}
      - {name: born, logicalType: date, tags: [identifier.quasi]}
      - {name: visits, logicalType: integer, tags: [count]}
",
    ),
    (
        "curated/people.sql",
        "SELECT _lw_row, payload['id'] AS id, CAST(NULL AS VARCHAR) AS name, CAST(NULL AS DATE) AS born,
CAST(NULL AS BIGINT) AS visits FROM event",
    ),
    (
        "policies/demo.cedarschema",
        "entity User in [Role] = { person_id?: String };
entity Role;
entity Schema;
entity Table in [Schema, Table];
entity Column in [Table, Tag];
entity Tag;
type Asked = { rows: String, purpose: String };
action read, export, erase appliesTo { principal: [User], resource: [Table], context: Asked };
action see_clear, see_generalised, see_pseudonym appliesTo { principal: [User], resource: [Column], context: Asked };
",
    ),
    (
        "policies/demo.cedar",
        r#"@id("keeper.people.clear")
permit (principal in Role::"keeper", action in [Action::"read", Action::"see_clear"], resource in Table::"curated.people")
when { context.rows == "all" && context.purpose == "care" };
@id("counter.people.pseudonym")
permit (principal in Role::"counter", action in [Action::"read", Action::"see_pseudonym"], resource in Table::"curated.people")
when { context.rows == "all" && (action == Action::"read" || resource in [Tag::"key.subject"]) };
@id("counter.people.generalised")
permit (principal in Role::"counter", action in [Action::"read", Action::"see_generalised"], resource in Table::"curated.people")
when { context.rows == "all" && (action == Action::"read" || resource in [Tag::"identifier.quasi"]) };
@id("counter.people.clear")
permit (principal in Role::"counter", action in [Action::"read", Action::"see_clear"], resource in Table::"curated.people")
when { context.rows == "all" && (action == Action::"read" || resource in [Tag::"count"]) };
"#,
    ),
    (
        "policies/oversight.cedar",
        r#"@id("watcher.audit.clear")
permit (principal in Role::"watcher", action in [Action::"read", Action::"see_clear"], resource in Table::"audit.*")
when { context.rows == "all" };
@id("officer.audit.clear")
permit (principal in Role::"officer", action in [Action::"read", Action::"see_clear"], resource in Table::"audit.*")
when { context.rows == "all" };
@id("officer.people.clear")
permit (principal in Role::"officer", action in [Action::"read", Action::"see_clear"], resource in Table::"curated.people")
when { context.rows == "all" && (action == Action::"read" || resource in [Tag::"key.subject"]) };
@id("person.people.clear")
permit (principal in Role::"person", action in [Action::"read", Action::"see_clear"], resource in Table::"curated.people")
when { context.rows == "own" };
"#,
    ),
    (
        "policies/masks.yaml",
        "generalised:
  identifier.quasi: {born: year, default: null}
pseudonym:
  key.subject: hmac
",
    ),
    (
        "policies/purposes.yaml",
        "roles: {keeper: care, counter: bi, watcher: oversight, officer: oversight, person: self, nobody: public}\nincompatible: []\n",
    ),
];

/// The lakehouse and whoever may ask for tokens.
pub(crate) struct House {
    pub(crate) gateway: Gateway,
    pub(crate) registry: Registry,
    lake: Lake,
    issuer: DevelopmentIssuer,
    _folder: TempDir,
}

impl House {
    /// Three people: `a` Ada, born 1950-01-02, 3 visits; `b` Bo, born 1990-05-06, none; `c`, unknown but for 7 visits.
    pub(crate) async fn open(config: QueryConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let declared = folder.path().join("sql");
        for (name, text) in FILES {
            let file = declared.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let lakehouse = Arc::new(Lakehouse::load(&declared).unwrap());
        let policies = Arc::new(Policies::load(&declared.join("policies"), &resources(&lakehouse)).unwrap());
        let lake = lake(&folder.path().join("store"), Arc::clone(&lakehouse)).await;
        let issuer =
            DevelopmentIssuer::open(&folder.path().join("key.pem"), "https://dev.example", "lakeward").unwrap();
        let authenticator = Authenticator::new(AuthenticatorConfig::default(), vec![issuer.local()]).unwrap();
        let registry = Registry::new();
        let audit = JournalAudit::start(
            lake.journal(),
            AuditKey::from_secret(&[9; 32]).unwrap(),
            AuditConfig::default(),
            AuditMetrics::register(&registry).unwrap(),
        );
        let service = QueryService::new(
            lake.clone(),
            lakehouse,
            Arc::clone(&policies),
            Masks::load(&declared.join("policies/masks.yaml")).unwrap(),
            PseudonymKeys::from_master(&[7; 32]).unwrap(),
            config,
            Arc::clone(&audit) as _,
            QueryMetrics::register(&registry).unwrap(),
        );
        let metrics = RequestMetrics::register(&registry).unwrap();
        let gateway = Gateway::new(service, Arc::new(authenticator), policies, metrics);
        Self { gateway, registry, lake, issuer, _folder: folder }
    }

    /// A token of a person with these roles, good for an hour.
    pub(crate) fn token(&self, person: &str, roles: &[&str]) -> String {
        let claims = roles.iter().fold(Claims::new(person), |claims, role| claims.role(*role));
        self.issuer.mint(&claims, Duration::from_secs(3600)).unwrap()
    }

    /// Tokens that would be the keeper's, were they not bad, and what is bad about them.
    pub(crate) fn bad_tokens(&self) -> Vec<(&'static str, String)> {
        let good = self.token("kim", &["keeper"]);
        let parts: Vec<&str> = good.split('.').collect();
        let [header, payload, signature] = parts[..] else { panic!("three parts were expected") };
        let payload_of = |change: &dyn Fn(&mut Map<String, Value>)| {
            let mut payload = serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap();
            change(&mut payload);
            payload
        };
        let signed = |change: &dyn Fn(&mut Map<String, Value>)| self.issuer.sign(&payload_of(change)).unwrap();
        let encoded = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let more_roles = Value::from(payload_of(&|payload| drop(payload.insert("roles".into(), json!(["counter"])))));
        let none = encoded(&json!({"alg": "none", "typ": "JWT"}));
        let other_folder = tempfile::tempdir().unwrap();
        let stranger =
            DevelopmentIssuer::open(&other_folder.path().join("key.pem"), "https://dev.example", "lakeward").unwrap();
        vec![
            ("nonsense", "nonsense".to_owned()),
            ("empty", String::new()),
            ("expired", signed(&|payload| drop(payload.insert("exp".into(), json!(1_700_000_000))))),
            ("no expiry", signed(&|payload| drop(payload.remove("exp")))),
            ("wrong audience", signed(&|payload| drop(payload.insert("aud".into(), json!("elsewhere"))))),
            ("wrong issuer", signed(&|payload| drop(payload.insert("iss".into(), json!("https://other.example"))))),
            ("alg none", format!("{none}.{payload}.")),
            ("alg none with the signature", format!("{none}.{payload}.{signature}")),
            ("no signature", format!("{header}.{payload}.")),
            ("payload of another", format!("{header}.{}.{signature}", encoded(&more_roles))),
            ("key of another", stranger.mint(&Claims::new("kim").role("keeper"), Duration::from_secs(3600)).unwrap()),
        ]
    }

    /// A token of somebody who is a person of the data.
    pub(crate) fn token_of(&self, id: &str) -> String {
        let claims = Claims::new(format!("person-{id}")).role("person").text("person_id", id);
        self.issuer.mint(&claims, Duration::from_secs(3600)).unwrap()
    }

    /// Brings what the audit has into its table, and lets readers see it.
    pub(crate) async fn fold(&self) {
        self.lake.journal().fold().await.unwrap();
        self.lake.fresh_snapshot(&TableName::audit_events()).await.unwrap();
    }

    /// Adds a person with so many visits.
    pub(crate) async fn add(&self, id: &str, visits: i64) {
        let row = people(&[id], &[None], &[None], &[visits]);
        self.lake.commit(&table(), Change::Append { rows: vec![row], progress: Vec::new() }).await.unwrap();
    }
}

fn resources(lakehouse: &Lakehouse) -> Vec<ResourceTable> {
    lakehouse
        .governed_tables()
        .into_iter()
        .map(|table| ResourceTable {
            name: table.name.to_string(),
            parents: (table.name.schema == "audit").then(|| "audit.*".to_owned()).into_iter().collect(),
            scopes: table.scopes.keys().cloned().collect(),
            scope_attributes: table
                .scopes
                .iter()
                .map(|(scope, sql)| (scope.clone(), attributes_of(&table.name, sql)))
                .collect(),
            columns: table.columns.into_iter().map(|column| (column.name, column.tags)).collect(),
        })
        .collect()
}

fn table() -> TableName {
    "curated.people".parse().unwrap()
}

fn people(ids: &[&str], names: &[Option<&str>], born: &[Option<i32>], visits: &[i64]) -> RecordBatch {
    RecordBatch::try_from_iter([
        ("id", Arc::new(StringArray::from(ids.to_vec())) as _),
        ("name", Arc::new(StringArray::from(names.to_vec())) as _),
        ("born", Arc::new(Date32Array::from(born.to_vec())) as _),
        ("visits", Arc::new(Int64Array::from(visits.to_vec())) as _),
    ])
    .unwrap()
}

async fn lake(store: &Path, lakehouse: Arc<Lakehouse>) -> Lake {
    fs::create_dir_all(store).unwrap();
    let lake = Lake::open(&StorageConfig::local(store).unwrap(), lakehouse).await.unwrap();
    let rows = people(&["a", "b", "c"], &[Some("Ada"), Some("Bo"), None], &[Some(-7304), Some(7430), None], &[3, 0, 7]);
    lake.commit(&table(), Change::Append { rows: vec![rows], progress: Vec::new() }).await.unwrap();
    // What was known before the commit is fresh enough for a second.
    lake.fresh_snapshot(&table()).await.unwrap();
    lake
}

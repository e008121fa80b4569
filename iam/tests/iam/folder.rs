//! A policy folder of a small library: loans of books at its sites.

use std::fs;

use lakeward_iam::{Claims, Level, Policies, ResourceTable, TableDecision};
use tempfile::TempDir;

const SCHEMA: &str = r#"
entity User in [Role] = { member?: String, sites?: Set<String> };
entity Role;
entity Schema;
entity Table in [Schema, Table];
entity Column in [Table, Tag];
entity Tag;
type Asked = { rows: String, purpose: String };
action see;
action read appliesTo { principal: User, resource: Table, context: Asked };
action see_clear, see_generalised, see_pseudonym in [see] appliesTo { principal: User, resource: Column, context: Asked };
"#;

const PURPOSES: &str = "roles: {reader: lending, librarian: lending, auditor: audit, nobody: public}\n";

/// A folder to load policies from.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// With these policies in `test.cedar`.
    pub(crate) fn with(policies: &str) -> Self {
        let folder = Self(TempDir::new().unwrap());
        folder.file("library.cedarschema", SCHEMA).file("purposes.yaml", PURPOSES).file("test.cedar", policies)
    }

    /// With a file put there or replaced.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.0.path().join(name), text).unwrap();
        self
    }

    pub(crate) fn without(self, name: &str) -> Self {
        fs::remove_file(self.0.path().join(name)).unwrap();
        self
    }

    pub(crate) fn load(&self) -> Policies {
        self.try_load().unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    /// The policies, or the problems as `file:line: message`.
    pub(crate) fn try_load(&self) -> Result<Policies, Vec<String>> {
        Policies::load(self.0.path(), &tables()).map_err(|problems| {
            let prefix = format!("{}/", self.0.path().display());
            problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
        })
    }
}

/// The tables of the library.
pub(crate) fn tables() -> Vec<ResourceTable> {
    let column = |name: &str, tags: &[&str]| (name.to_owned(), tags.iter().map(|tag| (*tag).to_owned()).collect());
    let needs = |scope: &str, attribute: &str| (scope.to_owned(), vec![attribute.to_owned()]);
    vec![
        ResourceTable {
            name: "curated.loans".into(),
            columns: vec![
                column("loan", &["key"]),
                column("member", &["key", "person"]),
                column("day", &["time"]),
                column("remark", &["text"]),
                column("complaint", &["text"]),
                column("new", &[]),
            ],
            scopes: vec!["own".into(), "sites".into(), "overdue".into()],
            scope_attributes: [needs("own", "member"), needs("sites", "sites")].into(),
            ..ResourceTable::default()
        },
        ResourceTable {
            name: "raw.loans".into(),
            parents: vec!["raw.*".into()],
            columns: vec![column("offset", &["transport"]), column("payload", &["payload"])],
            ..ResourceTable::default()
        },
    ]
}

/// A librarian who has every attribute.
pub(crate) fn librarian() -> Claims {
    Claims::new("lena").role("librarian").text("member", "m-1").list("sites", ["north", "south"])
}

/// What the policies give these claims of `curated.loans`.
pub(crate) fn loans(policies: &str, claims: &Claims) -> TableDecision {
    let policies = Folder::with(policies).load();
    let principal = policies.principal(claims, None).unwrap();
    policies.decide(&principal, "curated.loans").as_ref().clone()
}

/// Names of the permitted scopes.
pub(crate) fn scopes(decision: &TableDecision) -> Vec<&str> {
    decision.scopes.iter().map(|scope| scope.scope.as_str()).collect()
}

/// The level of a column in a permitted scope.
pub(crate) fn level(decision: &TableDecision, scope: &str, column: &str) -> Level {
    decision.scope(scope).unwrap_or_else(|| panic!("scope {scope} is not permitted")).levels[column]
}

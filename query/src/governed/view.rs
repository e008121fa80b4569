//! Which column is shown how, in which scope.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use lakeward_iam::{ALL_ROWS, Level, TableDecision};
use lakeward_tables::{GovernedTable, reading_type};
use sha2::{Digest, Sha256};

use crate::ColumnLevel;
use crate::masks::{Masked, Masks};

/// How a cell is shown in the rows of one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    Hidden,
    /// Pseudonym or generalised, by a mask that works for the column.
    Masked(Level, Masked),
    Clear,
}

impl Shown {
    pub(crate) fn level(&self) -> Level {
        match self {
            Self::Hidden => Level::Hidden,
            Self::Masked(level, _) => *level,
            Self::Clear => Level::Clear,
        }
    }
}

/// A column of a governed table.
#[derive(Debug, Clone)]
pub(crate) struct ViewColumn {
    pub(crate) name: String,
    /// In which it is read.
    pub(crate) data_type: DataType,
    pub(crate) description: String,
    /// How it is shown, aligned with the scopes of the view.
    pub(crate) shown: Vec<Shown>,
    /// The level that is announced.
    pub(crate) level: ColumnLevel,
    /// Whether it reads as something else than what is stored.
    pub(crate) reads_as: bool,
}

impl ViewColumn {
    /// Whether every visible row shows what is stored.
    pub(crate) fn is_stored_and_clear(&self) -> bool {
        !self.reads_as && self.shown.iter().all(|shown| *shown == Shown::Clear)
    }
}

/// A table under a decision.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) table: Arc<GovernedTable>,
    pub(crate) columns: Vec<ViewColumn>,
    /// Names of the permitted scopes.
    pub(crate) scopes: Vec<String>,
    /// Names of the scopes whose rows are taken away.
    pub(crate) forbidden: Vec<String>,
    /// Digest of everything that decided what is shown.
    pub(crate) digest: String,
    pub(crate) schema: SchemaRef,
}

impl View {
    /// The view of a table; none if there is no permitted scope.
    pub(crate) fn new(
        table: &Arc<GovernedTable>,
        decision: &TableDecision,
        masks: &Masks,
        has_key: bool,
        digests: &[&str],
    ) -> Option<Self> {
        if table.hidden || !decision.is_visible() {
            return None;
        }
        let scopes: Vec<String> = decision.scopes.iter().map(|scope| scope.scope.clone()).collect();
        let all = scopes.iter().position(|scope| scope == ALL_ROWS);
        let columns: Vec<ViewColumn> = table
            .columns
            .iter()
            .map(|column| {
                let mut shown: Vec<Shown> = decision
                    .scopes
                    .iter()
                    .map(|scope| match scope.levels.get(&column.name).copied().unwrap_or(Level::Hidden) {
                        Level::Clear => Shown::Clear,
                        Level::Hidden => Shown::Hidden,
                        level => masks
                            .mask(level, &column.tags, &column.name)
                            .filter(|masked| masked.works(&column.data_type, has_key, table.subject.is_some()))
                            .map_or(Shown::Hidden, |masked| Shown::Masked(level, masked)),
                    })
                    .collect();
                // Every row is in `all`: no scope shows less than it does.
                if let Some(everywhere) = all.and_then(|all| shown.get(all).cloned()) {
                    for scope in shown.iter_mut().filter(|shown| shown.level() < everywhere.level()) {
                        *scope = everywhere.clone();
                    }
                }
                ViewColumn {
                    name: column.name.clone(),
                    data_type: reading_type(&column.data_type),
                    description: column.description.clone(),
                    level: announced(&shown),
                    shown,
                    reads_as: column.read_as.is_some(),
                }
            })
            .collect();
        let schema = schema_of(&columns);
        let digest = digest_of(table, decision, digests);
        let table = Arc::clone(table);
        Some(Self { table, columns, scopes, forbidden: decision.forbidden.clone(), digest, schema })
    }

    /// Whether every row is visible.
    pub(crate) fn shows_all_rows(&self) -> bool {
        self.forbidden.is_empty() && self.scopes.iter().any(|scope| scope == ALL_ROWS)
    }

    pub(crate) fn column(&self, name: &str) -> Option<&ViewColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

fn announced(shown: &[Shown]) -> ColumnLevel {
    let mut levels = shown.iter().map(Shown::level);
    let first = levels.next().unwrap_or(Level::Hidden);
    if levels.all(|level| level == first) { first.into() } else { ColumnLevel::Varies }
}

fn schema_of(columns: &[ViewColumn]) -> SchemaRef {
    let fields: Vec<Field> = columns
        .iter()
        .map(|column| {
            let level = (ColumnLevel::METADATA_KEY.to_owned(), column.level.as_str().to_owned());
            Field::new(&column.name, column.data_type.clone(), true).with_metadata(HashMap::from([level]))
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn digest_of(table: &GovernedTable, decision: &TableDecision, digests: &[&str]) -> String {
    let mut hash = Sha256::new();
    let name = table.name.to_string();
    let decision = format!("{decision:?}");
    for part in digests.iter().copied().chain([name.as_str(), decision.as_str()]) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    data_encoding::HEXLOWER.encode(&hash.finalize()[..8])
}

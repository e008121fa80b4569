//! What readers may learn of a table: its columns with their tags, and what a policy can name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::TableName;

/// One column as its contract declares it.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The name, in lower case.
    pub name: String,
    /// The type that readers get, exactly.
    pub data_type: DataType,
    /// Tags in the order of the contract; a column without any is unclassified.
    pub tags: Vec<String>,
    /// For people.
    pub description: String,
    /// An event whose row lacks it becomes a dead letter.
    pub required: bool,
    /// Statistics of it may stand in the Delta log.
    pub prunable: bool,
    /// The SQL expression that readers get in its place, evaluated on unmasked rows.
    pub read_as: Option<Expression>,
    /// What tells it from other columns where it is not the name: a column that is called otherwise keeps its id.
    pub id: Option<String>,
    /// Where it is declared; 0 for the columns that the engine fixes.
    pub line: usize,
}

/// SQL of a contract that knows where it is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// The SQL.
    pub sql: String,
    /// The line of its key in the contract.
    pub line: usize,
}

impl std::ops::Deref for Expression {
    type Target = str;

    fn deref(&self) -> &str {
        &self.sql
    }
}

/// A table as policies and readers know it: every raw, dead-letter and curated table has one.
#[derive(Debug, Clone)]
pub struct GovernedTable {
    /// The name in SQL.
    pub name: TableName,
    /// For people.
    pub description: String,
    /// All columns of the contract; never the engine's own.
    pub columns: Vec<Column>,
    /// Names of the columns of the primary key, in its order. Metadata only.
    pub primary_key: Vec<String>,
    /// The column that holds the id of the person a row is about.
    pub subject: Option<String>,
    /// Row scopes by name. `all` is not among them.
    pub scopes: BTreeMap<String, Expression>,
    /// Kept for the engine's look-ups; no policy may open it.
    pub hidden: bool,
    /// The contract.
    pub file: PathBuf,
}

impl GovernedTable {
    /// The columns as an Arrow schema; every field nullable.
    pub fn schema(&self) -> SchemaRef {
        schema_of(&self.columns)
    }
}

pub(crate) fn schema_of(columns: &[Column]) -> SchemaRef {
    Schema::new(columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true)).collect::<Vec<_>>()).into()
}

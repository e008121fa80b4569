//! Names of tables: `schema.table`.

use std::fmt;
use std::str::FromStr;

/// The name of a table, such as `curated.patients`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// `raw`, `curated` or `audit`.
    pub schema: String,
    /// The name within the schema.
    pub table: String,
}

/// Text that is not the name of a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a table name: it must read schema.table, each of letters, digits and '_', beginning with a letter"
)]
pub struct InvalidTableName(pub String);

impl TableName {
    /// A table of the schema `curated`.
    pub fn curated(table: impl Into<String>) -> Self {
        Self { schema: "curated".into(), table: table.into() }
    }

    /// A table of the schema `raw`.
    pub fn raw(table: impl Into<String>) -> Self {
        Self { schema: "raw".into(), table: table.into() }
    }

    /// The table in which the audit stands.
    pub fn audit_events() -> Self {
        Self { schema: crate::AUDIT_SCHEMA.into(), table: "events".into() }
    }

    /// The table of what the rules over the audit found.
    pub fn audit_alerts() -> Self {
        Self { schema: crate::AUDIT_SCHEMA.into(), table: "alerts".into() }
    }

    /// The raw table of a topic: its dots become `_`.
    pub fn of_topic(topic: &str) -> Self {
        Self::raw(topic.replace(['.', '-'], "_"))
    }

    /// The dead-letter table that stands beside a raw table.
    pub fn dead_letter(&self) -> Self {
        Self { schema: self.schema.clone(), table: format!("{}__dead_letter", self.table) }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

impl FromStr for TableName {
    type Err = InvalidTableName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('.') {
            Some((schema, table)) if is_identifier(schema) && is_identifier(table) => {
                Ok(Self { schema: schema.into(), table: table.into() })
            }
            _ => Err(InvalidTableName(text.into())),
        }
    }
}

/// Whether the text can name a schema, table or column without quotes: lower-case letters, digits and `_`.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_shown() {
        let name: TableName = "curated.patients".parse().unwrap();
        assert_eq!(name, TableName::curated("patients"));
        assert_eq!(name.to_string(), "curated.patients");
        for wrong in ["patients", "a.b.c", "Curated.patients", "curated.", "curated.a-b", "curated.1a"] {
            assert!(wrong.parse::<TableName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_topic_names_its_raw_and_dead_letter_tables() {
        let raw = TableName::of_topic("clinic.patient");
        assert_eq!(raw.to_string(), "raw.clinic_patient");
        assert_eq!(raw.dead_letter().to_string(), "raw.clinic_patient__dead_letter");
    }
}

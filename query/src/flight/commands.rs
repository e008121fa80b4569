//! The commands that list what there is: catalogs, schemas, tables, keys, and what the server can do.
//!
//! Whatever names a table is built from the tables this principal can see, and from nothing else.

use std::collections::{BTreeSet, HashMap};

use arrow_flight::sql::{
    Command, CommandGetCatalogs, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes,
    CommandGetTables, CommandGetXdbcTypeInfo,
};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema};

use super::{keys, sql_info, status, type_info};
use crate::gateway::sql_type;
use crate::session::CATALOG;
use crate::{ColumnLevel, QueryError, RefusedKind, VisibleTable};

const TABLE: &str = "TABLE";

/// A command that lists something.
#[derive(Debug)]
pub(super) enum Listing {
    Catalogs(CommandGetCatalogs),
    Schemas(CommandGetDbSchemas),
    Tables(CommandGetTables),
    TableTypes(CommandGetTableTypes),
    PrimaryKeys(CommandGetPrimaryKeys),
    /// Exported, imported and crossing keys: contracts know none.
    ForeignKeys,
    SqlInfo(CommandGetSqlInfo),
    TypeInfo(CommandGetXdbcTypeInfo),
}

impl TryFrom<Command> for Listing {
    type Error = QueryError;

    fn try_from(command: Command) -> Result<Self, QueryError> {
        Ok(match command {
            Command::CommandGetCatalogs(command) => Self::Catalogs(command),
            Command::CommandGetDbSchemas(command) => Self::Schemas(command),
            Command::CommandGetTables(command) => Self::Tables(command),
            Command::CommandGetTableTypes(command) => Self::TableTypes(command),
            Command::CommandGetPrimaryKeys(command) => Self::PrimaryKeys(command),
            Command::CommandGetExportedKeys(_)
            | Command::CommandGetImportedKeys(_)
            | Command::CommandGetCrossReference(_) => Self::ForeignKeys,
            Command::CommandGetSqlInfo(command) => Self::SqlInfo(command),
            Command::CommandGetXdbcTypeInfo(command) => Self::TypeInfo(command),
            Command::CommandStatementIngest(_) => return Err(QueryError::refused(RefusedKind::Dml)),
            Command::CommandStatementSubstraitPlan(_) => return Err(QueryError::refused(RefusedKind::Statement)),
            _ => return Err(status::unserved()),
        })
    }
}

impl Listing {
    /// Whether the rows depend on the tables one can see.
    pub(super) fn needs_tables(&self) -> bool {
        matches!(self, Self::Schemas(_) | Self::Tables(_) | Self::PrimaryKeys(_))
    }

    /// The rows, given the tables this principal can see. The columns do not depend on them.
    pub(super) fn rows(self, tables: &[VisibleTable]) -> Result<RecordBatch, QueryError> {
        let batch = match self {
            Self::Catalogs(command) => {
                let mut rows = command.into_builder();
                rows.append(CATALOG);
                rows.build()
            }
            Self::Schemas(command) => {
                let schemas: BTreeSet<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
                let mut rows = command.into_builder();
                schemas.iter().for_each(|schema| rows.append(CATALOG, schema));
                rows.build()
            }
            Self::Tables(command) => {
                let mut rows = command.into_builder();
                for table in tables {
                    rows.append(CATALOG, &table.schema, &table.name, TABLE, &described(table))
                        .map_err(|_| QueryError::internal())?;
                }
                rows.build()
            }
            Self::TableTypes(command) => {
                let mut rows = command.into_builder();
                rows.append(TABLE);
                rows.build()
            }
            Self::PrimaryKeys(command) => return keys::primary(&command, tables),
            Self::ForeignKeys => return Ok(keys::foreign()),
            Self::SqlInfo(command) => return sql_info::rows(command),
            Self::TypeInfo(command) => return type_info::rows(command),
        };
        // The builders' errors may repeat a pattern of the client's: it gets none of it back.
        batch.map_err(|_| QueryError::internal())
    }
}

/// A table's columns, with what Flight SQL clients show of them as field metadata.
fn described(table: &VisibleTable) -> Schema {
    let fields: Vec<Field> = table
        .columns
        .iter()
        .map(|column| {
            let metadata = [
                (ColumnLevel::METADATA_KEY, column.level.as_str()),
                ("ARROW:FLIGHT:SQL:CATALOG_NAME", CATALOG),
                ("ARROW:FLIGHT:SQL:SCHEMA_NAME", &table.schema),
                ("ARROW:FLIGHT:SQL:TABLE_NAME", &table.name),
                ("ARROW:FLIGHT:SQL:TYPE_NAME", &sql_type(&column.data_type)),
                ("ARROW:FLIGHT:SQL:REMARKS", &column.description),
                ("ARROW:FLIGHT:SQL:IS_READ_ONLY", "1"),
                ("ARROW:FLIGHT:SQL:IS_SEARCHABLE", "1"),
            ];
            let metadata: HashMap<String, String> =
                metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect();
            Field::new(&column.name, column.data_type.clone(), column.nullable).with_metadata(metadata)
        })
        .collect();
    Schema::new(fields)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::DataType;
    use datafusion::arrow::ipc::convert::try_schema_from_ipc_buffer;

    use super::*;
    use crate::VisibleColumn;

    fn table(schema: &str, name: &str) -> VisibleTable {
        let column = VisibleColumn {
            name: "born".to_owned(),
            data_type: DataType::Date32,
            nullable: true,
            level: ColumnLevel::Generalised,
            description: "day of birth".to_owned(),
        };
        VisibleTable {
            schema: schema.to_owned(),
            name: name.to_owned(),
            description: String::new(),
            columns: vec![column],
            primary_key: vec!["id".to_owned()],
        }
    }

    fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
        let column = batch.column_by_name(column).unwrap();
        column.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
    }

    #[test]
    fn only_schemas_of_visible_tables_are_listed() {
        let tables = [table("curated", "patients"), table("curated", "encounters")];
        let rows = Listing::Schemas(CommandGetDbSchemas::default()).rows(&tables).unwrap();
        assert_eq!(texts(&rows, "db_schema_name"), ["curated"]);
    }

    #[test]
    fn patterns_select_tables() {
        let tables = [table("curated", "patients"), table("curated", "encounters"), table("raw", "patients")];
        let command = CommandGetTables {
            db_schema_filter_pattern: Some("cur%".to_owned()),
            table_name_filter_pattern: Some("pat%".to_owned()),
            ..CommandGetTables::default()
        };
        let rows = Listing::Tables(command).rows(&tables).unwrap();
        assert_eq!(texts(&rows, "table_name"), ["patients"]);
        assert_eq!(texts(&rows, "db_schema_name"), ["curated"]);
    }

    #[test]
    fn the_schema_of_a_table_tells_the_level_of_each_column() {
        let command = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
        let rows = Listing::Tables(command).rows(&[table("curated", "patients")]).unwrap();
        let schemas = rows.column_by_name("table_schema").unwrap().as_binary::<i32>().clone();
        let schema = try_schema_from_ipc_buffer(schemas.value(0)).unwrap();
        assert_eq!(schema.field(0).data_type(), &DataType::Date32);
        assert_eq!(schema.field(0).metadata()[ColumnLevel::METADATA_KEY], "generalised");
        assert_eq!(schema.field(0).metadata()["ARROW:FLIGHT:SQL:TYPE_NAME"], "date");
    }

    #[test]
    fn the_columns_of_a_listing_do_not_depend_on_the_tables() {
        let listings = || {
            [
                Listing::Catalogs(CommandGetCatalogs {}),
                Listing::Schemas(CommandGetDbSchemas::default()),
                Listing::Tables(CommandGetTables { include_schema: true, ..CommandGetTables::default() }),
                Listing::TableTypes(CommandGetTableTypes {}),
                Listing::PrimaryKeys(CommandGetPrimaryKeys { table: "patients".to_owned(), ..Default::default() }),
                Listing::ForeignKeys,
                Listing::SqlInfo(CommandGetSqlInfo::default()),
                Listing::TypeInfo(CommandGetXdbcTypeInfo::default()),
            ]
        };
        for (empty, full) in listings().into_iter().zip(listings()) {
            let full = full.rows(&[table("curated", "patients")]).unwrap();
            assert_eq!(empty.rows(&[]).unwrap().schema(), full.schema());
        }
    }
}

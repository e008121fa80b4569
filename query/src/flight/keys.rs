//! Keys, as contracts declare them. The columns of the answers are those of `FlightSql.proto`.

use std::sync::Arc;

use arrow_flight::sql::CommandGetPrimaryKeys;
use datafusion::arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};

use crate::session::CATALOG;
use crate::{QueryError, VisibleTable};

/// The primary key of a table; no rows for a table that one cannot see.
pub(super) fn primary(command: &CommandGetPrimaryKeys, tables: &[VisibleTable]) -> Result<RecordBatch, QueryError> {
    let catalog_matches = command.catalog.as_deref().is_none_or(|catalog| catalog == CATALOG);
    let keys: Vec<(&VisibleTable, &String, i32)> = tables
        .iter()
        .filter(|table| catalog_matches && table.name == command.table)
        .filter(|table| command.db_schema.as_deref().is_none_or(|schema| schema == table.schema))
        .flat_map(|table| table.primary_key.iter().zip(1..).map(move |(column, place)| (table, column, place)))
        .collect();
    let texts = |text: &dyn Fn(&VisibleTable, &str) -> String| -> ArrayRef {
        Arc::new(keys.iter().map(|(table, column, _)| Some(text(table, column))).collect::<StringArray>())
    };
    let columns = vec![
        texts(&|_, _| CATALOG.to_owned()),
        texts(&|table, _| table.schema.clone()),
        texts(&|table, _| table.name.clone()),
        texts(&|_, column| column.to_owned()),
        texts(&|table, _| format!("{}_pkey", table.name)),
        Arc::new(keys.iter().map(|(.., place)| *place).collect::<Int32Array>()),
    ];
    let schema = Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]);
    RecordBatch::try_new(Arc::new(schema), columns).map_err(|_| QueryError::internal())
}

/// Keys between tables: contracts declare none.
pub(super) fn foreign() -> RecordBatch {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    RecordBatch::new_empty(Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ])))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;

    use super::*;

    fn key_of(asked: &str, schema: Option<&str>) -> Vec<String> {
        let table = VisibleTable {
            schema: "curated".to_owned(),
            name: "stays".to_owned(),
            description: String::new(),
            columns: Vec::new(),
            primary_key: vec!["ward".to_owned(), "day".to_owned()],
        };
        let command =
            CommandGetPrimaryKeys { catalog: None, db_schema: schema.map(str::to_owned), table: asked.to_owned() };
        let rows = primary(&command, &[table]).unwrap();
        rows.column(3).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
    }

    #[test]
    fn the_columns_of_a_key_come_in_order() {
        assert_eq!(key_of("stays", None), ["ward", "day"]);
        assert_eq!(key_of("stays", Some("curated")), ["ward", "day"]);
    }

    #[test]
    fn a_table_that_one_cannot_see_has_no_key() {
        assert!(key_of("patients", None).is_empty());
        assert!(key_of("stays", Some("raw")).is_empty());
    }
}

//! Reference data: CSV files with a header, as tables of texts.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;

use crate::Problem;
use crate::name::is_identifier;

/// Reads a file; all columns are Utf8, an empty cell is NULL.
pub(super) fn read(file: &Path, text: &str) -> Result<RecordBatch, Problem> {
    let header = text.lines().next().unwrap_or_default().trim_end_matches('\r');
    let names: Vec<&str> = header.split(',').map(|name| name.trim().trim_matches('"')).collect();
    if let Some(wrong) = names.iter().find(|name| !is_identifier(name)) {
        return Err(Problem::new(file, 1, format!("column '{wrong}' must be of lower-case letters, digits and '_'")));
    }
    let schema: Arc<Schema> =
        Schema::new(names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect::<Vec<_>>()).into();
    let wrong = |error: arrow::error::ArrowError| {
        let message = error.to_string();
        let after = message.split("line ").nth(1).unwrap_or_default();
        let line = after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
        Problem::new(file, line, format!("not readable as CSV: {message}"))
    };
    let reader =
        ReaderBuilder::new(schema.clone()).with_header(true).build(Cursor::new(text.as_bytes())).map_err(wrong)?;
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    arrow::compute::concat_batches(&schema, &batches).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};

    #[test]
    fn cells_are_texts_and_a_short_line_is_a_problem() {
        let batch = read(Path::new("c.csv"), "system,code\nhttp://x,\"1,2\"\nhttp://y,\n").unwrap();
        let code = batch.column(1).as_string::<i32>();
        assert_eq!(code.value(0), "1,2");
        assert!(code.is_null(1));
        let problem = read(Path::new("c.csv"), "system,code\na,b\nc\n").unwrap_err();
        assert!(problem.line > 0, "{problem}");
        assert_eq!(read(Path::new("c.csv"), "System,code\n").unwrap_err().line, 1);
    }
}

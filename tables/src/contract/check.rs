//! Whether SQL in contracts can be read at all. What its columns mean is checked by those who plan it.

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::yaml::Reader;

/// Notes an expression that is not one SQL expression.
pub(super) fn expression(reader: &mut Reader<'_>, line: usize, what: &str, sql: &str) {
    let parsed = Parser::new(&GenericDialect {}).try_with_sql(sql).and_then(|mut parser| {
        let expression = parser.parse_expr()?;
        parser.expect_token(&Token::EOF)?;
        Ok(expression)
    });
    if let Err(error) = parsed {
        reader.note(line, format!("{what} is not an SQL expression: {error}"));
    }
}

/// Whether a file holds exactly one SELECT; notes why not.
pub(super) fn select(reader: &mut Reader<'_>, sql: &str) -> bool {
    let before = reader.problems.len();
    match Parser::parse_sql(&GenericDialect {}, sql) {
        Err(error) => {
            let message = error.to_string();
            reader.note(line_in(&message, sql), format!("not readable as SQL: {message}"));
        }
        Ok(statements) => match statements.as_slice() {
            [Statement::Query(_)] => {}
            [_] => reader.note(1, "must be a SELECT"),
            other => reader.note(1, format!("must hold one SELECT, and it holds {} statements", other.len())),
        },
    }
    reader.problems.len() == before
}

/// The parser tells where by `at Line: 3, Column: 7`, and says nothing when the text ends too early.
fn line_in(message: &str, sql: &str) -> usize {
    let Some((_, after)) = message.split_once("Line: ") else { return sql.trim_end().lines().count().max(1) };
    after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(1)
}

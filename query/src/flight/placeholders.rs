//! `?` as JDBC writes it, numbered for the planner, which knows `$1`, `$2`, … only.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// The statement with its `?` numbered from left to right. Those within strings, names and comments stay; text that
/// cannot be read stays as it is, for the parser to complain about.
pub(super) fn numbered(sql: &str) -> String {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).with_unescape(false).tokenize_with_location() else {
        return sql.to_owned();
    };
    let mut marks: Vec<(u64, u64)> = tokens
        .iter()
        .filter(|token| matches!(&token.token, Token::Placeholder(mark) if mark == "?"))
        .map(|token| (token.span.start.line, token.span.start.column))
        .collect();
    marks.reverse();
    let mut text = String::with_capacity(sql.len() + marks.len() * 2);
    let (mut line, mut column, mut number) = (1, 1, 0);
    for character in sql.chars() {
        if marks.last() == Some(&(line, column)) && character == '?' {
            marks.pop();
            number += 1;
            text.push_str(&format!("${number}"));
        } else {
            text.push(character);
        }
        if character == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += 1;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_numbered_from_left_to_right() {
        assert_eq!(numbered("SELECT ? +\n  ? WHERE a = ?"), "SELECT $1 +\n  $2 WHERE a = $3");
    }

    #[test]
    fn marks_in_strings_names_and_comments_are_no_parameters() {
        let sql = "SELECT 'it''s ?', \"a?\" -- ?\n /* ? */ WHERE b = ?";
        assert_eq!(numbered(sql), "SELECT 'it''s ?', \"a?\" -- ?\n /* ? */ WHERE b = $1");
    }

    #[test]
    fn characters_of_several_bytes_do_not_shift_the_marks() {
        assert_eq!(numbered("SELECT 'é€😀', ?"), "SELECT 'é€😀', $1");
    }

    #[test]
    fn what_is_numbered_already_or_is_no_sql_stays() {
        for sql in ["SELECT $1, $2", "SELECT 'open", ""] {
            assert_eq!(numbered(sql), sql);
        }
    }
}

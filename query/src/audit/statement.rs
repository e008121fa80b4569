//! A statement's text without what may be a person's: its literals and comments.
//!
//! It goes by tokens and not by the parsed statement, so that what is refused or does not parse loses its literals too. A
//! quoted name is kept where it can be a column's; `"Ivanova"`, which somebody wrote for `'Ivanova'`, is not.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// What is longer is cut off.
const LONGEST: usize = 8_192;

/// The text with `?` for every literal; none where it cannot be taken apart.
pub(crate) fn without_literals(sql: &str) -> Option<String> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().ok()?;
    let mut text = String::with_capacity(sql.len().min(LONGEST));
    let mut gap = false;
    for token in tokens {
        let shown = match token {
            Token::Whitespace(_) => {
                gap = true;
                continue;
            }
            Token::EOF => break,
            Token::Word(word) => match word.quote_style {
                Some(_) if !is_name(&word.value) => "\"?\"".to_owned(),
                _ => word.to_string(),
            },
            Token::Placeholder(name) => name,
            token if is_punctuation(&token) => token.to_string(),
            // Whatever else there is, or will be: it may be a literal.
            _ => "?".to_owned(),
        };
        if std::mem::take(&mut gap) && !text.is_empty() {
            text.push(' ');
        }
        if text.len() + shown.len() > LONGEST {
            text.push('…');
            break;
        }
        text.push_str(&shown);
    }
    Some(text)
}

/// As names of this lakehouse are: lower-case letters, digits and `_`.
fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_punctuation(token: &Token) -> bool {
    matches!(
        token,
        Token::Comma
            | Token::DoubleEq
            | Token::Eq
            | Token::Neq
            | Token::Lt
            | Token::Gt
            | Token::LtEq
            | Token::GtEq
            | Token::Spaceship
            | Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::Mod
            | Token::StringConcat
            | Token::LParen
            | Token::RParen
            | Token::Period
            | Token::Colon
            | Token::DoubleColon
            | Token::SemiColon
            | Token::LBracket
            | Token::RBracket
            | Token::LBrace
            | Token::RBrace
            | Token::Ampersand
            | Token::Pipe
            | Token::Caret
            | Token::Tilde
            | Token::Arrow
            | Token::LongArrow
            | Token::RArrow
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_gone_and_names_stay() {
        for (sql, shown) in [
            ("SELECT 1", "SELECT ?"),
            (
                "SELECT * FROM t WHERE a = 'Ivanova' AND b IN (1, 2.5, 'x')",
                "SELECT * FROM t WHERE a = ? AND b IN (?, ?, ?)",
            ),
            ("SELECT a -- Ivanova\n FROM /* Petrov */ t", "SELECT a FROM t"),
            ("SELECT e'Ivanova', N'Ivanova', X'49', $$Ivanova$$", "SELECT ?, ?, ?, ?"),
            ("SELECT DATE '1951-02-03' + INTERVAL '3 days' LIMIT 7", "SELECT DATE ? + INTERVAL ? LIMIT ?"),
            ("SELECT \"family_name\" FROM t WHERE a = \"Ivanova\"", "SELECT \"family_name\" FROM t WHERE a = \"?\""),
            ("SELECT a FROM t WHERE b = $1", "SELECT a FROM t WHERE b = $1"),
            ("INSERT INTO t VALUES ('Ivanova')", "INSERT INTO t VALUES (?)"),
            ("SELEC 'Ivanova'", "SELEC ?"),
            ("SELECT a FROM 'Ivanova.parquet'", "SELECT a FROM ?"),
        ] {
            assert_eq!(without_literals(sql).as_deref(), Some(shown), "{sql}");
        }
    }

    #[test]
    fn what_cannot_be_taken_apart_is_not_kept() {
        assert_eq!(without_literals("SELECT 'Ivanova"), None);
    }

    #[test]
    fn a_long_text_is_cut_off() {
        let long = format!("SELECT {}", "a, ".repeat(10_000));
        let shown = without_literals(&long).unwrap();
        assert!(shown.len() <= LONGEST + 4 && shown.ends_with('…'));
    }
}

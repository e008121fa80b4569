//! How long and how deep a statement may be.
//!
//! The parser bounds what is nested in brackets. What it does not bound are chains, which become as deep as they are
//! long (`1 + 1 + …`, `… UNION …`), and names of a WITH, each of which stands for a copy of its query: thirty of them
//! can ask for a billion.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Cte, ObjectName, Query, Statement, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{ErrorCode, QueryError};

/// Bytes of the text.
const LONGEST: usize = 1 << 20;
/// Tokens between two commas outside of any brackets between them: no chain is longer.
const LONGEST_CHAIN: usize = 2_000;
/// Tables that are read, each time that they are.
const MOST_TABLES: u64 = 250;

fn too_large(what: &str) -> QueryError {
    QueryError::new(ErrorCode::InvalidRequest, format!("the statement is too large: {what}"))
}

/// Refuses a text whose plan would be too deep.
pub(super) fn check_text(sql: &str) -> Result<(), QueryError> {
    if sql.len() > LONGEST {
        return Err(QueryError::new(ErrorCode::InvalidRequest, "the statement's text is too long"));
    }
    // What is no sequence of tokens is no statement either: the parser says so.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else { return Ok(()) };
    // Of each open bracket, the length of the chain around it.
    let mut around: Vec<usize> = Vec::new();
    let mut chain = 0;
    for token in tokens {
        match token {
            Token::Whitespace(_) => {}
            Token::Comma | Token::SemiColon => chain = 0,
            Token::LParen | Token::LBracket | Token::LBrace => around.push(std::mem::take(&mut chain) + 1),
            Token::RParen | Token::RBracket | Token::RBrace => chain = around.pop().unwrap_or(chain),
            _ => chain += 1,
        }
        if chain > LONGEST_CHAIN {
            return Err(too_large("write long conditions as lists, and many rows as VALUES"));
        }
    }
    Ok(())
}

/// Refuses a statement that reads too many tables.
pub(super) fn check_tables(statement: &Statement) -> Result<(), QueryError> {
    let mut found = Found::default();
    let _: ControlFlow<()> = statement.visit(&mut found);
    let mut weights = BTreeMap::new();
    let tables = found.read.iter().fold(0, |sum: u64, name| sum.saturating_add(found.weight(name, &mut weights)));
    if tables > MOST_TABLES { Err(too_large("it reads too many tables")) } else { Ok(()) }
}

/// The names that a statement reads, and what those of a WITH read themselves.
#[derive(Default)]
struct Found {
    read: Vec<String>,
    named: BTreeMap<String, Vec<String>>,
}

impl Found {
    /// How many tables a name stands for. A name that stands for itself is recursive and counts once.
    fn weight(&self, name: &str, weights: &mut BTreeMap<String, u64>) -> u64 {
        if let Some(known) = weights.get(name) {
            return *known;
        }
        weights.insert(name.to_owned(), 1);
        let Some(read) = self.named.get(name) else { return 1 };
        let weight = read.iter().fold(1, |sum: u64, name| sum.saturating_add(self.weight(name, weights)));
        weights.insert(name.to_owned(), weight);
        weight
    }

    fn name(&mut self, Cte { alias, query, .. }: &Cte) {
        let mut inside = Found::default();
        let _: ControlFlow<()> = query.visit(&mut inside);
        self.named.entry(alias.name.value.to_lowercase()).or_default().extend(inside.read);
    }
}

impl Visitor for Found {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        query.with.iter().flat_map(|with| &with.cte_tables).for_each(|cte| self.name(cte));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let name = relation.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.to_lowercase());
        self.read.push(name.unwrap_or_default());
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(sql: &str) -> Result<(), ErrorCode> {
        super::super::parse(sql).map(drop).map_err(|error| error.code)
    }

    #[test]
    fn chains_have_a_largest_length() {
        for (first, link, last) in [
            ("SELECT 1", "+1", ""),
            ("SELECT 1 WHERE true", " OR a = 1", ""),
            ("SELECT 1", " UNION SELECT 1", ""),
            ("SELECT f(1", " || a[1]", ")"),
        ] {
            let of = |times: usize| format!("{first}{}{last}", link.repeat(times));
            assert_eq!(checked(&of(400)), Ok(()), "{first}");
            assert_eq!(checked(&of(10_000)), Err(ErrorCode::InvalidRequest), "{first}");
        }
    }

    #[test]
    fn lists_may_be_long() {
        assert_eq!(checked(&format!("SELECT a IN (1{})", ", 1".repeat(50_000))), Ok(()));
        assert_eq!(checked(&format!("VALUES (1, 2){}", ", (1, 2)".repeat(20_000))), Ok(()));
    }

    #[test]
    fn copies_of_a_name_are_counted() {
        let doubled = |levels: usize| {
            let names: String =
                (1..levels).map(|n| format!(", a{n} AS (SELECT x.i FROM a{} x, a{} y)", n - 1, n - 1)).collect();
            format!("WITH a0 AS (SELECT 1 AS i){names} SELECT * FROM a{}", levels - 1)
        };
        assert_eq!(checked(&doubled(4)), Ok(()));
        assert_eq!(checked(&doubled(40)), Err(ErrorCode::InvalidRequest));
        let nested = doubled(40).replace("WITH", "SELECT * FROM (WITH") + ") AS q";
        assert_eq!(checked(&nested), Err(ErrorCode::InvalidRequest));
        let tables = |count: usize| format!("SELECT 1 FROM t{}", ", t".repeat(count));
        assert_eq!(checked(&tables(100)), Ok(()));
        assert_eq!(checked(&tables(1_000)), Err(ErrorCode::InvalidRequest));
        let recursive = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r, r AS s";
        assert_eq!(checked(recursive), Ok(()));
    }
}

//! The SQL of a contract's scopes and `readAs` columns, parsed once.
//!
//! A predicate becomes the one column of `SELECT (…) FROM schema.table`, so that it is parsed and planned by the same
//! engine as everything else. What it may hold is little: look-ups are `<expression> IN (SELECT …)`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::common::TableReference;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, SetExpr, Statement as SqlStatement, Value, Visit, Visitor,
};
use lakeward_tables::{GovernedTable, Problem, TableName};

use super::attribute::AttributeFunction;
use crate::session::DEFAULT_SCHEMA;

/// A parsed predicate.
#[derive(Debug, Clone)]
pub(crate) struct Predicate {
    pub(crate) statement: Statement,
    /// The tables it looks into.
    pub(crate) looks_into: BTreeSet<TableName>,
    /// The attributes it uses.
    pub(crate) attributes: BTreeSet<String>,
}

/// The predicates of one table. One that does not parse is absent, and nothing opens by it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Predicates {
    pub(crate) scopes: BTreeMap<String, Predicate>,
    pub(crate) read_as: BTreeMap<String, Predicate>,
}

impl Predicates {
    pub(crate) fn of(table: &GovernedTable) -> Self {
        Self::parse(table).0
    }

    fn parse(table: &GovernedTable) -> (Self, Vec<Problem>) {
        let mut predicates = Self::default();
        let mut problems = Vec::new();
        for (scope, sql) in &table.scopes {
            match Predicate::parse(&table.name, sql) {
                Ok(predicate) => drop(predicates.scopes.insert(scope.clone(), predicate)),
                Err(message) => problems.push(problem(table, sql.line, format!("scope {scope}: {message}"))),
            }
        }
        for column in &table.columns {
            let Some(sql) = &column.read_as else { continue };
            match Predicate::parse(&table.name, sql) {
                Ok(predicate) => drop(predicates.read_as.insert(column.name.clone(), predicate)),
                Err(message) => {
                    problems.push(problem(table, sql.line, format!("readAs of {}: {message}", column.name)));
                }
            }
        }
        (predicates, problems)
    }
}

pub(super) fn problem(table: &GovernedTable, line: usize, message: String) -> Problem {
    Problem { file: table.file.clone(), line, message }
}

/// A predicate of a table with where it is declared.
pub(super) struct Declared {
    pub(super) line: usize,
    /// `scope own_records`, `readAs of sensitivity`.
    pub(super) what: String,
    pub(super) predicate: Predicate,
}

/// The predicates of a table that can be read; the others become problems.
pub(super) fn declared(table: &GovernedTable, problems: &mut Vec<Problem>) -> Vec<Declared> {
    let (mut predicates, found) = Predicates::parse(table);
    problems.extend(found);
    let scopes = table.scopes.iter().filter_map(|(scope, sql)| {
        let predicate = predicates.scopes.remove(scope)?;
        Some(Declared { line: sql.line, what: format!("scope {scope}"), predicate })
    });
    let read_as = table.columns.iter().filter_map(|column| {
        let (line, predicate) = (column.read_as.as_ref()?.line, predicates.read_as.remove(&column.name)?);
        Some(Declared { line, what: format!("readAs of {}", column.name), predicate })
    });
    scopes.chain(read_as).collect()
}

/// The attributes that the predicate of a scope uses; none if it does not parse.
pub fn attributes_of(table: &TableName, predicate: &str) -> Vec<String> {
    Predicate::parse(table, predicate).map(|predicate| predicate.attributes.into_iter().collect()).unwrap_or_default()
}

impl Predicate {
    pub(crate) fn parse(table: &TableName, sql: &str) -> Result<Self, String> {
        let text = format!("SELECT ({sql}) FROM {}.{}", table.schema, table.table);
        let mut statements = DFParser::parse_sql(&text).map_err(|_| "it is not SQL".to_owned())?;
        let statement = statements.pop_front().ok_or("it is empty")?;
        let select = match (&statement, statements.is_empty()) {
            (Statement::Statement(sql), true) => match sql.as_ref() {
                SqlStatement::Query(query) => match query.body.as_ref() {
                    SetExpr::Select(select) if query.order_by.is_none() && query.limit_clause.is_none() => Some(select),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        let plain = select.is_some_and(|select| {
            select.projection.len() == 1
                && select.from.len() == 1
                && select.selection.is_none()
                && select.distinct.is_none()
        });
        if !plain {
            return Err("it is not one expression".to_owned());
        }
        let mut look = Look::default();
        if let Statement::Statement(sql) = &statement
            && let ControlFlow::Break(message) = sql.visit(&mut look)
        {
            return Err(message);
        }
        let (references, _) = resolve_table_references(&statement, true).map_err(|_| "its tables cannot be told")?;
        let looks_into = references.into_iter().map(name_of).filter(|name| name != table).collect();
        Ok(Self { statement, looks_into, attributes: look.attributes })
    }
}

fn name_of(reference: TableReference) -> TableName {
    TableName { schema: reference.schema().unwrap_or(DEFAULT_SCHEMA).to_owned(), table: reference.table().to_owned() }
}

#[derive(Default)]
struct Look {
    attributes: BTreeSet<String>,
}

impl Visitor for Look {
    type Break = String;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        match expr {
            Expr::Exists { .. } | Expr::Subquery(_) => {
                return ControlFlow::Break("a look-up must be written as <expression> IN (SELECT …)".to_owned());
            }
            Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case(AttributeFunction::NAME) => {
                let FunctionArguments::List(list) = &function.args else {
                    return ControlFlow::Break("attr takes the name of an attribute".to_owned());
                };
                match list.args.as_slice() {
                    [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] => match &value.value {
                        Value::SingleQuotedString(name) => drop(self.attributes.insert(name.clone())),
                        _ => return ControlFlow::Break("attr takes the name of an attribute in quotes".to_owned()),
                    },
                    _ => return ControlFlow::Break("attr takes the name of one attribute in quotes".to_owned()),
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(sql: &str) -> Result<Predicate, String> {
        Predicate::parse(&TableName { schema: "curated".into(), table: "patients".into() }, sql)
    }

    #[test]
    fn look_ups_and_attributes_are_found() {
        let predicate = parse(
            "patient_id IN (SELECT patient_id FROM curated.appointments WHERE practitioner_id = attr('staff_id')) \
             OR array_has(attr('clinics'), clinic_id)",
        )
        .unwrap();
        let looks_into: Vec<String> = predicate.looks_into.iter().map(ToString::to_string).collect();
        assert_eq!(looks_into, ["curated.appointments"]);
        assert_eq!(predicate.attributes.into_iter().collect::<Vec<_>>(), ["clinics", "staff_id"]);
    }

    #[test]
    fn what_is_not_one_expression_is_refused() {
        for sql in [
            "",
            "a = 1) FROM curated.patients; SELECT (1",
            "1), (2",
            "EXISTS (SELECT 1 FROM curated.appointments)",
            "a = (SELECT max(a) FROM curated.appointments)",
            "attr(a) = 1",
        ] {
            assert!(parse(sql).is_err(), "{sql}");
        }
    }
}

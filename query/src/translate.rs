//! From the engine's errors to what a client may be told.
//!
//! Three moments, three rules. A parser's error keeps its position and what was expected. While planning, no row has
//! been read: the message may keep names, and whatever equals a literal of the statement is taken out. While rows are
//! read, only the kind of the error survives.

use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;

use crate::error::{ErrorCode, Position, QueryError, RefusedKind};

/// An error of the parser, in this text. The parser tells no place at the end of the text; there it is the end.
pub(crate) fn syntax_in(sql: &str, error: &DataFusionError) -> QueryError {
    let known = syntax(error);
    if known.position.is_some() || !error.find_root().to_string().contains("EOF") {
        return known;
    }
    let sql = sql.trim_end();
    let last = sql.lines().last().unwrap_or_default();
    let position = Position { line: sql.lines().count().max(1) as u64, column: last.chars().count() as u64 + 1 };
    let message = known.message.replacen("syntax error", &format!("syntax error{}", place(Some(position))), 1);
    QueryError { message, ..known }.at(Some(position))
}

/// An error of the parser.
fn syntax(error: &DataFusionError) -> QueryError {
    let text = match error.find_root() {
        DataFusionError::SQL(parser, _) => match parser.as_ref() {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
            ParserError::RecursionLimitExceeded => {
                return QueryError::new(ErrorCode::Syntax, "the statement is nested too deeply");
            }
        },
        _ => String::new(),
    };
    let position = position(&text);
    // What was expected is the grammar's; what was found may be a literal.
    let expected = text
        .strip_prefix("Expected: ")
        .and_then(|rest| rest.split_once(", found").map(|(expected, _)| expected))
        .filter(|expected| !expected.contains('\''));
    let place = place(position);
    let message = match expected {
        Some(expected) => format!("syntax error{place}: expected {expected}"),
        None => format!("syntax error{place}"),
    };
    QueryError::new(ErrorCode::Syntax, message).at(position)
}

fn place(position: Option<Position>) -> String {
    position.map_or(String::new(), |at| format!(" at line {}, column {}", at.line, at.column))
}

fn position(text: &str) -> Option<Position> {
    let (_, rest) = text.rsplit_once("Line: ")?;
    let (line, rest) = rest.split_once(", Column: ")?;
    let column: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(Position { line: line.parse().ok()?, column: column.parse().ok()? })
}

/// An error of the planner. `literals` are those of the statement and its parameters.
pub(crate) fn planning(error: &DataFusionError, literals: &[String]) -> QueryError {
    let root = error.find_root();
    match root {
        DataFusionError::SQL(..) => syntax(root),
        DataFusionError::SchemaError(schema, _) => {
            let message = match schema.as_ref() {
                SchemaError::FieldNotFound { field, .. } => format!("column {} does not exist", field.flat_name()),
                SchemaError::AmbiguousReference { field } => format!("column {} is ambiguous", field.flat_name()),
                SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
                    format!("column {name} occurs twice")
                }
            };
            QueryError::new(ErrorCode::InvalidRequest, without(&message, literals))
        }
        DataFusionError::Plan(text) => planned(text, literals),
        DataFusionError::NotImplemented(text) => QueryError::new(
            ErrorCode::InvalidRequest,
            format!("not supported: {}", without(first_line(text), literals)),
        ),
        DataFusionError::Configuration(_) => QueryError::refused(RefusedKind::Set),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => planning(first, literals),
            None => QueryError::internal(),
        },
        _ => execution(root),
    }
}

fn planned(text: &str, literals: &[String]) -> QueryError {
    let line = first_line(text);
    if let Some(name) = between(line, "table '", "' not found") {
        let name = name.strip_prefix("lakeward.").unwrap_or(name);
        return QueryError::unknown_table(without(name, literals));
    }
    if let Some(name) = between(line, "table function '", "' not found") {
        return QueryError {
            message: format!("table function {name} is not allowed"),
            ..QueryError::refused(RefusedKind::Function)
        };
    }
    if let Some(name) = between(line, "Invalid function '", "'") {
        return QueryError::new(
            ErrorCode::InvalidRequest,
            format!("function {} does not exist", without(name, literals)),
        );
    }
    QueryError::new(ErrorCode::InvalidRequest, without(line, literals))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The text without any of the literals, longest first.
fn without(text: &str, literals: &[String]) -> String {
    let mut literals: Vec<&String> = literals.iter().filter(|literal| literal.len() > 1).collect();
    literals.sort_by_key(|literal| std::cmp::Reverse(literal.len()));
    literals.iter().fold(text.to_owned(), |text, literal| text.replace(literal.as_str(), "…"))
}

/// An error that was raised while rows were read: only its kind is told.
pub(crate) fn execution(error: &DataFusionError) -> QueryError {
    let evaluation = |message: &str| QueryError::new(ErrorCode::Evaluation, message);
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<QueryError>() {
            Some(known) => known.clone(),
            None => foreign(inner.as_ref()),
        },
        DataFusionError::ArrowError(arrow, _) => arrow_error(arrow),
        DataFusionError::ResourcesExhausted(_) => {
            QueryError::new(ErrorCode::ResourceLimit, "the statement needs more memory than it may have")
        }
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => unavailable(),
        DataFusionError::Execution(_) | DataFusionError::SchemaError(..) => evaluation("a value could not be computed"),
        DataFusionError::Plan(_) | DataFusionError::NotImplemented(_) => {
            QueryError::new(ErrorCode::InvalidRequest, "the statement cannot be run as it is written")
        }
        DataFusionError::Collection(errors) => errors.first().map_or_else(QueryError::internal, execution),
        other => {
            tracing::error!(kind = kind(other), "a statement failed inside the engine");
            QueryError::internal()
        }
    }
}

/// An error below the barrier: whatever depends on rows that may be hidden is a defect of the policy, not of the
/// statement, and looks like any other defect.
pub(crate) fn below_barrier(error: &DataFusionError) -> QueryError {
    let translated = execution(error);
    match translated.code {
        ErrorCode::Unavailable | ErrorCode::ResourceLimit | ErrorCode::TimeLimit | ErrorCode::Internal => translated,
        _ => {
            tracing::error!(kind = kind(error.find_root()), "a policy could not be evaluated");
            QueryError::internal()
        }
    }
}

/// The storage, or what reads it, failed.
pub(crate) fn unavailable() -> QueryError {
    QueryError::new(ErrorCode::Unavailable, "the storage cannot be read at this moment")
}

fn arrow_error(error: &ArrowError) -> QueryError {
    let evaluation = |message: &str| QueryError::new(ErrorCode::Evaluation, message);
    match error {
        ArrowError::DivideByZero => evaluation("division by zero"),
        ArrowError::ArithmeticOverflow(_) => evaluation("a number is out of range"),
        ArrowError::CastError(_) | ArrowError::ParseError(_) => {
            evaluation("a value could not be converted to the type that is asked for")
        }
        ArrowError::ComputeError(_) | ArrowError::InvalidArgumentError(_) => {
            evaluation("a value could not be computed")
        }
        ArrowError::OffsetOverflowError(_) | ArrowError::DictionaryKeyOverflowError => {
            QueryError::new(ErrorCode::ResourceLimit, "a column of the answer is too large")
        }
        ArrowError::MemoryError(_) => {
            QueryError::new(ErrorCode::ResourceLimit, "the statement needs more memory than it may have")
        }
        ArrowError::IoError(..) | ArrowError::ParquetError(_) => unavailable(),
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(inner) => execution(inner),
            None => foreign(inner.as_ref()),
        },
        _ => QueryError::internal(),
    }
}

fn foreign(error: &(dyn std::error::Error + 'static)) -> QueryError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(known) = error.downcast_ref::<QueryError>() {
            return known.clone();
        }
        if error.is::<std::io::Error>() {
            return unavailable();
        }
        cause = error.source();
    }
    tracing::error!("a statement failed outside of the engine");
    QueryError::internal()
}

/// A word for the log; the error's text may hold values.
fn kind(error: &DataFusionError) -> &'static str {
    match error {
        DataFusionError::Internal(_) => "internal",
        DataFusionError::ExecutionJoin(_) => "join",
        DataFusionError::ParquetError(_) => "parquet",
        DataFusionError::Plan(_) => "plan",
        DataFusionError::Execution(_) | DataFusionError::ArrowError(..) => "execution",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(error: ArrowError) -> DataFusionError {
        DataFusionError::ArrowError(Box::new(error), None)
    }

    #[test]
    fn no_value_survives_in_an_error_of_execution() {
        let secret = "Ivanova-1980";
        for error in [
            arrow(ArrowError::CastError(format!("Cannot cast string '{secret}' to value of Int32 type"))),
            arrow(ArrowError::ParseError(secret.into())),
            arrow(ArrowError::ArithmeticOverflow(secret.into())),
            arrow(ArrowError::ComputeError(secret.into())),
            arrow(ArrowError::SchemaError(secret.into())),
            DataFusionError::Execution(secret.into()),
            DataFusionError::Internal(secret.into()),
            DataFusionError::ResourcesExhausted(secret.into()),
            DataFusionError::External(secret.into()),
            DataFusionError::Context(secret.into(), Box::new(DataFusionError::Execution(secret.into()))),
        ] {
            let told = execution(&error);
            assert!(!told.message.contains(secret) && !format!("{told:?}").contains(secret), "{told:?}");
        }
    }

    #[test]
    fn kinds_are_kept_apart() {
        assert_eq!(execution(&arrow(ArrowError::DivideByZero)).message, "division by zero");
        assert_eq!(execution(&DataFusionError::ResourcesExhausted(String::new())).code, ErrorCode::ResourceLimit);
        let io = DataFusionError::IoError(std::io::Error::other("x"));
        assert_eq!(execution(&io).code, ErrorCode::Unavailable);
    }

    #[test]
    fn a_policy_that_fails_is_not_an_evaluation_error() {
        assert_eq!(below_barrier(&arrow(ArrowError::DivideByZero)), QueryError::internal());
    }

    #[test]
    fn a_literal_of_the_statement_is_taken_out_of_a_planning_error() {
        let error = DataFusionError::Plan("Cannot coerce Utf8(\"Ivanova\") to Int64".into());
        let told = planning(&error, &["Ivanova".into()]);
        assert_eq!(told.message, "Cannot coerce Utf8(\"…\") to Int64");
    }
}

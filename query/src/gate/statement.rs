//! From text to the one question it asks, or a refusal by kind.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use datafusion::sql::parser::{DFParserBuilder, Statement as ParsedStatement};
use datafusion::sql::sqlparser::ast::{
    DescribeAlias, Expr, ObjectName, Query, SetExpr, Statement, Value, ValueWithSpan, Visit, VisitMut, Visitor,
    VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Location;

use super::size;
use crate::error::{ErrorCode, QueryError, RefusedKind};
use crate::translate;

/// A statement that may be planned.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// A query, SHOW TABLES, SHOW COLUMNS or DESCRIBE.
    pub(crate) statement: ParsedStatement,
    /// Whether its plan is asked for instead of its rows.
    pub(crate) explain: bool,
    /// The literals of its text, which no message may repeat.
    pub(crate) literals: Vec<String>,
}

/// Functions of the engine that tell of files, and those that take time or memory without measure in one call, where
/// neither the time limit nor the memory limit can reach them.
pub(crate) const REFUSED_FUNCTIONS: [&str; 6] =
    ["input_file_name", "file_row_index", "levenshtein", "lpad", "repeat", "rpad"];

const RECURSION_LIMIT: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Parses a text; it must hold exactly one statement, of a kind that is allowed.
pub(crate) fn parse(sql: &str) -> Result<Question, QueryError> {
    size::check_text(sql)?;
    let parsed = DFParserBuilder::new(sql)
        .with_recursion_limit(RECURSION_LIMIT.get())
        .build()
        .and_then(|mut parser| parser.parse_statements());
    let mut statements = match parsed {
        Ok(statements) => statements,
        Err(error) => {
            // The parser does not know every form of what is refused anyway.
            let kind = refused_by_word(sql);
            return Err(kind.map_or_else(|| translate::syntax_in(sql, &error), QueryError::refused));
        }
    };
    let Some(statement) = statements.pop_front() else {
        return Err(QueryError::new(ErrorCode::InvalidRequest, "the request holds no statement"));
    };
    if !statements.is_empty() {
        return Err(QueryError::refused(RefusedKind::MultipleStatements));
    }
    let (statement, explain) = match statement {
        ParsedStatement::Explain(explain) => {
            let options = &explain.options;
            let plain = !options.analyze
                && !options.verbose
                && options.format.is_none()
                && options.analyze_level.is_none()
                && options.analyze_categories.is_none()
                && options.show_statistics.is_none();
            if !plain {
                return Err(QueryError::refused(RefusedKind::Explain));
            }
            (*explain.statement, true)
        }
        other => (other, false),
    };
    let mut statement = allowed(statement, explain)?;
    number_placeholders(&mut statement);
    size::check_tables(&statement)?;
    let mut inspection = Inspection::default();
    if let ControlFlow::Break(kind) = statement.visit(&mut inspection) {
        return Err(QueryError::refused(kind));
    }
    Ok(Question { statement: ParsedStatement::Statement(Box::new(statement)), explain, literals: inspection.literals })
}

fn allowed(statement: ParsedStatement, explain: bool) -> Result<Statement, QueryError> {
    let refuse = |kind| Err(QueryError::refused(kind));
    match statement {
        ParsedStatement::Statement(statement) => match *statement {
            Statement::Query(_) => Ok(*statement),
            Statement::ShowTables { .. } | Statement::ShowColumns { .. } if !explain => Ok(*statement),
            Statement::ExplainTable { describe_alias: DescribeAlias::Describe | DescribeAlias::Desc, .. }
                if !explain =>
            {
                Ok(*statement)
            }
            Statement::Explain { .. } => refuse(RefusedKind::Explain),
            other => refuse(refused_by_word(&other.to_string()).unwrap_or(RefusedKind::Statement)),
        },
        ParsedStatement::CreateExternalTable(_) => refuse(RefusedKind::ExternalTable),
        ParsedStatement::CopyTo(_) => refuse(RefusedKind::Copy),
        ParsedStatement::Reset(_) => refuse(RefusedKind::Set),
        ParsedStatement::Explain(_) => refuse(RefusedKind::Explain),
    }
}

/// The kind of a statement by its first word, if it is one that is always refused.
fn refused_by_word(sql: &str) -> Option<RefusedKind> {
    let mut rest = sql.trim_start();
    loop {
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n')?.1
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/")?.1
        } else {
            break;
        }
        .trim_start();
    }
    let mut words = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    let first = words.next()?.to_ascii_uppercase();
    let second = words.next().unwrap_or_default().to_ascii_uppercase();
    Some(match (first.as_str(), second.as_str()) {
        ("CREATE", "EXTERNAL") => RefusedKind::ExternalTable,
        (
            "CREATE" | "ALTER" | "DROP" | "TRUNCATE" | "GRANT" | "REVOKE" | "COMMENT" | "RENAME" | "ANALYZE" | "VACUUM"
            | "OPTIMIZE" | "ATTACH" | "DETACH" | "CACHE" | "UNCACHE" | "REFRESH" | "MSCK" | "DENY",
            _,
        ) => RefusedKind::Ddl,
        ("INSERT" | "UPDATE" | "DELETE" | "MERGE" | "REPLACE", _) => RefusedKind::Dml,
        ("COPY" | "UNLOAD" | "LOAD" | "EXPORT" | "IMPORT", _) => RefusedKind::Copy,
        ("SET" | "RESET" | "USE", _) => RefusedKind::Set,
        ("BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "END" | "ABORT", _) => {
            RefusedKind::Transaction
        }
        ("PREPARE" | "EXECUTE" | "DEALLOCATE" | "CALL" | "DECLARE" | "FETCH" | "CLOSE", _) => RefusedKind::Prepare,
        // A question that is not SQL, with a plain EXPLAIN before it.
        ("EXPLAIN", "" | "SELECT" | "WITH" | "VALUES") => return None,
        ("EXPLAIN", _) => RefusedKind::Explain,
        _ => return None,
    })
}

/// Looks into every corner of a statement for what is no question, and collects its literals.
#[derive(Default)]
struct Inspection {
    literals: Vec<String>,
}

impl Visitor for Inspection {
    type Break = RefusedKind;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<RefusedKind> {
        if !query.locks.is_empty()
            || query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
        {
            return ControlFlow::Break(RefusedKind::Statement);
        }
        in_body(&query.body)
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<RefusedKind> {
        // 'a/b.parquet' in the place of a table.
        let quoted = relation.0.iter().filter_map(|part| part.as_ident()).any(|ident| ident.quote_style == Some('\''));
        if quoted { ControlFlow::Break(RefusedKind::ExternalTable) } else { ControlFlow::Continue(()) }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<RefusedKind> {
        if let Expr::Function(function) = expr
            && let Some(name) = function.name.0.last().and_then(|part| part.as_ident())
            && REFUSED_FUNCTIONS.iter().any(|refused| name.value.eq_ignore_ascii_case(refused))
        {
            return ControlFlow::Break(RefusedKind::Function);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<RefusedKind> {
        match &value.value {
            Value::Null | Value::Boolean(_) | Value::Placeholder(_) => {}
            Value::Number(number, _) => self.literals.extend((number.len() > 3).then(|| number.clone())),
            other => self.literals.extend(other.clone().into_string()),
        }
        ControlFlow::Continue(())
    }
}

fn in_body(body: &SetExpr) -> ControlFlow<RefusedKind> {
    match body {
        SetExpr::Select(select) if select.into.is_some() => ControlFlow::Break(RefusedKind::Ddl),
        SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Query(_) | SetExpr::Table(_) => ControlFlow::Continue(()),
        SetExpr::SetOperation { left, right, .. } => {
            in_body(left)?;
            in_body(right)
        }
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            ControlFlow::Break(RefusedKind::Dml)
        }
    }
}

/// Gives each `?` its number, in the order of the text, as ODBC and JDBC mean it.
fn number_placeholders(statement: &mut Statement) {
    #[derive(Default)]
    struct Find(Vec<Location>);
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if let Expr::Value(ValueWithSpan { value: Value::Placeholder(name), span }) = expr
                && name == "?"
            {
                self.0.push(span.start);
            }
            ControlFlow::Continue(())
        }
    }
    struct Number(Vec<Location>);
    impl VisitorMut for Number {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Value(ValueWithSpan { value: Value::Placeholder(name), span }) = expr
                && name == "?"
                && let Some(index) = self.0.iter().position(|location| *location == span.start)
            {
                *name = format!("${}", index + 1);
            }
            ControlFlow::Continue(())
        }
    }
    let mut find = Find::default();
    let _ = Visit::visit(statement, &mut find);
    find.0.sort_by_key(|location| (location.line, location.column));
    find.0.dedup();
    let _ = VisitMut::visit(statement, &mut Number(find.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(sql: &str) -> RefusedKind {
        match parse(sql) {
            Err(QueryError { code: ErrorCode::Refused(kind), .. }) => kind,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn every_kind_is_refused_by_its_name() {
        for (sql, kind) in [
            ("CREATE TABLE t (a INT)", RefusedKind::Ddl),
            ("CREATE VIEW v AS SELECT 1", RefusedKind::Ddl),
            ("DROP TABLE patients", RefusedKind::Ddl),
            ("ALTER TABLE patients ADD COLUMN a INT", RefusedKind::Ddl),
            ("TRUNCATE TABLE patients", RefusedKind::Ddl),
            ("CREATE FUNCTION f(INT) RETURNS INT RETURN 1", RefusedKind::Ddl),
            ("SELECT * INTO t FROM patients", RefusedKind::Ddl),
            ("INSERT INTO patients VALUES (1)", RefusedKind::Dml),
            ("UPDATE patients SET a = 1", RefusedKind::Dml),
            ("DELETE FROM patients", RefusedKind::Dml),
            ("MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN DELETE", RefusedKind::Dml),
            ("WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM x", RefusedKind::Dml),
            ("COPY patients TO '/tmp/x.csv'", RefusedKind::Copy),
            ("COPY (SELECT 1) TO '/tmp/x.csv'", RefusedKind::Copy),
            ("SET datafusion.execution.batch_size = 1", RefusedKind::Set),
            ("RESET datafusion.execution.batch_size", RefusedKind::Set),
            ("BEGIN", RefusedKind::Transaction),
            ("START TRANSACTION", RefusedKind::Transaction),
            ("COMMIT", RefusedKind::Transaction),
            ("ROLLBACK", RefusedKind::Transaction),
            ("SELECT 1; SELECT 2", RefusedKind::MultipleStatements),
            ("SELECT 1; DROP TABLE patients", RefusedKind::MultipleStatements),
            ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", RefusedKind::ExternalTable),
            ("SELECT * FROM '/etc/passwd'", RefusedKind::ExternalTable),
            ("EXPLAIN ANALYZE SELECT 1", RefusedKind::Explain),
            ("EXPLAIN VERBOSE SELECT 1", RefusedKind::Explain),
            ("EXPLAIN FORMAT TREE SELECT 1", RefusedKind::Explain),
            ("EXPLAIN (SHOW_STATISTICS true) SELECT 1", RefusedKind::Explain),
            ("EXPLAIN EXPLAIN SELECT 1", RefusedKind::Explain),
            ("EXPLAIN INSERT INTO t VALUES (1)", RefusedKind::Dml),
            ("PREPARE p AS SELECT 1", RefusedKind::Prepare),
            ("EXECUTE p(1)", RefusedKind::Prepare),
            ("DEALLOCATE p", RefusedKind::Prepare),
            ("SHOW ALL", RefusedKind::Statement),
            ("SHOW FUNCTIONS", RefusedKind::Statement),
            ("-- harmless\n/* really */ DROP TABLE patients", RefusedKind::Ddl),
            ("SELECT * FROM patients FOR UPDATE", RefusedKind::Statement),
        ] {
            assert_eq!(refusal(sql), kind, "{sql}");
        }
    }

    #[test]
    fn questions_pass() {
        for sql in [
            "SELECT 1",
            "SELECT 1;",
            "WITH a AS (SELECT 1 AS x) SELECT * FROM a UNION ALL SELECT 2",
            "VALUES (1), (2)",
            "EXPLAIN SELECT 1",
            "SHOW TABLES",
            "SHOW COLUMNS FROM patients",
            "DESCRIBE patients",
        ] {
            assert!(parse(sql).is_ok(), "{sql}: {:?}", parse(sql));
        }
        assert!(parse("EXPLAIN SELECT 1").unwrap().explain);
    }

    #[test]
    fn a_syntax_error_has_a_position_and_no_literal() {
        let error = parse("SELECT a,\n  FRM 'Ivanova' 'x'").unwrap_err();
        assert_eq!(error.code, ErrorCode::Syntax);
        assert_eq!(error.position.map(|at| at.line), Some(2));
        assert!(!error.message.contains("Ivanova"), "{error}");
        let error = parse("SELEC 1").unwrap_err();
        assert_eq!(error.position.map(|at| (at.line, at.column)), Some((1, 1)));
    }

    #[test]
    fn every_syntax_error_has_a_position() {
        for (sql, line) in [
            ("SELECT", 1),
            ("SELECT 1\nFROM (", 2),
            ("SELECT 1\nFROM (\n\n", 2),
            ("SELECT * FROM t WHERE", 1),
            ("SELECT 'open", 1),
            ("SELECT \"open", 1),
            ("SELECT /* open", 1),
            ("SELECT a b c", 1),
            ("SELECT (1", 1),
            ("SELECT 1)", 1),
            ("SELECT CASE WHEN 1 THEN", 1),
            ("SELECT CAST(1 AS)", 1),
            ("SELECT 1\nGROUP 2", 2),
            ("EXPLAIN", 1),
            ("EXPLAIN SELECT (", 1),
            ("WITH a AS (SELECT 1", 1),
            ("SELECT @", 1),
            ("DESCRIBE", 1),
            ("'", 1),
            ("x", 1),
            ("SELECT INTERVAL", 1),
            ("SELECT * FROM t LIMIT", 1),
            ("SELECT DATE", 1),
            ("SELECT X'0", 1),
            ("SELECT \u{0}", 1),
        ] {
            match parse(sql) {
                Err(error) => {
                    assert_eq!(error.code, ErrorCode::Syntax, "{sql}: {error:?}");
                    assert_eq!(error.position.map(|at| at.line), Some(line), "{sql}: {error:?}");
                }
                Ok(question) => assert!(sql == "SELECT DATE" || sql == "SELECT", "{sql} is {}", question.statement),
            }
        }
    }

    #[test]
    fn nothing_and_depth_are_errors_not_crashes() {
        assert_eq!(parse("  ").unwrap_err().code, ErrorCode::InvalidRequest);
        let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert_eq!(parse(&deep).unwrap_err().code, ErrorCode::Syntax);
    }

    #[test]
    fn question_marks_are_numbered_in_the_order_of_the_text() {
        let question = parse("SELECT ? AS a FROM t WHERE b = ? ORDER BY c LIMIT ?").unwrap();
        assert_eq!(question.statement.to_string(), "SELECT $1 AS a FROM t WHERE b = $2 ORDER BY c LIMIT $3");
    }
}

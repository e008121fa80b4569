//! Values and conditions of a kind, over the columns that can be named.

use rand::prelude::*;

use super::{Generator, Scope, text, value};
use crate::tests::noninterference::tree::{Kind, Node, Piece, Sort};

impl Generator<'_> {
    pub(super) fn literal(&mut self, kind: Kind) -> String {
        let some: &[&str] = match kind {
            Kind::Text => &["'a'", "''", "'7'", "'2020-02-29'", "'%'"],
            Kind::Int => &["0", "1", "2", "7", "-1"],
            Kind::Float => &["0.5e0", "1e0", "-1e0"],
            Kind::Decimal => &["CAST(1.25 AS DECIMAL(14,2))", "CAST(0 AS DECIMAL(14,2))"],
            Kind::Date => &["DATE '1980-01-01'", "DATE '2001-06-15'"],
            Kind::Time => &["TIMESTAMP '2026-05-20T00:00:00Z'", "TIMESTAMP '2024-01-01T00:00:00Z'"],
            Kind::Bool => &["true", "false"],
            Kind::List => &["['a', 'b']", "make_array('a')"],
            Kind::Opaque => &["NULL"],
        };
        some.choose(self.random).copied().unwrap_or("NULL").to_owned()
    }

    pub(super) fn value(&mut self, kind: Kind, scope: &Scope, depth: usize) -> Node {
        if depth == 0 || self.chance(0.5) {
            return self.leaf(kind, scope);
        }
        let d = depth - 1;
        if self.chance(0.15) {
            return self.of_any_kind(kind, scope, d);
        }
        match kind {
            Kind::Text => self.text(scope, d),
            Kind::Int => self.integer(scope, d),
            Kind::Float => match self.random.random_range(0..3) {
                0 => self.call(kind, "cast to float", "CAST(", &[Kind::Int], " AS DOUBLE)", scope, d),
                1 => self.call(kind, "arithmetic", "abs(", &[Kind::Float], ")", scope, d),
                _ => self.call(kind, "try_cast", "try_cast(", &[Kind::Text], " AS DOUBLE)", scope, d),
            },
            Kind::Decimal => match self.random.random_range(0..2) {
                0 => self.call(kind, "cast to decimal", "CAST(", &[Kind::Int], " AS DECIMAL(14,2))", scope, d),
                _ => self.call(kind, "round", "CAST(round(", &[Kind::Decimal], ") AS DECIMAL(14,2))", scope, d),
            },
            Kind::Date => match self.random.random_range(0..4) {
                0 => self.call(kind, "cast of time", "CAST(", &[Kind::Time], " AS DATE)", scope, d),
                1 => self.call(kind, "date_trunc", "CAST(date_trunc('month', ", &[Kind::Date], ") AS DATE)", scope, d),
                2 if self.chance(0.3) => {
                    self.call(kind, "cast that may raise", "CAST(", &[Kind::Text], " AS DATE)", scope, d)
                }
                _ => self.call(kind, "try_cast", "try_cast(", &[Kind::Text], " AS DATE)", scope, d),
            },
            Kind::Time => match self.random.random_range(0..3) {
                0 => self.call(kind, "date_trunc", "date_trunc('week', ", &[Kind::Time], ")", scope, d),
                1 => self.call(kind, "interval", "(", &[Kind::Time], " + INTERVAL '3 days')", scope, d),
                _ => self.leaf(kind, scope),
            },
            Kind::Bool => self.predicate(scope, d),
            Kind::List => match self.random.random_range(0..3) {
                0 => self.call(kind, "make_array", "make_array(", &[Kind::Text, Kind::Text], ")", scope, d),
                1 => self.call(kind, "string_to_array", "string_to_array(", &[Kind::Text], ", '-')", scope, d),
                _ => self.call(kind, "array function", "array_append(", &[Kind::List, Kind::Text], ")", scope, d),
            },
            Kind::Opaque => self.leaf(kind, scope),
        }
    }

    pub(super) fn leaf(&mut self, kind: Kind, scope: &Scope) -> Node {
        match self.column(kind, scope) {
            Some(column) if self.random.random_bool(0.94) => {
                let shape = if column.veiled { "veiled column" } else { "clear column" };
                value(kind, shape, vec![text(column.sql)])
            }
            _ => Node::text(Sort::Value(kind), self.literal(kind)),
        }
    }

    /// A function of one or more values.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn call(
        &mut self,
        kind: Kind,
        shape: &'static str,
        before: &str,
        of: &[Kind],
        after: &str,
        scope: &Scope,
        depth: usize,
    ) -> Node {
        let mut pieces = vec![text(before)];
        for (at, kind) in of.iter().enumerate() {
            if at > 0 {
                pieces.push(text(", "));
            }
            let argument = self.value(*kind, scope, depth);
            pieces.push(Piece::Node(argument));
        }
        pieces.push(text(after));
        value(kind, shape, pieces)
    }

    pub(super) fn of_any_kind(&mut self, kind: Kind, scope: &Scope, depth: usize) -> Node {
        match self.random.random_range(0..5) {
            0 => self.call(kind, "coalesce", "coalesce(", &[kind, kind], ")", scope, depth),
            1 => {
                let condition = self.predicate(scope, depth);
                let (yes, no) = (self.value(kind, scope, depth), self.value(kind, scope, depth));
                let pieces = vec![
                    text("(CASE WHEN "),
                    Piece::Node(condition),
                    text(" THEN "),
                    Piece::Node(yes),
                    text(" ELSE "),
                    Piece::Node(no),
                    text(" END)"),
                ];
                value(kind, "case", pieces)
            }
            2 if !matches!(kind, Kind::List | Kind::Opaque) => {
                self.call(kind, "nullif", "nullif(", &[kind, kind], ")", scope, depth)
            }
            3 if !matches!(kind, Kind::List | Kind::Opaque | Kind::Bool) && depth > 0 => {
                let function = if self.chance(0.5) { "max" } else { "min" };
                let (from, inner) = self.table();
                let of = self.value(kind, &inner, 1);
                let mut pieces =
                    vec![text(format!("(SELECT {function}(")), Piece::Node(of), text(") FROM "), Piece::Node(from)];
                if self.chance(0.4) {
                    let filter = self.predicate(&inner, 1);
                    pieces.push(Piece::Optional(" WHERE ".into(), filter));
                }
                pieces.push(text(")"));
                value(kind, "scalar subquery", pieces)
            }
            _ if kind == Kind::Text => {
                let of = self.value(Kind::Text, scope, depth);
                value(kind, "struct", vec![text("named_struct('a', "), Piece::Node(of), text(")['a']")])
            }
            _ => self.leaf(kind, scope),
        }
    }

    pub(super) fn text(&mut self, scope: &Scope, d: usize) -> Node {
        let kind = Kind::Text;
        match self.random.random_range(0..14) {
            0 => self.call(kind, "text function", "upper(", &[Kind::Text], ")", scope, d),
            1 => self.call(kind, "text function", "substr(", &[Kind::Text], ", 1, 3)", scope, d),
            2 => self.call(kind, "text function", "reverse(", &[Kind::Text], ")", scope, d),
            3 => self.call(kind, "text function", "split_part(", &[Kind::Text], ", '-', 2)", scope, d),
            4 => self.call(kind, "concat", "concat(", &[Kind::Text, Kind::Text], ")", scope, d),
            5 => self.call(kind, "digest", "md5(", &[Kind::Text], ")", scope, d),
            6 => self.call(kind, "cast to text", "CAST(", &[Kind::Int], " AS VARCHAR)", scope, d),
            7 => self.call(kind, "cast to text", "CAST(", &[Kind::Date], " AS VARCHAR)", scope, d),
            8 => self.call(kind, "cast to text", "CAST(", &[Kind::Time], " AS VARCHAR)", scope, d),
            9 => self.call(kind, "regexp", "regexp_replace(", &[Kind::Text], ", '[a-z]', 'x')", scope, d),
            10 => self.call(kind, "array element", "(", &[Kind::List], ")[1]", scope, d),
            11 => self.call(kind, "array function", "array_to_string(", &[Kind::List], ", '+')", scope, d),
            12 => self.call(kind, "typeof", "arrow_typeof(", &[Kind::Date], ")", scope, d),
            _ => self.leaf(kind, scope),
        }
    }

    pub(super) fn integer(&mut self, scope: &Scope, d: usize) -> Node {
        let kind = Kind::Int;
        match self.random.random_range(0..10) {
            0 => self.call(kind, "length", "CAST(length(", &[Kind::Text], ") AS BIGINT)", scope, d),
            1 => self.call(kind, "date_part", "CAST(date_part('year', ", &[Kind::Date], ") AS BIGINT)", scope, d),
            2 => self.call(kind, "date_part", "CAST(date_part('hour', ", &[Kind::Time], ") AS BIGINT)", scope, d),
            3 if self.chance(0.3) => {
                self.call(kind, "cast that may raise", "CAST(", &[Kind::Text], " AS BIGINT)", scope, d)
            }
            4 => self.call(kind, "try_cast", "try_cast(", &[Kind::Text], " AS BIGINT)", scope, d),
            5 => self.call(kind, "array function", "CAST(array_length(", &[Kind::List], ") AS BIGINT)", scope, d),
            6 => {
                let (one, other) = (self.value(kind, scope, d), self.value(kind, scope, d));
                let word = [" + ", " - ", " * "].choose(self.random).copied().unwrap_or(" + ");
                value(kind, "arithmetic", vec![text("("), Piece::Node(one), text(word), Piece::Node(other), text(")")])
            }
            7 => {
                let (one, other) = (self.value(kind, scope, d), self.value(kind, scope, d));
                let pieces = vec![text("("), Piece::Node(one), text(" / "), Piece::Node(other), text(")")];
                value(kind, "division that may raise", pieces)
            }
            _ => self.leaf(kind, scope),
        }
    }

    pub(super) fn predicate(&mut self, scope: &Scope, depth: usize) -> Node {
        let kind = Kind::Bool;
        if depth > 0 && self.chance(0.3) {
            let (one, other) = (self.predicate(scope, depth - 1), self.predicate(scope, depth - 1));
            let word = if self.chance(0.25) { " AND " } else { " OR " };
            return value(
                kind,
                "and, or",
                vec![text("("), Piece::Node(one), text(word), Piece::Node(other), text(")")],
            );
        }
        let of = self.kind();
        let d = depth.saturating_sub(1).min(1);
        match self.random.random_range(0..16) {
            0..5 => self.comparison_with_literal(of, scope),
            5 => {
                let (one, other) = (self.value(of, scope, d), self.value(of, scope, d));
                let word = [" = ", " <> ", " < ", " >= "].choose(self.random).copied().unwrap_or(" = ");
                value(kind, "comparison", vec![text("("), Piece::Node(one), text(word), Piece::Node(other), text(")")])
            }
            6 | 7 => {
                let one = self.value(of, scope, d);
                let word = if self.chance(0.5) { " IS NULL)" } else { " IS NOT NULL)" };
                value(kind, "is null", vec![text("("), Piece::Node(one), text(word)])
            }
            8 => {
                let one = self.predicate(scope, d);
                value(kind, "not", vec![text("(NOT "), Piece::Node(one), text(")")])
            }
            9 | 10 => {
                let one = self.value(Kind::Text, scope, d);
                let pattern = ["'%a%'", "'%-1%'", "'_'", "'%7%'", "'%'"].choose(self.random).copied().unwrap_or("'%'");
                value(kind, "like", vec![text("("), Piece::Node(one), text(format!(" LIKE {pattern})"))])
            }
            11 if depth > 0 => self.in_subquery(of, scope),
            12 if depth > 0 => self.exists(scope),
            13 => {
                let one = self.value(of, scope, d);
                let (low, high) = (self.literal(of), self.literal(of));
                if matches!(of, Kind::List | Kind::Opaque) {
                    return value(kind, "is null", vec![text("("), Piece::Node(one), text(" IS NOT NULL)")]);
                }
                value(
                    kind,
                    "between",
                    vec![text("("), Piece::Node(one), text(format!(" NOT BETWEEN {low} AND {high})"))],
                )
            }
            14 => {
                let one = self.value(of, scope, d);
                let low = self.literal(of);
                value(kind, "is distinct", vec![text("("), Piece::Node(one), text(format!(" IS DISTINCT FROM {low})"))])
            }
            _ => match self.column(kind, scope) {
                Some(column) => value(kind, "bool column", vec![text(column.sql)]),
                None => self.comparison_with_literal(Kind::Text, scope),
            },
        }
    }

    /// A column against a value that some row may have: a probe.
    pub(super) fn comparison_with_literal(&mut self, of: Kind, scope: &Scope) -> Node {
        let Some(column) = self.column(of, scope) else {
            return Node::text(Sort::Value(Kind::Bool), "true");
        };
        let known = column.values.choose(self.random).cloned();
        let literal = match known {
            Some(known) if self.random.random_bool(0.85) => known,
            _ => self.literal(of),
        };
        if matches!(of, Kind::List | Kind::Opaque) {
            return value(Kind::Bool, "is null", vec![text(format!("({} IS NOT NULL)", column.sql))]);
        }
        let words = [" = ", " <> ", " < ", " <= ", " > ", " >= "];
        let word = words.choose(self.random).copied().unwrap_or(" = ");
        let swapped = self.chance(0.2);
        let sql = if swapped {
            format!("({literal}{word}{})", column.sql)
        } else {
            format!("({}{word}{literal})", column.sql)
        };
        value(Kind::Bool, "probe", vec![text(sql)])
    }

    pub(super) fn in_subquery(&mut self, of: Kind, scope: &Scope) -> Node {
        if matches!(of, Kind::List | Kind::Opaque) {
            return self.comparison_with_literal(Kind::Text, scope);
        }
        let one = self.leaf(of, scope);
        let (from, inner) = self.table();
        let wanted = self.value(of, &inner, 1);
        let word = if self.chance(0.3) { " NOT IN (SELECT " } else { " IN (SELECT " };
        let mut pieces =
            vec![text("("), Piece::Node(one), text(word), Piece::Node(wanted), text(" FROM "), Piece::Node(from)];
        if self.chance(0.4) {
            let filter = self.predicate(&inner, 0);
            pieces.push(Piece::Optional(" WHERE ".into(), filter));
        }
        pieces.push(text("))"));
        value(Kind::Bool, "in subquery", pieces)
    }

    pub(super) fn exists(&mut self, scope: &Scope) -> Node {
        let (from, inner) = self.table();
        let condition = self.equality(scope, &inner);
        let word = if self.chance(0.3) { "(NOT EXISTS (SELECT 1 FROM " } else { "(EXISTS (SELECT 1 FROM " };
        let pieces = vec![text(word), Piece::Node(from), text(" WHERE "), Piece::Node(condition), text("))")];
        value(Kind::Bool, "correlated exists", pieces)
    }
}

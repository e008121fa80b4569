//! Statements that a curious person could write: well-typed, over the tables that the person sees.
//!
//! What is left out, for its answer is no function of the rows: sums and means of floating-point numbers, LIMIT and row
//! numbers without a total order, aggregates into lists without one, random values and the clock. Such a statement may be
//! made; [`Statement::is_certain`] says that its answer is not compared.

mod values;

use rand::prelude::*;
use rand::rngs::StdRng;

use super::tree::{Kind, Node, Piece, Sort};

/// A table that can be named, with the literals that its columns may be compared with.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) columns: Vec<KnownColumn>,
}

#[derive(Debug, Clone)]
pub(super) struct KnownColumn {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Whether it is not shown as it is.
    pub(super) veiled: bool,
    /// Values that some row has, shown or not, as SQL.
    pub(super) values: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) node: Node,
    /// Whether equal rows must give an equal answer.
    pub(super) is_certain: bool,
}

/// A column that can be named at some place.
#[derive(Debug, Clone)]
struct Column {
    sql: String,
    kind: Kind,
    veiled: bool,
    values: Vec<String>,
}

type Scope = Vec<Column>;

pub(super) struct Generator<'a> {
    tables: &'a [Known],
    random: &'a mut StdRng,
    aliases: usize,
    is_certain: bool,
}

const KINDS: [Kind; 8] =
    [Kind::Text, Kind::Int, Kind::Float, Kind::Decimal, Kind::Date, Kind::Time, Kind::Bool, Kind::List];

pub(super) fn statement(tables: &[Known], random: &mut StdRng) -> Statement {
    let mut generator = Generator { tables, random, aliases: 0, is_certain: true };
    let (node, _) = generator.query(3, None);
    Statement { node, is_certain: generator.is_certain }
}

fn text(text: impl Into<String>) -> Piece {
    Piece::Text(text.into())
}

fn value(kind: Kind, shape: &'static str, pieces: Vec<Piece>) -> Node {
    Node::new(Sort::Value(kind), shape, pieces)
}

impl Generator<'_> {
    fn chance(&mut self, of: f64) -> bool {
        self.random.random_bool(of)
    }

    fn alias(&mut self, of: &str) -> String {
        self.aliases += 1;
        format!("{of}{}", self.aliases)
    }

    /// A query; with `kind`, of one column of that kind. Gives its columns by their names.
    fn query(&mut self, depth: usize, kind: Option<Kind>) -> (Node, Vec<(String, Kind)>) {
        if depth > 1 && self.chance(0.12) {
            return self.set_operation(depth, kind);
        }
        if depth > 1 && kind.is_none() && self.chance(0.1) {
            return self.with(depth);
        }
        self.select(depth, kind, &Vec::new())
    }

    fn set_operation(&mut self, depth: usize, kind: Option<Kind>) -> (Node, Vec<(String, Kind)>) {
        let (shape, word) =
            *[("union", " UNION "), ("union all", " UNION ALL "), ("intersect", " INTERSECT "), ("except", " EXCEPT ")]
                .choose(self.random)
                .unwrap_or(&("union", " UNION "));
        let kinds = match kind {
            Some(kind) => vec![kind],
            None => (0..self.random.random_range(1..3)).map(|_| self.kind()).collect(),
        };
        let mut sides = Vec::new();
        for _ in 0..2 {
            let (from, scope) = self.from(depth - 1);
            let items: Vec<Node> = kinds
                .iter()
                .enumerate()
                .map(|(at, kind)| {
                    let of = self.value(*kind, &scope, 1);
                    Node::new(Sort::Item, "", vec![Piece::Node(of), text(format!(" AS u{at}"))])
                })
                .collect();
            let mut pieces = vec![text("SELECT "), Piece::List(", ", items), text(" FROM "), Piece::Node(from)];
            if self.chance(0.4) {
                let filter = self.predicate(&scope, 1);
                pieces.push(Piece::Optional(" WHERE ".into(), filter));
            }
            sides.push(Node::new(Sort::Query, "", pieces));
        }
        let columns = kinds.iter().enumerate().map(|(at, kind)| (format!("u{at}"), *kind)).collect();
        (Node::new(Sort::Query, shape, vec![Piece::List(word, sides)]), columns)
    }

    fn with(&mut self, depth: usize) -> (Node, Vec<(String, Kind)>) {
        let name = self.alias("w");
        let (inner, columns) = self.select(depth - 1, None, &Vec::new());
        let scope: Scope = columns
            .iter()
            .map(|(column, kind)| Column { sql: format!("{name}.{column}"), kind: *kind, veiled: true, values: vec![] })
            .collect();
        let (body, columns) = self.select_from(Node::text(Sort::Relation, name.clone()), scope, depth - 1, None);
        let node = Node::new(
            Sort::Query,
            "with",
            vec![text(format!("WITH {name} AS (")), Piece::Node(inner), text(") "), Piece::Node(body)],
        );
        (node, columns)
    }

    fn select(&mut self, depth: usize, kind: Option<Kind>, outer: &Scope) -> (Node, Vec<(String, Kind)>) {
        let (from, mut scope) = self.from(depth);
        if !outer.is_empty() && self.chance(0.3) {
            scope.extend(outer.iter().cloned());
        }
        self.select_from(from, scope, depth, kind)
    }

    fn select_from(
        &mut self,
        from: Node,
        scope: Scope,
        depth: usize,
        kind: Option<Kind>,
    ) -> (Node, Vec<(String, Kind)>) {
        let kinds = match kind {
            Some(kind) => vec![kind],
            None => (0..self.random.random_range(1..4)).map(|_| self.kind_in(&scope)).collect::<Vec<Kind>>(),
        };
        let aggregates = self.chance(0.3);
        let windows = !aggregates && kind.is_none() && self.chance(0.2);
        let distinct = !aggregates && self.chance(0.1);
        let (mut items, mut columns, mut grouped) = (Vec::new(), Vec::new(), false);
        for (at, kind) in kinds.into_iter().enumerate() {
            let name = format!("c{at}");
            let (kind, node) = match (aggregates, windows && self.chance(0.6)) {
                (true, _) if at == 0 && self.chance(0.6) => {
                    grouped = true;
                    (kind, self.value(kind, &scope, 1))
                }
                (true, _) => self.aggregate(kind, &scope),
                (false, true) => self.window(kind, &scope),
                (false, false) => (kind, self.value(kind, &scope, depth)),
            };
            items.push(Node::new(Sort::Item, "", vec![Piece::Node(node), text(format!(" AS {name}"))]));
            columns.push((name, kind));
        }
        let word = if distinct { "SELECT DISTINCT " } else { "SELECT " };
        let mut pieces = vec![text(word), Piece::List(", ", items), text(" FROM "), Piece::Node(from)];
        if self.chance(0.35) {
            let filter = self.predicate(&scope, depth);
            pieces.push(Piece::Optional(" WHERE ".into(), filter));
        }
        let shape = match (aggregates, windows, distinct) {
            (true, ..) if !grouped => "aggregate",
            (true, ..) => "group by",
            (_, true, _) => "window",
            (_, _, true) => "distinct",
            _ => "select",
        };
        if grouped {
            pieces.push(text(" GROUP BY 1"));
        }
        if aggregates && self.chance(0.2) {
            let (_, counted) = self.aggregate(Kind::Int, &scope);
            let having = value(Kind::Bool, "having", vec![Piece::Node(counted), text(" >= 0")]);
            pieces.push(Piece::Optional(" HAVING ".into(), having));
        }
        if self.chance(0.2) {
            // By all columns: rows that are equal in all of them can stand in any order.
            let order: Vec<String> = (1..=columns.len())
                .map(|at| format!("{at}{}", if self.chance(0.4) { " DESC NULLS LAST" } else { "" }))
                .collect();
            let mut limit = format!(" ORDER BY {}", order.join(", "));
            if self.chance(0.7) {
                limit.push_str(&format!(" LIMIT {}", self.random.random_range(1..8)));
            }
            if self.chance(0.15) {
                limit.push_str(" OFFSET 1");
            }
            pieces
                .push(Piece::Optional(String::new(), Node::new(Sort::Other, "order by and limit", vec![text(limit)])));
        } else if self.chance(0.03) {
            self.is_certain = false;
            pieces.push(Piece::Optional(
                String::new(),
                Node::new(Sort::Other, "limit without order", vec![text(" LIMIT 2")]),
            ));
        }
        (Node::new(Sort::Query, shape, pieces), columns)
    }

    fn from(&mut self, depth: usize) -> (Node, Scope) {
        match self.random.random_range(0..10) {
            0..2 if depth > 1 => self.derived(depth),
            2..5 if depth > 0 => self.join(depth),
            5 if depth > 1 && self.chance(0.5) => self.lateral(depth),
            _ => self.table(),
        }
    }

    fn table(&mut self) -> (Node, Scope) {
        // Tables in which something is veiled are asked more often: they are what there is to find.
        let veiled = |table: &&Known| table.columns.iter().any(|column| column.veiled);
        let some: Vec<&Known> = self.tables.iter().filter(veiled).collect();
        let table = match some.choose(self.random) {
            Some(table) if self.random.random_bool(0.93) => (*table).clone(),
            _ => match self.tables.choose(self.random) {
                Some(table) => table.clone(),
                None => return (Node::text(Sort::Relation, "(VALUES (1)) AS nothing(x)"), Vec::new()),
            },
        };
        let alias = self.alias("t");
        let scope = table
            .columns
            .iter()
            .map(|column| Column {
                sql: format!("{alias}.\"{}\"", column.name),
                kind: column.kind,
                veiled: column.veiled,
                values: column.values.clone(),
            })
            .collect();
        (Node::new(Sort::Relation, "table", vec![text(format!("{} AS {alias}", table.name))]), scope)
    }

    fn derived(&mut self, depth: usize) -> (Node, Scope) {
        let (inner, columns) = self.query(depth - 1, None);
        let alias = self.alias("d");
        let scope = of_columns(&alias, columns);
        let pieces = vec![text("("), Piece::Node(inner), text(format!(") AS {alias}"))];
        (Node::new(Sort::Relation, "derived table", pieces), scope)
    }

    fn lateral(&mut self, depth: usize) -> (Node, Scope) {
        let (left, mut scope) = self.table();
        let (inner, columns) = self.select(depth - 1, None, &scope.clone());
        let alias = self.alias("l");
        scope.extend(of_columns(&alias, columns));
        let pieces =
            vec![Piece::Node(left), text(" CROSS JOIN LATERAL ("), Piece::Node(inner), text(format!(") AS {alias}"))];
        (Node::new(Sort::Relation, "lateral", pieces), scope)
    }

    fn join(&mut self, depth: usize) -> (Node, Scope) {
        let (left, left_scope) = if depth > 1 && self.chance(0.3) { self.from(depth - 1) } else { self.table() };
        let (right, right_scope) = if depth > 1 && self.chance(0.2) { self.derived(depth) } else { self.table() };
        let (shape, word) = *[
            ("inner join", " JOIN "),
            ("left join", " LEFT JOIN "),
            ("right join", " RIGHT JOIN "),
            ("full join", " FULL JOIN "),
        ]
        .choose(self.random)
        .unwrap_or(&("inner join", " JOIN "));
        let on = self.equality(&left_scope, &right_scope);
        let mut pieces = vec![Piece::Node(left), text(word), Piece::Node(right), text(" ON "), Piece::Node(on)];
        let scope: Scope = left_scope.into_iter().chain(right_scope).collect();
        if self.chance(0.2) {
            let more = self.predicate(&scope, 0);
            pieces.push(Piece::Optional(" AND ".into(), more));
        }
        (Node::new(Sort::Relation, shape, pieces), scope)
    }

    /// A condition that joins: the same name on both sides, or else two columns of one kind.
    fn equality(&mut self, left: &Scope, right: &Scope) -> Node {
        let name = |column: &Column| column.sql.rsplit('.').next().unwrap_or_default().to_owned();
        let same = |by_name: bool| {
            let pairs = left.iter().flat_map(|one| right.iter().map(move |other| (one, other)));
            let fits = |one: &Column, other: &Column| {
                one.kind == other.kind && one.kind != Kind::Opaque && (!by_name || name(one) == name(other))
            };
            pairs
                .filter(|(one, other)| fits(one, other))
                .map(|(one, other)| format!("{} = {}", one.sql, other.sql))
                .collect::<Vec<_>>()
        };
        let named = same(true);
        let condition = match named.choose(self.random) {
            Some(condition) if self.random.random_bool(0.8) => Some(condition.clone()),
            _ => same(false).choose(self.random).cloned(),
        };
        Node::text(Sort::Value(Kind::Bool), condition.unwrap_or_else(|| "true".to_owned()))
    }

    fn kind(&mut self) -> Kind {
        match self.random.random_range(0..20) {
            0..9 => Kind::Text,
            9..12 => Kind::Int,
            12..14 => Kind::Date,
            14..16 => Kind::Time,
            _ => KINDS.choose(self.random).copied().unwrap_or(Kind::Text),
        }
    }

    /// A kind of which something is veiled here, more often than not.
    fn kind_in(&mut self, scope: &Scope) -> Kind {
        let veiled: Vec<Kind> = scope.iter().filter(|column| column.veiled).map(|column| column.kind).collect();
        match veiled.choose(self.random) {
            Some(kind) if self.random.random_bool(0.8) => *kind,
            _ => self.kind(),
        }
    }

    fn column(&mut self, kind: Kind, scope: &Scope) -> Option<Column> {
        let fitting: Vec<&Column> = scope.iter().filter(|column| column.kind == kind).collect();
        let veiled: Vec<&&Column> = fitting.iter().filter(|column| column.veiled).collect();
        match veiled.choose(self.random) {
            Some(column) if self.random.random_bool(0.85) => Some((**column).clone()),
            _ => fitting.choose(self.random).map(|column| (*column).clone()),
        }
    }

    fn aggregate(&mut self, kind: Kind, scope: &Scope) -> (Kind, Node) {
        let any = self.kind();
        let (kind, shape, before, of, after) = match (kind, self.random.random_range(0..6)) {
            (Kind::Int, 0) => return (kind, value(kind, "count(*)", vec![text("count(*)")])),
            (Kind::Int, 1 | 2) => (kind, "count", "count(", any, ")"),
            (Kind::Int, 3) => (kind, "count distinct", "count(DISTINCT ", any, ")"),
            (Kind::Int, _) => (kind, "sum", "CAST(sum(", Kind::Int, ") AS BIGINT)"),
            (Kind::Decimal, 0 | 1) => (kind, "sum", "CAST(sum(", Kind::Decimal, ") AS DECIMAL(14,2))"),
            (Kind::Bool, _) => (kind, "bool_or", "bool_or(", Kind::Bool, ")"),
            (Kind::Float, 0) => {
                self.is_certain = false;
                (kind, "sum of floats", "sum(", Kind::Float, ")")
            }
            (Kind::List | Kind::Opaque, _) => {
                let of = self.value(Kind::Text, scope, 1);
                let sql = of.sql();
                let pieces = vec![text(format!("array_agg({sql} ORDER BY {sql})"))];
                return (Kind::List, value(Kind::List, "array_agg", pieces));
            }
            (Kind::Text, 0) => {
                let of = self.value(Kind::Text, scope, 1);
                let sql = of.sql();
                let pieces = vec![text(format!("string_agg({sql}, ',' ORDER BY {sql})"))];
                return (kind, value(kind, "string_agg", pieces));
            }
            (kind, n) if n % 2 == 0 => (kind, "max", "max(", kind, ")"),
            (kind, _) => (kind, "min", "min(", kind, ")"),
        };
        let argument = self.value(of, scope, 1);
        let mut pieces = vec![text(before), Piece::Node(argument), text(after)];
        if self.chance(0.1) && !before.starts_with("CAST") {
            let filter = self.predicate(scope, 0);
            pieces.push(text(" FILTER (WHERE "));
            pieces.push(Piece::Node(filter));
            pieces.push(text(")"));
        }
        (kind, value(kind, shape, pieces))
    }

    fn window(&mut self, kind: Kind, scope: &Scope) -> (Kind, Node) {
        let (group, order) = (self.kind(), self.kind());
        let by = self.value(group, scope, 0);
        let mut over = vec![text(" OVER ("), Piece::Optional("PARTITION BY ".into(), by)];
        // Rows that are equal in the order get the same of these.
        let ranked = self.chance(0.5) && !matches!(order, Kind::List | Kind::Opaque);
        let (kind, function) = match ranked {
            true => {
                let order = self.value(order, scope, 0);
                over.push(text(" ORDER BY "));
                over.push(Piece::Node(order));
                let name = ["rank()", "dense_rank()", "count(*)"].choose(self.random).copied().unwrap_or("rank()");
                (Kind::Int, Node::text(Sort::Other, format!("CAST({name}")))
            }
            false => {
                let (kind, of) = match kind {
                    Kind::List | Kind::Opaque | Kind::Float | Kind::Bool => (Kind::Int, Kind::Text),
                    kind => (kind, kind),
                };
                let of = self.value(of, scope, 0);
                let name = if kind == Kind::Int { "count(" } else { "max(" };
                (kind, Node::new(Sort::Other, "", vec![text(name), Piece::Node(of), text(")")]))
            }
        };
        let mut pieces = vec![Piece::Node(function)];
        pieces.extend(over);
        pieces.push(text(if ranked { ") AS BIGINT)" } else { ")" }));
        (kind, value(kind, "window function", pieces))
    }
}

fn of_columns(alias: &str, columns: Vec<(String, Kind)>) -> Scope {
    columns
        .into_iter()
        .map(|(column, kind)| Column { sql: format!("{alias}.{column}"), kind, veiled: true, values: vec![] })
        .collect()
}

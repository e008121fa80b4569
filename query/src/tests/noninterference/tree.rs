//! A statement as a tree of pieces, so that one that fails can be made small.

use std::collections::BTreeSet;

/// What can stand in the place of a node without a mistake of grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sort {
    Query,
    /// What stands after FROM.
    Relation,
    Value(Kind),
    /// A column of the list after SELECT.
    Item,
    Other,
}

/// Kinds of values, as the generator tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Text,
    Int,
    Float,
    Decimal,
    Date,
    Time,
    Bool,
    /// A list of texts.
    List,
    /// All else: bytes, lists of structs. It can be counted and compared with NULL.
    Opaque,
}

/// A piece of a statement.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) sort: Sort,
    /// Its name in the report; empty for what is no shape of its own.
    pub(super) shape: &'static str,
    pub(super) pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
pub(super) enum Piece {
    Text(String),
    Node(Node),
    /// Can be left out, with what stands before it.
    Optional(String, Node),
    /// At least one of them, with this between.
    List(&'static str, Vec<Node>),
}

impl Node {
    pub(super) fn new(sort: Sort, shape: &'static str, pieces: Vec<Piece>) -> Self {
        Self { sort, shape, pieces }
    }

    pub(super) fn text(sort: Sort, text: impl Into<String>) -> Self {
        Self { sort, shape: "", pieces: vec![Piece::Text(text.into())] }
    }

    pub(super) fn sql(&self) -> String {
        let mut sql = String::new();
        self.write(&mut sql);
        sql
    }

    fn write(&self, sql: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => sql.push_str(text),
                Piece::Node(node) => node.write(sql),
                Piece::Optional(before, node) => {
                    sql.push_str(before);
                    node.write(sql);
                }
                Piece::List(between, nodes) => {
                    for (at, node) in nodes.iter().enumerate() {
                        if at > 0 {
                            sql.push_str(between);
                        }
                        node.write(sql);
                    }
                }
            }
        }
    }

    /// The names of all shapes in it.
    pub(super) fn shapes(&self) -> BTreeSet<&'static str> {
        let mut shapes: BTreeSet<&'static str> = self.children().flat_map(Node::shapes).collect();
        if !self.shape.is_empty() {
            shapes.insert(self.shape);
        }
        shapes
    }

    fn children(&self) -> impl Iterator<Item = &Node> {
        self.pieces.iter().flat_map(|piece| match piece {
            Piece::Text(_) => &[],
            Piece::Node(node) | Piece::Optional(_, node) => std::slice::from_ref(node),
            Piece::List(_, nodes) => nodes.as_slice(),
        })
    }

    /// Each way in which it can be made smaller by one step; the largest steps first.
    pub(super) fn smaller(&self) -> Vec<Node> {
        let mut ways = Vec::new();
        // Something inside in its place, or the plainest of its sort.
        self.inside(self.sort, &mut ways);
        if let Sort::Value(kind) = self.sort {
            let plain = kind.plainest();
            if self.sql() != plain {
                ways.push(Node::text(self.sort, plain));
            }
        }
        for (at, piece) in self.pieces.iter().enumerate() {
            let with = |piece: Option<Piece>| {
                let mut pieces = self.pieces.clone();
                match piece {
                    Some(piece) => pieces[at] = piece,
                    None => drop(pieces.remove(at)),
                }
                Node { pieces, ..self.clone() }
            };
            match piece {
                Piece::Text(_) => {}
                Piece::Node(node) => ways.extend(node.smaller().into_iter().map(|node| with(Some(Piece::Node(node))))),
                Piece::Optional(before, node) => {
                    ways.push(with(None));
                    let kept = |node| with(Some(Piece::Optional(before.clone(), node)));
                    ways.extend(node.smaller().into_iter().map(kept));
                }
                Piece::List(between, nodes) => {
                    for number in 0..nodes.len() {
                        let mut fewer = nodes.clone();
                        fewer.remove(number);
                        if !fewer.is_empty() {
                            ways.push(with(Some(Piece::List(between, fewer))));
                        }
                        for smaller in nodes[number].smaller() {
                            let mut changed = nodes.clone();
                            changed[number] = smaller;
                            ways.push(with(Some(Piece::List(between, changed))));
                        }
                    }
                }
            }
        }
        ways
    }

    fn inside(&self, sort: Sort, found: &mut Vec<Node>) {
        for child in self.children() {
            if child.sort == sort {
                found.push(child.clone());
            }
            child.inside(sort, found);
        }
    }
}

impl Kind {
    /// The plainest value.
    pub(super) fn plainest(self) -> &'static str {
        match self {
            Self::Text => "'a'",
            Self::Int => "1",
            Self::Float => "1.5e0",
            Self::Decimal => "CAST(1.25 AS DECIMAL(14,2))",
            Self::Date => "DATE '2020-02-29'",
            Self::Time => "TIMESTAMP '2026-05-01T00:00:00Z'",
            Self::Bool => "true",
            Self::List => "['a']",
            Self::Opaque => "NULL",
        }
    }
}

//! What is declared, and what follows from it: who may ask, and which values a lake can have so that scopes hold some rows
//! and not others.
//!
//! Nothing here knows a policy by name: attributes, pools of values and look-ups are read off the predicates.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, FunctionArguments, Statement, Value, visit_expressions};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use lakeward_iam::{AttributeType, Claims, Policies, ResourceTable, declared_roles};
use lakeward_tables::{GovernedTable, Lakehouse, Mode};

use crate::{Masks, attributes_of};

/// "Now" of all lakes.
pub(super) const NOW: &str = "2026-06-01T00:00:00Z";

/// Values of one kind of key: tables that speak of the same thing draw from the same ones.
const KEYS: usize = 12;

/// A folder of declarations.
pub(super) struct World {
    pub(super) lakehouse: Arc<Lakehouse>,
    pub(super) tables: Vec<GovernedTable>,
    pub(super) policies: Arc<Policies>,
    pub(super) masks: Masks,
    pub(super) people: Vec<Claims>,
    /// Texts that predicates compare a column with, by the column's name.
    literals: BTreeMap<String, BTreeSet<String>>,
    /// Columns that some predicate looks at, by name.
    pub(super) decisive: BTreeSet<String>,
}

impl World {
    pub(super) fn load(folder: &Path) -> Self {
        let lakehouse = Arc::new(Lakehouse::load(folder).unwrap());
        let tables = lakehouse.governed_tables();
        let resources: Vec<ResourceTable> = tables.iter().filter(|table| !table.hidden).map(resource).collect();
        let policies = Arc::new(Policies::load(&folder.join("policies"), &resources).unwrap());
        let masks = Masks::load(&folder.join("policies/masks.yaml")).unwrap();
        let mut world = Self {
            lakehouse,
            tables,
            policies,
            masks,
            people: Vec::new(),
            literals: BTreeMap::new(),
            decisive: BTreeSet::new(),
        };
        let compared = world.read_predicates();
        world.people = world.of_each_role(&declared_roles(&folder.join("policies/purposes.yaml")).unwrap(), &compared);
        world
    }

    pub(super) fn now() -> DateTime<Utc> {
        NOW.parse().unwrap()
    }

    pub(super) fn mode(&self, table: &GovernedTable) -> Mode {
        self.lakehouse.table(&table.name).map_or(Mode::Append, |contract| contract.mode)
    }

    /// Whether there is a table that the person may read.
    pub(super) fn shows_something(&self, person: &Claims) -> bool {
        let principal = self.policies.principal(person, None).unwrap();
        let tables = self.tables.iter().filter(|table| !table.hidden);
        tables.into_iter().any(|table| self.policies.decide(&principal, &table.name.to_string()).is_visible())
    }

    /// The texts that a column of this name may hold.
    pub(super) fn texts(&self, column: &str, is_key: bool) -> Vec<String> {
        if let Some(literals) = self.literals.get(column) {
            let mut texts: Vec<String> = literals.iter().cloned().collect();
            texts.push(format!("other {column}"));
            return texts;
        }
        if is_key {
            return (0..KEYS).map(|n| key(column, n)).collect();
        }
        // What a careless cast or a pattern could trip over is among them.
        let odd = ["7", "-3", "2020-02-29", "", "O'Brien", "50%", "ß_Ä", "true"];
        let named = (0..4).map(|n| format!("{column} {n}"));
        named.chain(odd.map(str::to_owned)).collect()
    }

    /// Reads what predicates compare; gives the column that each attribute is compared with.
    fn read_predicates(&mut self) -> BTreeMap<String, String> {
        let mut compared = BTreeMap::new();
        let predicates = self.tables.iter().flat_map(|table| {
            let read_as = table.columns.iter().filter_map(|column| column.read_as.as_ref());
            table.scopes.values().chain(read_as).map(|predicate| predicate.sql.clone())
        });
        for predicate in predicates.collect::<Vec<String>>() {
            let statement = parsed(&predicate);
            let _ = visit_expressions(&statement, |expression| {
                match expression {
                    Expr::Identifier(name) => drop(self.decisive.insert(name.value.clone())),
                    Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::NotEq, right } => {
                        if let (Some(column), Some(attribute)) = (column_of(left), attribute_in(right)) {
                            compared.insert(attribute, column);
                        } else if let (Some(column), Some(text)) = (column_of(left), text_of(right)) {
                            self.literals.entry(column).or_default().insert(text);
                        }
                    }
                    Expr::InList { expr, list, .. } => {
                        if let Some(column) = column_of(expr) {
                            self.literals.entry(column).or_default().extend(list.iter().filter_map(text_of));
                        }
                    }
                    Expr::Function(function) if function.name.to_string() == "array_has" => {
                        let arguments = arguments(&function.args);
                        if let [list, column] = arguments.as_slice()
                            && let (Some(attribute), Some(column)) = (attribute_in(list), column_of(column))
                        {
                            compared.insert(attribute, column);
                        }
                    }
                    _ => {}
                }
                ControlFlow::<()>::Continue(())
            });
        }
        compared
    }

    /// One person of each role with all attributes, one without any, and the anonymous.
    fn of_each_role(&self, roles: &BTreeMap<String, String>, compared: &BTreeMap<String, String>) -> Vec<Claims> {
        let mut people = vec![Claims::anonymous()];
        for (number, role) in roles.keys().filter(|role| *role != lakeward_iam::NOBODY).enumerate() {
            let mut person = Claims::new(format!("a person of role {role}")).role(role.clone());
            for (attribute, kind) in self.policies.attributes() {
                let column = compared.get(attribute).map_or(attribute.as_str(), String::as_str);
                person = match kind {
                    AttributeType::Text => person.text(attribute, key(column, number % 3)),
                    AttributeType::List => person.list(attribute, [key(column, 0), key(column, 1 + number % 2)]),
                };
            }
            people.push(person);
            if number == 0 {
                people.push(Claims::new("a person without attributes").role(role.clone()));
            }
        }
        people
    }
}

fn key(column: &str, number: usize) -> String {
    format!("{column}-{number}")
}

pub(super) fn parsed(predicate: &str) -> Statement {
    Parser::parse_sql(&GenericDialect {}, &format!("SELECT ({predicate})")).unwrap().remove(0)
}

fn column_of(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(name) => Some(name.value.clone()),
        _ => None,
    }
}

fn text_of(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn attribute_in(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Function(function) if function.name.to_string() == "attr" => {
            arguments(&function.args).first().copied().and_then(text_of)
        }
        _ => None,
    }
}

fn arguments(arguments: &FunctionArguments) -> Vec<&Expr> {
    use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr};
    let FunctionArguments::List(list) = arguments else { return Vec::new() };
    let plain = |argument| match argument {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expression)) => Some(expression),
        _ => None,
    };
    list.args.iter().filter_map(plain).collect()
}

fn resource(table: &GovernedTable) -> ResourceTable {
    let group = match (table.name.schema.as_str(), table.name.table.ends_with("__dead_letter")) {
        ("raw", true) => Some("raw.*__dead_letter"),
        ("raw", false) => Some("raw.*"),
        ("audit", _) => Some("audit.*"),
        _ => None,
    };
    let attributes = |sql: &str| attributes_of(&table.name, sql);
    ResourceTable {
        name: table.name.to_string(),
        parents: group.into_iter().map(str::to_owned).collect(),
        columns: table.columns.iter().map(|column| (column.name.clone(), column.tags.clone())).collect(),
        scopes: table.scopes.keys().cloned().collect(),
        scope_attributes: table.scopes.iter().map(|(scope, sql)| (scope.clone(), attributes(sql))).collect(),
    }
}

//! What a policy names must exist: tables, columns, tags, roles, row scopes, purposes.

use std::collections::BTreeSet;

use cedar_policy::{EntityUid, Policy};
use serde_json::Value;

use super::resources::{ALL_ROWS, ENGINE_GROUPS, ResourceTable, UNCLASSIFIED, UnreadTable};
use super::vocabulary::Vocabulary;
use crate::purposes::Roles;

/// A name in a policy that stands for nothing.
#[derive(Debug)]
pub(super) struct Dangling {
    /// The name as the policy's text has it.
    pub(super) text: String,
    pub(super) message: String,
}

/// All that policies can name.
pub(super) struct Named<'a> {
    vocabulary: &'a Vocabulary,
    /// None where they could not be read: any role may be meant.
    roles: Option<&'a Roles>,
    tables: &'a [ResourceTable],
    unread: &'a [UnreadTable],
    groups: BTreeSet<&'a str>,
    schemas: BTreeSet<&'a str>,
    columns: BTreeSet<String>,
    tags: BTreeSet<&'a str>,
}

impl<'a> Named<'a> {
    pub(super) fn new(
        vocabulary: &'a Vocabulary,
        roles: Option<&'a Roles>,
        tables: &'a [ResourceTable],
        unread: &'a [UnreadTable],
    ) -> Self {
        let columns = || tables.iter().flat_map(|table| table.columns.iter().map(move |column| (table, column)));
        Self {
            vocabulary,
            roles,
            tables,
            unread,
            groups: tables
                .iter()
                .flat_map(|table| table.parents.iter().map(String::as_str))
                .chain(ENGINE_GROUPS)
                .collect(),
            schemas: tables.iter().map(ResourceTable::schema).collect(),
            columns: columns().map(|(table, (column, _))| table.column_id(column)).collect(),
            tags: columns().flat_map(|(_, (_, tags))| tags.iter().map(String::as_str)).chain([UNCLASSIFIED]).collect(),
        }
    }

    /// Names in a policy that stand for nothing.
    pub(super) fn dangling(&self, policy: &Policy) -> Vec<Dangling> {
        let mut dangling = Vec::new();
        let literals = policy.entity_literals();
        let mut seen = BTreeSet::new();
        for literal in &literals {
            if seen.insert(literal.to_string())
                && let Some(what) = self.missing(literal)
            {
                let id = literal.id().unescaped();
                dangling.push(Dangling { text: format!("\"{id}\""), message: format!("there is no {what} `{id}`") });
            }
        }
        let Ok(form) = policy.to_json() else {
            return dangling;
        };
        let mut purposes = BTreeSet::new();
        compared(&form, "purpose", &mut purposes);
        let is_known = |purpose: &str| self.roles.is_none_or(|roles| roles.has_purpose(purpose));
        for purpose in purposes.iter().filter(|purpose| !is_known(purpose)) {
            dangling
                .push(Dangling { text: format!("\"{purpose}\""), message: format!("there is no purpose `{purpose}`") });
        }
        let mut scopes = BTreeSet::new();
        compared(&form, "rows", &mut scopes);
        let (tables, unread) = self.tables_of(&literals);
        // A policy about no table that there is has been complained of already.
        let speaks_of_any = !(tables.is_empty() && unread.is_empty());
        for scope in scopes.iter().filter(|scope| speaks_of_any && scope.as_str() != ALL_ROWS) {
            let may_exist = unread.iter().any(|table| table.text.contains(scope));
            if !may_exist && !tables.iter().any(|table| table.has_scope(scope)) {
                let known = tables.iter().map(|table| table.name.as_str());
                let names: Vec<_> = known.chain(unread.iter().map(|table| table.name.as_str())).take(3).collect();
                dangling.push(Dangling {
                    text: format!("\"{scope}\""),
                    message: format!("there is no row scope `{scope}` in {}", names.join(", ")),
                });
            }
        }
        dangling
    }

    /// What kind of thing the literal would be, if there is no such thing.
    fn missing(&self, literal: &EntityUid) -> Option<&'static str> {
        let id = literal.id().unescaped();
        let of = literal.type_name();
        let unread = |may_be: &dyn Fn(&UnreadTable) -> bool| self.unread.iter().any(may_be);
        let (what, exists) = if *of == self.vocabulary.role {
            ("role", self.roles.is_none_or(|roles| roles.has_role(id)))
        } else if *of == self.vocabulary.schema {
            ("schema", self.schemas.contains(id) || unread(&|table| table.schema() == id))
        } else if *of == self.vocabulary.table {
            let is_declared = self.groups.contains(id) || self.tables.iter().any(|table| table.name == id);
            ("table", is_declared || unread(&|table| table.name == id))
        } else if *of == self.vocabulary.column {
            let (table, column) = id.rsplit_once('.').unwrap_or(("", id));
            ("column", self.columns.contains(id) || unread(&|of| of.name == table && of.text.contains(column)))
        } else if *of == self.vocabulary.tag {
            ("column with the tag", self.tags.contains(id) || unread(&|table| table.text.contains(id)))
        } else {
            return None;
        };
        (!exists).then_some(what)
    }

    /// The tables that the literals narrow a policy to; all of them if they do not.
    fn tables_of(&self, literals: &[EntityUid]) -> (Vec<&'a ResourceTable>, Vec<&'a UnreadTable>) {
        let ids = |of: &cedar_policy::EntityTypeName| -> BTreeSet<&str> {
            literals
                .iter()
                .filter(|literal| literal.type_name() == of)
                .map(|literal| literal.id().unescaped())
                .collect()
        };
        let (tables, schemas, columns) =
            (ids(&self.vocabulary.table), ids(&self.vocabulary.schema), ids(&self.vocabulary.column));
        let narrowed = !(tables.is_empty() && schemas.is_empty() && columns.is_empty());
        let unread = self
            .unread
            .iter()
            .filter(|table| {
                !narrowed
                    || tables.contains(table.name.as_str())
                    || schemas.contains(table.schema())
                    || columns.iter().any(|column| column.rsplit_once('.').is_some_and(|(of, _)| of == table.name))
            })
            .collect();
        let known = self
            .tables
            .iter()
            .filter(|table| {
                !narrowed
                    || tables.contains(table.name.as_str())
                    || schemas.contains(table.schema())
                    || table.parents.iter().any(|parent| tables.contains(parent.as_str()))
                    || table.columns.iter().any(|(column, _)| columns.contains(table.column_id(column).as_str()))
            })
            .collect();
        (known, unread)
    }
}

/// Columns that policies name, as `schema.table.column`.
pub(super) fn named_columns<'a>(
    policies: impl IntoIterator<Item = &'a Policy>,
    vocabulary: &Vocabulary,
) -> BTreeSet<String> {
    policies
        .into_iter()
        .flat_map(Policy::entity_literals)
        .filter(|literal| *literal.type_name() == vocabulary.column)
        .map(|literal| literal.id().unescaped().to_owned())
        .collect()
}

/// The strings that a policy, in Cedar's JSON form, compares `context.<attribute>` with.
pub(super) fn compared(form: &Value, attribute: &str, found: &mut BTreeSet<String>) {
    match form {
        Value::Array(items) => items.iter().for_each(|item| compared(item, attribute, found)),
        Value::Object(members) => {
            if let (Some(left), Some(right)) = (members.get("left"), members.get("right")) {
                if is_context(left, attribute) {
                    strings(right, found);
                } else if is_context(right, attribute) {
                    strings(left, found);
                }
            }
            members.values().for_each(|member| compared(member, attribute, found));
        }
        _ => {}
    }
}

fn is_context(form: &Value, attribute: &str) -> bool {
    form.pointer("/./left/Var").is_some_and(|variable| variable == "context")
        && form.pointer("/./attr").is_some_and(|name| name == attribute)
}

fn strings(form: &Value, found: &mut BTreeSet<String>) {
    match (form.get("Value"), form.get("Set")) {
        (Some(Value::String(text)), _) => {
            found.insert(text.clone());
        }
        (Some(Value::Array(items)), _) => found.extend(items.iter().filter_map(Value::as_str).map(str::to_owned)),
        (_, Some(Value::Array(items))) => items.iter().for_each(|item| strings(item, found)),
        _ => {}
    }
}

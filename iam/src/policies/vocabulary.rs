//! The words that policies and engine share: entity types, actions, and the attributes of a `User`.

use std::collections::BTreeMap;
use std::str::FromStr;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, ParseErrors, Schema};
use serde_json::Value;

use super::decision::Level;

/// The type of an attribute, as the schema declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttributeType {
    /// `String`.
    Text,
    /// `Set<String>`.
    List,
}

/// The entity types and actions that the engine asks about.
#[derive(Debug)]
pub(super) struct Vocabulary {
    pub(super) user: EntityTypeName,
    pub(super) role: EntityTypeName,
    pub(super) schema: EntityTypeName,
    pub(super) table: EntityTypeName,
    pub(super) column: EntityTypeName,
    pub(super) tag: EntityTypeName,
    pub(super) read: EntityUid,
    /// The actions that show a column, highest level first.
    pub(super) see: [(Level, EntityUid); 3],
}

impl Vocabulary {
    pub(super) fn new() -> Result<Self, Box<ParseErrors>> {
        let action = EntityTypeName::from_str("Action")?;
        let named = |name: &str| uid(&action, name);
        Ok(Self {
            user: EntityTypeName::from_str("User")?,
            role: EntityTypeName::from_str("Role")?,
            schema: EntityTypeName::from_str("Schema")?,
            table: EntityTypeName::from_str("Table")?,
            column: EntityTypeName::from_str("Column")?,
            tag: EntityTypeName::from_str("Tag")?,
            read: named("read"),
            see: [
                (Level::Clear, named("see_clear")),
                (Level::Generalised, named("see_generalised")),
                (Level::Pseudonym, named("see_pseudonym")),
            ],
        })
    }

    /// What of all this a schema does not declare.
    pub(super) fn missing_from(&self, schema: &Schema) -> Vec<String> {
        let types = [&self.user, &self.role, &self.schema, &self.table, &self.column, &self.tag]
            .into_iter()
            .filter(|wanted| !schema.entity_types().any(|known| known == *wanted))
            .map(|wanted| format!("entity type `{wanted}` is not declared"));
        let actions = std::iter::once(&self.read)
            .chain(self.see.iter().map(|(_, action)| action))
            .filter(|wanted| !schema.actions().any(|known| known == *wanted))
            .map(|wanted| format!("action `{}` is not declared", wanted.id().unescaped()));
        types.chain(actions).collect()
    }
}

pub(super) fn uid(of: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(id))
}

/// The attributes of `User` in a schema's JSON form, or what is wrong with them.
pub(super) fn user_attributes(schema: &Value) -> Result<BTreeMap<String, AttributeType>, Vec<String>> {
    let Some(attributes) = schema.pointer("//entityTypes/User/shape/attributes").and_then(Value::as_object) else {
        return Ok(BTreeMap::new());
    };
    let mut types = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, declared) in attributes {
        if declared.get("required").and_then(Value::as_bool) != Some(false) {
            problems.push(format!("attribute `{name}` of User must be optional: a token may lack it"));
        }
        let is_string = |of: &Value| of.get("name").or_else(|| of.get("type")).is_some_and(|name| name == "String");
        match declared.get("element") {
            None if is_string(declared) => types.insert(name.clone(), AttributeType::Text),
            Some(element) if is_string(element) => types.insert(name.clone(), AttributeType::List),
            _ => {
                problems.push(format!("attribute `{name}` of User must be a String or a Set<String>"));
                continue;
            }
        };
    }
    if problems.is_empty() { Ok(types) } else { Err(problems) }
}

//! All decisions at once: every role for its purpose, with every attribute, over every table, scope and column.
//!
//! There are finitely many, so what a policy, a scope or a column comes to needs no proof: they are tried. What hangs on
//! the values of a person's attributes cannot be tried, and is not judged.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint};
use serde_json::Value;

use super::decision::Level;
use super::explain::{Explanation, Reasons};
use super::problem::{PolicyPlace, PolicyProblem};
use super::references::compared;
use super::resources::ENGINE_GROUPS;
use super::{AttributeType, Policies};
use crate::claims::Claims;
use crate::principal::Principal;
use crate::purposes::NOBODY;

/// What all roles together see, and what never comes to anything.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Policies that never apply.
    pub problems: Vec<PolicyProblem>,
    /// The scopes of each table that some policy opens or closes, as table and scope.
    pub used: BTreeSet<(String, String)>,
    /// Every column that somebody sees, at each level and scope.
    pub seen: Vec<Seen>,
}

/// A column as one role sees it in the rows of one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The role.
    pub role: String,
    /// `schema.table`.
    pub table: String,
    /// The scope.
    pub scope: String,
    /// The column.
    pub column: String,
    /// The level that the policies give.
    pub level: Level,
    /// The policies that give it.
    pub permits: Vec<PolicyPlace>,
}

/// What came of one policy.
#[derive(Debug, Default)]
struct Found {
    took_effect: bool,
    failed: bool,
    /// Whether it showed something of rows that the same role does not read.
    rows_unread: bool,
    forbidden_by: BTreeSet<PolicyPlace>,
}

impl Policies {
    /// Tries every decision that the declared roles can meet.
    pub fn survey(&self) -> Survey {
        let mut survey = Survey::default();
        let mut found: BTreeMap<PolicyPlace, Found> = BTreeMap::new();
        for principal in self.everyone() {
            for table in self.tables.keys() {
                let Some(explained) = self.explain(&principal, table) else { continue };
                note(&explained, &mut found);
                survey.note(&principal, &explained);
            }
        }
        survey.problems = self.policies.iter().filter_map(|policy| self.judged(policy, &found)).collect();
        survey.problems.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
        survey
    }

    /// One principal for each declared role, with every attribute that there is; and one for all roles of a purpose
    /// that may be held together.
    pub(crate) fn everyone(&self) -> Vec<Principal> {
        let roles = self.purposes.roles();
        let mut together: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (role, purpose) in roles {
            together.entry(purpose).or_default().push(role);
        }
        let alone = roles.iter().map(|(role, purpose)| (purpose.as_str(), vec![role.as_str()]));
        let mut known = BTreeSet::new();
        alone
            .chain(together)
            .filter_map(|(purpose, roles)| {
                let with_roles = roles.iter().fold(self.somebody(), |claims, role| claims.role(*role));
                self.principal(&with_roles, Some(purpose)).ok()
            })
            .filter(|principal| known.insert(principal.digest.clone()))
            .collect()
    }

    /// Claims with every attribute that the schema declares.
    fn somebody(&self) -> Claims {
        self.attributes.iter().fold(Claims::new("somebody"), |claims, (name, of)| match of {
            AttributeType::Text => claims.text(name, "x"),
            AttributeType::List => claims.list(name, ["x"]),
        })
    }

    /// Why a policy never applies, if it does not.
    fn judged(&self, policy: &Policy, found: &BTreeMap<PolicyPlace, Found>) -> Option<PolicyProblem> {
        let place = self.places.get(policy.id())?;
        let form = policy.to_json().ok()?;
        if !self.is_asked(policy) || depends_on_the_person(policy, &form) || self.waits_for_a_table(policy) {
            return None;
        }
        let default = Found::default();
        let found = found.get(place).unwrap_or(&default);
        if found.took_effect {
            return None;
        }
        let why = if found.failed {
            "it fails wherever it is evaluated, and so it denies".to_owned()
        } else if let Some(first) = found.forbidden_by.first() {
            let others = match found.forbidden_by.len() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            format!("all that it permits is forbidden by {first}{others}")
        } else if found.rows_unread {
            "it shows columns of rows that the same role does not read".to_owned()
        } else {
            self.misfit(policy, &form)
        };
        let message = format!("policy `{}` never applies: {why}", place.id);
        Some(PolicyProblem::new(&self.folder.join(&place.file), place.line, message))
    }

    /// Why nobody meets the policy.
    fn misfit(&self, policy: &Policy, form: &Value) -> String {
        let mut wanted = BTreeSet::new();
        compared(form, "purpose", &mut wanted);
        let role = match policy.principal_constraint() {
            PrincipalConstraint::In(of) | PrincipalConstraint::IsIn(_, of) => Some(of.id().unescaped().to_owned()),
            _ => None,
        };
        let served = role.as_ref().and_then(|role| self.purposes.roles().get(role));
        match (role, served) {
            (Some(role), Some(served)) if !wanted.is_empty() && !wanted.contains(served) && role != NOBODY => {
                let wanted: Vec<String> = wanted.iter().map(|purpose| format!("`{purpose}`")).collect();
                format!("role `{role}` serves the purpose `{served}`, and it wants {}", wanted.join(" or "))
            }
            _ => "no role, table, row scope and tag that there are fit it".to_owned(),
        }
    }

    /// Whether the engine asks about any of its actions.
    fn is_asked(&self, policy: &Policy) -> bool {
        let is_group = |action: &EntityUid| self.schema.action_groups().any(|group| group == action);
        let plain = |action: &EntityUid| {
            *action == self.vocabulary.read || self.vocabulary.see.iter().any(|(_, see)| see == action)
        };
        match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(of) => plain(&of),
            ActionConstraint::In(of) => of.iter().any(|of| plain(of) || is_group(of)),
        }
    }

    /// Whether it opens tables of the engine's own that are not there yet.
    fn waits_for_a_table(&self, policy: &Policy) -> bool {
        let is_there = |group: &str| self.tables().any(|table| table.parents.iter().any(|parent| parent == group));
        let literals = policy.entity_literals();
        let tables = literals.iter().filter(|of| *of.type_name() == self.vocabulary.table);
        tables.map(|of| of.id().unescaped()).any(|id| ENGINE_GROUPS.contains(&id) && !is_there(id))
    }
}

impl Survey {
    fn note(&mut self, principal: &Principal, explained: &Explanation) {
        for scope in &explained.scopes {
            if !(scope.reasons.permits.is_empty() && scope.reasons.forbids.is_empty()) {
                self.used.insert((explained.table.clone(), scope.scope.clone()));
            }
        }
        let mut active = principal.roles.iter().filter(|role| *role != NOBODY);
        let role = match (active.next(), active.next()) {
            (None, _) => NOBODY,
            (Some(only), None) => only,
            // Roles together see what each of them sees.
            (Some(_), Some(_)) => return,
        };
        for scope in explained.open() {
            let seen = scope.columns.iter().filter(|(_, column)| column.level > Level::Hidden);
            self.seen.extend(seen.map(|(name, column)| {
                Seen {
                    role: role.to_owned(),
                    table: explained.table.clone(),
                    scope: scope.scope.clone(),
                    column: name.clone(),
                    level: column.level,
                    permits: column
                        .asked
                        .iter()
                        .find(|(level, _)| *level == column.level)
                        .map(|(_, reasons)| reasons.permits.clone())
                        .unwrap_or_default(),
                }
            }));
        }
    }
}

fn note(explained: &Explanation, found: &mut BTreeMap<PolicyPlace, Found>) {
    for scope in &explained.scopes {
        let reads = explained.visible && scope.is_open();
        note_answer(&scope.reasons, true, found);
        for (_, reasons) in scope.columns.values().flat_map(|column| &column.asked) {
            note_answer(reasons, reads, found);
        }
    }
}

fn note_answer(reasons: &Reasons, reads: bool, found: &mut BTreeMap<PolicyPlace, Found>) {
    for place in &reasons.permits {
        let of = found.entry(place.clone()).or_default();
        of.took_effect |= reads && reasons.allow();
        of.rows_unread |= !reads;
        of.forbidden_by.extend(reasons.forbids.iter().cloned());
    }
    for place in &reasons.forbids {
        let of = found.entry(place.clone()).or_default();
        of.took_effect = true;
    }
    for place in &reasons.failed {
        found.entry(place.clone()).or_default().failed = true;
    }
}

/// Whether the values of a person's attributes, or one person alone, decide whether it applies.
fn depends_on_the_person(policy: &Policy, form: &Value) -> bool {
    fn names_principal(form: &Value) -> bool {
        match form {
            Value::Object(members) => {
                members.iter().any(|(name, member)| (name == "Var" && member == "principal") || names_principal(member))
            }
            Value::Array(items) => items.iter().any(names_principal),
            _ => false,
        }
    }
    matches!(policy.principal_constraint(), PrincipalConstraint::Eq(_))
        || form.get("conditions").is_some_and(names_principal)
}

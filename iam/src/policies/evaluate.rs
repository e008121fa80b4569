//! One decision: Cedar asked for one principal and one table.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer, Context, Decision, Effect, Entities, Entity, EntityUid, Policy,
    PolicyId, PolicySet, PrincipalConstraint, Request, ResourceConstraint, Response, RestrictedExpression,
};

use super::Policies;
use super::decision::{Level, ScopeDecision, TableDecision};
use super::resources::{ALL_ROWS, ColumnGroup, Resource};
use super::vocabulary::uid;
use crate::claims::Attribute;
use crate::principal::Principal;

/// What the policies say to one question.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Permitted(Vec<PolicyId>),
    Denied,
    Forbidden,
}

/// The questions about one principal and one table.
pub(super) struct Evaluation<'a> {
    pub(super) policies: &'a Policies,
    principal: &'a Principal,
    pub(super) resource: &'a Resource,
    user: EntityUid,
    pub(super) table: EntityUid,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(policies: &'a Policies, principal: &'a Principal, resource: &'a Resource) -> Self {
        Self {
            policies,
            principal,
            resource,
            user: uid(&policies.vocabulary.user, &principal.id),
            table: uid(&policies.vocabulary.table, &resource.table.name),
        }
    }

    pub(super) fn decide(&self) -> TableDecision {
        let vocabulary = &self.policies.vocabulary;
        let Some(entities) = self.entities() else {
            return TableDecision::default();
        };
        let Some(read) = self.relevant(&vocabulary.read) else {
            return TableDecision::default();
        };
        let mut permitted = Vec::new();
        let mut forbidden = Vec::new();
        for scope in self.scopes() {
            match self.ask(&read, &vocabulary.read, &self.table, scope, &entities) {
                Answer::Permitted(by) if self.is_available(scope) => permitted.push((scope, by)),
                // Which rows are forbidden cannot be said without the attribute: then all are.
                Answer::Forbidden if scope == ALL_ROWS || !self.is_available(scope) => {
                    return TableDecision::default();
                }
                Answer::Forbidden => forbidden.push(scope.to_owned()),
                Answer::Permitted(_) | Answer::Denied => {}
            }
        }
        if permitted.is_empty() {
            return TableDecision::default();
        }
        let see: Option<Vec<_>> =
            vocabulary.see.iter().map(|(level, action)| Some((*level, action, self.relevant(action)?))).collect();
        let Some(see) = see else {
            return TableDecision::default();
        };
        let scopes = permitted.into_iter().map(|(scope, by)| self.levels(scope, by, &see, &entities)).collect();
        TableDecision { scopes, forbidden }
    }

    fn levels(
        &self,
        scope: &str,
        permitted_by: Vec<PolicyId>,
        see: &[(Level, &EntityUid, PolicySet)],
        entities: &Entities,
    ) -> ScopeDecision {
        let mut policies: BTreeSet<String> = permitted_by.iter().map(ToString::to_string).collect();
        let mut levels = BTreeMap::new();
        for group in &self.resource.groups {
            let Some(column) = self.column(group) else {
                continue;
            };
            let mut highest = Level::Hidden;
            for (level, action, relevant) in see {
                if let Answer::Permitted(by) = self.ask(relevant, action, &column, scope, entities) {
                    highest = *level;
                    policies.extend(by.iter().map(ToString::to_string));
                    break;
                }
            }
            levels.extend(group.columns.iter().map(|column| (column.clone(), highest)));
        }
        ScopeDecision { scope: scope.to_owned(), levels, policies: policies.into_iter().collect() }
    }

    fn ask(
        &self,
        policies: &PolicySet,
        action: &EntityUid,
        resource: &EntityUid,
        scope: &str,
        entities: &Entities,
    ) -> Answer {
        if policies.is_empty() {
            return Answer::Denied;
        }
        let Some(response) = self.respond(policies, action, resource, scope, entities) else {
            return Answer::Forbidden;
        };
        // Cedar passes over a policy that fails; here it denies, and a failing `forbid` forbids.
        let mut failed = false;
        let mut forbidden = false;
        for error in response.diagnostics().errors() {
            let AuthorizationError::PolicyEvaluationError(error) = error;
            let policy = error.policy_id();
            tracing::error!(%policy, table = %self.resource.table.name, scope, "policy failed to evaluate");
            failed = true;
            forbidden |= policies.policy(policy).is_none_or(|policy| policy.effect() == Effect::Forbid);
        }
        let reasons: Vec<PolicyId> = response.diagnostics().reason().cloned().collect();
        match response.decision() {
            Decision::Allow if failed && !forbidden => Answer::Denied,
            Decision::Allow if !failed => Answer::Permitted(reasons),
            Decision::Deny if !forbidden && reasons.is_empty() => Answer::Denied,
            Decision::Allow | Decision::Deny => Answer::Forbidden,
        }
    }

    /// Cedar's answer; none, after a log line, where the schema does not let it be asked.
    pub(super) fn respond(
        &self,
        policies: &PolicySet,
        action: &EntityUid,
        resource: &EntityUid,
        scope: &str,
        entities: &Entities,
    ) -> Option<Response> {
        let context = Context::from_pairs([
            ("rows".to_owned(), RestrictedExpression::new_string(scope.to_owned())),
            ("purpose".to_owned(), RestrictedExpression::new_string(self.principal.purpose.clone())),
        ]);
        let request = context.map_err(|error| error.to_string()).and_then(|context| {
            Request::new(self.user.clone(), action.clone(), resource.clone(), context, Some(&self.policies.schema))
                .map_err(|error| error.to_string())
        });
        match request {
            Ok(request) => Some(Authorizer::new().is_authorized(&request, policies, entities)),
            Err(error) => {
                tracing::error!(table = %self.resource.table.name, error, "policies cannot be asked");
                None
            }
        }
    }

    /// Whether the principal has all attributes that the scope's predicate needs.
    fn is_available(&self, scope: &str) -> bool {
        self.missing(scope).next().is_none()
    }

    /// The attributes that the scope's predicate needs and the principal has not.
    pub(super) fn missing(&self, scope: &str) -> impl Iterator<Item = &'a String> {
        let needed = self.resource.table.scope_attributes.get(scope).map(Vec::as_slice).unwrap_or_default();
        needed.iter().filter(|name| !self.principal.attributes.contains_key(*name))
    }

    /// The scopes of the table, all rows first.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &'a str> {
        std::iter::once(ALL_ROWS).chain(self.resource.table.scopes.iter().map(String::as_str))
    }

    /// The column that stands for its group.
    pub(super) fn column(&self, group: &ColumnGroup) -> Option<EntityUid> {
        let column = group.columns.first()?;
        Some(uid(&self.policies.vocabulary.column, &self.resource.table.column_id(column)))
    }

    /// The entities that the questions are about; `None`, after a log line, when the schema does not allow them.
    pub(super) fn entities(&self) -> Option<Entities> {
        let vocabulary = &self.policies.vocabulary;
        let table = &self.resource.table;
        let attributes: HashMap<String, RestrictedExpression> =
            self.principal.attributes.iter().map(|(name, value)| (name.clone(), expression(value))).collect();
        let roles: HashSet<EntityUid> = self.principal.roles.iter().map(|role| uid(&vocabulary.role, role)).collect();
        let mut entities = vec![];
        entities.extend(roles.iter().cloned().map(|role| Entity::new_no_attrs(role, HashSet::new())));
        match Entity::new(self.user.clone(), attributes, roles) {
            Ok(user) => entities.push(user),
            Err(error) => {
                tracing::error!(policy = ?error.attr(), "attribute cannot be given to the policies");
                return None;
            }
        }
        let parents: HashSet<EntityUid> = self.table_ancestors().collect();
        entities.extend(parents.iter().cloned().map(|parent| Entity::new_no_attrs(parent, HashSet::new())));
        entities.push(Entity::new_no_attrs(self.table.clone(), parents));

        let tags: BTreeSet<&String> = self.resource.groups.iter().flat_map(|group| &group.tags).collect();
        entities.extend(tags.into_iter().map(|tag| Entity::new_no_attrs(uid(&vocabulary.tag, tag), HashSet::new())));
        for group in &self.resource.groups {
            let parents = group.tags.iter().map(|tag| uid(&vocabulary.tag, tag)).chain([self.table.clone()]);
            entities.extend(self.column(group).map(|column| Entity::new_no_attrs(column, parents.collect())));
        }
        match Entities::from_entities(entities, Some(&self.policies.schema)) {
            Ok(entities) => Some(entities),
            Err(_) => {
                tracing::error!(table = %table.name, "the schema does not allow the entities of the table");
                None
            }
        }
    }

    fn table_ancestors(&self) -> impl Iterator<Item = EntityUid> {
        let vocabulary = &self.policies.vocabulary;
        let table = &self.resource.table;
        let groups = table.parents.iter().map(|parent| uid(&vocabulary.table, parent));
        groups.chain([uid(&vocabulary.schema, table.schema())])
    }

    /// The policies whose scope can hold for this principal, action and table. The others say nothing, nor can they
    /// fail: Cedar looks at the scope before the conditions.
    pub(super) fn relevant(&self, action: &EntityUid) -> Option<PolicySet> {
        let vocabulary = &self.policies.vocabulary;
        let roles: HashSet<EntityUid> = self.principal.roles.iter().map(|role| uid(&vocabulary.role, role)).collect();
        let above: HashSet<EntityUid> = self
            .table_ancestors()
            .chain([self.table.clone()])
            .chain(self.resource.groups.iter().flat_map(|group| &group.tags).map(|tag| uid(&vocabulary.tag, tag)))
            .chain(self.resource.groups.iter().filter_map(|group| self.column(group)))
            .collect();
        let is_relevant = |policy: &Policy| {
            let principal = match policy.principal_constraint() {
                PrincipalConstraint::Any | PrincipalConstraint::Is(_) => true,
                PrincipalConstraint::In(of) | PrincipalConstraint::IsIn(_, of) => {
                    of == self.user || roles.contains(&of)
                }
                PrincipalConstraint::Eq(of) => of == self.user,
            };
            let action = match policy.action_constraint() {
                ActionConstraint::Any => true,
                ActionConstraint::In(of) => of.iter().any(|of| of == action || !self.is_plain_action(of)),
                ActionConstraint::Eq(of) => of == *action,
            };
            let resource = match policy.resource_constraint() {
                ResourceConstraint::Any | ResourceConstraint::Is(_) => true,
                ResourceConstraint::In(of) | ResourceConstraint::IsIn(_, of) | ResourceConstraint::Eq(of) => {
                    above.contains(&of)
                }
            };
            principal && action && resource
        };
        let relevant = self.policies.policies.iter().filter(|policy| is_relevant(policy)).cloned();
        match PolicySet::from_policies(relevant) {
            Ok(policies) => Some(policies),
            Err(_) => {
                tracing::error!("two policies with one id");
                None
            }
        }
    }

    /// Whether it is one of the actions asked about, and not a group that may hold them.
    fn is_plain_action(&self, action: &EntityUid) -> bool {
        let vocabulary = &self.policies.vocabulary;
        *action == vocabulary.read || vocabulary.see.iter().any(|(_, see)| see == action)
    }
}

fn expression(value: &Attribute) -> RestrictedExpression {
    match value {
        Attribute::Text(text) => RestrictedExpression::new_string(text.clone()),
        Attribute::List(items) => {
            RestrictedExpression::new_set(items.iter().map(|item| RestrictedExpression::new_string(item.clone())))
        }
    }
}

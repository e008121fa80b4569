//! Why a principal sees what it sees: the answers behind a decision, each with the policies that gave it.
//!
//! A decision stops at the first answer that settles it; an explanation asks everything, so that it can also say what
//! a `forbid` takes away and what no policy gives.

use std::collections::BTreeMap;

use cedar_policy::{AuthorizationError, Decision, Effect, Entities, EntityUid, PolicyId, PolicySet};

use super::decision::Level;
use super::evaluate::Evaluation;
use super::problem::PolicyPlace;

/// What the policies say to one question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reasons {
    /// The policies that permit it, whether or not another forbids it.
    pub permits: Vec<PolicyPlace>,
    /// The policies that forbid it; one is enough.
    pub forbids: Vec<PolicyPlace>,
    /// The policies that could not be evaluated, which denies.
    pub failed: Vec<PolicyPlace>,
}

impl Reasons {
    /// Whether it is permitted.
    pub fn allow(&self) -> bool {
        !self.permits.is_empty() && self.forbids.is_empty() && self.failed.is_empty()
    }
}

/// The answers behind what a principal may see of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// `schema.table`.
    pub table: String,
    /// Whether the table exists for the principal.
    pub visible: bool,
    /// Every scope of the table, all rows first.
    pub scopes: Vec<ScopeExplanation>,
}

impl Explanation {
    /// The scopes whose rows are shown; none where the table does not exist for the principal.
    pub fn open(&self) -> impl Iterator<Item = &ScopeExplanation> {
        self.scopes.iter().filter(|scope| self.visible && scope.is_open())
    }
}

/// The answers about the rows in one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeExplanation {
    /// The scope's name; `all` is every row.
    pub scope: String,
    /// Whether its rows are read.
    pub reasons: Reasons,
    /// The attributes that its predicate needs and the principal has not.
    pub missing: Vec<String>,
    /// The answers about each column in these rows.
    pub columns: BTreeMap<String, ColumnExplanation>,
}

impl ScopeExplanation {
    /// Whether the scope by itself is open.
    pub fn is_open(&self) -> bool {
        self.reasons.allow() && self.missing.is_empty()
    }
}

/// The answers about one column in the rows of one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnExplanation {
    /// The level at which it is shown where the rows are read.
    pub level: Level,
    /// Its tags; `unclassified` where the contract gives none.
    pub tags: Vec<String>,
    /// The answers for each level, highest first.
    pub asked: Vec<(Level, Reasons)>,
}

impl Evaluation<'_> {
    pub(super) fn explain(&self) -> Explanation {
        let vocabulary = &self.policies.vocabulary;
        let visible = self.decide().is_visible();
        let table = self.resource.table.name.clone();
        let see: Option<Vec<_>> =
            vocabulary.see.iter().map(|(level, action)| Some((*level, action, self.relevant(action)?))).collect();
        let (Some(read), Some(see)) = (self.relevant(&vocabulary.read), see) else {
            return Explanation { table, visible, scopes: Vec::new() };
        };
        // Where no policy has a say, nothing is asked.
        let is_asked = !read.is_empty() || see.iter().any(|(_, _, relevant)| !relevant.is_empty());
        let Some(entities) = (if is_asked { self.entities() } else { Some(Entities::empty()) }) else {
            return Explanation { table, visible, scopes: Vec::new() };
        };
        let scopes = self
            .scopes()
            .map(|scope| ScopeExplanation {
                scope: scope.to_owned(),
                reasons: self.reasons(&read, &vocabulary.read, &self.table, scope, &entities),
                missing: self.missing(scope).cloned().collect(),
                columns: self.columns(scope, &see, &entities),
            })
            .collect();
        Explanation { table, visible, scopes }
    }

    fn columns(
        &self,
        scope: &str,
        see: &[(Level, &EntityUid, PolicySet)],
        entities: &Entities,
    ) -> BTreeMap<String, ColumnExplanation> {
        let mut columns = BTreeMap::new();
        for group in &self.resource.groups {
            let Some(column) = self.column(group) else { continue };
            let asked: Vec<(Level, Reasons)> = see
                .iter()
                .map(|(level, action, relevant)| (*level, self.reasons(relevant, action, &column, scope, entities)))
                .collect();
            let level = asked.iter().find(|(_, reasons)| reasons.allow()).map_or(Level::Hidden, |(level, _)| *level);
            let explained = ColumnExplanation { level, tags: group.tags.clone(), asked };
            columns.extend(group.columns.iter().map(|column| (column.clone(), explained.clone())));
        }
        columns
    }

    fn reasons(
        &self,
        policies: &PolicySet,
        action: &EntityUid,
        resource: &EntityUid,
        scope: &str,
        entities: &Entities,
    ) -> Reasons {
        let mut reasons = Reasons::default();
        if policies.is_empty() {
            return reasons;
        }
        let Some(response) = self.respond(policies, action, resource, scope, entities) else {
            return reasons;
        };
        let failed = response.diagnostics().errors().map(|error| {
            let AuthorizationError::PolicyEvaluationError(error) = error;
            error.policy_id()
        });
        reasons.failed = self.places(failed);
        let because = self.places(response.diagnostics().reason());
        if response.decision() == Decision::Allow {
            reasons.permits = because;
            return reasons;
        }
        reasons.forbids = because;
        // Beneath a `forbid` Cedar does not tell what was permitted.
        let permits = policies.policies().filter(|policy| policy.effect() == Effect::Permit).cloned();
        let beneath = PolicySet::from_policies(permits).ok();
        let beneath = beneath.and_then(|permits| self.respond(&permits, action, resource, scope, entities));
        reasons.permits = beneath.map(|response| self.places(response.diagnostics().reason())).unwrap_or_default();
        reasons
    }

    fn places<'p>(&self, policies: impl Iterator<Item = &'p PolicyId>) -> Vec<PolicyPlace> {
        let mut places: Vec<PolicyPlace> = policies.filter_map(|id| self.policies.places.get(id).cloned()).collect();
        places.sort();
        places
    }
}

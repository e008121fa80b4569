//! Policies: what a principal may see. Cedar says who; contracts say what there is.
//!
//! A decision is made per table: for each row scope whether the principal reads it, and for each distinct set of
//! tags the level at which it shows. Default deny; `forbid` wins; a policy that fails to evaluate denies.

mod decision;
mod evaluate;
mod explain;
mod load;
mod problem;
mod references;
mod resources;
mod survey;
mod vocabulary;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cedar_policy::{Policy, PolicyId, Schema};
use parking_lot::Mutex;

pub use decision::{Level, ScopeDecision, TableDecision};
pub use explain::{ColumnExplanation, Explanation, Reasons, ScopeExplanation};
pub use problem::{PolicyPlace, PolicyProblem};
pub use resources::{ALL_ROWS, ENGINE_GROUPS, ResourceTable, UNCLASSIFIED, UnreadTable};
pub use survey::{Seen, Survey};
pub use vocabulary::AttributeType;

use crate::claims::{Attribute, Claims};
use crate::error::IamError;
use crate::principal::Principal;
use crate::purposes::{HeldRole, Purposes};
use evaluate::Evaluation;
use resources::Resource;
use vocabulary::Vocabulary;

/// Decisions are forgotten when there are more than this many.
const KEPT_DECISIONS: usize = 10_000;

/// The policies of a folder, checked against the tables there are.
pub struct Policies {
    folder: PathBuf,
    policies: Vec<Policy>,
    places: HashMap<PolicyId, PolicyPlace>,
    schema: Schema,
    vocabulary: Vocabulary,
    attributes: BTreeMap<String, AttributeType>,
    purposes: Purposes,
    tables: BTreeMap<String, Resource>,
    digest: String,
    nothing: Arc<TableDecision>,
    decisions: Mutex<HashMap<(String, String), Arc<TableDecision>>>,
}

impl Policies {
    /// Loads `*.cedarschema`, `*.cedar` and `purposes.yaml` from a folder; every problem at once.
    pub fn load(folder: &Path, tables: &[ResourceTable]) -> Result<Self, Vec<PolicyProblem>> {
        load::load(folder, tables, &[])
    }

    /// The same while some declarations could not be understood. Their policies are looked at and never given: with
    /// anything in `unread` it is an error, be it with no problem.
    pub fn load_beside(
        folder: &Path,
        tables: &[ResourceTable],
        unread: &[UnreadTable],
    ) -> Result<Self, Vec<PolicyProblem>> {
        load::load(folder, tables, unread)
    }

    /// Who asks, for the stated purpose or the only one that the claims' roles have.
    pub fn principal(&self, claims: &Claims, purpose: Option<&str>) -> Result<Principal, IamError> {
        let (purpose, roles) = self.purposes.activate(claims, purpose)?;
        let attributes = claims
            .attributes
            .iter()
            .filter(|(name, value)| match (self.attributes.get(*name), value) {
                (Some(AttributeType::Text), Attribute::Text(text)) => !text.is_empty(),
                (Some(AttributeType::List), Attribute::List(items)) => {
                    !items.is_empty() && items.iter().all(|item| !item.is_empty())
                }
                _ => false,
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Ok(Principal::new(claims.sub.clone(), claims.issuer.clone(), purpose, roles, attributes))
    }

    /// What the principal may see of a table (`schema.table`). A table that there is not, and one that the
    /// principal may not see, give the same: nothing.
    pub fn decide(&self, principal: &Principal, table: &str) -> Arc<TableDecision> {
        let Some(resource) = self.tables.get(table) else {
            return Arc::clone(&self.nothing);
        };
        let key = (principal.digest.clone(), table.to_owned());
        if let Some(decision) = self.decisions.lock().get(&key) {
            return Arc::clone(decision);
        }
        let decision = Arc::new(Evaluation::new(self, principal, resource).decide());
        let mut decisions = self.decisions.lock();
        if decisions.len() >= KEPT_DECISIONS {
            decisions.clear();
        }
        decisions.insert(key, Arc::clone(&decision));
        decision
    }

    /// Why the principal sees what it sees of a table; of a table that there is not, nothing.
    pub fn explain(&self, principal: &Principal, table: &str) -> Option<Explanation> {
        Some(Evaluation::new(self, principal, self.tables.get(table)?).explain())
    }

    /// What becomes of each role that the claims name, for the principal's purpose.
    pub fn roles(&self, claims: &Claims, principal: &Principal) -> Vec<HeldRole> {
        self.purposes.standing(claims, &principal.purpose)
    }

    /// The purpose that a declared role serves.
    pub fn purpose_of(&self, role: &str) -> Option<&str> {
        self.purposes.roles().get(role).map(String::as_str)
    }

    /// Whether any role serves the purpose.
    pub fn has_purpose(&self, purpose: &str) -> bool {
        self.purposes.roles().values().any(|served| served == purpose)
    }

    /// The tables that policies may open, in the order of their names.
    pub fn tables(&self) -> impl Iterator<Item = &ResourceTable> {
        self.tables.values().map(|resource| &resource.table)
    }

    /// SHA-256 over the policy folder's files and the tables they speak of, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The attributes a person may have, as the schema's `User` declares them.
    pub fn attributes(&self) -> &BTreeMap<String, AttributeType> {
        &self.attributes
    }
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policies")
            .field("policies", &self.policies.len())
            .field("tables", &self.tables.len())
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

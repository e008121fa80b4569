//! What somebody sees of a table, and by which policies: for the person, and for whoever writes policies.
//!
//! The levels are those of the view that governs statements; the policies come from an explanation of the same
//! decision. Nothing here reads a row.

use std::sync::Arc;

use chrono::NaiveDate;
use lakeward_iam::{
    Claims, ColumnExplanation, Explanation, Level, Policies, PolicyPlace, Principal, Reasons, ScopeExplanation,
    Standing, UNCLASSIFIED,
};
use lakeward_tables::GovernedTable;
use serde::Serialize;
use utoipa::ToSchema;

use crate::gateway::sql_type;
use crate::governed::{Shown, View};
use crate::masks::Masks;

/// Who asks, for which purpose, and what that opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Access {
    /// The purpose of the request.
    pub purpose: String,
    /// The roles of the token, and what becomes of each.
    pub roles: Vec<AccessRole>,
    /// The attributes that row scopes may need.
    pub attributes: Vec<AccessAttribute>,
    /// Ordered by name.
    pub tables: Vec<TableAccess>,
}

/// A role that a token names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccessRole {
    /// As the token names it.
    pub role: String,
    /// Whether it counts here.
    pub active: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// An attribute that the policies' schema declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccessAttribute {
    /// Its name.
    pub name: String,
    /// Whether the token has it, in the type that is declared.
    pub available: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A table as one principal sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TableAccess {
    /// `schema.table`.
    pub table: String,
    /// Whether it exists for the principal.
    pub visible: bool,
    /// The row scopes, all rows first.
    pub scopes: Vec<AccessScope>,
    /// Every column, as the contract orders them; none where the table does not exist for the principal.
    pub columns: Vec<AccessColumn>,
}

/// The rows of one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccessScope {
    /// Its name; `all` is every row.
    pub scope: String,
    /// Whether the rows are shown.
    pub open: bool,
    /// Why they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The policies that permit to read them.
    pub permits: Vec<AccessPolicy>,
    /// The policies that forbid it.
    pub forbids: Vec<AccessPolicy>,
}

/// A column in all rows that are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccessColumn {
    /// Its name.
    pub name: String,
    /// SQL type; the same for everyone.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Its tags; `unclassified` where the contract gives none.
    pub tags: Vec<String>,
    /// `clear`, `generalised`, `pseudonym`, `hidden`, or `varies` from row to row.
    pub level: String,
    /// How it is shown in the rows of each scope that is open.
    pub cells: Vec<AccessCell>,
}

/// A column in the rows of one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccessCell {
    /// The scope.
    pub scope: String,
    /// `clear`, `generalised`, `pseudonym` or `hidden`.
    pub level: String,
    /// What is shown in place of a value, where it is masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
    /// An invented value, and what is shown for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    /// The policies that give the level.
    pub permits: Vec<AccessPolicy>,
    /// Why it is not what the policies alone would give, or why they give nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The answers at every level, highest first, where one column is asked about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<AccessAnswer>,
}

/// What the policies say about one level of one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccessAnswer {
    /// The level.
    pub level: String,
    /// The policies that permit it.
    pub permits: Vec<AccessPolicy>,
    /// The policies that forbid it.
    pub forbids: Vec<AccessPolicy>,
    /// The policies that failed, which denies.
    pub failed: Vec<AccessPolicy>,
}

/// A policy and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccessPolicy {
    /// Its `@id`.
    pub id: String,
    /// The file, within `policies/`.
    pub file: String,
    /// The line where it begins.
    pub line: usize,
}

/// What is held against a table to tell how it is shown.
#[derive(Debug, Clone)]
pub struct AccessRules<'a> {
    /// Who sees what.
    pub policies: &'a Policies,
    /// How a masked value looks.
    pub masks: &'a Masks,
    /// Whether the purpose has a key for pseudonyms.
    pub has_key: bool,
    /// The day on which ages are told.
    pub today: NaiveDate,
}

impl Access {
    /// Who asks; no table yet.
    pub fn new(policies: &Policies, claims: &Claims, principal: &Principal) -> Self {
        let roles = policies.roles(claims, principal).into_iter().map(|held| {
            let why = match &held.standing {
                Standing::Active => None,
                Standing::OtherPurpose(purpose) => Some(format!("it counts for the purpose {purpose}")),
                Standing::Undeclared => Some("purposes.yaml does not declare it".to_owned()),
                Standing::Incompatible(others) => {
                    Some(format!("nobody may hold it together with {}: none of them counts", others.join(", ")))
                }
            };
            AccessRole { active: why.is_none(), role: held.role, why }
        });
        let attributes = policies.attributes().keys().map(|name| {
            let available = principal.attribute(name).is_some();
            let why = match claims.attributes.contains_key(name) {
                _ if available => None,
                true => Some("it is not of the declared type".to_owned()),
                false => Some("the token does not have it, or it is empty".to_owned()),
            };
            AccessAttribute { name: name.clone(), available, why }
        });
        let purpose = principal.purpose.clone();
        Self { purpose, roles: roles.collect(), attributes: attributes.collect(), tables: Vec::new() }
    }
}

impl TableAccess {
    /// How a table is shown to a principal. Where `column` is given it is told alone, with every answer about it.
    ///
    /// It tells all scopes there are; [`Self::for_oneself`] leaves out what the asker need not know of.
    pub fn new(
        rules: &AccessRules<'_>,
        principal: &Principal,
        table: &Arc<GovernedTable>,
        column: Option<&str>,
    ) -> Option<Self> {
        let name = table.name.to_string();
        let explained = rules.policies.explain(principal, &name)?;
        let decision = rules.policies.decide(principal, &name);
        let view = View::new(table, &decision, rules.masks, rules.has_key, &[]);
        let scopes = explained.scopes.iter().map(|scope| AccessScope::new(scope, &explained)).collect();
        let mut columns = Vec::new();
        if let Some(view) = &view {
            let wanted = table.columns.iter().filter(|known| column.is_none_or(|column| known.name == column));
            for declared in wanted {
                columns.extend(AccessColumn::new(view, &explained, rules, &declared.name, column.is_some()));
            }
        }
        Some(Self { table: name, visible: view.is_some(), scopes, columns })
    }

    /// Without the scopes that nothing opens to the asker: their names are none of the asker's business.
    #[must_use]
    pub fn for_oneself(mut self) -> Self {
        self.scopes.retain(|scope| !scope.permits.is_empty());
        self
    }
}

impl AccessScope {
    fn new(scope: &ScopeExplanation, of: &Explanation) -> Self {
        let Reasons { permits, forbids, failed } = &scope.reasons;
        let why = if !forbids.is_empty() {
            Some(format!("forbidden by {}", listed(forbids)))
        } else if !failed.is_empty() {
            Some(format!("denied, because {} fails", listed(failed)))
        } else if permits.is_empty() {
            Some("no policy permits it".to_owned())
        } else if !scope.missing.is_empty() {
            Some(format!("its rows cannot be told without the attribute {}", scope.missing.join(", ")))
        } else if !of.visible {
            Some("a policy takes the whole table away".to_owned())
        } else {
            None
        };
        Self { scope: scope.scope.clone(), open: why.is_none(), why, permits: told(permits), forbids: told(forbids) }
    }
}

impl AccessColumn {
    fn new(view: &View, of: &Explanation, rules: &AccessRules<'_>, name: &str, in_full: bool) -> Option<Self> {
        let column = view.column(name)?;
        let declared = view.table.columns.iter().find(|declared| declared.name == name)?;
        let mut tags = declared.tags.clone();
        if tags.is_empty() {
            tags.push(UNCLASSIFIED.to_owned());
        }
        let cells = view.scopes.iter().zip(&column.shown).filter_map(|(scope, shown)| {
            let explained = of.scopes.iter().find(|explained| explained.scope == *scope)?.columns.get(name)?;
            let level = shown.level();
            let given = explained.asked.iter().find(|(asked, _)| *asked == level);
            let words = match shown {
                Shown::Masked(_, masked) => Some(masked.words(&declared.data_type, rules.today)),
                Shown::Clear | Shown::Hidden => None,
            };
            let (mask, example) = words.map_or((None, None), |words| (Some(words.mask), words.example));
            let asked = match in_full {
                true => explained.asked.iter().map(|(level, reasons)| AccessAnswer::new(*level, reasons)).collect(),
                false => Vec::new(),
            };
            Some(AccessCell {
                scope: scope.clone(),
                level: level.as_str().to_owned(),
                mask,
                example,
                permits: given.map(|(_, reasons)| told(&reasons.permits)).unwrap_or_default(),
                why: why(explained, level, &tags, rules),
                asked,
            })
        });
        Some(Self {
            name: name.to_owned(),
            data_type: sql_type(&declared.data_type),
            tags: tags.clone(),
            level: column.level.as_str().to_owned(),
            cells: cells.collect(),
        })
    }
}

impl AccessAnswer {
    fn new(level: Level, reasons: &Reasons) -> Self {
        Self {
            level: level.as_str().to_owned(),
            permits: told(&reasons.permits),
            forbids: told(&reasons.forbids),
            failed: told(&reasons.failed),
        }
    }
}

/// Why a cell is shown otherwise than the policies say of its scope, or why they give it nothing.
fn why(explained: &ColumnExplanation, shown: Level, tags: &[String], rules: &AccessRules<'_>) -> Option<String> {
    let given = explained.level;
    if shown > given {
        return Some("every row is in the scope all, which shows it so".to_owned());
    }
    if shown < given {
        return Some(match rules.has_key {
            true => format!("the policies give {given}, for which masks.yaml has nothing that fits: it is hidden"),
            false => {
                format!("the policies give {given}, for which the purpose has no key or masks.yaml nothing that fits")
            }
        });
    }
    if given > Level::Hidden {
        return None;
    }
    let any = |pick: fn(&Reasons) -> &Vec<PolicyPlace>| -> Vec<PolicyPlace> {
        let mut places: Vec<_> = explained.asked.iter().flat_map(|(_, reasons)| pick(reasons).clone()).collect();
        places.sort();
        places.dedup();
        places
    };
    let (permits, forbids, failed) = (any(|r| &r.permits), any(|r| &r.forbids), any(|r| &r.failed));
    Some(if !forbids.is_empty() && !permits.is_empty() {
        format!("{} would show it, and {} forbids it", listed(&permits), listed(&forbids))
    } else if !forbids.is_empty() {
        format!("{} forbids it", listed(&forbids))
    } else if !failed.is_empty() {
        format!("denied, because {} fails", listed(&failed))
    } else if tags == [UNCLASSIFIED] {
        "its contract gives it no tag, and no policy shows what is unclassified".to_owned()
    } else {
        format!("no policy shows {} in these rows", tags.join(", "))
    })
}

fn told(places: &[PolicyPlace]) -> Vec<AccessPolicy> {
    let told =
        |PolicyPlace { id, file, line }: &PolicyPlace| AccessPolicy { id: id.clone(), file: file.clone(), line: *line };
    places.iter().map(told).collect()
}

fn listed(places: &[PolicyPlace]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_oneself_the_scopes_that_no_policy_opens_are_not_told() {
        let policy = AccessPolicy { id: "one".into(), file: "a.cedar".into(), line: 1 };
        let scope = |name: &str, permits: Vec<AccessPolicy>| AccessScope {
            scope: name.into(),
            open: !permits.is_empty(),
            why: None,
            permits,
            forbids: vec![],
        };
        let scopes = vec![scope("mine", vec![policy]), scope("of others", vec![])];
        let table = TableAccess { table: "curated.t".into(), visible: true, scopes, columns: vec![] };
        let told: Vec<String> = table.for_oneself().scopes.into_iter().map(|scope| scope.scope).collect();
        assert_eq!(told, ["mine"]);
    }
}

//! What a decision is: per row scope, the level of each column.

use std::collections::BTreeMap;

/// How much of a value is shown, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// NULL.
    Hidden,
    /// A keyed stand-in that is the same for the same value.
    Pseudonym,
    /// A coarser value: a band, a week, a prefix.
    Generalised,
    /// The value.
    Clear,
}

impl Level {
    /// The word for it in metadata and headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Pseudonym => "pseudonym",
            Self::Generalised => "generalised",
            Self::Clear => "clear",
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a principal may see of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableDecision {
    /// The permitted scopes, by name; none: the table does not exist.
    pub scopes: Vec<ScopeDecision>,
    /// Scopes whose rows are taken away, whatever else permits them.
    pub forbidden: Vec<String>,
}

impl TableDecision {
    /// Whether the table exists for the principal.
    pub fn is_visible(&self) -> bool {
        !self.scopes.is_empty()
    }

    /// The decision under a scope, where it is permitted.
    pub fn scope(&self, name: &str) -> Option<&ScopeDecision> {
        self.scopes.iter().find(|scope| scope.scope == name)
    }
}

/// What a principal may see of the rows in one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeDecision {
    /// The scope's name; `all` is every row.
    pub scope: String,
    /// The level of every column.
    pub levels: BTreeMap<String, Level>,
    /// Ids of the policies that permit this, sorted, for the audit.
    pub policies: Vec<String>,
}

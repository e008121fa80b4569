//! The oracle: who sees what, as somebody wrote it down by hand, held against what the policies decide.
//!
//! A CSV file with the columns `role,purpose,table,scope,tags,level`; lines that begin with `#` are comments. The role
//! `(nobody)` is everybody who asks for its purpose; a table without a schema is in `curated`; `raw.*` and the like are
//! groups of tables; `*` among the tags is every tag. A tag not named for a role, table and scope is hidden, a scope not
//! named is closed, and a table not named does not exist for the role.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::policies::{ALL_ROWS, ENGINE_GROUPS, Level, Policies, PolicyProblem, ResourceTable};
use crate::principal::Principal;
use crate::purposes::NOBODY;

const HEAD: &str = "role,purpose,table,scope,tags,level";
const EVERYBODY: &str = "(nobody)";
const EVERY_TAG: &str = "*";

/// The rights as written down.
#[derive(Debug, Clone)]
pub struct Oracle {
    file: PathBuf,
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    number: usize,
    role: String,
    purpose: String,
    table: String,
    scope: String,
    tags: BTreeSet<String>,
    level: Level,
}

/// A cell of the matrix in which the oracle and the policies differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The role that asks, or `(nobody)`.
    pub role: String,
    /// `schema.table`.
    pub table: String,
    /// The scope.
    pub scope: String,
    /// The column; none where the rows of the scope themselves are meant.
    pub column: Option<String>,
    /// What the oracle says: a level, or `closed`, `open` of rows.
    pub declared: &'static str,
    /// What the policies decide: the same, or `taken away`.
    pub decided: &'static str,
}

/// What came of holding the oracle against the policies.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// How many cells of role, table, scope and column were compared, the rows of each scope among them.
    pub cells: usize,
    /// Those that differ, in order.
    pub differences: Vec<Difference>,
}

impl Oracle {
    /// Reads a file; every problem of its form at once.
    pub fn read(file: &Path) -> Result<Self, Vec<PolicyProblem>> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| vec![PolicyProblem::new(file, 1, format!("cannot be read: {}", error.kind()))])?;
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_end()));
        if lines.next().map(|(_, head)| head.trim_start_matches('\u{feff}')) != Some(HEAD) {
            return Err(vec![PolicyProblem::new(file, 1, format!("it must begin with {HEAD}"))]);
        }
        let mut problems = Vec::new();
        let told = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let lines = told
            .filter_map(|(number, text)| {
                Line::parse(number, text).map_err(|why| problems.push(PolicyProblem::new(file, number, why))).ok()
            })
            .collect();
        if problems.is_empty() { Ok(Self { file: file.to_owned(), lines }) } else { Err(problems) }
    }

    /// What it names and what there is not: it would say nothing about anything.
    pub fn dangling(&self, policies: &Policies) -> Vec<PolicyProblem> {
        let dangling = self.lines.iter().filter_map(|line| Some((line.number, line.dangling(policies)?)));
        dangling.map(|(number, why)| PolicyProblem::new(&self.file, number, why)).collect()
    }

    /// Every role with every attribute, over every table, scope and column: where what is decided is not what is
    /// declared.
    pub fn compare(&self, policies: &Policies) -> Comparison {
        let mut comparison = Comparison::default();
        for principal in policies.everyone() {
            let mut active: Vec<&str> =
                principal.roles.iter().map(String::as_str).filter(|role| *role != NOBODY).collect();
            if active.is_empty() {
                active.push(EVERYBODY);
            }
            // Roles together see what each of them sees; the oracle speaks of one at a time.
            if let [role] = active[..] {
                for table in policies.tables() {
                    comparison.differences.extend(self.of_table(policies, &principal, role, table));
                    comparison.cells += (table.scopes.len() + 1) * (table.columns.len() + 1);
                }
            }
        }
        comparison.differences.sort();
        comparison
    }

    fn of_table(
        &self,
        policies: &Policies,
        principal: &Principal,
        role: &str,
        table: &ResourceTable,
    ) -> Vec<Difference> {
        let decision = policies.decide(principal, &table.name);
        let mut differences = Vec::new();
        for scope in std::iter::once(ALL_ROWS).chain(table.scopes.iter().map(String::as_str)) {
            let told: Vec<&Line> = self
                .lines
                .iter()
                .filter(|line| line.purpose == principal.purpose && (line.role == EVERYBODY || line.role == role))
                .filter(|line| line.scope == scope && line.is_of(table))
                .collect();
            let given = decision.scope(scope);
            let mut differ = |column: Option<&str>, declared: &'static str, decided: &'static str| {
                if declared != decided {
                    let (role, table, scope) = (role.to_owned(), table.name.clone(), scope.to_owned());
                    let column = column.map(str::to_owned);
                    differences.push(Difference { role, table, scope, column, declared, decided });
                }
            };
            let rows = if decision.forbidden.iter().any(|forbidden| forbidden == scope) {
                "taken away"
            } else if given.is_some() {
                "open"
            } else {
                "closed"
            };
            differ(None, if told.is_empty() { "closed" } else { "open" }, rows);
            for (column, tags) in &table.columns {
                let declared = told.iter().map(|line| line.level_of(tags)).max().unwrap_or(Level::Hidden);
                let decided = given.and_then(|given| given.levels.get(column)).copied().unwrap_or(Level::Hidden);
                differ(Some(column), declared.as_str(), decided.as_str());
            }
        }
        differences
    }
}

impl Line {
    fn parse(number: usize, text: &str) -> Result<Self, String> {
        if text.contains('"') {
            return Err("quotation marks have no meaning here".to_owned());
        }
        let cells: Vec<&str> = text.split(',').map(str::trim).collect();
        let [role, purpose, table, scope, tags, level] = cells[..] else {
            return Err(format!("{HEAD} are wanted, and there are {} cells", cells.len()));
        };
        if let Some(empty) = HEAD.split(',').zip(&cells).find_map(|(name, cell)| cell.is_empty().then_some(name)) {
            return Err(format!("the {empty} is missing"));
        }
        let levels = [Level::Clear, Level::Generalised, Level::Pseudonym];
        let level = levels.into_iter().find(|known| known.as_str() == level);
        let level = level.ok_or("the level must be clear, generalised or pseudonym; what is not named is hidden")?;
        // What is in no schema is curated.
        let table = if table.contains('.') { table.to_owned() } else { format!("curated.{table}") };
        let tags = tags.split_whitespace().map(str::to_owned).collect();
        Ok(Self { number, role: role.into(), purpose: purpose.into(), table, scope: scope.into(), tags, level })
    }

    fn is_of(&self, table: &ResourceTable) -> bool {
        table.name == self.table || table.parents.contains(&self.table)
    }

    fn level_of(&self, tags: &[String]) -> Level {
        let named = self.tags.contains(EVERY_TAG) && !tags.is_empty() || tags.iter().any(|tag| self.tags.contains(tag));
        if named { self.level } else { Level::Hidden }
    }

    fn dangling(&self, policies: &Policies) -> Option<String> {
        let served = match self.role.as_str() {
            EVERYBODY => policies.has_purpose(&self.purpose).then_some(self.purpose.as_str()),
            role => policies.purpose_of(role),
        };
        match served {
            None if self.role == EVERYBODY => return Some(format!("there is no purpose `{}`", self.purpose)),
            None => return Some(format!("there is no role `{}`", self.role)),
            Some(served) if served != self.purpose => {
                return Some(format!("role `{}` serves the purpose `{served}`", self.role));
            }
            Some(_) => {}
        }
        let tables: Vec<&ResourceTable> = policies.tables().filter(|table| self.is_of(table)).collect();
        if tables.is_empty() {
            let waits = ENGINE_GROUPS.contains(&self.table.as_str());
            return (!waits).then(|| format!("there is no table `{}`", self.table));
        }
        if !tables.iter().all(|table| table.has_scope(&self.scope)) {
            return Some(format!("there is no row scope `{}` in {}", self.scope, self.table));
        }
        let is_there = |tag: &String| {
            let mut tags = tables.iter().flat_map(|table| table.columns.iter().flat_map(|(_, tags)| tags));
            tag == EVERY_TAG || tags.any(|known| known == tag)
        };
        // One list of tags may stand for several tables, not all of which have them all.
        let none = !self.tags.iter().any(is_there);
        none.then(|| format!("{} has no column with any of these tags", self.table))
    }
}

//! Reading a policy folder: every problem at once, each with file and line.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy::{Policy, PolicyId, PolicySet, Schema, SchemaFragment, ValidationMode, Validator};
use miette::Diagnostic;
use parking_lot::Mutex;

use super::Policies;
use super::decision::TableDecision;
use super::problem::{PolicyPlace, PolicyProblem, line_at};
use super::references::{Named, named_columns};
use super::resources::{Resource, ResourceTable, UnreadTable};
use super::vocabulary::{AttributeType, Vocabulary, user_attributes};
use crate::principal::CanonicalForm;
use crate::purposes::Purposes;

const PURPOSES: &str = "purposes.yaml";

pub(super) fn load(
    folder: &Path,
    tables: &[ResourceTable],
    unread: &[UnreadTable],
) -> Result<Policies, Vec<PolicyProblem>> {
    let mut problems = Vec::new();
    let files = files(folder, &mut problems);

    let vocabulary = Vocabulary::new().map_err(|error| vec![PolicyProblem::new(folder, 1, error.to_string())])?;
    let (roles, purposes) = match files.get(&folder.join(PURPOSES)) {
        Some(text) => {
            let (roles, purposes) = Purposes::read(&folder.join(PURPOSES), text);
            (roles, kept(purposes, &mut problems))
        }
        None => (None, missing(folder, PURPOSES, &mut problems)),
    };
    let mut schemas = files.iter().filter(|(file, _)| has_extension(file, "cedarschema"));
    let schema = match (schemas.next(), schemas.next()) {
        (Some((file, text)), None) => parse_schema(file, text, &vocabulary, tables, &mut problems),
        (Some(_), Some((second, _))) => {
            problems.push(PolicyProblem::new(second, 1, "there is one schema too many"));
            None
        }
        (None, _) => missing(folder, "*.cedarschema", &mut problems),
    };
    let sources = files.iter().filter(|(file, _)| has_extension(file, "cedar"));
    let parsed: Vec<PolicyFile<'_>> =
        sources.filter_map(|(file, text)| kept(PolicyFile::parse(file, text), &mut problems)).collect();
    let named = Named::new(&vocabulary, roles.as_ref(), tables, unread);
    let validator = schema.as_ref().map(|(schema, _)| Validator::new(schema.clone()));
    for file in &parsed {
        problems.extend(validator.iter().flat_map(|validator| file.misfits(validator)));
        problems.extend(file.dangling(&named));
    }
    let policies = kept(with_ids(&parsed), &mut problems);

    match (purposes, schema, policies) {
        (Some(purposes), Some((schema, attributes)), Some(policies)) if problems.is_empty() && unread.is_empty() => {
            let named = named_columns(&policies, &vocabulary);
            let resources: BTreeMap<String, Resource> =
                tables.iter().map(|table| (table.name.clone(), Resource::new(table.clone(), &named))).collect();
            Ok(Policies {
                folder: folder.to_owned(),
                places: parsed.iter().flat_map(PolicyFile::places).collect(),
                policies,
                schema,
                vocabulary,
                attributes,
                purposes,
                tables: resources,
                digest: digest(folder, &files, tables),
                nothing: Arc::new(TableDecision::default()),
                decisions: Mutex::new(HashMap::new()),
            })
        }
        _ => {
            problems.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
            problems.dedup();
            Err(problems)
        }
    }
}

/// The text of the folder's files that belong to policies.
fn files(folder: &Path, problems: &mut Vec<PolicyProblem>) -> BTreeMap<PathBuf, String> {
    let mut unreadable = |path: &Path, error: std::io::Error| {
        problems.push(PolicyProblem::new(path, 1, format!("cannot be read: {}", error.kind())));
    };
    let mut files = BTreeMap::new();
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, error)).ok();
    for entry in entries.into_iter().flatten() {
        let Ok(path) = entry.map(|entry| entry.path()).map_err(|error| unreadable(folder, error)) else { continue };
        if ["cedar", "cedarschema", "yaml"].iter().any(|extension| has_extension(&path, extension)) {
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, error));
            files.extend(text.ok().map(|text| (path, text)));
        }
    }
    files
}

fn has_extension(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}

fn kept<T>(result: Result<T, Vec<PolicyProblem>>, problems: &mut Vec<PolicyProblem>) -> Option<T> {
    result.map_err(|found| problems.extend(found)).ok()
}

fn missing<T>(folder: &Path, name: &str, problems: &mut Vec<PolicyProblem>) -> Option<T> {
    problems.push(PolicyProblem::new(folder, 1, format!("there is no {name}")));
    None
}

/// The schema with the attributes of `User`; none where policies cannot be held against it.
fn parse_schema(
    file: &Path,
    text: &str,
    vocabulary: &Vocabulary,
    tables: &[ResourceTable],
    problems: &mut Vec<PolicyProblem>,
) -> Option<(Schema, BTreeMap<String, AttributeType>)> {
    let in_file = |error: &dyn Diagnostic| PolicyProblem::from_cedar(file, text, error, 0);
    let (fragment, warnings) =
        SchemaFragment::from_cedarschema_str(text).map_err(|error| problems.push(in_file(&error))).ok()?;
    problems.extend(warnings.map(|warning| in_file(&warning)));
    let form = fragment.clone().to_json_value();
    let schema = Schema::from_schema_fragments([fragment]).map_err(|error| problems.push(in_file(&error))).ok()?;
    let missing = vocabulary.missing_from(&schema);
    let is_whole = missing.is_empty();
    problems.extend(missing.into_iter().map(|what| PolicyProblem::new(file, 1, what)));

    let line = 1 + text.lines().position(|line| line.trim_start().starts_with("entity User")).unwrap_or(0);
    let in_user = |message: String| PolicyProblem::new(file, line, message);
    let attributes = match form {
        Ok(form) => user_attributes(&form),
        Err(error) => Err(vec![error.to_string()]),
    };
    match &attributes {
        Err(found) => problems.extend(found.iter().cloned().map(in_user)),
        Ok(attributes) => {
            let needs = tables.iter().flat_map(|table| table.scope_attributes.iter().map(move |needs| (table, needs)));
            for (table, (scope, needed)) in needs {
                let absent = needed.iter().filter(|name| !attributes.contains_key(*name));
                problems.extend(absent.map(|name| {
                    in_user(format!("User has no attribute `{name}`, which scope `{scope}` of {} needs", table.name))
                }));
            }
        }
    }
    is_whole.then(|| (schema, attributes.unwrap_or_default()))
}

/// A file of policies.
struct PolicyFile<'a> {
    file: &'a Path,
    text: &'a str,
    set: PolicySet,
    /// In the order of the file, with the offsets where they begin.
    policies: Vec<(usize, Policy)>,
}

impl<'a> PolicyFile<'a> {
    fn parse(file: &'a Path, text: &'a str) -> Result<Self, Vec<PolicyProblem>> {
        let set = PolicySet::from_str(text).map_err(|errors| {
            errors.iter().map(|error| PolicyProblem::from_cedar(file, text, error, 0)).collect::<Vec<_>>()
        })?;
        if let Some(template) = set.templates().next() {
            let offset = text.find(&template.to_cedar()).unwrap_or(0);
            return Err(vec![PolicyProblem::new(file, line_at(text, offset), "templates are not supported")]);
        }
        let mut policies: Vec<Policy> = set.policies().cloned().collect();
        policies.sort_by_key(|policy| place(policy.id()));
        let mut end = 0;
        let policies = policies
            .into_iter()
            .map(|policy| {
                let own = policy.to_cedar().unwrap_or_default();
                let offset = text.get(end..).and_then(|rest| rest.find(&own)).map_or(0, |within| end + within);
                end = offset + own.len();
                (offset, policy)
            })
            .collect();
        Ok(Self { file, text, set, policies })
    }

    /// Where each policy stands, under the name it gives itself.
    fn places(&self) -> impl Iterator<Item = (PolicyId, PolicyPlace)> {
        let file = self.file.file_name().unwrap_or_default().to_string_lossy();
        self.policies.iter().filter_map(move |(offset, policy)| {
            let id = policy.annotation("id")?;
            let place = PolicyPlace { id: id.to_owned(), file: file.to_string(), line: line_at(self.text, *offset) };
            Some((PolicyId::new(id), place))
        })
    }

    /// What the schema does not let a policy say.
    fn misfits(&self, validator: &Validator) -> Vec<PolicyProblem> {
        let validation = validator.validate(&self.set, ValidationMode::Strict);
        let wrong: BTreeSet<&PolicyId> = validation.validation_errors().map(|error| error.policy_id()).collect();
        let errors = validation.validation_errors().map(|error| self.problem(error, error.policy_id()));
        // A policy that can never apply is a mistake, most of all a `forbid`.
        let warnings = validation
            .validation_warnings()
            .filter(|warning| !wrong.contains(warning.policy_id()))
            .map(|warning| self.problem(warning, warning.policy_id()));
        errors.chain(warnings).collect()
    }

    /// Names that stand for nothing.
    fn dangling(&self, named: &Named<'_>) -> Vec<PolicyProblem> {
        let mut problems = Vec::new();
        for (offset, policy) in &self.policies {
            for name in named.dangling(policy) {
                let within = self.text.get(*offset..).and_then(|rest| rest.find(&name.text)).unwrap_or(0);
                problems.push(PolicyProblem::new(self.file, line_at(self.text, offset + within), name.message));
            }
        }
        problems
    }

    /// Cedar's words about a policy, under the name that the policy gives itself.
    fn problem<D: Diagnostic>(&self, words: &D, of: &PolicyId) -> PolicyProblem {
        let policy = self.policies.iter().find(|(_, policy)| policy.id() == of);
        let offset = policy.map_or(0, |(offset, _)| *offset);
        let mut problem = PolicyProblem::from_cedar(self.file, self.text, words, offset);
        if let Some(id) = policy.and_then(|(_, policy)| policy.annotation("id")) {
            problem.message = problem.message.replace(&format!("`{of}`"), &format!("`{id}`"));
        }
        problem
    }
}

/// The place of a policy in its file: Cedar numbers them `policy0`, `policy1`, …
fn place(id: &PolicyId) -> usize {
    let id: &str = id.as_ref();
    id.trim_start_matches("policy").parse().unwrap_or(usize::MAX)
}

/// All policies under the names they give themselves.
fn with_ids(files: &[PolicyFile<'_>]) -> Result<Vec<Policy>, Vec<PolicyProblem>> {
    let mut problems = Vec::new();
    let mut policies: BTreeMap<String, Policy> = BTreeMap::new();
    for file in files {
        for (offset, policy) in &file.policies {
            let problem = |message: String| PolicyProblem::new(file.file, line_at(file.text, *offset), message);
            match policy.annotation("id").filter(|id| !id.is_empty()) {
                None => problems.push(problem("the policy has no @id".into())),
                Some(id) => {
                    let named = policy.new_id(PolicyId::new(id));
                    if policies.insert(id.to_owned(), named).is_some() {
                        problems.push(problem(format!("there is another policy `{id}`")));
                    }
                }
            }
        }
    }
    if problems.is_empty() { Ok(policies.into_values().collect()) } else { Err(problems) }
}

fn digest(folder: &Path, files: &BTreeMap<PathBuf, String>, tables: &[ResourceTable]) -> String {
    let mut form = CanonicalForm::new("lakeward policies 1");
    form.count(files.len());
    for (file, text) in files {
        form.text(&file.strip_prefix(folder).unwrap_or(file).to_string_lossy());
        form.text(text);
    }
    let tables: BTreeMap<&str, &ResourceTable> = tables.iter().map(|table| (table.name.as_str(), table)).collect();
    form.count(tables.len());
    for (name, table) in tables {
        form.text(name);
        form.items(&table.parents);
        form.count(table.columns.len());
        for (column, tags) in &table.columns {
            form.text(column);
            form.items(tags);
        }
        form.items(&table.scopes);
        form.count(table.scope_attributes.len());
        for (scope, attributes) in &table.scope_attributes {
            form.text(scope);
            form.items(attributes);
        }
    }
    form.digest()
}

//! The shipped policies against `tests/who-sees-what.csv`, both ways: what it says is so, and nothing else.
//!
//! The contracts are read here anew, for names, tags and scopes alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use lakeward_iam::{Claims, Level, Oracle, Policies, Principal, ResourceTable, Standing};
use serde_json::Value;

/// Groups of the engine's own tables, which come with the engine's parts and not with contracts.
const OF_THE_ENGINE: [&str; 2] = ["audit.*", "catalog.*"];

const EVERYBODY: &str = "(nobody)";

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A line of the oracle.
struct Line {
    role: String,
    purpose: String,
    table: String,
    scope: String,
    tags: Vec<String>,
    level: Level,
}

fn oracle() -> Vec<Line> {
    let text = fs::read_to_string(project().join("tests/who-sees-what.csv")).unwrap();
    let lines: Vec<Line> = text
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let [role, purpose, table, scope, tags, level] = line.split(',').collect::<Vec<_>>().try_into().unwrap();
            Line {
                role: role.into(),
                purpose: purpose.into(),
                table: table.into(),
                scope: scope.into(),
                tags: tags.split(' ').map(str::to_owned).collect(),
                level: level_named(level),
            }
        })
        .collect();
    assert!(lines.len() > 90, "the oracle is not whole");
    lines
}

fn level_named(name: &str) -> Level {
    [Level::Clear, Level::Generalised, Level::Pseudonym].into_iter().find(|level| level.as_str() == name).unwrap()
}

impl Line {
    fn is_of(&self, table: &ResourceTable) -> bool {
        match self.table.as_str() {
            "raw.*" => table.name.starts_with("raw.") && !table.name.ends_with("__dead_letter"),
            "raw.*__dead_letter" => table.name.starts_with("raw.") && table.name.ends_with("__dead_letter"),
            group if OF_THE_ENGINE.contains(&group) => table.name.starts_with(group.trim_end_matches('*')),
            name => table.name == format!("curated.{name}"),
        }
    }

    fn level_of(&self, tags: &[String]) -> Level {
        let named = self.tags == ["*"] && !tags.is_empty() || tags.iter().any(|tag| self.tags.contains(tag));
        if named { self.level } else { Level::Hidden }
    }
}

/// The tables of `sql/contracts`, as far as policies are concerned.
fn tables() -> Vec<ResourceTable> {
    let contracts = project().join("sql/contracts");
    let mut tables = Vec::new();
    for contract in contracts_in(&contracts.join("curated")) {
        tables.extend(curated(&contract));
    }
    // Of the engine's own: no contract declares it, and all of its columns have one tag.
    tables.extend(["audit.alerts", "audit.events"].map(|name| ResourceTable {
        name: name.into(),
        parents: vec!["audit.*".into()],
        columns: vec![("principal".into(), vec!["audit".into()])],
        ..ResourceTable::default()
    }));
    for contract in contracts_in(&contracts.join("raw")) {
        let name = contract["schema"][0]["name"].as_str().unwrap().to_owned();
        let mut columns: Vec<(String, Vec<String>)> =
            ["source", "topic", "partition", "offset", "timestamp", "ingested_at"]
                .map(|column| (column.to_owned(), vec!["transport".to_owned()]))
                .to_vec();
        columns.push(("key".into(), vec!["key.subject".into()]));
        columns.push(("headers".into(), vec!["payload.raw".into()]));
        columns.push(("payload".into(), vec!["payload.raw".into()]));
        tables.push(ResourceTable {
            name: name.clone(),
            parents: vec!["raw.*".into()],
            columns: columns.clone(),
            ..ResourceTable::default()
        });
        columns.push(("reason".into(), vec!["reason".into()]));
        tables.push(ResourceTable {
            name: format!("{name}__dead_letter"),
            parents: vec!["raw.*__dead_letter".into()],
            columns,
            ..ResourceTable::default()
        });
    }
    tables
}

fn contracts_in(folder: &Path) -> Vec<Value> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty(), "no contract in {}", folder.display());
    files.iter().map(|file| serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap()).collect()
}

fn curated(contract: &Value) -> Option<ResourceTable> {
    let schema = &contract["schema"][0];
    let custom = |name: &str| -> Option<&Value> {
        let properties = schema["customProperties"].as_array()?;
        properties.iter().find(|property| property["property"] == name).map(|property| &property["value"])
    };
    if custom("hidden").is_some_and(|hidden| hidden == true) {
        return None;
    }
    let columns = schema["properties"].as_array().unwrap().iter().map(|column| {
        let tags = column["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        let tags = tags.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
        (column["name"].as_str().unwrap().to_owned(), tags)
    });
    let predicates: BTreeMap<String, String> = custom("scopes")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(scope, predicate)| (scope.clone(), predicate.as_str().unwrap().to_owned()))
        .collect();
    Some(ResourceTable {
        name: schema["name"].as_str().unwrap().to_owned(),
        columns: columns.collect(),
        scopes: predicates.keys().cloned().collect(),
        scope_attributes: predicates.into_iter().map(|(scope, text)| (scope, attributes_in(&text))).collect(),
        ..ResourceTable::default()
    })
}

fn attributes_in(predicate: &str) -> Vec<String> {
    let names = predicate.split("attr('").skip(1).filter_map(|rest| rest.split('\'').next());
    names.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}

fn shipped(tables: &[ResourceTable]) -> Policies {
    Policies::load(&project().join("sql/policies"), tables).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

fn person(roles: &[&str]) -> Claims {
    let claims =
        Claims::new("someone").text("staff_id", "s-1").text("patient_id", "p-1").list("clinics", ["c-1", "c-2"]);
    roles.iter().fold(claims, |claims, role| claims.role(*role))
}

/// Every difference between the oracle and what the policies give.
fn differences(
    lines: &[Line],
    tables: &[ResourceTable],
    policies: &Policies,
    principal: &Principal,
    role: &str,
) -> Vec<String> {
    let mut differences = Vec::new();
    for table in tables {
        let decision = policies.decide(principal, &table.name);
        assert!(decision.forbidden.is_empty());
        for scope in table.scopes.iter().map(String::as_str).chain(["all"]) {
            let told: Vec<&Line> = lines
                .iter()
                .filter(|line| line.purpose == principal.purpose)
                .filter(|line| line.role == EVERYBODY || line.role == role)
                .filter(|line| line.is_of(table) && line.scope == scope)
                .collect();
            let given = decision.scope(scope);
            if given.is_some() == told.is_empty() {
                differences.push(format!("{role} {} {scope}: rows {}", table.name, given.is_some()));
            }
            for (column, tags) in &table.columns {
                let expected = told.iter().map(|line| line.level_of(tags)).max().unwrap_or(Level::Hidden);
                let given = given.map_or(Level::Hidden, |given| given.levels[column]);
                if given != expected {
                    differences.push(format!("{role} {} {scope} {column}: {given}, not {expected}", table.name));
                }
            }
        }
    }
    differences
}

/// Every role that the oracle speaks of.
fn roles(lines: &[Line]) -> BTreeSet<&str> {
    let roles: BTreeSet<&str> = lines.iter().map(|line| line.role.as_str()).filter(|role| *role != EVERYBODY).collect();
    assert_eq!(roles.len(), 12, "{roles:?}");
    roles
}

#[test]
fn each_role_sees_exactly_what_the_oracle_says() {
    let (lines, tables) = (oracle(), with_the_engines(tables()));
    let policies = shipped(&tables);
    let mut found = Vec::new();
    for role in roles(&lines) {
        let purpose = &lines.iter().find(|line| line.role == role).unwrap().purpose;
        let principal = policies.principal(&person(&[role]), None).unwrap();
        assert_eq!(principal.purpose, *purpose, "of {role}");
        found.extend(differences(&lines, &tables, &policies, &principal, role));
    }
    let nobody = policies.principal(&Claims::anonymous(), None).unwrap();
    assert_eq!(nobody.purpose, "public");
    found.extend(differences(&lines, &tables, &policies, &nobody, EVERYBODY));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The tables with some of the catalog, which is not there yet: they are open to whom the oracle names.
fn with_the_engines(mut tables: Vec<ResourceTable>) -> Vec<ResourceTable> {
    tables.push(ResourceTable {
        name: "catalog.columns".into(),
        parents: vec!["catalog.*".into()],
        columns: vec![("name".into(), vec!["catalog".into()]), ("new".into(), vec![])],
        ..ResourceTable::default()
    });
    tables
}

#[test]
fn what_the_oracle_names_is_there() {
    let tables = tables();
    for line in oracle().iter().filter(|line| !OF_THE_ENGINE.contains(&line.table.as_str())) {
        let meant: Vec<_> = tables.iter().filter(|table| line.is_of(table)).collect();
        assert!(!meant.is_empty(), "there is no table {}", line.table);
        for table in meant {
            assert!(line.scope == "all" || table.scopes.contains(&line.scope), "{} has no {}", table.name, line.scope);
            // The same list of tags is told for several clinical tables, not all of which have them all.
            let has = |tag: &String| tag == "*" || table.columns.iter().any(|(_, tags)| tags.contains(tag));
            assert!(line.tags.iter().any(has), "{} has none of {:?}", table.name, line.tags);
        }
    }
}

#[test]
fn the_engines_own_comparison_says_the_same() {
    let file = project().join("tests/who-sees-what.csv");
    let tables = with_the_engines(tables());
    let policies = shipped(&tables);
    let written = Oracle::read(&file).unwrap();
    assert_eq!(written.dangling(&policies), []);
    assert_eq!(written.compare(&policies).differences, []);
}

#[test]
fn no_shipped_policy_is_idle_and_no_scope_without_use() {
    let tables = tables();
    let survey = shipped(&tables).survey();
    assert_eq!(survey.problems, []);
    let scopes =
        tables.iter().flat_map(|table| table.scopes.iter().map(move |scope| (table.name.clone(), scope.clone())));
    assert_eq!(scopes.filter(|scope| !survey.used.contains(scope)).collect::<Vec<_>>(), []);
}

#[test]
fn an_explanation_says_what_the_decision_says() {
    let (lines, tables) = (oracle(), tables());
    let policies = shipped(&tables);
    let mut columns = 0;
    for role in roles(&lines) {
        for claims in [person(&[role]), Claims::new("someone").role(role)] {
            let principal = policies.principal(&claims, None).unwrap();
            for table in &tables {
                let decision = policies.decide(&principal, &table.name);
                let explained = policies.explain(&principal, &table.name).unwrap();
                assert_eq!(explained.visible, decision.is_visible(), "{role} {}", table.name);
                let open: Vec<&str> = explained.open().map(|scope| scope.scope.as_str()).collect();
                let decided: Vec<&str> = decision.scopes.iter().map(|scope| scope.scope.as_str()).collect();
                assert_eq!(open, decided, "{role} {}", table.name);
                for (scope, decided) in explained.open().zip(&decision.scopes) {
                    let levels: BTreeMap<String, Level> =
                        scope.columns.iter().map(|(name, column)| (name.clone(), column.level)).collect();
                    assert_eq!(levels, decided.levels, "{role} {} {}", table.name, scope.scope);
                    columns += levels.len();
                }
            }
        }
    }
    assert!(columns > 1_000, "only {columns} were compared");
}

#[test]
fn without_its_attribute_a_person_sees_none_of_the_scopes_that_need_it() {
    let (lines, tables) = (oracle(), tables());
    let policies = shipped(&tables);
    for role in roles(&lines) {
        let principal = policies.principal(&Claims::new("someone").role(role), None).unwrap();
        for table in &tables {
            for scope in &policies.decide(&principal, &table.name).scopes {
                let needed = table.scope_attributes.get(&scope.scope).map(Vec::as_slice).unwrap_or_default();
                assert!(needed.is_empty(), "{role} sees {} of {}", scope.scope, table.name);
            }
        }
    }
}

#[test]
fn two_roles_never_add_up() {
    let tables = tables();
    let policies = shipped(&tables);
    let both = person(&["doctor", "head_physician"]);
    assert!(policies.principal(&both, None).is_err());
    for (purpose, role) in [("care", "doctor"), ("operations", "head_physician")] {
        let principal = policies.principal(&both, Some(purpose)).unwrap();
        let alone = policies.principal(&person(&[role]), None).unwrap();
        assert_eq!(principal.digest, alone.digest);
    }
}

#[test]
fn a_declared_pair_is_neither() {
    let (lines, tables) = (oracle(), tables());
    let policies = shipped(&tables);
    let nobody = policies.principal(&Claims::new("someone"), None).unwrap();
    let mut pairs = 0;
    let roles: Vec<&str> = roles(&lines).into_iter().collect();
    for (index, one) in roles.iter().enumerate() {
        for other in &roles[index + 1..] {
            let both = person(&[one, other]);
            let clash =
                policies.roles(&both, &nobody).iter().any(|held| matches!(held.standing, Standing::Incompatible(_)));
            if clash {
                pairs += 1;
                assert_eq!(policies.principal(&both, None).unwrap().roles, nobody.roles, "{one} and {other}");
                let purpose = policies.purpose_of(one);
                assert!(policies.principal(&both, purpose).is_err(), "{one} and {other}");
            }
        }
    }
    assert_eq!(pairs, 18, "purposes.yaml declares other pairs: change the number with it");
}

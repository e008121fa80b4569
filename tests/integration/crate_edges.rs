//! The arrows between the crates are the ones that ARCHITECTURE.md draws, and no others.

use std::collections::BTreeSet;
use std::process::Command;

/// Every edge that may exist inside the workspace.
const ALLOWED: &[(&str, &str)] = &[
    ("lakeward", "lakeward-ingest"),
    ("lakeward", "lakeward-query"),
    ("lakeward", "lakeward-iam"),
    ("lakeward", "lakeward-tables"),
    ("lakeward-ingest", "lakeward-tables"),
    ("lakeward-query", "lakeward-tables"),
    ("lakeward-query", "lakeward-iam"),
];

/// Only `tables` touches object storage, only `ingest` touches Kafka, only `iam` knows the policy language.
const OWNERS: &[(&str, &str)] = &[
    ("object_store", "lakeward-tables"),
    ("deltalake-core", "lakeward-tables"),
    ("rdkafka", "lakeward-ingest"),
    ("cedar-policy", "lakeward-iam"),
];

/// `lakeward demo` owns the embedded broker and so needs the Kafka library too.
const EXCEPTIONS: &[(&str, &str)] = &[("lakeward", "rdkafka")];

/// Dependencies of each workspace member, development ones left out.
fn dependencies() -> Vec<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let mut edges = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            if dependency["kind"].as_str() != Some("dev") {
                let name = |value: &serde_json::Value| value.as_str().expect("a name").to_owned();
                edges.push((name(&package["name"]), name(&dependency["name"])));
            }
        }
    }
    edges
}

#[test]
fn crates_depend_on_each_other_as_drawn() {
    let allowed: BTreeSet<_> = ALLOWED.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    let found: BTreeSet<_> = dependencies().into_iter().filter(|(_, to)| to.starts_with("lakeward-")).collect();
    let undrawn: Vec<_> = found.difference(&allowed).collect();
    assert!(undrawn.is_empty(), "edges that ARCHITECTURE.md does not draw: {undrawn:?}");
    assert!(found.len() >= 6, "the workspace was not read whole: {found:?}");
}

#[test]
fn each_outside_part_has_one_owner() {
    let edges = dependencies();
    for (library, owner) in OWNERS {
        let users: Vec<_> = edges
            .iter()
            .filter(|(from, to)| to == library && !EXCEPTIONS.contains(&(from.as_str(), to.as_str())))
            .map(|(from, _)| from.as_str())
            .collect();
        assert_eq!(users, [*owner], "{library} belongs to {owner} alone");
    }
}

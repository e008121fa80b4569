//! A permit never lowers a level, and a forbid never raises one.

use std::fmt::Write;

use lakeward_iam::{Level, TableDecision};
use proptest::prelude::*;

use crate::folder::{librarian, loans};

/// A policy to be written down.
#[derive(Debug, Clone)]
struct Drawn {
    forbid: bool,
    actions: Vec<&'static str>,
    tags: Vec<&'static str>,
    scope: Option<&'static str>,
    column: Option<&'static str>,
}

fn drawn(forbid: impl Strategy<Value = bool>) -> impl Strategy<Value = Drawn> {
    let actions = ["read", "see_clear", "see_generalised", "see_pseudonym"];
    let tags = ["key", "person", "time", "text", "unclassified"];
    (
        forbid,
        prop::sample::subsequence(actions.to_vec(), 1..=4),
        prop::sample::subsequence(tags.to_vec(), 0..=5),
        prop::option::of(prop::sample::select(vec!["all", "own", "sites", "overdue"])),
        prop::option::weighted(0.2, prop::sample::select(vec!["loan", "remark"])),
    )
        .prop_map(|(forbid, actions, tags, scope, column)| Drawn { forbid, actions, tags, scope, column })
}

fn written(policies: &[Drawn]) -> String {
    let mut text = String::new();
    for (n, policy) in policies.iter().enumerate() {
        let effect = if policy.forbid { "forbid" } else { "permit" };
        let actions: Vec<_> = policy.actions.iter().map(|action| format!("Action::\"{action}\"")).collect();
        writeln!(text, "@id(\"{n}\") {effect} (principal, action in [{}], resource)", actions.join(", ")).unwrap();
        if let Some(scope) = policy.scope {
            writeln!(text, "when {{ context.rows == \"{scope}\" }}").unwrap();
        }
        if !policy.tags.is_empty() {
            let tags: Vec<_> = policy.tags.iter().map(|tag| format!("Tag::\"{tag}\"")).collect();
            writeln!(text, "when {{ action == Action::\"read\" || resource in [{}] }}", tags.join(", ")).unwrap();
        }
        if let Some(column) = policy.column {
            writeln!(text, "unless {{ resource == Column::\"curated.loans.{column}\" }}").unwrap();
        }
        text.push_str(";\n");
    }
    text
}

/// The level of every cell there can be; `None` where the row is not there.
fn levels(decision: &TableDecision) -> Vec<Option<Level>> {
    let columns = ["loan", "member", "day", "remark", "complaint", "new"];
    ["all", "own", "sites", "overdue"]
        .into_iter()
        .flat_map(|scope| columns.map(|column| decision.scope(scope).map(|scope| scope.levels[column])))
        .collect()
}

fn decided(policies: &[Drawn]) -> TableDecision {
    loans(&written(policies), &librarian())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_permit_never_lowers(mut policies in prop::collection::vec(drawn(prop::bool::weighted(0.3)), 0..6), more in drawn(Just(false))) {
        let before = decided(&policies);
        policies.push(more);
        let after = decided(&policies);
        for (before, after) in levels(&before).into_iter().zip(levels(&after)) {
            prop_assert!(before <= after);
        }
        if before.is_visible() {
            prop_assert_eq!(before.forbidden, after.forbidden);
        }
    }

    #[test]
    fn a_forbid_never_raises(mut policies in prop::collection::vec(drawn(prop::bool::weighted(0.3)), 0..6), more in drawn(Just(true))) {
        let before = decided(&policies);
        policies.push(more);
        let after = decided(&policies);
        for (before, after) in levels(&before).into_iter().zip(levels(&after)) {
            prop_assert!(before >= after);
        }
        if after.is_visible() {
            prop_assert!(before.forbidden.iter().all(|scope| after.forbidden.contains(scope)));
        }
    }
}

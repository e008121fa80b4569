//! Decisions: default deny, forbid wins, errors deny, levels per scope and column.

use std::sync::Arc;

use lakeward_iam::{Attribute, Claims, Level, TableDecision};

use crate::folder::{Folder, level, librarian, loans, scopes};

const READ_ALL: &str = r#"
@id("read") permit (principal in Role::"librarian", action == Action::"read", resource == Table::"curated.loans")
when { context.rows == "all" };
"#;

const READ_ANY: &str = r#"
@id("read") permit (principal in Role::"librarian", action == Action::"read", resource);
"#;

/// Passes validation, and overflows when it is evaluated.
const FAILS: &str = "9223372036854775807 + 1 > 0";

fn with(base: &str, more: &str) -> String {
    format!("{base}\n{more}")
}

#[test]
fn nothing_is_permitted_by_default_and_that_looks_like_no_table() {
    let policies = Folder::with(READ_ALL).load();
    let reader = policies.principal(&Claims::new("rick").role("reader"), None).unwrap();
    let denied = policies.decide(&reader, "curated.loans");
    assert!(!denied.is_visible());
    assert_eq!(*denied, *policies.decide(&reader, "curated.no_such_table"));
}

#[test]
fn reading_alone_shows_no_column() {
    let decision = loans(READ_ALL, &librarian());
    assert_eq!(scopes(&decision), ["all"]);
    assert!(decision.scopes[0].levels.values().all(|level| *level == Level::Hidden));
    assert_eq!(decision.scopes[0].levels.len(), 6);
}

#[test]
fn seeing_without_reading_opens_nothing() {
    let decision = loans(r#"@id("see") permit (principal, action in Action::"see", resource);"#, &librarian());
    assert_eq!(decision, TableDecision::default());
}

#[test]
fn a_column_shows_at_the_highest_level_of_any_of_its_tags() {
    let decision = loans(
        &with(
            READ_ALL,
            r#"
            @id("keys") permit (principal, action == Action::"see_pseudonym", resource in Tag::"key");
            @id("persons") permit (principal, action == Action::"see_clear", resource in Tag::"person");
            @id("times") permit (principal, action == Action::"see_generalised", resource in Tag::"time");
            "#,
        ),
        &librarian(),
    );
    let levels = ["loan", "member", "day", "remark", "new"].map(|column| level(&decision, "all", column));
    assert_eq!(levels, [Level::Pseudonym, Level::Clear, Level::Generalised, Level::Hidden, Level::Hidden]);
    assert_eq!(decision.scopes[0].policies, ["keys", "persons", "read", "times"]);
}

#[test]
fn levels_differ_by_scope() {
    let decision = loans(
        &with(
            READ_ANY,
            r#"@id("own") permit (principal, action == Action::"see_clear", resource in Tag::"text")
               when { context.rows == "own" };"#,
        ),
        &librarian(),
    );
    assert_eq!(scopes(&decision), ["all", "own", "sites", "overdue"]);
    assert_eq!(level(&decision, "own", "remark"), Level::Clear);
    assert_eq!(level(&decision, "sites", "remark"), Level::Hidden);
}

#[test]
fn forbidding_one_level_leaves_the_lower_ones() {
    let decision = loans(
        &with(
            READ_ALL,
            r#"
            @id("see") permit (principal, action in Action::"see", resource);
            @id("not clear") forbid (principal, action == Action::"see_clear", resource in Tag::"key");
            @id("not at all") forbid (principal, action in Action::"see", resource in Tag::"text");
            "#,
        ),
        &librarian(),
    );
    let levels = ["loan", "day", "remark"].map(|column| level(&decision, "all", column));
    assert_eq!(levels, [Level::Generalised, Level::Clear, Level::Hidden]);
}

#[test]
fn a_column_named_by_a_policy_is_decided_apart_from_others_with_its_tags() {
    let decision = loans(
        &with(
            READ_ALL,
            r#"
            @id("see") permit (principal, action == Action::"see_clear", resource in Tag::"text");
            @id("one") forbid (principal, action == Action::"see_clear", resource)
            when { resource == Column::"curated.loans.complaint" };
            "#,
        ),
        &librarian(),
    );
    assert_eq!(level(&decision, "all", "remark"), Level::Clear);
    assert_eq!(level(&decision, "all", "complaint"), Level::Hidden);
}

#[test]
fn a_column_without_tag_is_unclassified() {
    let decision = loans(
        &with(
            READ_ALL,
            r#"@id("new") permit (principal, action == Action::"see_clear", resource in Tag::"unclassified");"#,
        ),
        &librarian(),
    );
    assert_eq!(level(&decision, "all", "new"), Level::Clear);
    assert_eq!(level(&decision, "all", "loan"), Level::Hidden);
}

#[test]
fn a_forbidden_scope_is_named_and_not_permitted() {
    let decision = loans(
        &with(
            READ_ANY,
            r#"@id("no") forbid (principal, action == Action::"read", resource) when { context.rows == "overdue" };"#,
        ),
        &librarian(),
    );
    assert_eq!(scopes(&decision), ["all", "own", "sites"]);
    assert_eq!(decision.forbidden, ["overdue"]);
}

#[test]
fn forbidding_all_rows_takes_the_table_away() {
    let decision = loans(
        &with(
            READ_ANY,
            r#"@id("no") forbid (principal, action == Action::"read", resource) when { context.rows == "all" };"#,
        ),
        &librarian(),
    );
    assert_eq!(decision, TableDecision::default());
}

#[test]
fn a_scope_whose_attribute_is_not_available_is_not_permitted() {
    let wrong_types = Claims::new("lena").role("librarian").list("member", ["m-1"]).text("sites", "north");
    for claims in [Claims::new("lena").role("librarian"), wrong_types] {
        assert_eq!(scopes(&loans(READ_ANY, &claims)), ["all", "overdue"]);
    }
    let mut emptied = librarian();
    emptied.attributes.insert("member".into(), Attribute::Text(String::new()));
    emptied.attributes.insert("sites".into(), Attribute::List(vec![]));
    assert_eq!(scopes(&loans(READ_ANY, &emptied)), ["all", "overdue"]);
}

#[test]
fn a_forbidden_scope_whose_attribute_is_not_available_takes_the_table_away() {
    let policies = with(
        READ_ANY,
        r#"@id("no") forbid (principal, action == Action::"read", resource) when { context.rows == "own" };"#,
    );
    assert!(loans(&policies, &librarian()).is_visible());
    assert_eq!(loans(&policies, &Claims::new("lena").role("librarian")), TableDecision::default());
}

#[test]
fn a_failing_permit_denies_even_where_another_permits() {
    let failing = format!(
        r#"@id("fails") permit (principal, action == Action::"see_clear", resource in Tag::"key") when {{ {FAILS} }};
           @id("keys") permit (principal, action in Action::"see", resource);"#
    );
    let decision = loans(&with(READ_ALL, &failing), &librarian());
    assert_eq!(level(&decision, "all", "loan"), Level::Generalised);
    assert_eq!(level(&decision, "all", "day"), Level::Clear);
}

#[test]
fn a_failing_permit_to_read_denies_its_scope() {
    let failing = format!(
        r#"@id("fails") permit (principal, action == Action::"read", resource) when {{ context.rows == "own" && {FAILS} }};"#
    );
    let decision = loans(&with(READ_ANY, &failing), &librarian());
    assert_eq!(scopes(&decision), ["all", "sites", "overdue"]);
    assert!(decision.forbidden.is_empty());
}

#[test]
fn a_failing_forbid_forbids() {
    let failing = format!(
        r#"@id("read fails") forbid (principal, action == Action::"read", resource) when {{ context.rows == "own" && {FAILS} }};
           @id("see fails") forbid (principal, action == Action::"see_clear", resource in Tag::"key") when {{ {FAILS} }};
           @id("see") permit (principal, action == Action::"see_clear", resource);"#
    );
    let decision = loans(&with(READ_ANY, &failing), &librarian());
    assert_eq!(scopes(&decision), ["all", "sites", "overdue"]);
    assert_eq!(decision.forbidden, ["own"]);
    assert_eq!(level(&decision, "all", "loan"), Level::Hidden);
    assert_eq!(level(&decision, "all", "day"), Level::Clear);
}

#[test]
fn a_group_of_tables_is_opened_by_its_name() {
    let policies = Folder::with(
        r#"@id("raw") permit (principal in Role::"librarian", action in [Action::"read", Action::"see_clear"], resource in Table::"raw.*")
           when { action == Action::"read" || resource in Tag::"transport" };"#,
    )
    .load();
    let principal = policies.principal(&librarian(), None).unwrap();
    let decision = policies.decide(&principal, "raw.loans");
    assert_eq!(level(&decision, "all", "offset"), Level::Clear);
    assert_eq!(level(&decision, "all", "payload"), Level::Hidden);
    assert!(!policies.decide(&principal, "curated.loans").is_visible());
}

#[test]
fn policies_may_ask_for_the_persons_attributes_and_for_the_purpose() {
    let policies = r#"@id("read") permit (principal, action == Action::"read", resource == Table::"curated.loans")
        when { context.purpose == "lending" && principal has sites && principal.sites.contains("north") };"#;
    assert!(loans(policies, &librarian()).is_visible());
    assert!(!loans(policies, &Claims::new("lena").role("librarian").list("sites", ["south"])).is_visible());
    assert!(!loans(policies, &Claims::new("lena").role("librarian")).is_visible());

    let policies = Folder::with(policies).load();
    let auditor = policies.principal(&librarian().role("auditor"), Some("audit")).unwrap();
    assert!(!policies.decide(&auditor, "curated.loans").is_visible());
}

#[test]
fn undeclared_attributes_reach_neither_principal_nor_policies() {
    let policies = Folder::with(READ_ALL).load();
    let principal = policies.principal(&librarian().text("shoe_size", "44"), None).unwrap();
    assert_eq!(principal.attribute("shoe_size"), None);
    assert_eq!(principal.attribute("member"), Some(&Attribute::Text("m-1".into())));
    assert_eq!(principal.digest, policies.principal(&librarian(), None).unwrap().digest);
}

#[test]
fn a_decision_is_made_once_per_principal_and_table() {
    let policies = Folder::with(READ_ALL).load();
    let principal = policies.principal(&librarian(), None).unwrap();
    let other = policies.principal(&librarian().text("member", "m-2"), None).unwrap();
    let first = policies.decide(&principal, "curated.loans");
    assert!(Arc::ptr_eq(&first, &policies.decide(&principal, "curated.loans")));
    assert!(!Arc::ptr_eq(&first, &policies.decide(&other, "curated.loans")));
}

#[test]
fn the_digest_follows_the_policies() {
    let digest = |folder: Folder| folder.load().digest().to_owned();
    let first = digest(Folder::with(READ_ALL));
    assert_eq!(first, digest(Folder::with(READ_ALL)));
    assert_ne!(first, digest(Folder::with(READ_ANY)));
    assert_ne!(first, digest(Folder::with(READ_ALL).file("masks.yaml", "pseudonym: {}")));
}

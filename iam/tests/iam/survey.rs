//! What never comes to anything is found: policies that never apply, scopes without use, columns that nobody sees.

use lakeward_iam::{Level, Survey};

use crate::folder::Folder;

const READ: &str = r#"
@id("read") permit (principal in Role::"librarian", action == Action::"read", resource == Table::"curated.loans")
when { context.rows == "own" };
"#;

fn survey(policies: &str) -> Survey {
    Folder::with(policies).load().survey()
}

/// What is said of the policies, without folder.
fn idle(policies: &str) -> Vec<String> {
    let problems = survey(policies).problems;
    let name = |problem: &lakeward_iam::PolicyProblem| problem.file.file_name().unwrap().to_string_lossy().into_owned();
    problems.iter().map(|problem| format!("{}:{}: {}", name(problem), problem.line, problem.message)).collect()
}

fn after_read(policies: &str) -> Vec<String> {
    idle(&format!("{}{policies}", READ.trim_start()))
}

#[test]
fn a_purpose_that_the_role_does_not_serve_is_named() {
    let found = after_read(
        r#"@id("astray") permit (principal in Role::"librarian", action == Action::"read", resource)
when { context.purpose == "audit" };"#,
    );
    assert_eq!(
        found,
        [
            "test.cedar:3: policy `astray` never applies: role `librarian` serves the purpose `lending`, and it wants `audit`"
        ]
    );
}

#[test]
fn a_policy_under_an_unconditional_forbid_is_found_and_the_forbid_is_named() {
    let found = after_read(
        r#"@id("shown") permit (principal, action == Action::"see_clear", resource in Tag::"key");
@id("never") forbid (principal, action in Action::"see", resource in Tag::"key");"#,
    );
    assert_eq!(
        found,
        ["test.cedar:3: policy `shown` never applies: all that it permits is forbidden by never (test.cedar:4)"]
    );
}

#[test]
fn a_forbid_that_takes_some_of_it_away_leaves_the_rest_in_use() {
    let found = after_read(
        r#"@id("shown") permit (principal, action == Action::"see_clear", resource);
@id("never") forbid (principal, action in Action::"see", resource in Tag::"key");"#,
    );
    assert_eq!(found, [""; 0]);
}

#[test]
fn conditions_that_nothing_meets_are_found_also_of_a_forbid() {
    let found = after_read(
        r#"@id("both") permit (principal, action == Action::"see_clear", resource)
when { resource in Tag::"key" && resource in Tag::"text" };
@id("nowhere") forbid (principal, action == Action::"see_clear", resource in Table::"raw.loans")
when { context.rows == "all" && resource in Tag::"text" };"#,
    );
    let why = "never applies: no role, table, row scope and tag that there are fit it";
    assert_eq!(found, [format!("test.cedar:3: policy `both` {why}"), format!("test.cedar:5: policy `nowhere` {why}")]);
}

#[test]
fn columns_of_rows_that_the_role_does_not_read_are_found() {
    let found = after_read(
        r#"@id("unread") permit (principal in Role::"librarian", action == Action::"see_clear", resource in Tag::"key")
when { context.rows == "sites" };"#,
    );
    assert_eq!(
        found,
        ["test.cedar:3: policy `unread` never applies: it shows columns of rows that the same role does not read"]
    );
}

#[test]
fn a_policy_that_always_fails_is_found() {
    let found = after_read(
        r#"@id("fails") permit (principal, action == Action::"see_clear", resource in Tag::"key")
when { 9223372036854775807 + 1 > 0 };"#,
    );
    assert_eq!(
        found,
        ["test.cedar:3: policy `fails` never applies: it fails wherever it is evaluated, and so it denies"]
    );
}

#[test]
fn what_hangs_on_a_persons_attributes_or_on_tables_to_come_is_not_judged() {
    let found = after_read(
        r#"@id("mine") permit (principal, action == Action::"see_clear", resource)
when { principal has member && principal.member == "m-1" };
@id("to come") permit (principal, action in [Action::"read", Action::"see_clear"], resource in Table::"catalog.*");"#,
    );
    assert_eq!(found, [""; 0]);
}

#[test]
fn scopes_are_used_when_a_policy_speaks_of_their_rows() {
    let used = |policies: &str| -> Vec<String> {
        let used = survey(policies).used;
        used.into_iter().filter(|(table, _)| table == "curated.loans").map(|(_, scope)| scope).collect()
    };
    assert_eq!(used(READ), ["own"]);
    let closed =
        r#"@id("no") forbid (principal, action == Action::"read", resource) when { context.rows == "overdue" };"#;
    assert_eq!(used(&format!("{READ}{closed}")), ["overdue", "own"]);
}

#[test]
fn what_somebody_sees_is_told_with_level_and_policy() {
    let seen = survey(&format!(
        r#"{READ}@id("keys") permit (principal, action == Action::"see_pseudonym", resource in Tag::"key");"#
    ))
    .seen;
    let told: Vec<(&str, &str, &str, Level, &str)> = seen
        .iter()
        .map(|seen| {
            let by = seen.permits.first().unwrap().id.as_str();
            (seen.role.as_str(), seen.scope.as_str(), seen.column.as_str(), seen.level, by)
        })
        .collect();
    let shown = |column| ("librarian", "own", column, Level::Pseudonym, "keys");
    assert_eq!(told, [shown("loan"), shown("member")]);
}

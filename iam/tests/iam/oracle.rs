//! Rights as written down by hand, held against the policies: what differs is told, and what names nothing.

use std::fs;

use lakeward_iam::{Difference, Oracle, Policies, PolicyProblem};

use crate::folder::Folder;

const HEAD: &str = "role,purpose,table,scope,tags,level\n";
const POLICIES: &str = r#"
@id("read") permit (principal in Role::"librarian", action == Action::"read", resource == Table::"curated.loans")
when { context.rows == "own" };
@id("keys") permit (principal, action == Action::"see_pseudonym", resource in Tag::"key");
@id("text") permit (principal, action == Action::"see_clear", resource in Tag::"text");
"#;
const WRITTEN: &str = "librarian,lending,loans,own,key,pseudonym\nlibrarian,lending,loans,own,text,clear\n";

fn read(lines: &str) -> Result<Oracle, Vec<PolicyProblem>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("who.csv");
    fs::write(&file, format!("{HEAD}# A comment.\n{lines}")).unwrap();
    Oracle::read(&file)
}

fn policies(text: &str) -> Policies {
    Folder::with(text).load()
}

/// Role, table, scope, column, declared, decided.
fn told(found: &[Difference]) -> Vec<[&str; 6]> {
    let mut told = Vec::new();
    for Difference { role, table, scope, column, declared, decided } in found {
        told.push([role.as_str(), table, scope, column.as_deref().unwrap_or("(rows)"), declared, decided]);
    }
    told
}

#[test]
fn what_is_as_written_has_no_difference() {
    assert_eq!(read(WRITTEN).unwrap().compare(&policies(POLICIES)).differences, []);
}

#[test]
fn a_cell_that_is_more_or_less_open_than_written_is_told() {
    let less = POLICIES.replace("see_clear", "see_generalised");
    let found = read(WRITTEN).unwrap().compare(&policies(&less)).differences;
    assert_eq!(
        told(&found),
        [
            ["librarian", "curated.loans", "own", "complaint", "clear", "generalised"],
            ["librarian", "curated.loans", "own", "remark", "clear", "generalised"],
        ]
    );
    let more =
        format!(r#"{POLICIES}@id("time") permit (principal, action == Action::"see_clear", resource in Tag::"time");"#);
    let found = read(WRITTEN).unwrap().compare(&policies(&more)).differences;
    assert_eq!(told(&found), [["librarian", "curated.loans", "own", "day", "hidden", "clear"]]);
}

#[test]
fn rows_that_are_open_closed_or_taken_away_otherwise_than_written_are_told() {
    let written = WRITTEN.replace("own", "sites");
    let found = read(&written).unwrap().compare(&policies(POLICIES)).differences;
    let told = told(&found);
    assert!(told.contains(&["librarian", "curated.loans", "own", "(rows)", "closed", "open"]), "{told:?}");
    assert!(told.contains(&["librarian", "curated.loans", "sites", "(rows)", "open", "closed"]), "{told:?}");
    assert!(told.contains(&["librarian", "curated.loans", "sites", "loan", "pseudonym", "hidden"]), "{told:?}");

    let away = format!(
        r#"{POLICIES}@id("no") forbid (principal, action == Action::"read", resource) when {{ context.rows == "overdue" }};"#
    );
    let found = read(WRITTEN).unwrap().compare(&policies(&away)).differences;
    assert_eq!(self::told(&found), [["librarian", "curated.loans", "overdue", "(rows)", "closed", "taken away"]]);
}

#[test]
fn whoever_asks_under_a_purpose_has_what_everybody_has_there() {
    let open = r#"@id("all") permit (principal, action in [Action::"read", Action::"see_clear"], resource in Table::"curated.loans")
when { context.rows == "all" && context.purpose == "public" && (action == Action::"read" || resource in Tag::"key") };"#;
    assert_eq!(read("(nobody),public,loans,all,key,clear\n").unwrap().compare(&policies(open)).differences, []);
    let found = read("").unwrap().compare(&policies(open)).differences;
    assert_eq!(told(&found)[0], ["(nobody)", "curated.loans", "all", "(rows)", "closed", "open"]);
}

#[test]
fn an_unclassified_column_is_in_no_tag_not_even_in_all() {
    let all = POLICIES.replace(r#"resource in Tag::"text""#, "resource").replace("see_pseudonym", "see_clear");
    let found = read("librarian,lending,loans,own,*,clear\n").unwrap().compare(&policies(&all)).differences;
    assert_eq!(told(&found), [["librarian", "curated.loans", "own", "new", "hidden", "clear"]]);
}

#[test]
fn names_that_stand_for_nothing_are_found_where_they_stand() {
    let lines = "emperor,lending,loans,own,key,clear\nlibrarian,audit,loans,own,key,clear\n\
        librarian,lending,lones,own,key,clear\nlibrarian,lending,loans,owned,key,clear\n\
        librarian,lending,loans,own,kee,clear\n(nobody),fun,loans,own,key,clear\nauditor,audit,audit.*,all,*,clear\n\
        librarian,lending,raw.*,all,transport,clear\n";
    let found = read(lines).unwrap().dangling(&policies(POLICIES));
    let found: Vec<String> = found.iter().map(|problem| format!("{}: {}", problem.line, problem.message)).collect();
    assert_eq!(
        found,
        [
            "3: there is no role `emperor`",
            "4: role `librarian` serves the purpose `lending`",
            "5: there is no table `curated.lones`",
            "6: there is no row scope `owned` in curated.loans",
            "7: curated.loans has no column with any of these tags",
            "8: there is no purpose `fun`",
        ]
    );
}

#[test]
fn lines_that_cannot_be_understood_are_told_all_at_once() {
    let lines = "librarian,lending,loans,own,key\nlibrarian,lending,loans,own,key,hidden\nlibrarian,,loans,own,key,clear\n\
        librarian,lending,loans,own,\"key\",clear\n";
    let found = read(lines).unwrap_err();
    let lines: Vec<usize> = found.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [3, 4, 5, 6], "{found:?}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("who.csv"), "role,table\n").unwrap();
    let found = Oracle::read(&folder.path().join("who.csv")).unwrap_err();
    assert!(found[0].message.contains("must begin with role,purpose"), "{found:?}");
}

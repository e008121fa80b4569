//! Problems of a policy folder: all at once, with file and line.

use crate::folder::Folder;

fn problems(policies: &str) -> Vec<String> {
    Folder::with(policies).try_load().expect_err("there should be problems")
}

#[test]
fn names_that_stand_for_nothing_are_found_where_they_stand() {
    let found = problems(
        r#"@id("a")
permit (
  principal in Role::"emperor",
  action == Action::"see_clear",
  resource in Table::"curated.lones"
)
when {
  resource in [Tag::"key", Tag::"kee"] ||
  resource == Column::"curated.loans.remarc" ||
  resource in Schema::"curate"
};

@id("b")
permit (principal, action == Action::"read", resource in Table::"raw.**")
when { context.purpose == "leisure" };
"#,
    );
    assert_eq!(
        found,
        [
            "test.cedar:3: there is no role `emperor`",
            "test.cedar:5: there is no table `curated.lones`",
            "test.cedar:8: there is no column with the tag `kee`",
            "test.cedar:9: there is no column `curated.loans.remarc`",
            "test.cedar:10: there is no schema `curate`",
            "test.cedar:14: there is no table `raw.**`",
            "test.cedar:15: there is no purpose `leisure`",
        ]
    );
}

#[test]
fn a_row_scope_must_be_one_of_the_tables_spoken_of() {
    let with = |table: &str, condition: &str| {
        Folder::with(&format!(
            "@id(\"a\")\npermit (principal, action == Action::\"read\", resource {table})\nwhen {{ {condition} }};"
        ))
        .try_load()
        .err()
        .unwrap_or_default()
    };
    let none: [&str; 0] = [];
    assert_eq!(with("", r#"context.rows == "own""#), none);
    assert_eq!(with("", r#""all" == context.rows"#), none);
    assert_eq!(with(r#"in Table::"raw.*""#, r#"context.rows == "all""#), none);
    let in_raw = ["test.cedar:3: there is no row scope `own` in raw.loans"];
    assert_eq!(with(r#"in Table::"raw.*""#, r#"context.rows == "own""#), in_raw);
    assert_eq!(with(r#"in Schema::"raw""#, r#""own" == context.rows"#), in_raw);
    assert_eq!(
        with(r#"== Table::"curated.loans""#, r#"["own", "owned"].contains(context.rows)"#),
        ["test.cedar:3: there is no row scope `owned` in curated.loans"]
    );
}

#[test]
fn policies_that_do_not_parse_or_do_not_fit_the_schema_are_problems() {
    for (policy, line, words) in [
        ("@id(\"a\")\npermit (principal, action resource);", 2, "unexpected"),
        ("@id(\"a\")\npermit (principal, action, resource)\nwhen { context.colour == \"red\" };", 3, "colour"),
        ("@id(\"a\")\npermit (principal, action == Action::\"write\", resource);", 2, "write"),
        ("@id(\"a\")\npermit (principal, action, resource)\nwhen { principal.member == \"m\" };", 3, "member"),
        ("@id(\"a\")\nforbid (principal, action == Action::\"read\", resource in Tag::\"key\");", 1, "applicable"),
        ("\n@id(\"a\")\npermit (principal == ?principal, action, resource);", 2, "templates"),
    ] {
        let found = problems(policy);
        assert!(found[0].starts_with(&format!("test.cedar:{line}: ")), "{found:?}");
        assert!(found[0].contains(words), "{found:?}");
        assert!(!found[0].contains("policy0"), "{found:?}");
    }
}

#[test]
fn policies_need_ids_of_their_own() {
    let policy = "permit (principal, action == Action::\"read\", resource);\n";
    let folder =
        Folder::with(&format!("@id(\"a\")\n{policy}{policy}")).file("z.cedar", &format!("\n@id(\"a\")\n{policy}"));
    assert_eq!(
        folder.try_load().unwrap_err(),
        ["test.cedar:3: the policy has no @id", "z.cedar:2: there is another policy `a`"]
    );
}

#[test]
fn problems_of_all_files_come_together() {
    let found = Folder::with("@id(\"a\") permit (principal in Role::\"emperor\", action, resource);")
        .file("other.cedar", "permit (principal")
        .file("purposes.yaml", "roles: {nobody: public}\nincompatible: [[a, b]]\n")
        .try_load()
        .unwrap_err();
    let files: Vec<_> = found.iter().map(|problem| problem.split(':').next().unwrap()).collect();
    assert_eq!(files, ["other.cedar", "purposes.yaml", "purposes.yaml", "test.cedar"]);
}

#[test]
fn what_is_missing_is_a_problem() {
    let empty = |name: &str| Folder::with("").without(name).try_load().unwrap_err().join("\n");
    assert!(empty("purposes.yaml").contains("there is no purposes.yaml"));
    assert!(empty("library.cedarschema").contains("there is no *.cedarschema"));
}

#[test]
fn a_schema_without_the_engines_words_or_a_scopes_attributes_is_a_problem() {
    let found = Folder::with("")
        .file("library.cedarschema", "entity User in [Role] = { member?: String, age?: Long };\nentity Role;")
        .try_load()
        .unwrap_err()
        .join("\n");
    for words in ["entity type `Table` is not declared", "action `see_clear` is not declared", "attribute `age`"] {
        assert!(found.contains(words), "{words}: {found}");
    }
    let schema = "entity User in [Role] = { member: String };\nentity Role, Schema, Tag;
entity Table in [Schema, Table];\nentity Column in [Table, Tag];
action read appliesTo { principal: User, resource: Table, context: {rows: String, purpose: String} };
action see_clear, see_generalised, see_pseudonym appliesTo { principal: User, resource: Column, context: {rows: String, purpose: String} };";
    let required = Folder::with("").file("library.cedarschema", schema).try_load().unwrap_err();
    assert_eq!(required, ["library.cedarschema:1: attribute `member` of User must be optional: a token may lack it"]);
    let optional = Folder::with("").file("library.cedarschema", &schema.replace("member:", "member?:"));
    assert_eq!(
        optional.try_load().unwrap_err(),
        ["library.cedarschema:1: User has no attribute `sites`, which scope `sites` of curated.loans needs"]
    );
}

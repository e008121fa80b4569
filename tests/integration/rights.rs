//! `lakeward check` looks at the rights as a whole, and `lakeward access` tells what somebody sees and why: over the small
//! lakehouse of the shop, and over the shipped one.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::serve::lakeward;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A copy of the shop's folder with some texts replaced: file, what stands there, what is written instead.
fn shop(name: &str, changes: &[(&str, &str, &str)]) -> PathBuf {
    copy("examples/shop/sql", name, changes)
}

fn copy(from: &str, name: &str, changes: &[(&str, &str, &str)]) -> PathBuf {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rights").join(name);
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir_all(&to).unwrap();
    assert!(
        std::process::Command::new("cp")
            .arg("-r")
            .arg(root().join(from).join("."))
            .arg(&to)
            .status()
            .unwrap()
            .success()
    );
    for (file, from, with) in changes {
        let file = to.join(file);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(text.contains(from), "{} holds no `{from}`", file.display());
        std::fs::write(&file, text.replacen(from, with, 1)).unwrap();
    }
    to
}

/// Whether the check succeeds, and what it prints, the folder's name taken away.
fn check(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = lakeward()
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .args(["check", "--lakehouse"])
        .arg(folder)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).replace(&format!("{}/", folder.display()), "");
    (output.status.success(), said.replace(&folder.display().to_string(), "sql"))
}

/// That one change is told in one line, as an error or as a warning.
fn told(name: &str, changes: &[(&str, &str, &str)], is_error: bool, expected: &str) {
    let (success, said) = check(&shop(name, changes), &[]);
    assert_eq!(success, !is_error, "{said}");
    assert!(said.lines().any(|line| line == expected), "`{expected}` is missing in\n{said}");
    assert_eq!(said.lines().count(), if is_error { 1 } else { 2 }, "{said}");
}

const SUPPORT: &str = "policies/support.cedar";

#[test]
fn a_policy_for_a_purpose_that_its_role_does_not_serve_is_an_error() {
    told(
        "purpose",
        &[(
            SUPPORT,
            "context.purpose == \"helping\" && context.rows == \"all\" &&\n  (action == Action::\"read\" ||\n",
            "context.purpose == \"planning\" && context.rows == \"all\" &&\n  (action == Action::\"read\" ||\n",
        )],
        true,
        "policies/support.cedar:13: policy `support.orders.all.clear` never applies: role `support` serves the purpose \
         `helping`, and it wants `planning`",
    );
}

#[test]
fn a_policy_below_an_unconditional_forbid_is_an_error_and_the_forbid_is_named() {
    told(
        "shadowed",
        &[(
            SUPPORT,
            "// Answers",
            "@id(\"no.orders\") forbid (principal in Role::\"support\", action, resource in Table::\"curated.orders\");\n\n// Answers",
        )],
        true,
        "policies/support.cedar:15: policy `support.orders.all.clear` never applies: all that it permits is forbidden by \
         no.orders (support.cedar:1)",
    );
}

#[test]
fn conditions_that_nothing_can_meet_are_an_error() {
    told(
        "impossible",
        &[(
            SUPPORT,
            "resource in [Tag::\"key.customer\", Tag::\"name\", Tag::\"contact\"])",
            "resource in [Tag::\"key.customer\", Tag::\"name\", Tag::\"contact\"])\n};\n\n@id(\"both\")\npermit (principal in Role::\"support\", action == Action::\"see_clear\", resource in Table::\"curated.customers\")\nwhen {\n  context.rows == \"all\" && (resource in Tag::\"place\" && resource in Tag::\"birth\")",
        )],
        true,
        "policies/support.cedar:13: policy `both` never applies: no role, table, row scope and tag that there are fit it",
    );
}

#[test]
fn what_cedars_validator_finds_is_told_with_its_line() {
    let change = (SUPPORT, "context.purpose == \"helping\"", "context.purpos == \"helping\"");
    let (success, said) = check(&shop("validator", &[change]), &[]);
    assert!(!success);
    assert!(said.starts_with("policies/support.cedar:9: ") && said.contains("purpos"), "{said}");
    let change = (SUPPORT, "context.purpose == \"helping\"", "context.purpose == \"helping\" && false");
    let (success, said) = check(&shop("never", &[change]), &[]);
    assert!(!success);
    assert!(said.starts_with("policies/support.cedar:") && said.contains("impossible"), "{said}");
}

#[test]
fn a_level_that_no_mask_can_show_is_an_error() {
    told(
        "maskless",
        &[("policies/masks.yaml", "  time: {default: week}\n", "")],
        true,
        "policies/analyst.cedar:13: policy `analyst.orders.all.masked` shows what is hidden all the same: masks.yaml has no \
         generalised mask for the tag time (curated.orders.placed_at)",
    );
}

#[test]
fn a_scope_without_use_is_a_warning() {
    let scope = "my_store: \"store = attr('store')\"";
    let more = format!("{scope}\n          cheap: \"amount < 10\"");
    told(
        "scope",
        &[("contracts/curated/orders.odcs.yaml", scope, &more)],
        false,
        "contracts/curated/orders.odcs.yaml:22: warning: no policy has a use for the scope cheap of curated.orders",
    );
}

#[test]
fn a_column_that_no_one_sees_is_a_warning_unless_it_is_meant() {
    let column = "{name: email, logicalType: string, tags: [contact]}";
    let contract = "contracts/curated/customers.odcs.yaml";
    let hidden = (SUPPORT, "Tag::\"name\", Tag::\"contact\"", "Tag::\"name\"");
    told(
        "unseen",
        &[hidden],
        false,
        "contracts/curated/customers.odcs.yaml:31: warning: no one sees email; where that is meant, say seenBy: nobody",
    );
    let meant =
        "{name: email, logicalType: string, tags: [contact], customProperties: [{property: seenBy, value: nobody}]}";
    let (success, said) = check(&shop("meant", &[hidden, (contract, column, meant)]), &[]);
    assert!(success && said.ends_with("2 curated tables, nothing to complain of\n"), "{said}");
    told(
        "in-vain",
        &[(contract, column, meant)],
        true,
        "contracts/curated/customers.odcs.yaml:31: email is to be seen by nobody, and support sees it by \
         support.customers.all.clear (support.cedar:2)",
    );
    told(
        "somebody",
        &[(contract, column, &meant.replace("nobody", "support"))],
        true,
        "contracts/curated/customers.odcs.yaml:31: seenBy of 'email' is nobody or not there, not support",
    );
}

#[test]
fn the_shipped_policies_are_what_the_oracle_says() {
    let oracle = root().join("tests/who-sees-what.csv");
    let (success, said) = check(&root().join("sql"), &["--oracle", oracle.to_str().unwrap()]);
    assert!(success, "{said}");
    let cells: usize = said.split(", ").nth(2).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(cells > 10_000 && said.ends_with("nothing to complain of\n"), "{said}");
}

#[test]
fn each_cell_that_is_not_as_the_oracle_says_is_a_line_of_a_table() {
    let folder = copy(
        "sql",
        "oracle",
        &[
            (
                "policies/cashier.cedar",
                "Tag::\"key.subject\", Tag::\"name\"",
                "Tag::\"key.subject\", Tag::\"name\", Tag::\"contact.phone\"",
            ),
            (
                "policies/accountant.cedar",
                "Tag::\"key.place\", Tag::\"time\", Tag::\"finance\"",
                "Tag::\"key.place\", Tag::\"time\"",
            ),
        ],
    );
    // Beside the policies it needs no flag.
    std::fs::copy(root().join("tests/who-sees-what.csv"), folder.join("who-sees-what.csv")).unwrap();
    let (success, said) = check(&folder, &[]);
    assert!(!success, "{said}");
    let expected = "\
who-sees-what.csv: 4 cells differ from what the policies decide:
role        table             scope                 column    declared  decided
accountant  curated.payments  all                   amount    clear     hidden
accountant  curated.payments  all                   currency  clear     hidden
accountant  curated.payments  all                   method    clear     hidden
cashier     curated.patients  paying_at_my_clinics  phone     hidden    clear
";
    assert_eq!(said, expected);
    std::fs::write(
        folder.join("who-sees-what.csv"),
        "role,purpose,table,scope,tags,level\nemperor,x,patients,all,*,clear\n",
    )
    .unwrap();
    let (success, said) = check(&folder, &[]);
    assert!(!success && said.contains("who-sees-what.csv:2: there is no role `emperor`"), "{said}");
}

/// `lakeward access` over the shop, as somebody with these claims.
fn access(claims: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("who.json");
    std::fs::write(&file, claims).unwrap();
    let mut command = lakeward();
    command
        .args(["access", "--lakehouse"])
        .arg(root().join("examples/shop/sql"))
        .arg("--as")
        .arg(&file)
        .args(arguments);
    command.output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn access_tells_columns_levels_and_policies_with_file_and_line() {
    let claims = r#"{"sub": "maya", "roles": ["store_manager", "emperor"], "store": "s-1"}"#;
    let said = out(&access(claims, &["--table", "customers"]));
    let expected = "\
maya for the purpose running
  role emperor: purposes.yaml does not declare it
  role store_manager: counts
  attribute store: is there

curated.customers
scope               rows       why
all                 not shown  no policy permits it
bought_at_my_store  shown      store_manager.customers.bought_at_my_store.clear (store_manager.cedar:14)

column       level   in the rows of      tags          how, and by which policy
customer_id  clear   bought_at_my_store  key.customer  store_manager.customers.bought_at_my_store.clear (store_manager.cedar:14)
full_name    clear   bought_at_my_store  name          store_manager.customers.bought_at_my_store.clear (store_manager.cedar:14)
email        hidden  bought_at_my_store  contact       no policy shows contact in these rows
city         clear   bought_at_my_store  place         store_manager.customers.bought_at_my_store.clear (store_manager.cedar:14)
postal_code  clear   bought_at_my_store  place         store_manager.customers.bought_at_my_store.clear (store_manager.cedar:14)
born_on      hidden  bought_at_my_store  birth         no policy shows birth in these rows
";
    assert_eq!(said, expected);
    assert!(!said.contains('\u{1b}'), "colours belong on a terminal alone");

    let said = out(&access(r#"{"sub": "anna", "roles": ["analyst"]}"#, &["--table", "customers"]));
    let born = said.lines().find(|line| line.starts_with("born_on")).unwrap();
    assert!(
        born.contains("generalised") && born.contains("(1987-05-20 → 1980-01-01); analyst.customers.all.masked"),
        "{said}"
    );

    let all = out(&access(r#"{"sub": "anna", "roles": ["analyst"]}"#, &[]));
    assert!(all.contains("curated.customers  all ") && all.contains("curated.orders     all "), "{all}");
}

#[test]
fn why_tells_what_every_policy_says_of_one_cell() {
    let said = out(&access(
        r#"{"sub": "maya", "roles": ["store_manager"], "store": "s-1"}"#,
        &["--table", "orders", "--why", "amount"],
    ));
    assert!(said.contains("curated.orders.amount is clear; its tags: money"), "{said}");
    assert!(said.contains("permitted by store_manager.orders.my_store.clear (store_manager.cedar:2)"), "{said}");
    assert!(said.contains("nothing permits it") && said.contains("no policy permits it"), "{said}");
    let hidden = out(&access(r#"{"sub": "sue", "roles": ["support"]}"#, &["--table", "orders", "--why", "amount"]));
    assert!(hidden.contains("in the rows of all: hidden, for no policy shows money in these rows"), "{hidden}");
}

#[test]
fn a_table_that_does_not_exist_for_somebody_is_told_with_what_is_missing() {
    let said = out(&access(r#"{"sub": "maya", "roles": ["store_manager"], "store": ["s-1"]}"#, &["--table", "orders"]));
    assert!(said.contains("curated.orders does not exist for maya"), "{said}");
    assert!(said.contains("attribute store: it is not of the declared type"), "{said}");
    assert!(said.contains("its rows cannot be told without the attribute store"), "{said}");
    let both = out(&access(r#"{"sub": "sam", "roles": ["analyst", "support"]}"#, &["--table", "orders"]));
    assert!(both.contains("role analyst: nobody may hold it together with support: none of them counts"), "{both}");
}

#[test]
fn access_as_json_is_what_the_endpoint_gives() {
    let said = out(&access(r#"{"sub": "anna", "roles": ["analyst"]}"#, &["--table", "orders", "--json"]));
    let said: Value = serde_json::from_str(&said).unwrap();
    let orders = &said["tables"][0];
    assert_eq!((&said["purpose"], &orders["visible"]), (&Value::from("planning"), &Value::from(true)));
    let level = |name: &str| {
        let columns = orders["columns"].as_array().unwrap();
        columns.iter().find(|column| column["name"] == name).unwrap()["level"].as_str().unwrap().to_owned()
    };
    assert_eq!(["order_id", "placed_at", "amount", "note"].map(level), ["pseudonym", "generalised", "clear", "hidden"]);
}

#[test]
fn questions_about_what_there_is_not_are_refused_in_words() {
    let failure = |claims: &str, arguments: &[&str]| {
        let output = access(claims, arguments);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let analyst = r#"{"sub": "anna", "roles": ["analyst"]}"#;
    assert!(failure(analyst, &["--table", "odrers"]).contains("no contract declares the table curated.odrers"));
    assert!(
        failure(analyst, &["--table", "orders", "--why", "nothing"]).contains("curated.orders has no column nothing")
    );
    assert!(failure(analyst, &["--purpose", "helping"]).contains("has no role for the purpose helping"));
    assert!(failure("[]", &[]).contains("holds no claims"));
    assert!(failure("{", &[]).contains("who.json:1: no JSON"));
    let two = lakeward().args(["access", "--as", "nobody.known", "--demo", "/no/such/demo"]).output().unwrap();
    assert!(String::from_utf8_lossy(&two.stderr).contains("nobody.known is no file with claims"));
}

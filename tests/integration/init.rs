//! `lakeward init`: what it writes is in order as it is, opens nothing, takes its own sample, and stands above nothing.

use std::path::Path;
use std::process::Output;

use lakeward_tables::{Lakehouse, Mode};

use crate::ALONE;
use crate::serve::lakeward;
use crate::walkthrough::Shell;

/// Names and types that a careless writer would stumble over.
const ODD: &str = r#"{"orderId": 1, "order": "a", "select": true, "it's": "b", "e-mail": "a@b.example", "yes": 1, "Größe": 1.5, "2nd": "x", "at": "2026-01-02T03:04:05.25+02:00", "day": "2026-01-02", "_lw_row": 7, "a": {"b": {"c": "deep"}}, "a_b_c": "flat", "tags": ["x"], "lines": [{"no": 1, "of:what": "t"}, {"no": 2}], "matrix": [[1, 2], []]}
{"orderId": 2, "order": "a \"quoted\" text", "select": false, "it's": null, "e-mail": "c@d.example", "yes": 2, "Größe": 2, "2nd": "y", "at": "2026-01-02T03:04:05Z", "day": "2026-02-28", "_lw_row": 8, "a": {"b": null}, "a_b_c": null, "tags": [], "lines": null, "matrix": [[3]]}

{"orderId": 2, "order": "b", "select": true, "it's": "b", "e-mail": "a@b.example", "yes": 1, "Größe": -0.5, "2nd": "x", "at": "2026-01-02T03:04:05Z", "day": "2026-01-02", "_lw_row": 7, "a": {}, "a_b_c": "flat", "tags": ["x", null], "lines": [], "matrix": []}
"#;

fn init(folder: &Path, arguments: &[&str]) -> Output {
    std::fs::write(folder.join("sample.ndjson"), ODD).unwrap();
    let mut command = lakeward();
    command.args(["init", "--from", "sample.ndjson", "--topic"]).args(arguments).current_dir(folder).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn succeed(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

#[test]
fn what_it_writes_passes_the_check_beside_what_is_there_and_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    succeed(&init(folder.path(), &["odd-shop.order"]));
    succeed(&init(folder.path(), &["odd-shop.order-line", "--key", "2nd", "--table", "many_lines"]));
    succeed(&init(folder.path(), &["odd.order.log", "--role", "reader"]));
    let checked = succeed(&lakeward().args(["check"]).current_dir(folder.path()).output().unwrap());
    assert!(checked.contains("3 topics, 3 curated tables, 3 warnings"), "{checked}");

    // Without a topic it is the file's name.
    let of_the_name = lakeward().args(["init", "--from", "sample.ndjson"]).current_dir(folder.path()).output().unwrap();
    assert!(succeed(&of_the_name).contains("sql/contracts/raw/sample.odcs.yaml"));
    std::fs::copy(folder.path().join("sample.ndjson"), folder.path().join("A sample.ndjson")).unwrap();
    let no_name = lakeward().args(["init", "--from", "A sample.ndjson"]).current_dir(folder.path()).output().unwrap();
    assert!(!no_name.status.success() && said(&no_name).contains("name one by --topic"), "{}", said(&no_name));

    let lakehouse = Lakehouse::load(&folder.path().join("sql")).unwrap();
    let columns = lakehouse.curated.values().flat_map(|table| &table.columns);
    let tagged: Vec<&str> =
        columns.filter(|column| !column.tags.is_empty()).map(|column| column.name.as_str()).collect();
    assert_eq!(tagged, [""; 0], "somebody could see these");
    let orders = &lakehouse.curated["orders"];
    assert_eq!((orders.mode, orders.primary_key.as_slice()), (Mode::Upsert, ["order_id".to_owned()].as_slice()));
    assert_eq!(lakehouse.curated["many_lines"].primary_key, ["field_2nd"]);
    // No field is called after the thing, so that no message replaces another.
    assert_eq!((lakehouse.curated["logs"].mode, lakehouse.topics["odd.order.log"].key_required), (Mode::Append, false));
    let names: Vec<&str> = orders.columns.iter().map(|column| column.name.as_str()).collect();
    let expected = [
        "order_id",
        "order",
        "select",
        "it_s",
        "e_mail",
        "yes",
        "gr_e",
        "field_2nd",
        "at",
        "day",
        "lw_row",
        "a_b_c",
        "a_b_c_2",
        "tags",
        "lines",
        "matrix",
    ];
    assert_eq!(names, expected);
}

#[test]
fn nothing_is_overwritten_and_what_is_wrong_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| {
        let output = init(folder.path(), arguments);
        assert!(!output.status.success(), "{}", said(&output));
        said(&output)
    };
    let told = refused(&["shop.order", "--key", "nothing"]);
    assert!(
        told.contains("--key nothing: the sample has no such field") && told.contains("orderId, order, "),
        "{told}"
    );
    let told = refused(&["shop.order", "--key", "Größe"]);
    assert!(told.contains("this is number or missing"), "{told}");
    for topic in ["Shop.order", "shop order", "1shop", "shop."] {
        assert!(refused(&[topic]).contains("a topic's name has"), "{topic}");
    }
    assert!(refused(&["shop.order", "--table", "my orders"]).contains("a table's name has"));
    assert!(!folder.path().join("sql").exists(), "something was written");

    succeed(&init(folder.path(), &["shop.order"]));
    let contract = folder.path().join("sql/contracts/curated/orders.odcs.yaml");
    std::fs::write(&contract, "mine").unwrap();
    std::fs::remove_file(folder.path().join("sql/curated/orders.sql")).unwrap();
    let told = refused(&["shop.order"]);
    assert!(told.contains("nothing was written") && told.contains("sql/contracts/curated/orders.odcs.yaml"), "{told}");
    assert_eq!(std::fs::read_to_string(&contract).unwrap(), "mine");
    assert!(!folder.path().join("sql/curated/orders.sql").exists(), "something was written");
    let told = refused(&["shop.other", "--role", "owner"]);
    assert!(told.contains("has no role owner: name one of nobody, reader by --role"), "{told}");
}

/// Inferred types are held against the real decoder: none of the sample's own records may be a dead letter.
#[test]
fn every_record_of_the_sample_becomes_a_row() {
    let _alone = ALONE.blocking_lock();
    let folder = tempfile::tempdir().unwrap();
    succeed(&init(folder.path(), &["odd.order"]));
    let mut shell = Shell::start(folder.path());
    let start = "lakeward broker --topics odd.order > broker.txt 2> broker.log &
until [ -s broker.txt ]; do sleep 0.1; done
cat > lakeward.toml <<END
[storage]
url = \"file://$PWD/lake\"
[kafka]
source = \"odd\"
brokers = \"$(cat broker.txt)\"
security = \"plaintext\"
insecure = true
[ingest]
commit_interval = \"200ms\"
[development]
key_file = \"issuer.secret\"
[pseudonyms]
secret_file = \"pseudonyms.secret\"
END
head -c 24 /dev/urandom | base64 > pseudonyms.secret
lakeward serve 2> serve.log &
until curl -sf http://127.0.0.1:8080/health/ready > ready.txt; do sleep 0.2; done
lakeward produce --topic odd.order --key orderId sample.ndjson
until curl -s http://127.0.0.1:8080/metrics | grep -q '^lakeward_ingest_messages_total{topic=\"odd.order\"} 3'; do sleep 0.2; done
export LAKEWARD_TOKEN=$(lakeward token --config lakeward.toml --as rosa --roles reader)
";
    let (said, status) = shell.run(start);
    assert_eq!(status, 0, "{said}");
    // The message of order 2 that came last is its row.
    let rows = "until [ \"$(lakeward sql --format csv 'SELECT count(*) AS n FROM orders' | tail -n 1)\" = 2 ]; do sleep 0.2; done; \
                curl -s http://127.0.0.1:8080/metrics | grep '^lakeward_ingest_dead_letters_total' || echo none";
    let (dead, _) = shell.run(rows);
    assert!(dead.lines().all(|line| line == "none" || line.ends_with(" 0")), "{dead}");

    // With `serve` down the tables still tell.
    let (_, status) = shell.run("kill %2; wait %2; unset LAKEWARD_TOKEN");
    assert_eq!(status, 0, "serve did not end in order");
    let (told, status) = shell.run("lakeward status");
    assert!(status == 0 && told.starts_with("No `lakeward serve` answers at "), "{told}");
    let rows = |table: &str| {
        let line = told.lines().find(|line| line.starts_with(&format!("{table} "))).unwrap_or_else(|| panic!("{told}"));
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(
        (rows("raw.odd_order"), rows("curated.orders"), rows("raw.odd_order__dead_letter")),
        ("3".into(), "2".into(), "0".into())
    );
    let (told, status) = shell.run("lakeward trace --topic odd.order --key 2");
    assert_eq!(status, 0, "{told}");
    let made = "curated.orders: 2 rows made of 2 messages; with their keys 1 row stands there now";
    assert!(told.contains("2 messages\n") && told.lines().any(|line| line == made), "{told}");
    assert!(told.contains("raw.odd_order__dead_letter: none"), "{told}");
    for value in ["quoted", "a@b.example", "c@d.example", "flat"] {
        assert!(!told.contains(value), "{value} is shown: {told}");
    }
    let (told, status) = shell.run("lakeward trace --topic odd.order --key 7");
    assert!(status == 1 && told.contains("no message with this key stands in raw.odd_order"), "{told}");
    let (told, status) = shell.run("lakeward trace --topic odd.orders --key 7");
    assert!(status == 1 && told.contains("declares no topic odd.orders: it knows odd.order"), "{told}");
}

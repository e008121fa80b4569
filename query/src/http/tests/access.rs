//! `GET /v1/access`.

use serde_json::{Value, json};

use super::Endpoint;

async fn access(endpoint: &Endpoint, token: &str, query: &str) -> Value {
    let answer = endpoint.ask("GET", &format!("/v1/access?{query}"), Some(token), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn levels_scopes_and_policies_are_told_of_oneself() {
    let endpoint = Endpoint::open().await;
    let token = endpoint.house.token("cho", &["counter", "emperor"]);
    let body = access(&endpoint, &token, "table=people").await;
    assert_eq!(body["purpose"], "bi");
    assert_eq!(
        body["roles"],
        json!([
            {"role": "counter", "active": true},
            {"role": "emperor", "active": false, "why": "purposes.yaml does not declare it"},
        ])
    );
    let [people] = body["tables"].as_array().unwrap().as_slice() else { panic!("{body}") };
    assert_eq!((&people["table"], &people["visible"]), (&json!("curated.people"), &json!(true)));
    let [scope] = people["scopes"].as_array().unwrap().as_slice() else { panic!("{people}") };
    assert_eq!((&scope["scope"], &scope["open"]), (&json!("all"), &json!(true)));
    assert_eq!(scope["permits"][0], json!({"id": "counter.people.clear", "file": "demo.cedar", "line": 10}));
    let cells: Vec<[Value; 3]> = people["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| [&column["name"], &column["level"], &column["cells"][0]["permits"][0]["id"]].map(Clone::clone))
        .collect();
    assert_eq!(
        cells,
        [
            [json!("id"), json!("pseudonym"), json!("counter.people.pseudonym")],
            [json!("name"), json!("hidden"), json!(null)],
            [json!("born"), json!("generalised"), json!("counter.people.generalised")],
            [json!("visits"), json!("clear"), json!("counter.people.clear")],
        ]
    );
    assert_eq!(people["columns"][2]["cells"][0]["example"], "1987-05-20 → 1987-01-01");
    assert_eq!(people["columns"][1]["cells"][0]["why"], "no policy shows name in these rows");
    assert_eq!(people["columns"][0]["cells"][0].get("asked"), None);
}

#[tokio::test]
async fn one_column_is_told_with_every_answer() {
    let endpoint = Endpoint::open().await;
    let token = endpoint.house.token("cho", &["counter"]);
    let body = access(&endpoint, &token, "table=curated.people&column=born").await;
    let columns = body["tables"][0]["columns"].as_array().unwrap();
    assert_eq!(columns.len(), 1);
    let asked: Vec<(&str, usize)> = columns[0]["cells"][0]["asked"]
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| (answer["level"].as_str().unwrap(), answer["permits"].as_array().unwrap().len()))
        .collect();
    assert_eq!(asked, [("clear", 0), ("generalised", 1), ("pseudonym", 0)]);
}

#[tokio::test]
async fn a_table_that_one_may_not_see_is_told_like_one_that_there_is_not() {
    let endpoint = Endpoint::open().await;
    let stranger = endpoint.house.token("sam", &["gardener"]);
    let detail = async |token: Option<&str>, table: &str| {
        let answer = endpoint.ask("GET", &format!("/v1/access?table={table}"), token, "").await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"), "{table}");
        answer.json()["detail"].as_str().unwrap().replace(table, "?")
    };
    for token in [None, Some(stranger.as_str())] {
        assert_eq!(detail(token, "people").await, detail(token, "peoplx").await);
        assert_eq!(detail(token, "raw.demo_person").await, detail(token, "raw.demo_persox").await);
    }
    let none = access(&endpoint, &stranger, "").await;
    assert_eq!(none["tables"], json!([]));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let endpoint = Endpoint::open().await;
    let token = endpoint.house.token("kim", &["keeper", "counter"]);
    for (query, code) in [
        ("table=people", "invalid_request"),
        ("table=people&purpose=billing", "forbidden"),
        ("purpose=bi&column=born", "invalid_request"),
        ("purpose=bi&table=people&column=nothing", "invalid_request"),
        ("purpose=bi&tables=people", "invalid_request"),
        ("purpose=bi&table=people&table=people", "invalid_request"),
    ] {
        let answer = endpoint.ask("GET", &format!("/v1/access?{query}"), Some(&token), "").await;
        assert_eq!(answer.code(), code, "{query}");
    }
    let both = access(&endpoint, &token, "purpose=care&table=people").await;
    assert_eq!(both["roles"][0], json!({"role": "counter", "active": false, "why": "it counts for the purpose bi"}));
    assert_eq!(both["tables"][0]["columns"][1]["level"], "clear");
}

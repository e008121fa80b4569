//! The audit from outside: read by SQL by whom policy lets, and whose rows were seen by whom.

use serde_json::Value;

use super::Endpoint;

impl Endpoint {
    async fn accesses(&self, token: &str, id: &str) -> super::Answered {
        let body = serde_json::json!({ "id": id }).to_string();
        self.ask("POST", "/v1/audit/subject", Some(token), &body).await
    }
}

fn shown(answer: &Value) -> Vec<String> {
    let accesses = answer["accesses"].as_array().unwrap().iter();
    accesses
        .map(|access| {
            let columns: Vec<String> = access["columns"]
                .as_array()
                .unwrap()
                .iter()
                .map(|column| format!("{}:{}", column["name"].as_str().unwrap(), column["level"].as_str().unwrap()))
                .collect();
            let text = |key: &str| access[key].as_str().unwrap_or("-").to_owned();
            format!("{} {} {} {}", text("principal"), text("purpose"), columns.join(","), access["certain"])
        })
        .collect()
}

#[tokio::test]
async fn who_saw_the_rows_of_a_person_is_told_to_the_person_and_to_the_officer() {
    let endpoint = Endpoint::open().await;
    let (keeper, counter) = (endpoint.house.token("kim", &["keeper"]), endpoint.house.token("cory", &["counter"]));
    assert_eq!(endpoint.sql(Some(&keeper), "SELECT name FROM people WHERE name = 'Ada'").await.status, 200);
    assert_eq!(endpoint.sql(Some(&counter), "SELECT id, born FROM people").await.status, 200);
    let mine = endpoint.house.token_of("a");
    assert_eq!(endpoint.sql(Some(&mine), "SELECT visits FROM people").await.status, 200);
    let expected =
        ["person-a self visits:clear true", "cory bi id:pseudonym,born:generalised true", "kim care name:clear true"];
    let own = endpoint.ask("GET", "/v1/me/accesses", Some(&mine), "").await;
    assert_eq!(shown(&own.json()), expected, "{}", own.text);
    let officer = endpoint.house.token("olga", &["officer"]);
    assert_eq!(shown(&endpoint.accesses(&officer, "a").await.json()), expected);
    // The person's own rows are shown to nobody else by that statement.
    assert_eq!(shown(&endpoint.accesses(&officer, "b").await.json()), expected[1..]);
    assert!(shown(&endpoint.accesses(&officer, "z").await.json()).is_empty());
}

#[tokio::test]
async fn nobody_else_is_told_whose_rows_were_seen() {
    let endpoint = Endpoint::open().await;
    for (who, roles) in [("kim", &["keeper"][..]), ("wim", &["watcher"]), ("nik", &[])] {
        let token = endpoint.house.token(who, roles);
        assert_eq!(endpoint.accesses(&token, "a").await.status, 403, "{who}");
        assert_eq!(endpoint.ask("GET", "/v1/me/accesses", Some(&token), "").await.status, 403, "{who}");
    }
    assert_eq!(endpoint.ask("GET", "/v1/me/accesses", None, "").await.status, 403);
    let officer = endpoint.house.token("olga", &["officer"]);
    let answer = endpoint.ask("POST", "/v1/audit/subject", Some(&officer), r#"{"ident": "a"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "invalid_request"));
}

#[tokio::test]
async fn the_audit_is_a_table_for_whom_policy_lets_read_it() {
    let endpoint = Endpoint::open().await;
    let keeper = endpoint.house.token("kim", &["keeper"]);
    assert_eq!(endpoint.sql(Some(&keeper), "SELECT name FROM people WHERE name = 'Ada'").await.status, 200);
    assert_eq!(endpoint.sql(Some(&keeper), "DROP TABLE people").await.status, 400);
    assert_eq!(endpoint.sql(Some(&keeper), "SELECT kind FROM audit.events").await.status, 404);
    endpoint.house.fold().await;
    let watcher = endpoint.house.token("wim", &["watcher"]);
    let sql = "SELECT kind, outcome, statement, tables[1]['name'] AS t, rows FROM audit.events WHERE principal = 'kim' \
               ORDER BY sequence";
    let answer = endpoint.sql(Some(&watcher), sql).await.json();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let rows: Vec<String> = answer["rows"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"))
        .iter()
        .map(|row| ["kind", "outcome", "statement", "t"].map(|key| text(row, key)).join(" | "))
        .collect();
    let asked = "SELECT name FROM people WHERE name = ?";
    assert_eq!(
        rows,
        [
            format!("started | - | {asked} | curated.people"),
            format!("finished | complete | {asked} | curated.people"),
            "finished | refused | DROP TABLE people | -".to_owned(),
            "finished | not_found | SELECT kind FROM audit.events | -".to_owned(),
        ]
    );
    assert!(!answer.to_string().contains("Ada"));
}

//! `GET /v1/tables`.

use serde_json::{Value, json};

use super::Endpoint;

async fn tables(endpoint: &Endpoint, token: Option<&str>) -> Value {
    let answer = endpoint.ask("GET", "/v1/tables", token, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn a_principal_is_shown_the_tables_it_can_see_with_levels() {
    let endpoint = Endpoint::open().await;
    let token = endpoint.house.token("cho", &["counter"]);
    let body = tables(&endpoint, Some(&token)).await;
    assert_eq!(body["purpose"], "bi");
    let [people] = body["tables"].as_array().unwrap().as_slice() else { panic!("{body}") };
    assert_eq!((&people["schema"], &people["name"]), (&json!("curated"), &json!("people")));
    assert_eq!(people["primary_key"], json!(["id"]));
    let levels: Vec<(&Value, &Value)> =
        people["columns"].as_array().unwrap().iter().map(|column| (&column["name"], &column["level"])).collect();
    let expected = [("id", "pseudonym"), ("name", "hidden"), ("born", "generalised"), ("visits", "clear")];
    for ((name, level), expected) in levels.iter().zip(expected) {
        assert_eq!((name.as_str().unwrap(), level.as_str().unwrap()), expected);
    }
    assert_eq!(
        people["columns"][1],
        json!({"name": "name", "type": "string", "nullable": true, "level": "hidden", "description": "The full name."})
    );
}

#[tokio::test]
async fn who_can_see_no_table_is_shown_none() {
    let endpoint = Endpoint::open().await;
    assert_eq!(tables(&endpoint, None).await["tables"], json!([]));
    let stranger = endpoint.house.token("sam", &["gardener"]);
    assert_eq!(tables(&endpoint, Some(&stranger)).await["tables"], json!([]));
}

#[tokio::test]
async fn the_purpose_is_the_one_parameter() {
    let endpoint = Endpoint::open().await;
    let token = endpoint.house.token("kim", &["keeper", "counter"]);
    let ask = |query: &str| {
        let path = format!("/v1/tables?{query}");
        let (endpoint, token) = (&endpoint, &token);
        async move { endpoint.ask("GET", &path, Some(token), "").await }
    };
    assert_eq!(ask("purpose=care").await.json()["purpose"], "care");
    assert_eq!(ask("purpose=billing").await.code(), "forbidden");
    assert_eq!(ask("purpose=care&purpose=bi").await.code(), "invalid_request");
    assert_eq!(ask("purpos=care").await.code(), "invalid_request");
}

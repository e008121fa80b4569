//! The demo's schema registry: as much of the REST interface as producers and ingest ask for, in this process.
//!
//! Its schemas are kept in the demo's folder, so that what an earlier start wrote can still be read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use axum::extract::{Path as InPath, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

const FILE: &str = "schemas.json";

/// A running registry; it ends when this is dropped.
pub(super) struct SchemaRegistry {
    pub(super) url: String,
    server: JoinHandle<()>,
}

/// A schema; its id is its place, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Schema {
    schema: String,
    schema_type: String,
}

struct Kept {
    file: PathBuf,
    schemas: Mutex<Vec<Schema>>,
}

impl SchemaRegistry {
    /// Starts on a free port of this machine, with what the folder keeps.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join(FILE);
        let schemas = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let kept = Arc::new(Kept { file, schemas: Mutex::new(schemas) });
        let router = Router::new()
            .route("/schemas/ids/{id}", get(schema))
            .route("/subjects/{subject}/versions", post(register))
            .with_state(kept);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("there is no free port")?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(async move {
            // It ends with the demo alone; who asks an ended one waits.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, server })
    }
}

impl Drop for SchemaRegistry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn schema(State(kept): State<Arc<Kept>>, InPath(id): InPath<usize>) -> (StatusCode, Json<Value>) {
    let schemas = kept.schemas.lock().await;
    match id.checked_sub(1).and_then(|place| schemas.get(place)) {
        Some(schema) => (StatusCode::OK, Json(json!(schema))),
        None => (StatusCode::NOT_FOUND, Json(json!({"error_code": 40403, "message": "Schema not found"}))),
    }
}

async fn register(State(kept): State<Arc<Kept>>, Json(schema): Json<Schema>) -> (StatusCode, Json<Value>) {
    let mut schemas = kept.schemas.lock().await;
    let place = match schemas.iter().position(|known| *known == schema) {
        Some(place) => place,
        None => {
            schemas.push(schema);
            if keep(&kept.file, &schemas).is_err() {
                schemas.pop();
                let message = json!({"error_code": 50001, "message": "The schema cannot be kept"});
                return (StatusCode::INTERNAL_SERVER_ERROR, Json(message));
            }
            schemas.len() - 1
        }
    };
    (StatusCode::OK, Json(json!({"id": place + 1})))
}

/// Whole or not at all.
fn keep(file: &Path, schemas: &[Schema]) -> anyhow::Result<()> {
    let new = file.with_extension("json.new");
    std::fs::write(&new, serde_json::to_vec_pretty(schemas)?)?;
    Ok(std::fs::rename(&new, file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ids_stay_over_a_start_and_an_unknown_one_has_the_registrys_own_code() {
        let folder = tempfile::tempdir().unwrap();
        let client = reqwest::Client::new();
        let mut ids = Vec::new();
        for round in 0..2 {
            let registry = SchemaRegistry::start(folder.path()).await.unwrap();
            for schema in ["\"int\"", "\"long\"", "\"int\""] {
                let body = json!({"schema": schema, "schemaType": "AVRO"});
                let answer = client.post(format!("{}/subjects/t-value/versions", registry.url)).json(&body);
                let answer: Value = answer.send().await.unwrap().json().await.unwrap();
                ids.push(answer["id"].as_u64().unwrap());
            }
            let ask = async |id: u32| client.get(format!("{}/schemas/ids/{id}", registry.url)).send().await.unwrap();
            let known: Value = ask(2).await.json().await.unwrap();
            assert_eq!(known["schema"], "\"long\"", "round {round}");
            for id in [0, 3] {
                let unknown = ask(id).await;
                assert_eq!(unknown.status(), 404);
                assert_eq!(unknown.json::<Value>().await.unwrap()["error_code"], 40403);
            }
        }
        assert_eq!(ids, [1, 2, 1, 1, 2, 1]);
    }
}

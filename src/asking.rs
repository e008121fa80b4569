//! Asking a running endpoint over HTTP, as any client would.

use anyhow::{Context, bail};
use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use reqwest::StatusCode;
use serde::Deserialize;

/// Media type of an Arrow IPC stream.
pub(crate) const ARROW: &str = "application/vnd.apache.arrow.stream";

/// The metadata of an answer's field that says how the column is shown.
pub(crate) const LEVEL: &str = "lakeward.level";

/// What an endpoint says when it refuses (RFC 9457).
#[derive(Debug, Deserialize)]
struct Problem {
    code: Option<String>,
    title: Option<String>,
    detail: Option<String>,
    position: Option<Position>,
}

#[derive(Debug, Deserialize)]
struct Position {
    line: u64,
    column: u64,
}

/// Sends a statement; gives the answer as it begins, or the endpoint's sentence as the error.
pub(crate) async fn ask(
    url: &str,
    token: Option<&str>,
    purpose: Option<&str>,
    statement: &str,
    accept: &str,
) -> anyhow::Result<reqwest::Response> {
    let mut body = serde_json::json!({ "sql": statement });
    if let Some(purpose) = purpose {
        body["purpose"] = purpose.into();
    }
    let url = format!("{}/v1/sql", url.trim_end_matches('/'));
    let mut request = reqwest::Client::new().post(&url).header("accept", accept).json(&body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response =
        request.send().await.with_context(|| format!("no answer from {url}: is an endpoint running there?"))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    // The endpoint says no more than that, on purpose; what to do is known here all the same.
    match (status, token) {
        (StatusCode::UNAUTHORIZED, Some(_)) => {
            bail!(
                "the token was not accepted: it has expired, or is not meant for {url}; get a new one [unauthenticated]"
            );
        }
        (StatusCode::UNAUTHORIZED, None) => {
            bail!("{url} answers nobody without a token: give one by --token or LAKEWARD_TOKEN [unauthenticated]");
        }
        _ => {}
    }
    let Ok(problem) = response.json::<Problem>().await else {
        bail!("the endpoint answered {status}");
    };
    let place = problem.position.map(|at| format!(" at line {}, column {}", at.line, at.column)).unwrap_or_default();
    let code = problem.code.map(|code| format!(" [{code}]")).unwrap_or_default();
    let sentence = problem.detail.or(problem.title).unwrap_or_else(|| status.to_string());
    bail!("{sentence}{place}{code}")
}

/// The next piece of an answer's body.
pub(crate) async fn chunk(response: &mut reqwest::Response) -> anyhow::Result<Option<Bytes>> {
    response.chunk().await.context("the endpoint broke the answer off: what came so far is not whole")
}

/// All rows of an answer that was asked for as [`ARROW`].
pub(crate) async fn rows(mut response: reqwest::Response) -> anyhow::Result<Vec<RecordBatch>> {
    let mut body = Vec::new();
    while let Some(piece) = chunk(&mut response).await? {
        body.extend_from_slice(&piece);
    }
    Ok(StreamReader::try_new(body.as_slice(), None)?.collect::<Result<_, _>>()?)
}

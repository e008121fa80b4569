//! An answer on its way to the client: its headers, and its body as it comes.

use std::io;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::StreamExt;
use http_body::Frame;
use http_body_util::StreamBody;
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use super::accept::Format;
use super::encode::{Encoder, Ending, Then, encoder};
use super::problem::{Problem, REQUEST_ID};
use crate::gateway::sql_type;
use crate::{Answer, ColumnLevel, QueryError};

/// The most rows an answer has.
pub(super) const ROW_LIMIT: &str = "x-lakeward-row-limit";
/// How long a statement may take, in milliseconds.
pub(super) const TIME_LIMIT: &str = "x-lakeward-time-limit-ms";
/// The level of each column, in order, separated by commas; `-` where a column has none.
pub(super) const LEVELS: &str = "x-lakeward-levels";
/// The purpose under which the answer was given.
pub(super) const PURPOSE: &str = "x-lakeward-purpose";
/// In the trailer: rows were cut off.
pub(super) const TRUNCATED: &str = "x-lakeward-truncated";

/// A column of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Column {
    /// Name, as the statement gives it.
    name: String,
    /// SQL type.
    #[serde(rename = "type")]
    data_type: String,
    /// `clear`, `generalised`, `pseudonym`, `hidden`, or `varies` from row to row.
    level: Option<String>,
}

/// The columns of an answer with their levels.
pub(super) fn columns(schema: &SchemaRef) -> Vec<Column> {
    schema
        .fields()
        .iter()
        .map(|field| Column {
            name: field.name().clone(),
            data_type: sql_type(field.data_type()),
            level: field.metadata().get(ColumnLevel::METADATA_KEY).cloned(),
        })
        .collect()
}

/// What an answer is told about its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) request_id: &'a str,
    pub(super) purpose: &'a str,
    pub(super) format: Format,
}

/// Sends an answer. Waits for the first batch, so that an early failure still has a status of its own.
pub(super) async fn send(asked: Asked<'_>, answer: Answer) -> Result<Response, QueryError> {
    let mut answer = if asked.format == Format::Arrow { answer.without_views() } else { answer };
    let encoder = encoder(asked.format, &answer.schema)?;
    let first = answer.stream.next().await.transpose()?;
    let headers = headers(asked, &answer);
    let sending = Sending { answer, first, encoder, stage: Stage::Head, request_id: asked.request_id.to_owned() };
    let frames = futures::stream::unfold(sending, |mut sending| async {
        let frame = sending.next().await?;
        Some((frame, sending))
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    *response.headers_mut() = headers;
    Ok(response)
}

fn headers(asked: Asked<'_>, answer: &Answer) -> HeaderMap {
    let levels: Vec<&str> = answer
        .schema
        .fields()
        .iter()
        .map(|field| field.metadata().get(ColumnLevel::METADATA_KEY).map_or("-", String::as_str))
        .collect();
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str| {
        // A name of a purpose that is no header's value is left out: the body has been authorised under it all the same.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("content-type", asked.format.content_type());
    set("cache-control", "no-store");
    set("x-content-type-options", "nosniff");
    set(REQUEST_ID, asked.request_id);
    set(ROW_LIMIT, &answer.row_limit.to_string());
    set(TIME_LIMIT, &answer.time_limit.as_millis().to_string());
    set(LEVELS, &levels.join(","));
    set(PURPOSE, asked.purpose);
    if matches!(asked.format, Format::Csv | Format::Arrow) {
        // HTTP/1.1 sends only the trailers that the head announces.
        set("trailer", TRUNCATED);
    }
    headers
}

struct Sending {
    answer: Answer,
    first: Option<RecordBatch>,
    encoder: Box<dyn Encoder>,
    stage: Stage,
    request_id: String,
}

enum Stage {
    Head,
    Rows,
    After(Then),
}

impl Sending {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, io::Error>> {
        loop {
            let bytes = match self.stage {
                Stage::Head => {
                    self.stage = Stage::Rows;
                    match self.encoder.begin() {
                        Ok(bytes) => bytes,
                        Err(_) => self.fail(not_encoded(&self.request_id)),
                    }
                }
                Stage::Rows => self.rows().await,
                Stage::After(then) => {
                    self.stage = Stage::After(Then::Close);
                    return after(then);
                }
            };
            if !bytes.is_empty() {
                return Some(Ok(Frame::data(bytes)));
            }
        }
    }

    async fn rows(&mut self) -> Bytes {
        let next = match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.answer.stream.next().await,
        };
        let encoded = match next {
            Some(Ok(batch)) => self.encoder.batch(&batch),
            Some(Err(error)) => return self.fail(error),
            None => self.encoder.end(self.answer.truncated.load(Ordering::Acquire)).map(|ending| self.finish(ending)),
        };
        encoded.unwrap_or_else(|_| self.fail(not_encoded(&self.request_id)))
    }

    fn fail(&mut self, error: QueryError) -> Bytes {
        let ending = self.encoder.fail(&Problem::from(error).of(&self.request_id));
        self.finish(ending)
    }

    fn finish(&mut self, ending: Ending) -> Bytes {
        self.stage = Stage::After(ending.then);
        ending.bytes
    }
}

fn after(then: Then) -> Option<Result<Frame<Bytes>, io::Error>> {
    match then {
        Then::Close => None,
        Then::TruncatedTrailer => {
            let trailer = (HeaderName::from_static(TRUNCATED), HeaderValue::from_static("true"));
            Some(Ok(Frame::trailers(HeaderMap::from_iter([trailer]))))
        }
        Then::Abort => Some(Err(io::Error::other("the statement failed after its first rows"))),
    }
}

/// The text of an encoding error may hold a cell: neither client nor log gets it.
fn not_encoded(request_id: &str) -> QueryError {
    error!(request_id, "rows could not be encoded");
    QueryError::internal()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use axum::body::to_bytes;
    use datafusion::arrow::array::{Int64Array, StringArray};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::arrow::ipc::reader::StreamReader;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::ErrorCode;

    fn schema() -> SchemaRef {
        let level = [(ColumnLevel::METADATA_KEY.to_owned(), "pseudonym".to_owned())].into();
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8, true).with_metadata(level),
            Field::new("n", DataType::Int64, true),
        ]))
    }

    fn batch(ids: [Option<&str>; 2], first: i64) -> RecordBatch {
        let numbers = Int64Array::from(vec![first, first + 1]);
        RecordBatch::try_new(schema(), vec![Arc::new(StringArray::from_iter(ids)), Arc::new(numbers)]).unwrap()
    }

    fn answer(items: Vec<Result<RecordBatch, QueryError>>, truncated: bool) -> Answer {
        Answer {
            schema: schema(),
            stream: futures::stream::iter(items).boxed(),
            row_limit: 4,
            truncated: Arc::new(AtomicBool::new(truncated)),
            time_limit: Duration::from_secs(3),
        }
    }

    fn two_batches() -> Vec<Result<RecordBatch, QueryError>> {
        vec![Ok(batch([Some("a"), None], 1)), Ok(batch([Some("c,\"d\"\n"), Some("")], 3))]
    }

    fn failing() -> Vec<Result<RecordBatch, QueryError>> {
        let failure = QueryError::new(ErrorCode::Evaluation, "a value could not be computed");
        vec![Ok(batch([Some("a"), None], 1)), Err(failure)]
    }

    async fn sent(format: Format, answer: Answer) -> Response {
        send(Asked { request_id: "r-1", purpose: "care", format }, answer).await.unwrap()
    }

    async fn text(format: Format, answer: Answer) -> String {
        let body = to_bytes(sent(format, answer).await.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// What arrives of a body, and whether it ended well.
    async fn arrived(response: Response) -> (Vec<u8>, bool) {
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap()),
                Err(_) => return (bytes, false),
            }
        }
        (bytes, true)
    }

    #[tokio::test]
    async fn json_holds_columns_with_levels_and_rows_with_nulls() {
        let body: Value = serde_json::from_str(&text(Format::Json, answer(two_batches(), false)).await).unwrap();
        assert_eq!(
            body,
            json!({
                "columns": [
                    {"name": "id", "type": "string", "level": "pseudonym"},
                    {"name": "n", "type": "bigint", "level": null},
                ],
                "rows": [
                    {"id": "a", "n": 1}, {"id": null, "n": 2}, {"id": "c,\"d\"\n", "n": 3}, {"id": "", "n": 4},
                ],
                "truncated": false,
            })
        );
    }

    #[tokio::test]
    async fn an_answer_without_rows_is_whole_in_every_form() {
        let empty = || answer(vec![Ok(RecordBatch::new_empty(schema()))], false);
        let body: Value = serde_json::from_str(&text(Format::Json, empty()).await).unwrap();
        assert_eq!(body["rows"], json!([]));
        assert_eq!(text(Format::Csv, empty()).await, "id,n\n");
        assert_eq!(text(Format::Ndjson, empty()).await, "");
        let (bytes, _) = arrived(sent(Format::Arrow, empty()).await).await;
        assert_eq!(StreamReader::try_new(bytes.as_slice(), None).unwrap().schema(), schema());
    }

    #[tokio::test]
    async fn ndjson_has_a_row_a_line() {
        let text = text(Format::Ndjson, answer(two_batches(), false)).await;
        let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[1], json!({"id": null, "n": 2}));
    }

    #[tokio::test]
    async fn csv_has_a_line_of_names_and_quotes_what_needs_it() {
        let text = text(Format::Csv, answer(two_batches(), false)).await;
        assert_eq!(text, "id,n\na,1\n,2\n\"c,\"\"d\"\"\n\",3\n,4\n");
    }

    #[tokio::test]
    async fn an_arrow_stream_holds_the_batches_and_the_levels() {
        let (bytes, whole) = arrived(sent(Format::Arrow, answer(two_batches(), false)).await).await;
        assert!(whole);
        let reader = StreamReader::try_new(bytes.as_slice(), None).unwrap();
        assert_eq!(reader.schema(), schema());
        let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>().unwrap();
        assert_eq!(batches, two_batches().into_iter().collect::<Result<Vec<_>, _>>().unwrap());
    }

    #[tokio::test]
    async fn the_head_tells_limits_levels_and_purpose() {
        let response = sent(Format::Csv, answer(two_batches(), false)).await;
        let head = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(head(REQUEST_ID), "r-1");
        assert_eq!(head(ROW_LIMIT), "4");
        assert_eq!(head(TIME_LIMIT), "3000");
        assert_eq!(head(LEVELS), "pseudonym,-");
        assert_eq!(head(PURPOSE), "care");
        assert_eq!(head("cache-control"), "no-store");
    }

    #[tokio::test]
    async fn rows_that_were_cut_off_are_told() {
        let cut = || answer(two_batches(), true);
        let body: Value = serde_json::from_str(&text(Format::Json, cut()).await).unwrap();
        assert_eq!(body["truncated"], true);
        assert!(text(Format::Ndjson, cut()).await.ends_with("\n{\"lakeward:truncated\":true}\n"));
        for format in [Format::Csv, Format::Arrow] {
            let response = sent(format, cut()).await;
            assert_eq!(response.headers()["trailer"], TRUNCATED);
            let trailers = response.into_body().collect().await.unwrap().trailers().cloned().unwrap();
            assert_eq!(trailers[TRUNCATED], "true");
        }
    }

    #[tokio::test]
    async fn a_failure_before_the_first_row_has_a_status_of_its_own() {
        let failed = answer(vec![Err(QueryError::time_limit())], false);
        let asked = Asked { request_id: "r-1", purpose: "care", format: Format::Json };
        assert_eq!(send(asked, failed).await.unwrap_err().code, ErrorCode::TimeLimit);
    }

    #[tokio::test]
    async fn a_failure_after_the_first_rows_shows_in_every_form() {
        let body: Value = serde_json::from_str(&text(Format::Json, answer(failing(), false)).await).unwrap();
        assert_eq!(body["error"]["code"], "evaluation");
        assert_eq!(body["rows"].as_array().unwrap().len(), 2);
        assert_eq!(body.get("truncated"), None);
        for format in [Format::Ndjson, Format::Csv, Format::Arrow] {
            let (bytes, whole) = arrived(sent(format, answer(failing(), false)).await).await;
            assert!(!whole, "{format:?} was taken for whole");
            assert!(!bytes.is_empty(), "{format:?}");
        }
        let (bytes, _) = arrived(sent(Format::Ndjson, answer(failing(), false)).await).await;
        assert!(String::from_utf8(bytes).unwrap().contains("\"lakeward:error\":{"));
    }
}

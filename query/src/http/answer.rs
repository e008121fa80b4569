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
use crate::{Answer, ColumnLevel, QueryError, RequestContext};

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

/// Sends an answer. Waits for the first batch, so that an early failure still has a status of its own.
pub(super) async fn send(context: &RequestContext, format: Format, mut answer: Answer) -> Result<Response, QueryError> {
    let encoder = encoder(format, &answer.schema)?;
    let first = answer.stream.next().await.transpose()?;
    let headers = headers(context, format, &answer);
    let sending = Sending { answer, first, encoder, stage: Stage::Head, request_id: context.request_id.clone() };
    let frames = futures::stream::unfold(sending, |mut sending| async {
        let frame = sending.next().await?;
        Some((frame, sending))
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    *response.headers_mut() = headers;
    Ok(response)
}

fn headers(context: &RequestContext, format: Format, answer: &Answer) -> HeaderMap {
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
    set("content-type", format.content_type());
    set("cache-control", "no-store");
    set("x-content-type-options", "nosniff");
    set(REQUEST_ID, &context.request_id);
    set(ROW_LIMIT, &answer.row_limit.to_string());
    set(TIME_LIMIT, &answer.time_limit.as_millis().to_string());
    set(LEVELS, &levels.join(","));
    set(PURPOSE, &context.principal.purpose);
    if matches!(format, Format::Csv | Format::Arrow) {
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

//! `POST /v1/sql`: one question, answered as JSON, NDJSON or CSV.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use serde::Deserialize;

use super::ServerState;
use super::reply::{CorrelationId, JSON, META, body_of};
use crate::answer::Answer;
use crate::error::{Error, Result};
use crate::format::{Format, write_envelope, write_rows};
use crate::request::{AsOf, Request};

/// An answer of more rows is written on a thread that may take its time.
const ROWS_INLINE_MAX: usize = 2_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    sql: String,
    #[serde(default)]
    format: Option<String>,
    #[serde(default)]
    as_of: Option<AsOf>,
}

pub(super) async fn sql(
    State(state): State<ServerState>,
    Extension(CorrelationId(correlation_id)): Extension<CorrelationId>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response> {
    let question = read(&body.map_err(unreadable)?)?;
    let format = match question.format.as_deref() {
        None => Format::Json,
        Some(name) => name.parse()?,
    };
    let Question { sql, as_of, .. } = question;
    let request = Request { sql, as_of, correlation_id, ..Request::default() };
    let answer = state.engine.query(request).await?;
    if answer.rows() <= ROWS_INLINE_MAX {
        return reply(&answer, format);
    }
    let written = tokio::task::spawn_blocking(move || reply(&answer, format)).await;
    written.map_err(|error| Error::internal("write an answer").with_source(error))?
}

fn read(body: &[u8]) -> Result<Question> {
    serde_json::from_slice(body).map_err(|error| {
        Error::bad_request("invalid_body", format!("read the body of a request: {error}"))
            .with_hint(
                r#"send {"sql": "SELECT …", "format": "json", "as_of": {…}}; only sql is needed"#,
            )
    })
}

fn unreadable(rejection: BytesRejection) -> Error {
    let status = rejection.status();
    if status == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
        return Error::bad_request("body_too_large", "read the body of a request: it is too large")
            .with_hint("a question is at most one MiB");
    }
    Error::bad_request("invalid_body", format!("read the body of a request: {rejection}"))
}

fn reply(answer: &Answer, format: Format) -> Result<Response> {
    let mut out = Vec::new();
    let (written, content_type) = match format {
        Format::Json => (write_envelope(answer, &mut out), JSON),
        Format::Ndjson => (write_rows(answer, format, &mut out), "application/x-ndjson"),
        Format::Csv => (write_rows(answer, format, &mut out), "text/csv; charset=utf-8"),
        Format::Table => (write_rows(answer, format, &mut out), "text/plain; charset=utf-8"),
    };
    written.map_err(|error| Error::internal("write an answer").with_source(error))?;
    let mut response = body_of(content_type, out);
    tell_meta(answer, response.headers_mut());
    Ok(response)
}

/// A longer header is refused by clients and proxies.
const HEADER_BYTES_MAX: usize = 8_192;

/// What rows alone do not say: the `meta` of the JSON answer, without the list of gaps, and
/// without the token where one input of thousands makes it too long.
fn tell_meta(answer: &Answer, headers: &mut HeaderMap) {
    let mut meta = serde_json::to_value(&answer.meta).unwrap_or_default();
    if let Some(gaps) = meta["gaps"].as_object_mut() {
        gaps.remove("shown");
    }
    let mut text = meta.to_string();
    if text.len() > HEADER_BYTES_MAX {
        meta["as_of"] = serde_json::Value::Null;
        text = meta.to_string();
    }
    // Names of files may be in any language, which a header carries as bytes.
    if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
        headers.insert(META, value);
    }
}

//! What all answers over HTTP have in common: correlation ids, the time limit, the error envelope.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::ask::Ask;
use super::page::{Begun, Page};
use super::partial;
use super::routes;
use crate::answer::{Answer, Meta, MomentMeta, Pagination, Sources};
use crate::correlation;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Format, end_page, write_page, write_rows};
use crate::request::AsOf;

/// Where an answer says what it is an answer of, whatever its body is.
pub(super) const META: &str = "x-k2-meta";
/// Where an answer that is rows alone says how to go on.
pub(super) const PAGINATION: &str = "x-k2-pagination";

/// Ties a request, its answer and the log lines of both together.
#[derive(Clone, Debug)]
pub(super) struct CorrelationId(pub(super) String);

/// Gives each request its id and its time.
pub(super) async fn with_limits(mut request: Request, next: Next, time_max: Duration) -> Response {
    let id = correlation_id_of(&request);
    request.extensions_mut().insert(CorrelationId(id.clone()));
    let mut response = match tokio::time::timeout(time_max, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("answer a request: it took longer than {time_max:?}");
            let error = Error::new(ErrorKind::LimitReached, "limit_time", message);
            error.with_hint("send the request at once, and ask for less").into_response()
        }
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(correlation::HEADER, id);
    }
    response
}

fn correlation_id_of(request: &Request) -> String {
    let given = request.headers().get(correlation::HEADER).and_then(|id| id.to_str().ok());
    correlation::id_of(given)
}

pub(super) async fn unknown_path(uri: Uri) -> Error {
    let path = uri.path();
    Error::bad_request("unknown_path", format!("answer a request: there is no path {path}"))
        .with_hint(routes::hint())
}

pub(super) async fn wrong_method(route: Option<MatchedPath>, method: Method, uri: Uri) -> Error {
    let path = uri.path();
    let with = |route: MatchedPath| {
        let methods = routes::methods_of(route.as_str());
        format!("ask {path} with {methods}")
    };
    let hint = route.map_or_else(routes::hint, with);
    Error::bad_request("wrong_method", format!("answer a request: {path} does not take {method}"))
        .with_hint(hint)
}

/// The body of a kind of content.
pub(super) fn body_of(content_type: &'static str, body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, content_type)], Body::from(body)).into_response()
}

/// How a client wants its answer.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) format: Format,
    pub(super) encoding: Encoding,
    pub(super) if_none_match: Option<String>,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Gzip,
    Zstd,
}

/// A smaller body is not worth compressing.
const COMPRESSED_BYTES_MIN: usize = 1_024;
/// Of gzip and zstd: answers are sent once, so speed counts more than size.
pub(super) const COMPRESSION_LEVEL: u32 = 1;

impl Wanted {
    pub(super) fn of(format: Format, headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|it| it.to_str().ok());
        let encoding = Encoding::of(text(header::ACCEPT_ENCODING).unwrap_or_default());
        let if_none_match = text(header::IF_NONE_MATCH).map(str::to_owned);
        Self { format, encoding, if_none_match }
    }
}

impl Encoding {
    /// The best of those that `accepted`, an Accept-Encoding, lists.
    fn of(accepted: &str) -> Self {
        let takes = |wanted: &str| {
            accepted.split(',').any(|item| {
                let mut parts = item.split(';').map(str::trim);
                let is_wanted = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
                let is_refused = parts
                    .filter_map(|part| part.strip_prefix("q="))
                    .any(|weight| weight.parse() == Ok(0.0));
                is_wanted && !is_refused
            })
        };
        match (takes("zstd"), takes("gzip")) {
            (true, _) => Self::Zstd,
            (false, true) => Self::Gzip,
            (false, false) => Self::Plain,
        }
    }

    fn compress(self, body: Vec<u8>) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(body),
            Self::Gzip => {
                let level = flate2::Compression::new(COMPRESSION_LEVEL);
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
                gzip.write_all(&body)?;
                gzip.finish()
            }
            Self::Zstd => zstd::bulk::compress(&body, COMPRESSION_LEVEL.cast_signed()),
        }
    }

    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// About how long a body is, besides its rows, and a row: so that it need not grow often.
const BODY_BYTES: usize = 4 << 10;
const ROW_BYTES: usize = 480;

/// About how long the body of so many rows is. Of long answers nobody knows how wide they are, and
/// they are few.
pub(super) fn body_bytes(rows: usize) -> usize {
    BODY_BYTES + rows.min(ROWS_INLINE_MAX) * ROW_BYTES
}

/// An answer of more rows is written on a thread that may take its time.
pub(super) const ROWS_INLINE_MAX: usize = 2_000;

/// `page` as the client wants it.
pub(super) async fn respond(ask: &Ask, page: Page) -> Result<Response> {
    partial::check(ask.on_partial(), &page.answer.meta)?;
    if ask.is_any_known() {
        return Ok(not_modified(ask));
    }
    let mut response = write(page, ask.wanted.clone()).await?;
    if let Some(tag) = ask.tag().and_then(|tag| HeaderValue::try_from(tag).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// `page` in a format, compressed if that is wanted and of use.
pub(super) async fn write(page: Page, wanted: Wanted) -> Result<Response> {
    // Parquet waits for threads that may be encoding the row groups of long exports.
    if page.rows() <= ROWS_INLINE_MAX && wanted.format != Format::Parquet {
        return written(page, &wanted);
    }
    let written = tokio::task::spawn_blocking(move || written(page, &wanted)).await;
    written.map_err(|error| Error::internal("write an answer").with_source(error))?
}

fn written(page: Page, wanted: &Wanted) -> Result<Response> {
    let Page { answer, pagination, begun } = page;
    let failed = |error: std::io::Error| Error::internal("write an answer").with_source(error);
    let body = match begun {
        Some(Begun { mut body, .. }) => {
            end_page(&answer.meta, &pagination, &mut body).map(|()| body)
        }
        None => whole_body(&answer, &pagination, wanted.format),
    };
    let body = body.map_err(failed)?;
    let is_worth_it = body.len() >= COMPRESSED_BYTES_MIN && wanted.format != Format::Parquet;
    let encoding = if is_worth_it { wanted.encoding } else { Encoding::Plain };
    let mut response =
        body_of(wanted.format.content_type(), encoding.compress(body).map_err(failed)?);
    let headers = response.headers_mut();
    if let Some(name) = encoding.name() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    tell_that_it_varies(headers);
    tell_meta(MetaHeader::whole(&answer.meta), headers);
    let text = serde_json::to_string(&pagination).unwrap_or_default();
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(PAGINATION, value);
    }
    Ok(response)
}

fn whole_body(
    answer: &Answer,
    pagination: &Pagination,
    format: Format,
) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(body_bytes(answer.rows()));
    match format {
        Format::Json => write_page(answer, pagination, &mut body)?,
        format => write_rows(answer, format, &mut body)?,
    }
    Ok(body)
}

/// The same path has several answers, by what the client accepts.
pub(super) fn tell_that_it_varies(headers: &mut HeaderMap) {
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
}

/// The client has the answer already.
pub(super) fn not_modified(ask: &Ask) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    if let Some(tag) = ask.tag().and_then(|tag| HeaderValue::try_from(tag).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// A longer header is refused by clients and proxies.
const HEADER_BYTES_MAX: usize = 8_192;

/// What rows alone do not say: the `meta` of the JSON answer, without the list of gaps.
#[derive(Serialize)]
struct MetaHeader<'a> {
    /// This and the time are null before the rows are found.
    sources: Option<Sources>,
    snapshot_id: Option<i64>,
    snapshots: &'a BTreeMap<&'static str, i64>,
    #[serde(skip_serializing_if = "<[MomentMeta]>::is_empty")]
    moments: &'a [MomentMeta],
    /// Null where one input of thousands makes it too long.
    as_of: Option<&'a AsOf>,
    complete: bool,
    gaps: GapsHeader,
    deferred: u64,
    warnings: &'a [String],
    query_time_ms: Option<f64>,
    correlation_id: &'a str,
}

#[derive(Serialize)]
struct GapsHeader {
    open: u64,
    missing: u64,
}

impl<'a> MetaHeader<'a> {
    fn so_far(meta: &'a Meta) -> Self {
        Self {
            sources: None,
            snapshot_id: meta.snapshot_id,
            snapshots: &meta.snapshots,
            moments: &meta.moments,
            as_of: Some(&meta.as_of),
            complete: meta.complete,
            gaps: GapsHeader { open: meta.gaps.open, missing: meta.gaps.missing },
            deferred: meta.deferred,
            warnings: &meta.warnings,
            query_time_ms: None,
            correlation_id: &meta.correlation_id,
        }
    }

    fn whole(meta: &'a Meta) -> Self {
        let (sources, time) = (Some(meta.sources), Some(meta.query_time_ms));
        Self { sources, query_time_ms: time, ..Self::so_far(meta) }
    }
}

fn tell_meta(meta: MetaHeader<'_>, headers: &mut HeaderMap) {
    let mut text = serde_json::to_string(&meta).unwrap_or_default();
    if text.len() > HEADER_BYTES_MAX {
        let meta = MetaHeader { as_of: None, ..meta };
        text = serde_json::to_string(&meta).unwrap_or_default();
    }
    // Names of files may be in any language, which a header carries as bytes.
    if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
        headers.insert(META, value);
    }
}

/// As [`tell_meta`], before the rows are found.
pub(super) fn tell_meta_so_far(meta: &Meta, headers: &mut HeaderMap) {
    tell_meta(MetaHeader::so_far(meta), headers);
}

pub(super) const JSON: &str = "application/json";

fn status_of(error: &Error) -> StatusCode {
    match (error.kind(), error.code()) {
        (_, "unknown_path") => StatusCode::NOT_FOUND,
        (_, "wrong_method") => StatusCode::METHOD_NOT_ALLOWED,
        (
            _,
            "unknown_symbol" | "unknown_venue" | "unknown_snapshot" | "unknown_tag" | "no_data",
        ) => StatusCode::NOT_FOUND,
        (_, "no_key" | "unknown_key" | "revoked_key") => StatusCode::UNAUTHORIZED,
        (_, "out_of_scope" | "foreign_origin") => StatusCode::FORBIDDEN,
        (_, "foreign_host") => StatusCode::MISDIRECTED_REQUEST,
        (_, "rate_limited") => StatusCode::TOO_MANY_REQUESTS,
        (_, "headers_too_large") => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        (_, "snapshot_expired") => StatusCode::GONE,
        (_, "not_acceptable") => StatusCode::NOT_ACCEPTABLE,
        (_, "body_too_large") => StatusCode::PAYLOAD_TOO_LARGE,
        (_, "wrong_content_type") => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        (ErrorKind::BadRequest, _) => StatusCode::BAD_REQUEST,
        (ErrorKind::LimitReached, "limit_time") => StatusCode::GATEWAY_TIMEOUT,
        (ErrorKind::LimitReached, _) => StatusCode::UNPROCESSABLE_ENTITY,
        (ErrorKind::Unavailable, _) => StatusCode::SERVICE_UNAVAILABLE,
        (ErrorKind::Internal, _) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = status_of(&self);
        if status.is_server_error() {
            tracing::warn!(error = %self, "a request failed");
        }
        let mut envelope = serde_json::json!({
            "success": false,
            "error": { "code": self.code(), "message": self.message(), "hint": self.hint() },
        });
        if !self.fields().is_empty() {
            envelope["error"]["fields"] = serde_json::json!(self.fields());
        }
        let mut response = body_of(JSON, envelope.to_string().into_bytes());
        *response.status_mut() = status;
        response
    }
}

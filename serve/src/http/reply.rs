//! What all answers over HTTP have in common: correlation ids, the time limit, the error envelope.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::{Error, ErrorKind};

/// Where an answer says what it is an answer of, whatever its body is.
pub(super) const META: &str = "x-k2-meta";
pub(super) const CORRELATION_ID: &str = "x-correlation-id";
/// Longer ids are not taken over.
const CORRELATION_ID_BYTES_MAX: usize = 128;

const PATHS: &str = "paths are GET /health, GET /metrics and POST /v1/sql";

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
        response.headers_mut().insert(CORRELATION_ID, id);
    }
    response
}

fn correlation_id_of(request: &Request) -> String {
    let given = request.headers().get(CORRELATION_ID).and_then(|id| id.to_str().ok());
    let is_sound = |id: &&str| {
        (1..=CORRELATION_ID_BYTES_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match given.filter(is_sound) {
        Some(id) => id.to_owned(),
        None => uuid::Uuid::now_v7().to_string(),
    }
}

pub(super) async fn unknown_path(uri: Uri) -> Error {
    let path = uri.path();
    Error::bad_request("unknown_path", format!("answer a request: there is no path {path}"))
        .with_hint(PATHS)
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> Error {
    let path = uri.path();
    Error::bad_request("wrong_method", format!("answer a request: {path} does not take {method}"))
        .with_hint(PATHS)
}

/// The body of a kind of content.
pub(super) fn body_of(content_type: &'static str, body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, content_type)], Body::from(body)).into_response()
}

pub(super) const JSON: &str = "application/json";

fn status_of(error: &Error) -> StatusCode {
    match (error.kind(), error.code()) {
        (_, "unknown_path") => StatusCode::NOT_FOUND,
        (_, "wrong_method") => StatusCode::METHOD_NOT_ALLOWED,
        (_, "body_too_large") => StatusCode::PAYLOAD_TOO_LARGE,
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
        let envelope = serde_json::json!({
            "success": false,
            "error": { "code": self.code(), "message": self.message(), "hint": self.hint() },
        });
        let mut response = body_of(JSON, envelope.to_string().into_bytes());
        *response.status_mut() = status;
        response
    }
}

//! One request, read: what it asks for, and how it wants to be answered.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, RawPathParamsRejection};
use axum::extract::{Query, RawPathParams};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use serde_json::Value as Json;

use super::parameters::{Given, Kind, Values};
use super::partial::OnPartial;
use super::reply::Wanted;
use super::routes::Route;
use super::{ServerState, distinct};
use crate::error::{Error, FieldError, Result};
use crate::format::Format;

/// What only says how an answer is written, or which part of it.
const NOT_THE_QUESTION: [&str; 5] = ["as_of", "cursor", "format", "limit", "on_partial"];

/// A request whose parameters are right.
pub(super) struct Ask {
    pub(super) state: ServerState,
    pub(super) route: &'static Route,
    pub(super) values: Values,
    pub(super) wanted: Wanted,
    pub(super) correlation_id: String,
}

/// A request as it came.
pub(super) struct Raw {
    pub(super) path: Result<RawPathParams, RawPathParamsRejection>,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<Bytes, BytesRejection>,
}

impl Ask {
    pub(super) fn read(
        state: ServerState,
        route: &'static Route,
        correlation_id: String,
        raw: Raw,
    ) -> Result<Self> {
        let mut given = Vec::new();
        if let Ok(path) = &raw.path {
            given.extend(
                path.iter().map(|(name, value)| (name.to_owned(), Given::Text(value.to_owned()))),
            );
        }
        given.extend(of_query(&raw.uri)?);
        if route.method.has_body() {
            given.extend(of_body(&raw.headers, &raw.body.map_err(unreadable)?)?);
        }
        let values = Values::read(route.parameters, given)?;
        let format = match values.text("format") {
            Some(name) => name.parse()?,
            None if route.parameters.iter().any(|it| matches!(it.kind, Kind::Format)) => {
                Format::of_accept(accept_of(&raw.headers))?
            }
            None => Format::Json,
        };
        let wanted = Wanted::of(format, &raw.headers);
        Ok(Self { state, route, values, wanted, correlation_id })
    }

    /// What the question is, whatever page of it is asked for.
    pub(super) fn question(&self) -> u64 {
        let canonical = self.values.canonical(&NOT_THE_QUESTION);
        self.state.secret.digest(format!("{} {canonical}", self.route.path).as_bytes())
    }

    /// Whether it names its moment itself: by a token, or by a snapshot in its path.
    pub(super) fn is_pinned(&self) -> bool {
        self.values.as_of().is_some() || self.values.integer("id").is_some()
    }

    /// The name of the answer, if it is of one moment for ever. Weak: it says how long it took.
    pub(super) fn tag(&self) -> Option<String> {
        let is_pinned = self.is_pinned() || self.values.text("cursor").is_some();
        let is_read = !self.route.method.has_body();
        (is_pinned && is_read).then(|| {
            let (format, version) = (self.wanted.format, env!("CARGO_PKG_VERSION"));
            let canonical = self.values.canonical(&[]);
            let whole = format!("{} {version} {format} {canonical}", self.route.path);
            format!("W/\"{:016x}\"", self.state.secret.digest(whole.as_bytes()))
        })
    }

    /// Whether the client has the answer already.
    pub(super) fn is_known(&self) -> bool {
        let known = self.wanted.if_none_match.as_deref().unwrap_or_default();
        self.tag().is_some_and(|tag| known.split(',').any(|it| it.trim() == tag))
    }

    /// Whether the client has some answer, which is the one that there is.
    pub(super) fn is_any_known(&self) -> bool {
        let known = self.wanted.if_none_match.as_deref().unwrap_or_default();
        known.trim() == "*" && self.tag().is_some()
    }

    pub(super) fn on_partial(&self) -> Option<OnPartial> {
        OnPartial::of(self.values.text("on_partial"))
    }
}

pub(super) fn accept_of(headers: &HeaderMap) -> &str {
    headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default()
}

fn of_query(uri: &Uri) -> Result<Vec<(String, Given)>> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|error| {
        Error::bad_request("invalid_parameters", format!("read the query of the path: {error}"))
            .with_hint("escape what is no letter or digit, as in %2B for +")
    })?;
    Ok(pairs.0.into_iter().map(|(name, value)| (name, Given::Text(value))).collect())
}

pub(super) fn of_body(headers: &HeaderMap, body: &[u8]) -> Result<Vec<(String, Given)>> {
    check_content_type(headers)?;
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let read = serde_json::from_slice::<Json>(body);
    match read.and_then(|json| distinct::check(body).map(|()| json)) {
        Ok(Json::Object(fields)) => {
            Ok(fields.into_iter().map(|(name, json)| (name, Given::Json(json))).collect())
        }
        Ok(_) => {
            let field = FieldError { field: String::new(), message: "must be an object".into() };
            Err(Error::bad_request("invalid_body", "read the body of a request: it is no object")
                .with_hint("send one JSON object")
                .with_fields(vec![field]))
        }
        Err(error) => {
            Err(Error::bad_request("invalid_body", format!("read the body of a request: {error}"))
                .with_hint("send one JSON object"))
        }
    }
}

/// curl names a form by default whatever it sends, so that is let pass.
fn check_content_type(headers: &HeaderMap) -> Result<()> {
    let Some(named) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let named = named.to_str().unwrap_or_default().to_ascii_lowercase();
    let essence = named.split(';').next().unwrap_or_default().trim();
    let is_json = essence == "application/json" || essence.ends_with("+json");
    if is_json || essence == "application/x-www-form-urlencoded" {
        return Ok(());
    }
    let message = format!("read the body of a request: its content type is {essence}");
    Err(Error::bad_request("wrong_content_type", message).with_hint("send application/json"))
}

pub(super) fn unreadable(rejection: BytesRejection) -> Error {
    let status = rejection.status();
    if status == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
        return Error::bad_request("body_too_large", "read the body of a request: it is too large")
            .with_hint("a question is at most one MiB");
    }
    Error::bad_request("invalid_body", format!("read the body of a request: {rejection}"))
}

/// Reads the request and answers it.
pub(super) async fn answer(
    state: ServerState,
    route: &'static Route,
    handler: super::routes::Asked,
    correlation_id: String,
    raw: Raw,
) -> Result<Response> {
    let ask = Ask::read(state, route, correlation_id, raw)?;
    if ask.is_known() {
        return Ok(super::reply::not_modified(&ask));
    }
    handler(ask).await
}

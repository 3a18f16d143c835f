//! `POST /v1/sql`: one question, answered in any format.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use k2_sinks::At;
use serde::Deserialize;

use super::ask::{accept_of, check_content_type, unreadable};
use super::page::Page;
use super::parameters::{Kind, Parameter};
use super::partial::{self, OnPartial};
use super::reply::{self, CorrelationId, Wanted};
use super::routes::ON_PARTIAL;
use super::streamed;
use super::{ServerState, distinct};
use crate::answer::Pagination;
use crate::error::{Error, Result};
use crate::format::Format;
use crate::request::{AsOf, Request, parse_at};

/// What [`Question`] reads, for the document.
pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter::new("sql", Kind::Text, "One SELECT over the tables and views.").required(),
    Parameter::new("format", Kind::Format, "Otherwise what Accept names."),
    Parameter::new("as_of", Kind::AsOf, "The as_of of an answer's meta."),
    Parameter::new(
        "at",
        Kind::Moment,
        "The committed tables at a snapshot, at a time, or at tag:NAME.",
    ),
    ON_PARTIAL,
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    sql: String,
    #[serde(default)]
    format: Option<String>,
    #[serde(default)]
    as_of: Option<AsOf>,
    #[serde(default)]
    at: Option<Moment>,
    #[serde(default)]
    on_partial: Option<OnPartial>,
}

/// The moment of a question, which may be the id of a snapshot as `/v1/snapshots` has it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "at is no snapshot, time or tag:NAME")]
enum Moment {
    Snapshot(i64),
    Text(String),
}

impl Moment {
    fn read(self) -> Result<At> {
        match self {
            Self::Snapshot(id) => parse_at(&id.to_string()),
            Self::Text(text) => parse_at(&text),
        }
    }
}

pub(super) async fn sql(
    State(state): State<ServerState>,
    Extension(CorrelationId(correlation_id)): Extension<CorrelationId>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response> {
    check_content_type(&headers)?;
    let question = read(&body.map_err(unreadable)?)?;
    let format = match question.format.as_deref() {
        None => Format::of_accept(accept_of(&headers))?,
        Some(name) => name.parse()?,
    };
    let Question { sql, as_of, at, on_partial, .. } = question;
    let at = at.map(Moment::read).transpose()?;
    let request = Request { sql, as_of, at, correlation_id, ..Request::default() };
    let wanted = Wanted::of(format, &headers);
    let engine = &state.engine;
    partial::answer(on_partial, engine, request, |request| async {
        if matches!(format, Format::Table | Format::Json) {
            // A table's columns are as wide as all rows together; an envelope is read as one value.
            let answer = engine.query(request).await?;
            partial::check(on_partial, &answer.meta)?;
            let pagination = Pagination::whole(answer.rows());
            return reply::write(Page::of(answer, pagination), wanted.clone()).await;
        }
        let answer = engine.stream(request).await?;
        partial::check(on_partial, &answer.meta())?;
        streamed::respond(answer, wanted.clone()).await
    })
    .await
}

fn read(body: &[u8]) -> Result<Question> {
    let read = serde_json::from_slice::<Question>(body);
    read.and_then(|question| distinct::check(body).map(|()| question)).map_err(|error| {
        Error::bad_request("invalid_body", format!("read the body of a request: {error}"))
            .with_hint(
                r#"send {"sql": "SELECT …", "format": "json", "as_of": {…}, "at": "tag:NAME"}; only sql is needed"#,
            )
    })
}

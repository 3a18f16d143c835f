//! `POST /v1/sql`: one question, answered in any format.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::ask::{accept_of, of_body, unreadable};
use super::page::Page;
use super::parameters::{Kind, Parameter, Values};
use super::partial::{self, OnPartial};
use super::reply::{self, CorrelationId, Wanted};
use super::routes::ON_PARTIAL;
use super::{ServerState, streamed};
use crate::answer::Pagination;
use crate::error::Result;
use crate::format::Format;
use crate::request::{Request, parse_at};

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

pub(super) async fn sql(
    State(state): State<ServerState>,
    Extension(CorrelationId(correlation_id)): Extension<CorrelationId>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response> {
    let given = of_body(&headers, &body.map_err(unreadable)?)?;
    let values = Values::read(PARAMETERS, given)?;
    let format = match values.text("format") {
        None => Format::of_accept(accept_of(&headers))?,
        Some(name) => name.parse()?,
    };
    let sql = values.text("sql").unwrap_or_default().to_owned();
    let as_of = values.as_of().cloned();
    let at = values.text("at").map(parse_at).transpose()?;
    let on_partial = OnPartial::of(values.text("on_partial"));
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

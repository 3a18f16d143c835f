//! What there is and how it is doing: symbols, tables, snapshots, gaps, feeds.

use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};
use axum::response::Response;

use super::ask::Ask;
use super::names;
use super::page::{GAPS, Listing, OrderedBy, Page, SNAPSHOTS, SYMBOLS};
use super::records::conditions;
use super::reply::respond;
use crate::answer::Pagination;
use crate::engine::sizes::SIZES;
use crate::error::Result;
use crate::literal;
use crate::schema;

pub(super) fn symbols_schema() -> SchemaRef {
    schema::SYMBOLS.clone()
}

pub(super) fn stats_schema() -> SchemaRef {
    SIZES.clone()
}

pub(super) fn snapshots_schema() -> SchemaRef {
    schema::SNAPSHOTS.clone()
}

pub(super) fn feeds_schema() -> SchemaRef {
    schema::FEED_HEALTH.clone()
}

/// Open gaps have all of it but when they were healed.
pub(super) fn gaps_schema() -> SchemaRef {
    let mut fields: Vec<Field> =
        schema::GAPS_OPEN.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.insert(7, Field::new("healed_ts", schema::nanos(), true));
    Arc::new(Schema::new(fields))
}

/// A page of the rows of `from` that fulfil `conditions`.
async fn list(
    ask: Ask,
    from: &str,
    conditions: Vec<String>,
    (order, is_descending): (&'static [OrderedBy], bool),
) -> Result<Response> {
    let listing = Listing {
        from: from.to_owned(),
        columns: None,
        conditions,
        order,
        is_descending,
        times: None,
        since: None,
    };
    let mut page = listing.page(&ask).await?;
    let rows = page.rows();
    names::check(&ask, rows, &mut page.answer.meta).await?;
    respond(&ask, page).await
}

pub(super) async fn symbols(ask: Ask) -> Result<Response> {
    let conditions = conditions(&ask.values, "last_ts", literal::moment);
    list(ask, "symbols", conditions, (SYMBOLS, false)).await
}

pub(super) async fn stats(ask: Ask) -> Result<Response> {
    let answer = ask.state.engine.sizes(ask.correlation_id.clone()).await?;
    let pagination = Pagination::whole(answer.rows());
    respond(&ask, Page::of(answer, pagination)).await
}

pub(super) async fn snapshots(ask: Ask) -> Result<Response> {
    let of = ask.values.text("table").map(|table| format!("\"table\" = {}", literal::text(table)));
    list(ask, "snapshots", of.into_iter().collect(), (SNAPSHOTS, true)).await
}

pub(super) async fn gaps(ask: Ask) -> Result<Response> {
    let mut conditions = conditions(&ask.values, "revealed_ts", literal::moment);
    let data_type = ask.values.text("data_type");
    conditions.extend(data_type.map(|it| format!("data_type = {}", literal::text(it))));
    let from = match ask.values.text("state") {
        // In memory, where all changes of gaps would have to be read otherwise.
        Some("open") => {
            "(SELECT venue, symbol, data_type, first_missing, last_missing, missing, revealed_ts,
                     arrow_cast(NULL, 'Timestamp(Nanosecond, Some(\"UTC\"))') AS healed_ts, cause,
                     severity
              FROM gaps_open)"
        }
        Some(_) => {
            conditions.push("healed_ts IS NOT NULL".to_owned());
            "gaps"
        }
        None => "gaps",
    };
    list(ask, from, conditions, (GAPS, true)).await
}

pub(super) async fn feeds(ask: Ask) -> Result<Response> {
    let mut conditions = conditions(&ask.values, "last_ts_event", literal::moment);
    let data_type = ask.values.text("data_type");
    conditions.extend(data_type.map(|it| format!("data_type = {}", literal::text(it))));
    let conditions = match &conditions[..] {
        [] => String::new(),
        all => format!("WHERE {}", all.join(" AND ")),
    };
    let sql = format!("SELECT * FROM feed_health {conditions} ORDER BY venue, data_type");
    let mut answer = ask.query(sql, None).await?;
    let rows = answer.rows();
    names::check(&ask, rows, &mut answer.meta).await?;
    let pagination = Pagination::whole(rows);
    respond(&ask, Page::of(answer, pagination)).await
}

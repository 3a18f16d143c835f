//! What there is and how it is doing: symbols, tables, snapshots, gaps, feeds.

use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};
use axum::response::Response;

use super::ask::Ask;
use super::names;
use super::page::{Page, cut};
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

/// Answers `sql` up to the limit, and says whether there is more.
async fn list(ask: Ask, sql: String) -> Result<Response> {
    let limit = ask.values.limit();
    let sql = format!("{sql} LIMIT {}", limit + 1);
    let mut answer = ask.query(sql, ask.values.as_of().cloned()).await?;
    let rows = answer.rows();
    names::check(&ask, rows, &mut answer.meta).await?;
    let has_more = rows > limit;
    cut(&mut answer, limit);
    respond(&ask, Page::of(answer, Pagination { limit, cursor: None, has_more })).await
}

fn filtered(select: &str, conditions: &[String]) -> String {
    if conditions.is_empty() {
        return select.to_owned();
    }
    format!("{select} WHERE {}", conditions.join(" AND "))
}

pub(super) async fn symbols(ask: Ask) -> Result<Response> {
    let conditions = conditions(&ask.values, "last_ts", literal::moment);
    let sql = filtered("SELECT * FROM symbols", &conditions);
    list(ask, format!("{sql} ORDER BY venue, symbol, raw_symbol")).await
}

pub(super) async fn stats(ask: Ask) -> Result<Response> {
    let answer = ask.state.engine.sizes(ask.correlation_id.clone()).await?;
    let pagination = Pagination::whole(answer.rows());
    respond(&ask, Page::of(answer, pagination)).await
}

pub(super) async fn snapshots(ask: Ask) -> Result<Response> {
    let of = ask.values.text("table").map(|table| format!("\"table\" = {}", literal::text(table)));
    let sql = filtered("SELECT * FROM snapshots", &of.into_iter().collect::<Vec<_>>());
    list(ask, format!("{sql} ORDER BY committed_at DESC, \"table\", snapshot_id")).await
}

pub(super) async fn gaps(ask: Ask) -> Result<Response> {
    let mut conditions = conditions(&ask.values, "revealed_ts", literal::moment);
    let data_type = ask.values.text("data_type");
    conditions.extend(data_type.map(|it| format!("data_type = {}", literal::text(it))));
    let from = match ask.values.text("state") {
        // In memory, where all changes of gaps would have to be read otherwise.
        Some("open") => {
            "SELECT venue, symbol, data_type, first_missing, last_missing, missing, revealed_ts,
                    arrow_cast(NULL, 'Timestamp(Nanosecond, Some(\"UTC\"))') AS healed_ts, cause,
                    severity
             FROM gaps_open"
        }
        Some(_) => {
            conditions.push("healed_ts IS NOT NULL".to_owned());
            "SELECT * FROM gaps"
        }
        None => "SELECT * FROM gaps",
    };
    let sql = filtered(from, &conditions);
    let order = "ORDER BY revealed_ts DESC, venue, symbol, data_type, first_missing";
    list(ask, format!("{sql} {order}")).await
}

pub(super) async fn feeds(ask: Ask) -> Result<Response> {
    let mut conditions = conditions(&ask.values, "last_ts_event", literal::moment);
    let data_type = ask.values.text("data_type");
    conditions.extend(data_type.map(|it| format!("data_type = {}", literal::text(it))));
    let sql = filtered("SELECT * FROM feed_health", &conditions);
    let mut answer = ask.query(format!("{sql} ORDER BY venue, data_type"), None).await?;
    let rows = answer.rows();
    names::check(&ask, rows, &mut answer.meta).await?;
    let pagination = Pagination::whole(rows);
    respond(&ask, Page::of(answer, pagination)).await
}

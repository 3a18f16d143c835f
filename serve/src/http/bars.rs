//! Bars: one symbol's, several questions' at once, days, and whether they keep up.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::TimestampNanosecondArray;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampNanosecondType};
use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use axum::response::Response;
use k2_model::time::{NANOS_PER_DAY, NANOS_PER_SECOND};
use k2_model::{Nanos, Timeframe};

use super::ask::Ask;
use super::names;
use super::page::{BARS, Listing, Page};
use super::parameters::{Values, invalid};
use super::records::{conditions, finish, times};
use super::reply::respond;
use crate::answer::{Answer, Pagination};
use crate::clocks;
use crate::engine::newest::Records;
use crate::engine::newest_bars::NewestBars;
use crate::error::{Error, FieldError, Result};
use crate::literal;
use crate::schema::{self, ZONE};
use crate::views::bars::{BarRow, answered};

/// Questions of one batch.
pub(super) const QUERIES_MAX: usize = 20;
/// Rows of one batch.
const BATCH_LIMIT_MAX: usize = 100_000;
/// Venues of a symbol on one day.
const VENUES_MAX: usize = 1_000;

pub(super) fn batch_schema() -> SchemaRef {
    let query = Field::new("query", DataType::Int64, false);
    let bars = answered();
    let bars = bars.fields().iter().map(|field| field.as_ref().clone());
    let named = [query, Field::new("timeframe", DataType::Utf8, false)].into_iter();
    Arc::new(Schema::new(named.chain(bars).collect::<Vec<_>>()))
}

fn listing(timeframe: &str, values: &Values) -> Listing {
    Listing {
        from: format!("ohlcv_{timeframe}"),
        columns: None,
        conditions: conditions(values, "window_start", literal::moment),
        order: BARS,
        is_descending: true,
        times: None,
        since: None,
    }
}

pub(super) async fn bars(ask: Ask) -> Result<Response> {
    let named = ask.values.text("timeframe").unwrap_or_default();
    let unread = || Error::internal(format!("answer bars: {named} was let pass"));
    let timeframe = Timeframe::named(named).ok_or_else(unread)?;
    list(ask, timeframe).await
}

pub(super) async fn summaries(ask: Ask) -> Result<Response> {
    list(ask, Timeframe::D1).await
}

async fn list(ask: Ask, timeframe: Timeframe) -> Result<Response> {
    let listing = listing(timeframe.as_str(), &ask.values);
    let starts = times(&ask.values);
    let page = match newest(&ask, timeframe, starts, ask.values.limit() + 1).await? {
        Some(records) => listing.page_of(&ask, records)?,
        None => listing.page(&ask).await?,
    };
    finish(&ask, page).await
}

/// The newest bars, if the question is one that memory alone can answer: the first page, as of now.
async fn newest(
    ask: &Ask,
    timeframe: Timeframe,
    starts: (Nanos, Nanos),
    rows: usize,
) -> Result<Option<Records<BarRow>>> {
    let values = &ask.values;
    let Some(symbol) = values.text("symbol") else { return Ok(None) };
    if values.text("cursor").is_some() || values.as_of().is_some() {
        return Ok(None);
    }
    let wanted = NewestBars { timeframe, symbol, venue: values.text("venue"), starts, rows };
    ask.state.engine.newest_bars(wanted, ask.correlation_id.clone()).await
}

pub(super) async fn summary(ask: Ask) -> Result<Response> {
    let day = ask.values.time("date").unwrap_or_default();
    let direct = newest(&ask, Timeframe::D1, (day, day), VENUES_MAX).await?;
    let mut answer = match direct {
        Some(records) => records.into_answer()?,
        None => {
            let mut listing = listing(Timeframe::D1.as_str(), &ask.values);
            listing.conditions.push(format!("window_start = {}", literal::moment(day)));
            ask.query(listing.sql(None, VENUES_MAX)?, ask.values.as_of().cloned()).await?
        }
    };
    let rows = answer.rows();
    names::check(&ask, rows, &mut answer.meta).await?;
    if rows == 0 {
        let symbol = ask.values.text("symbol").unwrap_or_default();
        let day = &day.to_string()[.."YYYY-MM-DD".len()];
        return Err(Error::bad_request(
            "no_data",
            format!("sum up {symbol} on {day}: it was not traded then"),
        )
        .with_hint(format!("GET /v1/summary/{symbol} lists the days on which it was")));
    }
    names::warn_of_venues(&ask, names::venues_of(&answer.batches), &mut answer.meta);
    let pagination = Pagination::whole(answer.rows());
    respond(&ask, Page::of(answer, pagination)).await
}

pub(super) async fn batch(ask: Ask) -> Result<Response> {
    let queries = ask.values.objects("queries");
    let limit = queries.iter().map(Values::limit).sum::<usize>();
    if limit > BATCH_LIMIT_MAX {
        let message = format!("must not ask for more than {BATCH_LIMIT_MAX} rows together");
        return Err(invalid(vec![FieldError { field: "queries".to_owned(), message }]));
    }
    let parts = queries.iter().enumerate().map(|(at, query)| {
        let timeframe = query.text("timeframe").unwrap_or_default();
        let bars = listing(timeframe, query).sql(None, query.limit() + 1)?;
        let named = format!("CAST({at} AS BIGINT) AS query, '{timeframe}' AS timeframe");
        Ok(format!("SELECT {named}, bars.* FROM ({bars}) AS bars"))
    });
    let parts = parts.collect::<Result<Vec<String>>>()?.join(" UNION ALL ");
    let order = "ORDER BY query, window_start DESC, venue DESC, symbol DESC";
    let mut answer = ask.query(format!("{parts} {order}"), ask.values.as_of().cloned()).await?;
    let limits: Vec<usize> = queries.iter().map(Values::limit).collect();
    let has_more = cut_each(&mut answer, &limits)?;
    let rows = answer.rows();
    names::check(&ask, rows, &mut answer.meta).await?;
    let pagination = Pagination { limit, cursor: None, has_more };
    respond(&ask, Page::of(answer, pagination)).await
}

/// Lets of each query at most its limit of rows stand, and says where there were more.
fn cut_each(answer: &mut Answer, limits: &[usize]) -> Result<bool> {
    let mut seen = vec![0; limits.len()];
    for batch in &mut answer.batches {
        let of = batch.column(0).as_primitive::<Int64Type>().clone();
        let kept = of.values().iter().map(|query| {
            let query = usize::try_from(*query).unwrap_or_default();
            seen[query] += 1;
            Some(seen[query] <= limits[query])
        });
        let kept: BooleanArray = kept.collect();
        *batch = filter_record_batch(batch, &kept)
            .map_err(|error| Error::internal("cut an answer").with_source(error))?;
    }
    answer.batches.retain(|batch| batch.num_rows() > 0);
    let cut: Vec<usize> = (0..limits.len()).filter(|at| seen[*at] > limits[*at]).collect();
    for at in &cut {
        answer.meta.warnings.push(format!("query {at} has more rows than its limit"));
    }
    Ok(!cut.is_empty())
}

/// How old the newest trade may be before its bars are called stale.
fn threshold(timeframe: Timeframe) -> i64 {
    const MINUTE: i64 = 60 * NANOS_PER_SECOND;
    match timeframe {
        Timeframe::M1 => 10 * MINUTE,
        Timeframe::M5 => 20 * MINUTE,
        Timeframe::M15 => 40 * MINUTE,
        Timeframe::M30 => 60 * MINUTE,
        Timeframe::H1 => 120 * MINUTE,
        Timeframe::D1 => NANOS_PER_DAY + 60 * MINUTE,
    }
}

pub(super) fn health_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let long = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        text("timeframe"),
        text("venue"),
        text("symbol"),
        text("status"),
        Field::new("last_trade_ts", schema::nanos(), false),
        Field::new("window_start", schema::nanos(), true),
        long("age_ns"),
        long("threshold_ns"),
    ]))
}

/// The newest trade of a venue.
type NewestTrade = (String, String, Nanos);

/// Of each venue the newest trade, and whether it is in its bar of each timeframe.
pub(super) async fn health(ask: Ask) -> Result<Response> {
    let newest = newest_trades(&ask).await?;
    let mut answer = ask.query(bars_of(&newest), None).await?;
    let mut windows: BTreeMap<(String, String), Nanos> = BTreeMap::new();
    for batch in &answer.batches {
        let (timeframes, venues) = (batch.column(0).as_string::<i32>(), batch.column(1));
        let (venues, starts) = (venues.as_string::<i32>(), batch.column(2));
        let starts = starts.as_primitive::<TimestampNanosecondType>();
        for row in 0..batch.num_rows() {
            let key = (timeframes.value(row).to_owned(), venues.value(row).to_owned());
            windows.insert(key, Nanos(starts.value(row)));
        }
    }
    let batch = health_rows(&newest, &windows, clocks::now());
    let batch = batch.map_err(|error| Error::internal("tell the bars").with_source(error))?;
    (answer.schema, answer.batches) = (batch.schema(), vec![batch]);
    let pagination = Pagination::whole(answer.rows());
    respond(&ask, Page::of(answer, pagination)).await
}

async fn newest_trades(ask: &Ask) -> Result<Vec<NewestTrade>> {
    let sql = "SELECT venue, symbol, ts_event FROM latest_trade".to_owned();
    let mut newest: BTreeMap<String, (Nanos, String)> = BTreeMap::new();
    for batch in ask.query(sql, None).await?.batches {
        let (venues, symbols) =
            (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        let times = batch.column(2).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let trade = (Nanos(times.value(row)), symbols.value(row).to_owned());
            let known = newest.entry(venues.value(row).to_owned()).or_insert(trade.clone());
            *known = trade.max(known.clone());
        }
    }
    Ok(newest.into_iter().map(|(venue, (time, symbol))| (venue, symbol, time)).collect())
}

/// The bars of `trades`, of every timeframe.
fn bars_of(trades: &[NewestTrade]) -> String {
    let of_timeframe = |timeframe: Timeframe| {
        let bar = |(venue, symbol, time): &NewestTrade| {
            let (venue, symbol) = (literal::text(venue), literal::text(symbol));
            let start = literal::moment(timeframe.window_start(*time));
            format!("(venue = {venue} AND symbol = {symbol} AND window_start = {start})")
        };
        let bars = trades.iter().map(bar).collect::<Vec<_>>().join(" OR ");
        let bars = if bars.is_empty() { "false" } else { &bars };
        format!(
            "SELECT '{timeframe}' AS timeframe, venue, window_start FROM ohlcv_{timeframe} \
             WHERE {bars}"
        )
    };
    Timeframe::ALL.map(of_timeframe).join(" UNION ALL ")
}

fn health_rows(
    newest: &[NewestTrade],
    windows: &BTreeMap<(String, String), Nanos>,
    now: Nanos,
) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let pairs: Vec<(Timeframe, &NewestTrade)> = Timeframe::ALL
        .into_iter()
        .flat_map(|timeframe| newest.iter().map(move |trade| (timeframe, trade)))
        .collect();
    let window = |(timeframe, trade): &(Timeframe, &NewestTrade)| {
        windows.get(&(timeframe.as_str().to_owned(), trade.0.clone())).map(|start| start.0)
    };
    let age = |trade: &NewestTrade| now.0.saturating_sub(trade.2.0).max(0);
    let status = |pair: &(Timeframe, &NewestTrade)| match window(pair) {
        None => "behind",
        Some(_) if age(pair.1) > threshold(pair.0) => "stale",
        Some(_) => "healthy",
    };
    let texts = |texts: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
    let longs = |longs: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(longs)) };
    let moments = |times: Vec<Option<i64>>| -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from(times).with_timezone(ZONE))
    };
    let columns = vec![
        texts(pairs.iter().map(|(timeframe, _)| timeframe.as_str()).collect()),
        texts(pairs.iter().map(|(_, trade)| &*trade.0).collect()),
        texts(pairs.iter().map(|(_, trade)| &*trade.1).collect()),
        texts(pairs.iter().map(status).collect()),
        moments(pairs.iter().map(|(_, trade)| Some(trade.2.0)).collect()),
        moments(pairs.iter().map(window).collect()),
        longs(pairs.iter().map(|(_, trade)| age(trade)).collect()),
        longs(pairs.iter().map(|(timeframe, _)| threshold(*timeframe)).collect()),
    ];
    RecordBatch::try_new(health_schema(), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_healthy_stale_or_behind_their_trades() {
        let trade = ("BINANCE".to_owned(), "BTC-USDT".to_owned(), Nanos(90 * NANOS_PER_SECOND));
        let windows = Timeframe::ALL.into_iter().skip(1).map(|timeframe| {
            ((timeframe.as_str().to_owned(), "BINANCE".to_owned()), timeframe.window_start(trade.2))
        });
        let later = Nanos(30 * 60 * NANOS_PER_SECOND);
        let rows = health_rows(std::slice::from_ref(&trade), &windows.collect(), later).unwrap();
        let statuses: Vec<_> = rows.column(3).as_string::<i32>().iter().flatten().collect();
        assert_eq!(statuses, ["behind", "stale", "healthy", "healthy", "healthy", "healthy"]);
    }
}

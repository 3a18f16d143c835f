//! `POST /v1/aggregations`: prices and volumes by interval, exact to the last digit.
//!
//! The bars are made by the function that makes the views', so both are equal where both exist.

use axum::response::Response;
use k2_model::Decimal;

use super::ask::Ask;
use super::page::{INTERVALS, LEVELS, Listing};
use super::parameters::{Values, invalid};
use super::records::{conditions, finish};
use crate::error::{FieldError, Result};
use crate::literal;

const PROFILE: &str = "volume_profile";

pub(super) const METRICS: &[&str] = &["ohlcv", "vwap", "twap", "trade_count", PROFILE];

/// The columns of each metric but the profile, in the order of an answer.
const COLUMNS: [(&str, &str); 4] = [
    (
        "ohlcv",
        "bar['open'] AS open, bar['high'] AS high, bar['low'] AS low, bar['close'] AS close, \
         bar['volume'] AS volume",
    ),
    ("vwap", "bar['vwap'] AS vwap"),
    ("twap", "twap"),
    ("trade_count", "bar['trade_count'] AS trade_count"),
];

pub(super) async fn aggregations(ask: Ask) -> Result<Response> {
    check(&ask.values)?;
    let listing = match ask.values.decimal("price_step") {
        Some(step) => profile(&ask.values, step),
        None => bars(&ask.values),
    };
    finish(&ask, listing.page(&ask).await?).await
}

/// What the metrics ask of the other parameters.
fn check(values: &Values) -> Result<()> {
    let metrics = values.texts("metrics");
    let has_profile = metrics.iter().any(|metric| metric == PROFILE);
    let step = values.decimal("price_step");
    let wrong = |field: &str, message: &str| {
        Err(invalid(vec![FieldError { field: field.to_owned(), message: message.to_owned() }]))
    };
    match (has_profile, step) {
        (true, _) if metrics.len() > 1 => {
            wrong("metrics", "must name volume_profile alone: its rows are prices, not intervals")
        }
        (true, None) => wrong("price_step", "is required for volume_profile"),
        (false, Some(_)) => wrong("price_step", "is for volume_profile alone"),
        (_, Some(step)) if step <= Decimal::ZERO => wrong("price_step", "must be above 0"),
        _ => Ok(()),
    }
}

/// The trades that are asked for, in SQL.
fn trades(values: &Values) -> String {
    conditions(values, "ts_event", |time| time.0.to_string()).join(" AND ")
}

fn bars(values: &Values) -> Listing {
    let step = values.integer("interval").unwrap_or(1);
    let end = values.integer("end_time").unwrap_or(i64::MAX);
    let is_asked = |name: &str| values.texts("metrics").iter().any(|metric| metric == name);
    let columns = COLUMNS.iter().filter(|(name, _)| is_asked(name)).map(|(_, columns)| *columns);
    let columns = columns.collect::<Vec<_>>().join(", ");
    // It keeps every trade until its interval is whole, so it is made only where it is wanted.
    // A price stands no longer than until the newest event that there is.
    let end = format!("least({end}, k2_clock(venue))");
    let twap = match is_asked("twap") {
        true => format!(", k2_twap(ts_event, sequence, price, {step}, {end}) AS twap"),
        false => String::new(),
    };
    let from = format!(
        "(SELECT venue, symbol, interval_start, k2_window_end(interval_start, {step}) AS
                 interval_end, {columns}
          FROM (SELECT venue, symbol, k2_window(ts_event, {step}) AS interval_start,
                       k2_bar(ts_event, sequence, price, quantity) AS bar{twap}
                FROM trades WHERE {} GROUP BY venue, symbol, k2_window(ts_event, {step})))",
        trades(values)
    );
    Listing {
        from,
        columns: None,
        conditions: vec![],
        order: INTERVALS,
        is_descending: false,
        times: None,
        since: None,
    }
}

fn profile(values: &Values, price_step: Decimal) -> Listing {
    let step = values.integer("interval").unwrap_or(1);
    let level = literal::decimal(price_step);
    let zero = literal::decimal(Decimal::ZERO);
    let of_side =
        |side: &str| format!("sum(CASE WHEN side = '{side}' THEN quantity ELSE {zero} END)");
    let from = format!(
        "(SELECT venue, symbol, interval_start, k2_window_end(interval_start, {step}) AS
                 interval_end, price_level, sum(quantity) AS volume, {} AS buy_volume,
                 {} AS sell_volume, count(*) AS trade_count
          FROM (SELECT venue, symbol, k2_window(ts_event, {step}) AS interval_start, quantity,
                       side, price - price % {level} - CASE WHEN price % {level} < {zero}
                             THEN {level} ELSE {zero} END AS price_level
                FROM trades WHERE {})
          GROUP BY venue, symbol, interval_start, price_level)",
        of_side("BUY"),
        of_side("SELL"),
        trades(values)
    );
    Listing {
        from,
        columns: None,
        conditions: vec![],
        order: LEVELS,
        is_descending: false,
        times: None,
        since: None,
    }
}

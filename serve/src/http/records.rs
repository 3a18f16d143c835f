//! Trades and quotes: lists, the recent tail, queries of many symbols, and replay.

use axum::response::Response;
use k2_model::time::NANOS_PER_SECOND;
use k2_model::{Nanos, Quote, Trade};

use super::ask::Ask;
use super::names;
use super::page::{Listing, Page, RECORDS};
use super::parameters::Values;
use super::reply::respond;
use crate::engine::newest::{Newest, NewestRow, Records, Since};
use crate::error::Result;
use crate::literal;

pub(super) const SIDES: &[&str] = &["BUY", "SELL", "SELL_SHORT", "UNKNOWN"];

pub(super) const TRADE_FIELDS: &[&str] = &[
    "venue",
    "symbol",
    "raw_symbol",
    "asset_class",
    "trade_id",
    "sequence",
    "ts",
    "ts_event",
    "ts_recv",
    "price",
    "quantity",
    "currency",
    "side",
    "conditions",
    "vendor_data",
    "source",
    "partition",
    "offset",
    "message_id",
];

pub(super) const QUOTE_FIELDS: &[&str] = &[
    "venue",
    "symbol",
    "raw_symbol",
    "asset_class",
    "sequence",
    "ts",
    "ts_event",
    "ts_recv",
    "bid_price",
    "bid_quantity",
    "ask_price",
    "ask_quantity",
    "currency",
    "conditions",
    "vendor_data",
    "source",
    "partition",
    "offset",
    "message_id",
];

pub(super) async fn trades(ask: Ask) -> Result<Response> {
    list::<Trade>(&ask, "trades").await
}

pub(super) async fn quotes(ask: Ask) -> Result<Response> {
    list::<Quote>(&ask, "quotes").await
}

async fn list<R: NewestRow>(ask: &Ask, table: &str) -> Result<Response> {
    let listing = listing(table, &ask.values);
    let page = match of_memory::<R>(ask, Since::Time(times(&ask.values).0)).await? {
        Some(records) => listing.page_of(ask, records)?,
        None => listing.page(ask).await?,
    };
    finish(ask, page).await
}

pub(super) async fn recent(ask: Ask) -> Result<Response> {
    // The window ends with the venue's own clock, so that a replay of last year has one too.
    let minutes = ask.values.integer("window_minutes").unwrap_or_default();
    let window_ns = minutes * 60 * NANOS_PER_SECOND;
    let listing = listing("trades", &ask.values);
    let page = match of_memory::<Trade>(&ask, Since::BeforeNewest { window_ns }).await? {
        Some(records) => listing.since(records.from).page_of(&ask, records)?,
        None => match window_start(&ask, window_ns).await? {
            Some(from) => listing.since(from).page(&ask).await?,
            None => listing.page(&ask).await?,
        },
    };
    finish(&ask, page).await
}

/// Where the window begins: as on the page before, or so long before the newest trade. `None`:
/// there is no trade.
async fn window_start(ask: &Ask, window_ns: i64) -> Result<Option<Nanos>> {
    if let Some(cursor) = ask.cursor()? {
        return Ok(cursor.since);
    }
    let (venue, as_of) = (ask.values.text("venue"), ask.values.as_of());
    let newest = ask.state.engine.newest_trade_time(venue, as_of).await?;
    Ok(newest.map(|newest| Nanos(newest.0.saturating_sub(window_ns))))
}

/// The records of `table` that `values` ask for, newest first.
fn listing(table: &str, values: &Values) -> Listing {
    Listing {
        from: table.to_owned(),
        columns: None,
        conditions: conditions(values, "ts_event", nanos),
        order: RECORDS,
        is_descending: true,
        times: Some(times(values)),
        since: None,
    }
}

/// The first and the last time that is asked for.
pub(super) fn times(values: &Values) -> (Nanos, Nanos) {
    let first = values.integer("start_time").unwrap_or(i64::MIN);
    let last = values.integer("end_time").map_or(i64::MAX, |end| end.saturating_sub(1));
    (Nanos(first), Nanos(last))
}

/// The records of a page that memory alone can tell: the first, of one symbol, as of now.
async fn of_memory<R: NewestRow>(ask: &Ask, since: Since) -> Result<Option<Records<R>>> {
    let values = &ask.values;
    let Some(symbol) = values.text("symbol") else { return Ok(None) };
    if values.text("cursor").is_some() || values.as_of().is_some() {
        return Ok(None);
    }
    let wanted = Newest {
        symbol,
        venue: values.text("venue"),
        since,
        until: times(values).1,
        rows: values.limit() + 1,
    };
    ask.state.engine.newest::<R>(wanted, ask.correlation_id.clone()).await
}

pub(super) async fn finish(ask: &Ask, mut page: Page) -> Result<Response> {
    let rows = page.rows();
    names::check(ask, rows, &mut page.answer.meta).await?;
    page.warn_of_venues(ask);
    respond(ask, page).await
}

fn nanos(time: Nanos) -> String {
    time.0.to_string()
}

/// What `values` say of symbols, venues and times, in SQL. The times of the column `time` are
/// written by `write`.
pub(super) fn conditions(
    values: &Values,
    time: &str,
    write: impl Fn(Nanos) -> String,
) -> Vec<String> {
    let mut conditions = Vec::new();
    for (column, names) in [("symbol", ["symbol", "symbols"]), ("venue", ["venue", "venues"])] {
        let texts = names.map(|name| values.texts(name)).concat();
        match &texts[..] {
            [] => {}
            [one] => conditions.push(format!("{column} = {}", literal::text(one))),
            many => conditions.push(format!("{column} IN ({})", literal::texts(many))),
        }
    }
    let bounds = [("start_time", ">="), ("end_time", "<")];
    for (name, sign) in bounds {
        conditions.extend(values.time(name).map(|it| format!("{time} {sign} {}", write(it))));
    }
    conditions
}

pub(super) async fn trade_query(ask: Ask) -> Result<Response> {
    let bounds = [
        ("min_price", "price >="),
        ("max_price", "price <="),
        ("min_quantity", "quantity >="),
        ("max_quantity", "quantity <="),
    ];
    let mut conditions = filters(&ask.values, &bounds);
    let sides = ask.values.texts("sides");
    if !sides.is_empty() {
        conditions.push(format!("side IN ({})", literal::texts(sides)));
    }
    query(&ask, "trades", conditions).await
}

pub(super) async fn quote_query(ask: Ask) -> Result<Response> {
    let bounds = [
        ("min_price", "bid_price >="),
        ("max_price", "ask_price <="),
        ("min_quantity", "bid_quantity >="),
        ("min_quantity", "ask_quantity >="),
    ];
    let conditions = filters(&ask.values, &bounds);
    query(&ask, "quotes", conditions).await
}

fn filters(values: &Values, bounds: &[(&str, &str)]) -> Vec<String> {
    let bound = |(name, comparison): &(&str, &str)| {
        values.decimal(name).map(|it| format!("{comparison} {}", literal::decimal(it)))
    };
    bounds.iter().filter_map(bound).collect()
}

async fn query(ask: &Ask, table: &str, filters: Vec<String>) -> Result<Response> {
    let fields = ask.values.texts("fields");
    let mut listing = listing(table, &ask.values);
    listing.columns = (!fields.is_empty()).then(|| fields.to_vec());
    listing.conditions.extend(filters);
    finish(ask, listing.page(ask).await?).await
}

pub(super) async fn replay(ask: Ask) -> Result<Response> {
    of_type(ask, false).await
}

/// The committed records as they were at a snapshot.
pub(super) async fn snapshot_query(ask: Ask) -> Result<Response> {
    of_type(ask, true).await
}

async fn of_type(ask: Ask, is_descending: bool) -> Result<Response> {
    let table = ask.values.text("data_type").unwrap_or("trades");
    let listing = Listing { is_descending, ..listing(table, &ask.values) };
    let page = listing.page(&ask).await?;
    finish(&ask, page).await
}

#[cfg(test)]
mod tests {
    use k2_sinks::Table;

    use super::*;
    use crate::schema;

    #[test]
    fn the_fields_that_can_be_chosen_are_the_columns_of_the_tables() {
        for (table, fields) in [(Table::Trades, TRADE_FIELDS), (Table::Quotes, QUOTE_FIELDS)] {
            let schema = schema::of_table(table);
            let columns: Vec<&str> = schema.fields().iter().map(|it| it.name().as_str()).collect();
            assert_eq!(columns, fields);
        }
        let sides = k2_model::Side::ALL.map(k2_model::Side::as_str);
        assert_eq!(SIDES, sides);
    }
}

//! What is asked most often, in few words: each command is one query.

use clap::{Args, Subcommand};
use k2_model::time::NANOS_PER_MILLI;
use k2_model::{Nanos, Timeframe};
use k2_serve::literal::text as quoted;
use k2_serve::{At, Format, parse_at, parse_time};

use super::Written;
use super::ask::Asked;
use crate::failure::{Failure, Result, nearest};
use crate::generate;

/// Rows of an answer where neither a limit nor a time range is given.
const LIMIT_DEFAULT: u64 = 100;
/// Names that are listed where none is near.
const NAMES_MAX: usize = 10;

#[derive(Subcommand, Debug)]
pub enum Friendly {
    /// Trades of a symbol, the newest first
    #[command(after_help = "\
Examples:
  k2 query trades BTC-USDT --last 15m
  k2 query trades BTCUSDT --venue BINANCE --from 2024-08-09T09:30:00Z --limit 20
  k2 query trades BTC-USDT --at tag:eod --output csv")]
    Trades(OfSymbol),
    /// Quotes of a symbol, the newest first
    #[command(after_help = "\
Examples:
  k2 query quotes BTC-USDT --last 1m
  k2 query quotes ETHUSDT --from 2024-08-09 --to 2024-08-10 --output ndjson")]
    Quotes(OfSymbol),
    /// Bars of a symbol, the oldest first
    #[command(after_help = "\
Examples:
  k2 query bars BTC-USDT 5m --from 2024-08-09 --to 2024-08-10 --output csv
  k2 query bars BTC-USDT 1h --last 24h
  k2 query bars BTC-USDT --limit 10")]
    Bars(Bars),
    /// Which symbols there are
    #[command(after_help = "\
Examples:
  k2 query symbols --venue BINANCE")]
    Symbols(Symbols),
    /// What was committed when, the newest first
    #[command(after_help = "\
Examples:
  k2 query snapshots --table trades --limit 10")]
    Snapshots(Snapshots),
    /// Runs of numbers that never came, or came late
    #[command(after_help = "\
Examples:
  k2 query gaps --open
  k2 query gaps BTC-USDT --from 2024-08-09")]
    Gaps(Gaps),
    /// How each feed is doing
    #[command(after_help = "\
Examples:
  k2 query feeds --venue BINANCE")]
    Feeds(Feeds),
}

#[derive(Args, Debug)]
pub struct OfSymbol {
    /// As BTC-USDT, or as its venue spells it
    symbol: String,
    #[command(flatten)]
    window: Window,
    #[command(flatten)]
    which: Which,
}

#[derive(Args, Debug)]
pub struct Bars {
    /// As BTC-USDT, or as its venue spells it
    symbol: String,
    #[arg(default_value = "1m", value_parser = timeframe, value_name = "1m|5m|15m|30m|1h|1d")]
    timeframe: Timeframe,
    #[command(flatten)]
    window: Window,
    #[command(flatten)]
    which: Which,
}

#[derive(Args, Debug)]
pub struct Symbols {
    #[command(flatten)]
    which: Which,
}

#[derive(Args, Debug)]
pub struct Snapshots {
    /// Only those of trades, quotes, rejects or gaps
    #[arg(long, value_name = "TABLE", value_parser = ["trades", "quotes", "rejects", "gaps"])]
    table: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = LIMIT_DEFAULT)]
    limit: u64,
}

#[derive(Args, Debug)]
pub struct Gaps {
    /// Only those of a symbol
    symbol: Option<String>,
    /// Only those that have not healed
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    which: Which,
}

#[derive(Args, Debug)]
pub struct Feeds {
    /// Only those of a venue
    #[arg(long, value_name = "VENUE")]
    venue: Option<String>,
}

/// When: of event time, from the first moment on and before the second.
#[derive(Args, Debug)]
struct Range {
    /// From this on: 2024-08-09, or 2024-08-09T09:30:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<Nanos>,
    /// Before this
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<Nanos>,
}

fn last(text: &str) -> anyhow::Result<std::time::Duration> {
    let last = generate::duration(text)?;
    if last.is_zero() { Err(anyhow::anyhow!("a time above 0, as 15m or 2h")) } else { Ok(last) }
}

#[derive(Args, Debug)]
struct Window {
    #[command(flatten)]
    range: Range,
    /// The last 15m, 2h or 90s before the newest record of the symbol, which may be long ago
    #[arg(long, value_name = "TIME", value_parser = last)]
    #[arg(conflicts_with_all = ["from", "to"])]
    last: Option<std::time::Duration>,
}

#[derive(Args, Debug)]
struct Which {
    /// Only what is of a venue
    #[arg(long, value_name = "VENUE")]
    venue: Option<String>,
    /// At most so many, the newest [default: 100, or all of a time range]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// As it was committed at a snapshot, at a time or under a name: 4711, 2024-08-09T09:30:00Z,
    /// tag:eod
    #[arg(long, value_name = "MOMENT", value_parser = parse_at)]
    at: Option<At>,
}

impl Friendly {
    pub fn ask(&self, asked: &mut Asked, format: Format) -> Result<Written> {
        match self {
            Self::Trades(args) => {
                let columns = "ts, venue, symbol, side, price, quantity, trade_id";
                args.ask(asked, format, "trades", columns)
            }
            Self::Quotes(args) => {
                let columns = "ts, venue, symbol, bid_price, bid_quantity, ask_price, ask_quantity";
                args.ask(asked, format, "quotes", columns)
            }
            Self::Bars(args) => args.ask(asked, format),
            Self::Symbols(args) => asked.ask(&args.sql(), format),
            Self::Snapshots(args) => asked.ask(&args.sql(), format),
            Self::Gaps(args) => args.ask(asked, format),
            Self::Feeds(args) => asked.ask(&args.sql(), format),
        }
    }
}

impl OfSymbol {
    fn ask(
        &self,
        asked: &mut Asked,
        format: Format,
        table: &str,
        columns: &str,
    ) -> Result<Written> {
        let mut conditions = self.which.of_symbol(&self.symbol);
        let (from, to) = self.window.bounds(asked, &self.which, &self.symbol, table)?;
        conditions.extend(from.map(|from| format!("ts_event >= {}", from.0)));
        conditions.extend(to.map(|to| format!("ts_event < {}", to.0)));
        let sql = format!(
            "SELECT {columns} FROM {} WHERE {} ORDER BY ts_event DESC, sequence DESC{}",
            self.which.table(table),
            conditions.join(" AND "),
            self.which.limit_clause(from.or(to).is_some()),
        );
        self.which.checked(asked, &sql, format, &self.symbol)
    }
}

impl Bars {
    fn ask(&self, asked: &mut Asked, format: Format) -> Result<Written> {
        let mut conditions = self.which.of_symbol(&self.symbol);
        let (from, to) = self.window.bounds(asked, &self.which, &self.symbol, "trades")?;
        let from = match self.window.last {
            // The bar that the time falls into is a part of it.
            Some(_) => from.map(|from| self.timeframe.window_start(from)),
            None => from,
        };
        conditions.extend(from.map(|from| format!("window_start >= '{from}'")));
        conditions.extend(to.map(|to| format!("window_start < '{to}'")));
        let sql = format!(
            "SELECT * FROM (SELECT window_start, venue, symbol, open, high, low, close, volume, \
             vwap, trade_count, revision, final FROM {} WHERE {} \
             ORDER BY window_start DESC, venue DESC{}) ORDER BY window_start, venue",
            self.which.table(&format!("ohlcv_{}", self.timeframe)),
            conditions.join(" AND "),
            self.which.limit_clause(from.or(to).is_some()),
        );
        self.which.checked(asked, &sql, format, &self.symbol)
    }
}

impl Symbols {
    fn sql(&self) -> String {
        format!(
            "SELECT venue, symbol, raw_symbol, asset_class, trade_count, quote_count, first_ts, \
             last_ts FROM {} WHERE {} ORDER BY symbol, venue{}",
            self.which.table("symbols"),
            self.which.of_venue().unwrap_or_else(|| "true".into()),
            // All of them, unless told otherwise.
            self.which.limit_clause(true),
        )
    }
}

impl Snapshots {
    fn sql(&self) -> String {
        let of_table = self
            .table
            .as_ref()
            .map_or_else(|| "true".to_owned(), |table| format!("\"table\" = {}", quoted(table)));
        format!(
            "SELECT committed_at, \"table\", snapshot_id, parent_id, operation, is_current, \
             summary['added-records'] AS added_rows, summary['total-records'] AS total_rows \
             FROM snapshots WHERE {of_table} \
             ORDER BY committed_at DESC, \"table\", snapshot_id LIMIT {}",
            self.limit
        )
    }
}

impl Gaps {
    fn ask(&self, asked: &mut Asked, format: Format) -> Result<Written> {
        let (view, healed) = if self.open { ("gaps_open", "") } else { ("gaps", "healed_ts, ") };
        let mut conditions: Vec<String> = self.which.of_venue().into_iter().collect();
        conditions.extend(self.symbol.as_deref().map(is_symbol));
        let (from, to) = self.range.bounds()?;
        conditions.extend(from.map(|from| format!("revealed_ts >= '{from}'")));
        conditions.extend(to.map(|to| format!("revealed_ts < '{to}'")));
        if conditions.is_empty() {
            conditions.push("true".into());
        }
        let sql = format!(
            "SELECT revealed_ts, {healed}venue, symbol, data_type, first_missing, last_missing, \
             missing, severity, cause FROM {} WHERE {} \
             ORDER BY revealed_ts DESC, venue, symbol, data_type, first_missing{}",
            self.which.table(view),
            conditions.join(" AND "),
            self.which.limit_clause(from.or(to).is_some()),
        );
        match &self.symbol {
            Some(symbol) => self.which.checked(asked, &sql, format, symbol),
            None => asked.ask(&sql, format),
        }
    }
}

impl Feeds {
    fn sql(&self) -> String {
        let of_venue = self.venue.as_deref().map_or_else(|| "true".into(), is_venue);
        format!("SELECT * FROM feed_health WHERE {of_venue} ORDER BY venue, data_type")
    }
}

impl Window {
    /// The first time, and the time before which. `table` has the records of the symbol.
    fn bounds(
        &self,
        asked: &mut Asked,
        which: &Which,
        symbol: &str,
        table: &str,
    ) -> Result<(Option<Nanos>, Option<Nanos>)> {
        let Some(last) = self.last else { return self.range.bounds() };
        let condition = which.of_symbol(symbol).join(" AND ");
        match newest(asked, &which.table(table), &condition)? {
            Some(newest) => Ok((Some(back(newest, last)), None)),
            None => Err(which.none_of(asked, symbol)),
        }
    }
}

impl Range {
    fn bounds(&self) -> Result<(Option<Nanos>, Option<Nanos>)> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(Failure::usage(format!(
                "--from {from} is not before --to {to}; a range holds what is from the first on \
                 and before the second"
            )));
        }
        Ok((self.from, self.to))
    }
}

impl Which {
    /// `name`, at the moment that is asked for.
    fn table(&self, name: &str) -> String {
        match &self.at {
            None => name.to_owned(),
            Some(At::Snapshot(id)) => format!("{name} AT (SNAPSHOT {id})"),
            Some(At::Timestamp(time)) => format!("{name} AT (TIMESTAMP '{time}')"),
            Some(At::Tag(tag)) => format!("{name} AT (TAG {})", quoted(tag)),
        }
    }

    fn of_venue(&self) -> Option<String> {
        self.venue.as_deref().map(is_venue)
    }

    fn of_symbol(&self, symbol: &str) -> Vec<String> {
        [is_symbol(symbol)].into_iter().chain(self.of_venue()).collect()
    }

    fn limit_clause(&self, has_range: bool) -> String {
        match self.limit {
            Some(limit) => format!(" LIMIT {limit}"),
            None if has_range => String::new(),
            None => format!(" LIMIT {LIMIT_DEFAULT}"),
        }
    }

    /// Asks, and if nothing was found sees whether there is such a symbol at all.
    fn checked(
        &self,
        asked: &mut Asked,
        sql: &str,
        format: Format,
        symbol: &str,
    ) -> Result<Written> {
        let written = asked.ask(sql, format)?;
        if !written.meta.has_read_nothing() {
            return Ok(written);
        }
        let condition = self.of_symbol(symbol).join(" AND ");
        for table in ["trades", "quotes"] {
            let any = format!("SELECT 1 FROM {} WHERE {condition} LIMIT 1", self.table(table));
            if !asked.rows(&any)?.is_empty() {
                return Ok(written);
            }
        }
        Err(self.none_of(asked, symbol))
    }

    /// What there is instead of a symbol that there is not.
    fn none_of(&self, asked: &mut Asked, symbol: &str) -> Failure {
        let table = self.table("symbols");
        let sql = format!("SELECT venue, symbol, raw_symbol FROM {table} ORDER BY symbol, venue");
        let known = match asked.rows(&sql) {
            Ok(known) => known,
            Err(failure) => return failure,
        };
        let of = |name: &'static str| known.iter().map(move |row| row[name].as_str());
        let spelled = of("venue").zip(of("symbol").zip(of("raw_symbol")));
        let is_it =
            |(_, (canonical, raw)): &(&str, (&str, &str))| *canonical == symbol || *raw == symbol;
        let mut venues: Vec<&str> = spelled.filter(is_it).map(|(venue, _)| venue).collect();
        venues.dedup();
        if let (Some(venue), false) = (&self.venue, venues.is_empty()) {
            let venues = venues.join(", ");
            return Failure::usage(format!("{symbol} is not at {venue}; it is at {venues}"));
        }
        let mut names: Vec<&str> = of("symbol").collect();
        names.dedup();
        let near = nearest(symbol, &of("symbol").chain(of("raw_symbol")).collect::<Vec<_>>());
        Failure::usage(match near {
            Some(near) => format!("there is no symbol {symbol}; did you mean {near}?"),
            None if names.is_empty() => format!("there is no symbol {symbol}, nor any other yet"),
            None => {
                let more = names.len().saturating_sub(NAMES_MAX);
                names.truncate(NAMES_MAX);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("there is no symbol {symbol}; symbols are {}{more}", names.join(", "))
            }
        })
    }
}

/// The time of the newest record that fulfils `condition`.
fn newest(asked: &mut Asked, table: &str, condition: &str) -> Result<Option<Nanos>> {
    let sql = format!("SELECT max(ts_event) AS newest FROM {table} WHERE {condition}");
    let rows = asked.rows(&sql)?;
    let newest = rows.first().and_then(|row| row.get("newest"));
    Ok(newest.and_then(|text| text.parse().ok()).map(Nanos))
}

fn back(from: Nanos, by: std::time::Duration) -> Nanos {
    let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Nanos(from.0.saturating_sub(millis.saturating_mul(NANOS_PER_MILLI)))
}

fn is_symbol(symbol: &str) -> String {
    format!("symbol = {}", quoted(symbol))
}

fn is_venue(venue: &str) -> String {
    format!("venue = {}", quoted(&venue.to_uppercase()))
}

fn timeframe(text: &str) -> Result<Timeframe, String> {
    Timeframe::named(text).ok_or_else(|| {
        let names = Timeframe::ALL.map(Timeframe::as_str).join(", ");
        format!("bars are of {names}")
    })
}

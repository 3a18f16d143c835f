//! What each view is, in SQL over the tables.

use k2_model::{Nanos, SeverityLevels, Timeframe};

/// Columns of bars, but for `final`.
const BAR_COLUMNS: &str = "venue, symbol, window_start, window_end, open, high, low, close, \
                           volume, vwap, trade_count, revision";

/// A number of nanoseconds as a moment.
fn moment(column: &str) -> String {
    format!("arrow_cast({column}, 'Timestamp(Nanosecond, Some(\"UTC\"))') AS {column}")
}

/// Runs of missing numbers as they stand: changes of the log cancel out until one is left.
pub(crate) fn gaps(severity: &SeverityLevels) -> String {
    let SeverityLevels { log, alert, halt } = severity;
    let (revealed, healed) = (moment("revealed_ts"), moment("healed_ts"));
    format!(
        "SELECT venue, symbol, data_type, first_missing, last_missing, missing,
                {revealed}, {healed}, cause,
                CASE WHEN missing >= {halt} THEN 'halt' WHEN missing >= {alert} THEN 'alert'
                     WHEN missing >= {log} THEN 'log' ELSE 'info' END AS severity
         FROM (SELECT venue, symbol, raw_symbol, data_type, first_missing, last_missing,
                      missing, revealed_ts, healed_ts, cause
               FROM gap_changes
               GROUP BY venue, symbol, raw_symbol, data_type, first_missing, last_missing,
                        missing, revealed_ts, healed_ts, cause
               HAVING sum(diff) > 0)"
    )
}

pub(crate) const GAPS_OPEN: &str = "
    SELECT venue, symbol, data_type, first_missing, last_missing, missing, revealed_ts, cause,
           severity
    FROM gaps WHERE healed_ts IS NULL";

/// The latest record of each instrument, by (event time, sequence).
pub(crate) fn latest(table: &str) -> String {
    format!(
        "SELECT record.* FROM {table} AS record JOIN (
             SELECT venue, symbol, raw_symbol, last['ts_event'] AS ts_event,
                    last['sequence'] AS sequence
             FROM (SELECT venue, symbol, raw_symbol,
                          max(named_struct('ts_event', ts_event, 'sequence', sequence)) AS last
                   FROM {table} GROUP BY venue, symbol, raw_symbol)) AS latest
         ON record.venue = latest.venue AND record.symbol = latest.symbol
            AND record.raw_symbol = latest.raw_symbol
            AND record.ts_event = latest.ts_event AND record.sequence = latest.sequence"
    )
}

/// Each instrument that has a trade or a quote.
pub(crate) fn symbols() -> String {
    const NAMES: &str = "venue, symbol, raw_symbol, asset_class, currency";
    let (first, last) = (moment("first_ts"), moment("last_ts"));
    let of_table = |table: &str, trades: &str, quotes: &str| {
        format!(
            "SELECT {NAMES}, {trades} AS trade_count, {quotes} AS quote_count,
                    min(ts_event) AS first_ts, max(ts_event) AS last_ts
             FROM {table} GROUP BY {NAMES}"
        )
    };
    let trades = of_table("trades", "count(*)", "0");
    let quotes = of_table("quotes", "0", "count(*)");
    format!(
        "SELECT {NAMES}, trade_count, quote_count, {first}, {last}
         FROM (SELECT {NAMES}, sum(trade_count) AS trade_count, sum(quote_count) AS quote_count,
                      min(first_ts) AS first_ts, max(last_ts) AS last_ts
               FROM ({trades} UNION ALL {quotes}) GROUP BY {NAMES})"
    )
}

/// Bars of the trades before `end`, or of all.
pub(crate) fn bars(timeframe: Timeframe, end: Option<Nanos>) -> String {
    let step = timeframe.nanos();
    let before = end.map_or_else(String::new, |end| format!("WHERE ts_event < {}", end.0));
    format!(
        "SELECT venue, symbol, window_start, k2_window_end(window_start, {step}) AS window_end,
                bar['open'] AS open, bar['high'] AS high, bar['low'] AS low,
                bar['close'] AS close, bar['volume'] AS volume, bar['vwap'] AS vwap,
                bar['trade_count'] AS trade_count, bar['revision'] AS revision
         FROM (SELECT venue, symbol, k2_window(ts_event, {step}) AS window_start,
                      k2_bar(ts_event, sequence, price, quantity) AS bar
               FROM trades {before}
               GROUP BY venue, symbol, k2_window(ts_event, {step}))"
    )
}

/// Bars in memory, and those of older windows from the tables.
pub(crate) fn bars_live(timeframe: Timeframe, bars_from: Option<Nanos>) -> String {
    let live = format!("SELECT {BAR_COLUMNS} FROM live.ohlcv_{timeframe}");
    match bars_from {
        Some(from) => format!("{live} UNION ALL {}", bars(timeframe, Some(from))),
        None => live,
    }
}

/// The clock of each venue, where the bounds of the files do not tell it.
pub(crate) const CLOCKS: &str = "SELECT venue, max(ts_event) AS clock FROM trades GROUP BY venue";

//! Bars straight from the trades of each window; no bar is built from another.

use std::collections::BTreeMap;

use super::canonical::CanonicalBar;
use super::message::Trade;
use super::number::{LARGEST, Natural, decimal_text};

/// Names and lengths in seconds.
const TIMEFRAMES: [(&str, i64); 6] =
    [("1m", 60), ("5m", 300), ("15m", 900), ("30m", 1_800), ("1h", 3_600), ("1d", 86_400)];

/// The bars of one stream in all timeframes. `trades` are its unique trades by id.
pub(super) fn bars_of(
    (venue, symbol): (&str, &str),
    trades: &BTreeMap<u64, Trade>,
) -> Vec<CanonicalBar> {
    let mut bars = Vec::new();
    for (timeframe, seconds) in TIMEFRAMES {
        let length_ns = seconds * 1_000_000_000;
        let mut windows: BTreeMap<i64, Vec<(u64, &Trade)>> = BTreeMap::new();
        for (&id, trade) in trades {
            let start = trade.ts_event.div_euclid(length_ns) * length_ns;
            windows.entry(start).or_default().push((id, trade));
        }
        for (start, inside) in windows {
            bars.push(bar_of((venue, symbol), timeframe, start, inside));
        }
    }
    bars
}

fn bar_of(
    (venue, symbol): (&str, &str),
    timeframe: &str,
    start: i64,
    mut trades: Vec<(u64, &Trade)>,
) -> CanonicalBar {
    trades.sort_by_key(|(id, trade)| (trade.ts_event, *id));
    let prices = || trades.iter().map(|(_, trade)| trade.price);
    let (first, last) = (trades[0].1, trades[trades.len() - 1].1);
    let volume = trades.iter().fold(0, |sum: i128, (_, t)| sum.saturating_add(t.quantity));
    let volume = volume.min(LARGEST);
    let notional = trades.iter().fold(Natural::default(), |sum, (_, trade)| {
        let product = Natural::from_units(trade.price).times(&Natural::from_units(trade.quantity));
        sum.plus(&product)
    });
    let vwap = notional.over(&Natural::from_units(volume)).map(|mean| mean.to_units());
    CanonicalBar {
        venue: venue.to_owned(),
        symbol: symbol.to_owned(),
        timeframe: timeframe.to_owned(),
        start,
        open: decimal_text(first.price),
        high: decimal_text(prices().max().unwrap_or_default()),
        low: decimal_text(prices().min().unwrap_or_default()),
        close: decimal_text(last.price),
        volume: decimal_text(volume),
        vwap: vwap.map(decimal_text),
        trade_count: trades.len() as i64,
    }
}

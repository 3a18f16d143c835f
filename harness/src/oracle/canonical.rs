//! A result as text that does not depend on who computed it, in which order, or in which run.
//!
//! Each row is one line; its parts stand between `|`:
//!
//! ```text
//! trade|venue|symbol|trade_id|sequence|ts_event|ts_recv|price|quantity|side|vendor_data
//! quote|venue|symbol|sequence|ts_event|ts_recv|bid_price|bid_quantity|ask_price|ask_quantity|vendor_data
//! bar|venue|symbol|timeframe|start|open|high|low|close|volume|vwap|trade_count
//! gap|venue|symbol|data_type|first_missing|last_missing
//! ```
//!
//! * Times are whole nanoseconds since 1970; a bar's `start` too. Numbers have no leading zeros.
//! * Prices, quantities, volumes and vwap have exactly twelve decimals, as `61837.630000000000`;
//!   the vwap of a bar without volume is empty.
//! * `side` is `BUY`, `SELL`, `SELL_SHORT` or `UNKNOWN`; `timeframe` is `1m`, `5m`, `15m`, `30m`,
//!   `1h` or `1d`; `data_type` is `trades`, `quotes` or `depth`.
//! * `vendor_data` is JSON without spaces, its keys in order, as `{"M":"true"}`; `{}` if empty.
//!
//! Where a row came from (source, partition, offset, message id), a bar's revision and finality,
//! and when a gap was revealed are left out: they may differ between runs that are both right.
//!
//! [`ResultHash`] is one number for any set of such lines, whatever their order.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use super::number::decimal_text;

/// A trade as any engine may return it. Read from a JSON row, longs may be numbers or strings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CanonicalTrade {
    pub venue: String,
    pub symbol: String,
    #[serde(deserialize_with = "long")]
    pub trade_id: i64,
    #[serde(deserialize_with = "long")]
    pub sequence: i64,
    #[serde(deserialize_with = "long")]
    pub ts_event: i64,
    #[serde(deserialize_with = "long")]
    pub ts_recv: i64,
    pub price: String,
    pub quantity: String,
    pub side: String,
    #[serde(default, deserialize_with = "pairs")]
    pub vendor_data: BTreeMap<String, String>,
}

/// A best bid and offer as any engine may return it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CanonicalQuote {
    pub venue: String,
    pub symbol: String,
    #[serde(deserialize_with = "long")]
    pub sequence: i64,
    #[serde(deserialize_with = "long")]
    pub ts_event: i64,
    #[serde(deserialize_with = "long")]
    pub ts_recv: i64,
    pub bid_price: String,
    pub bid_quantity: String,
    pub ask_price: String,
    pub ask_quantity: String,
    #[serde(default, deserialize_with = "pairs")]
    pub vendor_data: BTreeMap<String, String>,
}

/// A bar as any engine may return it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CanonicalBar {
    pub venue: String,
    pub symbol: String,
    pub timeframe: String,
    /// In nanoseconds since 1970.
    #[serde(deserialize_with = "long")]
    pub start: i64,
    pub open: String,
    pub high: String,
    pub low: String,
    pub close: String,
    pub volume: String,
    pub vwap: Option<String>,
    #[serde(deserialize_with = "long")]
    pub trade_count: i64,
}

/// An open gap as any engine may return it; both ends are missing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CanonicalGap {
    pub venue: String,
    pub symbol: String,
    pub data_type: String,
    #[serde(deserialize_with = "long")]
    pub first_missing: i64,
    #[serde(deserialize_with = "long")]
    pub last_missing: i64,
}

impl fmt::Display for CanonicalTrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { venue, symbol, trade_id, sequence, ts_event, ts_recv, side, .. } = self;
        let [price, quantity] = [&self.price, &self.quantity].map(|text| twelve_decimals(text));
        let vendor_data = json(&self.vendor_data);
        write!(f, "trade|{venue}|{symbol}|{trade_id}|{sequence}|{ts_event}|{ts_recv}|")?;
        write!(f, "{price}|{quantity}|{side}|{vendor_data}")
    }
}

impl fmt::Display for CanonicalQuote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { venue, symbol, sequence, ts_event, ts_recv, .. } = self;
        let numbers = [&self.bid_price, &self.bid_quantity, &self.ask_price, &self.ask_quantity];
        let numbers = numbers.map(|text| twelve_decimals(text)).join("|");
        let vendor_data = json(&self.vendor_data);
        write!(f, "quote|{venue}|{symbol}|{sequence}|{ts_event}|{ts_recv}|{numbers}|{vendor_data}")
    }
}

impl fmt::Display for CanonicalBar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { venue, symbol, timeframe, start, trade_count, .. } = self;
        let numbers = [&self.open, &self.high, &self.low, &self.close, &self.volume];
        let numbers = numbers.map(|text| twelve_decimals(text)).join("|");
        let vwap = self.vwap.as_deref().map(twelve_decimals).unwrap_or_default();
        write!(f, "bar|{venue}|{symbol}|{timeframe}|{start}|{numbers}|{vwap}|{trade_count}")
    }
}

impl fmt::Display for CanonicalGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { venue, symbol, data_type, first_missing, last_missing } = self;
        write!(f, "gap|{venue}|{symbol}|{data_type}|{first_missing}|{last_missing}")
    }
}

/// One number for a set of canonical lines: equal for equal sets, whatever their order. A line
/// that stands twice counts twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResultHash {
    /// Σ of the lines' XXH3 128-bit hashes, modulo 2^128.
    sum: u128,
    lines: u64,
}

impl ResultHash {
    /// Adds one row.
    pub fn add(&mut self, row: &impl fmt::Display) {
        self.add_line(&row.to_string());
    }

    /// Adds one canonical line, without a line end.
    pub fn add_line(&mut self, line: &str) {
        self.sum = self.sum.wrapping_add(xxh3_128(line.as_bytes()));
        self.lines += 1;
    }
}

impl fmt::Display for ResultHash {
    /// As `<lines>:<32 hex digits>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:032x}", self.lines, self.sum)
    }
}

/// The lines that stand in one set only, for a person: `-` what is expected and not found, `+`
/// what is found and not expected. At most `limit` of each; empty if the sets are equal.
pub fn differences(expected: &[String], found: &[String], limit: usize) -> Vec<String> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    expected.iter().for_each(|line| *counts.entry(line).or_default() += 1);
    found.iter().for_each(|line| *counts.entry(line).or_default() -= 1);
    let missing = counts.iter().filter(|(_, count)| **count > 0).take(limit);
    let surplus = counts.iter().filter(|(_, count)| **count < 0).take(limit);
    let mut lines: Vec<(&str, char)> = missing.map(|(line, _)| (*line, '-')).collect();
    lines.extend(surplus.map(|(line, _)| (*line, '+')));
    lines.sort_unstable();
    lines.into_iter().map(|(line, sign)| format!("{sign} {line}")).collect()
}

/// `text` with exactly twelve decimals; what is no such number stays as it is, and so differs.
fn twelve_decimals(text: &str) -> String {
    let magnitude = text.strip_prefix('-').unwrap_or(text);
    match super::number::parse_decimal(magnitude) {
        Ok(units) => decimal_text(if magnitude.len() < text.len() { -units } else { units }),
        Err(_) => text.to_owned(),
    }
}

fn json(pairs: &BTreeMap<String, String>) -> String {
    serde_json::to_string(pairs).expect("a map of strings is JSON")
}

/// A long as a number or, from engines that spare JavaScript its rounding, as a string.
fn long<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
    number.ok_or_else(|| serde::de::Error::custom(format!("{value} is not a long")))
}

/// A map as an object, as a list of `{"key":…,"value":…}` or of `[key, value]`, or `null`.
fn pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let found: Option<BTreeMap<String, String>> = match &value {
        Value::Null => Some(BTreeMap::new()),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
        Value::Array(entries) => entries.iter().map(entry).collect(),
        _ => None,
    };
    found.ok_or_else(|| serde::de::Error::custom(format!("{value} is not a map of strings")))
}

fn entry(entry: &Value) -> Option<(String, String)> {
    let part = |name: &str, at: usize| entry.get(name).or_else(|| entry.get(at))?.as_str();
    Some((part("key", 0)?.to_owned(), part("value", 1)?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_different_engines_become_the_same_line() {
        let ours = r#"{"venue":"BINANCE","symbol":"BTC-USDT","trade_id":7,"sequence":7,"ts_event":5,"ts_recv":6,"price":"1.5","quantity":"2","side":"BUY","vendor_data":{"M":"true"}}"#;
        let theirs = r#"{"symbol":"BTC-USDT","venue":"BINANCE","trade_id":"7","sequence":"7","ts_event":"5","ts_recv":6,"price":"1.500000000000","quantity":"2.000000000000","side":"BUY","vendor_data":[{"key":"M","value":"true"}],"offset":3}"#;
        let lines = [ours, theirs].map(|row| {
            let trade: CanonicalTrade = serde_json::from_str(row).unwrap();
            trade.to_string()
        });
        let expected =
            r#"trade|BINANCE|BTC-USDT|7|7|5|6|1.500000000000|2.000000000000|BUY|{"M":"true"}"#;
        assert_eq!(lines, [expected, expected]);
    }

    #[test]
    fn a_hash_sees_what_is_missing_and_what_is_twice_but_not_order() {
        let hash = |lines: &[&str]| {
            let mut hash = ResultHash::default();
            lines.iter().for_each(|line| hash.add_line(line));
            hash
        };
        assert_eq!(hash(&["a", "b", "b"]), hash(&["b", "a", "b"]));
        assert_ne!(hash(&["a", "b"]), hash(&["a", "b", "b"]));
        assert_ne!(hash(&["a"]), hash(&["a", "b"]));
        let strings =
            |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let found = differences(&strings(&["a", "b"]), &strings(&["b", "c", "b"]), 10);
        assert_eq!(found, ["- a", "+ b", "+ c"]);
    }
}

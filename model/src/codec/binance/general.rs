//! The general reader: any JSON, and what exactly is wrong with it.

use std::borrow::Cow;
use std::fmt::Display;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Body, Message, Record, Symbol, VendorHandles};
use crate::codec::{Problem, excerpt};
use crate::decimal::{Decimal, DecimalError};
use crate::instrument::{RAW_SYMBOL_BYTES_MAX, is_raw_symbol};
use crate::record::{RejectReason, Side, VendorData, VendorFields};
use crate::time::Nanos;

/// The fields of all messages. A value is JSON, but nothing more is known of it here, so that what
/// is wrong with it can be said with its name.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow, rename = "e")]
    event: Option<&'a RawValue>,
    #[serde(borrow, rename = "E")]
    sent: Option<&'a RawValue>,
    #[serde(borrow, rename = "T")]
    transacted: Option<&'a RawValue>,
    #[serde(borrow, rename = "s")]
    symbol: Option<&'a RawValue>,
    #[serde(borrow, rename = "t")]
    trade_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "p")]
    price: Option<&'a RawValue>,
    #[serde(borrow, rename = "q")]
    quantity: Option<&'a RawValue>,
    /// Trade: the buyer's order. Quote: the bid's price. Depth: bids.
    #[serde(borrow, rename = "b")]
    b: Option<&'a RawValue>,
    /// Trade: the seller's order. Quote: the ask's price. Depth: asks.
    #[serde(borrow, rename = "a")]
    a: Option<&'a RawValue>,
    #[serde(borrow, rename = "B")]
    bid_quantity: Option<&'a RawValue>,
    #[serde(borrow, rename = "A")]
    ask_quantity: Option<&'a RawValue>,
    #[serde(borrow, rename = "m")]
    maker_buys: Option<&'a RawValue>,
    #[serde(borrow, rename = "M")]
    best_match: Option<&'a RawValue>,
    #[serde(borrow, rename = "X")]
    order_type: Option<&'a RawValue>,
    #[serde(borrow, rename = "U")]
    first: Option<&'a RawValue>,
    #[serde(borrow, rename = "u")]
    last: Option<&'a RawValue>,
    #[serde(borrow, rename = "pu")]
    previous: Option<&'a RawValue>,
    #[serde(borrow, rename = "lastUpdateId")]
    snapshot: Option<&'a RawValue>,
    #[serde(borrow)]
    bids: Option<&'a RawValue>,
    #[serde(borrow)]
    asks: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
}

/// Reads any line.
pub(super) fn read<'a>(line: &'a [u8], vendor: &VendorHandles) -> Result<Message<'a>, Problem> {
    let text = std::str::from_utf8(line).map_err(|error| {
        problem(RejectReason::NotUtf8, format!("not UTF-8 from byte {}", error.valid_up_to()))
    })?;
    let (received, _) = split_receive_time(line)?;
    // The receive time is ASCII, so the message begins between two characters.
    let json = match received {
        Some(_) => text.split_once(' ').map_or("", |(_, json)| json),
        None => text,
    };
    let mut fields = object(json, "the message")?;
    if let Some(data) = fields.data {
        fields = object(data.get(), "field `data`")?;
    }
    fields.message(received, vendor)
}

/// The receive time in front of a captured line, and the message behind it.
pub(super) fn split_receive_time(line: &[u8]) -> Result<(Option<Nanos>, &[u8]), Problem> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || line.get(digits) != Some(&b' ') {
        return Ok((None, line));
    }
    let text = std::str::from_utf8(&line[..digits]).expect("digits are ASCII");
    let nanos: i64 = text.parse().map_err(|_| {
        let detail = format!("receive time {}: beyond {} nanoseconds", excerpt(text), i64::MAX);
        problem(RejectReason::OutOfRange, detail)
    })?;
    Ok((Some(Nanos(nanos)), &line[digits + 1..]))
}

fn object<'a>(json: &'a str, what: &str) -> Result<Fields<'a>, Problem> {
    let whitespace = [' ', '\t', '\n', '\r'];
    if json.trim_start_matches(whitespace).starts_with('{') {
        return serde_json::from_str(json).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                problem(RejectReason::InvalidField, format!("{what}: {error}"))
            }
            _ => problem(RejectReason::NotJson, format!("{what} is not JSON: {error}")),
        });
    }
    // A struct could also be read from an array, by position; Binance sends none that way.
    match serde_json::from_str::<serde::de::IgnoredAny>(json) {
        Ok(_) => {
            let detail = format!("{what} is not a JSON object: {}", excerpt(json));
            Err(problem(RejectReason::UnknownEvent, detail))
        }
        Err(error) => Err(problem(RejectReason::NotJson, format!("{what} is not JSON: {error}"))),
    }
}

impl<'a> Fields<'a> {
    fn message(
        &self,
        received: Option<Nanos>,
        vendor: &VendorHandles,
    ) -> Result<Message<'a>, Problem> {
        let Some(event) = self.event else {
            return self.message_without_event(received);
        };
        match &*string("e", Some(event))? {
            "trade" => self.trade(received, vendor),
            "bookTicker" => self.quote(received),
            "depthUpdate" => self.depth(received),
            other => {
                let detail = format!("event {} is none that K2 takes", excerpt(other));
                Err(problem(RejectReason::UnknownEvent, detail))
            }
        }
    }

    fn message_without_event(&self, received: Option<Nanos>) -> Result<Message<'a>, Problem> {
        if self.snapshot.is_some() {
            sequence("lastUpdateId", self.snapshot)?;
            required("bids", self.bids)?;
            required("asks", self.asks)?;
            Ok(Message::Snapshot)
        } else if self.last.is_some() {
            self.quote(received)
        } else if let Some(error) = self.error.or(self.code) {
            let detail = format!("the venue reports an error: {}", excerpt(error.get()));
            Err(problem(RejectReason::UnknownEvent, detail))
        } else if self.id.is_some() {
            Ok(Message::Control)
        } else {
            let detail = "no field tells the event: `e`, `u`, `lastUpdateId` or `id`";
            Err(problem(RejectReason::UnknownEvent, detail.to_owned()))
        }
    }

    fn trade(
        &self,
        received: Option<Nanos>,
        vendor: &VendorHandles,
    ) -> Result<Message<'a>, Problem> {
        let symbol = symbol(self.symbol)?;
        let trade_id = sequence("t", self.trade_id)?;
        let price = decimal("p", self.price)?;
        let quantity = decimal("q", self.quantity)?;
        let maker_buys = boolean("m", required("m", self.maker_buys)?)?;
        let (ts_event, ts_recv) = self.times(received)?.ok_or_else(|| missing("T"))?;
        let side = if maker_buys { Side::Sell } else { Side::Buy };
        let vendor_data = self.vendor_data(vendor)?;
        let body = Body::Trade { trade_id, price, quantity, side, vendor_data };
        Ok(Message::Record(Record { symbol, ts_event, ts_recv, body }))
    }

    /// What a trade has and K2 has no column for, ordered by key.
    fn vendor_data(&self, vendor: &VendorHandles) -> Result<VendorData, Problem> {
        let best_match = self.best_match.map(|raw| boolean("M", raw)).transpose()?;
        let order_type = self.order_type.map(|raw| string("X", Some(raw))).transpose()?;
        let seller = self.a.map(|raw| whole_number("a", raw)).transpose()?;
        let buyer = self.b.map(|raw| whole_number("b", raw)).transpose()?;
        if seller.is_none() && buyer.is_none() {
            match (best_match, &order_type) {
                (None, None) => return Ok(VendorData::EMPTY),
                (Some(best_match), None) => return Ok(vendor.best_match(best_match)),
                (None, Some(order_type)) => {
                    if let Some(handle) = vendor.order_type(order_type) {
                        return Ok(handle);
                    }
                }
                (Some(_), Some(_)) => {}
            }
        }
        let pairs = [
            ("M", best_match.map(|best_match| best_match.to_string())),
            ("X", order_type.map(Cow::into_owned)),
            ("a", seller.map(|order| order.to_string())),
            ("b", buyer.map(|order| order.to_string())),
        ];
        let given = pairs.into_iter().filter_map(|(key, value)| Some((key.into(), value?.into())));
        Ok(VendorData::owned(VendorFields::of_pairs(given.collect())))
    }

    fn quote(&self, received: Option<Nanos>) -> Result<Message<'a>, Problem> {
        let symbol = symbol(self.symbol)?;
        let body = Body::Quote {
            sequence: sequence("u", self.last)?,
            bid_price: decimal("b", self.b)?,
            bid_quantity: decimal("B", self.bid_quantity)?,
            ask_price: decimal("a", self.a)?,
            ask_quantity: decimal("A", self.ask_quantity)?,
        };
        let times = self.times(received)?.or(received.map(|received| (received, received)));
        let (ts_event, ts_recv) = times.ok_or_else(|| {
            let detail = "fields `T` and `E` are missing, and no receive time stands in front of \
                          the message: a spot bookTicker can be dated only by its receive time";
            problem(RejectReason::MissingField, detail.to_owned())
        })?;
        Ok(Message::Record(Record { symbol, ts_event, ts_recv, body }))
    }

    fn depth(&self, received: Option<Nanos>) -> Result<Message<'a>, Problem> {
        let symbol = symbol(self.symbol)?;
        let own_first = sequence("U", self.first)?;
        let last = sequence("u", self.last)?;
        if own_first > last {
            let detail = format!("field `u`: {last} is before `U`, {own_first}");
            return Err(problem(RejectReason::InvalidField, detail));
        }
        let mut first = own_first;
        if self.previous.is_some() {
            let previous = sequence("pu", self.previous)?;
            if previous >= last {
                let detail = format!("field `pu`: {previous} is not before `u`, {last}");
                return Err(problem(RejectReason::InvalidField, detail));
            }
            first = previous + 1;
        }
        let (ts_event, ts_recv) = self.times(received)?.ok_or_else(|| missing("E"))?;
        Ok(Message::Record(Record { symbol, ts_event, ts_recv, body: Body::Depth { first, last } }))
    }

    /// Event and receive time; `None` if the message has no time of its own.
    fn times(&self, received: Option<Nanos>) -> Result<Option<(Nanos, Nanos)>, Problem> {
        let transacted = self.transacted.map(|raw| time("T", raw)).transpose()?;
        let sent = self.sent.map(|raw| time("E", raw)).transpose()?;
        let Some(ts_event) = transacted.or(sent) else {
            return Ok(None);
        };
        Ok(Some((ts_event, received.or(sent).unwrap_or(ts_event))))
    }
}

fn required<'a>(name: &str, raw: Option<&'a RawValue>) -> Result<&'a RawValue, Problem> {
    raw.ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Problem {
    problem(RejectReason::MissingField, format!("field `{name}` is missing or null"))
}

/// The value of a JSON string.
fn string<'a>(name: &str, raw: Option<&'a RawValue>) -> Result<Cow<'a, str>, Problem> {
    let json = required(name, raw)?.get();
    let Some(quoted) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(invalid(name, json, "not a string"));
    };
    if !quoted.contains('\\') {
        return Ok(Cow::Borrowed(quoted));
    }
    let decoded = serde_json::from_str(json).map_err(|error| invalid(name, json, error))?;
    Ok(Cow::Owned(decoded))
}

/// Takes the symbol as it stands: one that needs an escape is none.
fn symbol(raw: Option<&RawValue>) -> Result<Symbol<'_>, Problem> {
    let json = required("s", raw)?.get();
    let quoted = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let text = quoted.ok_or_else(|| invalid("s", json, "not a string"))?;
    if !is_raw_symbol(text) {
        let why = format!(
            "not 1 to {RAW_SYMBOL_BYTES_MAX} ASCII letters, digits or any of `_ - . / : + @ #`"
        );
        return Err(invalid("s", json, why));
    }
    Ok(Symbol::new(text.as_bytes()))
}

fn boolean(name: &str, raw: &RawValue) -> Result<bool, Problem> {
    match raw.get() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(invalid(name, other, "neither true nor false")),
    }
}

/// A JSON integer from 0 to `i64::MAX`.
fn whole_number(name: &str, raw: &RawValue) -> Result<i64, Problem> {
    let json = raw.get();
    let digits = json.strip_prefix('-').unwrap_or(json);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(name, json, "not a whole number"));
    }
    let number = json.parse().ok().filter(|&number: &i64| !json.starts_with('-') && number >= 0);
    number.ok_or_else(|| {
        let detail = format!("field `{name}`: {} is not from 0 to {}", excerpt(json), i64::MAX);
        problem(RejectReason::OutOfRange, detail)
    })
}

fn sequence(name: &str, raw: Option<&RawValue>) -> Result<u64, Problem> {
    whole_number(name, required(name, raw)?).map(i64::cast_unsigned)
}

fn time(name: &str, raw: &RawValue) -> Result<Nanos, Problem> {
    let millis = whole_number(name, raw)?;
    Nanos::from_millis(millis).ok_or_else(|| {
        let detail = format!("field `{name}`: {millis} ms does not fit 64 bits of nanoseconds");
        problem(RejectReason::OutOfRange, detail)
    })
}

/// A price or quantity: a decimal in a string, not negative.
fn decimal(name: &str, raw: Option<&RawValue>) -> Result<Decimal, Problem> {
    let text = string(name, raw)?;
    let number = Decimal::parse(text.as_bytes()).map_err(|error| {
        let reason = match error {
            DecimalError::Form => RejectReason::InvalidField,
            DecimalError::TooPrecise => RejectReason::TooPrecise,
            DecimalError::OutOfRange => RejectReason::OutOfRange,
        };
        problem(reason, format!("field `{name}`: {:?}: {error}", excerpt(&text)))
    })?;
    if number.is_negative() {
        let detail = format!("field `{name}`: {} is negative", excerpt(&text));
        return Err(problem(RejectReason::Negative, detail));
    }
    Ok(number)
}

fn invalid(name: &str, value: &str, why: impl Display) -> Problem {
    let detail = format!("field `{name}`: {}: {why}", excerpt(value));
    problem(RejectReason::InvalidField, detail)
}

fn problem(reason: RejectReason, detail: String) -> Problem {
    Problem { reason, detail }
}

//! One line of a Binance feed, read with a general JSON parser and no regard for speed.

use k2_model::RejectReason;
use serde_json::{Map, Value};

use super::number::parse_decimal;

/// Longest spelling of a symbol.
const SYMBOL_BYTES_MAX: usize = 64;

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Trade {
        raw_symbol: String,
        id: u64,
        trade: Trade,
    },
    Quote {
        raw_symbol: String,
        id: u64,
        quote: Quote,
    },
    Depth {
        raw_symbol: String,
        first: u64,
        last: u64,
    },
    /// A snapshot of a book.
    Snapshot,
    /// A reply to a subscription.
    Control,
}

/// A trade without its identity. Prices and quantities are in 10^-12, times in ns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trade {
    pub ts_event: i64,
    pub ts_recv: i64,
    pub price: i128,
    pub quantity: i128,
    pub side: &'static str,
    /// What has no column, by key.
    pub vendor_data: Vec<(&'static str, String)>,
}

/// A best bid and offer without its identity, in the units of [`Trade`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    pub ts_event: i64,
    pub ts_recv: i64,
    pub bid_price: i128,
    pub bid_quantity: i128,
    pub ask_price: i128,
    pub ask_quantity: i128,
}

/// Reads a line without its line end.
pub(super) fn read(line: &[u8]) -> Result<Message, RejectReason> {
    let text = std::str::from_utf8(line).map_err(|_| RejectReason::NotUtf8)?;
    let (received, json) = split_receive_time(text)?;
    let value: Value = serde_json::from_str(json).map_err(|_| RejectReason::NotJson)?;
    let mut fields = value.as_object().ok_or(RejectReason::UnknownEvent)?;
    if let Some(data) = present(fields, "data") {
        fields = data.as_object().ok_or(RejectReason::UnknownEvent)?;
    }
    let fields = Fields { fields, received };
    match present(fields.fields, "e") {
        Some(Value::String(event)) => match event.as_str() {
            "trade" => fields.trade(),
            "bookTicker" => fields.quote(),
            "depthUpdate" => fields.depth(),
            _ => Err(RejectReason::UnknownEvent),
        },
        Some(_) => Err(RejectReason::InvalidField),
        None => fields.without_event(),
    }
}

/// The receive time, if the line begins with digits and a space, and what follows it.
fn split_receive_time(text: &str) -> Result<(Option<i64>, &str), RejectReason> {
    match text.split_once(' ') {
        Some((front, json)) if !front.is_empty() && front.bytes().all(|b| b.is_ascii_digit()) => {
            let received = front.parse().map_err(|_| RejectReason::OutOfRange)?;
            Ok((Some(received), json))
        }
        _ => Ok((None, text)),
    }
}

/// The value of a field; a `null` is none.
fn present<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

struct Fields<'a> {
    fields: &'a Map<String, Value>,
    received: Option<i64>,
}

impl<'a> Fields<'a> {
    fn without_event(&self) -> Result<Message, RejectReason> {
        if present(self.fields, "lastUpdateId").is_some() {
            self.number("lastUpdateId")?;
            self.required("bids")?;
            self.required("asks")?;
            Ok(Message::Snapshot)
        } else if present(self.fields, "u").is_some() {
            self.quote()
        } else if present(self.fields, "error").or(present(self.fields, "code")).is_some() {
            Err(RejectReason::UnknownEvent)
        } else if present(self.fields, "id").is_some() {
            Ok(Message::Control)
        } else {
            Err(RejectReason::UnknownEvent)
        }
    }

    fn trade(&self) -> Result<Message, RejectReason> {
        let raw_symbol = self.symbol()?;
        let id = self.number("t")?;
        let price = self.decimal("p")?;
        let quantity = self.decimal("q")?;
        // The maker's side is named; the aggressor's is the other.
        let side = if self.boolean("m")? { "SELL" } else { "BUY" };
        let (ts_event, ts_recv) = self.times()?.ok_or(RejectReason::MissingField)?;
        let vendor_data = self.vendor_data()?;
        let trade = Trade { ts_event, ts_recv, price, quantity, side, vendor_data };
        Ok(Message::Trade { raw_symbol, id, trade })
    }

    fn vendor_data(&self) -> Result<Vec<(&'static str, String)>, RejectReason> {
        let mut data = Vec::new();
        if present(self.fields, "M").is_some() {
            data.push(("M", self.boolean("M")?.to_string()));
        }
        if let Some(order_type) = present(self.fields, "X") {
            let order_type = order_type.as_str().ok_or(RejectReason::InvalidField)?;
            data.push(("X", order_type.to_owned()));
        }
        for order in ["a", "b"] {
            if present(self.fields, order).is_some() {
                data.push((order, self.number(order)?.to_string()));
            }
        }
        Ok(data)
    }

    fn quote(&self) -> Result<Message, RejectReason> {
        let raw_symbol = self.symbol()?;
        let id = self.number("u")?;
        let [bid_price, bid_quantity] = [self.decimal("b")?, self.decimal("B")?];
        let [ask_price, ask_quantity] = [self.decimal("a")?, self.decimal("A")?];
        let received = self.received.map(|received| (received, received));
        let (ts_event, ts_recv) = self.times()?.or(received).ok_or(RejectReason::MissingField)?;
        let quote = Quote { ts_event, ts_recv, bid_price, bid_quantity, ask_price, ask_quantity };
        Ok(Message::Quote { raw_symbol, id, quote })
    }

    fn depth(&self) -> Result<Message, RejectReason> {
        let raw_symbol = self.symbol()?;
        let (mut first, last) = (self.number("U")?, self.number("u")?);
        if first > last {
            return Err(RejectReason::InvalidField);
        }
        if present(self.fields, "pu").is_some() {
            first = self.number("pu")? + 1;
            if first > last {
                return Err(RejectReason::InvalidField);
            }
        }
        self.times()?.ok_or(RejectReason::MissingField)?;
        Ok(Message::Depth { raw_symbol, first, last })
    }

    /// Event and receive time, in ns; `None` if the message names none.
    fn times(&self) -> Result<Option<(i64, i64)>, RejectReason> {
        let time = |name| match present(self.fields, name) {
            Some(_) => self.number(name)?.to_string().parse().map(Some).or(Err(OUT_OF_RANGE)),
            None => Ok(None),
        };
        let in_nanos = |millis: i64| millis.checked_mul(1_000_000).ok_or(OUT_OF_RANGE);
        let transacted = time("T")?.map(in_nanos).transpose()?;
        let sent = time("E")?.map(in_nanos).transpose()?;
        Ok(transacted.or(sent).map(|event| (event, self.received.or(sent).unwrap_or(event))))
    }

    fn required(&self, name: &str) -> Result<&'a Value, RejectReason> {
        present(self.fields, name).ok_or(RejectReason::MissingField)
    }

    fn symbol(&self) -> Result<String, RejectReason> {
        let text = self.required("s")?.as_str().ok_or(RejectReason::InvalidField)?;
        let takes = |c: char| c.is_ascii_alphanumeric() || "_-./:+@#".contains(c);
        if text.is_empty() || text.len() > SYMBOL_BYTES_MAX || !text.chars().all(takes) {
            return Err(RejectReason::InvalidField);
        }
        Ok(text.to_owned())
    }

    fn boolean(&self, name: &str) -> Result<bool, RejectReason> {
        self.required(name)?.as_bool().ok_or(RejectReason::InvalidField)
    }

    fn decimal(&self, name: &str) -> Result<i128, RejectReason> {
        parse_decimal(self.required(name)?.as_str().ok_or(RejectReason::InvalidField)?)
    }

    /// A whole number from 0 to the largest of `i64`.
    fn number(&self, name: &str) -> Result<u64, RejectReason> {
        let Value::Number(number) = self.required(name)? else {
            return Err(RejectReason::InvalidField);
        };
        match (number.as_i64(), number.is_f64()) {
            (Some(whole), _) => u64::try_from(whole).or(Err(OUT_OF_RANGE)),
            (None, false) => Err(OUT_OF_RANGE),
            (None, true) => Err(RejectReason::InvalidField),
        }
    }
}

const OUT_OF_RANGE: RejectReason = RejectReason::OutOfRange;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_messages_are_read_field_by_field() {
        let line = br#"1723161254087896568 {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}"#;
        let trade = Trade {
            ts_event: 1_723_161_255_342_000_000,
            ts_recv: 1_723_161_254_087_896_568,
            price: 61_837_630_000_000_000,
            quantity: 20_000_000_000,
            side: "SELL",
            vendor_data: vec![("M", "true".to_owned())],
        };
        let expected =
            Message::Trade { raw_symbol: "BTCUSDT".to_owned(), id: 3_735_683_259, trade };
        assert_eq!(read(line), Ok(expected));
        let line =
            br#"{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSDT","U":9,"u":12,"pu":4,"b":[],"a":[]}"#;
        let expected = Message::Depth { raw_symbol: "BTCUSDT".to_owned(), first: 5, last: 12 };
        assert_eq!(read(line), Ok(expected));
        assert_eq!(read(br#"{"result":null,"id":1}"#), Ok(Message::Control));
    }

    #[test]
    fn a_spot_quote_is_dated_by_its_receipt_or_not_at_all() {
        let json = r#"{"u":1,"s":"A","b":"1","B":"1","a":"2","A":"1"}"#;
        let received = read(format!("77 {json}").as_bytes());
        let Ok(Message::Quote { quote, .. }) = received else { panic!("{received:?}") };
        assert_eq!((quote.ts_event, quote.ts_recv), (77, 77));
        assert_eq!(read(json.as_bytes()), Err(RejectReason::MissingField));
    }
}

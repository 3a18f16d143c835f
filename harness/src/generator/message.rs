//! Messages as Binance spot sends them, byte for byte, and lines that are none.

use k2_model::RejectReason;

use super::market::{Book, Content, Level, Message};
use super::pairs;
use super::text::{Snippet, push_decimal, push_number};

/// How a line looks around its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineForm {
    /// `<receive time in ns> ` stands in front, as in a capture.
    pub receive_time: bool,
    /// The message stands in a combined stream's `{"stream":…,"data":…}`.
    pub envelope: bool,
}

/// Writes messages, with what recurs in each symbol's kept ready.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    envelope: bool,
    names: Vec<Names>,
}

/// The parts of a message that name its symbol.
#[derive(Clone, Debug)]
struct Names {
    /// `,"s":"BTCUSDT"`
    field: Snippet,
    /// `{"stream":"btcusdt@`
    stream: Snippet,
}

impl Writer {
    pub(super) fn new(symbols: u32, envelope: bool) -> Self {
        let named = |rank| {
            let name = pairs::pair(rank).name;
            Names {
                field: Snippet::new(&format!(r#","s":"{name}""#)),
                stream: Snippet::new(&format!(r#"{{"stream":"{}@"#, name.to_lowercase())),
            }
        };
        Self { envelope, names: (0..symbols).map(named).collect() }
    }

    pub(super) fn push(&self, out: &mut Vec<u8>, message: &Message) {
        let names = &self.names[message.symbol];
        if self.envelope {
            names.stream.push(out);
            out.extend_from_slice(match message.content {
                Content::Trade { .. } => br#"trade","data":"#,
                Content::Quote { .. } => br#"bookTicker","data":"#,
                Content::Depth(_) => br#"depth@100ms","data":"#,
            });
        }
        match &message.content {
            Content::Trade { price, quantity, buyer_is_maker } => {
                push_trade(out, names, message, *price, *quantity, *buyer_is_maker);
            }
            Content::Quote { bid, ask } => push_quote(out, names, message.last, bid, ask),
            Content::Depth(book) => push_depth(out, names, message, book),
        }
        if self.envelope {
            out.push(b'}');
        }
    }
}

fn push_trade(
    out: &mut Vec<u8>,
    names: &Names,
    message: &Message,
    price: u64,
    quantity: u64,
    buyer_is_maker: bool,
) {
    out.extend_from_slice(br#"{"e":"trade","E":"#);
    push_number(out, message.sent_ms.unsigned_abs());
    names.field.push(out);
    out.extend_from_slice(br#","t":"#);
    push_number(out, message.last);
    out.extend_from_slice(br#","p":""#);
    push_decimal(out, price);
    out.extend_from_slice(br#"","q":""#);
    push_decimal(out, quantity);
    out.extend_from_slice(br#"","T":"#);
    push_number(out, message.event_ms.unsigned_abs());
    if buyer_is_maker {
        out.extend_from_slice(br#","m":true,"M":true}"#);
    } else {
        out.extend_from_slice(br#","m":false,"M":true}"#);
    }
}

fn push_quote(out: &mut Vec<u8>, names: &Names, number: u64, bid: &Level, ask: &Level) {
    out.extend_from_slice(br#"{"u":"#);
    push_number(out, number);
    names.field.push(out);
    for (field, decimal) in [
        (br#","b":""#, bid.price),
        (br#","B":""#, bid.quantity),
        (br#","a":""#, ask.price),
        (br#","A":""#, ask.quantity),
    ] {
        out.extend_from_slice(field);
        push_decimal(out, decimal);
        out.push(b'"');
    }
    out.push(b'}');
}

fn push_depth(out: &mut Vec<u8>, names: &Names, message: &Message, book: &Book) {
    out.extend_from_slice(br#"{"e":"depthUpdate","E":"#);
    push_number(out, message.sent_ms.unsigned_abs());
    names.field.push(out);
    out.extend_from_slice(br#","U":"#);
    push_number(out, message.first);
    out.extend_from_slice(br#","u":"#);
    push_number(out, message.last);
    for (field, levels) in [(br#","b":["#, &book.bids), (br#","a":["#, &book.asks)] {
        out.extend_from_slice(field);
        for (at, level) in levels.iter().enumerate() {
            out.extend_from_slice(if at == 0 { br#"[""# } else { br#",[""# });
            push_decimal(out, level.price);
            out.extend_from_slice(br#"",""#);
            push_decimal(out, level.quantity);
            out.extend_from_slice(br#""]"#);
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// Lines with exactly one thing wrong, each with the reason that they are rejected for.
pub(super) const MALFORMED: [(RejectReason, &[u8]); 8] = [
    (RejectReason::NotUtf8, b"{\"e\":\"trade\",\"E\":1704067200000,\"s\":\"BTC\xff\xfeUSDT\",\"t\":1,\"p\":\"1.00000000\",\"q\":\"1.00000000\",\"T\":1704067200000,\"m\":true,\"M\":true}"),
    (RejectReason::NotJson, br#"{"e":"trade","E":1704067200000,"s":"BTCUSDT","t":1,"p":"1.0000"#),
    (RejectReason::UnknownEvent, br#"{"e":"24hrMiniTicker","E":1704067200000,"s":"BTCUSDT","c":"1.00000000"}"#),
    (RejectReason::MissingField, br#"{"e":"trade","E":1704067200000,"s":"BTCUSDT","t":1,"q":"1.00000000","T":1704067200000,"m":true,"M":true}"#),
    (RejectReason::InvalidField, br#"{"e":"trade","E":1704067200000,"s":"BTCUSDT","t":1,"p":"1.0x","q":"1.00000000","T":1704067200000,"m":true,"M":true}"#),
    (RejectReason::TooPrecise, br#"{"e":"trade","E":1704067200000,"s":"BTCUSDT","t":1,"p":"1.0000000000001","q":"1.00000000","T":1704067200000,"m":true,"M":true}"#),
    (RejectReason::OutOfRange, br#"{"e":"trade","E":1704067200000,"s":"BTCUSDT","t":1,"p":"1.00000000","q":"100000000000000000000000000","T":1704067200000,"m":true,"M":true}"#),
    (RejectReason::Negative, br#"{"e":"trade","E":1704067200000,"s":"BTCUSDT","t":1,"p":"1.00000000","q":"-1.00000000","T":1704067200000,"m":true,"M":true}"#),
];

//! Messages in all forms that the venue has used, and what can happen to them on the way.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::strategy::Union;

use super::{decimal, millis};
use crate::record::{Side, Trade};
use crate::time::Nanos;

/// The parts of a trade message that its record must show.
#[derive(Clone, Debug)]
pub(super) struct TradeMessage {
    usdm: bool,
    received: Option<i64>,
    enveloped: bool,
    sent: i64,
    traded: i64,
    symbol: String,
    trade_id: u64,
    price: String,
    quantity: String,
    maker_buys: bool,
    vendor: String,
}

impl TradeMessage {
    pub(super) fn venue(&self) -> &'static str {
        if self.usdm { "BINANCE_USDM" } else { "BINANCE" }
    }

    pub(super) fn line(&self) -> String {
        let Self { sent, traded, symbol, trade_id, price, quantity, maker_buys, vendor, .. } = self;
        let text = |value: &str| format!("\"{value}\"");
        let mut fields = vec![("e", text("trade")), ("E", sent.to_string())];
        if self.usdm {
            fields.push(("T", traded.to_string()));
        }
        fields.push(("s", text(symbol)));
        fields.push(("t", trade_id.to_string()));
        fields.push(("p", text(price)));
        fields.push(("q", text(quantity)));
        if self.usdm {
            fields.push(("X", text(vendor)));
        } else {
            fields.push(("T", traded.to_string()));
        }
        fields.push(("m", maker_buys.to_string()));
        if !self.usdm {
            fields.push(("M", vendor.clone()));
        }
        line_of(self.received.map(|nanos| nanos.to_string()), self.enveloped, &object(&fields))
    }

    #[track_caller]
    pub(super) fn assert_same(&self, trade: &Trade) {
        assert_eq!(*trade.instrument.venue, *self.venue());
        assert_eq!(*trade.instrument.raw_symbol, *self.symbol);
        assert_eq!((trade.trade_id, trade.sequence), (self.trade_id, self.trade_id));
        assert_eq!(trade.ts_event, millis(self.traded));
        assert_eq!(trade.ts_recv, self.received.map_or(millis(self.sent), Nanos));
        assert_eq!((trade.price, trade.quantity), (decimal(&self.price), decimal(&self.quantity)));
        assert_eq!(trade.side == Side::Sell, self.maker_buys);
        let key = if self.usdm { "X" } else { "M" };
        assert_eq!(*trade.vendor_data.pairs(), [(key.into(), self.vendor.as_str().into())]);
    }
}

/// A trade message in one of today's forms.
pub(super) fn trade() -> impl Strategy<Value = TradeMessage> {
    let number = || "(0|[1-9][0-9]{0,17})([.][0-9]{1,12})?";
    let head = (any::<bool>(), proptest::option::of(0..i64::MAX), any::<bool>());
    let times = (0..9_223_372_036_854i64, 0..9_223_372_036_854i64);
    let body = ("[A-Z0-9_]{1,20}", 0..=i64::MAX.cast_unsigned(), number(), number());
    let tail = (any::<bool>(), any::<bool>(), "[A-Z_]{0,18}");
    (head, times, body, tail).prop_map(|(head, times, body, tail)| {
        let (usdm, received, enveloped) = head;
        let (symbol, trade_id, price, quantity) = body;
        let (maker_buys, best_match, order_type) = tail;
        TradeMessage {
            usdm,
            received,
            enveloped,
            sent: times.0,
            traded: times.1,
            symbol,
            trade_id,
            price,
            quantity,
            maker_buys,
            vendor: if usdm { order_type } else { best_match.to_string() },
        }
    })
}

/// A line of any kind; every other one is mangled.
pub(super) fn line() -> impl Strategy<Value = Vec<u8>> {
    let received = proptest::option::of(prop_oneof![
        5 => "17[0-9]{17}",
        1 => "[0-9]{1,21}",
    ]);
    let damages = prop_oneof![Just(Vec::new()), vec(damage(), 1..4)];
    (received, any::<bool>(), message(), damages).prop_map(
        |(received, enveloped, json, damages)| {
            let mut line = line_of(received, enveloped, &json).into_bytes();
            damages.iter().for_each(|damage| damage.apply(&mut line));
            line
        },
    )
}

type Field = (&'static str, String);

fn message() -> impl Strategy<Value = String> {
    let order = prop_oneof![
        9 => Just(None),
        1 => vec(any::<Index>(), 24).prop_map(Some),
    ];
    (fields(), order).prop_map(|(mut fields, order)| {
        if let Some(order) = order {
            for (place, index) in order.iter().enumerate().take(fields.len()) {
                let other = index.index(fields.len());
                fields.swap(place, other);
            }
        }
        object(&fields)
    })
}

/// Each kind of message: how often it comes, and the names of its fields in their order. What
/// stands behind `?` is there in half of the messages, the rest in nearly all.
const KINDS: [(u32, &str); 9] = [
    (3, "e=trade E s t p q T m M"),
    (1, "e=trade E s t p q order/b? order/a? T? m M?"),
    (2, "e=trade E T s t p q X m"),
    (2, "u s b B a A"),
    (2, "e=bookTicker u s b B a A T E"),
    (2, "e=depthUpdate E s U later/u levels/b levels/a"),
    (2, "e=depthUpdate E T s U later/u pu levels/b levels/a"),
    (1, "lastUpdateId E? T? levels/bids levels/asks"),
    (1, "result? error? id?"),
];

fn fields() -> impl Strategy<Value = Vec<Field>> {
    let kinds = KINDS.map(|(weight, names)| {
        let fields = names.split(' ').map(|name| {
            let (present, name) = match name.strip_suffix('?') {
                Some(name) => (0.5, name),
                None => (0.99, name),
            };
            proptest::option::weighted(present, value(name).prop_map(move |value| (name, value)))
        });
        let fields = fields.collect::<Vec<_>>();
        (weight, fields.prop_map(|fields| fields.into_iter().flatten().collect()).boxed())
    });
    Union::new_weighted(kinds.into())
}

/// A value for the field that stands behind `name`, mostly of the right type.
fn value(name: &'static str) -> BoxedStrategy<String> {
    let (kind, _) = name.split_once(['/', '=']).unwrap_or((name, ""));
    let right = match kind {
        "e" => Just(format!("\"{}\"", &name[2..])).boxed(),
        "s" => prop_oneof![
            5 => select(vec!["BTCUSDT", "ETHUSDT", "1000PEPEUSDT"]).prop_map(str::to_owned),
            1 => "[A-Z0-9_]{0,18}",
            1 => "[ -~]{0,70}",
        ]
        .prop_map(|symbol| format!("\"{symbol}\""))
        .boxed(),
        "p" | "q" | "b" | "a" | "B" | "A" => prop_oneof![
            6 => "[0-9]{1,6}[.][0-9]{8}",
            3 => "[0-9]{1,28}([.][0-9]{1,14})?",
            1 => "-?[0-9]{0,3}[.]?[0-9]{0,3}",
        ]
        .prop_map(|number| format!("\"{number}\""))
        .boxed(),
        "m" | "M" => any::<bool>().prop_map(|flag| flag.to_string()).boxed(),
        "X" => select(vec!["MARKET", "LIMIT", "NA", "NOVEL", "", "\\u004dARKET"])
            .prop_map(|order_type| format!("\"{order_type}\""))
            .boxed(),
        "E" | "T" => prop_oneof![
            5 => "17[0-9]{11}",
            1 => "[0-9]{1,20}",
        ]
        .boxed(),
        "levels" => levels().boxed(),
        "result" => Just("null".to_owned()).boxed(),
        "later" => (50_000u64..60_000).prop_map(|number| number.to_string()).boxed(),
        "U" | "pu" => (40_000u64..51_000).prop_map(|number| number.to_string()).boxed(),
        _ => prop_oneof![
            5 => "[1-9][0-9]{5,12}",
            1 => "[0-9]{1,20}",
        ]
        .boxed(),
    };
    let wrong =
        select(vec!["null", "-1", "1.0", "1e5", "\"\"", "[]", "{\"e\":1}", "true", "\"x\""]);
    prop_oneof![60 => right, 1 => wrong.prop_map(str::to_owned)].boxed()
}

fn levels() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        9 => "\\[\"[0-9]{1,6}[.][0-9]{2,8}\",\"[0-9]{1,6}[.][0-9]{2,8}\"\\]",
        1 => select(vec!["[]", "[\"1\"]", "[1,2]", "[\"1/2\",\"..\"]", "[\"1\", \"2\"]", "7"])
            .prop_map(str::to_owned),
    ];
    vec(level, 0..6).prop_map(|levels| format!("[{}]", levels.join(",")))
}

/// What happens to a message on a bad way: at some place, some bytes are replaced.
#[derive(Clone, Debug)]
struct Damage {
    place: Index,
    kind: DamageKind,
}

#[derive(Clone, Debug)]
enum DamageKind {
    Flip(u8),
    Set(u8),
    Cut(usize),
    Insert(Vec<u8>),
    Truncate,
    Repeat(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let telling = || select(b"\"{}[],:\\-.0 9eE+\0\n\rbuTtrue\x80\xc3".to_vec());
    let inserted = prop_oneof![
        vec(telling(), 1..4),
        subsequence(b",\"b\":1,\"e\":\"trade\"".to_vec(), 0..19),
    ];
    let kind = prop_oneof![
        (0..8u8).prop_map(|bit| DamageKind::Flip(1 << bit)),
        telling().prop_map(DamageKind::Set),
        (1..12usize).prop_map(DamageKind::Cut),
        inserted.prop_map(DamageKind::Insert),
        Just(DamageKind::Truncate),
        (1..20usize).prop_map(DamageKind::Repeat),
    ];
    (any::<Index>(), kind).prop_map(|(place, kind)| Damage { place, kind })
}

impl Damage {
    fn apply(&self, line: &mut Vec<u8>) {
        if line.is_empty() {
            return;
        }
        let at = self.place.index(line.len());
        let up_to = |length: usize| at..(at + length).min(line.len());
        match &self.kind {
            DamageKind::Flip(bits) => line[at] ^= bits,
            DamageKind::Set(byte) => line[at] = *byte,
            DamageKind::Cut(length) => drop(line.drain(up_to(*length))),
            DamageKind::Insert(bytes) => drop(line.splice(at..at, bytes.iter().copied())),
            DamageKind::Truncate => line.truncate(at),
            DamageKind::Repeat(length) => {
                let piece = line[up_to(*length)].to_vec();
                line.splice(at..at, piece);
            }
        }
    }
}

/// `"name":value` for each field. A name may say more than stands in the message: `"levels/b"`
/// and `"e=trade"` are told apart by what their values are.
fn object(fields: &[Field]) -> String {
    let members = fields.iter().map(|(name, value)| {
        let name = name.split_once('/').map_or(*name, |(_, name)| name);
        let name = name.split_once('=').map_or(name, |(name, _)| name);
        format!("\"{name}\":{value}")
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn line_of(received: Option<String>, enveloped: bool, json: &str) -> String {
    let received = received.map_or(String::new(), |nanos| format!("{nanos} "));
    if enveloped {
        format!("{received}{{\"stream\":\"btcusdt@any\",\"data\":{json}}}")
    } else {
        format!("{received}{json}")
    }
}

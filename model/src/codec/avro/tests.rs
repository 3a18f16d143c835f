//! Both readers, against each other and against what is known of Avro.

mod evolution;
mod records;
mod standard;

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::codec::{Decoded, Tally};
use crate::decimal::Decimal;
use crate::instrument::AssetClass;
use crate::origin::Origin;
use crate::record::{RejectReason, Side, VendorFields};
use crate::time::Nanos;

static TRADES: LazyLock<WriterSchema> =
    LazyLock::new(|| WriterSchema::parse(TRADE_SCHEMA).unwrap());
static QUOTES: LazyLock<WriterSchema> =
    LazyLock::new(|| WriterSchema::parse(QUOTE_SCHEMA).unwrap());

fn at(offset: u64) -> Coordinates {
    Coordinates { origin: Origin::new("topic", 0), offset }
}

fn decoder() -> AvroDecoder {
    static SHIPPED: LazyLock<InstrumentTable> = LazyLock::new(InstrumentTable::shipped);
    AvroDecoder::new(SHIPPED.clone())
}

type Outcome = Result<Decoded, Problem>;

/// Decodes `bodies` with and without the fast path, and asserts that it makes no difference.
fn decode_both_ways(schema: &WriterSchema, bodies: &[Vec<u8>]) -> Vec<Outcome> {
    let (mut with, mut without) = (decoder(), decoder().without_fast_path());
    let one_by_one = |(offset, body): (u64, &Vec<u8>)| {
        let (mut one, mut other) = (Decoded::default(), Decoded::default());
        let fast = with.decode(schema, body, at(offset), &mut one);
        let general = without.decode(schema, body, at(offset), &mut other);
        assert_eq!((&fast, &one), (&general, &other), "body {offset}: {body:?}");
        assert_eq!(one.tally.messages(), u64::from(fast.is_ok()), "one trace a record, or none");
        fast.map(|()| one)
    };
    (0..).zip(bodies).map(one_by_one).collect()
}

fn decode(schema: &WriterSchema, body: &[u8]) -> Outcome {
    decode_both_ways(schema, &[body.to_vec()]).remove(0)
}

fn decode_trade(schema: &WriterSchema, body: &[u8]) -> Trade {
    decode(schema, body).unwrap().trades.remove(0)
}

fn problem(schema: &WriterSchema, body: &[u8]) -> (RejectReason, String) {
    let Problem { reason, detail } = decode(schema, body).unwrap_err();
    (reason, detail)
}

fn encoded(trade: &Trade) -> Vec<u8> {
    let mut out = Vec::new();
    encode_trade(trade, &mut out);
    out
}

fn encoded_quote(quote: &Quote) -> Vec<u8> {
    let mut out = Vec::new();
    encode_quote(quote, &mut out);
    out
}

/// A trade of an instrument that the shipped data has.
fn bitcoin() -> Trade {
    Trade {
        instrument: InstrumentTable::shipped().get("BINANCE", "BTCUSDT").unwrap(),
        trade_id: 3_735_683_259,
        sequence: 3_735_683_259,
        ts_event: Nanos(1_723_161_255_342_000_000),
        ts_recv: Nanos(1_723_161_254_087_896_568),
        price: Decimal::parse(b"61837.63").unwrap(),
        quantity: Decimal::parse(b"0.02").unwrap(),
        side: Side::Sell,
        vendor_data: VendorData::owned(VendorFields {
            conditions: vec!["@".into(), "TI".into()],
            pairs: vec![("M".into(), "true".into())],
        }),
        at: at(0),
    }
}

/// A quote of the same instrument.
fn bitcoin_quote() -> Quote {
    let Trade { instrument, ts_event, ts_recv, at, .. } = bitcoin();
    Quote {
        instrument,
        sequence: 50_093_239_212,
        ts_event,
        ts_recv,
        bid_price: Decimal::parse(b"61837.63").unwrap(),
        bid_quantity: Decimal::parse(b"3.78826").unwrap(),
        ask_price: Decimal::parse(b"61837.64").unwrap(),
        ask_quantity: Decimal::ZERO,
        vendor_data: VendorData::EMPTY,
        at,
    }
}

#[test]
fn the_encoding_of_a_trade_does_not_drift() {
    let mut message = Vec::new();
    push_frame(258, &mut message);
    encode_trade(&bitcoin(), &mut message);
    let expected: [&[u8]; 15] = [
        b"\x00\x00\x00\x01\x02",
        b"\x0eBINANCE",
        b"\x10BTC-USDT",
        b"\x0eBTCUSDT",
        b"\x02",
        b"\x08USDT",
        b"\xf6\x82\xd0\xea\x1b",
        b"\xf6\x82\xd0\xea\x1b",
        b"\x80\x9e\x82\xb6\x86\x82\xf3\xe9\x2f",
        b"\xf0\xb7\x81\x8a\xfd\x81\xf3\xe9\x2f",
        b"\x10\x00\xdb\xb0\xff\x31\xe6\xec\x00",
        b"\x0a\x04\xa8\x17\xc8\x00",
        b"\x02",
        b"\x04\x02@\x04TI\x00",
        b"\x02\x02M\x08true\x00",
    ];
    assert_eq!(message, expected.concat());
    let frame = Frame::split(&message).unwrap();
    assert_eq!(frame.schema_id, 258);
    assert_eq!(decode_trade(&TRADES, frame.body), bitcoin());
}

#[test]
fn the_encoding_of_a_quote_does_not_drift() {
    let expected: [&[u8]; 13] = [
        b"\x0eBINANCE",
        b"\x10BTC-USDT",
        b"\x0eBTCUSDT",
        b"\x02",
        b"\x08USDT",
        b"\xd8\xae\xd1\x9c\xf5\x02",
        b"\x80\x9e\x82\xb6\x86\x82\xf3\xe9\x2f",
        b"\xf0\xb7\x81\x8a\xfd\x81\xf3\xe9\x2f",
        b"\x10\x00\xdb\xb0\xff\x31\xe6\xec\x00",
        b"\x0c\x03\x72\x05\xe4\x41\x00",
        b"\x10\x00\xdb\xb1\x01\x85\xf2\xd0\x00",
        b"\x02\x00",
        b"\x00\x00",
    ];
    let body = encoded_quote(&bitcoin_quote());
    assert_eq!(body, expected.concat());
    assert_eq!(decode(&QUOTES, &body).unwrap().quotes, [bitcoin_quote()]);
}

#[test]
fn a_frame_begins_with_zero_and_has_an_id() {
    assert_eq!(Frame::split(b"\0\0\0\0\x07"), Some(Frame { schema_id: 7, body: b"" }));
    let most = Frame { schema_id: u32::MAX, body: b"x" };
    assert_eq!(Frame::split(b"\0\xff\xff\xff\xffx"), Some(most));
    assert_eq!(Frame::split(b"\x01\0\0\0\x07x"), None);
    assert_eq!(Frame::split(b"{\"e\":1}"), None);
    assert_eq!(Frame::split(b"\0\0\0\0"), None);
    assert_eq!(Frame::split(b""), None);
}

/// What the code says of the fields, and what the schemas say.
#[test]
fn the_readers_know_our_schemas() {
    for (text, slots, ours) in
        [(TRADE_SCHEMA, Slot::TRADE, &*TRADES), (QUOTE_SCHEMA, Slot::QUOTE, &*QUOTES)]
    {
        let schema: Json = serde_json::from_str(text).unwrap();
        assert_eq!(schema["namespace"], "k2.market_data");
        assert!(schema["doc"].is_string());
        let fields = schema["fields"].as_array().unwrap();
        assert_eq!(fields.len(), slots.len());
        for ((field, slot), step) in fields.iter().zip(slots).zip(&ours.steps) {
            assert_eq!(field["name"], slot.name());
            assert_eq!(field.get("default").is_some(), slot.has_default(), "{slot:?}");
            assert!(field["doc"].is_string(), "{slot:?} is documented");
            assert_eq!(step.slot, Some(slot), "and read in its place");
        }
        assert!(ours.is_ours());
    }
    assert_eq!(TRADES.data_type(), DataType::Trades);
    assert_eq!(QUOTES.data_type(), DataType::Quotes);
}

#[test]
fn the_symbols_of_our_enums_are_numbered_as_in_memory() {
    let schema: Json = serde_json::from_str(TRADE_SCHEMA).unwrap();
    let symbols = |field: usize| &schema["fields"][field]["type"];
    assert_eq!(symbols(3)["symbols"], Json::from(Vec::from(AssetClass::ALL.map(|it| it.as_str()))));
    assert_eq!(symbols(3)["default"], AssetClass::default().as_str());
    assert_eq!(symbols(11)["symbols"], Json::from(Vec::from(Side::ALL.map(|it| it.as_str()))));
    assert_eq!(symbols(11)["default"], Side::default().as_str());
    assert!((0..).zip(AssetClass::ALL).all(|(place, class)| class as i64 == place));
    assert!((0..).zip(Side::ALL).all(|(place, side)| side as i64 == place));
}

#[test]
fn a_body_that_ends_early_or_late_is_no_record() {
    let body = encoded(&bitcoin());
    for end in 0..body.len() {
        assert_eq!(problem(&TRADES, &body[..end]).0, RejectReason::NotAvro, "{end} bytes");
    }
    let (reason, detail) = problem(&TRADES, &body[..45]);
    assert_eq!(reason, RejectReason::NotAvro);
    assert_eq!(detail, "field `ts_event`: no long can be read at byte 41 of 45");
    let (reason, detail) = problem(&TRADES, &[&body[..], b"\0\0"].concat());
    assert_eq!(reason, RejectReason::NotAvro);
    assert_eq!(detail, format!("2 of {} bytes are left behind the last field", body.len() + 2));
    assert_eq!(problem(&QUOTES, &body).0, RejectReason::NotAvro);
}

#[test]
fn a_wrong_value_is_named_with_what_is_wrong() {
    use RejectReason::{InvalidField, Negative, OutOfRange};
    let trade = bitcoin();
    let named = |venue: &str, raw_symbol: &str| {
        let mut parts = (*trade.instrument).clone();
        (parts.venue, parts.raw_symbol) = (venue.into(), raw_symbol.into());
        Trade { instrument: Instrument::new(parts), ..trade.clone() }
    };
    let beyond = Decimal(crate::decimal::MAX + 1);
    let cases = [
        (Trade { trade_id: 1 << 63, ..trade.clone() }, OutOfRange, "field `trade_id`: -9223372036"),
        (Trade { sequence: u64::MAX, ..trade.clone() }, OutOfRange, "field `sequence`: -1 is not"),
        (Trade { ts_event: Nanos(-1), ..trade.clone() }, OutOfRange, "field `ts_event`: -1 times"),
        (Trade { ts_recv: Nanos(i64::MIN), ..trade.clone() }, OutOfRange, "field `ts_recv`"),
        (Trade { price: Decimal(-1), ..trade.clone() }, Negative, "field `price`: -0.000000000001"),
        (Trade { quantity: Decimal(-5), ..trade.clone() }, Negative, "field `quantity`"),
        (Trade { price: beyond, ..trade.clone() }, OutOfRange, "field `price`: more than 26"),
        (Trade { quantity: Decimal(i128::MIN), ..trade.clone() }, OutOfRange, "field `quantity`"),
        (named("Binance", "X"), InvalidField, "field `venue`: \"Binance\": not 1 to 64 upper-case"),
        (named("", "X"), InvalidField, "field `venue`"),
        (named("BINANCE", "B TC"), InvalidField, "field `raw_symbol`: \"B TC\""),
    ];
    for (trade, reason, detail) in cases {
        let found = problem(&TRADES, &encoded(&trade));
        assert_eq!(found.0, reason, "{}", found.1);
        assert!(found.1.starts_with(detail), "{}", found.1);
    }
    let quote = Quote { ask_quantity: Decimal(-1), ..bitcoin_quote() };
    let found = problem(&QUOTES, &encoded_quote(&quote));
    assert_eq!((found.0, &found.1[..21]), (Negative, "field `ask_quantity`:"));
}

/// What another writer may write otherwise, and still be right.
#[test]
fn longer_forms_of_the_same_values_are_taken() {
    let trade = bitcoin();
    let body = encoded(&trade);
    let replaced = |form: &[u8], other: &[u8]| {
        let place = body.windows(form.len()).position(|window| window == form).unwrap();
        [&body[..place], other, &body[place + form.len()..]].concat()
    };
    let forms: [(&[u8], &[u8]); 7] = [
        (b"\x0eBINANCE", b"\x8e\x00BINANCE"),
        (b"\x02\x08USDT", b"\x82\x80\x80\x80\x80\x80\x80\x80\x80\x00\x08USDT"),
        (b"\x0a\x04\xa8\x17\xc8\x00", b"\x0e\x00\x00\x04\xa8\x17\xc8\x00"),
        (b"\x0a\x04\xa8\x17\xc8\x00", b"\x28\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\xa8\x17\xc8\x00"),
        (b"\x04\x02@\x04TI\x00", b"\x02\x02@\x01\x06\x04TI\x00"),
        (b"\x02\x02M\x08true\x00", b"\x01\x0e\x02M\x08true\x00"),
        (b"\x02\x02M\x08true\x00", b"\x02\x02M\x00\x02\x02M\x08true\x00"),
    ];
    for (form, longer) in forms {
        assert_eq!(decode_trade(&TRADES, &replaced(form, longer)), trade, "{form:?}");
    }
    // But a number has at least one byte.
    let (reason, detail) = problem(&TRADES, &replaced(b"\x0a\x04\xa8\x17\xc8\x00", b"\0"));
    assert_eq!(
        (reason, &*detail),
        (RejectReason::InvalidField, "field `quantity`: it has no bytes")
    );
    let empty = [&body[..body.len() - 16], b"\0\0"].concat();
    let without = Trade { vendor_data: VendorData::EMPTY, ..trade };
    assert_eq!(decode_trade(&TRADES, &empty), without);
}

#[test]
fn our_own_encoding_takes_the_fast_path() {
    let mut instruments = Instruments::new(InstrumentTable::shipped());
    let mut vendor = SharedVendorData::new();
    let body = encoded(&bitcoin());
    assert!(fast::trade(&body, at(0), &mut instruments, &mut vendor).is_some());
    let body = encoded_quote(&bitcoin_quote());
    assert!(fast::quote(&body, at(0), &mut instruments, &mut vendor).is_some());
}

#[test]
fn what_comes_again_is_the_same_handle() {
    let mut decoder = decoder();
    let mut out = Decoded::default();
    for _ in 0..2 {
        decoder.decode(&TRADES, &encoded(&bitcoin()), at(0), &mut out).unwrap();
    }
    let [one, other] = &out.trades[..] else { panic!("two trades") };
    assert!(std::ptr::eq(one.vendor_data.fields(), other.vendor_data.fields()));
    assert_eq!(out.tally, Tally { trades: 2, ..Tally::default() });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_record_comes_out_as_it_went_in(trade in records::trade(), quote in records::quote()) {
        prop_assert_eq!(decode(&TRADES, &encoded(&trade)).unwrap().trades, [trade]);
        prop_assert_eq!(decode(&QUOTES, &encoded_quote(&quote)).unwrap().quotes, [quote]);
    }

    #[test]
    fn both_readers_agree_on_mangled_trades(
        bodies in proptest::collection::vec(records::mangled(records::trade().prop_map(|it| encoded(&it))), 1..4),
    ) {
        decode_both_ways(&TRADES, &bodies);
    }

    #[test]
    fn both_readers_agree_on_mangled_quotes(
        bodies in proptest::collection::vec(records::mangled(records::quote().prop_map(|it| encoded_quote(&it))), 1..4),
    ) {
        decode_both_ways(&QUOTES, &bodies);
    }

    #[test]
    fn both_readers_agree_on_any_bytes(body: Vec<u8>) {
        decode_both_ways(&TRADES, std::slice::from_ref(&body));
        decode_both_ways(&QUOTES, &[body]);
    }
}

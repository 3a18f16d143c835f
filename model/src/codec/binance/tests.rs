//! Both readers, on messages as the venue sends them and on mangled ones.

mod messages;
mod recordings;

use std::sync::LazyLock;

use proptest::prelude::*;

use super::{VendorHandles, fast};
use crate::codec::{Decoded, Decoder, Tally};
use crate::decimal::Decimal;
use crate::instrument::InstrumentTable;
use crate::origin::{Coordinates, Origin};
use crate::record::{RejectReason, Side, Trade};
use crate::time::Nanos;

const SPOT_TRADE: &str = r#"{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}"#;
const OLD_SPOT_TRADE: &str = r#"{"e":"trade","E":123456789,"s":"BNBBTC","t":12345,"p":"0.001","q":"100","b":88,"a":50,"T":123456785,"m":true,"M":true}"#;
const USDM_TRADE: &str = r#"{"e":"trade","E":1723161256322,"T":1723161256321,"s":"BTCUSDT","t":5266583935,"p":"61800.30","q":"0.006","X":"MARKET","m":false}"#;
const SPOT_QUOTE: &str = r#"{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"0.00000000"}"#;
const USDM_QUOTE: &str = r#"{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT","b":"61800.20","B":"2.507","a":"61800.30","A":"2.510","T":1723161256313,"E":1723161256314}"#;
const SPOT_DEPTH: &str = r#"{"e":"depthUpdate","E":1723161255308,"s":"BTCUSDT","U":50093239203,"u":50093239207,"b":[["55653.87000000","0.00000000"]],"a":[["61838.04000000","0.32332000"],["61844.30000000","0.40163000"]]}"#;
const USDM_DEPTH: &str = r#"{"e":"depthUpdate","E":1723161601105,"T":1723161601054,"s":"BTCUSDT","U":5123135475514,"u":5123135475514,"pu":5123135221461,"b":[["61631.70","0.283"],["61632.60","0.000"]],"a":[]}"#;

fn at(offset: u64) -> Coordinates {
    Coordinates { origin: Origin::new("messages", 0), offset }
}

fn decoder(venue: &str) -> Decoder {
    static SHIPPED: LazyLock<InstrumentTable> = LazyLock::new(InstrumentTable::shipped);
    Decoder::new(venue, SHIPPED.clone()).unwrap()
}

/// Decodes `lines` with and without the fast path, and asserts that it makes no difference.
fn decode_both_ways<'a>(venue: &str, lines: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let (mut with, mut without) = (decoder(venue), decoder(venue).without_fast_path());
    let mut decoded = Decoded::default();
    for (offset, line) in (0..).zip(lines) {
        let (mut one, mut other) = (Decoded::default(), Decoded::default());
        with.decode(line, at(offset), &mut one);
        without.decode(line, at(offset), &mut other);
        assert_eq!(one, other, "line {offset}: {}", String::from_utf8_lossy(line));
        assert_eq!(one.tally.messages(), u64::from(!line.is_empty()), "one trace a message");
        decoded.trades.append(&mut one.trades);
        decoded.quotes.append(&mut one.quotes);
        decoded.depths.append(&mut one.depths);
        decoded.rejects.append(&mut one.rejects);
        decoded.tally.add(&one.tally);
    }
    decoded
}

fn decode(line: &str) -> Decoded {
    decode_both_ways("BINANCE", [line.as_bytes()])
}

fn decode_trade(line: &str) -> Trade {
    let mut decoded = decode(line);
    assert_eq!(decoded.rejects, []);
    decoded.trades.remove(0)
}

/// The reason and the detail of the one reject that `line` becomes.
fn reject(line: impl AsRef<[u8]>) -> (RejectReason, String) {
    let mut decoded = decode_both_ways("BINANCE", [line.as_ref()]);
    assert_eq!(decoded.tally, Tally { rejects: 1, ..Tally::default() });
    let reject = decoded.rejects.remove(0);
    assert_eq!((&*reject.venue, &*reject.raw), ("BINANCE", line.as_ref()));
    (reject.reason, reject.detail)
}

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text.as_bytes()).unwrap()
}

fn vendor(trade: &Trade) -> String {
    format!("{:?}", trade.vendor_data)
}

fn millis(millis: i64) -> Nanos {
    Nanos::from_millis(millis).unwrap()
}

#[test]
fn a_spot_trade_keeps_each_of_its_facts() {
    let trade = decode_trade(SPOT_TRADE);
    assert_eq!((&*trade.instrument.venue, &*trade.instrument.symbol), ("BINANCE", "BTC-USDT"));
    assert_eq!((trade.trade_id, trade.sequence), (3_735_683_259, 3_735_683_259));
    assert_eq!(trade.ts_event, millis(1_723_161_255_342));
    assert_eq!(trade.ts_recv, millis(1_723_161_255_343));
    assert_eq!((trade.price, trade.quantity), (decimal("61837.63"), decimal("0.02")));
    assert_eq!(trade.side, Side::Sell, "the buyer is the maker");
    assert_eq!(vendor(&trade), r#"{"M": "true"}"#);
    assert_eq!(trade.at, at(0));
    let bought = SPOT_TRADE.replace(r#""m":true,"M":true"#, r#""m":false,"M":false"#);
    let trade = decode_trade(&bought);
    assert_eq!((trade.side, &*vendor(&trade)), (Side::Buy, r#"{"M": "false"}"#));
}

#[test]
fn envelope_and_receive_time_change_nothing_but_the_receive_time() {
    let bare = decode_trade(SPOT_TRADE);
    let enveloped = format!(r#"{{"stream":"btcusdt@trade","data":{SPOT_TRADE}}}"#);
    assert_eq!(decode_trade(&enveloped), bare);
    let received = decode_trade(&format!("1723161254087896568 {enveloped}"));
    assert_eq!(received, Trade { ts_recv: Nanos(1_723_161_254_087_896_568), ..bare.clone() });
    let spaced = format!(" {{ \"data\" : {SPOT_TRADE} , \"stream\" : 7 }} \r");
    assert_eq!(decode_trade(&spaced), bare);
}

#[test]
fn old_spot_trades_keep_their_order_ids() {
    let trade = decode_trade(OLD_SPOT_TRADE);
    assert_eq!(vendor(&trade), r#"{"M": "true", "a": "50", "b": "88"}"#);
    assert_eq!((&*trade.instrument.symbol, trade.trade_id), ("BNB-BTC", 12_345));
}

#[test]
fn a_futures_trade_keeps_its_order_type_and_may_be_of_nothing() {
    let trade = decode_both_ways("BINANCE_USDM", [USDM_TRADE.as_bytes()]).trades.remove(0);
    assert_eq!(trade.ts_event, millis(1_723_161_256_321));
    assert_eq!(trade.ts_recv, millis(1_723_161_256_322));
    assert_eq!((trade.side, &*vendor(&trade)), (Side::Buy, r#"{"X": "MARKET"}"#));
    assert_eq!(trade.instrument.asset_class, crate::AssetClass::Futures);
    let novel = decode_trade(&USDM_TRADE.replace("MARKET", "N\\u0045W"));
    assert_eq!(vendor(&novel), r#"{"X": "NEW"}"#);
    let nothing = USDM_TRADE.replace("61800.30", "0").replace("0.006", "0");
    let trade = decode_trade(&nothing.replace("MARKET", "NA"));
    assert_eq!((trade.price, trade.quantity), (Decimal::ZERO, Decimal::ZERO));
    assert_eq!(vendor(&trade), r#"{"X": "NA"}"#);
}

#[test]
fn a_trade_is_dated_by_what_it_has() {
    let without_trade_time = SPOT_TRADE.replace(r#""T":1723161255342,"#, "");
    let trade = decode_trade(&without_trade_time);
    assert_eq!((trade.ts_event, trade.ts_recv), (millis(1_723_161_255_343), trade.ts_event));
    let without_sent_time = SPOT_TRADE.replace(r#""E":1723161255343,"#, "");
    let trade = decode_trade(&without_sent_time);
    assert_eq!((trade.ts_event, trade.ts_recv), (millis(1_723_161_255_342), trade.ts_event));
    let undated = without_sent_time.replace(r#""T":1723161255342,"#, "");
    assert_eq!(reject(&undated).0, RejectReason::MissingField);
    assert_eq!(reject(format!("7 {undated}")).1, "field `T` is missing or null");
}

#[test]
fn a_spot_quote_is_dated_by_its_receive_time_alone() {
    let quote = decode(&format!("1723161254087891268 {SPOT_QUOTE}")).quotes.remove(0);
    assert_eq!(quote.sequence, 50_093_239_212);
    assert_eq!(quote.ts_event, Nanos(1_723_161_254_087_891_268));
    assert_eq!(quote.ts_recv, quote.ts_event);
    assert_eq!((quote.bid_price, quote.bid_quantity), (decimal("61837.63"), decimal("3.78826")));
    assert_eq!((quote.ask_price, quote.ask_quantity), (decimal("61837.64"), Decimal::ZERO));
    let (reason, detail) = reject(SPOT_QUOTE);
    assert_eq!(reason, RejectReason::MissingField);
    assert!(detail.contains("receive time"), "{detail}");
}

#[test]
fn a_futures_quote_has_its_own_times() {
    let quote = decode(USDM_QUOTE).quotes.remove(0);
    assert_eq!(quote.ts_event, millis(1_723_161_256_313));
    assert_eq!(quote.ts_recv, millis(1_723_161_256_314));
    let quote = decode(&format!("5 {USDM_QUOTE}")).quotes.remove(0);
    assert_eq!((quote.ts_event, quote.ts_recv), (millis(1_723_161_256_313), Nanos(5)));
}

#[test]
fn a_depth_update_leaves_its_numbers() {
    let depth = decode(SPOT_DEPTH).depths.remove(0);
    assert_eq!((depth.first, depth.last), (50_093_239_203, 50_093_239_207));
    assert_eq!(depth.ts_event, millis(1_723_161_255_308));
    let depth = decode(&format!("9 {USDM_DEPTH}")).depths.remove(0);
    assert_eq!((depth.first, depth.last), (5_123_135_221_462, 5_123_135_475_514));
    assert_eq!((depth.ts_event, depth.ts_recv), (millis(1_723_161_601_054), Nanos(9)));
    let backwards = SPOT_DEPTH.replace(r#""u":50093239207"#, r#""u":50093239202"#);
    assert_eq!(reject(&backwards).0, RejectReason::InvalidField);
    let mangled = SPOT_DEPTH.replace("],[", "],,[");
    assert_eq!(reject(&mangled).0, RejectReason::NotJson);
}

#[test]
fn snapshots_and_replies_are_only_counted() {
    let snapshot =
        r#"{"lastUpdateId":50093239218,"bids":[["61837.63000000","3.78826000"]],"asks":[]}"#;
    let partial = format!(r#"{{"stream":"btcusdt@depth20","data":{snapshot}}}"#);
    for line in [snapshot, &partial, &format!("1723161254206652067 {snapshot}")] {
        assert_eq!(decode(line).tally, Tally { depth_snapshots: 1, ..Tally::default() }, "{line}");
    }
    for line in [r#"{"result":null,"id":1}"#, r#"{"id":"a","result":["btcusdt@trade"]}"#] {
        assert_eq!(decode(line).tally, Tally { control: 1, ..Tally::default() }, "{line}");
    }
    assert_eq!(decode("").tally, Tally::default());
    let refused = r#"{"error":{"code":2,"msg":"Invalid request"},"id":1}"#;
    let (reason, detail) = reject(refused);
    assert_eq!(reason, RejectReason::UnknownEvent);
    assert!(detail.contains("Invalid request"), "{detail}");
}

#[test]
fn what_is_no_message_is_rejected_with_its_reason() {
    use RejectReason::{InvalidField, NotJson, NotUtf8, OutOfRange, UnknownEvent};
    let cases: [(&[u8], RejectReason, &str); 16] = [
        (b"{\"e\":\"trade\xff\"}", NotUtf8, "not UTF-8 from byte 11"),
        (b"{\"e\":\"tra", NotJson, "the message is not JSON: EOF while parsing a string"),
        (b"{\"e\":\"trade\"} x", NotJson, "trailing characters"),
        (b"hello", NotJson, "the message is not JSON"),
        (b" ", NotJson, "the message is not JSON: EOF"),
        (b"17 ", NotJson, "the message is not JSON: EOF"),
        (b"17", UnknownEvent, "the message is not a JSON object: 17"),
        (b"[\"trade\"]", UnknownEvent, "the message is not a JSON object"),
        (b"{\"stream\":\"!ticker@arr\",\"data\":[{}]}", UnknownEvent, "field `data` is not a JSON"),
        (b"{}", UnknownEvent, "no field tells the event"),
        (b"{\"e\":\"aggTrade\"}", UnknownEvent, "event aggTrade is none that K2 takes"),
        (b"{\"e\":7}", InvalidField, "field `e`: 7: not a string"),
        (b"{\"e\":\"\\ud800\"}", InvalidField, "field `e`"),
        (b"{\"e\":\"trade\",\"e\":\"trade\"}", InvalidField, "duplicate field `e`"),
        (b"{\"lastUpdateId\":-1}", OutOfRange, "field `lastUpdateId`: -1 is not from 0"),
        (b"9223372036854775808 {}", OutOfRange, "receive time 9223372036854775808"),
    ];
    for (line, reason, detail) in cases {
        let shown = String::from_utf8_lossy(line);
        let found = reject(line);
        assert_eq!(found.0, reason, "{shown}: {}", found.1);
        assert!(found.1.contains(detail), "{shown}: {}", found.1);
    }
}

#[test]
fn a_wrong_field_is_named_with_what_is_wrong() {
    use RejectReason::{InvalidField, MissingField, Negative, OutOfRange, TooPrecise};
    let cases = [
        (r#""t":3735683259,"#, "", MissingField, "field `t`"),
        ("3735683259", "null", MissingField, "field `t`"),
        ("3735683259", r#""3735683259""#, InvalidField, "field `t`"),
        ("3735683259", "1.5", InvalidField, "field `t`: 1.5: not a whole number"),
        ("3735683259", "1e3", InvalidField, "field `t`"),
        ("3735683259", "007", RejectReason::NotJson, "invalid number"),
        ("3735683259", "9223372036854775808", OutOfRange, "field `t`"),
        ("3735683259", "-3", OutOfRange, "field `t`: -3"),
        ("1723161255342", "9223372036855", OutOfRange, "field `T`: 9223372036855 ms"),
        ("61837.63000000", "61837.6300000000001", TooPrecise, "field `p`"),
        ("61837.63000000", "-61837.63", Negative, "field `p`: -61837.63 is negative"),
        ("0.02000000", "-0.02", Negative, "field `q`"),
        ("0.02000000", "", InvalidField, "field `q`"),
        ("0.02000000", "2e-2", InvalidField, "field `q`"),
        (r#""0.02000000""#, "0.02", InvalidField, "field `q`: 0.02: not a string"),
        ("61837.63000000", "100000000000000000000000000", OutOfRange, "field `p`"),
        ("true,", "1,", InvalidField, "field `m`: 1: neither true nor false"),
        (r#""M":true"#, r#""M":"true""#, InvalidField, "field `M`"),
        ("BTCUSDT", "", InvalidField, "field `s`"),
        ("BTCUSDT", "BTC USDT", InvalidField, "field `s`"),
        ("BTCUSDT", "BTC\\u0055SDT", InvalidField, "field `s`"),
        ("BTCUSDT", "币安人生USDT", InvalidField, "field `s`"),
        (r#""BTCUSDT""#, "{}", InvalidField, "field `s`"),
    ];
    for (right, wrong, reason, detail) in cases {
        assert!(SPOT_TRADE.contains(right));
        let line = SPOT_TRADE.replace(right, wrong);
        let found = reject(&line);
        assert_eq!(found.0, reason, "{line}: {}", found.1);
        assert!(found.1.contains(detail), "{line}: {}", found.1);
    }
    let long = "A".repeat(65);
    assert_eq!(reject(SPOT_TRADE.replace("BTCUSDT", &long)).0, InvalidField);
    let trade = decode_trade(&SPOT_TRADE.replace("BTCUSDT", &long[1..]));
    assert_eq!(&*trade.instrument.symbol, &long[1..]);
}

#[test]
fn unusual_numbers_that_are_exact_are_taken() {
    for (text, same) in [
        ("61837.6300000000000000", "61837.63"),
        ("00061837.63", "61837.63"),
        ("-0.0", "0"),
        ("99999999999999999999999999.999999999999", "99999999999999999999999999.999999999999"),
        ("6\\u0031837", "61837"),
    ] {
        let trade = decode_trade(&SPOT_TRADE.replace("61837.63000000", text));
        assert_eq!(trade.price, decimal(same), "{text}");
    }
}

#[test]
fn a_symbol_with_a_nul_behind_it_is_not_the_symbol() {
    let mut decoder = decoder("BINANCE");
    let mut out = Decoded::default();
    decoder.decode(SPOT_TRADE.as_bytes(), at(0), &mut out);
    decoder.decode(SPOT_TRADE.replace("USDT", "USDT\0").as_bytes(), at(1), &mut out);
    assert_eq!((out.tally.trades, out.tally.rejects), (1, 1));
    assert_eq!(out.rejects[0].reason, RejectReason::NotJson);
}

#[test]
fn a_reject_keeps_the_receive_time_of_its_line() {
    let decoded = decode("1723161254087896568 {\"e\":\"aggTrade\"}");
    assert_eq!(decoded.rejects[0].ts_recv, Some(Nanos(1_723_161_254_087_896_568)));
    assert_eq!(decode("{}").rejects[0].ts_recv, None);
}

#[test]
fn todays_messages_take_the_fast_path() {
    let takes =
        |line: &str| fast::read(line.as_bytes(), &VendorHandles::new(), |_| Some(())).is_some();
    let bare = [SPOT_TRADE, USDM_TRADE, SPOT_QUOTE, USDM_QUOTE, SPOT_DEPTH, USDM_DEPTH];
    for message in bare {
        let line = format!("1723161254087896568 {message}");
        assert!(takes(&line), "{line}");
        let line = format!("1723161254087896568 {{\"stream\":\"x@y\",\"data\":{message}}}");
        assert!(takes(&line), "{line}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn both_readers_agree_on_valid_and_on_mangled_messages(
        lines in proptest::collection::vec(messages::line(), 1..4),
    ) {
        decode_both_ways("BINANCE", lines.iter().map(Vec::as_slice));
    }

    #[test]
    fn both_readers_agree_on_any_bytes(line: Vec<u8>) {
        decode_both_ways("BINANCE_USDM", [line.as_slice()]);
    }

    #[test]
    fn a_trade_comes_out_as_it_went_in(trade in messages::trade()) {
        let decoded = decode_both_ways(trade.venue(), [trade.line().as_bytes()]);
        prop_assert_eq!(decoded.rejects, []);
        trade.assert_same(&decoded.trades[0]);
    }
}

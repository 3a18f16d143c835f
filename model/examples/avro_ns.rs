//! How long does it take to decode one Avro record, with the fast path and without it, and to
//! encode one?
//!
//! `cargo run --release -p k2-model --example avro_ns [part of a row's name]`. Each row is the best
//! of several rounds, on one thread, over messages that follow each other in memory.

use std::time::Instant;

use k2_model::codec::Decoded;
use k2_model::codec::avro::{
    AvroDecoder, Frame, QUOTE_SCHEMA, TRADE_SCHEMA, WriterSchema, encode_quote, encode_trade,
    push_frame,
};
use k2_model::record::VendorFields;
use k2_model::{
    Coordinates, Decimal, Instrument, InstrumentTable, Nanos, Origin, Quote, Side, Trade,
    VendorData,
};

const ROUNDS: usize = 25;
const MESSAGES: usize = 40_000;
/// After so many the records are thrown away, as a pipeline passes them on.
const BLOCK_MESSAGES: u64 = 1_024;

fn main() {
    println!(
        "{:<44} {:>6} {:>9} {:>9} {:>12}",
        "record", "bytes", "fast, ns", "general", "encoding, ns"
    );
    let ours = WriterSchema::parse(TRADE_SCHEMA).expect("our own schema");
    // The same fields with other names in the schema, which is read generally.
    let renamed = TRADE_SCHEMA.replace("\"venue\",", "\"place\", \"aliases\": [\"venue\"],");
    let renamed = WriterSchema::parse(&renamed).expect("a schema with an alias");
    let none = |_: usize| VendorData::EMPTY;
    let few =
        |number: usize| vendor_data(&[], if number.is_multiple_of(2) { "true" } else { "no" });
    let each = |number: usize| vendor_data(&["@"], &number.to_string());
    row("trade, one symbol, no vendor data", &ours, &trades(1, none), encode_trade);
    row("trade, one symbol, vendor data recurs", &ours, &trades(1, few), encode_trade);
    row("trade, 100 symbols, no vendor data", &ours, &trades(100, none), encode_trade);
    row("trade, 100 symbols, vendor data recurs", &ours, &trades(100, few), encode_trade);
    row("trade, 100 symbols, vendor data its own", &ours, &trades(100, each), encode_trade);
    row("trade, 100 symbols, another schema", &renamed, &trades(100, few), encode_trade);
    let ours = WriterSchema::parse(QUOTE_SCHEMA).expect("our own schema");
    row("quote, 100 symbols, no vendor data", &ours, &quotes(100), encode_quote);
}

fn vendor_data(conditions: &[&str], value: &str) -> VendorData {
    VendorData::owned(VendorFields {
        conditions: conditions.iter().map(|code| (*code).into()).collect(),
        pairs: vec![("is_best_match".into(), value.into())],
    })
}

/// Instruments whose names are of all lengths.
fn instruments(count: usize) -> Vec<Instrument> {
    let table = InstrumentTable::shipped();
    let of_venue = table.iter().filter(|known| &*known.venue == "BINANCE");
    of_venue.step_by(2).take(count).collect()
}

fn trades(symbols: usize, vendor: impl Fn(usize) -> VendorData) -> Vec<Trade> {
    let instruments = instruments(symbols);
    let trade = |number: usize| Trade {
        instrument: instruments[number * 37 % symbols],
        trade_id: 3_735_683_259 + number as u64 * 7,
        sequence: 3_735_683_259 + number as u64 * 7,
        ts_event: Nanos(1_723_161_255_342_000_000 + number as i64 * 1_000_000),
        ts_recv: Nanos(1_723_161_255_342_896_568 + number as i64 * 1_000_007),
        price: price(number, 7_919),
        quantity: quantity(number),
        side: if number.is_multiple_of(3) { Side::Sell } else { Side::Buy },
        vendor_data: vendor(number),
        at: at(number),
    };
    (0..MESSAGES).map(trade).collect()
}

fn quotes(symbols: usize) -> Vec<Quote> {
    let instruments = instruments(symbols);
    let quote = |number: usize| Quote {
        instrument: instruments[number * 37 % symbols],
        sequence: 50_093_239_212 + number as u64 * 3,
        ts_event: Nanos(1_723_161_255_342_000_000 + number as i64 * 1_000_000),
        ts_recv: Nanos(1_723_161_255_342_896_568 + number as i64 * 1_000_007),
        bid_price: price(number, 7_919),
        bid_quantity: quantity(number),
        ask_price: price(number, 7_927),
        ask_quantity: quantity(number + 1),
        vendor_data: VendorData::EMPTY,
        at: at(number),
    };
    (0..MESSAGES).map(quote).collect()
}

fn price(number: usize, step: i128) -> Decimal {
    Decimal(61_837_630_000_000_000 + number as i128 * step % 1_000 * 10_000_000_000)
}

fn quantity(number: usize) -> Decimal {
    Decimal(number as i128 * 104_729 % 1_000_000 * 10_000_000)
}

fn at(number: usize) -> Coordinates {
    Coordinates { origin: Origin::new("bench", 0), offset: number as u64 }
}

fn row<R>(name: &str, schema: &WriterSchema, rows: &[R], encode: fn(&R, &mut Vec<u8>)) {
    if std::env::args().nth(1).is_some_and(|part| !name.contains(&part)) {
        return;
    }
    let mut messages = Vec::new();
    let mut encoding = f64::INFINITY;
    let mut ends = vec![0];
    for _ in 0..ROUNDS {
        messages.clear();
        ends.truncate(1);
        encoding = encoding.min(ns_each(rows.len(), || {
            for row in rows {
                push_frame(7, &mut messages);
                encode(row, &mut messages);
                ends.push(messages.len());
            }
        }));
    }
    let bytes = messages.len() / rows.len();
    let decoder = || AvroDecoder::new(InstrumentTable::shipped());
    let fast = best_ns(decoder(), schema, &messages, &ends);
    let general = best_ns(decoder().without_fast_path(), schema, &messages, &ends);
    println!("{name:<44} {bytes:>6} {fast:>9.1} {general:>9.1} {encoding:>12.1}");
}

fn best_ns(
    mut decoder: AvroDecoder,
    schema: &WriterSchema,
    messages: &[u8],
    ends: &[usize],
) -> f64 {
    let mut out = Decoded::default();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        best = best.min(ns_each(ends.len() - 1, || {
            for (number, place) in ends.windows(2).enumerate() {
                if (number as u64).is_multiple_of(BLOCK_MESSAGES) {
                    out.trades.clear();
                    out.quotes.clear();
                }
                let frame = Frame::split(&messages[place[0]..place[1]]).expect("a frame");
                let decoded = decoder.decode(schema, frame.body, at(number), &mut out);
                decoded.expect("a benchmark of errors tells nothing");
            }
        }));
    }
    assert_eq!(out.tally.messages(), (ROUNDS * MESSAGES) as u64);
    best
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn ns_each(count: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e9 / count as f64
}

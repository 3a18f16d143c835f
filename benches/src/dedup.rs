//! How much memory does exact deduplication with gap detection take (P7), and how long does it
//! take a trade?

use std::time::Instant;

use k2_model::instrument::InstrumentParts;
use k2_model::{
    Coordinates, DataType, Decimal, Instrument, Nanos, Origin, Side, Stream, Trade, VendorData,
};
use k2_operators::sequence::{StreamCounts, StreamState, WindowLimits};

use crate::report::{Figure, Report};
use crate::run::Error;

const MEMORY_MB: f64 = 64.0;
const TRADE_NS: f64 = 25.0;

pub struct Dedup {
    pub trades: u64,
    pub streams: u64,
}

/// Judges `trades` numbered trades over `streams` streams, one in a thousand missing and one in a
/// hundred repeated at once, and measures what stays in memory.
pub fn dedup(options: &Dedup) -> Result<Report, Error> {
    let mut report = Report::new(
        "dedup",
        "How much memory does exact deduplication with gap detection take, and how long a trade?",
    );
    report.input("trades", options.trades);
    report.input("streams", options.streams);
    let mut states: Vec<StreamState<Trade>> = (0..options.streams).map(new_stream).collect();
    let each = options.trades / options.streams.max(1);
    let (mut judged, mut holes) = (0u64, 0i64);
    let begun = Instant::now();
    for state in &mut states {
        let (more, opened) = run_stream(state, each);
        judged += more;
        holes += opened;
    }
    let elapsed = begun.elapsed();
    let heap: usize = states.iter().map(StreamState::bytes).sum();
    let bytes = heap + states.capacity() * size_of::<StreamState<Trade>>();
    report.input("judged", judged);
    report.input("gaps", holes);
    if holes == 0 && options.trades > 10_000 * options.streams {
        return Err(Error::Wrong(
            "no gap was found where one number in a thousand is missing".into(),
        ));
    }
    let megabytes = vec![bytes as f64 / 1e6];
    report.figures.push(Figure::at_most("state", "MB", megabytes, MEMORY_MB));
    let nanos = vec![elapsed.as_nanos() as f64 / judged.max(1) as f64];
    report.figures.push(Figure::at_most("time a trade", "ns", nanos, TRADE_NS));
    Ok(report)
}

fn new_stream(number: u64) -> StreamState<Trade> {
    let name: Box<str> = format!("BENCH{number}").into();
    let instrument = Instrument::new(InstrumentParts {
        venue: "BINANCE".into(),
        symbol: name.clone(),
        raw_symbol: name,
        asset_class: Default::default(),
        base: Box::default(),
        quote: Box::default(),
        tier: 3,
    });
    StreamState::new(Stream { instrument, data_type: DataType::Trades })
}

/// Judges one stream's trades; how many, and how many gaps they left.
fn run_stream(state: &mut StreamState<Trade>, trades: u64) -> (u64, i64) {
    let mut trade = Trade {
        instrument: state.stream.instrument,
        trade_id: 0,
        sequence: 0,
        ts_event: Nanos(0),
        ts_recv: Nanos(0),
        price: Decimal(1),
        quantity: Decimal(1),
        side: Side::Buy,
        vendor_data: VendorData::EMPTY,
        at: Coordinates { origin: Origin::new("bench", 0), offset: 0 },
    };
    let mut delta = StreamCounts::default();
    let limits = WindowLimits::default();
    for number in 1..=trades {
        if number % 1_000 == 500 {
            continue;
        }
        (trade.sequence, trade.trade_id) = (number, number);
        trade.ts_event = Nanos(number as i64);
        state.judge(&trade, limits, &mut delta, |_, _| {});
        if number % 100 == 0 {
            state.judge(&trade, limits, &mut delta, |_, _| {});
        }
    }
    state.counts.merge(&delta);
    (delta.messages, delta.gaps_open)
}

//! Trades, and the views that they make, as tests need them: without a dataflow.

use std::sync::LazyLock;

use k2_dataflows::live::Version;
use k2_model::{
    Bar, Coordinates, DataType, Decimal, InstrumentTable, Nanos, Origin, Side, Stream, Timeframe,
    Trade, VendorData,
};
use k2_operators::sequence::StreamCounts;

static INSTRUMENTS: LazyLock<InstrumentTable> = LazyLock::new(InstrumentTable::shipped);

pub(crate) const SECOND: i64 = 1_000_000_000;

/// The trade `number` of a symbol, at a time.
pub(crate) fn trade(raw_symbol: &str, number: u64, ts: i64) -> Trade {
    Trade {
        instrument: INSTRUMENTS.resolve("BINANCE", raw_symbol),
        trade_id: number,
        sequence: number,
        ts_event: Nanos(ts),
        ts_recv: Nanos(ts),
        price: Decimal(i128::from(number) * 1_000_000_000_000),
        quantity: Decimal(1_500_000_000_000),
        side: Side::Buy,
        vendor_data: VendorData::EMPTY,
        at: Coordinates { origin: Origin::new("s", 0), offset: number },
    }
}

/// Adds a trade to the views.
pub(crate) fn add(version: &mut Version, trade: &Trade) {
    let views = &mut version.views;
    for (at, timeframe) in Timeframe::ALL.into_iter().enumerate() {
        let key = (trade.instrument, timeframe.window_start(trade.ts_event));
        views.bars[at].merge(key, Bar::of(trade));
    }
    views.latest_trade.insert(trade.instrument, trade.clone());
    let stream = Stream { instrument: trade.instrument, data_type: DataType::Trades };
    let one = StreamCounts { unique: 1, last_event: Some(trade.ts_event), ..Default::default() };
    views.streams.merge(stream, &one);
}

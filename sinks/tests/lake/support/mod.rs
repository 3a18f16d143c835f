//! What the tests of the lake share: rows, scans, catalogs and disks that misbehave.

#![allow(dead_code, reason = "no test uses all of it")]

pub mod catalogs;
pub mod faults;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::RecordBatch;
use futures::TryStreamExt;
use k2_model::instrument::InstrumentParts;
use k2_model::record::VendorFields;
use k2_model::{
    AssetClass, Coordinates, Decimal, Instrument, Nanos, Offsets, Origin, Side, Trade, VendorData,
};
use k2_operators::MarketBatch;
use k2_sinks::{BatchId, ColdPin, DataFile, Lake, LakeConfig, RetryPolicy, Sealed, Status, Table};

/// 2024-08-08T00:00:00Z.
pub const MIDNIGHT: i64 = 1_723_075_200_000_000_000;

pub fn config(dir: &Path) -> LakeConfig {
    let mut config = LakeConfig::new(dir, "job");
    config.retry = RetryPolicy {
        wait_first: Duration::from_micros(1),
        wait_max: Duration::from_micros(1),
        attempts_max: 20,
    };
    config
}

/// A lake that is claimed, in a directory of its own.
pub fn claimed(dir: &Path) -> Lake {
    let lake = Lake::open(config(dir)).unwrap();
    lake.claim().unwrap();
    lake
}

pub fn instrument(venue: &str, base: &str, quote: &str) -> Instrument {
    Instrument::new(InstrumentParts {
        venue: venue.into(),
        symbol: if quote.is_empty() { base.into() } else { format!("{base}-{quote}").into() },
        raw_symbol: format!("{base}{quote}").into(),
        asset_class: AssetClass::Crypto,
        base: base.into(),
        quote: quote.into(),
        tier: 1,
    })
}

/// The `number`th trade of `instrument`, a second after the one before.
pub fn trade(instrument: Instrument, number: u64) -> Trade {
    Trade {
        instrument,
        trade_id: 3_735_683_259 + number,
        sequence: 3_735_683_259 + number,
        ts_event: Nanos(MIDNIGHT + number as i64 * 1_000_000_000),
        ts_recv: Nanos(MIDNIGHT + number as i64 * 1_000_000_000 + 1_234_567),
        price: Decimal(61_837_630_000_000_000 + i128::from(number % 7) * 10_000_000_000),
        quantity: Decimal(20_000_000_000 + i128::from(number % 11) * 1_000_000),
        side: if number.is_multiple_of(3) { Side::Sell } else { Side::Buy },
        vendor_data: VendorData::EMPTY,
        at: Coordinates { origin: Origin::new("topic", 0), offset: number },
    }
}

pub fn btc(numbers: std::ops::Range<u64>) -> Vec<Trade> {
    let instrument = instrument("BINANCE", "BTC", "USDT");
    numbers.map(|number| trade(instrument, number)).collect()
}

pub fn vendor_fields(conditions: &[&str], pairs: &[(&str, &str)]) -> VendorFields {
    VendorFields {
        conditions: conditions.iter().copied().map(Box::from).collect(),
        pairs: pairs.iter().map(|(key, value)| (Box::from(*key), Box::from(*value))).collect(),
    }
}

pub fn pairs(pairs: &[(&str, &str)]) -> VendorData {
    VendorData::owned(vendor_fields(&[], pairs))
}

pub fn offsets(next: u64) -> Offsets {
    [(Origin::new("topic", 0), next)].into_iter().collect()
}

pub fn batch_id(lower: u64, upper: u64) -> BatchId {
    BatchId { lower, upper, worker: 0, part: 0 }
}

pub fn write(lake: &Lake, lower: u64, upper: u64, trades: &[Trade]) -> Vec<DataFile> {
    lake.write_trades(&batch_id(lower, upper), &[MarketBatch::of(trades)]).unwrap()
}

/// A batch of epochs `[lower, upper)` with the trades of those numbers.
pub fn sealed(lake: &Lake, lower: u64, upper: u64) -> Sealed {
    let files = write(lake, lower, upper, &btc(lower..upper));
    Sealed {
        lower,
        upper,
        offsets: offsets(upper),
        state: format!("state at {upper}").into_bytes(),
        files: [(Table::Trades, files)].into(),
    }
}

/// All rows of a pinned table, by Iceberg's own reader.
pub fn scan(pin: &ColdPin, table: Table) -> Vec<RecordBatch> {
    let table = pin.tables[&table].table.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let scan = table.scan().build().unwrap();
        scan.to_arrow().await.unwrap().try_collect().await.unwrap()
    })
}

pub fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// The values of a `long` column, sorted.
pub fn longs(batches: &[RecordBatch], name: &str) -> Vec<i64> {
    let mut values = Vec::new();
    for batch in batches {
        let column = batch.column_by_name(name).unwrap();
        let column = column.as_any().downcast_ref::<arrow_array::Int64Array>().unwrap();
        values.extend_from_slice(column.values());
    }
    values.sort_unstable();
    values
}

/// The offsets in the trades table, which tell what is in, sorted.
pub fn offsets_in(pin: &ColdPin, table: Table) -> Vec<i64> {
    longs(&scan(pin, table), "offset")
}

pub fn numbers(range: std::ops::Range<i64>) -> Vec<i64> {
    range.collect()
}

/// Keeps what a lake reports; gives up when told to.
#[derive(Clone, Default)]
pub struct Reports(pub Arc<Mutex<Vec<Status>>>);

impl Reports {
    pub fn install(&self, config: &mut LakeConfig) {
        let reports = self.clone();
        config.on_status = Arc::new(move |status| {
            reports.0.lock().unwrap().push(status.clone());
            ControlFlow::Continue(())
        });
    }
}

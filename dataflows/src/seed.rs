//! What the bars start with: the one-minute bars of the horizon, read from the table of trades.
//!
//! The table is the truth, so a view can never come back other than its definition says.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type};
use k2_model::time::{NANOS_PER_DAY, NANOS_PER_SECOND};
use k2_model::{Bar, Decimal, Instrument, InstrumentTable, Nanos, Timeframe};
use k2_sinks::{ColdPin, Lake, Table};

use crate::live::BarKey;

/// The columns that a bar is made of, in the order in which they are read.
const COLUMNS: [&str; 6] = ["venue", "raw_symbol", "ts_event", "sequence", "price", "quantity"];

/// One-minute bars of the horizon, of all workers.
#[derive(Clone, Debug, Default)]
pub(crate) struct BarSeeds {
    bars: BTreeMap<BarKey, Bar>,
    /// Older windows exist, but are in the table alone.
    pub from: Option<Nanos>,
}

impl BarSeeds {
    /// The bars of the instruments that `worker` owns.
    pub fn of_worker(&self, worker: usize, workers: usize) -> Vec<(BarKey, Bar)> {
        let owned = |instrument: &Instrument| instrument.route() % workers as u64 == worker as u64;
        let bars = self.bars.iter().filter(|((instrument, _), _)| owned(instrument));
        bars.map(|(key, bar)| (*key, *bar)).collect()
    }
}

/// Reads the horizon behind the newest trade, by whole UTC days.
pub(crate) fn seed_bars(
    lake: &Lake,
    instruments: &InstrumentTable,
    horizon_hours: u64,
) -> Result<BarSeeds, k2_sinks::Error> {
    let pin = lake.pin();
    let Some((oldest, newest)) = event_times(&pin) else { return Ok(BarSeeds::default()) };
    let behind = Nanos(newest.0.saturating_sub(horizon_ns(horizon_hours))).floor(NANOS_PER_DAY);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut bars = BTreeMap::new();
    for batch in pin.read_trades(behind, &COLUMNS, threads)? {
        merge(&batch?, instruments, &mut bars);
    }
    Ok(BarSeeds { bars, from: (oldest < behind).then_some(behind) })
}

pub(crate) fn horizon_ns(hours: u64) -> i64 {
    i64::try_from(hours).unwrap_or(i64::MAX).saturating_mul(3_600 * NANOS_PER_SECOND)
}

/// Least and greatest event time in the table.
fn event_times(pin: &ColdPin) -> Option<(Nanos, Nanos)> {
    let files = pin.tables.get(&Table::Trades)?.files.iter();
    let bounds: Vec<_> = files.filter_map(|file| file.ts_event).collect();
    let oldest = bounds.iter().map(|bound| bound.lower).min()?;
    let newest = bounds.iter().map(|bound| bound.upper).max()?;
    Some((Nanos(oldest), Nanos(newest)))
}

/// Merges the trades of `batch`. Rows are sorted by symbol and time, so the instrument and the
/// minute rarely change from one row to the next.
fn merge(batch: &RecordBatch, instruments: &InstrumentTable, bars: &mut BTreeMap<BarKey, Bar>) {
    let text = |at: usize| batch.column(at).as_string::<i32>();
    let long = |at: usize| batch.column(at).as_primitive::<Int64Type>();
    let decimal = |at: usize| batch.column(at).as_primitive::<Decimal128Type>();
    let (venues, raw_symbols) = (text(0), text(1));
    let (events, sequences) = (long(2), long(3));
    let (prices, quantities) = (decimal(4), decimal(5));
    // The names of the row before, and what they stand for.
    let mut known: Option<((&str, &str), Instrument)> = None;
    let mut open: Option<(BarKey, Bar)> = None;
    for row in 0..batch.num_rows() {
        let names = (venues.value(row), raw_symbols.value(row));
        let instrument = match known {
            Some((before, instrument)) if before == names => instrument,
            _ => instruments.resolve(names.0, names.1),
        };
        known = Some((names, instrument));
        let ts_event = Nanos(events.value(row));
        let (price, quantity) = (Decimal(prices.value(row)), Decimal(quantities.value(row)));
        let bar = Bar::of_parts(ts_event, sequences.value(row) as u64, price, quantity);
        let key = (instrument, Timeframe::M1.window_start(ts_event));
        match &mut open {
            Some((at, sum)) if *at == key => sum.merge(&bar),
            _ => {
                let done = open.replace((key, bar));
                done.into_iter().for_each(|(key, bar)| put(bars, key, &bar));
            }
        }
    }
    open.into_iter().for_each(|(key, bar)| put(bars, key, &bar));
}

fn put(bars: &mut BTreeMap<BarKey, Bar>, key: BarKey, more: &Bar) {
    bars.entry(key).and_modify(|bar| bar.merge(more)).or_insert(*more);
}

//! What the bars start with: the one-minute bars of the horizon, read from the table of trades.
//!
//! The table is the truth, so a view can never come back other than its definition says.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type};
use k2_model::time::{NANOS_PER_DAY, NANOS_PER_SECOND};
use k2_model::{Bar, Decimal, Instrument, InstrumentTable, Nanos, Timeframe};
use k2_sinks::{Bounds, Lake, PlannedFile, Table};

use crate::live::BarKey;
use crate::views::bars::horizon_at;

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
    let Some(trades) = pin.tables.get(&Table::Trades) else { return Ok(BarSeeds::default()) };
    let (oldest, newest) = event_times(&trades.files);
    // Where no file tells its times, all are read.
    let behind =
        newest.map_or(Nanos(i64::MIN), |newest| horizon_at(newest, horizon_ns(horizon_hours)));
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

/// Least and greatest event time of the files, or a little beyond: a file that another engine wrote
/// may have no bounds, and tells its day alone. One that tells nothing may have the oldest.
fn event_times(files: &[Arc<PlannedFile>]) -> (Nanos, Option<Nanos>) {
    let times = |file: &Arc<PlannedFile>| {
        let of_day = |day: i32| {
            let lower = i64::from(day).saturating_mul(NANOS_PER_DAY);
            Bounds { lower, upper: lower.saturating_add(NANOS_PER_DAY - 1) }
        };
        file.ts_event.or(file.day.map(of_day))
    };
    let oldest = files.iter().map(|file| times(file).map_or(i64::MIN, |times| times.lower)).min();
    let newest = files.iter().filter_map(|file| {
        let received = file.ts_recv.map_or(i64::MAX, |times| times.upper);
        Some(Nanos::plausible(Nanos(times(file)?.upper), Nanos(received)))
    });
    (Nanos(oldest.unwrap_or(i64::MAX)), newest.max())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn file(day: Option<i32>, ts_event: Option<(i64, i64)>) -> Arc<PlannedFile> {
        Arc::new(PlannedFile {
            path: String::new(),
            size_bytes: 0,
            record_count: 1,
            day,
            bucket: None,
            venue: None,
            symbol: None,
            trade_id: None,
            sequence: None,
            ts_event: ts_event.map(|(lower, upper)| Bounds { lower, upper }),
            ts_recv: None,
            offset: None,
        })
    }

    #[test]
    fn files_without_bounds_are_as_old_as_they_may_be() {
        const DAY: i64 = NANOS_PER_DAY;
        let exact = file(Some(5), Some((5 * DAY + 7, 5 * DAY + 9)));
        let of_day = file(Some(3), None);
        let times = |files: &[&Arc<PlannedFile>]| {
            let files: Vec<_> = files.iter().map(|file| Arc::clone(file)).collect();
            let (oldest, newest) = event_times(&files);
            (oldest.0, newest.map(|newest| newest.0))
        };
        assert_eq!(times(&[]), (i64::MAX, None));
        assert_eq!(times(&[&exact]), (5 * DAY + 7, Some(5 * DAY + 9)));
        assert_eq!(times(&[&exact, &of_day]), (3 * DAY, Some(5 * DAY + 9)));
        assert_eq!(times(&[&of_day]), (3 * DAY, Some(4 * DAY - 1)));
        assert_eq!(times(&[&file(None, None), &exact]), (i64::MIN, Some(5 * DAY + 9)));
    }
}

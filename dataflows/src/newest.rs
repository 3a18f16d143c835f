//! The newest rows of a few instruments, straight from the columns of a pin.
//!
//! "The last minutes" is what is asked for most. No plan and no scan: of each batch only the rows
//! of these instruments are looked at, and none of batches that are all older than the oldest row
//! that is wanted.

use std::cmp::Ordering;
use std::sync::Arc;

use k2_model::{Instrument, Nanos, Stream, Time};
use k2_operators::MarketBatch;
use k2_operators::market_batch::{MarketColumns, MarketRecord, MarketRow};

use crate::live::{Chunk, Recent, Version};

/// Which rows are wanted: of these instruments and times, the newest.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub instruments: &'a [Instrument],
    pub from: Nanos,
    /// The last time, inclusive.
    pub until: Nanos,
    pub rows: usize,
}

/// A row by its place in time: event time, the venue's number as `long`, where it came from.
struct Placed<'a> {
    /// Numbers beyond `long` keep their bits, as in the tables, whose order this is.
    key: (Nanos, i64),
    row: MarketRow<'a>,
}

impl<'a> Placed<'a> {
    fn new(row: MarketRow<'a>) -> Self {
        Self { key: (row.ts_event(), row.sequence().cast_signed()), row }
    }

    /// The newest first.
    fn cmp_newest_first(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key).then_with(|| other.row.at().cmp(&self.row.at()))
    }
}

/// The newest rows in memory.
#[derive(Debug)]
pub struct Newest<R> {
    /// At most as many as are wanted, newest first, on either side of the seam.
    pub rows: Vec<R>,
    /// No row that has left memory belongs among them.
    pub is_whole: bool,
}

/// The newest rows of epochs below `frontier` that are in memory.
pub fn newest<R: Recent>(
    versions: &[Arc<Version>],
    frontier: Time,
    wanted: &Wanted<'_>,
) -> Newest<R> {
    let mut found = Found { rows: Vec::new(), full_at: wanted.rows, from: wanted.from, wanted };
    for version in versions {
        let own = owned::<R>(version, wanted.instruments);
        if !own.is_empty() {
            let rows = R::rows(&version.tail);
            found.look_through(rows.newest_first(frontier), &own);
        }
    }
    found.keep_newest();
    let from = found.from;
    let is_whole = versions.iter().all(|it| it.holds::<R>(Some(wanted.instruments), from));
    Newest { rows: found.rows.into_iter().map(|placed| R::of(placed.row)).collect(), is_whole }
}

/// Those of `instruments` that are on the worker of `version`: each is on one.
fn owned<R: Recent>(version: &Version, instruments: &[Instrument]) -> Vec<Instrument> {
    let stream = |instrument| Stream { instrument, data_type: R::DATA_TYPE };
    let is_own = |one: &Instrument| version.views.streams.contains(&stream(*one));
    instruments.iter().copied().filter(is_own).collect()
}

/// The rows found so far.
///
/// They come from chunk to chunk in falling order, or nearly, and a sort that takes what is sorted
/// as it is costs less than a heap, to which falling order is the worst.
struct Found<'a, 'b> {
    rows: Vec<Placed<'a>>,
    /// So many are cut to those that are wanted.
    full_at: usize,
    /// The time before which no row is wanted any more.
    from: Nanos,
    wanted: &'b Wanted<'b>,
}

impl<'a> Found<'a, '_> {
    /// Sorts the rows, and lets go of those that are too many.
    fn keep_newest(&mut self) {
        self.rows.sort_by(Placed::cmp_newest_first);
        self.rows.truncate(self.wanted.rows);
        match self.rows.last() {
            Some(oldest) if self.rows.len() == self.wanted.rows => {
                self.from = self.from.max(oldest.key.0);
                self.full_at = 2 * self.wanted.rows;
            }
            _ => {}
        }
    }

    /// Looks through chunks, the youngest first, until the rest is all older than what is wanted.
    fn look_through<B: MarketRecord + 'a>(
        &mut self,
        chunks: impl Iterator<Item = &'a Arc<Chunk<MarketBatch<B>>>>,
        instruments: &[Instrument],
    ) {
        for chunk in chunks {
            // Rows of one time can be wanted for their number, so those go on being looked at.
            if chunk.newest() < self.from {
                break;
            }
            for batch in &chunk.batches {
                self.look_at(batch.columns(), instruments);
            }
        }
    }

    fn look_at(&mut self, columns: &'a MarketColumns, instruments: &[Instrument]) {
        if columns.is_empty() || columns.newest() < self.from {
            return;
        }
        for instrument in instruments {
            for at in columns.of(*instrument).rev() {
                let ts_event = columns.ts_events()[at];
                if self.from <= ts_event && ts_event <= self.wanted.until {
                    self.add(Placed::new(columns.row(*instrument, at)));
                }
            }
        }
    }

    fn add(&mut self, row: Placed<'a>) {
        self.rows.push(row);
        if self.rows.len() >= self.full_at {
            self.keep_newest();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use k2_model::{
        Coordinates, DataType, Decimal, InstrumentTable, Origin, Side, Time, Trade, VendorData,
    };
    use k2_operators::sequence::StreamCounts;
    use proptest::prelude::*;

    use super::*;
    use crate::live::{Tail, TailConfig};

    fn trade(instrument: Instrument, ts_event: i64, sequence: u64, offset: u64) -> Trade {
        Trade {
            instrument,
            trade_id: sequence,
            sequence,
            ts_event: Nanos(ts_event),
            ts_recv: Nanos(0),
            price: Decimal(1),
            quantity: Decimal(1),
            side: Side::Buy,
            vendor_data: VendorData::EMPTY,
            at: Coordinates { origin: Origin::new("a", (offset % 2) as i32), offset },
        }
    }

    /// The version of one worker whose rows below the epoch `seam` may have left memory.
    fn version_of(trades: &[Trade], cut: usize, seam: Time, bytes_max: usize) -> Arc<Version> {
        let mut version = Version { tail: Tail::new(&NOTHING_BEFORE), ..Version::default() };
        for (rows, epoch) in trades.chunks(cut).zip(0..) {
            for row in rows {
                let stream = Stream { instrument: row.instrument, data_type: DataType::Trades };
                version.views.streams.insert(stream, StreamCounts::default());
            }
            version.tail.trades.push(Chunk::new(epoch, vec![MarketBatch::of(rows)]));
            version.from = epoch + 1;
        }
        version.tail.trim(seam.min(version.from), bytes_max);
        Arc::new(version)
    }

    const NOTHING_BEFORE: TailConfig =
        TailConfig { bytes_max: 0, trades_before: Nanos(i64::MIN), quotes_before: Nanos(i64::MIN) };

    proptest! {
        #[test]
        fn the_newest_rows_are_those_of_sorting_them_all(
            rows in prop::collection::vec((0usize..3, 0i64..20, 0u64..4), 0..60),
            cut in 1usize..9, limit in 0usize..12, from in 0i64..20, until in 0i64..20,
            seam in 0u64..60, bytes_max in 0usize..40_000,
        ) {
            let known = InstrumentTable::default();
            let instruments = ["A", "B", "C"].map(|raw| known.resolve("X", raw));
            let trades: Vec<Trade> = rows.iter().zip(0..).map(|(&(which, ts, sequence), offset)| {
                trade(instruments[which], ts, sequence, offset)
            }).collect();
            let wanted = Wanted {
                instruments: &instruments[..2], from: Nanos(from), until: Nanos(until), rows: limit,
            };
            let version = version_of(&trades, cut, seam, bytes_max);
            let frontier = version.from;
            let found = newest::<Trade>(&[version], frontier, &wanted);
            let mut sorted: Vec<Trade> = trades.into_iter().filter(|row| {
                row.instrument != instruments[2] && (from..=until).contains(&row.ts_event.0)
            }).collect();
            sorted.sort_by_key(|row| Reverse((row.ts_event, row.sequence, row.at)));
            sorted.truncate(limit);
            if found.is_whole {
                prop_assert_eq!(found.rows, sorted);
            } else {
                prop_assert!(seam > 0, "nothing has left, and yet something is missing");
            }
        }
    }
}

//! The newest rows of a few instruments, straight from the columns of a pin.
//!
//! "The last minutes" is what is asked for most. No plan and no scan: of each batch only the rows
//! of these instruments are looked at, and of batches that end before the oldest row that is
//! wanted none.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use k2_model::{Instrument, Nanos};
use k2_operators::MarketBatch;
use k2_operators::market_batch::{MarketColumns, MarketRecord, MarketRow};

use crate::live::Chunk;

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
struct Placed<'a>(MarketRow<'a>);

impl Placed<'_> {
    fn key(&self) -> (Nanos, i64) {
        // Numbers beyond `long` keep their bits, as in the tables, whose order this is.
        (self.0.ts_event(), self.0.sequence().cast_signed())
    }
}

impl Ord for Placed<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key()).then_with(|| self.0.at().cmp(&other.0.at()))
    }
}

impl PartialOrd for Placed<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Placed<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Placed<'_> {}

/// At most `wanted.rows` rows, newest first.
pub fn newest<'a, R: MarketRecord + 'a>(
    chunks: impl Iterator<Item = &'a Arc<Chunk<MarketBatch<R>>>>,
    wanted: &Wanted<'_>,
) -> Vec<R> {
    let chunks: Vec<_> = chunks.collect();
    let mut found = Found { rows: BinaryHeap::with_capacity(wanted.rows + 1), wanted };
    // The youngest epochs first, so that the oldest row that is wanted is soon known.
    for chunk in chunks.iter().rev() {
        for batch in &chunk.batches {
            found.look_through(batch.columns());
        }
    }
    found.rows.into_sorted_vec().into_iter().map(|Reverse(Placed(row))| R::of(row)).collect()
}

/// The rows found so far, the oldest on top.
struct Found<'a, 'b> {
    rows: BinaryHeap<Reverse<Placed<'a>>>,
    wanted: &'b Wanted<'b>,
}

impl<'a> Found<'a, '_> {
    /// The time before which no row is wanted any more.
    fn from(&self) -> Nanos {
        match self.rows.peek() {
            Some(Reverse(oldest)) if self.rows.len() >= self.wanted.rows => {
                oldest.0.ts_event().max(self.wanted.from)
            }
            _ => self.wanted.from,
        }
    }

    fn look_through(&mut self, columns: &'a MarketColumns) {
        if columns.is_empty() || columns.newest() < self.from() {
            return;
        }
        for instrument in self.wanted.instruments {
            let rows = columns.of(*instrument);
            let mut from = self.from();
            for at in rows.rev() {
                let ts_event = columns.ts_events()[at];
                if from <= ts_event && ts_event <= self.wanted.until {
                    self.add(Placed(columns.row(*instrument, at)));
                    from = self.from();
                }
            }
        }
    }

    fn add(&mut self, row: Placed<'a>) {
        self.rows.push(Reverse(row));
        if self.rows.len() > self.wanted.rows {
            self.rows.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use k2_model::{Coordinates, Decimal, InstrumentTable, Origin, Side, Trade, VendorData};
    use proptest::prelude::*;

    use super::*;

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

    proptest! {
        #[test]
        fn the_newest_rows_are_those_of_sorting_them_all(
            rows in prop::collection::vec((0usize..3, 0i64..20, 0u64..4), 0..60),
            cut in 1usize..9, limit in 0usize..12, from in 0i64..20, until in 0i64..20,
        ) {
            let known = InstrumentTable::default();
            let instruments = ["A", "B", "C"].map(|raw| known.resolve("X", raw));
            let trades: Vec<Trade> = rows.iter().zip(0..).map(|(&(which, ts, sequence), offset)| {
                trade(instruments[which], ts, sequence, offset)
            }).collect();
            let chunks: Vec<Arc<Chunk<MarketBatch<Trade>>>> = trades.chunks(cut).zip(0..)
                .map(|(rows, epoch)| Arc::new(Chunk::new(epoch, vec![MarketBatch::of(rows)])))
                .collect();
            let wanted = Wanted {
                instruments: &instruments[..2], from: Nanos(from), until: Nanos(until), rows: limit,
            };
            let found: Vec<Trade> = newest(chunks.iter(), &wanted);
            let mut sorted: Vec<Trade> = trades.into_iter().filter(|row| {
                row.instrument != instruments[2] && (from..=until).contains(&row.ts_event.0)
            }).collect();
            sorted.sort_by_key(|row| Reverse((row.ts_event, row.sequence, row.at)));
            sorted.truncate(limit);
            prop_assert_eq!(found, sorted);
        }
    }
}

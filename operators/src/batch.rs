//! How rows travel: parcels between workers, shared batches within one.

use std::collections::BTreeMap;
use std::sync::Arc;

use k2_model::{
    Coordinates, DataType, Depth, Instrument, Nanos, Offsets, Origin, Quote, Stream, Time, Trade,
};
use serde::{Deserialize, Serialize};

use crate::market_batch::{Groups, MarketBatch};

/// Rows of one block of input for one worker. A whole parcel crosses the exchange at once, so
/// that crossing costs nothing a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parcel<R> {
    /// The worker that owns the streams of these rows.
    pub worker: u64,
    pub origin: Origin,
    /// Offset of the block's first record; blocks of an origin do not overlap.
    pub first_offset: u64,
    /// In order of offset.
    pub rows: Vec<R>,
}

/// Rows that the operators of one worker and its readers share. Never changed once made.
pub type Batch<R> = Arc<Vec<R>>;

/// How rows of a kind are kept and shared once they are judged.
pub trait Kept: Clone + Send + Sync + 'static {
    type Row;

    /// Keeps `rows`, each with its place by instrument: all numbers from 0 in some order.
    fn keep<'a>(groups: Groups, rows: impl Iterator<Item = (&'a Self::Row, usize)>) -> Self
    where
        Self::Row: 'a;
    fn len(&self) -> usize;
    /// Heap bytes of the rows themselves.
    fn bytes(&self) -> usize;
    fn rows(&self) -> impl Iterator<Item = Self::Row> + '_;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<R: Clone + Send + Sync + 'static> Kept for Batch<R> {
    type Row = R;

    /// In the order of `rows`.
    fn keep<'a>(_groups: Groups, rows: impl Iterator<Item = (&'a R, usize)>) -> Self {
        Self::new(rows.map(|(row, _)| row.clone()).collect())
    }

    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn bytes(&self) -> usize {
        size_of_val(&self[..])
    }

    fn rows(&self) -> impl Iterator<Item = R> + '_ {
        self.iter().cloned()
    }
}

/// The end of a batch `[lower, upper)` of epochs that will be committed as one.
///
/// Sent to each worker at time `upper - 1`, the batch's last epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boundary {
    pub lower: Time,
    pub upper: Time,
    /// O(upper): of each origin the next offset to read.
    pub offsets: Offsets,
    /// What the source must remember of each origin beside its offset.
    pub marks: BTreeMap<Origin, SourceMark>,
}

/// How a file is recognised and resumed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceMark {
    /// Decompressed byte of the next record.
    pub byte: u64,
    /// Length and hash of the file's decompressed head.
    pub head_bytes: u64,
    pub head_hash: u64,
    /// The last record read had no line end.
    pub unterminated: bool,
}

/// One worker's part of the state that is saved with a batch, for one kind of stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateShard {
    pub data_type: DataType,
    /// The encoded states of the worker's streams, one after the other.
    pub states: Vec<Vec<u8>>,
}

/// What `sequence` needs to know of a record.
pub trait Numbered: timely::ExchangeData + Sync + Clone + Ord {
    /// How the unique records are kept.
    type Kept: Kept<Row = Self>;

    const DATA_TYPE: DataType;
    /// A hole in the numbers is a gap. Without it the numbers only tell repeats.
    const DENSE: bool;

    fn instrument(&self) -> Instrument;
    fn set_instrument(&mut self, instrument: Instrument);
    /// First and last number that the record covers.
    fn numbers(&self) -> (u64, u64);
    fn ts_event(&self) -> Nanos;
    fn ts_recv(&self) -> Nanos;
    fn at(&self) -> Coordinates;
    /// Of what makes two records with the same number the same; never of when they were received.
    fn print(&self) -> u32;

    fn stream(&self) -> Stream {
        Stream { instrument: self.instrument(), data_type: Self::DATA_TYPE }
    }
}

/// Folds numbers into 32 bits: xor and multiply by an odd constant (2^64 over the golden ratio).
fn fold(numbers: &[u64]) -> u32 {
    let mixed = numbers.iter().fold(0u64, |sum, number| {
        (sum ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    });
    (mixed ^ (mixed >> 32)) as u32
}

fn halves(number: i128) -> [u64; 2] {
    [number as u64, (number >> 64) as u64]
}

impl Numbered for Trade {
    type Kept = MarketBatch<Self>;

    const DATA_TYPE: DataType = DataType::Trades;
    const DENSE: bool = true;

    fn instrument(&self) -> Instrument {
        self.instrument
    }

    fn set_instrument(&mut self, instrument: Instrument) {
        self.instrument = instrument;
    }

    fn numbers(&self) -> (u64, u64) {
        (self.sequence, self.sequence)
    }

    fn ts_event(&self) -> Nanos {
        self.ts_event
    }

    fn ts_recv(&self) -> Nanos {
        self.ts_recv
    }

    fn at(&self) -> Coordinates {
        self.at
    }

    fn print(&self) -> u32 {
        let ([p0, p1], [q0, q1]) = (halves(self.price.0), halves(self.quantity.0));
        fold(&[p0, p1, q0, q1, self.ts_event.0 as u64, self.trade_id, self.side as u64])
    }
}

impl Numbered for Quote {
    type Kept = MarketBatch<Self>;

    const DATA_TYPE: DataType = DataType::Quotes;
    const DENSE: bool = false;

    fn instrument(&self) -> Instrument {
        self.instrument
    }

    fn set_instrument(&mut self, instrument: Instrument) {
        self.instrument = instrument;
    }

    fn numbers(&self) -> (u64, u64) {
        (self.sequence, self.sequence)
    }

    fn ts_event(&self) -> Nanos {
        self.ts_event
    }

    fn ts_recv(&self) -> Nanos {
        self.ts_recv
    }

    fn at(&self) -> Coordinates {
        self.at
    }

    /// Without `ts_event`, which for a feed without event times is when it was received.
    fn print(&self) -> u32 {
        let (bid, ask) = (halves(self.bid_price.0), halves(self.ask_price.0));
        let (bids, asks) = (halves(self.bid_quantity.0), halves(self.ask_quantity.0));
        fold(&[bid[0], bid[1], ask[0], ask[1], bids[0], bids[1], asks[0], asks[1]])
    }
}

impl Numbered for Depth {
    type Kept = Batch<Self>;

    const DATA_TYPE: DataType = DataType::Depth;
    const DENSE: bool = true;

    fn instrument(&self) -> Instrument {
        self.instrument
    }

    fn set_instrument(&mut self, instrument: Instrument) {
        self.instrument = instrument;
    }

    fn numbers(&self) -> (u64, u64) {
        (self.first, self.last)
    }

    fn ts_event(&self) -> Nanos {
        self.ts_event
    }

    fn ts_recv(&self) -> Nanos {
        self.ts_recv
    }

    fn at(&self) -> Coordinates {
        self.at
    }

    /// The levels are not kept, so there is no content to contradict.
    fn print(&self) -> u32 {
        1
    }
}

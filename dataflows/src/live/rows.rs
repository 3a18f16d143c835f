//! The rows of one table that a worker keeps in memory, oldest epoch first.
//!
//! What is not yet in a published snapshot must be here. What is in one may stay: the newest rows
//! are asked for most, and a file is much further away than memory. What has left is remembered by
//! its newest event time, so that a reader knows when memory alone can tell (SEAM-3).

use std::cmp::Ordering;
use std::mem::size_of;
use std::ops::Range;
use std::sync::Arc;

use imbl::{OrdMap, Vector};
use k2_model::{Instrument, Nanos, Time};
use k2_operators::market_batch::MarketRecord;
use k2_operators::{Kept, MarketBatch};

/// A chunk of at least so many rows is left as it is.
const LARGE_ROWS: usize = 8_192;
/// Small chunks that are merged at once, at most: a worker is not held up by more.
const MERGED_CHUNKS_MAX: usize = 256;
/// What a chunk takes besides its rows, about: its columns are allocations of their own.
const CHUNK_BYTES: usize = 512;

/// Chunks of batches `B` in order of epoch. A persistent value: a clone shares all chunks.
#[derive(Clone, Debug)]
pub struct Rows<B> {
    chunks: Vector<Arc<Chunk<B>>>,
    /// Heap bytes of all chunks.
    bytes: usize,
    /// Chunks of epochs below it are merged, or large already.
    merged: Time,
    left: Left,
}

/// Rows of one epoch, or of several whose rows are all in a published snapshot. Immutable, shared
/// with readers, dropped whole.
#[derive(Debug)]
pub struct Chunk<B> {
    /// The last of its epochs.
    pub epoch: Time,
    pub batches: Vec<B>,
    /// The greatest event time of this chunk and of all that were pushed before it.
    newest: Nanos,
    /// Rows of this chunk and of all that were pushed before it.
    rows_through: usize,
}

/// What of a table is not in memory: nothing of an instrument that is newer than this says.
#[derive(Clone, Debug)]
pub struct Left {
    /// Of what was stored before the job began, and of no instrument in particular.
    before: Nanos,
    by_instrument: OrdMap<Instrument, Nanos>,
}

impl<B> Default for Rows<B> {
    /// Nothing is known of what has left.
    fn default() -> Self {
        Self::beside(Nanos(i64::MAX))
    }
}

impl<B> Rows<B> {
    /// No rows yet, beside stored ones that are not newer than `before`.
    pub fn beside(before: Nanos) -> Self {
        let left = Left { before, by_instrument: OrdMap::new() };
        Self { chunks: Vector::new(), bytes: 0, merged: 0, left }
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Chunk<B>>> {
        self.chunks.iter()
    }

    pub fn last(&self) -> Option<&Arc<Chunk<B>>> {
        self.chunks.last()
    }

    /// Heap bytes of all chunks.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn left(&self) -> &Left {
        &self.left
    }

    /// The chunks of `epochs`, oldest first, without those that have no row at or after `from`, as
    /// far as that is known. No chunk is of epochs on both sides of a bound, if the lower one is a
    /// seam and the upper one a frontier.
    pub fn of_epochs(
        &self,
        epochs: Range<Time>,
        from: Nanos,
    ) -> impl Iterator<Item = &Arc<Chunk<B>>> {
        let first = self.search(|chunk| chunk.epoch < epochs.start || chunk.newest < from);
        self.within(first, self.place_of(epochs.end))
    }

    /// The chunks below the epoch `frontier`, newest first.
    pub fn newest_first(&self, frontier: Time) -> impl Iterator<Item = &Arc<Chunk<B>>> {
        let end = self.place_of(frontier);
        self.chunks.focus().narrow(0..end).into_iter().rev()
    }

    fn within(&self, first: usize, end: usize) -> impl Iterator<Item = &Arc<Chunk<B>>> {
        self.chunks.focus().narrow(first.min(end)..end).into_iter()
    }

    /// How many chunks are below `epoch`.
    fn place_of(&self, epoch: Time) -> usize {
        self.search(|chunk| chunk.epoch < epoch)
    }

    /// How many chunks are at the front that `is_before` holds for: for none after them.
    fn search(&self, is_before: impl Fn(&Chunk<B>) -> bool) -> usize {
        let order = |chunk: &Arc<Chunk<B>>| {
            if is_before(chunk) { Ordering::Less } else { Ordering::Greater }
        };
        self.chunks.binary_search_by(order).unwrap_or_else(|place| place)
    }
}

impl<B: Kept> Rows<B> {
    /// Adds rows that are younger than all that are here.
    pub fn push(&mut self, chunk: Chunk<B>) -> Arc<Chunk<B>> {
        let newest = self.last().map_or(chunk.newest, |last| last.newest.max(chunk.newest));
        let rows_through = self.last().map_or(0, |last| last.rows_through) + chunk.len();
        let chunk = Arc::new(Chunk { newest, rows_through, ..chunk });
        self.bytes += chunk.bytes();
        self.chunks.push_back(Arc::clone(&chunk));
        chunk
    }

    /// How many chunks there are of `epochs`, and how many rows in them, without a look at each.
    pub fn counted(&self, epochs: Range<Time>) -> (usize, usize) {
        let (first, end) = (self.place_of(epochs.start), self.place_of(epochs.end));
        if first >= end {
            return (0, 0);
        }
        let (oldest, youngest) = (&self.chunks[first], &self.chunks[end - 1]);
        (end - first, youngest.rows_through - (oldest.rows_through - oldest.len()))
    }

    /// Drops the chunks below `seam`, which are in a published snapshot.
    pub fn trim(&mut self, seam: Time) {
        while self.chunks.front().is_some_and(|chunk| chunk.epoch < seam) {
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<Arc<Chunk<B>>> {
        let oldest = self.chunks.pop_front()?;
        self.bytes -= oldest.bytes();
        Some(oldest)
    }

    /// The epoch of the oldest chunk, if that is below `seam`.
    pub fn oldest_below(&self, seam: Time) -> Option<Time> {
        self.chunks.front().map(|chunk| chunk.epoch).filter(|epoch| *epoch < seam)
    }
}

impl<R: MarketRecord> Rows<MarketBatch<R>> {
    /// Drops the oldest chunk, which must be in a published snapshot, and remembers what was in it.
    pub fn let_go(&mut self) {
        let Some(chunk) = self.pop() else { return };
        for columns in chunk.batches.iter().map(MarketBatch::columns) {
            for (instrument, rows) in columns.groups() {
                let newest = columns.ts_events()[rows].iter().max().copied();
                let newest = newest.unwrap_or(Nanos(i64::MIN)).max(self.left.newest_of(instrument));
                self.left.by_instrument.insert(instrument, newest);
            }
        }
    }

    /// Merges some of the small chunks below `seam`, which no reader has to tell apart any more.
    /// With epochs of milliseconds there are thousands of them, and each costs every reader.
    pub fn merge(&mut self, seam: Time) {
        let (mut first, end) = (self.place_of(self.merged), self.place_of(seam));
        while first < end && self.chunks[first].len() >= LARGE_ROWS {
            self.merged = self.chunks[first].epoch + 1;
            first += 1;
        }
        let (mut count, mut rows) = (0, 0);
        for chunk in self.within(first, end) {
            if rows >= LARGE_ROWS || count >= MERGED_CHUNKS_MAX || chunk.len() >= LARGE_ROWS {
                break;
            }
            (count, rows) = (count + 1, rows + chunk.len());
        }
        // Those at the seam wait for what comes after them.
        if first + count < end {
            self.replace(first, count);
        }
    }

    fn replace(&mut self, first: usize, count: usize) {
        let rest = self.chunks.split_off(first + count);
        let small = self.chunks.split_off(first);
        let Some(last) = small.last() else { return };
        self.merged = last.epoch + 1;
        let batches = small.iter().flat_map(|chunk| &chunk.batches);
        let batches = vec![MarketBatch::merged(batches)];
        let (newest, rows_through) = (last.newest, last.rows_through);
        let merged = Chunk { epoch: last.epoch, batches, newest, rows_through };
        self.bytes -= small.iter().map(|chunk| chunk.bytes()).sum::<usize>();
        self.bytes += merged.bytes();
        self.chunks.push_back(Arc::new(merged));
        self.chunks.append(rest);
    }
}

impl<B: Kept> Chunk<B> {
    pub fn new(epoch: Time, batches: Vec<B>) -> Self {
        let newest = batches.iter().map(Kept::newest).max().unwrap_or(Nanos(i64::MIN));
        let rows_through = batches.iter().map(Kept::len).sum();
        Self { epoch, batches, newest, rows_through }
    }

    pub fn len(&self) -> usize {
        self.batches.iter().map(Kept::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.batches.iter().all(Kept::is_empty)
    }

    pub fn rows(&self) -> impl Iterator<Item = B::Row> + '_ {
        self.batches.iter().flat_map(Kept::rows)
    }

    /// Heap bytes, about.
    pub fn bytes(&self) -> usize {
        let batches = self.batches.len() * size_of::<B>();
        CHUNK_BYTES + batches + self.batches.iter().map(Kept::bytes).sum::<usize>()
    }
}

impl<B> Chunk<B> {
    /// The greatest event time of this chunk and of all that were pushed before it.
    pub fn newest(&self) -> Nanos {
        self.newest
    }
}

impl Left {
    /// No row of `instrument` that is newer than this has left memory.
    pub fn newest_of(&self, instrument: Instrument) -> Nanos {
        self.by_instrument.get(&instrument).map_or(self.before, |left| self.before.max(*left))
    }

    /// As [`Left::newest_of`], of all instruments.
    pub fn newest(&self) -> Nanos {
        self.by_instrument.values().copied().max().map_or(self.before, |it| it.max(self.before))
    }

    /// Of what no job has held in memory since it began.
    pub fn before(&self) -> Nanos {
        self.before
    }
}

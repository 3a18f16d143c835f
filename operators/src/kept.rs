//! How rows are kept once they are judged: in the order of their instruments, without being moved
//! more than once.

use k2_model::{Instrument, Nanos};

use crate::batch::Batch;

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
    /// The greatest event time; the greatest there is if rows of this kind have none.
    fn newest(&self) -> Nanos;

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

    fn newest(&self) -> Nanos {
        Nanos(i64::MAX)
    }
}

/// The rows of one instrument, from the end of the group before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) instrument: Instrument,
    pub(crate) end: usize,
}

/// Which rows of some blocks are kept, and of which instrument each is. Reused from time to time,
/// for the same instruments at the same places.
#[derive(Debug, Default)]
pub struct Grouping {
    /// (Row in its block, place of its instrument), block after block.
    rows: Vec<(u32, u32)>,
    /// Of each block the end of its rows.
    block_ends: Vec<usize>,
    /// By place: how many rows, then where the next of them goes; 0 between times.
    counts: Vec<usize>,
    /// By place: where its instrument stands in the order of instruments.
    routes: Vec<u64>,
    /// The places with rows.
    places: Vec<usize>,
}

/// Which of the kept rows are of which instrument.
#[derive(Debug)]
pub struct Groups(pub(crate) Vec<Group>);

impl Grouping {
    /// Keeps the row `at` of the block at hand, whose instrument has the number `place` at the
    /// caller's.
    #[inline]
    pub fn add(&mut self, at: usize, place: usize) {
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        if self.counts[place] == 0 {
            self.places.push(place);
        }
        self.counts[place] += 1;
        // A block is some megabytes of lines.
        self.rows.push((at as u32, place as u32));
    }

    /// What is added from now on is of the next block.
    pub fn end_block(&mut self) {
        self.block_ends.push(self.rows.len());
    }

    /// Keeps the added rows of `blocks`: instrument after instrument, each in the order in which
    /// its rows came.
    pub fn keep<K: Kept>(
        &mut self,
        blocks: &[&[K::Row]],
        instrument: impl Fn(usize) -> Instrument,
    ) -> K {
        let groups = self.groups(instrument);
        let Self { rows, block_ends, counts, places, .. } = self;
        let starts = std::iter::once(0).chain(block_ends.iter().copied());
        let of_blocks = starts.zip(block_ends.iter()).zip(blocks);
        let added = of_blocks.flat_map(|((start, end), block)| {
            rows[start..*end].iter().map(move |&(at, place)| (&block[at as usize], place))
        });
        let placed = added.map(|(row, place)| {
            let next = &mut counts[place as usize];
            *next += 1;
            (row, *next - 1)
        });
        let kept = K::keep(groups, placed);
        places.drain(..).for_each(|place| counts[place] = 0);
        rows.clear();
        block_ends.clear();
        kept
    }

    /// The groups in order of instrument, and where each starts.
    fn groups(&mut self, instrument: impl Fn(usize) -> Instrument) -> Groups {
        let known = self.routes.len();
        self.routes.extend((known..self.counts.len()).map(|place| instrument(place).route()));
        // As instruments are ordered, but without looking at them.
        self.places.sort_unstable_by(|&a, &b| {
            let routes = self.routes[a].cmp(&self.routes[b]);
            routes.then_with(|| instrument(a).cmp(&instrument(b)))
        });
        let mut end = 0;
        let groups = self.places.iter().map(|&place| {
            let start = end;
            end += std::mem::replace(&mut self.counts[place], start);
            Group { instrument: instrument(place), end }
        });
        Groups(groups.collect())
    }
}

//! Trades and quotes as they are kept until they are committed: as columns, by instrument.
//!
//! A trade takes 112 bytes as a struct and about 45 here, and to touch memory for the first time
//! costs more than most of what is done to a trade. Rows of an instrument lie together, in the
//! order in which they came, because that is how they are asked for, merged into bars and written.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use k2_model::{Coordinates, Decimal, Instrument, Nanos, Origin, Quote, Side, Trade, VendorData};

use crate::batch::{Kept, Numbered};

/// Most decimals in a record.
pub const DECIMALS_MAX: usize = 4;

/// A record that is kept as columns.
pub trait MarketRecord: Numbered {
    /// How many of [`MarketRecord::decimals`] there are.
    const DECIMALS: usize;

    /// The number in the message id.
    fn id(&self) -> u64;
    fn decimals(&self) -> [Decimal; DECIMALS_MAX];
    fn side(&self) -> Option<Side>;
    fn vendor_data(&self) -> &VendorData;
    /// The record back from its columns.
    fn of(row: MarketRow<'_>) -> Self;
}

/// Rows of one block of input, on one worker: shared, and never changed once made.
#[derive(Debug)]
pub struct MarketBatch<R> {
    columns: Arc<MarketColumns>,
    record: PhantomData<fn() -> R>,
}

impl<R> Clone for MarketBatch<R> {
    fn clone(&self) -> Self {
        Self { columns: Arc::clone(&self.columns), record: PhantomData }
    }
}

/// The columns of a [`MarketBatch`], whatever it is of.
#[derive(Debug)]
pub struct MarketColumns {
    origin: Origin,
    /// Offsets count from here.
    first_offset: u64,
    /// In order of instrument.
    groups: Vec<Group>,
    sequences: Vec<u64>,
    /// Empty if each is the row's sequence.
    ids: Vec<u64>,
    ts_events: Vec<Nanos>,
    ts_recvs: Vec<Nanos>,
    decimals: Vec<DecimalColumn>,
    /// Empty for records without a side.
    sides: Vec<Side>,
    /// Runs of equal values, each with the row behind its last.
    vendor_data: Vec<(VendorData, usize)>,
    offsets: Vec<u32>,
}

/// The rows of one instrument, from the end of the group before.
#[derive(Clone, Copy, Debug)]
struct Group {
    instrument: Instrument,
    end: usize,
}

/// Decimals, by whether [`Decimal::narrow`] holds all of them.
#[derive(Clone, Debug)]
pub enum DecimalColumn {
    Narrow(Vec<i64>),
    Wide(Vec<Decimal>),
}

/// One row of the columns.
#[derive(Clone, Copy, Debug)]
pub struct MarketRow<'a> {
    pub instrument: Instrument,
    columns: &'a MarketColumns,
    at: usize,
}

impl<R: MarketRecord> MarketBatch<R> {
    /// `rows` in batches: one for each stretch of the same origin.
    pub fn all_of<'a>(rows: impl IntoIterator<Item = &'a R>) -> Vec<Self> {
        let mut batches = Vec::new();
        let mut stretch: Vec<R> = Vec::new();
        for row in rows {
            let is_near = |first: &R| {
                let (first, next) = (first.at(), row.at());
                first.origin == next.origin && first.offset.abs_diff(next.offset) <= STRETCH_MAX
            };
            if !stretch.first().is_none_or(is_near) {
                batches.push(Self::of_stretch(&stretch));
                stretch.clear();
            }
            stretch.push(row.clone());
        }
        if !stretch.is_empty() {
            batches.push(Self::of_stretch(&stretch));
        }
        batches
    }

    fn of_stretch(rows: &[R]) -> Self {
        let mut grouping = Grouping::default();
        let mut places: BTreeMap<Instrument, usize> = BTreeMap::new();
        let mut instruments: Vec<Instrument> = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let place = *places.entry(row.instrument()).or_insert_with(|| {
                instruments.push(row.instrument());
                instruments.len() - 1
            });
            grouping.add(at, place);
        }
        Self::keep(rows, grouping.finish(|place| instruments[place]))
    }

    pub fn columns(&self) -> &Arc<MarketColumns> {
        &self.columns
    }
}

/// Offsets of a stretch are kept in 32 bits, from the least of them.
const STRETCH_MAX: u64 = (u32::MAX / 2) as u64;

impl<R: MarketRecord> Kept for MarketBatch<R> {
    type Row = R;

    fn keep(rows: &[R], grouped: Grouped<'_>) -> Self {
        let order = grouped.order;
        let first = order.first().map(|&at| rows[at as usize].at());
        let origin = first.map_or_else(|| Origin::new("", 0), |first| first.origin);
        let least = order.iter().map(|&at| rows[at as usize].at().offset).min();
        let first_offset = least.unwrap_or_default();
        let sequences = gather(rows, order, |row| row.numbers().1);
        let mut ids = gather(rows, order, R::id);
        if ids == sequences {
            ids = Vec::new();
        }
        let decimal = |nth: usize| DecimalColumn::of(rows, order, |row| row.decimals()[nth]);
        let mut vendor_data: Vec<(VendorData, usize)> = Vec::new();
        for (&at, end) in order.iter().zip(1..) {
            let value = rows[at as usize].vendor_data();
            match vendor_data.last_mut() {
                Some((last, last_end)) if last == value => *last_end = end,
                _ => vendor_data.push((value.clone(), end)),
            }
        }
        let offset = |row: &R| {
            debug_assert_eq!(row.at().origin, origin, "a block has one origin");
            u32::try_from(row.at().offset - first_offset).expect("blocks have few records")
        };
        let columns = MarketColumns {
            origin,
            first_offset,
            groups: grouped.groups,
            sequences,
            ids,
            ts_events: gather(rows, order, R::ts_event),
            ts_recvs: gather(rows, order, R::ts_recv),
            decimals: (0..R::DECIMALS).map(decimal).collect(),
            sides: order.iter().filter_map(|&at| rows[at as usize].side()).collect(),
            vendor_data,
            offsets: gather(rows, order, offset),
        };
        Self { columns: Arc::new(columns), record: PhantomData }
    }

    fn len(&self) -> usize {
        self.columns.len()
    }

    fn bytes(&self) -> usize {
        self.columns.bytes()
    }

    fn rows(&self) -> impl Iterator<Item = R> + '_ {
        self.columns.rows().map(R::of)
    }
}

fn gather<R, T>(rows: &[R], order: &[u32], value: impl Fn(&R) -> T) -> Vec<T> {
    order.iter().map(|&at| value(&rows[at as usize])).collect()
}

impl DecimalColumn {
    fn of<R>(rows: &[R], order: &[u32], value: impl Fn(&R) -> Decimal) -> Self {
        let mut is_narrow = true;
        let narrow = order.iter().map(|&at| {
            let narrow = value(&rows[at as usize]).narrow();
            is_narrow &= narrow.is_some();
            narrow.unwrap_or_default()
        });
        let narrow = narrow.collect();
        if is_narrow { Self::Narrow(narrow) } else { Self::Wide(gather(rows, order, value)) }
    }

    pub fn get(&self, at: usize) -> Decimal {
        match self {
            Self::Narrow(values) => Decimal(values[at].into()),
            Self::Wide(values) => values[at],
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Narrow(values) => size_of_val(&values[..]),
            Self::Wide(values) => size_of_val(&values[..]),
        }
    }
}

impl MarketColumns {
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Heap bytes of the rows themselves.
    pub fn bytes(&self) -> usize {
        let of_decimals: usize = self.decimals.iter().map(DecimalColumn::bytes).sum();
        of_decimals
            + size_of_val(&self.groups[..])
            + size_of_val(&self.sequences[..])
            + size_of_val(&self.ids[..])
            + size_of_val(&self.ts_events[..])
            + size_of_val(&self.ts_recvs[..])
            + size_of_val(&self.sides[..])
            + size_of_val(&self.vendor_data[..])
            + size_of_val(&self.offsets[..])
    }

    /// Each instrument with its rows, in order of instrument.
    pub fn groups(&self) -> impl Iterator<Item = (Instrument, Range<usize>)> + '_ {
        let starts = std::iter::once(0).chain(self.groups.iter().map(|group| group.end));
        self.groups.iter().zip(starts).map(|(group, start)| (group.instrument, start..group.end))
    }

    /// The rows of `instrument`; an empty range if there are none.
    pub fn of(&self, instrument: Instrument) -> Range<usize> {
        let found = self.groups.binary_search_by_key(&instrument, |group| group.instrument);
        found.map_or(0..0, |at| {
            let start = at.checked_sub(1).map_or(0, |before| self.groups[before].end);
            start..self.groups[at].end
        })
    }

    /// The row at `at`, which is one of `instrument`.
    pub fn row(&self, instrument: Instrument, at: usize) -> MarketRow<'_> {
        MarketRow { instrument, columns: self, at }
    }

    pub fn rows(&self) -> impl Iterator<Item = MarketRow<'_>> {
        self.groups()
            .flat_map(move |(instrument, range)| range.map(move |at| self.row(instrument, at)))
    }

    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// In the message ids: trade ids, or the update ids of quotes.
    pub fn ids(&self) -> &[u64] {
        if self.ids.is_empty() { &self.sequences } else { &self.ids }
    }

    pub fn sequences(&self) -> &[u64] {
        &self.sequences
    }

    pub fn ts_events(&self) -> &[Nanos] {
        &self.ts_events
    }

    pub fn ts_recvs(&self) -> &[Nanos] {
        &self.ts_recvs
    }

    pub fn decimals(&self) -> &[DecimalColumn] {
        &self.decimals
    }

    /// Empty for records without a side.
    pub fn sides(&self) -> &[Side] {
        &self.sides
    }

    /// The offsets of `range`.
    pub fn offsets(&self, range: Range<usize>) -> impl Iterator<Item = u64> + '_ {
        self.offsets[range].iter().map(|&offset| self.first_offset + u64::from(offset))
    }

    /// The vendor data of `range`, as runs of equal values with their lengths.
    pub fn vendor_data(
        &self,
        range: Range<usize>,
    ) -> impl Iterator<Item = (&VendorData, usize)> + '_ {
        let from = self.vendor_data.partition_point(|(_, end)| *end <= range.start);
        let mut start = range.start;
        let runs = self.vendor_data[from..].iter();
        runs.map_while(move |(value, end)| {
            let rows = (*end).min(range.end).saturating_sub(start);
            start += rows;
            (rows > 0).then_some((value, rows))
        })
    }
}

impl<'a> MarketRow<'a> {
    pub fn id(self) -> u64 {
        self.columns.ids()[self.at]
    }

    pub fn sequence(self) -> u64 {
        self.columns.sequences[self.at]
    }

    pub fn ts_event(self) -> Nanos {
        self.columns.ts_events[self.at]
    }

    pub fn ts_recv(self) -> Nanos {
        self.columns.ts_recvs[self.at]
    }

    pub fn decimal(self, nth: usize) -> Decimal {
        self.columns.decimals[nth].get(self.at)
    }

    /// `None` for records without a side.
    pub fn side(self) -> Option<Side> {
        self.columns.sides.get(self.at).copied()
    }

    pub fn vendor_data(self) -> &'a VendorData {
        let runs = &self.columns.vendor_data;
        &runs[runs.partition_point(|(_, end)| *end <= self.at)].0
    }

    pub fn at(self) -> Coordinates {
        let offset = self.columns.first_offset + u64::from(self.columns.offsets[self.at]);
        Coordinates { origin: self.columns.origin, offset }
    }
}

/// Which rows of a block are kept, and of which instrument each is. Reused from block to block,
/// for the same instruments at the same places.
#[derive(Debug, Default)]
pub struct Grouping {
    /// (Row, place of its instrument), in order of row.
    rows: Vec<(u32, usize)>,
    /// By place: how many rows, then where the next of them goes; 0 between blocks.
    counts: Vec<u32>,
    /// By place: where its instrument stands in the order of instruments.
    routes: Vec<u64>,
    /// The places with rows.
    places: Vec<usize>,
    order: Vec<u32>,
}

/// The kept rows of a block, by instrument.
#[derive(Debug)]
pub struct Grouped<'a> {
    /// Places in the block: instrument after instrument, each in the order of the block.
    order: &'a [u32],
    groups: Vec<Group>,
}

impl Grouping {
    /// Keeps the row `at`, whose instrument has the number `place` at the caller's.
    pub fn add(&mut self, at: usize, place: usize) {
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        if self.counts[place] == 0 {
            self.places.push(place);
        }
        self.counts[place] += 1;
        // A block is some megabytes of lines.
        self.rows.push((at as u32, place));
    }

    /// The rows added since the last call, by instrument.
    pub fn finish(&mut self, instrument: impl Fn(usize) -> Instrument) -> Grouped<'_> {
        let known = self.routes.len();
        self.routes.extend((known..self.counts.len()).map(|place| instrument(place).route()));
        // As instruments are ordered, but without looking at them.
        self.places.sort_unstable_by(|&a, &b| {
            let routes = self.routes[a].cmp(&self.routes[b]);
            routes.then_with(|| instrument(a).cmp(&instrument(b)))
        });
        let mut groups = Vec::with_capacity(self.places.len());
        let mut end = 0;
        for &place in &self.places {
            let start = end;
            end += self.counts[place];
            self.counts[place] = start;
            groups.push(Group { instrument: instrument(place), end: end as usize });
        }
        self.order.resize(self.rows.len(), 0);
        for (at, place) in self.rows.drain(..) {
            let next = &mut self.counts[place];
            self.order[*next as usize] = at;
            *next += 1;
        }
        self.places.drain(..).for_each(|place| self.counts[place] = 0);
        Grouped { order: &self.order, groups }
    }
}

impl Grouped<'_> {
    /// The kept rows of the block, by instrument.
    pub fn of<'a, R>(&'a self, rows: &'a [R]) -> impl Iterator<Item = &'a R> {
        self.order.iter().map(|&at| &rows[at as usize])
    }
}

impl MarketRecord for Trade {
    const DECIMALS: usize = 2;

    fn id(&self) -> u64 {
        self.trade_id
    }

    fn decimals(&self) -> [Decimal; DECIMALS_MAX] {
        [self.price, self.quantity, Decimal::ZERO, Decimal::ZERO]
    }

    fn side(&self) -> Option<Side> {
        Some(self.side)
    }

    fn vendor_data(&self) -> &VendorData {
        &self.vendor_data
    }

    fn of(row: MarketRow<'_>) -> Self {
        Self {
            instrument: row.instrument,
            trade_id: row.id(),
            sequence: row.sequence(),
            ts_event: row.ts_event(),
            ts_recv: row.ts_recv(),
            price: row.decimal(0),
            quantity: row.decimal(1),
            side: row.side().unwrap_or_default(),
            vendor_data: row.vendor_data().clone(),
            at: row.at(),
        }
    }
}

impl MarketRecord for Quote {
    const DECIMALS: usize = 4;

    fn id(&self) -> u64 {
        self.sequence
    }

    fn decimals(&self) -> [Decimal; DECIMALS_MAX] {
        [self.bid_price, self.bid_quantity, self.ask_price, self.ask_quantity]
    }

    fn side(&self) -> Option<Side> {
        None
    }

    fn vendor_data(&self) -> &VendorData {
        &self.vendor_data
    }

    fn of(row: MarketRow<'_>) -> Self {
        Self {
            instrument: row.instrument,
            sequence: row.sequence(),
            ts_event: row.ts_event(),
            ts_recv: row.ts_recv(),
            bid_price: row.decimal(0),
            bid_quantity: row.decimal(1),
            ask_price: row.decimal(2),
            ask_quantity: row.decimal(3),
            vendor_data: row.vendor_data().clone(),
            at: row.at(),
        }
    }
}

#[cfg(test)]
mod tests;

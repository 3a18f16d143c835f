//! The columns of a batch, and its rows as they are read back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

use k2_model::{Coordinates, Decimal, Instrument, Nanos, Origin, Side, VendorData};

use crate::kept::{Group, Groups};
use crate::numbered::Numbered;

/// Most decimals in a record.
pub const DECIMALS_MAX: usize = 4;

/// A record that is kept as columns.
pub trait MarketRecord: Numbered {
    /// How many of [`MarketRecord::decimals`] there are.
    const DECIMALS: usize;
    const HAS_SIDE: bool;

    /// The number in the message id.
    fn id(&self) -> u64;
    fn decimals(&self) -> [Decimal; DECIMALS_MAX];
    fn side(&self) -> Option<Side>;
    fn vendor_data(&self) -> &VendorData;
    /// The record back from its columns.
    fn of(row: MarketRow<'_>) -> Self;
}

/// More than [`Decimal::narrow`] holds.
const BEYOND: i64 = i64::MIN;
/// One row in so many may have a decimal beyond 64 bits before all of them are given more.
const BEYOND_SHARE: usize = 8;

/// The columns of a [`MarketBatch`](super::MarketBatch), whatever it is of.
#[derive(Debug)]
pub struct MarketColumns {
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
    vendor_data: Coded<VendorData>,
    /// An origin, and from where offsets there count.
    origins: Coded<(Origin, u64)>,
    offsets: Vec<u32>,
    /// The greatest of `ts_events`, once somebody has asked.
    newest: OnceLock<Nanos>,
}

/// Decimals in 64 bits, but for those that need more.
#[derive(Clone, Debug)]
pub enum DecimalColumn {
    /// What [`Decimal::narrow`] holds is in `values`. What it does not is in `beyond`, by row; in
    /// `values` a number stands there that no narrow decimal is.
    Narrow { values: Vec<i64>, beyond: BTreeMap<usize, Decimal> },
    /// Many need more.
    Wide(Vec<Decimal>),
}

/// One row of the columns.
#[derive(Clone, Copy, Debug)]
pub struct MarketRow<'a> {
    pub instrument: Instrument,
    columns: &'a MarketColumns,
    at: usize,
}

impl DecimalColumn {
    fn of_zeros(rows: usize) -> Self {
        Self::Narrow { values: vec![0; rows], beyond: BTreeMap::new() }
    }

    #[inline]
    fn put(&mut self, at: usize, value: Decimal) {
        match (&mut *self, value.narrow()) {
            (Self::Narrow { values, .. }, Some(narrow)) => values[at] = narrow,
            (Self::Narrow { .. }, None) => self.put_beyond(at, value),
            (Self::Wide(values), _) => values[at] = value,
        }
    }

    #[cold]
    fn put_beyond(&mut self, at: usize, value: Decimal) {
        let Self::Narrow { values, beyond } = self else { return };
        values[at] = BEYOND;
        beyond.insert(at, value);
        // In a map each takes several times the room.
        if beyond.len() * BEYOND_SHARE > values.len() {
            let rows = 0..values.len();
            *self = Self::Wide(rows.map(|row| self.get(row)).collect());
        }
    }

    #[inline]
    pub fn get(&self, at: usize) -> Decimal {
        match self {
            Self::Narrow { values, .. } if values[at] != BEYOND => Decimal(values[at].into()),
            Self::Narrow { beyond, .. } => beyond[&at],
            Self::Wide(values) => values[at],
        }
    }

    /// Whether [`Decimal::narrow`] holds all of `rows`.
    pub fn is_narrow(&self, rows: Range<usize>) -> bool {
        match self {
            Self::Narrow { beyond, .. } => beyond.range(rows).next().is_none(),
            Self::Wide(values) => values[rows].iter().all(|value| value.narrow().is_some()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Narrow { values, beyond } => {
                size_of_val(&values[..]) + beyond.len() * size_of::<(usize, Decimal)>()
            }
            Self::Wide(values) => size_of_val(&values[..]),
        }
    }
}

/// A column of few different values.
#[derive(Debug)]
struct Coded<T> {
    values: Vec<T>,
    /// Which of the values each row has; empty while there is only one.
    codes: Vec<u32>,
}

impl<T> Coded<T> {
    const EMPTY: Self = Self { values: Vec::new(), codes: Vec::new() };

    /// Gives row `at` of `rows` the value at `code`.
    #[inline]
    fn put(&mut self, at: usize, code: usize, rows: usize) {
        if code > 0 && self.codes.is_empty() {
            self.codes = vec![0; rows];
        }
        if let Some(coded) = self.codes.get_mut(at) {
            // There are fewer values than rows.
            *coded = code as u32;
        }
    }

    fn get(&self, at: usize) -> &T {
        &self.values[self.codes.get(at).map_or(0, |code| *code as usize)]
    }

    /// The values of `rows`, as runs of equal ones with their lengths.
    fn runs(&self, rows: Range<usize>) -> impl Iterator<Item = (&T, usize)> + '_ {
        let of_one = self.codes.is_empty() && !rows.is_empty();
        let one = of_one.then(|| (&self.values[0], rows.len()));
        let codes = self.codes.get(rows).unwrap_or_default().chunk_by(|a, b| a == b);
        one.into_iter().chain(codes.map(|run| (&self.values[run[0] as usize], run.len())))
    }

    fn bytes(&self) -> usize {
        size_of_val(&self.values[..]) + size_of_val(&self.codes[..])
    }
}

impl MarketColumns {
    /// With room for the rows of `groups`.
    pub(super) fn of_zeros<R: MarketRecord>(Groups(groups): Groups) -> Self {
        let rows = groups.last().map_or(0, |group| group.end);
        Self {
            groups,
            sequences: vec![0; rows],
            ids: Vec::new(),
            ts_events: vec![Nanos(0); rows],
            ts_recvs: vec![Nanos(0); rows],
            decimals: (0..R::DECIMALS).map(|_| DecimalColumn::of_zeros(rows)).collect(),
            sides: vec![Side::Unknown; if R::HAS_SIDE { rows } else { 0 }],
            vendor_data: Coded::EMPTY,
            origins: Coded::EMPTY,
            offsets: vec![0; rows],
            newest: OnceLock::new(),
        }
    }

    #[inline]
    pub(super) fn put<R: MarketRecord>(&mut self, at: usize, row: &R) {
        let (sequence, id) = (row.numbers().1, row.id());
        self.sequences[at] = sequence;
        if id != sequence && self.ids.is_empty() {
            self.ids = self.sequences.clone();
        }
        if let Some(known) = self.ids.get_mut(at) {
            *known = id;
        }
        self.ts_events[at] = row.ts_event();
        self.ts_recvs[at] = row.ts_recv();
        for (column, value) in self.decimals.iter_mut().zip(row.decimals()) {
            column.put(at, value);
        }
        if let (Some(known), Some(side)) = (self.sides.get_mut(at), row.side()) {
            *known = side;
        }
        let code = code_of_data(&mut self.vendor_data.values, row.vendor_data());
        self.vendor_data.put(at, code, self.sequences.len());
        let (code, offset) = code_of_place(&mut self.origins.values, row.at());
        self.origins.put(at, code, self.sequences.len());
        self.offsets[at] = offset;
    }

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
            + self.vendor_data.bytes()
            + self.origins.bytes()
            + size_of_val(&self.offsets[..])
    }

    /// Each instrument with its rows, in order of instrument.
    pub fn groups(&self) -> impl Iterator<Item = (Instrument, Range<usize>)> + '_ {
        let starts = std::iter::once(0).chain(self.groups.iter().map(|group| group.end));
        self.groups.iter().zip(starts).map(|(group, start)| (group.instrument, start..group.end))
    }

    /// The rows of `instrument`, in the order in which they came.
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

    /// The greatest event time; the least there is if there are no rows.
    pub fn newest(&self) -> Nanos {
        let newest = || self.ts_events.iter().max().copied();
        *self.newest.get_or_init(|| newest().unwrap_or(Nanos(i64::MIN)))
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

    /// The vendor data of `rows`, as runs of equal values with their lengths.
    pub fn vendor_data(
        &self,
        rows: Range<usize>,
    ) -> impl Iterator<Item = (&VendorData, usize)> + '_ {
        self.vendor_data.runs(rows)
    }

    /// Where `rows` came from, as runs of one origin: an offset there, and of each row how far
    /// behind that it is.
    pub fn places(&self, rows: Range<usize>) -> impl Iterator<Item = (Origin, u64, &[u32])> + '_ {
        let mut start = rows.start;
        self.origins.runs(rows).map(move |(&(origin, base), count)| {
            let offsets = &self.offsets[start..start + count];
            start += count;
            (origin, base, offsets)
        })
    }
}

/// How many known values a row's own is looked for among. There are few, or each row has its own.
const LOOKED_AT_MAX: usize = 16;

/// The code of `data` among `values`.
#[inline]
fn code_of_data(values: &mut Vec<VendorData>, data: &VendorData) -> usize {
    let is_same = |known: &VendorData| std::ptr::eq(known.fields(), data.fields());
    if let Some(code) = values.iter().take(LOOKED_AT_MAX).position(is_same) {
        return code;
    }
    values.push(data.clone());
    values.len() - 1
}

/// The code of the origin of `at` among `values`, and its offset from there in 32 bits.
#[inline]
fn code_of_place(values: &mut Vec<(Origin, u64)>, at: Coordinates) -> (usize, u32) {
    let from = |base: u64| at.offset.checked_sub(base).and_then(|it| u32::try_from(it).ok());
    let mut known = values.iter().enumerate().rev().take(LOOKED_AT_MAX);
    let found = known.find_map(|(code, (origin, base))| {
        from(*base).filter(|_| *origin == at.origin).map(|offset| (code, offset))
    });
    found.unwrap_or_else(|| {
        values.push((at.origin, at.offset));
        (values.len() - 1, 0)
    })
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
        self.columns.vendor_data.get(self.at)
    }

    pub fn at(self) -> Coordinates {
        let (origin, base) = *self.columns.origins.get(self.at);
        Coordinates { origin, offset: base + u64::from(self.columns.offsets[self.at]) }
    }
}

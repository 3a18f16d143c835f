//! Brings rows into the order of the table and cuts them into files.
//!
//! Rows come nearly sorted within each instrument, and instruments come mixed. So the rows are
//! dealt out to their instruments first, and only what is then out of order is sorted.

use std::collections::BTreeMap;

use iceberg::spec::{Datum, Literal, PrimitiveLiteral, Transform};
use iceberg::transform::create_transform_function;
use k2_model::{Instrument, Nanos};

use super::decimals::WideColumns;
use crate::error::{Error, Result};
use crate::table::BUCKETS;

/// What order and partition are decided by.
pub(crate) trait Ordered {
    fn instrument(&self) -> &Instrument;
    fn ts_event(&self) -> Nanos;
    fn sequence(&self) -> u64;
    fn wide_columns(&self) -> WideColumns;
}

/// A partition: the day and the bucket of the symbol.
pub(crate) type Partition = (i32, i32);

/// The rows of a file, sorted by (symbol, ts, sequence).
pub(crate) struct FileRows<'a, R> {
    pub(crate) rows: Vec<&'a R>,
    /// The decimal columns that need all digits, in these rows or in others of their symbols.
    pub(crate) wide: WideColumns,
}

/// Cuts `rows` into partitions.
pub(crate) fn arrange<'a, R: Ordered>(
    rows: &[&'a R],
) -> Result<BTreeMap<Partition, FileRows<'a, R>>> {
    let mut groups = Groups::deal(rows);
    let mut dealt = groups.collect(rows);
    let mut partitions: BTreeMap<Partition, FileRows<'a, R>> = BTreeMap::new();
    let mut rest = dealt.as_mut_slice();
    let mut next = 0;
    while next < groups.sorted.len() {
        // One symbol may trade at several venues; its rows are sorted together.
        let first = groups.sorted[next];
        let symbol = &groups.all[first].instrument.symbol;
        let same = |index: &&usize| groups.all[**index].instrument.symbol == *symbol;
        let members = groups.sorted[next..].iter().take_while(same).count();
        let of_symbol = &groups.sorted[next..next + members];
        let count = of_symbol.iter().map(|index| groups.all[*index].count).sum();
        let (span, after) = std::mem::take(&mut rest).split_at_mut(count);
        if members > 1 || !groups.all[first].is_sorted {
            // By more than the table's order, so that equal inputs give equal files.
            span.sort_by_key(|row| (ts(*row), row.sequence(), *row.instrument(), row.ts_event()));
        }
        let wide = of_symbol.iter().fold(0, |wide, index| wide | groups.all[*index].wide);
        split_by_day(span, bucket_of(symbol)?, wide, &mut partitions);
        rest = after;
        next += members;
    }
    Ok(partitions)
}

fn ts<R: Ordered>(row: &R) -> i64 {
    row.ts_event().micros()
}

fn split_by_day<'a, R: Ordered>(
    span: &[&'a R],
    bucket: i32,
    wide: WideColumns,
    partitions: &mut BTreeMap<Partition, FileRows<'a, R>>,
) {
    let mut rest = span;
    while let Some(first) = rest.first() {
        let day = first.ts_event().day();
        let is_last_day = rest.last().is_some_and(|last| last.ts_event().day() == day);
        let count = match is_last_day {
            true => rest.len(),
            false => rest.partition_point(|row| row.ts_event().day() <= day),
        };
        let (of_day, after) = rest.split_at(count);
        let file = partitions.entry((day, bucket));
        let file = file.or_insert_with(|| FileRows { rows: Vec::new(), wide: 0 });
        file.rows.extend_from_slice(of_day);
        file.wide |= wide;
        rest = after;
    }
}

/// The bucket of a symbol, by Iceberg's own function.
pub(crate) fn bucket_of(symbol: &str) -> Result<i32> {
    let attempted = || format!("find the partition of symbol {symbol}");
    let failed = |error| Error::of(attempted(), error);
    let bucket = create_transform_function(&Transform::Bucket(BUCKETS)).map_err(failed)?;
    match bucket.transform_literal(&Datum::string(symbol)).map_err(failed)? {
        Some(datum) => match Literal::from(datum) {
            Literal::Primitive(PrimitiveLiteral::Int(bucket)) => Ok(bucket),
            _ => Err(Error::corrupt(attempted())),
        },
        None => Err(Error::corrupt(attempted())),
    }
}

/// The instruments of a batch of rows, and which row is whose.
struct Groups {
    all: Vec<Group>,
    /// Indices of `all`, by (symbol, venue, raw symbol).
    sorted: Vec<usize>,
    /// For each row the index of its group.
    of_row: Vec<u32>,
}

struct Group {
    instrument: Instrument,
    count: usize,
    /// Whether the rows come in order of (ts, sequence).
    is_sorted: bool,
    last: (Nanos, u64),
    wide: WideColumns,
}

impl Groups {
    fn deal<R: Ordered>(rows: &[&R]) -> Self {
        let mut slots = Slots::default();
        let mut all: Vec<Group> = Vec::new();
        let mut of_row = Vec::with_capacity(rows.len());
        for row in rows {
            let index = slots.index_of(*row.instrument(), &mut all);
            let group = &mut all[index];
            let place = (row.ts_event(), row.sequence());
            // If neither went back the table's order holds; otherwise look closer.
            if place.0 < group.last.0 || place.1 < group.last.1 {
                let ordered = |(ts_event, sequence): (Nanos, u64)| (ts_event.micros(), sequence);
                group.is_sorted &= ordered(group.last) <= ordered(place);
            }
            group.last = place;
            group.wide |= row.wide_columns();
            group.count += 1;
            of_row.push(index as u32);
        }
        let mut sorted: Vec<usize> = (0..all.len()).collect();
        sorted.sort_by(|a, b| {
            let (a, b) = (&all[*a].instrument, &all[*b].instrument);
            a.symbol.cmp(&b.symbol).then_with(|| a.cmp(b))
        });
        Self { all, sorted, of_row }
    }

    /// The rows, group after group in order of symbol.
    fn collect<'a, R>(&mut self, rows: &[&'a R]) -> Vec<&'a R> {
        let Some(&first) = rows.first() else { return Vec::new() };
        let mut next = vec![0; self.all.len()];
        let mut from = 0;
        for index in &self.sorted {
            next[*index] = from;
            from += self.all[*index].count;
        }
        let mut dealt = vec![first; rows.len()];
        for (row, group) in rows.iter().zip(&self.of_row) {
            let at = &mut next[*group as usize];
            dealt[*at] = *row;
            *at += 1;
        }
        dealt
    }
}

/// Finds an instrument's group by its address. Open addressing; nothing iterates over it.
#[derive(Default)]
struct Slots {
    /// Index + 1 of the group; 0 is free. At most half full.
    slots: Vec<u32>,
    last: Option<(Instrument, usize)>,
}

impl Slots {
    fn index_of(&mut self, instrument: Instrument, groups: &mut Vec<Group>) -> usize {
        if let Some((last, index)) = self.last
            && last == instrument
        {
            return index;
        }
        if groups.len() * 2 >= self.slots.len() {
            self.grow(groups);
        }
        let mask = self.slots.len() - 1;
        let mut at = slot_of(instrument, mask);
        let index = loop {
            match self.slots[at] {
                0 => {
                    groups.push(Group {
                        instrument,
                        count: 0,
                        is_sorted: true,
                        last: (Nanos(i64::MIN), 0),
                        wide: 0,
                    });
                    self.slots[at] = groups.len() as u32;
                    break groups.len() - 1;
                }
                index if groups[index as usize - 1].instrument == instrument => {
                    break index as usize - 1;
                }
                _ => at = (at + 1) & mask,
            }
        };
        self.last = Some((instrument, index));
        index
    }

    fn grow(&mut self, groups: &[Group]) {
        let size = (self.slots.len() * 4).max(64);
        self.slots = vec![0; size];
        for (index, group) in (1..).zip(groups) {
            let mut at = slot_of(group.instrument, size - 1);
            while self.slots[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = index;
        }
    }
}

fn slot_of(instrument: Instrument, mask: usize) -> usize {
    let mixed = (instrument.address() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize & mask
}

//! Trades and quotes as they are kept until they are committed: as columns, by instrument.
//!
//! A trade takes 112 bytes as a struct and about 45 here, and to touch memory for the first time
//! costs more than most of what is done to a trade. Rows of an instrument lie together, in the
//! order in which they came, because that is how they are asked for, merged into bars and written.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use k2_model::{Instrument, Nanos};

use crate::kept::{Grouping, Groups, Kept};

pub mod columns;

pub use columns::{DECIMALS_MAX, DecimalColumn, MarketColumns, MarketRecord, MarketRow};

/// Rows of one time on one worker: shared, and never changed once made.
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

impl<R: MarketRecord> MarketBatch<R> {
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a R>) -> Self {
        Self::of_rows(&rows.into_iter().cloned().collect::<Vec<R>>())
    }

    /// The rows of `batches`, which came one after the other.
    pub fn merged<'a>(batches: impl IntoIterator<Item = &'a Self>) -> Self {
        Self::of_rows(&batches.into_iter().flat_map(Kept::rows).collect::<Vec<R>>())
    }

    fn of_rows(rows: &[R]) -> Self {
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
        grouping.end_block();
        grouping.keep(&[rows], |place| instruments[place])
    }

    pub fn columns(&self) -> &Arc<MarketColumns> {
        &self.columns
    }
}

impl<R: MarketRecord> Kept for MarketBatch<R> {
    type Row = R;

    fn keep<'a>(groups: Groups, rows: impl Iterator<Item = (&'a R, usize)>) -> Self {
        let mut columns = MarketColumns::of_zeros::<R>(groups);
        rows.for_each(|(row, at)| columns.put(at, row));
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

    fn newest(&self) -> Nanos {
        self.columns.newest()
    }
}

#[cfg(test)]
mod tests;

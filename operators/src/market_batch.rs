//! Trades and quotes as they are kept until they are committed: as columns, by instrument.
//!
//! A trade takes 112 bytes as a struct and about 45 here, and to touch memory for the first time
//! costs more than most of what is done to a trade. Rows of an instrument lie together, in the
//! order in which they came, because that is how they are asked for, merged into bars and written.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use k2_model::{Decimal, Instrument, Quote, Side, Trade, VendorData};

use crate::batch::{Kept, Numbered};

pub mod columns;
pub mod grouping;

pub use columns::{DecimalColumn, MarketColumns, MarketRow};
pub use grouping::{Grouping, Groups};

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
        let rows: Vec<R> = rows.into_iter().cloned().collect();
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
        grouping.keep(&[&rows], |place| instruments[place])
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
}

impl MarketRecord for Trade {
    const DECIMALS: usize = 2;
    const HAS_SIDE: bool = true;

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
    const HAS_SIDE: bool = false;

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

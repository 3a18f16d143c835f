//! Trades, quotes and depth marks as the operators see them.

use k2_model::{
    Coordinates, DataType, Decimal, Depth, Instrument, Nanos, Quote, Side, Trade, VendorData,
};

use crate::batch::Batch;
use crate::market_batch::MarketBatch;
use crate::market_batch::columns::{DECIMALS_MAX, MarketRecord, MarketRow};
use crate::numbered::Numbered;

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

/// What all records have in a field of that name.
macro_rules! fields {
    () => {
        fn instrument(&self) -> Instrument {
            self.instrument
        }

        fn set_instrument(&mut self, instrument: Instrument) {
            self.instrument = instrument;
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
    };
}

impl Numbered for Trade {
    type Kept = MarketBatch<Self>;

    const DATA_TYPE: DataType = DataType::Trades;
    const DENSE: bool = true;

    fields!();

    fn numbers(&self) -> (u64, u64) {
        (self.sequence, self.sequence)
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

    fields!();

    fn numbers(&self) -> (u64, u64) {
        (self.sequence, self.sequence)
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

    fields!();

    fn numbers(&self) -> (u64, u64) {
        (self.first, self.last)
    }

    /// The levels are not kept, so there is no content to contradict.
    fn print(&self) -> u32 {
        1
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

//! Bars: open, high, low, close, volume and the exact sums behind vwap.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::decimal::{Decimal, Wide};
use crate::record::Trade;
use crate::time::{NANOS_PER_SECOND, Nanos};

/// The length of a bar. Each but the first is built from the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timeframe {
    M1,
    M5,
    M15,
    M30,
    H1,
    D1,
}

impl Timeframe {
    pub const ALL: [Self; 6] = [Self::M1, Self::M5, Self::M15, Self::M30, Self::H1, Self::D1];

    /// The one of that name, as [`Timeframe::as_str`] has it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// As in the view's name, `ohlcv_1m`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::M1 => "1m",
            Self::M5 => "5m",
            Self::M15 => "15m",
            Self::M30 => "30m",
            Self::H1 => "1h",
            Self::D1 => "1d",
        }
    }

    pub fn nanos(self) -> i64 {
        let minutes = match self {
            Self::M1 => 1,
            Self::M5 => 5,
            Self::M15 => 15,
            Self::M30 => 30,
            Self::H1 => 60,
            Self::D1 => 1_440,
        };
        minutes * 60 * NANOS_PER_SECOND
    }

    /// Start of the window `[start, end)` that holds `ts`. Windows are aligned to UTC.
    pub fn window_start(self, ts: Nanos) -> Nanos {
        ts.floor(self.nanos())
    }

    /// End of the window that starts at `start`, exclusive.
    pub fn window_end(self, start: Nanos) -> Nanos {
        Nanos(start.0.saturating_add(self.nanos()))
    }
}

impl fmt::Display for Timeframe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the trades of one window come to. Merging is associative and commutative, so neither
/// arrival order nor the cut into batches can change a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bar {
    pub open: Edge,
    pub close: Edge,
    pub high: Decimal,
    pub low: Decimal,
    pub volume: Decimal,
    /// Σ price × quantity, exact.
    pub notional: Wide,
    pub trade_count: u64,
}

/// A price with what decides whether it is first or last: event time, then sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Edge {
    pub ts_event: Nanos,
    pub sequence: u64,
    pub price: Decimal,
}

impl Bar {
    /// The bar of a single trade.
    pub fn of(trade: &Trade) -> Self {
        Self::of_parts(trade.ts_event, trade.sequence, trade.price, trade.quantity)
    }

    #[inline]
    pub fn of_parts(ts_event: Nanos, sequence: u64, price: Decimal, quantity: Decimal) -> Self {
        let edge = Edge { ts_event, sequence, price };
        Self {
            open: edge,
            close: edge,
            high: price,
            low: price,
            volume: quantity,
            notional: price.times(quantity),
            trade_count: 1,
        }
    }

    #[inline]
    pub fn merge(&mut self, other: &Self) {
        self.open = self.open.min(other.open);
        self.close = self.close.max(other.close);
        self.high = self.high.max(other.high);
        self.low = self.low.min(other.low);
        self.volume = self.volume.saturating_add(other.volume);
        self.notional = self.notional.plus(other.notional);
        self.trade_count += other.trade_count;
    }

    /// Volume-weighted mean price; `None` if nothing but zero quantities traded.
    pub fn vwap(&self) -> Option<Decimal> {
        self.notional.mean_over(self.volume)
    }

    /// Grows with each change of the bar, and is a function of its trades alone: the same live,
    /// after a restart, and computed from the table.
    pub fn revision(&self) -> u64 {
        self.trade_count
    }
}

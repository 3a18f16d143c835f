//! Raw messages of Binance, spot and USD-M futures.
//!
//! * **Input**: a JSON message, bare or in the envelope of a combined stream, `{"stream":…,
//!   "data":…}`; in front of it, in a captured line, the receive time in nanoseconds and a space.
//! * **Output**: `trade` → [`Trade`], `bookTicker` → [`Quote`], `depthUpdate` → [`Depth`]. Depth
//!   snapshots and replies to subscriptions are only counted.
//! * **Times**: `ts_event` is `T`, else `E`, else (a spot bookTicker has neither) the receive
//!   time. `ts_recv` is the receive time, else `E`, else `T`.
//! * **Levels**: the levels of a depth message are not kept and need only be JSON.
//! * **Strictness**: unknown fields are ignored; a known field that comes twice, or with another
//!   type than the venue's own, is an error. `null` is as good as missing.
//!
//! There are two readers. [`fast`] knows the exact bytes of today's messages and gives up at any
//! surprise; [`general`] takes any JSON and says what is wrong. What [`fast`] takes, [`general`]
//! takes alike: that is a property under test, and the fuzz target `decode_binance`.

mod fast;
mod general;
mod symbols;
#[cfg(test)]
mod tests;

use crate::codec::{Problem, Records};
use crate::decimal::Decimal;
use crate::instrument::{Instrument, InstrumentTable};
use crate::origin::Coordinates;
use crate::record::{Depth, Quote, Side, Trade, VendorData, VendorFields};
use crate::time::Nanos;

use symbols::{Symbol, Symbols};

/// Decodes the messages of one Binance venue.
pub(super) struct Binance {
    symbols: Symbols,
    vendor: VendorHandles,
    fast: bool,
}

/// What the general reader makes of a message; the fast one takes only records.
enum Message<'a> {
    Record(Record<'a>),
    /// A depth snapshot: of REST, or of a partial-depth stream.
    Snapshot,
    /// A reply to a subscription.
    Control,
}

struct Record<'a> {
    symbol: Symbol<'a>,
    ts_event: Nanos,
    ts_recv: Nanos,
    body: Body,
}

enum Body {
    Trade {
        trade_id: u64,
        price: Decimal,
        quantity: Decimal,
        side: Side,
        vendor_data: VendorData,
    },
    Quote {
        sequence: u64,
        bid_price: Decimal,
        bid_quantity: Decimal,
        ask_price: Decimal,
        ask_quantity: Decimal,
    },
    Depth {
        first: u64,
        last: u64,
    },
}

/// Vendor data that recurs, interned beforehand: a message must not take the interner's lock.
struct VendorHandles {
    not_best_match: VendorData,
    best_match: VendorData,
    /// `X` of nearly every futures trade.
    market: VendorData,
    order_types: Vec<(&'static str, VendorData)>,
}

/// The values of `X` that are known to recur; any other is kept with its record.
const ORDER_TYPES: [&str; 6] = ["MARKET", "LIMIT", "INSURANCE_FUND", "ADL", "RPI", "NA"];

impl VendorHandles {
    fn new() -> Self {
        let handle = |key: &str, value: &str| {
            VendorData::shared(VendorFields::of_pairs(vec![(key.into(), value.into())]))
        };
        Self {
            not_best_match: handle("M", "false"),
            best_match: handle("M", "true"),
            market: handle("X", "MARKET"),
            order_types: ORDER_TYPES.map(|value| (value, handle("X", value))).into(),
        }
    }

    #[inline(always)]
    fn best_match(&self, best_match: bool) -> VendorData {
        if best_match { self.best_match.clone() } else { self.not_best_match.clone() }
    }

    fn order_type(&self, order_type: &str) -> Option<VendorData> {
        let known = self.order_types.iter().find(|(known, _)| *known == order_type);
        known.map(|(_, handle)| handle.clone())
    }
}

impl Binance {
    pub(super) fn new(venue: &str, instruments: InstrumentTable) -> Self {
        let symbols = Symbols::new(venue, instruments);
        Self { symbols, vendor: VendorHandles::new(), fast: true }
    }

    /// Leaves every message to the general reader.
    pub(super) fn read_generally(&mut self) {
        self.fast = false;
    }

    #[inline]
    pub(super) fn decode(
        &mut self,
        line: &[u8],
        at: Coordinates,
        out: &mut impl Records,
    ) -> Result<(), Problem> {
        if self.fast {
            let taken = fast::read(line, &self.vendor, |record| {
                let instrument = self.symbols.find(record.symbol)?;
                record.add(instrument, at, out);
                Some(())
            });
            if taken.is_some() {
                return Ok(());
            }
        }
        self.decode_generally(line, at, out)
    }

    #[cold]
    fn decode_generally(
        &mut self,
        line: &[u8],
        at: Coordinates,
        out: &mut impl Records,
    ) -> Result<(), Problem> {
        match general::read(line, &self.vendor)? {
            Message::Record(record) => {
                let instrument = self.symbols.resolve(record.symbol)?;
                record.add(instrument, at, out);
            }
            Message::Snapshot => out.tally().depth_snapshots += 1,
            Message::Control => out.tally().control += 1,
        }
        Ok(())
    }
}

impl Record<'_> {
    /// Adds the record to `out`.
    #[inline(always)]
    fn add(self, instrument: Instrument, at: Coordinates, out: &mut impl Records) {
        let Self { symbol: _, ts_event, ts_recv, body } = self;
        match body {
            Body::Trade { trade_id, price, quantity, side, vendor_data } => {
                out.tally().trades += 1;
                out.trade(Trade {
                    instrument,
                    trade_id,
                    sequence: trade_id,
                    ts_event,
                    ts_recv,
                    price,
                    quantity,
                    side,
                    vendor_data,
                    at,
                });
            }
            Body::Quote { sequence, bid_price, bid_quantity, ask_price, ask_quantity } => {
                out.tally().quotes += 1;
                out.quote(Quote {
                    instrument,
                    sequence,
                    ts_event,
                    ts_recv,
                    bid_price,
                    bid_quantity,
                    ask_price,
                    ask_quantity,
                    vendor_data: VendorData::EMPTY,
                    at,
                });
            }
            Body::Depth { first, last } => {
                out.tally().depth_updates += 1;
                out.depth(Depth { instrument, first, last, ts_event, ts_recv, at });
            }
        }
    }
}

/// The receive time in front of a captured line, if it has one.
pub(super) fn receive_time(line: &[u8]) -> Option<Nanos> {
    general::split_receive_time(line).ok()?.0
}

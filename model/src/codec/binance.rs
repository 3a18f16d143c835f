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
//!
//! [`Trade`]: crate::record::Trade
//! [`Quote`]: crate::record::Quote
//! [`Depth`]: crate::record::Depth

mod emit;
mod fast;
mod general;
mod symbols;
#[cfg(test)]
mod tests;

use crate::codec::{Decoded, Problem};
use crate::decimal::Decimal;
use crate::instrument::{InstrumentTable, is_raw_symbol_byte};
use crate::origin::Coordinates;
use crate::record::{Side, VendorData};
use crate::time::Nanos;

use symbols::{Symbol, Symbols};

/// Decodes the messages of one Binance venue.
pub(super) struct Binance {
    symbols: Symbols,
    vendor: VendorHandles,
    fast: bool,
}

/// What either reader makes of a message.
enum Message<'a> {
    Record {
        symbol: Symbol<'a>,
        ts_event: Nanos,
        ts_recv: Nanos,
        body: Body,
    },
    /// A depth snapshot: of REST, or of a partial-depth stream.
    Snapshot,
    /// A reply to a subscription.
    Control,
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
    order_types: Vec<(&'static str, VendorData)>,
}

/// The values of `X` that are known to recur; any other is kept with its record.
const ORDER_TYPES: [&str; 6] = ["MARKET", "LIMIT", "INSURANCE_FUND", "ADL", "RPI", "NA"];

impl VendorHandles {
    fn new() -> Self {
        let handle = |key: &str, value: &str| VendorData::shared(vec![(key.into(), value.into())]);
        Self {
            not_best_match: handle("M", "false"),
            best_match: handle("M", "true"),
            order_types: ORDER_TYPES.map(|value| (value, handle("X", value))).into(),
        }
    }

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
        out: &mut Decoded,
    ) -> Result<(), Problem> {
        if self.fast
            && let Some(message) = fast::read(line, &self.vendor)
            && self.can_resolve(&message)
        {
            return self.emit(message, at, out);
        }
        self.decode_generally(line, at, out)
    }

    #[cold]
    fn decode_generally(
        &mut self,
        line: &[u8],
        at: Coordinates,
        out: &mut Decoded,
    ) -> Result<(), Problem> {
        let message = general::read(line, &self.vendor)?;
        self.emit(message, at, out)
    }

    /// Whether the symbol, at which [`fast`] does not look, is one.
    #[inline(always)]
    fn can_resolve(&mut self, message: &Message<'_>) -> bool {
        match message {
            Message::Record { symbol, .. } => {
                self.symbols.met(*symbol).is_some()
                    || (!symbol.bytes.is_empty()
                        && symbol.bytes.iter().copied().all(is_raw_symbol_byte))
            }
            Message::Snapshot | Message::Control => true,
        }
    }
}

/// The receive time in front of a captured line, if it has one.
pub(super) fn receive_time(line: &[u8]) -> Option<Nanos> {
    general::split_receive_time(line).ok()?.0
}

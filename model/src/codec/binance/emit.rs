//! From a message that was read to the record that it becomes.

use super::{Binance, Body, Message};
use crate::codec::{Decoded, Problem};
use crate::origin::Coordinates;
use crate::record::{Depth, Quote, Trade, VendorData};

impl Binance {
    /// Adds `message` to `out`: the one step that both readers share, and the only one with state.
    #[inline(always)]
    pub(super) fn emit(
        &mut self,
        message: Message<'_>,
        at: Coordinates,
        out: &mut Decoded,
    ) -> Result<(), Problem> {
        let (symbol, ts_event, ts_recv, body) = match message {
            Message::Record { symbol, ts_event, ts_recv, body } => {
                (symbol, ts_event, ts_recv, body)
            }
            Message::Snapshot => {
                out.tally.depth_snapshots += 1;
                return Ok(());
            }
            Message::Control => {
                out.tally.control += 1;
                return Ok(());
            }
        };
        let instrument = self.symbols.resolve(symbol)?;
        match body {
            Body::Trade { trade_id, price, quantity, side, vendor_data } => {
                out.tally.trades += 1;
                out.trades.push(Trade {
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
                out.tally.quotes += 1;
                out.quotes.push(Quote {
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
                out.tally.depth_updates += 1;
                out.depths.push(Depth { instrument, first, last, ts_event, ts_recv, at });
            }
        }
        Ok(())
    }
}

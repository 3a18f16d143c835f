//! Raw messages of Binance, spot and USD-M futures.

use crate::codec::{Decoded, Problem};
use crate::instrument::InstrumentTable;
use crate::origin::Coordinates;
use crate::time::Nanos;

/// Decodes the messages of one Binance venue.
pub(super) struct Binance {}

impl Binance {
    pub(super) fn new(_venue: &str, _instruments: InstrumentTable) -> Self {
        Self {}
    }

    pub(super) fn decode(
        &mut self,
        _line: &[u8],
        _at: Coordinates,
        _out: &mut Decoded,
    ) -> Result<(), Problem> {
        unimplemented!()
    }
}

/// The receive time in front of a captured line, if it has one.
pub(super) fn receive_time(_line: &[u8]) -> Option<Nanos> {
    None
}

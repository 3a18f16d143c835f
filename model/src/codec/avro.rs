//! Avro: trades and quotes as a schema registry's topics carry them.
//!
//! * **Input**: a message in Confluent's framing, a zero byte and the id of its schema
//!   ([`Frame`]); the schema's text, which whoever has the registry hands in ([`WriterSchema`]).
//! * **Output**: a [`Trade`] or a [`Quote`]; the other way [`encode_trade`] and [`encode_quote`],
//!   in the schemas that K2 registers, [`TRADE_SCHEMA`] and [`QUOTE_SCHEMA`].
//! * **Schemas**: any that can be read as ours, older or newer: see [`WriterSchema::parse`].
//! * **Instruments**: the instrument data's own, otherwise what the record says.
//! * **Strictness**: names, numbers and decimals are refused where those of a raw message are. A
//!   body must be its record to the last byte.
//!
//! There are two readers, as for Binance. `fast` knows the order of our own fields and gives up
//! at any surprise; `general` takes the schema's word for each field and says what is wrong. What
//! `fast` takes, `general` takes alike: that is a property under test, and the fuzz target
//! `decode_avro`.
//!
//! The schemas are resolved here and not by the crate `apache-avro`, against which the tests hold
//! what is done here: see `docs/decisions/0009-avro-resolution.md`.

mod body;
mod decimals;
mod encode;
mod fast;
mod general;
mod instruments;
mod known;
mod resolution;
mod schema;
#[cfg(test)]
mod tests;
mod vendor;

use crate::codec::{Problem, Records};
use crate::instrument::{Instrument, InstrumentTable};
use crate::origin::Coordinates;
use crate::record::{DataType, Quote, Trade, VendorData};

pub use encode::{encode_quote, encode_trade};
pub use resolution::WriterSchema;
pub use schema::SchemaProblem;

use encode::push_vendor_data;
use general::Values;
use instruments::Instruments;
use resolution::Slot;
use vendor::SharedVendorData;

/// The schema of K2's trades.
pub const TRADE_SCHEMA: &str = include_str!("../../schemas/trade.avsc");
/// The schema of K2's quotes.
pub const QUOTE_SCHEMA: &str = include_str!("../../schemas/quote.avsc");

/// A message in Confluent's framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The registry's id of the schema that `body` is written in.
    pub schema_id: u32,
    pub body: &'a [u8],
}

/// The first byte of a frame.
const MAGIC: u8 = 0;

impl<'a> Frame<'a> {
    /// `None` if `message` does not begin as a frame does.
    #[inline]
    pub fn split(message: &'a [u8]) -> Option<Self> {
        let (&[MAGIC, id @ ..], body) = message.split_first_chunk::<5>()? else { return None };
        Some(Self { schema_id: u32::from_be_bytes(id), body })
    }
}

/// Appends what stands in front of a body that is written in the schema of `schema_id`.
pub fn push_frame(schema_id: u32, out: &mut Vec<u8>) {
    out.push(MAGIC);
    out.extend_from_slice(&schema_id.to_be_bytes());
}

/// Decodes trades and quotes, in whatever schema their writers have.
pub struct AvroDecoder {
    instruments: Instruments,
    vendor: SharedVendorData,
    fast: bool,
    /// Room for the fields at hand as our own schema has them.
    encoded: Vec<u8>,
}

impl AvroDecoder {
    pub fn new(instruments: InstrumentTable) -> Self {
        Self {
            instruments: Instruments::new(instruments),
            vendor: SharedVendorData::new(),
            fast: true,
            encoded: Vec::new(),
        }
    }

    /// Leaves every body to the general reader: slower, with the same results. The oracle of tests
    /// and the baseline of benchmarks.
    #[must_use]
    pub fn without_fast_path(mut self) -> Self {
        self.fast = false;
        self
    }

    /// Decodes `body`, one record of `schema`, into `out`. What cannot be decoded leaves no trace
    /// there: the message that it came in is for the caller to reject and to count.
    #[inline]
    pub fn decode(
        &mut self,
        schema: &WriterSchema,
        body: &[u8],
        at: Coordinates,
        out: &mut impl Records,
    ) -> Result<(), Problem> {
        let is_of_trade = schema.data_type() == DataType::Trades;
        if schema.is_ours() && self.fast {
            let Self { instruments, vendor, .. } = self;
            if is_of_trade {
                if let Some(trade) = fast::trade(body, at, instruments, vendor) {
                    add_trade(trade, out);
                    return Ok(());
                }
            } else if let Some(quote) = fast::quote(body, at, instruments, vendor) {
                add_quote(quote, out);
                return Ok(());
            }
        }
        self.decode_generally(schema, body, at, out)
    }

    #[inline(never)]
    fn decode_generally(
        &mut self,
        schema: &WriterSchema,
        body: &[u8],
        at: Coordinates,
        out: &mut impl Records,
    ) -> Result<(), Problem> {
        let values = general::read(schema, body)?;
        if schema.data_type() == DataType::Trades {
            add_trade(self.trade_of(&values, at)?, out);
        } else {
            add_quote(self.quote_of(&values, at)?, out);
        }
        Ok(())
    }

    fn trade_of(&mut self, values: &Values<'_>, at: Coordinates) -> Result<Trade, Problem> {
        Ok(Trade {
            instrument: self.instrument_of(values)?,
            trade_id: values.number(Slot::TradeId)?,
            sequence: values.number(Slot::Sequence)?,
            ts_event: values.time(Slot::TsEvent)?,
            ts_recv: values.time(Slot::TsRecv)?,
            price: values.decimal(Slot::Price)?,
            quantity: values.decimal(Slot::Quantity)?,
            side: values.side()?,
            vendor_data: self.vendor_data_of(values)?,
            at,
        })
    }

    fn quote_of(&mut self, values: &Values<'_>, at: Coordinates) -> Result<Quote, Problem> {
        Ok(Quote {
            instrument: self.instrument_of(values)?,
            sequence: values.number(Slot::Sequence)?,
            ts_event: values.time(Slot::TsEvent)?,
            ts_recv: values.time(Slot::TsRecv)?,
            bid_price: values.decimal(Slot::BidPrice)?,
            bid_quantity: values.decimal(Slot::BidQuantity)?,
            ask_price: values.decimal(Slot::AskPrice)?,
            ask_quantity: values.decimal(Slot::AskQuantity)?,
            vendor_data: self.vendor_data_of(values)?,
            at,
        })
    }

    fn instrument_of(&mut self, values: &Values<'_>) -> Result<Instrument, Problem> {
        self.instruments.find(&values.named()?)
    }

    /// By way of our own encoding, so that what recurs is shared whatever the writer's schema is.
    fn vendor_data_of(&mut self, values: &Values<'_>) -> Result<VendorData, Problem> {
        let Self { vendor, encoded, .. } = self;
        encoded.clear();
        push_vendor_data(values.conditions()?, values.pairs()?, encoded);
        Ok(vendor.read(encoded).expect("what was just encoded can be read"))
    }
}

#[inline(always)]
fn add_trade(trade: Trade, out: &mut impl Records) {
    out.tally().trades += 1;
    out.trade(trade);
}

#[inline(always)]
fn add_quote(quote: Quote, out: &mut impl Records) {
    out.tally().quotes += 1;
    out.quote(quote);
}

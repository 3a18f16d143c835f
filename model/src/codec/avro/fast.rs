//! The positional reader: bodies in our own schemas.
//!
//! Gives `None` at any surprise, and the general reader decides.

use super::body::Body;
use super::decimals::take_decimal;
use super::instruments::Instruments;
use super::vendor::SharedVendorData;
use crate::origin::Coordinates;
use crate::record::{Quote, Side, Trade};
use crate::time::Nanos;

#[inline(always)]
pub(super) fn trade(
    body: &[u8],
    at: Coordinates,
    instruments: &mut Instruments,
    vendor: &mut SharedVendorData,
) -> Option<Trade> {
    let mut body = Body::new(body);
    Some(Trade {
        instrument: instruments.take(&mut body)?,
        trade_id: number(&mut body)?,
        sequence: number(&mut body)?,
        ts_event: time(&mut body)?,
        ts_recv: time(&mut body)?,
        price: take_decimal(&mut body)?,
        quantity: take_decimal(&mut body)?,
        side: *Side::ALL.get(body.short()?)?,
        vendor_data: vendor.read(body.rest())?,
        at,
    })
}

#[inline(always)]
pub(super) fn quote(
    body: &[u8],
    at: Coordinates,
    instruments: &mut Instruments,
    vendor: &mut SharedVendorData,
) -> Option<Quote> {
    let mut body = Body::new(body);
    Some(Quote {
        instrument: instruments.take(&mut body)?,
        sequence: number(&mut body)?,
        ts_event: time(&mut body)?,
        ts_recv: time(&mut body)?,
        bid_price: take_decimal(&mut body)?,
        bid_quantity: take_decimal(&mut body)?,
        ask_price: take_decimal(&mut body)?,
        ask_quantity: take_decimal(&mut body)?,
        vendor_data: vendor.read(body.rest())?,
        at,
    })
}

/// A number that is not negative.
#[inline(always)]
fn number(body: &mut Body<'_>) -> Option<u64> {
    u64::try_from(body.long()?).ok()
}

/// A time that is not before 1970.
#[inline(always)]
fn time(body: &mut Body<'_>) -> Option<Nanos> {
    body.long().filter(|&nanos| nanos >= 0).map(Nanos)
}

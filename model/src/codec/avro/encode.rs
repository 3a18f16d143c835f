//! Trades and quotes → the bytes of our own schemas.

use super::decimals::push_decimal;
use super::instruments::Named;
use crate::record::{Quote, Trade};

/// Appends `trade` to `out` as [`TRADE_SCHEMA`](super::TRADE_SCHEMA) has it, without a frame.
///
/// Numbers beyond `long` keep their bits, as in the tables; a decoder takes them for negative and
/// refuses them.
pub fn encode_trade(trade: &Trade, out: &mut Vec<u8>) {
    Named::of(&trade.instrument).push(out);
    push_long(trade.trade_id as i64, out);
    push_long(trade.sequence as i64, out);
    push_long(trade.ts_event.0, out);
    push_long(trade.ts_recv.0, out);
    push_decimal(trade.price, out);
    push_decimal(trade.quantity, out);
    push_long(trade.side as i64, out);
    push_vendor_data(trade.vendor_data.conditions(), trade.vendor_data.pairs(), out);
}

/// Appends `quote` to `out` as [`QUOTE_SCHEMA`](super::QUOTE_SCHEMA) has it, without a frame.
///
/// Numbers beyond `long` keep their bits, as in the tables; a decoder takes them for negative and
/// refuses them.
pub fn encode_quote(quote: &Quote, out: &mut Vec<u8>) {
    Named::of(&quote.instrument).push(out);
    push_long(quote.sequence as i64, out);
    push_long(quote.ts_event.0, out);
    push_long(quote.ts_recv.0, out);
    push_decimal(quote.bid_price, out);
    push_decimal(quote.bid_quantity, out);
    push_decimal(quote.ask_price, out);
    push_decimal(quote.ask_quantity, out);
    push_vendor_data(quote.vendor_data.conditions(), quote.vendor_data.pairs(), out);
}

pub(super) fn push_vendor_data<T: AsRef<str>>(
    conditions: &[T],
    pairs: &[(T, T)],
    out: &mut Vec<u8>,
) {
    push_block(conditions, out, |code, out| push_text(code.as_ref(), out));
    push_block(pairs, out, |(key, value), out| {
        push_text(key.as_ref(), out);
        push_text(value.as_ref(), out);
    });
}

/// Appends all items as one block, and the end of the array or map.
fn push_block<T>(items: &[T], out: &mut Vec<u8>, push: impl Fn(&T, &mut Vec<u8>)) {
    if !items.is_empty() {
        push_long(items.len() as i64, out);
        items.iter().for_each(|item| push(item, out));
    }
    out.push(0);
}

#[inline]
pub(super) fn push_text(text: &str, out: &mut Vec<u8>) {
    push_long(text.len() as i64, out);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a `long`, an `int` or the place of an enum's symbol.
#[inline]
pub(super) fn push_long(long: i64, out: &mut Vec<u8>) {
    let mut number = (long << 1 ^ long >> 63) as u64;
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

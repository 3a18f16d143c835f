//! The positional reader: today's messages, byte for byte.
//!
//! Gives `None` at any surprise, and the general reader decides. What it takes without a look: the
//! bytes of the symbol, which whoever takes the record checks, and the characters of
//! the numbers in depth levels, which need only be JSON.

use super::{Body, Record, Symbol, VendorHandles};
use crate::codec::number::Cursor;
use crate::record::Side;
use crate::time::Nanos;

/// Reads a line whose form is exactly the expected one, and has `take` take its record.
#[inline(always)]
pub(super) fn read<'a>(
    line: &'a [u8],
    vendor: &VendorHandles,
    mut take: impl FnMut(Record<'a>) -> Option<()>,
) -> Option<()> {
    let mut cursor = Cursor::new(line);
    let mut received = None;
    if cursor.peek(0) != b'{' {
        received = Some(Nanos(i64::try_from(cursor.integer()?).ok()?));
        cursor.literal(b" ")?;
    }
    // The first key tells: `{"stream"`, `{"e"` or `{"u"`.
    let enveloped = cursor.peek(2) == b's';
    if enveloped {
        cursor.literal(b"{\"stream\":\"")?;
        cursor.plain_text()?;
        cursor.literal(b",\"data\":")?;
    }
    // Each kind is taken by itself, so that its record is never moved as one of several kinds.
    if cursor.peek(2) == b'u' {
        let record = spot_quote(&mut cursor, received)?;
        end(cursor, enveloped)?;
        return take(record);
    }
    cursor.literal(b"{\"e\":\"")?;
    match cursor.peek(0) {
        b't' => {
            let record = trade(&mut cursor, received, vendor)?;
            end(cursor, enveloped)?;
            take(record)
        }
        b'b' => {
            let record = usdm_quote(&mut cursor, received)?;
            end(cursor, enveloped)?;
            take(record)
        }
        b'd' => {
            let record = depth(&mut cursor, received)?;
            end(cursor, enveloped)?;
            take(record)
        }
        _ => None,
    }
}

/// Nothing but the ends of the message and its envelope.
#[inline(always)]
fn end(mut cursor: Cursor<'_>, enveloped: bool) -> Option<()> {
    cursor.literal(b"}")?;
    if enveloped {
        cursor.literal(b"}")?;
    }
    cursor.rest().is_empty().then_some(())
}

#[inline(always)]
fn trade<'a>(
    cursor: &mut Cursor<'a>,
    received: Option<Nanos>,
    vendor: &VendorHandles,
) -> Option<Record<'a>> {
    cursor.literal(b"trade\",\"E\":")?;
    let sent = time(cursor)?;
    let usdm = cursor.peek(2) == b'T';
    let mut traded = sent;
    if usdm {
        cursor.literal(b",\"T\":")?;
        traded = time(cursor)?;
    }
    let symbol = symbol(cursor)?;
    cursor.literal(b",\"t\":")?;
    let trade_id = sequence(cursor)?;
    cursor.literal(b",\"p\":\"")?;
    let price = cursor.decimal()?;
    cursor.literal(b"\",\"q\":\"")?;
    let quantity = cursor.decimal()?;
    let (maker_buys, vendor_data) = if usdm {
        cursor.literal(b"\",\"X\":\"MARKET\",\"m\":")?;
        (cursor.boolean()?, vendor.market.clone())
    } else {
        cursor.literal(b"\",\"T\":")?;
        traded = time(cursor)?;
        cursor.literal(b",\"m\":")?;
        let maker_buys = cursor.boolean()?;
        cursor.literal(b",\"M\":")?;
        (maker_buys, vendor.best_match(cursor.boolean()?))
    };
    let side = if maker_buys { Side::Sell } else { Side::Buy };
    let body = Body::Trade { trade_id, price, quantity, side, vendor_data };
    let ts_recv = received.unwrap_or(sent);
    Some(Record { symbol, ts_event: traded, ts_recv, body })
}

#[inline(always)]
fn spot_quote<'a>(cursor: &mut Cursor<'a>, received: Option<Nanos>) -> Option<Record<'a>> {
    let received = received?;
    cursor.literal(b"{\"u\":")?;
    let (symbol, body) = quote(cursor)?;
    Some(Record { symbol, ts_event: received, ts_recv: received, body })
}

#[inline(always)]
fn usdm_quote<'a>(cursor: &mut Cursor<'a>, received: Option<Nanos>) -> Option<Record<'a>> {
    cursor.literal(b"bookTicker\",\"u\":")?;
    let (symbol, body) = quote(cursor)?;
    cursor.literal(b",\"T\":")?;
    let ts_event = time(cursor)?;
    cursor.literal(b",\"E\":")?;
    let sent = time(cursor)?;
    Some(Record { symbol, ts_event, ts_recv: received.unwrap_or(sent), body })
}

/// From the number behind `"u":` to the quote that ends the last quantity.
#[inline(always)]
fn quote<'a>(cursor: &mut Cursor<'a>) -> Option<(Symbol<'a>, Body)> {
    let sequence = sequence(cursor)?;
    let symbol = symbol(cursor)?;
    cursor.literal(b",\"b\":\"")?;
    let bid_price = cursor.decimal()?;
    cursor.literal(b"\",\"B\":\"")?;
    let bid_quantity = cursor.decimal()?;
    cursor.literal(b"\",\"a\":\"")?;
    let ask_price = cursor.decimal()?;
    cursor.literal(b"\",\"A\":\"")?;
    let ask_quantity = cursor.decimal()?;
    cursor.literal(b"\"")?;
    Some((symbol, Body::Quote { sequence, bid_price, bid_quantity, ask_price, ask_quantity }))
}

#[inline(always)]
fn depth<'a>(cursor: &mut Cursor<'a>, received: Option<Nanos>) -> Option<Record<'a>> {
    cursor.literal(b"depthUpdate\",\"E\":")?;
    let sent = time(cursor)?;
    let mut ts_event = sent;
    if cursor.peek(2) == b'T' {
        cursor.literal(b",\"T\":")?;
        ts_event = time(cursor)?;
    }
    let symbol = symbol(cursor)?;
    cursor.literal(b",\"U\":")?;
    let own_first = sequence(cursor)?;
    cursor.literal(b",\"u\":")?;
    let last = sequence(cursor)?;
    let mut first = own_first;
    if cursor.peek(2) == b'p' {
        cursor.literal(b",\"pu\":")?;
        first = sequence(cursor)? + 1;
    }
    if own_first > last || first > last {
        return None;
    }
    cursor.literal(b",\"b\":")?;
    levels(cursor)?;
    cursor.literal(b",\"a\":")?;
    levels(cursor)?;
    let ts_recv = received.unwrap_or(sent);
    Some(Record { symbol, ts_event, ts_recv, body: Body::Depth { first, last } })
}

/// `[["price","quantity"],…]`.
#[inline(always)]
fn levels(cursor: &mut Cursor<'_>) -> Option<()> {
    if cursor.peek(1) == b']' {
        return cursor.literal(b"[]");
    }
    cursor.literal(b"[[\"")?;
    loop {
        cursor.number_characters()?;
        cursor.literal(b"\",\"")?;
        cursor.number_characters()?;
        if cursor.peek(2) == b']' {
            return cursor.literal(b"\"]]");
        }
        cursor.literal(b"\"],[\"")?;
    }
}

/// From the comma before `"s"` to the quote that ends the symbol.
#[inline(always)]
fn symbol<'a>(cursor: &mut Cursor<'a>) -> Option<Symbol<'a>> {
    cursor.literal(b",\"s\":\"")?;
    let (bytes, key) = cursor.short_text()?;
    Some(Symbol { bytes, key })
}

#[inline(always)]
fn time(cursor: &mut Cursor<'_>) -> Option<Nanos> {
    Nanos::from_millis(i64::try_from(cursor.integer_of_13()?).ok()?)
}

#[inline(always)]
fn sequence(cursor: &mut Cursor<'_>) -> Option<u64> {
    cursor.integer().filter(|&number| i64::try_from(number).is_ok())
}

//! Trades and quotes as JSON objects, straight from the records.
//!
//! Text for text what [`Objects`](super::objects::Objects) writes of their rows in a table, without
//! columns in between: the newest records of one symbol are what is asked for most.

use std::marker::PhantomData;

use k2_model::digits::{push_digits, push_integer};
use k2_model::{Decimal, Instrument, Origin, Quote, Stream, Trade, VendorData};
use k2_operators::MarketRecord;

use super::ObjectRow;
use super::moments::put_micros;
use super::objects::Fixed;
use super::text::write_json_string;
use crate::tables::rows::currency_of;

/// Records with the names of their columns.
pub(crate) trait ObjectRecord: MarketRecord {
    /// Whether they have a column for the number in their message id.
    const HAS_TRADE_ID: bool;
    /// Of [`MarketRecord::decimals`].
    const DECIMAL_NAMES: &[&str];
}

impl ObjectRecord for Trade {
    const HAS_TRADE_ID: bool = true;
    const DECIMAL_NAMES: &[&str] = &["price", "quantity"];
}

impl ObjectRecord for Quote {
    const HAS_TRADE_ID: bool = false;
    const DECIMAL_NAMES: &[&str] = &["bid_price", "bid_quantity", "ask_price", "ask_quantity"];
}

/// Writes records, and keeps of the one before what the next mostly has too.
pub(crate) struct RecordObjects<R> {
    /// What comes before each decimal.
    decimals: Vec<Fixed>,
    names: Option<Names>,
    provenance: Option<Provenance>,
    of: PhantomData<R>,
}

impl<R: ObjectRecord> Default for RecordObjects<R> {
    fn default() -> Self {
        let before = |name: &&str| Fixed::of(format!(",\"{name}\":\"").as_bytes());
        let decimals = R::DECIMAL_NAMES.iter().map(before).collect();
        Self { decimals, names: None, provenance: None, of: PhantomData }
    }
}

impl<R: ObjectRecord> ObjectRow for R {
    type Objects = RecordObjects<R>;

    fn put(&self, objects: &mut RecordObjects<R>, out: &mut Vec<u8>) {
        let instrument = self.instrument();
        let names = kept(
            &mut objects.names,
            |names| names.instrument == instrument,
            || Names::of::<R>(instrument),
        );
        let of = (self.vendor_data(), self.at().origin);
        let provenance =
            kept(&mut objects.provenance, |known| known.is_of(of), || Provenance::of(of));
        put_record(self, names, &objects.decimals, provenance, out);
    }
}

/// What is kept from the record before, if that still holds; otherwise made anew.
fn kept<T>(last: &mut Option<T>, holds: impl Fn(&T) -> bool, make: impl Fn() -> T) -> &T {
    if !last.as_ref().is_some_and(holds) {
        *last = None;
    }
    last.get_or_insert_with(make)
}

fn put_record<R: ObjectRecord>(
    record: &R,
    names: &Names,
    decimals: &[Fixed],
    provenance: &Provenance,
    out: &mut Vec<u8>,
) {
    names.begin.put(out);
    if R::HAS_TRADE_ID {
        out.extend_from_slice(b",\"trade_id\":");
        push_integer(record.id().cast_signed(), out);
    }
    out.extend_from_slice(b",\"sequence\":");
    push_integer(record.numbers().1.cast_signed(), out);
    out.extend_from_slice(b",\"ts\":\"");
    put_micros(record.ts_event().micros(), out);
    out.extend_from_slice(b"Z\",\"ts_event\":");
    push_integer(record.ts_event().0, out);
    out.extend_from_slice(b",\"ts_recv\":");
    push_integer(record.ts_recv().0, out);
    let values: [Decimal; _] = record.decimals();
    for (name, value) in decimals.iter().zip(values) {
        name.put(out);
        value.push_to(out);
        out.push(b'"');
    }
    names.currency.put(out);
    if let Some(side) = record.side() {
        out.extend_from_slice(b",\"side\":\"");
        out.extend_from_slice(side.as_str().as_bytes());
        out.push(b'"');
    }
    provenance.text.put(out);
    push_integer(record.at().offset.cast_signed(), out);
    names.id.put(out);
    push_digits(record.id(), 1, out);
    out.extend_from_slice(b"\"}");
}

/// What all records of an instrument have.
struct Names {
    instrument: Instrument,
    begin: Fixed,
    currency: Fixed,
    /// The message id up to its number.
    id: Fixed,
}

impl Names {
    fn of<R: ObjectRecord>(instrument: Instrument) -> Self {
        let mut begin = Vec::new();
        put_text(b"{\"venue\":", &instrument.venue, &mut begin);
        put_text(b",\"symbol\":", &instrument.symbol, &mut begin);
        put_text(b",\"raw_symbol\":", &instrument.raw_symbol, &mut begin);
        put_text(b",\"asset_class\":", instrument.asset_class.as_str(), &mut begin);
        let mut currency = Vec::new();
        match currency_of(&instrument) {
            Some(known) => put_text(b",\"currency\":", known, &mut currency),
            None => currency.extend_from_slice(b",\"currency\":null"),
        }
        let stream = Stream { instrument, data_type: R::DATA_TYPE };
        let mut id = Vec::new();
        put_text(b",\"message_id\":", &stream.message_id_prefix(), &mut id);
        // The number comes before the quote.
        id.pop();
        let [begin, currency, id] = [begin, currency, id].map(|text| Fixed::of(&text));
        Self { instrument, begin, currency, id }
    }
}

/// What all records of an origin have that came with the same vendor data, up to the offset.
struct Provenance {
    vendor_data: VendorData,
    origin: Origin,
    text: Fixed,
}

impl Provenance {
    fn of((vendor_data, origin): (&VendorData, Origin)) -> Self {
        let mut text = b",\"conditions\":[".to_vec();
        for (nth, code) in vendor_data.conditions().iter().enumerate() {
            put_text(if nth > 0 { b"," } else { b"" }, code, &mut text);
        }
        text.extend_from_slice(b"],\"vendor_data\":{");
        for (nth, (key, value)) in vendor_data.pairs().iter().enumerate() {
            put_text(if nth > 0 { b"," } else { b"" }, key, &mut text);
            put_text(b":", value, &mut text);
        }
        put_text(b"},\"source\":", origin.source(), &mut text);
        text.extend_from_slice(b",\"partition\":");
        push_integer(origin.partition().into(), &mut text);
        text.extend_from_slice(b",\"offset\":");
        Self { vendor_data: vendor_data.clone(), origin, text: Fixed::of(&text) }
    }

    fn is_of(&self, (vendor_data, origin): (&VendorData, Origin)) -> bool {
        self.origin == origin && self.vendor_data == *vendor_data
    }
}

fn put_text(before: &[u8], text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    write_json_string(text, out);
}

#[cfg(test)]
mod tests {
    use k2_model::record::VendorFields;
    use k2_model::{Coordinates, InstrumentTable, Nanos, Side};
    use proptest::prelude::*;

    use super::super::{objects, row_objects};
    use super::*;
    use crate::schema::of_table;
    use crate::tables::rows::{Row, batch_of};

    /// Names with and without what JSON escapes, and instruments that are known or not.
    fn instruments() -> Vec<Instrument> {
        let known = InstrumentTable::default();
        let names = [("BINANCE", "BTCUSDT"), ("BINANCE", "?\"q\\é"), ("KRAKEN", "X\tY"), ("", "")];
        names.map(|(venue, raw)| known.resolve(venue, raw)).to_vec()
    }

    fn vendor_data() -> Vec<VendorData> {
        let text = |it: &str| it.to_owned().into_boxed_str();
        let fields = |conditions: &[&str], pairs: &[(&str, &str)]| VendorFields {
            conditions: conditions.iter().map(|it| text(it)).collect(),
            pairs: pairs.iter().map(|(key, value)| (text(key), text(value))).collect(),
        };
        let made = [
            fields(&[], &[("M", "true")]),
            fields(&["@", "\"x\""], &[]),
            fields(&["", "a,b"], &[("k\\", ""), ("", "v\u{1}")]),
        ];
        let [shared, own, escaped] = made;
        let shared = VendorData::shared(shared);
        vec![shared, VendorData::owned(own), VendorData::owned(escaped), VendorData::EMPTY]
    }

    type Drawn = (usize, u64, u64, i64, i64, i128, i128, usize, usize, u64);

    fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
        let places = (0..4_usize, any::<u64>(), 0..9_u64, any::<i64>(), any::<i64>());
        // As many digits as a table has.
        let decimal = || -(10_i128.pow(38) - 1)..10_i128.pow(38);
        let rest = (decimal(), -5_i128..5, 0..4_usize, 0..4_usize, any::<u64>());
        let row = (places, rest)
            .prop_map(|((a, b, c, d, e), (f, g, h, i, j))| (a, b, c, d, e, f, g, h, i, j));
        prop::collection::vec(row, 0..40)
    }

    fn at(partition: usize, offset: u64) -> Coordinates {
        let origin = Origin::new(["a", "a\"b"][partition % 2], partition as i32 - 1);
        Coordinates { origin, offset }
    }

    /// By way of a table's columns.
    fn by_columns<R: Row>(records: &[R]) -> String {
        let batch = batch_of(&of_table(R::TABLE), records).unwrap();
        objects(&batch, records.iter().map(|_| 1)).join(",")
    }

    fn directly<R: ObjectRecord>(records: &[R]) -> String {
        row_objects(records, records.iter().map(|_| 1)).join(",")
    }

    proptest! {
        #[test]
        fn trades_and_quotes_have_the_text_of_their_columns(drawn in drawn()) {
            let (instruments, vendor_data) = (instruments(), vendor_data());
            let sides = [Side::Buy, Side::Sell, Side::SellShort, Side::Unknown];
            let trades: Vec<Trade> = drawn.iter().map(
                |&(instrument, trade_id, sequence, event, recv, price, quantity, side, which, offset)| Trade {
                    instrument: instruments[instrument],
                    trade_id,
                    sequence,
                    ts_event: Nanos(event),
                    ts_recv: Nanos(recv),
                    price: Decimal(price),
                    quantity: Decimal(quantity),
                    side: sides[side],
                    vendor_data: vendor_data[which].clone(),
                    at: at(which, offset),
                },
            ).collect();
            let quotes: Vec<Quote> = trades.iter().map(|trade| Quote {
                instrument: trade.instrument,
                sequence: trade.trade_id,
                ts_event: trade.ts_event,
                ts_recv: trade.ts_recv,
                bid_price: trade.price,
                bid_quantity: trade.quantity,
                ask_price: trade.quantity,
                ask_quantity: trade.price,
                vendor_data: trade.vendor_data.clone(),
                at: trade.at,
            }).collect();
            prop_assert_eq!(directly(&trades), by_columns(&trades));
            prop_assert_eq!(directly(&quotes), by_columns(&quotes));
        }
    }
}

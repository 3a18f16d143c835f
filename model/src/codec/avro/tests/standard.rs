//! Against the crate `apache-avro`, which shares no line with what is tested.

use std::collections::HashMap;

use apache_avro::types::Value;
use apache_avro::{Schema, from_avro_datum, to_avro_datum};
use proptest::prelude::*;

use super::{QUOTES, TRADES, decode, encoded, encoded_quote, records};
use crate::codec::avro::{QUOTE_SCHEMA, TRADE_SCHEMA};
use crate::decimal::Decimal;
use crate::instrument::Instrument;
use crate::record::{Quote, Trade, VendorData};

pub(super) type Fields = Vec<(String, Value)>;

pub(super) fn decimal(decimal: Decimal) -> Value {
    // As many bytes as the type has: a reader must take those too.
    Value::Decimal(decimal.0.to_be_bytes().into())
}

pub(super) fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn instrument_fields(instrument: Instrument) -> [(&'static str, Value); 5] {
    let asset_class = instrument.asset_class;
    [
        ("venue", text(&instrument.venue)),
        ("symbol", text(&instrument.symbol)),
        ("raw_symbol", text(&instrument.raw_symbol)),
        ("asset_class", Value::Enum(asset_class as u32, asset_class.as_str().into())),
        ("currency", text(&instrument.quote)),
    ]
}

fn vendor_fields(data: &VendorData) -> [(&'static str, Value); 2] {
    let pairs = data.pairs().iter().map(|(key, value)| (key.to_string(), text(value)));
    [
        ("conditions", Value::Array(data.conditions().iter().map(|code| text(code)).collect())),
        ("vendor_data", Value::Map(pairs.collect::<HashMap<_, _>>())),
    ]
}

pub(super) fn fields_of_trade(trade: &Trade) -> Fields {
    let own = [
        ("trade_id", Value::Long(trade.trade_id as i64)),
        ("sequence", Value::Long(trade.sequence as i64)),
        ("ts_event", Value::Long(trade.ts_event.0)),
        ("ts_recv", Value::Long(trade.ts_recv.0)),
        ("price", decimal(trade.price)),
        ("quantity", decimal(trade.quantity)),
        ("side", Value::Enum(trade.side as u32, trade.side.as_str().into())),
    ];
    let all = instrument_fields(trade.instrument).into_iter().chain(own);
    let all = all.chain(vendor_fields(&trade.vendor_data));
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn fields_of_quote(quote: &Quote) -> Fields {
    let own = [
        ("sequence", Value::Long(quote.sequence as i64)),
        ("ts_event", Value::Long(quote.ts_event.0)),
        ("ts_recv", Value::Long(quote.ts_recv.0)),
        ("bid_price", decimal(quote.bid_price)),
        ("bid_quantity", decimal(quote.bid_quantity)),
        ("ask_price", decimal(quote.ask_price)),
        ("ask_quantity", decimal(quote.ask_quantity)),
    ];
    let all = instrument_fields(quote.instrument).into_iter().chain(own);
    let all = all.chain(vendor_fields(&quote.vendor_data));
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// `fields` as the standard writes them in the schema `text`.
pub(super) fn written(text: &str, fields: Fields) -> Vec<u8> {
    to_avro_datum(&Schema::parse_str(text).unwrap(), Value::Record(fields)).unwrap()
}

/// What the standard reads from `body`, to its end.
fn read(text: &str, body: &[u8]) -> Value {
    let (schema, mut rest) = (Schema::parse_str(text).unwrap(), body);
    let value = from_avro_datum(&schema, &mut rest, None).unwrap();
    assert_eq!(rest, b"");
    value
}

proptest! {
    #[test]
    fn what_we_write_the_standard_reads(trade in records::trade(), quote in records::quote()) {
        let found = read(TRADE_SCHEMA, &encoded(&trade));
        prop_assert_eq!(found, Value::Record(fields_of_trade(&trade)));
        let found = read(QUOTE_SCHEMA, &encoded_quote(&quote));
        prop_assert_eq!(found, Value::Record(fields_of_quote(&quote)));
    }

    #[test]
    fn what_the_standard_writes_we_read(trade in records::trade(), quote in records::quote()) {
        let body = written(TRADE_SCHEMA, fields_of_trade(&trade));
        prop_assert_eq!(decode(&TRADES, &body).unwrap().trades, [trade]);
        let body = written(QUOTE_SCHEMA, fields_of_quote(&quote));
        prop_assert_eq!(decode(&QUOTES, &body).unwrap().quotes, [quote]);
    }
}

//! No bytes make a reader of Avro panic or ask for memory, and both readers make the same of them.
//!
//! The first byte chooses: a body of a trade, of a quote or in another schema, or the text of a
//! schema with a body behind its first zero.

#![no_main]

use std::sync::LazyLock;

use k2_fuzz::TABLE;
use k2_model::codec::Decoded;
use k2_model::codec::avro::{AvroDecoder, QUOTE_SCHEMA, TRADE_SCHEMA, WriterSchema};
use k2_model::{Coordinates, Origin};
use libfuzzer_sys::fuzz_target;

/// Unions, records in themselves, other scales and units, and what only the writer has.
const OTHER_SCHEMA: &str = r#"{"type": "record", "name": "Trade", "fields": [
    {"name": "chain", "type": {"type": "record", "name": "Chain", "fields": [
        {"name": "next", "type": ["null", "Chain"]},
        {"name": "list", "type": {"type": "array", "items": ["null", "double", "boolean"]}}]}},
    {"name": "quantity", "type": {"type": "fixed", "name": "Q", "size": 9,
        "logicalType": "decimal", "precision": 20, "scale": 15}},
    {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal",
        "precision": 38, "scale": 4}]},
    {"name": "ts_event", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "ts_recv", "type": ["int", {"type": "long", "logicalType": "timestamp-millis"}]},
    {"name": "side", "type": {"type": "enum", "name": "S", "symbols": ["SELL", "BUY", "CROSS"]}},
    {"name": "venue", "type": "bytes"},
    {"name": "symbol", "type": ["string", "int"]},
    {"name": "raw_symbol", "type": "string"},
    {"name": "asset_class", "type": {"type": "enum", "name": "A", "symbols": ["crypto"]}},
    {"name": "trade_id", "type": "long"},
    {"name": "sequence", "type": "int"},
    {"name": "conditions", "type": {"type": "array", "items": ["null", "string"]}},
    {"name": "vendor_data", "type": {"type": "map", "values": ["null", "string"]}}]}"#;

static SCHEMAS: LazyLock<[WriterSchema; 3]> = LazyLock::new(|| {
    [TRADE_SCHEMA, QUOTE_SCHEMA, OTHER_SCHEMA]
        .map(|text| WriterSchema::parse(text).expect("a schema that can be read"))
});

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else { return };
    if let Some(schema) = SCHEMAS.get(usize::from(choice)) {
        decode(schema, rest);
        return;
    }
    let mut parts = rest.splitn(2, |&byte| byte == 0);
    let text = parts.next().and_then(|text| std::str::from_utf8(text).ok());
    if let Some(Ok(schema)) = text.map(WriterSchema::parse) {
        decode(&schema, parts.next().unwrap_or_default());
    }
});

fn decode(schema: &WriterSchema, body: &[u8]) {
    let at = Coordinates { origin: Origin::new("fuzz", 0), offset: 0 };
    let decoder = || AvroDecoder::new(TABLE.clone());
    let (mut with, mut without) = (decoder(), decoder().without_fast_path());
    let (mut one, mut other) = (Decoded::default(), Decoded::default());
    // Twice, so that the second meets what the first has left behind.
    for _ in 0..2 {
        let fast = with.decode(schema, body, at, &mut one);
        let general = without.decode(schema, body, at, &mut other);
        assert_eq!((&fast, &one), (&general, &other));
    }
}

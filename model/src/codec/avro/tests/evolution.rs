//! Bodies in schemas that are not ours: older ones, newer ones, and those of somebody else.

use apache_avro::types::Value;
use serde_json::{Value as Json, json};

use super::standard::{Fields, decimal, fields_of_trade, text, written};
use super::*;

/// The text of our schema of trades with `change` made to its fields.
fn schema_with(change: impl FnOnce(&mut Vec<Json>)) -> String {
    let mut schema: Json = serde_json::from_str(TRADE_SCHEMA).unwrap();
    change(schema["fields"].as_array_mut().unwrap());
    schema.to_string()
}

fn field<'a>(fields: &'a mut [Json], name: &str) -> &'a mut Json {
    fields.iter_mut().find(|field| field["name"] == name).unwrap()
}

/// Our schema of trades with field `name` of type `kind`, and no default for it.
fn schema_of(name: &str, kind: Json) -> String {
    schema_with(|fields| *field(fields, name) = json!({"name": name, "type": kind}))
}

/// A trade that is in no instrument data, so that each of its fields counts.
fn trade() -> Trade {
    let mut parts = (*bitcoin().instrument).clone();
    (parts.venue, parts.raw_symbol, parts.tier) = ("SOMEWHERE".into(), "XBT".into(), 3);
    Trade { instrument: Instrument::new(parts), ..bitcoin() }
}

fn with(mut fields: Fields, name: &str, value: Value) -> Fields {
    fields.iter_mut().find(|(known, _)| known == name).unwrap().1 = value;
    fields
}

/// Writes [`trade`] with `value` for `name` in the schema `text`, and reads it.
fn carried(text: &str, name: &str, value: Value) -> Outcome {
    let schema = WriterSchema::parse(text).unwrap();
    assert!(!schema.is_ours());
    decode(&schema, &written(text, with(fields_of_trade(&trade()), name, value)))
}

fn taken(text: &str, name: &str, value: Value) -> Trade {
    carried(text, name, value).unwrap().trades.remove(0)
}

fn refused(text: &str, name: &str, value: Value) -> (RejectReason, String) {
    let Problem { reason, detail } = carried(text, name, value).unwrap_err();
    (reason, detail)
}

/// Why `text` is no schema of trades or quotes.
fn unreadable(text: &str) -> String {
    let problem = WriterSchema::parse(text).unwrap_err();
    assert!(problem.to_string().starts_with("read an avro schema: "));
    problem.detail
}

/// The union whose other branch is null.
fn or_null(kind: Json) -> Json {
    json!(["null", kind])
}

fn some(value: Value) -> Value {
    Value::Union(1, Box::new(value))
}

fn none() -> Value {
    Value::Union(0, Box::new(Value::Null))
}

fn decimal_type(precision: u32, scale: u32) -> Json {
    json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
}

fn mantissa(mantissa: i128) -> Value {
    decimal(Decimal(mantissa))
}

#[test]
fn docs_defaults_aliases_and_the_namespace_change_nothing() {
    let mut schema: Json = serde_json::from_str(TRADE_SCHEMA).unwrap();
    let members = schema.as_object_mut().unwrap();
    members.remove("doc");
    members.insert("namespace".into(), "com.example".into());
    members.insert("aliases".into(), json!(["Execution"]));
    for field in schema["fields"].as_array_mut().unwrap() {
        let members = field.as_object_mut().unwrap();
        members.remove("doc");
        members.remove("default");
        members.insert("aliases".into(), json!(["some_other"]));
    }
    let schema = WriterSchema::parse(&schema.to_string()).unwrap();
    assert!(schema.is_ours());
    assert_eq!(decode_trade(&schema, &encoded(&bitcoin())), bitcoin());
}

/// What Avro's canonical form leaves out makes another schema all the same.
#[test]
fn a_schema_with_other_scales_or_units_is_not_ours() {
    let micros = json!({"type": "long", "logicalType": "timestamp-micros"});
    for (name, kind) in [("price", decimal_type(38, 8)), ("ts_event", micros)] {
        let schema = WriterSchema::parse(&schema_of(name, kind)).unwrap();
        assert!(!schema.is_ours(), "{name}");
    }
    let digits = WriterSchema::parse(&schema_of("price", decimal_type(20, 12))).unwrap();
    assert!(digits.is_ours(), "a number of fewer digits is written alike");
}

#[test]
fn an_older_schema_gets_our_defaults() {
    let newer = ["currency", "side", "conditions", "vendor_data"];
    let text = schema_with(|fields| {
        fields.retain(|field| !newer.iter().any(|name| field["name"] == *name));
    });
    let schema = WriterSchema::parse(&text).unwrap();
    let mut fields = fields_of_trade(&trade());
    fields.retain(|(name, _)| !newer.contains(&name.as_str()));
    let found = decode_trade(&schema, &written(&text, fields));
    assert_eq!((&*found.instrument.quote, &*found.instrument.base), ("", ""));
    let expected = Trade {
        instrument: found.instrument,
        side: Side::Unknown,
        vendor_data: VendorData::EMPTY,
        ..trade()
    };
    assert_eq!(found, expected);
}

/// Fields of every type, of which a record of ours has none, and a value of each.
fn extra_fields() -> Vec<(Json, Value)> {
    let node = json!({"type": "record", "name": "Node", "fields": [
        {"name": "next", "type": ["null", "Node"]},
        {"name": "weight", "type": "double"},
    ]});
    let of_node =
        |next| Value::Record(vec![("next".into(), next), ("weight".into(), Value::Double(0.5))]);
    let nodes = of_node(some(of_node(some(of_node(none())))));
    let pair = |key: &str, value| [(key.to_owned(), value)].into();
    vec![
        (json!("null"), Value::Null),
        (json!("boolean"), Value::Boolean(true)),
        (json!("int"), Value::Int(-70_000)),
        (json!({"type": "int", "logicalType": "date"}), Value::Date(19_943)),
        (json!("long"), Value::Long(i64::MIN)),
        (json!("float"), Value::Float(1.5)),
        (json!("double"), Value::Double(-1.5)),
        (json!("bytes"), Value::Bytes(vec![0xff; 200])),
        (json!("string"), text("é漢")),
        (json!({"type": "fixed", "name": "Five", "size": 5}), Value::Fixed(5, vec![1; 5])),
        (decimal_type(9, 2), mantissa(-7)),
        (json!({"type": "enum", "name": "E", "symbols": ["A", "B"]}), Value::Enum(1, "B".into())),
        (
            json!({"type": "array", "items": ["null", "Five"]}),
            Value::Array(vec![none(), some(Value::Fixed(5, vec![2; 5])), none()]),
        ),
        (json!({"type": "map", "values": "E"}), Value::Map(pair("k", Value::Enum(0, "A".into())))),
        (node, nodes),
    ]
}

/// A schema with fields of every type among ours, which come in another order, and [`trade`] in it.
fn extended() -> (String, Vec<u8>) {
    let (mut names, mut extra) = (0.., Vec::new());
    let text = schema_with(|fields| {
        fields.reverse();
        for (kind, value) in extra_fields() {
            let at = names.next().unwrap();
            let name = format!("extra_{at}");
            fields.insert(at, json!({"name": name, "type": kind}));
            extra.push((name, value));
        }
    });
    let body = written(&text, [fields_of_trade(&trade()), extra].concat());
    (text, body)
}

#[test]
fn fields_that_only_the_writer_has_are_skipped_and_the_rest_may_come_in_any_order() {
    let (text, body) = extended();
    let schema = WriterSchema::parse(&text).unwrap();
    assert_eq!(decode_trade(&schema, &body), trade());
    for end in 0..body.len() {
        assert_eq!(problem(&schema, &body[..end]).0, RejectReason::NotAvro, "{end} bytes");
    }
}

#[test]
fn a_writer_may_say_by_aliases_what_its_names_mean() {
    let mut schema: Json = serde_json::from_str(&schema_with(|fields| {
        let price = field(fields, "price");
        price["name"] = "px".into();
        price["aliases"] = json!(["price"]);
    }))
    .unwrap();
    schema["name"] = "Execution".into();
    schema["aliases"] = json!(["x.Deal", "old.Trade"]);
    let text = schema.to_string();
    let mut fields = fields_of_trade(&trade());
    fields.iter_mut().find(|(name, _)| name == "price").unwrap().0 = "px".into();
    let schema = WriterSchema::parse(&text).unwrap();
    assert_eq!(decode_trade(&schema, &written(&text, fields)), trade());
}

#[test]
fn a_name_counts_more_than_an_alias() {
    let text = schema_with(|fields| {
        fields.insert(0, json!({"name": "lots", "type": "long", "aliases": ["quantity"]}));
    });
    let schema = WriterSchema::parse(&text).unwrap();
    let body = [&b"\x0a"[..], &encoded(&trade())].concat();
    assert_eq!(decode_trade(&schema, &body), trade());
}

#[test]
fn null_is_the_default_where_there_is_one() {
    let currency = schema_of("currency", or_null(json!("string")));
    assert_eq!(&*taken(&currency, "currency", none()).instrument.quote, "");
    assert_eq!(taken(&currency, "currency", some(text("USDT"))), trade());
    let array = schema_of("conditions", or_null(json!({"type": "array", "items": "string"})));
    assert!(taken(&array, "conditions", none()).vendor_data.conditions().is_empty());
    let map = schema_of("vendor_data", json!([{"type": "map", "values": "string"}, "null"]));
    let null = Value::Union(1, Box::new(Value::Null));
    assert!(taken(&map, "vendor_data", null).vendor_data.pairs().is_empty());
    let kind = json!({"type": "enum", "name": "Side", "symbols": ["SELL", "BUY"]});
    let side = schema_of("side", or_null(kind));
    assert_eq!(taken(&side, "side", none()).side, Side::Unknown);
    assert_eq!(taken(&side, "side", some(Value::Enum(1, "BUY".into()))).side, Side::Buy);

    let price = schema_of("price", or_null(decimal_type(38, 12)));
    assert_eq!(taken(&price, "price", some(decimal(trade().price))), trade());
    let found = refused(&price, "price", none());
    assert_eq!(found.0, RejectReason::MissingField);
    assert_eq!(found.1, "field `price`: null, and it has no default");
    let venue = schema_of("venue", or_null(json!("string")));
    assert_eq!(refused(&venue, "venue", none()).0, RejectReason::MissingField);
    let class = json!({"type": "enum", "name": "AssetClass", "symbols": ["crypto"]});
    let class = schema_of("asset_class", or_null(class));
    assert_eq!(refused(&class, "asset_class", none()).0, RejectReason::MissingField);
}

#[test]
fn a_branch_that_is_not_ours_is_an_error_where_it_is_taken() {
    let either = schema_of("trade_id", json!(["long", {"type": "array", "items": "float"}]));
    let id = Value::Union(0, Box::new(Value::Long(7)));
    assert_eq!(taken(&either, "trade_id", id).trade_id, 7);
    let list = Value::Union(1, Box::new(Value::Array(vec![Value::Float(1.0); 3])));
    let found = refused(&either, "trade_id", list);
    assert_eq!(found.0, RejectReason::InvalidField);
    assert_eq!(found.1, "field `trade_id`: it is array of float, and ours is a long");

    let items = json!({"type": "array", "items": or_null(json!("string"))});
    let items = schema_of("conditions", items);
    let found = taken(&items, "conditions", Value::Array(vec![some(text("@"))]));
    assert_eq!(found.vendor_data.conditions(), ["@".into()]);
    let found = refused(&items, "conditions", Value::Array(vec![some(text("@")), none()]));
    assert_eq!(found.0, RejectReason::InvalidField);
    let values = json!({"type": "map", "values": ["int", "string"]});
    let values = schema_of("vendor_data", values);
    let number = Value::Union(0, Box::new(Value::Int(1)));
    let map = Value::Map([("key".to_owned(), number)].into());
    let found = refused(&values, "vendor_data", map);
    assert_eq!(
        found.1,
        "field `vendor_data`: not all in it are strings, and ours is a map of strings"
    );
}

#[test]
fn a_decimal_of_any_scale_is_exact_or_refused() {
    let price = |scale: u32, value: Value| {
        carried(&schema_of("price", or_null(decimal_type(38, scale))), "price", some(value))
    };
    let exact = |scale, value| price(scale, value).unwrap().trades[0].price;
    assert_eq!(exact(2, mantissa(6_183_763)), trade().price);
    assert_eq!(exact(0, mantissa(61_837)), Decimal::parse(b"61837").unwrap());
    assert_eq!(exact(18, mantissa(61_837_630_000_000_000_000_000)), trade().price);
    assert_eq!(exact(38, mantissa(0)), Decimal::ZERO);
    let reason = |scale, value| price(scale, value).unwrap_err().reason;
    assert_eq!(reason(18, mantissa(61_837_630_000_000_000_000_001)), RejectReason::TooPrecise);
    assert_eq!(reason(2, mantissa(crate::decimal::MAX)), RejectReason::OutOfRange);
    assert_eq!(reason(2, mantissa(-1)), RejectReason::Negative);
    assert_eq!(reason(18, Value::Decimal([0xff; 30].into())), RejectReason::TooPrecise);
    assert_eq!(reason(18, Value::Decimal([0x7f; 30].into())), RejectReason::OutOfRange);

    let fixed = json!({"type": "fixed", "name": "D", "size": 16, "logicalType": "decimal",
        "precision": 38, "scale": 4});
    let fixed = schema_of("quantity", fixed);
    assert_eq!(taken(&fixed, "quantity", mantissa(200)), trade());
}

#[test]
fn a_time_is_in_the_unit_that_its_logical_type_names() {
    let of_unit =
        |unit: &str| schema_of("ts_event", or_null(json!({"type": "long", "logicalType": unit})));
    let event = |unit: &str, value| taken(&of_unit(unit), "ts_event", some(value)).ts_event;
    let millis = 1_723_161_255_342;
    assert_eq!(event("timestamp-millis", Value::TimestampMillis(millis)), trade().ts_event);
    assert_eq!(event("timestamp-micros", Value::TimestampMicros(millis * 1_000)), trade().ts_event);
    let nanos = Value::TimestampNanos(trade().ts_event.0);
    assert_eq!(event("timestamp-nanos", nanos), trade().ts_event);
    for (unit, value) in [
        ("timestamp-millis", Value::TimestampMillis(i64::MAX / 1_000_000 + 1)),
        ("timestamp-micros", Value::TimestampMicros(-1)),
    ] {
        let found = refused(&of_unit(unit), "ts_event", some(value));
        assert_eq!(found.0, RejectReason::OutOfRange);
        assert!(found.1.starts_with("field `ts_event`: "), "{}", found.1);
    }
    for unit in ["local-timestamp-micros", "time-micros", "fortnights"] {
        let detail = unreadable(&of_unit(unit));
        assert!(detail.contains("and ours is a time since 1970 in UTC"), "{detail}");
    }
    let day = schema_of("ts_recv", json!({"type": "int", "logicalType": "date"}));
    assert!(unreadable(&day).contains("is int (date)"), "{}", unreadable(&day));
}

#[test]
fn types_that_avro_promotes_are_taken() {
    let short = schema_of("sequence", json!("int"));
    assert_eq!(taken(&short, "sequence", Value::Int(77)).sequence, 77);
    let found = refused(&short, "sequence", Value::Int(-77));
    assert_eq!(
        (found.0, &*found.1),
        (RejectReason::OutOfRange, "field `sequence`: -77 is not from 0 to 9223372036854775807",)
    );
    let bytes = schema_of("venue", json!("bytes"));
    assert_eq!(taken(&bytes, "venue", Value::Bytes(b"SOMEWHERE".into())), trade());
    assert_eq!(refused(&bytes, "venue", Value::Bytes(vec![0xff])).0, RejectReason::NotAvro);
    // The number takes more than the 32 bits of its type.
    let schema = WriterSchema::parse(&short).unwrap();
    assert_eq!(problem(&schema, &encoded(&trade())).0, RejectReason::NotAvro);
}

#[test]
fn a_symbol_is_known_by_its_name_or_is_our_default() {
    let symbols = ["CROSS", "SELL_SHORT", "SELL", "BUY"];
    let side = schema_of("side", json!({"type": "enum", "name": "Side", "symbols": symbols}));
    let expected = [Side::Unknown, Side::SellShort, Side::Sell, Side::Buy];
    for ((place, symbol), expected) in (0..).zip(symbols).zip(expected) {
        let found = taken(&side, "side", Value::Enum(place, symbol.into()));
        assert_eq!(found, Trade { side: expected, ..trade() });
    }
    let classes = json!({"type": "enum", "name": "AssetClass", "symbols": ["bonds", "options"]});
    let class = schema_of("asset_class", classes);
    let of = |place, symbol: &str| {
        taken(&class, "asset_class", Value::Enum(place, symbol.into())).instrument.asset_class
    };
    assert_eq!((of(0, "bonds"), of(1, "options")), (AssetClass::Crypto, AssetClass::Options));
}

#[test]
fn a_schema_that_cannot_be_ours_says_why() {
    let named = |name: &str| TRADE_SCHEMA.replacen("\"Trade\"", &format!("\"{name}\""), 1);
    let without = |name: &str| schema_with(|fields| fields.retain(|field| field["name"] != name));
    let cases = [
        ("{".to_owned(), "it is not JSON"),
        (r#""string""#.to_owned(), "string is not a trade or a quote: neither is a record"),
        (r#"["null","string"]"#.to_owned(), "union of null, string is not a trade or a quote"),
        (named("Candle"), "record k2.market_data.Candle is not a trade or a quote"),
        (named("other.Quote"), "record other.Quote has no field `bid_price`, and ours has no"),
        (without("price"), "record k2.market_data.Trade has no field `price`, and ours has no"),
        (without("venue"), "has no field `venue`"),
        (without("asset_class"), "has no field `asset_class`"),
        (without("trade_id"), "has no field `trade_id`"),
        (without("ts_recv"), "has no field `ts_recv`"),
        (
            schema_of("price", json!("bytes")),
            "field `price` of record k2.market_data.Trade is bytes",
        ),
        (schema_of("price", json!("double")), "is double, and ours is a decimal"),
        (schema_of("price", json!("string")), "is string, and ours is a decimal"),
        (schema_of("price", json!("null")), "is null, and ours is a decimal"),
        (schema_of("trade_id", json!("string")), "is string, and ours is a long"),
        (schema_of("sequence", json!("double")), "is double, and ours is a long"),
        (schema_of("side", json!("string")), "is string, and ours is an enum"),
        (
            schema_of("symbol", json!(["null", "int"])),
            "is union of null, int, and ours is a string",
        ),
        (
            schema_of("conditions", json!({"type": "array", "items": "int"})),
            "is array of int, and ours is an array of strings",
        ),
        (
            schema_of("vendor_data", json!({"type": "map", "values": "null"})),
            "is map of null, and ours is a map of strings",
        ),
    ];
    for (schema, detail) in cases {
        let found = unreadable(&schema);
        assert!(found.contains(detail), "{detail}: {found}");
    }
}

proptest! {
    #[test]
    fn mangled_bodies_in_another_schema_are_a_record_or_have_a_reason(
        body in records::mangled(Just(extended().1)), any: Vec<u8>,
    ) {
        let schema = WriterSchema::parse(&extended().0).unwrap();
        decode_both_ways(&schema, &[body, any]);
    }
}

/// The schema of trades with one more field, of type `kind`, before the others.
fn schema_with_bomb(kind: Json) -> WriterSchema {
    let bomb = json!({"name": "bomb", "type": kind});
    WriterSchema::parse(&schema_with(|fields| fields.insert(0, bomb))).unwrap()
}

#[test]
fn a_schema_or_a_length_that_asks_for_the_world_is_refused() {
    let endless = json!({"type": "record", "name": "R", "fields": [{"name": "r", "type": "R"}]});
    let mut doubled = json!("null");
    for level in 0..24 {
        doubled = json!({"type": "record", "name": format!("D{level}"), "fields": [
            {"name": "a", "type": doubled},
            {"name": "b", "type": if level == 0 { json!("null") } else { json!(format!("D{}", level - 1)) }},
        ]});
    }
    let list =
        json!({"type": "record", "name": "L", "fields": [{"name": "l", "type": ["null", "L"]}]});
    let most = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    let cases: [(Json, &[u8]); 6] = [
        (endless, b""),
        (doubled, b""),
        (list, &[2; 1_000_000]),
        (json!({"type": "array", "items": "null"}), most),
        (json!({"type": "map", "values": "null"}), most),
        (json!({"type": "fixed", "name": "F", "size": u64::MAX}), b""),
    ];
    for (kind, head) in cases {
        let name = kind["name"].to_string();
        let schema = schema_with_bomb(kind);
        let found = problem(&schema, &[head, &encoded(&trade())].concat());
        assert_eq!(found.0, RejectReason::NotAvro, "{name}");
        assert!(found.1.starts_with("field `bomb`: "), "{}", found.1);
    }
    for kind in [json!("bytes"), json!("string"), json!({"type": "array", "items": "long"})] {
        let schema = schema_with_bomb(kind);
        assert_eq!(problem(&schema, most).0, RejectReason::NotAvro);
    }
}

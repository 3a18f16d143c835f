//! Other programs write what we read, and read what we write: Python's Avro and Kafka's own tools.

use std::collections::BTreeMap;
use std::process::Stdio;

use k2_harness::generator::Flaws;
use k2_kafka::Format;
use k2_model::Decimal;
use k2_model::codec::avro::TRADE_SCHEMA;
use serde_json::{Value, json};

use super::Stage;
use crate::support::{Expected, VENUE, finish, kafka_avro, market, python};

const TRADES: &str = "market.crypto.trades.binance";

/// Our schema of trades, changed.
fn schema(change: impl FnOnce(&mut Vec<Value>)) -> Value {
    let mut schema: Value = serde_json::from_str(TRADE_SCHEMA).unwrap();
    change(schema["fields"].as_array_mut().unwrap());
    schema
}

/// A trade with that id, with the fields that `schema` has.
fn record(id: u64, schema: &Value) -> Value {
    let all = json!({
        "venue": "BINANCE", "symbol": "BTC-USDT", "raw_symbol": "BTCUSDT", "asset_class": "crypto",
        "currency": "USDT", "trade_id": id, "sequence": id,
        "ts_event": 1_700_000_000_000_000_000_u64 + id, "ts_recv": 1_700_000_000_100_000_000_u64 + id,
        "price": format!("{}.000000000001", 60_000 + id), "quantity": "0.5", "side": "SELL",
        "conditions": ["odd lot"], "vendor_data": {"maker": "yes"},
    });
    let fields = schema["fields"].as_array().unwrap();
    let names = fields.iter().map(|field| field["name"].as_str().unwrap());
    let known = names.filter_map(|name| Some((name.to_owned(), all.get(name)?.clone())));
    let mut record = Value::Object(known.collect());
    if fields.iter().any(|field| field["name"] == "liquidity") {
        record["liquidity"] = json!("taker");
    }
    record
}

/// The client in Python at the parts of a stage.
struct Client<'a> {
    python: std::ffi::OsString,
    stage: &'a Stage,
}

impl Client<'_> {
    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let cluster = &self.stage.cluster;
        let broker = cluster.broker.address().to_string();
        kafka_avro(&self.python, &broker, &cluster.registry.url(), arguments)
    }

    fn produce(&self, topic: &str, schema: &Value, records: &[Value]) -> std::process::Output {
        let file = self.stage.dir.path().join("schema.avsc");
        std::fs::write(&file, schema.to_string()).unwrap();
        let input = self.stage.dir.path().join("records.ndjson");
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        std::fs::write(&input, lines).unwrap();
        let file = file.to_str().unwrap();
        let mut command = self.command(&["produce", "--topic", topic, "--schema", file]);
        command.stdin(std::fs::File::open(input).unwrap()).stdout(Stdio::null());
        command.output().unwrap()
    }
}

#[test]
fn messages_of_other_writers_are_read_whatever_compatible_schema_they_have() {
    let (Some(python), Some(stage)) = (python(), Stage::set(2, Format::Avro)) else { return };
    let client = Client { python, stage: &stage };
    let optional = ["currency", "side", "conditions", "vendor_data"];
    let ours = schema(|_| ());
    let older =
        schema(|fields| fields.retain(|field| !optional.map(Value::from).contains(&field["name"])));
    let newer = schema(|fields| {
        fields.insert(3, json!({"name": "liquidity", "type": ["null", "string"], "default": null}));
    });
    for (first, schema) in [(1, &ours), (11, &older), (21, &newer)] {
        let records: Vec<Value> = (first..first + 10).map(|id| record(id, schema)).collect();
        let output = client.produce(TRADES, schema, &records);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let refused = schema(|fields| fields.push(json!({"name": "fee", "type": "string"})));
    let mut with_fee = record(99, &refused);
    with_fee["fee"] = json!("1");
    let refused = client.produce(TRADES, &refused, &[with_fee]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("409"), "{said}");

    stage.setup().run().unwrap();
    let lines = stage
        .answers()
        .lines("SELECT trade_id, price, quantity, side, conditions, vendor_data FROM trades");
    let found: BTreeMap<u64, Value> = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|row| (row["trade_id"].to_string().trim_matches('"').parse().unwrap(), row))
        .collect();
    assert!(found.keys().copied().eq(1..=30), "{found:?}");
    for (id, row) in found {
        let price = Decimal::parse(row["price"].as_str().unwrap().as_bytes()).unwrap();
        let expected = Decimal::parse(format!("{}.000000000001", 60_000 + id).as_bytes()).unwrap();
        assert_eq!(price, expected, "{row}");
        // What an older writer does not say has our default.
        let is_old = (11..=20).contains(&id);
        assert_eq!(row["side"], if is_old { "UNKNOWN" } else { "SELL" }, "{row}");
        let conditions = if is_old { json!([]) } else { json!(["odd lot"]) };
        assert_eq!(row["conditions"], conditions, "{row}");
        assert_eq!(row["vendor_data"].to_string().contains("maker"), !is_old, "{row}");
    }
}

#[test]
fn avro_that_is_no_trade_is_rejected_with_the_id_of_its_schema() {
    let (Some(python), Some(stage)) = (python(), Stage::set(1, Format::Avro)) else { return };
    let client = Client { python, stage: &stage };
    stage.cluster.broker.tools().create_topic("market.crypto.trades.kraken", 1);
    let weather = json!({"type": "record", "name": "Weather",
                         "fields": [{"name": "degrees", "type": "long"}]});
    let records = [json!({"degrees": 1}), json!({"degrees": 2}), json!({"degrees": 3})];
    let output = client.produce("market.crypto.trades.kraken", &weather, &records);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ours = schema(|_| ());
    let output = client.produce(TRADES, &ours, &[record(1, &ours)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stage.setup().run().unwrap();
    let answers = stage.answers();
    let expected = BTreeMap::from([("unknown_schema".to_owned(), 3)]);
    assert_eq!(answers.rejects(), expected);
    let ids = answers.lines("SELECT DISTINCT schema_id, source FROM rejects");
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(!ids[0].contains("null") && ids[0].contains("kraken"), "{ids:?}");
    assert_eq!(answers.lines("SELECT trade_id FROM trades").len(), 1);
}

#[test]
fn kafkas_own_consumer_and_python_see_what_we_write() {
    let (Some(python), Some(stage)) = (python(), Stage::set(3, Format::Avro)) else { return };
    let bytes = market(400, 51, Flaws::NONE);
    stage.cluster.write(VENUE, Format::Avro, &bytes);
    stage.setup().run().unwrap();
    let rows = stage.answers().lines(
        "SELECT symbol, trade_id, price, quantity, side, ts_event, \"partition\", \"offset\" FROM trades",
    );
    let count = rows.len();
    assert!(count > 100, "{count}");
    let row_of = |row: &Value, at: &Value| {
        let number = |value: &Value| value.to_string().trim_matches('"').to_owned();
        let decimal = |value: &Value| Decimal::parse(value.as_str().unwrap().as_bytes()).unwrap();
        let key = (number(&at["partition"]), number(&at["offset"]));
        let texts = ["symbol", "trade_id", "side", "ts_event"].map(|name| number(&row[name]));
        (key, (texts, ["price", "quantity"].map(|name| decimal(&row[name]))))
    };
    let ours: BTreeMap<_, _> = rows
        .iter()
        .map(|row| serde_json::from_str::<Value>(row).unwrap())
        .map(|row| row_of(&row, &row))
        .collect();

    let client = Client { python, stage: &stage };
    let arguments = ["consume", "--topic", TRADES, "--count", &count.to_string()];
    let read = finish(client.command(&arguments), "");
    let messages = read.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut keys = Vec::new();
    let theirs: BTreeMap<_, _> = messages
        .inspect(|message| keys.push(message["key"].as_str().unwrap().to_owned()))
        .map(|message| row_of(&message["value"], &message))
        .collect();
    assert!(theirs == ours, "{} of theirs, {} of ours", theirs.len(), ours.len());

    let options =
        ["--formatter-property", "print.key=true", "--formatter-property", "print.value=false"];
    let mut printed = stage.cluster.broker.tools().consume(TRADES, count, &options);
    printed.sort_unstable();
    keys.sort_unstable();
    assert!(printed == keys, "{} lines, {} keys", printed.len(), keys.len());
    Expected::of(&bytes).check_result(&stage.answers(), "seen by others");
}

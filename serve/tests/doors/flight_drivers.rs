//! Arrow Flight SQL, through the drivers of Python: ADBC's, and pyarrow's own client.

use k2_serve::Access;
use k2_serve::access::Policy;
use serde_json::{Value, json};

use super::keys::key_in;
use super::{Doors, job, open, python};
use crate::support::Job;
use crate::{live, rows};

/// The answers of the drivers to `questions`; `None` where there are none.
fn drivers(doors: &Doors, key: Option<&str>, questions: &[Value]) -> Option<Vec<Value>> {
    let address = format!("grpc://{}", doors.flight.address());
    let arguments: Vec<&str> = std::iter::once(&*address).chain(key).collect();
    python("ask_with_flight.py", &arguments, questions)
}

pub const VALUES: &str = "SELECT CAST(58000.12 AS DECIMAL(38, 12)) AS price, \
    arrow_cast(1723161600123456, 'Timestamp(Microsecond, Some(\"UTC\"))') AS moment, \
    arrow_cast(1723161600123456789, 'Timestamp(Nanosecond, Some(\"UTC\"))') AS exact, \
    make_array('@', 'F,I', NULL) AS conditions, X'00ff' AS raw, 7 AS number, true AS flag, \
    'it''s' AS text, NULL AS nothing, CAST(1.5 AS DOUBLE) AS float, DATE '2024-08-09' AS day, \
    MAP {'m': 'true'} AS pairs, -0.000000000001 AS small";

#[test]
fn drivers_get_each_value_as_its_own_type() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let questions = ["adbc", "pyarrow"].map(|with| json!({ "with": with, "sql": VALUES }));
    let Some(answers) = drivers(&doors, None, &questions) else { return };
    let expected = [
        ("decimal128(38, 12)", "Decimal('58000.120000000000')"),
        ("timestamp[us, tz=UTC]", "datetime.datetime(2024, 8, 9, 0, 0, 0, 123456, tzinfo="),
        ("timestamp[ns, tz=UTC]", "1723161600123456789"),
        ("list<item: string>", "['@', 'F,I', None]"),
        ("binary", "b'\\x00\\xff'"),
        ("int64", "7"),
        ("bool", "True"),
        ("string", "\"it's\""),
        ("null", "None"),
        ("double", "1.5"),
        ("date32[day]", "datetime.date(2024, 8, 9)"),
        ("map<string, string>", "[('m', 'true')]"),
        ("decimal128(12, 12)", "Decimal('-1E-12')"),
    ];
    for answer in &answers {
        for (at, (kind, value)) in expected.into_iter().enumerate() {
            let (told, got) = (&answer["types"][at], &answer["rows"][0][at]);
            assert!(told.as_str().unwrap().starts_with(kind.split(':').next().unwrap()), "{told}");
            assert!(got.as_str().unwrap().starts_with(value), "{kind}: {got}");
        }
    }
    assert_eq!(answers[0]["types"], answers[1]["types"]);
}

#[test]
fn drivers_get_the_rows_of_the_tables_and_what_they_are_rows_of() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let sql = "SELECT venue, symbol, trade_id, conditions, vendor_data, ts, price FROM trades \
               ORDER BY source, \"partition\", \"offset\"";
    let questions = [
        json!({ "with": "pyarrow", "sql": sql }),
        json!({ "with": "adbc", "sql": sql }),
        json!({ "with": "pyarrow", "path": "feed_health" }),
    ];
    let Some(answers) = drivers(&doors, None, &questions) else { return };
    let (flown, driven, table) = (&answers[0], &answers[1], &answers[2]);
    let expected =
        rows(&engine, "SELECT price FROM trades ORDER BY source, \"partition\", \"offset\"");
    assert_eq!(flown["rows"].as_array().unwrap().len(), expected.len());
    assert_eq!((&flown["rows"], &flown["types"]), (&driven["rows"], &driven["types"]));
    let prices = flown["rows"].as_array().unwrap().iter();
    let mut prices: Vec<String> = prices
        .map(|row| {
            row[6].as_str().unwrap().replace("Decimal('", "{\"price\":\"").replace("')", "\"}")
        })
        .collect();
    prices.sort();
    assert_eq!(prices, expected);
    for answer in [flown, table] {
        assert_eq!(answer["meta"]["as_of"]["offsets"], answer["as_of"]["offsets"]);
        assert_eq!(answer["schema"], true, "GetSchema says the same");
    }
    assert_eq!(flown["meta"]["complete"], false, "there are gaps of severity halt");
    assert!(flown["meta"]["gaps"]["open"].as_u64().unwrap() > 0);
}

#[test]
fn drivers_bind_parameters_of_all_kinds() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let price = rows(&engine, "SELECT max(price) AS p FROM trades").remove(0);
    let price = price.split('"').nth(3).unwrap().to_owned();
    let moment = "2024-08-09T01:55:00+02:00";
    let text = |value: &str| json!(["as it is", value]);
    let cases = [
        ("symbol = ?", json!([text("BTCUSDT")]), "symbol = 'BTC-USDT'".to_owned()),
        (
            "symbol = ANY(?)",
            json!([["as it is", ["BTC-USDT", "ETH-USDT"]]]),
            "symbol IN ('BTC-USDT', 'ETH-USDT')".to_owned(),
        ),
        ("price = ?", json!([["Decimal", price]]), format!("price = {price}")),
        ("sequence > $1", json!([["as it is", 150]]), "sequence > 150".to_owned()),
        ("price > ?", json!([["as it is", 0.5]]), "price > 0.5".to_owned()),
        ("ts >= ?", json!([["datetime", moment]]), format!("ts >= '{moment}'")),
        ("ts >= ?", json!([text(moment)]), format!("ts >= '{moment}'")),
        ("side = ? AND venue <> ?", json!([text("BUY"), text("it's")]), "side = 'BUY'".to_owned()),
        (
            "currency IS NOT DISTINCT FROM ?",
            json!([["as it is", null]]),
            "currency IS NULL".to_owned(),
        ),
    ];
    let questions = cases.iter().map(|(filter, parameters, _)| {
        let sql = format!("SELECT count(*) AS n FROM trades WHERE {filter}");
        json!({ "with": "adbc", "sql": sql, "parameters": parameters, "again": parameters })
    });
    let Some(answers) = drivers(&doors, None, &questions.collect::<Vec<_>>()) else { return };
    for (answer, (filter, _, literal)) in answers.iter().zip(&cases) {
        let sql = format!("SELECT count(*) AS n FROM trades WHERE {literal}");
        let counted = rows(&engine, &sql).remove(0);
        let told = format!("{{\"n\":{}}}", answer["rows"][0][0].as_str().unwrap_or("?"));
        assert_eq!(told, counted, "{filter}: {answer}");
        assert_eq!(answer["again"], answer["rows"], "{filter}");
    }
}

#[test]
fn drivers_find_catalogs_tables_columns_and_types() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let Some(answers) = drivers(&doors, None, &[json!({ "with": "browse" })]) else { return };
    let found = &answers[0];
    assert_eq!((&found["catalogs"], &found["schemas"]), (&json!(["k2"]), &json!(["market_data"])));
    assert_eq!(found["table_types"], json!(["TABLE", "VIEW"]));
    assert_eq!(found["named"], json!(["ohlcv_1d", "ohlcv_1h", "ohlcv_1m"]));
    let tables = found["tables"].as_object().unwrap();
    for view in crate::VIEWS {
        assert!(tables.contains_key(view), "{view}");
    }
    let (trades, bars) = (&tables["trades"], &tables["ohlcv_1m"]);
    assert!(trades[0] == "TABLE" && bars[0] == "VIEW");
    assert!(trades[1].as_array().unwrap().contains(&"vendor_data".into()));
    let columns = &found["trades"];
    assert_eq!(columns["price"], "decimal128(38, 12)");
    assert_eq!(columns["ts"], "timestamp[us, tz=UTC]");
    assert!(columns["conditions"].as_str().unwrap().starts_with("list<"));
    assert!(columns["vendor_data"].as_str().unwrap().starts_with("map<"));
    assert_eq!(found["info"]["vendor_name"], "K2");
    assert_eq!(found["info"]["vendor_version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(found["flights"].as_array().unwrap().len(), tables.len());
    assert!(found["actions"].as_array().unwrap().contains(&"CreatePreparedStatement".into()));
}

#[test]
fn drivers_are_told_what_was_wrong_and_what_was_meant() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let cases = [
        ("SELECT * FROM trade", "NOT_FOUND", "unknown_table", "did you mean trades?"),
        ("SELECT pric FROM trades", "INVALID_ARGUMENT", "unknown_column", "did you mean price?"),
        ("SELEC 1", "INVALID_ARGUMENT", "sql_syntax", ""),
        ("DELETE FROM trades", "INVALID_ARGUMENT", "not_a_query", "only SELECT"),
        ("SELECT 1/0", "INVALID_ARGUMENT", "cannot_compute", ""),
    ];
    let mut questions = Vec::new();
    for (sql, ..) in cases {
        questions.extend(["adbc", "pyarrow"].map(|with| json!({ "with": with, "sql": sql })));
    }
    let update = "INSERT INTO trades SELECT * FROM trades";
    questions.push(json!({ "with": "adbc", "sql": update, "is_update": true }));
    let Some(answers) = drivers(&doors, None, &questions) else { return };
    for ((sql, status, code, hint), told) in cases.into_iter().zip(answers.chunks(2)) {
        for answer in told {
            let message = answer["message"].as_str().unwrap();
            assert!(message.contains(code) && message.contains(hint), "{sql}: {answer}");
        }
        assert_eq!(told[0]["status"], status, "{sql}");
    }
    let update = answers.last().unwrap();
    assert_eq!(update["class"], "NotSupportedError", "{update}");
    assert!(update["message"].as_str().unwrap().contains("read_only"), "{update}");
}

#[test]
fn drivers_bring_a_key_as_their_password() {
    let job = Job::new();
    let directory = job.dir.path();
    let (sql, read) = (key_in(directory, "sql", None), key_in(directory, "read", None));
    let doors = open(&live(&job), &Access::of(directory, None, Policy::Keys));
    let questions = ["adbc", "pyarrow"].map(|with| json!({ "with": with, "sql": "SELECT 1" }));
    let Some(answers) = drivers(&doors, Some(sql.text()), &questions) else { return };
    assert!(answers.iter().all(|answer| answer["rows"] == json!([["1"]])), "{answers:?}");
    for answer in drivers(&doors, Some(read.text()), &questions).unwrap() {
        assert!(answer["message"].as_str().unwrap().contains("out_of_scope"), "{answer}");
    }
    // A door that wants no key takes any password.
    let local = open(&live(&job), &Access::of(directory, None, Policy::Local));
    let answers = drivers(&local, Some("whatever"), &questions).unwrap();
    assert!(answers.iter().all(|answer| answer["rows"] == json!([["1"]])), "{answers:?}");
}

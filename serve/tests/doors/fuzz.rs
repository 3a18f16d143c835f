//! Questions that nobody would write: each gets a clear answer or a clear refusal, and the server
//! goes on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use k2_serve::{Access, Concurrency, Engine, EngineConfig, Limits};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use super::client::Client;
use super::keys::{get, post, post_sql};
use super::{Doors, open};
use crate::config;
use crate::support::Job;

/// What SQL is made of, here and elsewhere.
const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "ORDER BY",
    "LIMIT",
    "OFFSET",
    "UNION ALL",
    "JOIN",
    "CROSS JOIN",
    "LEFT JOIN",
    "ON",
    "USING",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS NULL",
    "BETWEEN",
    "LIKE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "OVER",
    "PARTITION BY",
    "WITH",
    "EXPLAIN",
    "VALUES",
    "LATERAL",
    "trades",
    "quotes",
    "ohlcv_1m",
    "symbols",
    "snapshots",
    "gaps",
    "feed_health",
    "nothing",
    "price",
    "quantity",
    "symbol",
    "ts",
    "ts_event",
    "trade_id",
    "conditions",
    "vendor_data",
    "final",
    "*",
    ",",
    "(",
    ")",
    "=",
    "<>",
    "<",
    ">",
    "+",
    "-",
    "/",
    "%",
    "::",
    ".",
    ";",
    "[",
    "]",
    "--",
    "/*",
    "'",
    "\"",
    "$1",
    "$0",
    "?",
    "1",
    "0",
    "-1",
    "1e400",
    "9223372036854775808",
    "0.000000000000000000001",
    "'BTC-USDT'",
    "''",
    "'\u{1f600}'",
    "'\u{0}'",
    "\"\u{e9}\"",
    "\u{202e}",
    "E'\\x'",
    "X'00'",
    "NULL",
    "TRUE",
    "count(*)",
    "sum(price)",
    "vwap(price, quantity)",
    "date_bin(INTERVAL '1 minute', ts)",
    "unnest(conditions)",
    "CAST(price AS INT)",
    "price::text",
    "INTERVAL '1' DAY",
    "TIMESTAMP '2024-01-01'",
    "AT (SNAPSHOT 1)",
    "AT (TIMESTAMP '2024-01-01')",
    "AT (TAG eod)",
    "AT",
    "SNAPSHOT",
    "generate_series(1, 3)",
];

/// What a part of a query may be, mostly right.
const VALUES: &[&str] = &[
    "*",
    "symbol",
    "price",
    "price * quantity",
    "price / 0",
    "price % 0",
    "-price",
    "price / NULL",
    "count(*)",
    "sum(quantity)",
    "avg(price)",
    "min(ts)",
    "max(ts_event)",
    "count(DISTINCT symbol)",
    "array_agg(price)",
    "ts_event / 0",
    "ts_event * ts_event",
    "trade_id + 9223372036854775807",
    "ts + INTERVAL '9999 years'",
    "date_bin(INTERVAL '0 seconds', ts)",
    "date_bin(INTERVAL '1 month', ts)",
    "date_trunc('eon', ts)",
    "to_timestamp('x')",
    "CAST(symbol AS INT)",
    "CAST(price AS TINYINT)",
    "repeat(symbol, 1000)",
    "substr(symbol, -5, 2)",
    "conditions[0]",
    "conditions[99]",
    "vendor_data['m']",
    "unnest(conditions)",
    "row_number() OVER (ORDER BY ts)",
    "lag(price, 1) OVER (PARTITION BY symbol ORDER BY ts)",
    "sum(price) OVER (ROWS BETWEEN 9 PRECEDING AND CURRENT ROW)",
    "(SELECT max(price) FROM trades)",
    "(SELECT price FROM trades)",
    "(SELECT t.price FROM trades u WHERE u.symbol = t.symbol LIMIT 1)",
    "CASE WHEN price > 1 THEN 1 ELSE symbol END",
    "regexp_match(symbol, '(')",
    "nullif(price, price)",
    "1e308 * 10",
    "sqrt(-1)",
    "log(0)",
    "'\u{1f600}' || symbol",
    "chr(0)",
    "chr(-1)",
    "lpad(symbol, 100000)",
    "array_repeat(1, -1)",
    "make_array()",
    "md5(symbol)",
    "to_char(ts, '%Q')",
    "extract(century FROM ts)",
    "extract(epoch FROM ts) * ts_event",
    "ts AT TIME ZONE 'Europe/Berlin'",
    "ts AT TIME ZONE symbol",
    "date_trunc('week', ts, 'Asia/Tokyo')",
    "to_char(ts, symbol)",
    "to_char(price, '9G990D99')",
    "to_char(INTERVAL '1 day' * price, 'DD HH24:MI')",
    "INTERVAL '1 month' / quantity",
    "age(ts)",
    "time_bucket('0 seconds', ts)",
    "make_timestamp(trade_id, 1, 1, 0, 0, price)",
];

const SOURCES: &[&str] = &[
    "trades t",
    "quotes t",
    "ohlcv_1m t",
    "ohlcv_1d t",
    "latest_trade t",
    "symbols t",
    "snapshots t",
    "gaps t",
    "trades AT (SNAPSHOT 1) t",
    "trades AT (TIMESTAMP '2100-01-01') t",
    "ohlcv_5m AT (TAG eod) t",
    "trades t CROSS JOIN trades u CROSS JOIN trades v",
    "trades t JOIN quotes u ON t.symbol = u.symbol",
    "trades t LEFT JOIN ohlcv_1m u ON t.symbol = u.symbol AND t.ts >= u.window_start",
    "trades t, LATERAL (SELECT t.price) u",
    "(SELECT * FROM trades LIMIT 3) t",
    "generate_series(1, 5) t",
    "generate_series(1, 10000000000) t",
    "unnest(make_array(1, NULL)) t",
    "information_schema.columns t",
    "trades t NATURAL JOIN quotes u",
    "trades t FULL JOIN quotes u USING (symbol)",
    "(VALUES (1), (NULL)) t",
];

const TAILS: &[&str] = &[
    "",
    "WHERE false",
    "WHERE price > 1",
    "WHERE symbol IN ('BTC-USDT', NULL)",
    "WHERE ts > 'x'",
    "WHERE ts >= '2024-01-01' AND ts < '2023-01-01'",
    "WHERE symbol LIKE '%\\'",
    "WHERE symbol ~ '('",
    "WHERE ts_event = 1e30",
    "WHERE price = 'NaN'",
    "WHERE EXISTS (SELECT 1 FROM quotes q WHERE q.ts = t.ts)",
    "GROUP BY 1",
    "GROUP BY 99",
    "GROUP BY GROUPING SETS ((), (1))",
    "GROUP BY ROLLUP (symbol)",
    "ORDER BY 1 DESC NULLS LAST",
    "ORDER BY price, 99",
    "LIMIT 0",
    "LIMIT -1",
    "LIMIT 99999999999999999999",
    "LIMIT 5 OFFSET 9223372036854775807",
    "HAVING count(*) > 1",
    "UNION SELECT 1",
    "INTERSECT SELECT * FROM quotes",
    "FETCH FIRST 3 ROWS ONLY",
    "FOR UPDATE",
    "WINDOW w AS (ORDER BY ts)",
    "TABLESAMPLE BERNOULLI (5)",
];

fn served() -> (Job, Doors) {
    let mut job = Job::new();
    job.run(8, 25);
    job.commit();
    job.run(2, 25);
    let limits = Limits {
        rows_max: 10_000,
        memory_bytes_max: 32 << 20,
        time_max: Duration::from_millis(400),
    };
    let concurrency = Concurrency { running_max: 4, waiting_max: 16 };
    let config = EngineConfig { limits, concurrency, ..config() };
    let engine = Engine::live(job.live.clone(), job.lake.clone(), config).unwrap();
    let doors = open(&engine, &Access::open());
    (job, doors)
}

/// Runs `check` with so many values, found anew each time; what fails is made small and shown.
fn fuzz<S: Strategy>(
    cases: u32,
    values: &S,
    check: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(values, check).unwrap();
}

/// An answer, or a refusal that is the asker's to understand: nothing inside has failed.
fn is_clear(what: &str, (status, _, body): (u16, String, String)) -> Result<(), TestCaseError> {
    let is_known = matches!(status, 200 | 400 | 404 | 405 | 410 | 415 | 422 | 503 | 504);
    prop_assert!(is_known, "{what}: {status} {body}");
    if status != 200 {
        let error: serde_json::Value = serde_json::from_str(&body).unwrap();
        prop_assert!(error["error"]["code"].is_string(), "{what}: {body}");
    }
    Ok(())
}

#[test]
fn no_mixture_of_words_is_more_than_a_wrong_question() {
    let (_job, doors) = served();
    let words = prop::collection::vec(select(WORDS), 1..14);
    fuzz(400, &words, |words| {
        let sql = words.join(" ");
        is_clear(&sql, post_sql(&doors, &sql, &[]))
    });
}

#[test]
fn no_shape_of_query_fails_inside() {
    let (_job, doors) = served();
    let values = prop::collection::vec(select(VALUES), 1..4);
    let shape = (values, select(SOURCES), prop::collection::vec(select(TAILS), 0..3));
    fuzz(300, &shape, |(values, source, tails)| {
        let sql = format!("SELECT {} FROM {source} {}", values.join(", "), tails.join(" "));
        is_clear(&sql, post_sql(&doors, &sql, &[]))
    });
}

/// Any JSON, with the names of parameters among its keys.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let names = &[
        "sql",
        "format",
        "as_of",
        "at",
        "symbol",
        "symbols",
        "venue",
        "start_time",
        "end_time",
        "limit",
        "cursor",
        "fields",
        "sides",
        "min_price",
        "frontier",
        "offsets",
        "metrics",
        "interval",
        "queries",
        "timeframe",
        "data_type",
        "on_partial",
        "step",
        "\u{1f600}",
        "",
    ];
    let texts = &[
        "",
        "BTC-USDT",
        "json",
        "2024-01-01",
        "1m",
        "vwap",
        "trades",
        "SELECT 1",
        "\u{0}",
        "tag:x",
        "-1",
        "9223372036854775807",
        "error",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(texts as &[&str]).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        let key = select(names as &[&str]).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

#[test]
fn no_body_is_more_than_a_wrong_question() {
    let (_job, doors) = served();
    let paths = &[
        "/v1/sql",
        "/v1/trades/query",
        "/v1/quotes/query",
        "/v1/aggregations",
        "/v1/replay",
        "/v1/ohlcv/batch",
        "/v1/snapshots/1/query",
    ];
    fuzz(300, &(select(paths as &[&str]), any_json(), any::<u16>()), |(path, json, cut)| {
        let whole = json.to_string();
        is_clear(&whole, post(&doors, path, &whole, &[]))?;
        let cut = (usize::from(cut)..).find(|at| *at >= whole.len() || whole.is_char_boundary(*at));
        let part = whole.get(..cut.unwrap_or_default()).unwrap_or_default();
        is_clear(part, post(&doors, path, part, &[]))
    });
    assert_eq!(get(&doors, "/health", &[]).0, 200);
}

/// Says `bytes` after a right beginning, and waits until the server has said all that it will.
fn say(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let begin = b"\0\0\0\x13\0\x03\0\0user\0fuzz\0\0";
    stream.write_all(begin).unwrap();
    // It may have closed in the middle of what it did not understand.
    let _said = stream.write_all(bytes);
    let _closed = stream.shutdown(std::net::Shutdown::Write);
    let (mut heard, mut piece) = (0, [0; 4_096]);
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        heard += length;
        assert!(heard < 16 << 20, "the server does not end");
    }
}

#[test]
fn no_message_of_the_wire_stops_its_door() {
    let (_job, doors) = served();
    let tag = select(b"QPBDESHCXpdcfF\0\xff" as &[u8]);
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(select(b"\0\0\0\0\x01\x02SELECT 1$?\xff" as &[u8]), 0..40),
        Just(b"s\0SELECT $1\0\0\x01\0\0\0\x17".to_vec()),
        Just(b"\0s\0\0\x01\0\x01\0\x01\0\0\0\x04\0\0\0\x01\0\0".to_vec()),
    ];
    let length =
        prop_oneof![8 => Just(None), 1 => any::<i32>().prop_map(Some), 1 => (0..64).prop_map(Some)];
    let messages = prop::collection::vec((tag, body, length), 1..8);
    fuzz(200, &messages, |messages| {
        let mut bytes = Vec::new();
        for (tag, body, length) in messages {
            let right = i32::try_from(body.len() + 4).unwrap();
            bytes.push(tag);
            bytes.extend(length.unwrap_or(right).to_be_bytes());
            bytes.extend(body);
        }
        say(doors.pg.address(), &bytes);
        Ok(())
    });
    let mut client = Client::begun(doors.pg.address());
    assert_eq!(client.tags("SELECT 1"), "TDCZ");
}

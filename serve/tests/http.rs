//! HTTP against a job in miniature: each route on real rows, without a socket.

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use k2_model::time::NANOS_PER_SECOND;
use k2_model::{Decimal, Nanos};
use k2_serve::http::router;
use k2_serve::{
    Engine, EngineConfig, Format, JobState, Request as Question, Secret, ServerConfig, ServerState,
    write_rows,
};
use serde_json::{Value, json};
use support::{Job, START};
use tower::ServiceExt;

struct Served {
    job: Job,
    engine: Engine,
    router: Router,
    runtime: tokio::runtime::Runtime,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    #[track_caller]
    fn data(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.json());
        self.json()["data"].as_array().unwrap().clone()
    }

    #[track_caller]
    fn error(&self, status: u16, code: &str) -> Value {
        let json = self.json();
        assert_eq!(
            (self.status.as_u16(), json["error"]["code"].as_str()),
            (status, Some(code)),
            "{json}"
        );
        assert_eq!(json["success"], false);
        assert!(json["error"]["hint"].is_string(), "{json}");
        json["error"].clone()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Served {
    fn of(job: Job) -> Self {
        let config = EngineConfig { parallelism: 2, ..EngineConfig::default() };
        let engine = Engine::live(job.live.clone(), job.lake.clone(), config).unwrap();
        let state = ServerState {
            engine: engine.clone(),
            metrics: Arc::default(),
            health: Arc::new(|| JobState::Running),
            secret: Secret::new([7; Secret::BYTES]),
        };
        let router = router(state, ServerConfig::default());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        Self { job, engine, router, runtime }
    }

    /// With rows on both sides of the seam.
    fn seamed() -> Self {
        let mut job = Job::new();
        job.run(20, 60);
        job.commit();
        job.run(10, 60);
        Self::of(job)
    }

    fn send(&self, request: Request<Body>) -> Reply {
        let response = self.runtime.block_on(self.router.clone().oneshot(request)).unwrap();
        let (head, body) = response.into_parts();
        let body = self.runtime.block_on(axum::body::to_bytes(body, usize::MAX)).unwrap();
        Reply { status: head.status, headers: head.headers, body: body.to_vec() }
    }

    fn get_with(&self, path: &str, headers: &[(header::HeaderName, &str)]) -> Reply {
        let request = headers
            .iter()
            .fold(Request::get(path), |request, (name, value)| request.header(name, *value));
        self.send(request.body(Body::empty()).unwrap())
    }

    fn get(&self, path: &str) -> Reply {
        self.get_with(path, &[])
    }

    fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Request::post(path).body(Body::from(body.to_string())).unwrap())
    }

    /// The rows of `sql`, asked of the engine itself.
    fn sql(&self, sql: &str) -> Vec<Value> {
        let answer = self.runtime.block_on(self.engine.query(Question::new(sql))).unwrap();
        let mut out = Vec::new();
        write_rows(&answer, Format::Json, &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }
}

const NEWEST_FIRST: &str =
    "ORDER BY ts_event DESC, sequence DESC, source DESC, \"partition\" DESC, \"offset\" DESC";

/// A value for a query.
fn escaped(text: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let escape = |byte: u8| {
        if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(escape).collect()
}

#[test]
fn pages_are_all_rows_once_in_order_whatever_comes_and_is_committed_meanwhile() {
    let mut served = Served::seamed();
    let expected = [
        ("/v1/trades", served.sql(&format!("SELECT * FROM trades {NEWEST_FIRST}"))),
        (
            "/v1/quotes?symbol=BTCUSDT&venue=binance_usdm",
            served.sql(&format!(
                "SELECT * FROM quotes WHERE symbol = 'BTC-USDT' AND venue = 'BINANCE_USDM' \
                 {NEWEST_FIRST}"
            )),
        ),
        (
            "/v1/ohlcv/1m?symbol=BTC-USDT",
            served.sql(
                "SELECT * FROM ohlcv_1m WHERE symbol = 'BTC-USDT' \
                 ORDER BY window_start DESC, venue DESC, symbol DESC",
            ),
        ),
    ];
    let limit = |path: &str| if path.starts_with("/v1/trades") { 97 } else { 13 };
    let page = |served: &Served, path: &str, cursor: Option<&str>| {
        let sign = if path.contains('?') { '&' } else { '?' };
        let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        served.get(&format!("{path}{sign}limit={}{cursor}", limit(path)))
    };
    let first: Vec<Reply> = expected.iter().map(|(path, _)| page(&served, path, None)).collect();
    for (reply, (path, expected)) in first.into_iter().zip(&expected) {
        served.job.run(1, 60);
        served.job.commit();
        let (mut reply, mut rows, mut pages) = (reply, Vec::new(), 0);
        loop {
            let data = reply.data();
            let pagination = &reply.json()["pagination"];
            assert_eq!(pagination["limit"], limit(path));
            rows.extend(data);
            pages += 1;
            let Some(cursor) = pagination["cursor"].as_str() else {
                assert_eq!(pagination["has_more"], false);
                break;
            };
            assert_eq!(pagination["has_more"], true);
            reply = page(&served, path, Some(cursor));
        }
        assert_eq!(pages, expected.len().div_ceil(limit(path)), "{path}");
        // Whether a bar is final is told by the clock of the moment that is asked for.
        assert_eq!(&rows, expected, "{path}");
    }
}

#[test]
fn the_direct_path_answers_the_same_rows_as_the_general_one() {
    let mut job = Job::new();
    job.run(15, 60);
    let mut served = Served::of(job);
    let mut direct = 0;
    for step in 0..6 {
        match step {
            2 | 4 => served.job.commit(),
            _ => served.job.run(12, 60),
        }
        for (table, kind) in
            [("trades", "BTC-USDT"), ("quotes", "NOTLISTED"), ("trades", "SOLUSDT")]
        {
            for venue in ["", "BINANCE", "BINANCE_USDM"] {
                for (limit, from, until) in [
                    (1, 0, i64::MAX),
                    (9, START + 60 * NANOS_PER_SECOND, i64::MAX),
                    (10_000, 0, START + 200 * NANOS_PER_SECOND),
                    (40, START + 100 * NANOS_PER_SECOND, START + 500 * NANOS_PER_SECOND),
                ] {
                    let canonical = if kind == "SOLUSDT" { "SOL-USDT" } else { kind };
                    let at_venue = match venue {
                        "" => String::new(),
                        venue => format!("AND venue = '{venue}'"),
                    };
                    let sql = format!(
                        "SELECT * FROM {table} WHERE symbol = '{canonical}' {at_venue} AND \
                         ts_event >= {from} AND ts_event < {until} {NEWEST_FIRST} LIMIT {}",
                        limit + 1
                    );
                    let mut expected = served.sql(&sql);
                    let has_more = expected.len() > limit;
                    expected.truncate(limit);
                    let venue = if venue.is_empty() { "" } else { &format!("&venue={venue}") };
                    let reply = served.get(&format!(
                        "/v1/{table}?symbol={kind}&limit={limit}&start_time={from}&\
                         end_time={until}{venue}"
                    ));
                    assert_eq!(reply.data(), expected, "{sql}");
                    let json = reply.json();
                    assert_eq!(json["pagination"]["has_more"], has_more);
                    let is_direct = json["meta"]["sources"]["iceberg"] == 0
                        && json["meta"]["sources"]["live"]
                            == expected.len() + usize::from(has_more);
                    direct += usize::from(is_direct && has_more);
                }
            }
        }
    }
    assert!(direct > 30, "only {direct} answers came straight from memory");
}

#[test]
fn the_recent_minutes_end_with_the_venues_newest_trade_on_either_side_of_the_seam() {
    let mut served = Served::seamed();
    for _ in 0..2 {
        for (minutes, limit) in [(1, 10), (5, 1_000), (60, 10_000)] {
            let newest =
                served.sql("SELECT max(ts_event) AS t FROM trades WHERE venue = 'BINANCE'");
            let from = newest[0]["t"].as_i64().unwrap() - minutes * 60 * NANOS_PER_SECOND;
            let expected = served.sql(&format!(
                "SELECT * FROM trades WHERE symbol = 'BTC-USDT' AND venue = 'BINANCE' AND \
                 ts_event >= {from} {NEWEST_FIRST} LIMIT {limit}"
            ));
            assert!(!expected.is_empty());
            let reply = served.get(&format!(
                "/v1/trades/recent?symbol=BTCUSDT&exchange=BINANCE&window_minutes={minutes}&\
                 limit={limit}"
            ));
            assert_eq!(reply.data(), expected, "{minutes} minutes");
        }
        served.job.run(1, 60);
        served.job.commit();
    }
}

#[test]
fn the_recent_minutes_are_read_on_page_by_page_in_the_window_of_the_first() {
    let mut served = Served::seamed();
    // From memory alone, and from files as well.
    for (minutes, limit) in [(1, 5), (60, 30)] {
        let path = format!(
            "/v1/trades/recent?symbol=BTCUSDT&venue=BINANCE&window_minutes={minutes}&limit={limit}"
        );
        let newest = served.sql("SELECT max(ts_event) AS t FROM trades WHERE venue = 'BINANCE'");
        let from = newest[0]["t"].as_i64().unwrap() - minutes * 60 * NANOS_PER_SECOND;
        let expected = served.sql(&format!(
            "SELECT * FROM trades WHERE symbol = 'BTC-USDT' AND venue = 'BINANCE' AND \
             ts_event >= {from} {NEWEST_FIRST}"
        ));
        assert!(expected.len() > limit, "{}", expected.len());
        let (mut reply, mut rows) = (served.get(&path), Vec::new());
        loop {
            rows.extend(reply.data());
            let Some(cursor) = reply.json()["pagination"]["cursor"].as_str().map(str::to_owned)
            else {
                break;
            };
            // What comes meanwhile neither moves the window nor is in it.
            served.job.run(1, 60);
            served.job.commit();
            reply = served.get(&format!("{path}&cursor={cursor}"));
        }
        assert_eq!(rows, expected, "{minutes} minutes");
    }
    let path = "/v1/trades/recent?symbol=BTC-USDT&limit=1";
    let cursor = served.get(path).json()["pagination"]["cursor"].as_str().unwrap().to_owned();
    for other in ["/v1/trades/recent?symbol=ETH-USDT", "/v1/trades?symbol=BTC-USDT"] {
        served.get(&format!("{other}&cursor={cursor}")).error(400, "invalid_cursor");
    }
}

#[test]
fn each_wrong_parameter_is_told_and_none_becomes_sql() {
    let served = Served::seamed();
    let path = "/v1/trades?symbl=X&start_time=tomorrow&limit=10001&format=xml&on_partial=maybe";
    let error = served.get(path).error(400, "invalid_parameters");
    let fields: BTreeSet<&str> = error["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["format", "limit", "on_partial", "start_time", "symbl"].into());
    for (path, field) in [
        ("/v1/trades/recent", "symbol"),
        ("/v1/trades/recent?symbol=A&window_minutes=61", "window_minutes"),
        ("/v1/ohlcv/2m?symbol=A", "timeframe"),
        ("/v1/trades?start_time=2024-08-09T00:00:00Z&end_time=2024-08-09T00:00:00Z", "end_time"),
        ("/v1/trades?start_time=2024-08-09T00:00:00", "start_time"),
        ("/v1/summary/BTC-USDT/2024-13-01", "date"),
        ("/v1/trades?as_of=%7B%7D", "as_of"),
        ("/v1/trades?symbol=A&symbol=B", "symbol"),
        ("/v1/gaps?state=lost", "state"),
    ] {
        let error = served.get(path).error(400, "invalid_parameters");
        assert_eq!(error["fields"].as_array().unwrap().len(), 1, "{path}: {error}");
        assert_eq!(error["fields"][0]["field"], field, "{path}");
    }
    let injected = escaped("x' OR '1' = '1");
    let error = served.get(&format!("/v1/trades?symbol={injected}")).error(404, "unknown_symbol");
    assert!(error["message"].as_str().unwrap().contains("x' OR '1' = '1"));
    let error = served.get("/v1/trades?symbol=BTC-USDX").error(404, "unknown_symbol");
    assert!(error["hint"].as_str().unwrap().contains("BTC-USD"), "{error}");
}

#[test]
fn names_that_nothing_has_are_told_wherever_they_are_asked_for() {
    let served = Served::seamed();
    let as_of = served.get("/v1/trades?limit=1").json()["meta"]["as_of"].clone();
    let pinned = format!("/v1/trades?symbol=NOPE&as_of={}", escaped(&as_of.to_string()));
    for path in [
        "/v1/gaps?symbol=NOPE",
        "/v1/gaps?symbol=NOPE&state=open",
        "/v1/trades/recent?symbol=NOPE",
        "/v1/ohlcv/1m?symbol=NOPE",
        pinned.as_str(),
    ] {
        let error = served.get(path).error(404, "unknown_symbol");
        assert!(error["hint"].as_str().unwrap().contains("the nearest are "), "{path}: {error}");
    }
    for path in [
        "/v1/symbols?venue=FOO",
        "/v1/feeds?venue=FOO",
        "/v1/gaps?venue=FOO",
        "/v1/trades?venue=FOO",
        "/v1/quotes?symbol=BTC-USDT&exchange=foo",
        "/v1/trades/recent?symbol=BTC-USDT&venue=FOO",
        "/v1/summary/BTC-USDT/2024-08-08?venue=FOO",
    ] {
        let error = served.get(path).error(404, "unknown_venue");
        assert!(error["hint"].as_str().unwrap().contains("BINANCE"), "{path}: {error}");
    }
    // What the configuration knows may be without rows, and so may a symbol at a venue.
    for path in [
        "/v1/trades?symbol=DOGE-USDT&venue=BINANCE",
        "/v1/gaps?symbol=DOGEUSDT",
        "/v1/trades?symbol=NOTLISTED&venue=BINANCE_USDM",
    ] {
        let reply = served.get(path);
        assert_eq!((reply.data().len(), &reply.json()["meta"]["warnings"]), (0, &json!([])));
    }
}

#[test]
fn an_unknown_name_among_others_is_a_warning_beside_the_rows_of_the_others() {
    let served = Served::seamed();
    let warnings = |path: &str, body: Value| -> Vec<String> {
        let reply = served.post(path, &body);
        assert!(!reply.data().is_empty(), "{path}");
        let warnings = reply.json()["meta"]["warnings"].clone();
        warnings.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let some = json!({"symbols": ["BTC-USDT", "NOPE", "ETHUSDX"], "limit": 3});
    for path in ["/v1/trades/query", "/v1/quotes/query"] {
        let told = warnings(path, some.clone());
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("there is no symbol ETHUSDX (the nearest are ETHUSD"));
        assert!(told[0].contains("NOPE (the nearest are "), "{told:?}");
    }
    let known = json!({"symbols": ["BTCUSDT", "NOTLISTED"], "venues": ["BINANCE"], "limit": 3});
    assert_eq!(warnings("/v1/trades/query", known), Vec::<String>::new());
    let venues = json!({"symbols": ["BTCUSDT"], "venues": ["BINANCE", "FOO"], "limit": 3});
    let told = warnings("/v1/trades/query", venues);
    assert!(told.len() == 1 && told[0].starts_with("there is no venue FOO ("), "{told:?}");
    let batch = json!({"queries": [
        {"symbol": "BTC-USDT", "timeframe": "1m", "venue": "BINANCE"},
        {"symbol": "NOPE", "timeframe": "1m"},
    ]});
    let told = warnings("/v1/ohlcv/batch", batch);
    assert!(told.len() == 1 && told[0].contains("symbol NOPE"), "{told:?}");
    let wrong = json!({"symbols": ["NOPE", "NADA"], "limit": 3});
    let error = served.post("/v1/trades/query", &wrong).error(404, "unknown_symbol");
    assert!(error["message"].as_str().unwrap().contains("NADA, NOPE"), "{error}");
    let wrong = json!({"symbols": ["BTC-USDT", "NOPE"], "venues": ["FOO"]});
    served.post("/v1/trades/query", &wrong).error(404, "unknown_venue");
}

#[test]
fn bodies_that_are_no_json_object_are_refused_with_the_place_where_they_go_wrong() {
    let served = Served::seamed();
    let send = |kind: &str, body: &str| {
        let request = Request::post("/v1/trades/query").header(header::CONTENT_TYPE, kind);
        served.send(request.body(Body::from(body.to_owned())).unwrap())
    };
    let error = send("application/json", "{\n \"symbols\": [}").error(400, "invalid_body");
    assert!(error["message"].as_str().unwrap().contains("line 2 column 14"), "{error}");
    send("application/json", "[1]").error(400, "invalid_body");
    let twice = r#"{"limit": 1, "symbols": ["BTC-USDT"], "limit": 2}"#;
    let error = send("application/json", twice).error(400, "invalid_body");
    assert!(error["message"].as_str().unwrap().contains("the key \"limit\" comes twice"));
    let twice = r#"{"sql": "SELECT 1", "as_of": {"frontier": 1, "offsets": {"a": {}, "a": {}}}}"#;
    let request = Request::post("/v1/sql").body(Body::from(twice)).unwrap();
    let error = served.send(request).error(400, "invalid_body");
    assert!(error["message"].as_str().unwrap().contains("the key \"a\" comes twice"), "{error}");
    send("text/csv", "a,b").error(415, "wrong_content_type");
    assert_eq!(send("application/json; charset=utf-8", "{}").status, 200);
    for (reply, methods) in [
        (served.get("/v1/trades/query"), "POST"),
        (served.get("/v1/ohlcv/batch"), "POST"),
        (served.post("/v1/summary/BTC-USDT/2024-08-08", &json!({})), "GET,HEAD"),
    ] {
        let hint = reply.error(405, "wrong_method")["hint"].as_str().unwrap().to_owned();
        let method = methods.split(',').next().unwrap();
        assert!(hint.ends_with(&format!(" with {method}")), "{hint}");
        assert_eq!(reply.header("allow"), methods);
    }
    let hint = served.get("/v1/trade").error(404, "unknown_path")["hint"].clone();
    for path in
        ["GET /v1/trades/recent", "POST /v1/sql", "GET /health", "GET /v1/ohlcv/{timeframe}"]
    {
        assert!(hint.as_str().unwrap().contains(path), "{path} in {hint}");
    }
}

#[test]
fn a_cursor_that_was_changed_or_is_of_another_question_is_refused() {
    let served = Served::seamed();
    let cursor = served.get("/v1/trades?limit=5").json()["pagination"]["cursor"].clone();
    let cursor = cursor.as_str().unwrap().to_owned();
    let next = |path: &str, cursor: &str| served.get(&format!("{path}cursor={cursor}"));
    assert_eq!(next("/v1/trades?limit=9&format=json&", &cursor).data().len(), 9);
    let mut forged = cursor.clone();
    forged.replace_range(3..4, if &cursor[3..4] == "A" { "B" } else { "A" });
    for (path, cursor) in [
        ("/v1/trades?", forged.as_str()),
        ("/v1/trades?", &cursor[..20]),
        ("/v1/trades?", "%00"),
        ("/v1/trades?symbol=BTC-USDT&", &cursor),
        ("/v1/quotes?", &cursor),
    ] {
        next(path, cursor).error(400, "invalid_cursor");
    }
}

#[test]
fn an_answer_has_the_same_rows_in_every_format_plain_and_compressed() {
    let served = Served::seamed();
    let path = "/v1/trades?symbol=BTC-USDT&venue=BINANCE&limit=50";
    let rows = served.get(path).data();
    assert_eq!(rows.len(), 50);
    let lines = served.get(&format!("{path}&format=ndjson"));
    let of_lines = |body: &[u8]| -> Vec<Value> {
        let lines = std::str::from_utf8(body).unwrap().lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(of_lines(&lines.body), rows);
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let meta: Value = serde_json::from_str(lines.header("x-k2-meta")).unwrap();
    assert_eq!(meta["complete"], true);
    let pagination: Value = serde_json::from_str(lines.header("x-k2-pagination")).unwrap();
    assert_eq!(pagination["has_more"], true);

    let csv = served.get_with(path, &[(header::ACCEPT, "text/csv, application/json;q=0.5")]);
    let text = String::from_utf8(csv.body).unwrap();
    assert_eq!(text.lines().count(), 51);
    assert!(text.lines().nth(1).unwrap().contains(rows[0]["price"].as_str().unwrap()));

    let arrow = served.get(&format!("{path}&format=arrow")).body;
    let reader = arrow_ipc::reader::StreamReader::try_new(&arrow[..], None).unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    let parquet = served.get(&format!("{path}&format=parquet")).body;
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
        axum::body::Bytes::from(parquet),
    );
    let stored: Vec<_> = reader.unwrap().build().unwrap().map(Result::unwrap).collect();
    assert_eq!(batches, stored);
    assert_eq!(batches.iter().map(|it| it.num_rows()).sum::<usize>(), 50);

    let packed = |encoding: &str| {
        let packed = served.get_with(path, &[(header::ACCEPT_ENCODING, encoding)]);
        (packed.header("content-encoding").to_owned(), packed.body)
    };
    let (name, zstd) = packed("gzip, zstd;q=0.9");
    assert_eq!(name, "zstd");
    let plain: Value = serde_json::from_slice(&zstd::decode_all(&zstd[..]).unwrap()).unwrap();
    assert_eq!(plain["data"], Value::from(rows.clone()));
    let (name, gzip) = packed("gzip;q=1, zstd;q=0");
    assert_eq!(name, "gzip");
    let plain: Value = serde_json::from_reader(flate2::read::GzDecoder::new(&gzip[..])).unwrap();
    assert_eq!(plain["data"], Value::from(rows));
    served.get_with(path, &[(header::ACCEPT, "image/png")]).error(406, "not_acceptable");
}

#[test]
fn a_pinned_answer_has_a_tag_and_is_not_sent_again() {
    let mut served = Served::seamed();
    let unpinned = served.get("/v1/trades?limit=5");
    assert_eq!(unpinned.header("etag"), "");
    let as_of = escaped(&unpinned.json()["meta"]["as_of"].to_string());
    let path = format!("/v1/trades?limit=5&as_of={as_of}");
    served.job.run(2, 60);
    let first = served.get(&path);
    assert_eq!(first.data(), unpinned.data());
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    served.job.commit();
    let again = served.get_with(&path, &[(header::IF_NONE_MATCH, &format!("\"x\", {tag}"))]);
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), tag);
    // Any answer that there is, which is told from none by looking for it.
    let any = [(header::IF_NONE_MATCH, "*")];
    let again = served.get_with(&path, &any);
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), tag);
    assert_eq!(served.get_with("/v1/trades?limit=5", &any).status, 200);
    served.get_with(&format!("{path}&symbol=NOPE"), &any).error(404, "unknown_symbol");
    let other = path.replace("limit=5", "limit=6");
    assert_eq!(served.get_with(&other, &[(header::IF_NONE_MATCH, &tag)]).status, 200);
}

#[test]
fn queries_of_many_symbols_filter_before_they_are_cut_and_answer_the_fields_asked_for() {
    let served = Served::seamed();
    let median = served.sql(
        "SELECT price FROM trades WHERE symbol = 'BTC-USDT' ORDER BY price LIMIT 1 OFFSET 100",
    );
    let price = median[0]["price"].as_str().unwrap().to_owned();
    let body = json!({
        "symbols": ["BTC-USDT", "SOLUSDT"], "exchanges": ["BINANCE", "binance_usdm"],
        "fields": ["price", "symbol"], "min_price": price, "sides": ["BUY"], "limit": 31,
        "max_quantity": "0.5",
    });
    let (mut rows, mut body) = (Vec::new(), body);
    loop {
        let reply = served.post("/v1/trades/query", &body);
        rows.extend(reply.data());
        let Some(cursor) = reply.json()["pagination"]["cursor"].as_str().map(str::to_owned) else {
            break;
        };
        body["cursor"] = cursor.into();
    }
    let expected = served.sql(&format!(
        "SELECT price, symbol FROM trades WHERE symbol IN ('BTC-USDT', 'SOL-USDT') AND side = 'BUY' \
         AND quantity <= 0.5 AND price >= CAST('{price}' AS DECIMAL(38, 12)) {NEWEST_FIRST}"
    ));
    assert!(expected.len() > 31, "{}", expected.len());
    assert_eq!(rows, expected);
    let quotes = json!({"symbols": ["BTC-USDT"], "min_price": "500", "max_price": "900"});
    let quotes = served.post("/v1/quotes/query", &quotes).data();
    let expected = served.sql(
        "SELECT count(*) AS n FROM quotes WHERE symbol = 'BTC-USDT' AND bid_price >= 500 \
         AND ask_price <= 900",
    );
    assert_eq!(Value::from(quotes.len()), expected[0]["n"]);
    let wrong = json!({"fields": ["prize"], "min_price": "2", "max_price": "1"});
    let error = served.post("/v1/trades/query", &wrong).error(400, "invalid_parameters");
    assert_eq!(error["fields"].as_array().unwrap().len(), 2, "{error}");
}

#[test]
fn a_replay_is_every_row_of_its_window_in_order_of_time_and_sequence() {
    let mut served = Served::seamed();
    let (from, until) = (START + 60 * NANOS_PER_SECOND, START + 600 * NANOS_PER_SECOND);
    let expected = served.sql(&format!(
        "SELECT * FROM quotes WHERE ts_event >= {from} AND ts_event < {until} ORDER BY ts_event, \
         sequence, source, \"partition\", \"offset\""
    ));
    let mut body = json!({
        "data_type": "quotes", "start_time": Nanos(from).to_string(), "end_time": until,
        "batch_size": 50,
    });
    let mut rows = Vec::new();
    loop {
        let reply = served.post("/v1/replay", &body);
        rows.extend(reply.data());
        served.job.run(1, 60);
        served.job.commit();
        match reply.json()["pagination"]["cursor"].as_str() {
            Some(cursor) => body["cursor"] = cursor.into(),
            None => break,
        }
    }
    assert!(expected.len() > 100);
    assert_eq!(rows, expected);
    served.post("/v1/replay", &json!({"data_type": "trades"})).error(400, "invalid_parameters");
}

#[test]
fn pages_of_a_question_as_of_a_moment_are_of_that_moment() {
    let mut served = Served::seamed();
    let first = served.get("/v1/trades?limit=20").json();
    let as_of = first["meta"]["as_of"].to_string();
    let escaped: String = as_of.bytes().map(|byte| format!("%{byte:02x}")).collect();
    served.job.run(1, 60);
    served.job.commit();
    let path = format!("/v1/trades?limit=10&as_of={escaped}");
    let begin = served.get(&path).json();
    let cursor = begin["pagination"]["cursor"].as_str().unwrap().to_owned();
    let next = |path: &str| served.get(&format!("{path}&cursor={cursor}"));
    let all = [&begin, &next(&path).json()].map(|page| page["data"].as_array().unwrap().clone());
    assert_eq!(all.concat(), *first["data"].as_array().unwrap());
    assert_eq!(next("/v1/trades?limit=10").data(), all[1]);
    let recent = "/v1/trades/recent?symbol=BTCUSDT&window_minutes=60&limit=5";
    let window = served.get(&format!("{recent}&as_of={escaped}")).data();
    let same =
        "SELECT ts_event FROM trades WHERE symbol = 'BTC-USDT' ORDER BY ts_event DESC LIMIT 5";
    let body = json!({"sql": same, "as_of": first["meta"]["as_of"]});
    let times =
        |rows: &[Value]| -> Vec<Value> { rows.iter().map(|it| it["ts_event"].clone()).collect() };
    assert_eq!(times(&window), times(&served.post("/v1/sql", &body).data()));
    assert_ne!(times(&window), times(&served.get(recent).data()), "more has come since");
    let other = served.get("/v1/trades?limit=1").json()["meta"]["as_of"].to_string();
    let other: String = other.bytes().map(|byte| format!("%{byte:02x}")).collect();
    next(&format!("/v1/trades?limit=10&as_of={other}")).error(400, "invalid_cursor");
}

#[test]
fn aggregations_equal_the_views_where_both_exist() {
    let served = Served::seamed();
    let hour = 3_600 * NANOS_PER_SECOND;
    let from = Nanos(START).floor(hour).0;
    let until = from + 2 * hour;
    for timeframe in ["1m", "5m", "1h"] {
        let body = json!({
            "symbols": ["BTCUSDT"], "metrics": ["ohlcv", "vwap", "trade_count"],
            "interval": timeframe, "start_time": from, "end_time": until,
        });
        let found = served.post("/v1/aggregations", &body).data();
        let view = served.sql(&format!(
            "SELECT venue, symbol, window_start AS interval_start, window_end AS interval_end, open,
                    high, low, close, volume, vwap, trade_count
             FROM ohlcv_{timeframe} WHERE symbol = 'BTC-USDT'
             ORDER BY window_start, venue, symbol"
        ));
        assert!(view.len() > 1);
        assert_eq!(found, view, "{timeframe}");
    }
}

#[test]
fn a_time_weighted_mean_weighs_each_price_by_how_long_it_stood() {
    let served = Served::seamed();
    let step = 90 * NANOS_PER_SECOND;
    let (from, until) = (START, START + 1_000 * NANOS_PER_SECOND);
    let body = json!({
        "symbols": ["ETH-USDT"], "metrics": ["twap"], "interval": "90s", "start_time": from,
        "end_time": until,
    });
    let found = served.post("/v1/aggregations", &body).data();
    let trades = served.sql(&format!(
        "SELECT ts_event, price FROM trades WHERE symbol = 'ETH-USDT' AND ts_event >= {from} \
         AND ts_event < {until} ORDER BY ts_event, sequence"
    ));
    // No price has stood for longer than until the newest event of its venue.
    let venue = found[0]["venue"].as_str().unwrap();
    let newest = format!("SELECT max(ts_event) AS n FROM trades WHERE venue = '{venue}'");
    let newest = served.sql(&newest)[0]["n"].as_i64().unwrap();
    assert!((from..until).contains(&newest));
    let mut windows: BTreeMap<i64, Vec<(i64, Decimal)>> = BTreeMap::new();
    for trade in trades {
        let time = trade["ts_event"].as_i64().unwrap();
        let price = Decimal::parse(trade["price"].as_str().unwrap().as_bytes()).unwrap();
        windows.entry(time.div_euclid(step) * step).or_default().push((time, price));
    }
    let expected: Vec<(String, String)> = windows
        .iter()
        .map(|(start, prices)| {
            let end = (start + step).min(until).min(newest);
            let ends = prices.iter().skip(1).map(|(time, _)| *time).chain([end]);
            let sum: i128 = prices
                .iter()
                .zip(ends)
                .map(|((time, price), to)| price.0 * i128::from(to - time))
                .sum();
            let length = i128::from(end - prices[0].0);
            let mean = (2 * sum + length) / (2 * length);
            (Nanos(*start).to_string(), Decimal(mean).to_string())
        })
        .collect();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let found: Vec<(String, String)> =
        found.iter().map(|row| (text(row, "interval_start"), text(row, "twap"))).collect();
    assert!(found.len() > 5);
    assert_eq!(found, expected);
}

#[test]
fn a_volume_profile_has_every_trade_at_its_level_once() {
    let served = Served::seamed();
    let body = json!({
        "symbols": ["BTC-USDT"], "venues": ["BINANCE"], "metrics": ["volume_profile"],
        "interval": "1d", "price_step": "0.000000250000", "limit": 20,
        "start_time": START, "end_time": START + 86_400 * NANOS_PER_SECOND,
    });
    let (mut rows, mut body) = (Vec::new(), body);
    loop {
        let reply = served.post("/v1/aggregations", &body);
        rows.extend(reply.data());
        match reply.json()["pagination"]["cursor"].as_str() {
            Some(cursor) => body["cursor"] = cursor.into(),
            None => break,
        }
    }
    let decimal =
        |row: &Value, name: &str| Decimal::parse(row[name].as_str().unwrap().as_bytes()).unwrap();
    let mut expected: BTreeMap<(String, i128), (i128, i64)> = BTreeMap::new();
    for trade in served.sql(&format!(
        "SELECT k2_window(ts_event, 86400000000000) AS day, price, quantity FROM trades \
         WHERE symbol = 'BTC-USDT' AND venue = 'BINANCE' AND ts_event >= {START}"
    )) {
        let day = trade["day"].as_str().unwrap().to_owned();
        let level = decimal(&trade, "price").0.div_euclid(250_000) * 250_000;
        let (volume, count) = expected.entry((day, level)).or_default();
        *volume += decimal(&trade, "quantity").0;
        *count += 1;
    }
    let found: BTreeMap<(String, i128), (i128, i64)> = rows
        .iter()
        .map(|row| {
            let day = row["interval_start"].as_str().unwrap().to_owned();
            let volume = decimal(row, "volume").0;
            let sides = decimal(row, "buy_volume").0 + decimal(row, "sell_volume").0;
            assert_eq!(volume, sides, "the generated trades have a side");
            ((day, decimal(row, "price_level").0), (volume, row["trade_count"].as_i64().unwrap()))
        })
        .collect();
    assert_eq!(found.len(), rows.len(), "a level comes once");
    assert!(found.len() > 20);
    assert_eq!(found, expected);
    for (field, change) in [
        ("metrics", json!({"metrics": ["volume_profile", "vwap"]})),
        ("price_step", json!({"metrics": ["vwap"]})),
        ("price_step", json!({"price_step": "0"})),
        ("interval", json!({"interval": "0s"})),
    ] {
        let mut wrong = body.clone();
        wrong.as_object_mut().unwrap().remove("cursor");
        wrong.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let error = served.post("/v1/aggregations", &wrong).error(400, "invalid_parameters");
        assert_eq!(error["fields"][0]["field"], field);
    }
}

#[test]
fn an_answer_that_may_not_be_partial_is_refused_where_it_would_be() {
    let served = Served::seamed();
    let path = "/v1/trades?limit=5";
    assert_eq!(served.get(path).json()["meta"]["complete"], false, "the job leaps by thousands");
    assert_eq!(served.get(&format!("{path}&on_partial=allow")).status, 200);
    let error = served.get(&format!("{path}&on_partial=error")).error(503, "incomplete");
    assert!(error["message"].as_str().unwrap().contains("open gaps"), "{error}");
    let body = json!({"symbols": ["BTC-USDT", "ETH-USDT"], "on_partial": "error"});
    served.post("/v1/trades/query", &body).error(503, "incomplete");
    for format in ["json", "csv"] {
        let sql = "SELECT * FROM trades";
        let body = json!({"sql": sql, "format": format, "on_partial": "error"});
        served.post("/v1/sql", &body).error(503, "incomplete");
        let body = json!({"sql": sql, "format": format, "on_partial": "allow"});
        assert_eq!(served.post("/v1/sql", &body).status, 200);
    }
    let body = json!({"sql": "SELECT 1", "on_partial": "maybe", "format": "xml", "as_of": 1});
    let error = served.post("/v1/sql", &body).error(400, "invalid_parameters");
    assert_eq!(error["fields"].as_array().unwrap().len(), 3, "each wrong field is told: {error}");
}

#[test]
fn where_the_tables_are_away_memory_alone_answers_if_that_is_allowed() {
    let served = Served::seamed();
    let (all, live) = (
        served.sql(&format!("SELECT * FROM trades {NEWEST_FIRST}")),
        served.get("/v1/stats").data()[0]["rows_live"].as_u64().unwrap() as usize,
    );
    assert!(live > 100 && live < all.len());
    let warehouse = served.job.dir.path().join("warehouse");
    std::fs::rename(&warehouse, served.job.dir.path().join("away")).unwrap();
    let path = "/v1/trades?limit=10000";
    served.get(path).error(503, "storage");
    served.get(&format!("{path}&on_partial=error")).error(503, "storage");
    let reply = served.get(&format!("{path}&on_partial=allow"));
    assert_eq!(reply.data(), all[..live]);
    let meta = &reply.json()["meta"];
    assert_eq!((&meta["complete"], &meta["sources"]["iceberg"]), (&false.into(), &0.into()));
    let warning = meta["warnings"][0].as_str().unwrap();
    assert!(warning.contains("memory alone"), "{warning}");
    let sql = format!("SELECT * FROM trades {NEWEST_FIRST}");
    served.post("/v1/sql", &json!({ "sql": sql })).error(503, "storage");
    for format in ["json", "ndjson"] {
        let body = json!({"sql": sql, "format": format, "on_partial": "allow"});
        let reply = served.post("/v1/sql", &body);
        let rows = match format {
            "json" => reply.data().len(),
            _ => reply.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(),
        };
        assert_eq!((reply.status.as_u16(), rows), (200, live), "{format}");
    }
    std::fs::rename(served.job.dir.path().join("away"), &warehouse).unwrap();
    assert_eq!(served.get(path).data(), all);
}

#[test]
fn sql_is_asked_at_an_earlier_moment_like_everything_else() {
    let served = Served::seamed();
    let id = served.get("/v1/snapshots?table=trades&limit=1").data()[0]["snapshot_id"].clone();
    let sql = "SELECT count(*) AS n FROM trades";
    let count = |body: Value| served.post("/v1/sql", &body).data()[0]["n"].clone();
    let (now, then) =
        (count(json!({"sql": sql})), count(json!({"sql": sql, "at": id.to_string()})));
    assert!(then.as_i64() > Some(0) && then.as_i64() < now.as_i64(), "{then} and {now}");
    assert_eq!(count(json!({"sql": sql, "at": id})), then, "as /v1/snapshots has it");
    for wrong in [json!(-1), json!(1.5), json!(true)] {
        assert_eq!(served.post("/v1/sql", &json!({"sql": sql, "at": wrong})).status, 400);
    }
    for (at, status, code) in [
        ("7", 404, "unknown_snapshot"),
        ("1999-01-01", 404, "unknown_snapshot"),
        ("tag:none", 404, "unknown_tag"),
        ("yesterday", 400, "invalid_moment"),
    ] {
        served.post("/v1/sql", &json!({"sql": sql, "at": at})).error(status, code);
    }
}

#[test]
fn days_are_summed_up_or_said_to_be_empty() {
    let served = Served::seamed();
    let expected = served.sql(
        "SELECT * FROM ohlcv_1d WHERE symbol = 'BTC-USDT' AND window_start = \
                               '2024-08-08T00:00:00Z' ORDER BY venue DESC",
    );
    let reply = served.get("/v1/summary/BTCUSDT/2024-08-08");
    assert_eq!(reply.data(), expected);
    assert_eq!(expected.len(), 2);
    let warning = reply.json()["meta"]["warnings"][0].as_str().unwrap().to_owned();
    assert!(warning.contains("BINANCE, BINANCE_USDM"), "{warning}");
    let one = served.get("/v1/summary/BTC-USDT/2024-08-08?venue=BINANCE");
    assert_eq!((one.data().len(), one.json()["meta"]["warnings"].clone()), (1, json!([])));
    served.get("/v1/summary/BTC-USDT/2023-01-01").error(404, "no_data");
    served.get("/v1/summary/BTC-USDX/2024-08-08").error(404, "unknown_symbol");
    let days = served.get("/v1/summary/BTC-USDT?venue=BINANCE").data();
    assert!(!days.is_empty());
    assert_eq!(days.last(), one.data().first());
}

#[test]
fn bars_of_several_questions_come_together() {
    let served = Served::seamed();
    let body = json!({"queries": [
        {"symbol": "BTC-USDT", "timeframe": "1m", "venue": "BINANCE", "limit": 3},
        {"symbol": "ETHUSDT", "timeframe": "1h"},
        {"symbol": "BTC-USDT", "timeframe": "1m", "start_time": "2030-01-01T00:00:00Z"},
    ]});
    let reply = served.post("/v1/ohlcv/batch", &body);
    let rows = reply.data();
    let of = |query: usize| -> Vec<Value> {
        let mut rows: Vec<Value> =
            rows.iter().filter(|row| row["query"] == query).cloned().collect();
        for row in &mut rows {
            let row = row.as_object_mut().unwrap();
            assert_eq!(row.remove("timeframe").unwrap(), ["1m", "1h", "1m"][query]);
            row.remove("query");
        }
        rows
    };
    let first = served.get("/v1/ohlcv/1m?symbol=BTC-USDT&venue=BINANCE&limit=3");
    assert_eq!(of(0), first.data());
    assert_eq!(of(1), served.get("/v1/ohlcv/1h?symbol=ETH-USDT").data());
    assert!(of(2).is_empty());
    let json = reply.json();
    assert_eq!(json["pagination"]["has_more"], true);
    assert_eq!(json["meta"]["warnings"], json!(["query 0 has more rows than its limit"]));
    let wrong = json!({"queries": [
        {"symbol": "BTC-USDT", "timeframe": "1m"}, {"timeframe": "7m", "limit": 0},
    ]});
    let error = served.post("/v1/ohlcv/batch", &wrong).error(400, "invalid_parameters");
    let fields: BTreeSet<&str> = error["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["queries[1].limit", "queries[1].symbol", "queries[1].timeframe"].into());
}

#[test]
fn the_catalogue_is_that_of_the_views() {
    let served = Served::seamed();
    let symbols = served.get("/v1/symbols?venue=BINANCE").data();
    assert_eq!(
        symbols,
        served.sql("SELECT * FROM symbols WHERE venue = 'BINANCE' ORDER BY symbol")
    );
    let some = served.get("/v1/symbols?limit=2").json();
    assert_eq!(
        (some["data"].as_array().unwrap().len(), &some["pagination"]["has_more"]),
        (2, &true.into())
    );
    // Pages of all of them, one row at a time, also while more is committed.
    for list in ["/v1/symbols", "/v1/gaps", "/v1/gaps?state=open", "/v1/snapshots?table=trades"] {
        let path =
            |rest: &str| format!("{list}{}{rest}", if list.contains('?') { '&' } else { '?' });
        let all = served.get(&path("limit=1000")).data();
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = served.get(&path(&format!("limit=1{cursor}"))).json();
            found.extend(page["data"].as_array().unwrap().clone());
            match page["pagination"]["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert!(all.len() > 1, "{list}");
        assert_eq!(found, all, "{list}");
    }
    let stats = served.get("/v1/stats").data();
    for row in &stats {
        let table = match row["table"].as_str().unwrap() {
            "gaps" => "gap_changes",
            table => table,
        };
        let count = served.sql(&format!("SELECT count(*) AS n FROM {table}"));
        assert_eq!(row["rows"], count[0]["n"], "{table}");
        assert!(row["rows_live"].as_i64() > Some(0) && row["rows_iceberg"].as_i64() > Some(0));
    }
    assert_eq!(stats.len(), 4);
    let snapshots = served.get("/v1/snapshots?table=trades").data();
    assert!(snapshots.iter().all(|row| row["table"] == "trades") && !snapshots.is_empty());
    let of = |state: &str| served.get(&format!("/v1/gaps?limit=10000{state}")).data();
    let (open, healed, all) = (of("&state=open"), of("&state=healed"), of(""));
    assert!(!open.is_empty() && !healed.is_empty());
    assert_eq!(open.len() + healed.len(), all.len());
    assert_eq!(
        all,
        served.sql(
            "SELECT * FROM gaps ORDER BY revealed_ts DESC, venue DESC, symbol DESC, \
                                data_type DESC, first_missing DESC"
        )
    );
    assert!(open.iter().all(|row| row["healed_ts"].is_null() && all.contains(row)));
    let feeds = served.get("/v1/feeds?venue=BINANCE&data_type=trades").data();
    assert_eq!(
        feeds,
        served.sql(
            "SELECT * FROM feed_health WHERE venue = 'BINANCE' AND \
                                  data_type = 'trades'"
        )
    );
    let health = served.get("/v1/ohlcv/health").data();
    assert_eq!(health.len(), 6 * 2, "of each timeframe and venue");
    assert!(health.iter().all(|row| row["status"] == "stale"), "the newest trade is of 2024");
}

#[test]
fn a_moment_has_the_same_gaps_whether_memory_or_the_tables_tell_it() {
    let mut served = Served::seamed();
    served.job.lose_depth(5, 9);
    assert_eq!(served.get("/v1/gaps?data_type=depth").data().len(), 1);
    for path in [
        "/v1/symbols?limit=3",
        "/v1/symbols?venue=BINANCE",
        "/v1/gaps?state=open",
        "/v1/trades?symbol=BTC-USDT",
    ] {
        let now = served.get(path).json();
        let as_of = escaped(&now["meta"]["as_of"].to_string());
        let then = served.get(&format!("{path}&as_of={as_of}")).json();
        assert_eq!(then["data"], now["data"], "{path}");
        for told in ["gaps", "complete", "warnings", "snapshots"] {
            assert_eq!(then["meta"][told], now["meta"][told], "{told} of {path}");
        }
    }
}

#[test]
fn answers_have_the_columns_that_the_document_says() {
    let served = Served::seamed();
    let document = served.get("/openapi.json").json();
    let asked = [
        ("get", "/v1/trades", "/v1/trades"),
        ("get", "/v1/quotes", "/v1/quotes"),
        ("get", "/v1/trades/recent", "/v1/trades/recent?symbol=BTC-USDT"),
        ("get", "/v1/ohlcv/{timeframe}", "/v1/ohlcv/1m?symbol=BTC-USDT"),
        ("get", "/v1/ohlcv/health", "/v1/ohlcv/health"),
        ("get", "/v1/summary/{symbol}", "/v1/summary/BTC-USDT"),
        ("get", "/v1/summary/{symbol}/{date}", "/v1/summary/BTC-USDT/2024-08-08"),
        ("get", "/v1/symbols", "/v1/symbols"),
        ("get", "/v1/stats", "/v1/stats"),
        ("get", "/v1/snapshots", "/v1/snapshots"),
        ("get", "/v1/gaps", "/v1/gaps?state=open"),
        ("get", "/v1/feeds", "/v1/feeds"),
    ];
    for (method, path, ask) in asked {
        let content = &document["paths"][path][method]["responses"]["200"]["content"];
        let row = &content["application/json"]["schema"]["properties"]["data"]["items"];
        let documented: Vec<&String> = row["properties"].as_object().unwrap().keys().collect();
        let rows = served.get(ask).data();
        let found: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
        assert_eq!(found, documented, "{path}");
    }
    let home = served.get("/");
    assert!(home.header("content-type").starts_with("text/html"));
    let home = String::from_utf8(home.body).unwrap();
    for path in ["docs", "openapi.json", "health"] {
        assert!(home.contains(&format!("href=\"{path}\"")), "{path}");
        assert_eq!(served.get(&format!("/{path}")).status, 200);
    }
    let page = served.get("/docs");
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(String::from_utf8(page.body).unwrap().contains("openapi.json"));
}

/// Whether `schema` of the document allows `text`.
fn is_allowed(served: &Served, schema: &Value, text: &str) -> bool {
    let matches = |pattern: &str| {
        let sql = format!("SELECT '{text}' ~ '{pattern}' AS is_match");
        served.sql(&sql)[0]["is_match"] == true
    };
    let of_format = |format: &str| match format {
        "date-time" => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        "date" => text.parse::<chrono::NaiveDate>().is_ok(),
        other => panic!("{other}"),
    };
    schema["anyOf"].as_array().unwrap().iter().any(|form| {
        let is_text = form["type"] == "string";
        is_text
            && form["pattern"].as_str().is_none_or(matches)
            && form["format"].as_str().is_none_or(of_format)
    })
}

#[test]
fn the_document_allows_exactly_the_moments_that_are_read() {
    let served = Served::seamed();
    let document = served.get("/openapi.json").json();
    let parameters = document["paths"]["/v1/trades"]["get"]["parameters"].clone();
    let start = parameters.as_array().unwrap().iter().find(|it| it["name"] == "start_time");
    let start = start.unwrap()["schema"].clone();
    let body = &document["paths"]["/v1/sql"]["post"]["requestBody"]["content"];
    // It may be null as well.
    let at = body["application/json"]["schema"]["properties"]["at"]["anyOf"][0].clone();
    for (text, is_start, is_at) in [
        ("9223372036854775807", true, true),
        ("9223372036854775806", true, true),
        ("1796022642728000000", true, true),
        ("7554657763645410411", true, true),
        ("0", true, true),
        ("-1", true, false),
        ("-9223372036854775808", true, false),
        ("9223372036854775808", false, false),
        ("9300000000000000000", false, false),
        ("10000000000000000000", false, false),
        ("2024-01-01", true, true),
        ("2024-02-29", true, true),
        ("2023-02-29", false, false),
        ("2024-01-01T10:30Z", true, true),
        ("2024-02-29T23:59-09:30", true, true),
        ("2023-02-29T10:30Z", false, false),
        ("2024-01-01T10:30:00Z", true, true),
        ("2024-01-01T10:30:15.123Z", true, true),
        ("2024-01-01T10:30:15.123456789Z", true, true),
        ("2024-01-01T10:30:00+02:00", true, true),
        ("2024-01-01T24:30Z", false, false),
        ("tag:eod", false, true),
        ("yesterday", false, false),
    ] {
        assert_eq!(is_allowed(&served, &start, text), is_start, "start_time {text}");
        let reply = served.get(&format!("/v1/trades?limit=1&start_time={}", escaped(text)));
        assert_eq!(reply.status == 200, is_start, "start_time {text}: {}", reply.json());
        assert_eq!(is_allowed(&served, &at, text), is_at, "at {text}");
        let reply = served.post("/v1/sql", &json!({"sql": "SELECT 1", "at": text}));
        let is_read = reply.json()["error"]["code"] != "invalid_moment";
        assert_eq!(is_read, is_at, "at {text}: {}", reply.json());
    }
}

#[test]
fn a_snapshot_is_asked_as_it_was_page_by_page() {
    let mut job = Job::new();
    job.run(10, 60);
    job.commit();
    let mut served = Served::of(job);
    let id = served.get("/v1/snapshots?table=trades&limit=1").data()[0]["snapshot_id"].clone();
    let expected =
        served.sql(&format!("SELECT * FROM trades WHERE venue = 'BINANCE' {NEWEST_FIRST}"));
    served.job.run(10, 60);
    let path = format!("/v1/snapshots/{id}/query");
    let mut body = json!({"data_type": "trades", "venue": "BINANCE", "limit": 100});
    let mut rows = Vec::new();
    loop {
        let reply = served.post(&path, &body);
        rows.extend(reply.data());
        assert_eq!(reply.json()["meta"]["sources"]["live"], 0);
        served.job.run(1, 60);
        served.job.commit();
        match reply.json()["pagination"]["cursor"].as_str() {
            Some(cursor) => body["cursor"] = cursor.into(),
            None => break,
        }
    }
    assert!(expected.len() > 100);
    assert_eq!(rows, expected);
    let body = json!({"data_type": "quotes"});
    let error = served.post("/v1/snapshots/7/query", &body).error(404, "unknown_snapshot");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains(char::is_numeric)), "{error}");
    let error = served.post("/v1/snapshots/x/query", &body).error(400, "invalid_parameters");
    assert_eq!(error["fields"][0]["field"], "id");
}

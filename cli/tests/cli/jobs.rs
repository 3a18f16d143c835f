//! Jobs that run while somebody asks, stops or kills them.

use std::fs;
use std::time::{Duration, Instant};

use crate::root::root;
use crate::support::Place;

const MARKET: &[&str] = &[
    "--messages",
    "50000",
    "--symbols",
    "20",
    "--seed",
    "11",
    "--quotes",
    "0.4",
    "--depth",
    "0.1",
    "--receive-time",
    "--reordered",
    "0.01",
    "--late",
    "0.001",
];
const ALL: &[&str] = &[
    "SELECT count(*), sum(quantity), min(\"offset\"), max(\"offset\") FROM trades",
    "SELECT count(*), sum(bid_quantity) FROM quotes",
    "SELECT * FROM ohlcv_1m ORDER BY venue, symbol, window_start",
    "SELECT * FROM ohlcv_1d ORDER BY venue, symbol, window_start",
    "SELECT * FROM latest_trade ORDER BY venue, symbol",
    "SELECT * FROM latest_quote ORDER BY venue, symbol",
    "SELECT * FROM gaps ORDER BY venue, symbol, data_type, first_missing",
    "SELECT * FROM gaps_open ORDER BY venue, symbol, data_type, first_missing",
];

#[test]
fn a_running_job_and_its_tables_give_the_same_answers() {
    let place = Place::new();
    place.generate("market", MARKET);
    let job = place.start("run --data-dir d --input market --listen 127.0.0.1:0");
    wait_until(|| place.ask("SELECT count(*) FROM trades")[0] != "0", "no rows came");
    let read = || place.ask("SELECT count(*), max(\"offset\") FROM trades");
    let mut seen = read();
    wait_until(
        || {
            std::thread::sleep(Duration::from_millis(500));
            let now = read();
            std::mem::replace(&mut seen, now.clone()) == now
        },
        "rows never stopped coming",
    );
    let live: Vec<_> = ALL.iter().map(|sql| place.ask(sql)).collect();
    let ran = job.stop();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("everything that was read is committed"), "{}", ran.stderr);
    assert_eq!(ran.counted("messages"), 50_000);
    assert!(!place.path("d/job.json").exists());
    for (sql, live) in ALL.iter().zip(live) {
        assert_eq!(place.ask(sql), live, "{sql}");
    }
}

#[test]
fn kill_9_loses_nothing_and_doubles_nothing() {
    let reference = Place::new();
    let bytes = reference.generate("market", MARKET);
    reference.take_in("market").ok();
    let place = Place::new();
    place.write("market", &bytes);
    place.write("fast", "[commit]\ninterval_s = 1\n");
    for _ in 0..3 {
        // 72 seconds of market, in about three.
        let job = place
            .start("run --data-dir d --input market --speed 25 --config fast --listen 127.0.0.1:0");
        std::thread::sleep(Duration::from_millis(700));
        job.kill();
        assert!(place.path("d/job.json").exists(), "a killed job cannot tidy up");
    }
    place.take_in("market").ok();
    for sql in ALL {
        assert_eq!(place.ask(sql), reference.ask(sql), "{sql}");
    }
}

#[test]
fn a_job_whose_directory_is_gone_ends_when_it_is_asked_to() {
    let place = Place::new();
    place.write("fast", "[commit]\ninterval_s = 1\n");
    let job = place.start("run --data-dir d --config fast --listen 127.0.0.1:0");
    wait_until(|| place.count("trades") > 0, "the market stands still");
    fs::remove_dir_all(place.path("d")).unwrap();
    // A commit that cannot be is being tried by now.
    std::thread::sleep(Duration::from_secs(2));
    let ran = job.stop();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("gave up, as asked"), "{}", ran.stderr);
}

#[test]
fn a_second_job_on_the_directory_is_refused() {
    let place = Place::new();
    place.generate("market", &["--messages", "1000"]);
    let job = place.start("run --data-dir d --input market --listen 127.0.0.1:0");
    place.take_in("market").refused(1, &["process", "runs a job", "another directory"]);
    assert_eq!(job.stop().code, Some(0));
    place.take_in("market").ok();
}

#[test]
fn a_generated_market_goes_on_where_it_was() {
    let place = Place::new();
    let run = |least: u64| {
        let job = place.start("run --data-dir d --listen 127.0.0.1:0");
        wait_until(|| place.count("trades") > least, "the market stands still");
        let ran = job.stop().ok();
        assert!(ran.stderr.contains("generated market"), "{}", ran.stderr);
        place.count("trades")
    };
    let first = run(100);
    let market = fs::read_to_string(place.path("d/market.json")).unwrap();
    let second = run(first + 100);
    assert!(second > first);
    assert_eq!(fs::read_to_string(place.path("d/market.json")).unwrap(), market);
    let doubled = "SELECT count(*) FROM (SELECT symbol, trade_id FROM trades GROUP BY 1, 2 \
                   HAVING count(*) > 1)";
    assert_eq!(place.ask(doubled), ["0"]);
}

#[test]
fn health_and_metrics_are_served_on_loopback() {
    let place = Place::new();
    place.generate("market", &["--messages", "1000"]);
    let job = place.start("run --data-dir d --input market --listen 127.0.0.1:0");
    let file = fs::read_to_string(place.path("d/job.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&file).unwrap();
    let address = file["address"].as_str().unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{file}");
    let health = get(address, "/health");
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    wait_until(
        || get(address, "/metrics").contains("k2_ingest_records_total 1000"),
        "the metrics never say that all was read",
    );
    assert_eq!(job.stop().code, Some(0));
}

#[test]
fn pyiceberg_and_duckdb_read_the_same_rows() {
    let Some(python) = std::env::var_os("K2_READERS") else {
        assert!(std::env::var_os("CI").is_none(), "CI sets K2_READERS");
        eprintln!("SKIPPED: K2_READERS names no Python with PyIceberg and DuckDB; ./test does");
        return;
    };
    let place = Place::new();
    let bytes = place.generate("whole", MARKET);
    // Two runs, so that the tables have several snapshots.
    place.write("market", &bytes[..bytes.len() / 2]);
    place.take_in("market").ok();
    place.write("market", &bytes);
    place.take_in("market").ok();
    let read = std::process::Command::new(python)
        .arg(root().join("scripts/read_tables.py"))
        .arg(place.path("d"))
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let read: serde_json::Value = serde_json::from_slice(&read.stdout).unwrap();
    assert_eq!(read["pyiceberg"], read["duckdb"]);
    for (table, column) in [("trades", "quantity"), ("quotes", "bid_quantity")] {
        let sql = format!("SELECT count(*), sum({column}), sum(\"offset\") FROM {table}");
        let seen = &read["pyiceberg"][table];
        let sum = seen["sum"].as_str().unwrap();
        let expected = format!("{},{sum},{}", seen["rows"], seen["offsets"]);
        assert_eq!(place.ask(&sql), [expected], "{table}");
    }
    assert_eq!(read["pyiceberg"]["rejects"]["rows"], place.count("rejects"));
}

fn get(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[track_caller]
fn wait_until(mut happened: impl FnMut() -> bool, otherwise: &str) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{otherwise}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;

use k2_dataflows::live::{Live, Version};
use k2_sinks::{Lake, LakeConfig};
use serde_json::Value;

use super::*;
use crate::config::{EngineConfig, Limits};

struct Served {
    _dir: tempfile::TempDir,
    server: Server,
    job: Arc<Mutex<JobState>>,
}

fn served(limits: Limits) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::new(Lake::open(LakeConfig::new(dir.path(), "test")).unwrap());
    let live = Arc::new(Live::new(1, lake.pin()));
    live.publish(0, vec![Version { from: lake.next_epoch(), ..Version::default() }], 9);
    let config = EngineConfig { limits, ..EngineConfig::default() };
    let engine = Engine::live(live, lake, config).unwrap();
    let job = Arc::new(Mutex::new(JobState::Running));
    let asked = job.clone();
    let state = ServerState {
        engine,
        metrics: Arc::default(),
        health: Arc::new(move || asked.lock().unwrap().clone()),
        secret: Secret::random(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = ServerConfig { body_bytes_max: 4096, ..ServerConfig::default() };
    Served { _dir: dir, server: Server::start(listener, state, config).unwrap(), job }
}

/// Status, head and body of the answer.
fn send(served: &Served, method: &str, path: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(served.server.address()).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: k2\r\nconnection: close\r\nx-correlation-id: mine\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

fn ask(served: &Served, body: &str) -> (u16, Value) {
    let (status, head, body) = send(served, "POST", "/v1/sql", body);
    assert!(head.contains("x-correlation-id: mine"), "{head}");
    (status, serde_json::from_str(&body).unwrap())
}

#[test]
fn a_question_is_answered_in_the_envelope_and_in_plain_rows() {
    let served = served(Limits::default());
    let (status, answer) = ask(&served, r#"{"sql": "SELECT 1 AS one, 'x' AS text"}"#);
    assert_eq!((status, &answer["success"]), (200, &Value::Bool(true)));
    assert_eq!(answer["data"].to_string(), r#"[{"one":1,"text":"x"}]"#);
    assert_eq!(answer["meta"]["correlation_id"], "mine");
    assert_eq!(answer["pagination"]["has_more"], false);
    let token = answer["meta"]["as_of"].clone();
    let again = serde_json::json!({"sql": "SELECT * FROM trades", "as_of": token}).to_string();
    let (status, answer) = ask(&served, &again);
    assert_eq!((status, &answer["meta"]["as_of"]), (200, &token));
    let csv = r#"{"sql": "SELECT 1 AS one, 'x' AS text", "format": "csv"}"#;
    let (status, head, body) = send(&served, "POST", "/v1/sql", csv);
    assert_eq!((status, &*body), (200, "one,text\n1,x\n"));
    assert!(head.contains("content-type: text/csv"));
    let meta = head.lines().find_map(|line| line.strip_prefix("x-k2-meta: ")).unwrap();
    let meta: Value = serde_json::from_str(meta).unwrap();
    assert_eq!((&meta["complete"], &meta["sources"]["live"]), (&Value::Bool(true), &0.into()));
}

#[test]
fn errors_have_one_envelope_and_a_fitting_status() {
    let limits = Limits { rows_max: 10, ..Limits::default() };
    let served = served(limits);
    let long = format!(r#"{{"sql": "SELECT '{}'"}}"#, "x".repeat(5_000));
    let wrong = [
        (r#"{"sql": "SELECT * FROM trade"}"#, 400, "unknown_table"),
        (r#"{"sql": "SELECT 1", "form": 1}"#, 400, "invalid_parameters"),
        (r#"{"sql": 1, "format": "xml", "form": 1}"#, 400, "invalid_parameters"),
        ("", 400, "invalid_parameters"),
        (long.as_str(), 413, "body_too_large"),
        (r#"{"sql": "SELECT * FROM generate_series(1, 100)"}"#, 422, "limit_rows"),
    ];
    for (body, status, code) in wrong {
        let (found, answer) = ask(&served, body);
        assert_eq!((found, answer["error"]["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(answer["success"], false);
        assert!(answer["error"]["message"].is_string());
    }
    let (status, _, body) = send(&served, "GET", "/v1/nothing", "");
    assert!(status == 404 && body.contains("unknown_path"), "{body}");
    let (status, _, body) = send(&served, "GET", "/v1/sql", "");
    assert!(status == 405 && body.contains("wrong_method"), "{body}");
}

#[test]
fn health_is_that_of_the_job() {
    let served = served(Limits::default());
    let (status, _, body) = send(&served, "GET", "/health", "");
    let health: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &health["status"]), (200, &Value::from("healthy")));
    *served.job.lock().unwrap() = JobState::Stalled { reason: "the disk is full".into() };
    let (status, _, body) = send(&served, "GET", "/health", "");
    let health: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &health["status"]), (503, &Value::from("unhealthy")));
    assert_eq!(health["dependencies"]["job"]["reason"], "the disk is full");
}

#[test]
fn metrics_are_those_of_the_job_of_queries_and_of_the_process() {
    let served = served(Limits::default());
    ask(&served, r#"{"sql": "SELECT 1"}"#);
    let (status, _, body) = send(&served, "GET", "/metrics", "");
    assert_eq!(status, 200);
    for line in ["k2_ingest_records_total 0", "k2_query_total 1", "# TYPE k2_query_total counter"] {
        assert!(body.lines().any(|it| it == line), "{line} in {body}");
    }
    assert!(body.contains("process_resident_memory_bytes "));
}

#[test]
fn a_stopped_server_answers_no_more() {
    let served = served(Limits::default());
    let address = served.server.address();
    assert_eq!(ask(&served, r#"{"sql": "SELECT 1"}"#).0, 200);
    served.server.stop();
    assert!(TcpStream::connect(address).is_err());
}

/// What a chunked body carries, and whether it was sent to its end.
fn unchunked(body: &str) -> (String, bool) {
    let (mut rest, mut content) = (body, String::new());
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return (content, true);
        }
        let Some(piece) = after.get(..length) else { break };
        content.push_str(piece);
        rest = after.get(length + 2..).unwrap_or_default();
    }
    (content, false)
}

#[test]
fn a_long_answer_is_sent_while_it_is_made() {
    // More rows than an answer that is made whole may have.
    let served = served(Limits { rows_max: 1_000, ..Limits::default() });
    let sql = r#"{"sql": "SELECT value AS n FROM generate_series(1, 300000) AS t (value)", "format": "csv"}"#;
    let (status, head, body) = send(&served, "POST", "/v1/sql", sql);
    assert!(status == 200 && head.contains("transfer-encoding: chunked"), "{head}");
    let (content, is_whole) = unchunked(&body);
    assert!(is_whole);
    let rows = content.lines().skip(1).map(|line| line.parse::<u64>().unwrap());
    assert!(rows.eq(1..=300_000));
    let meta = head.lines().find_map(|line| line.strip_prefix("x-k2-meta: ")).unwrap();
    let meta: Value = serde_json::from_str(meta).unwrap();
    assert_eq!((&meta["complete"], &meta["sources"]), (&Value::Bool(true), &Value::Null));
}

#[test]
fn an_answer_that_breaks_off_has_no_end() {
    let served = served(Limits::default());
    let sql = r#"{"sql": "SELECT 1 / (250000 - value) AS n FROM generate_series(1, 300000) AS t (value)",
        "format": "ndjson"}"#;
    let (status, head, body) = send(&served, "POST", "/v1/sql", sql);
    assert!(status == 200 && head.contains("transfer-encoding: chunked"), "{head}");
    let (content, is_whole) = unchunked(&body);
    assert!(!is_whole && content.lines().count() > 20_000);
    let (_, _, metrics) = send(&served, "GET", "/metrics", "");
    assert!(metrics.contains("k2_query_running 0"), "it lets go of its place: {metrics}");
}

#[test]
fn a_client_that_leaves_a_long_answer_ends_it() {
    let served = served(Limits::default());
    let sql = r#"{"sql": "SELECT value AS n FROM generate_series(1, 1000000000) AS t (value)", "format": "csv"}"#;
    let mut stream = TcpStream::connect(served.server.address()).unwrap();
    write!(
        stream,
        "POST /v1/sql HTTP/1.1\r\nhost: k2\r\ncontent-length: {}\r\n\r\n{sql}",
        sql.len()
    )
    .unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    stream.read_exact(&mut [0; 100_000]).unwrap();
    let running = |expected: &str| {
        let line = format!("k2_query_running {expected}\n");
        let is_so = |_: u32| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            send(&served, "GET", "/metrics", "").2.contains(&line)
        };
        assert!((0..2_000).any(is_so), "no {line}");
    };
    running("1");
    drop(stream);
    running("0");
}

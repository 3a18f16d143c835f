//! Keys, scopes and rates, at both doors.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use k2_serve::Access;
use k2_serve::access::{KeyRing, NewKey, Policy};

use super::client::Client;
use super::{Doors, open, psql, psql_with};
use crate::live;
use crate::support::Job;

/// Status, head in lower case, and body.
pub type Reply = (u16, String, String);

pub fn send(doors: &Doors, method: &str, path: &str, headers: &[&str], body: &str) -> Reply {
    let mut stream = TcpStream::connect(doors.http.address()).unwrap();
    let host =
        if headers.iter().any(|it| it.starts_with("host:")) { "" } else { "host: localhost\r\n" };
    let own: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\n{host}{own}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

pub fn get(doors: &Doors, path: &str, headers: &[&str]) -> Reply {
    send(doors, "GET", path, headers, "")
}

pub fn post(doors: &Doors, path: &str, body: &str, headers: &[&str]) -> Reply {
    send(doors, "POST", path, headers, body)
}

pub fn post_sql(doors: &Doors, sql: &str, headers: &[&str]) -> Reply {
    let body = serde_json::json!({ "sql": sql }).to_string();
    post(doors, "/v1/sql", &body, headers)
}

pub fn key_in(directory: &std::path::Path, scopes: &str, rate: Option<&str>) -> NewKey {
    let key = NewKey::generate().unwrap();
    let (scopes, rate) = (scopes.parse().unwrap(), rate.map(|rate| rate.parse().unwrap()));
    KeyRing::update(directory, |ring| ring.add(&key, "", scopes, rate, String::new())).unwrap();
    key
}

fn bearer(key: &NewKey) -> String {
    format!("authorization: Bearer {}", key.text())
}

#[test]
fn a_closed_door_wants_a_key_over_http_and_over_postgresql() {
    let job = Job::new();
    let directory = job.dir.path();
    let (sql, read) = (key_in(directory, "sql", None), key_in(directory, "read", None));
    let doors = open(&live(&job), &Access::of(directory, None, Policy::Keys));
    let (status, head, body) = post_sql(&doors, "SELECT 1", &[]);
    assert!(status == 401 && head.contains("www-authenticate: bearer"), "{head}");
    assert!(body.contains("no_key") && head.contains("x-correlation-id"), "{head}{body}");
    for header in [bearer(&sql), format!("x-api-key: {}", sql.text())] {
        assert_eq!(post_sql(&doors, "SELECT 1", &[&header]).0, 200, "{header}");
    }
    let (status, _, body) = post_sql(&doors, "SELECT 1", &[&bearer(&read)]);
    assert!(status == 403 && body.contains("out_of_scope"), "{body}");
    assert_eq!(get(&doors, "/metrics", &[]).0, 401);
    assert_eq!(get(&doors, "/metrics", &[&bearer(&read)]).0, 200);
    assert_eq!(get(&doors, "/health", &[]).0, 200);
    assert_eq!(post_sql(&doors, "SELECT 1", &["authorization: Bearer k2_wrong"]).0, 401);
    assert_eq!(post_sql(&doors, "SELECT 1", &["authorization: Basic eDp5"]).0, 401);

    let mut guess = Client::raw(doors.pg.address());
    guess.begin(&[("user", "x")]);
    assert_eq!(guess.hear().unwrap(), (b'R', vec![0, 0, 0, 3]));
    guess.message(b'p', b"k2_wrong\0");
    assert_eq!(guess.refusal().0, "28P01");
    assert!(guess.hear().is_none());
    let flags = ["-A", "-t", "-c", "SELECT 1"];
    let Some((is_well, out, error)) = psql_with(&doors, sql.text(), &flags) else { return };
    assert!(is_well && out == "1\n", "{error}");
    let (is_well, _, error) = psql_with(&doors, read.text(), &flags).unwrap();
    assert!(!is_well && error.contains("scope sql"), "{error}");
    let (is_well, _, error) = psql(&doors, &["-w", "-c", "SELECT 1"]).unwrap();
    assert!(!is_well && error.contains("password"), "{error}");
}

#[test]
fn both_doors_take_from_one_rate() {
    let job = Job::new();
    let key = key_in(job.dir.path(), "sql", Some("4/h"));
    let doors = open(&live(&job), &Access::of(job.dir.path(), None, Policy::Keys));
    let mut client = Client::raw(doors.pg.address());
    client.begin(&[("user", "x")]);
    client.until(b'R');
    client.message(b'p', format!("{}\0", key.text()).as_bytes());
    client.until(b'Z');
    for _ in 0..2 {
        assert_eq!(client.tags("SELECT 1"), "TDCZ");
        assert_eq!(post_sql(&doors, "SELECT 1", &[&bearer(&key)]).0, 200);
    }
    let (status, head, body) = post_sql(&doors, "SELECT 1", &[&bearer(&key)]);
    assert!(status == 429 && body.contains("rate_limited"), "{body}");
    let wait = head.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
    assert!((890..=900).contains(&wait.parse::<u64>().unwrap()), "{wait}");
    client.query("SELECT 1");
    let (state, _, hint) = client.refusal();
    assert!(state == "53400" && hint.contains("ask again in"), "{state} {hint}");
}

#[test]
fn a_subscription_ends_with_its_key() {
    let job = Job::new();
    let directory = job.dir.path();
    let (key, other) = (key_in(directory, "stream", None), key_in(directory, "stream", None));
    let doors = open(&live(&job), &Access::of(directory, None, Policy::Keys));
    let subscribe = |key: &NewKey| {
        let mut stream = TcpStream::connect(doors.http.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let head = bearer(key);
        write!(stream, "GET /v1/stream/trades HTTP/1.0\r\nhost: localhost\r\n{head}\r\n\r\n")
            .unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        assert!(lines.any(|line| line == "event: snapshot"));
        lines
    };
    let (mut ends, mut goes_on) = (subscribe(&key), subscribe(&other));
    KeyRing::update(directory, |ring| ring.revoke(key.id(), "today".to_owned())).unwrap();
    assert!(ends.any(|line| line == "event: refused"));
    let told = ends.next().unwrap();
    assert!(told.contains("revoked_key") && told.contains("\"hint\":\""), "{told}");
    assert!(ends.all(|line| line.is_empty()), "nothing comes after that");
    drop(doors);
    assert!(goes_on.any(|line| line == "event: end"), "that of another key ends with the server");
}

#[test]
fn a_page_of_another_site_is_refused_at_an_open_door() {
    let job = Job::new();
    let doors = open(&live(&job), &Access::of(job.dir.path(), None, Policy::Local));
    assert_eq!(post_sql(&doors, "SELECT 1", &[]).0, 200);
    for host in ["host: evil.example", "host: evil.example:8611"] {
        let (status, _, body) = post_sql(&doors, "SELECT 1", &[host]);
        assert!(status == 421 && body.contains("foreign_host"), "{body}");
    }
    let origin = ["origin: http://evil.example", "access-control-request-method: POST"];
    for (method, path) in [("OPTIONS", "/v1/sql"), ("GET", "/health")] {
        let (_, head, _) = send(&doors, method, path, &origin, "");
        assert!(!head.contains("access-control-allow"), "{head}");
    }
    let wrong = ["x-api-key: k2_wrong"];
    assert_eq!(post_sql(&doors, "SELECT 1", &wrong).0, 401, "a wrong key is wrong here too");
}

#[test]
fn headers_have_a_limit() {
    let job = Job::new();
    let doors = open(&live(&job), &Access::open());
    let large = format!("x-large: {}", "x".repeat(20 << 10));
    let (status, _, body) = get(&doors, "/health", &[&large]);
    assert!(status == 431 && body.contains("headers_too_large"), "{status} {body}");
    let many: Vec<String> = (0..200).map(|at| format!("x-{at}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(get(&doors, "/health", &many).0, 431);
}

//! Answers of PostgreSQL's protocol that come in parts: long ones, cursors and copies.

#![allow(clippy::disallowed_methods, reason = "a test that waits needs a clock")]

use std::time::{Duration, Instant};

use k2_serve::{Access, Engine, EngineConfig, Limits};
use serde_json::{Value, json};

use super::client::{Client, fields_of};
use super::{Doors, job, open, psql, python, wait_for_load};
use crate::config;
use crate::support::Job;

/// More rows than are found before the first is sent, and than what is sent at once.
const LONG: u64 = 300_000;
/// Rows without an end, as far as a test can wait.
const FLOOD: &str =
    "SELECT value AS a, value AS b FROM generate_series(1, 100000000000) AS t (value)";

/// Doors of an engine that would hold but a few rows of an answer.
fn narrow() -> (Job, Doors) {
    let (job, _) = job();
    let limits = Limits { rows_max: 1_000, memory_bytes_max: 16 << 20, ..Limits::default() };
    let config = EngineConfig { limits, ..config() };
    let engine = Engine::live(job.live.clone(), job.lake.clone(), config).unwrap();
    let doors = open(&engine, &Access::open());
    (job, doors)
}

/// The tag that a statement is completed with, or the state that it is refused with.
#[track_caller]
fn done(client: &mut Client, sql: &str) -> String {
    client.query(sql);
    let heard = client.until(b'Z');
    let (tag, body) = heard.iter().rev().find(|(tag, _)| b"CE".contains(tag)).unwrap();
    match tag {
        b'C' => String::from_utf8(body[..body.len() - 1].to_vec()).unwrap(),
        _ => fields_of(body).0,
    }
}

#[test]
fn an_answer_may_be_longer_than_any_limit() {
    let (_job, doors) = narrow();
    let mut client = Client::begun(doors.pg.address());
    client.query(&format!("SELECT value FROM generate_series(1, {LONG}) AS t (value)"));
    let (mut rows, mut sum) = (0, 0);
    loop {
        match client.hear().unwrap() {
            (b'D', body) => {
                let value: u64 = std::str::from_utf8(&body[6..]).unwrap().parse().unwrap();
                (rows, sum) = (rows + 1, sum + value);
            }
            (b'Z', _) => break,
            (b'E', body) => panic!("{:?}", fields_of(&body)),
            _ => {}
        }
    }
    assert_eq!((rows, sum), (LONG, LONG * (LONG + 1) / 2));
    wait_for_load(&doors, 0);
}

#[test]
fn an_answer_that_breaks_off_ends_with_why() {
    let (_job, doors) = narrow();
    let mut client = Client::begun(doors.pg.address());
    let sql = format!("SELECT 1 / (200000 - value) FROM generate_series(1, {LONG}) AS t (value)");
    client.query(&sql);
    let heard = client.until(b'Z');
    let rows = heard.iter().filter(|(tag, _)| *tag == b'D').count();
    assert!((20_000..200_000).contains(&rows), "{rows}");
    let (tag, body) = &heard[heard.len() - 2];
    assert_eq!((*tag, fields_of(body).0.as_str()), (b'E', "22012"));
    assert_eq!(done(&mut client, "SELECT 1"), "SELECT 1");
    let wide = "SELECT repeat('x', 20000000) FROM generate_series(1, 3)";
    assert_eq!(done(&mut client, wide), "53200");
}

#[test]
fn a_client_that_reads_nothing_can_stop_what_it_asked_for() {
    let (_job, doors) = narrow();
    let mut client = Client::begun(doors.pg.address());
    client.query(FLOOD);
    // Until the connection is full, and whatever is between has no more room.
    wait_for_load(&doors, 1);
    std::thread::sleep(Duration::from_millis(500));
    let cancel = [80_877_102, client.number, client.secret].map(u32::to_be_bytes).concat();
    Client::raw(doors.pg.address()).packet(&cancel);
    wait_for_load(&doors, 0);
    let heard = client.until(b'Z');
    let (tag, body) = &heard[heard.len() - 2];
    assert_eq!((*tag, fields_of(body).0.as_str()), (b'E', "57014"), "not a row was cut in two");
    assert!(heard.iter().filter(|(tag, _)| *tag == b'D').count() > 1_000);
    assert_eq!(done(&mut client, "SELECT 1"), "SELECT 1");
    client.query(FLOOD);
    wait_for_load(&doors, 1);
    drop(client);
    wait_for_load(&doors, 0);
}

#[test]
fn the_time_of_a_statement_is_that_of_its_last_row() {
    let (_job, doors) = narrow();
    let mut client = Client::begun(doors.pg.address());
    assert_eq!(done(&mut client, "SET statement_timeout = '700ms'"), "SET");
    let begun = Instant::now();
    assert_eq!(done(&mut client, FLOOD), "57014");
    assert!(begun.elapsed() >= Duration::from_millis(700));
    assert_eq!(done(&mut client, "SELECT 1"), "SELECT 1");
    wait_for_load(&doors, 0);
}

#[test]
fn cursors_go_forward_and_end_with_their_transaction() {
    let (_job, doors) = narrow();
    let mut client = Client::begun(doors.pg.address());
    let declare = |name: &str, hold: &str| {
        format!(
            "DECLARE {name} CURSOR {hold} FOR SELECT value FROM generate_series(1, {LONG}) AS t (value)"
        )
    };
    let steps = [
        (declare("c", ""), "25P01"),
        ("BEGIN".to_owned(), "BEGIN"),
        (declare("C", ""), "DECLARE CURSOR"),
        ("FETCH c".to_owned(), "FETCH 1"),
        ("MOVE 9 FROM \"c\"".to_owned(), "MOVE 9"),
        ("FETCH FORWARD 50000 FROM c".to_owned(), "FETCH 50000"),
        ("SELECT 1".to_owned(), "SELECT 1"),
        (declare("other", ""), "DECLARE CURSOR"),
        ("CLOSE other".to_owned(), "CLOSE CURSOR"),
        ("MOVE FORWARD ALL IN c".to_owned(), "MOVE 249990"),
        ("FETCH ALL FROM c".to_owned(), "FETCH 0"),
        ("COMMIT".to_owned(), "COMMIT"),
        ("FETCH c".to_owned(), "34000"),
        (declare("held", "WITH HOLD"), "DECLARE CURSOR"),
        (declare("held", "WITH HOLD"), "42P03"),
        ("BEGIN".to_owned(), "BEGIN"),
        ("COMMIT".to_owned(), "COMMIT"),
        ("FETCH 3 FROM held".to_owned(), "FETCH 3"),
        ("FETCH PRIOR FROM held".to_owned(), "55000"),
        ("CLOSE held".to_owned(), "CLOSE CURSOR"),
        ("CLOSE held".to_owned(), "34000"),
        ("DECLARE s SCROLL CURSOR FOR SELECT 1".to_owned(), "0A000"),
        ("DECLARE w CURSOR WITH HOLD FOR SELECT wrong".to_owned(), "42703"),
        ("DECLARE w CURSOR WITH HOLD FOR DELETE FROM trades".to_owned(), "25006"),
        ("CLOSE ALL".to_owned(), "CLOSE CURSOR ALL"),
    ];
    for (sql, told) in steps {
        assert_eq!(done(&mut client, &sql), told, "{sql}");
    }
    wait_for_load(&doors, 0);
    // The fourth is sent after the third, with the same digits.
    assert_eq!(done(&mut client, "BEGIN"), "BEGIN");
    assert_eq!(done(&mut client, &declare("c", "")), "DECLARE CURSOR");
    assert_eq!(client.tags("FETCH 2 FROM c"), "TDDCZ");
    client.query("FETCH c");
    assert_eq!(client.until(b'Z')[1].1, [0, 1, 0, 0, 0, 1, b'3']);
}

#[test]
fn psql_reads_in_parts_and_copies() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let question =
        "SELECT symbol, price, conditions, ts, currency FROM trades ORDER BY ts_event, sequence";
    let Some((_, whole, _)) = psql(&doors, &["--csv", "-c", question]) else { return };
    let (is_well, parts, error) =
        psql(&doors, &["--csv", "-v", "FETCH_COUNT=7", "-c", question]).unwrap();
    assert!(is_well && error.is_empty(), "{error}");
    assert_eq!(parts, whole);
    let copy = format!("\\copy ({question}) TO STDOUT CSV HEADER");
    let (is_well, copied, error) = psql(&doors, &["-c", &copy]).unwrap();
    assert!(is_well, "{error}");
    assert_eq!(copied, whole);
    assert!(whole.lines().count() > 100);
    let (is_well, _, error) = psql(&doors, &["-c", "COPY trades FROM STDIN"]).unwrap();
    assert!(!is_well && error.contains("\\copy of psql"), "{error}");
    let (is_well, _, error) = psql(&doors, &["-c", "COPY trades TO '/tmp/trades'"]).unwrap();
    assert!(!is_well && error.contains("\\copy of psql"), "{error}");
}

#[test]
fn psycopg_reads_through_cursors_and_copies() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let sql = "SELECT symbol, price, ts, conditions, currency, side = 'BUY' AS bought FROM trades \
               WHERE sequence > %s ORDER BY ts_event, sequence";
    let ask = |how: &str, binary: bool| json!({"sql": sql, "parameters": [["as it is", 3]], "how": how, "binary": binary});
    let copy = |options: &str| {
        let sql = format!("COPY ({}) TO STDOUT {options}", sql.replace("%s", "3"));
        json!({"sql": sql, "how": "copy", "binary": options == "(FORMAT binary)"})
    };
    let questions = [
        ask("whole", false),
        ask("whole", true),
        ask("cursor", false),
        ask("cursor", true),
        copy(""),
        copy("(FORMAT binary)"),
    ];
    let address = format!("postgresql://somebody@{}/k2", doors.pg.address());
    let Some(answers) = python("ask_with_psycopg.py", &[&address], &questions) else { return };
    let rows =
        |at: usize| answers[at]["rows"].as_array().unwrap_or_else(|| panic!("{}", answers[at]));
    assert!(rows(0).len() > 100);
    for (at, question) in questions.iter().enumerate() {
        assert_eq!(rows(at), rows(0), "{question}");
    }
    let types = |at: usize| -> &Value { &answers[at]["types"] };
    assert_eq!(types(2), types(0));
    assert_eq!(types(3), types(0));
}

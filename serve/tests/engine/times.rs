//! Times are answered as PostgreSQL answers them.

use k2_serve::{Engine, Request};

use super::{ask, live, offline, rows};
use crate::support::Job;

/// What PostgreSQL has answered.
const ANSWERS: &str = include_str!("times.txt");

/// The value of the column `x` of the one row.
fn value_of(engine: &Engine, expression: &str) -> String {
    let lines = rows(engine, &format!("SELECT {expression} AS x"));
    let row: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    match &row["x"] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A number without the zeros at its end.
fn number(text: &str) -> String {
    let is_broken = text.contains('.');
    let text = if is_broken { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    text.to_owned()
}

/// A time of ours as PostgreSQL writes it.
fn time(text: &str) -> String {
    let (clock, zone) = text.strip_suffix('Z').map_or((text, ""), |clock| (clock, "+00"));
    format!("{}{zone}", number(&clock.replace('T', " ")))
}

#[test]
fn times_are_answered_as_by_postgresql() {
    let job = Job::new();
    let engine = live(&job);
    let (mut kind, mut asked, mut wrong) = ("", 0, Vec::new());
    for line in ANSWERS.lines() {
        if let Some(next) = line.strip_prefix("## ") {
            kind = next;
        }
        let Some((expression, expected)) = line.split_once(" => [") else { continue };
        let expected = expected.strip_suffix(']').unwrap();
        let found = value_of(&engine, expression);
        let found = match kind {
            "numbers" => number(&found),
            "times" => time(&found),
            _ => found,
        };
        asked += 1;
        if found != expected {
            wrong.push(format!("{expression}: {found:?} and not {expected:?}"));
        }
    }
    assert!(asked > 150, "{asked} questions");
    assert!(wrong.is_empty(), "{} of {asked} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn buckets_begin_where_those_of_timescaledb_do() {
    let job = Job::new();
    let engine = live(&job);
    let answers = [
        ("time_bucket('5 minutes', TIMESTAMPTZ '2024-08-09 13:47:30Z')", "2024-08-09 13:45:00+00"),
        ("time_bucket('7 days', TIMESTAMPTZ '2024-08-09 13:47:30Z')", "2024-08-05 00:00:00+00"),
        ("time_bucket(INTERVAL '5 days', TIMESTAMP '2024-08-09 13:47:30')", "2024-08-09 00:00:00"),
        ("time_bucket('3 months', TIMESTAMPTZ '2024-08-09 13:47:30Z')", "2024-07-01 00:00:00+00"),
        (
            "time_bucket('1 hour', TIMESTAMP '2024-08-09 13:47:30', \
             TIMESTAMP '2024-01-01 00:30:00')",
            "2024-08-09 13:30:00",
        ),
    ];
    for (expression, expected) in answers {
        assert_eq!(time(&value_of(&engine, expression)), expected, "{expression}");
    }
}

#[test]
fn the_present_has_the_names_of_postgresql() {
    let job = Job::new();
    let engine = live(&job);
    let same = [
        "now() = clock_timestamp()",
        "now() = statement_timestamp()",
        "now() = transaction_timestamp()",
        "localtimestamp = now() AT TIME ZONE 'UTC'",
        "age(TIMESTAMP '2024-08-09') = age(current_date, TIMESTAMP '2024-08-09')",
        "extract(second FROM now()) < 60",
    ];
    for expression in same {
        assert_eq!(value_of(&engine, expression), "true", "{expression}");
    }
}

#[test]
fn times_of_tables_and_views_are_computed_with() {
    let mut job = Job::new();
    job.run(10, 60);
    job.commit();
    // Both of microseconds and of nanoseconds, from memory and from files.
    for engine in [live(&job), offline(&job)] {
        let counts = [
            (
                "trades",
                "extract(epoch FROM ts) = date_part('epoch', ts) AND \
                 extract(epoch FROM ts) * 1000000 = ts_event / 1000",
            ),
            ("trades", "ts AT TIME ZONE 'UTC' AT TIME ZONE 'UTC' = ts"),
            ("trades", "ts AT TIME ZONE 'Asia/Tokyo' = ts AT TIME ZONE 'UTC' + INTERVAL '9 hours'"),
            ("trades", "date_trunc('day', ts, 'UTC') = date_trunc('day', ts)"),
            ("trades", "to_char(ts, 'YYYY-MM-DD HH24:MI:SS') = to_char(ts, '%Y-%m-%d %H:%M:%S')"),
            ("ohlcv_1m", "time_bucket('1 minute', window_start) = window_start"),
            ("ohlcv_1m", "extract(second FROM window_start) = 0"),
            ("ohlcv_1m", "window_start + 2 * INTERVAL '30 seconds' > window_start"),
        ];
        for (table, condition) in counts {
            let of = |filter: &str| {
                rows(&engine, &format!("SELECT count(*) AS n FROM {table} WHERE {filter}"))
            };
            assert_eq!(of(condition), of("true"), "{condition}");
            assert_ne!(of(condition), [r#"{"n":0}"#], "{condition}");
        }
        let patterns = "SELECT DISTINCT to_char(ts, p) = to_char(ts, 'YYYY') AS x FROM trades, \
                        (VALUES ('YYYY'), ('%Y')) AS v (p)";
        assert_eq!(rows(&engine, patterns), [r#"{"x":true}"#], "a pattern for each row");
    }
}

#[test]
fn what_is_no_zone_and_no_pattern_is_told() {
    let mut job = Job::new();
    job.run(3, 20);
    job.commit();
    let wrong = [
        ("ts AT TIME ZONE 'Mars/Olympus'", "unknown_time_zone", "is not known"),
        ("ts AT TIME ZONE '+02'", "unknown_time_zone", "east or west"),
        ("date_trunc('day', ts, 'Mars')", "unknown_time_zone", "is not known"),
        ("date_trunc('eon', ts, 'UTC')", "invalid_query", "no part of a time"),
        ("to_char(price, 'L999')", "not_supported", "to_char of numbers"),
        ("to_char(INTERVAL '1 day', 'Month')", "cannot_compute", "of dates alone"),
        ("make_timestamp(2024, 2, 30, 0, 0, 0)", "cannot_compute", "out of range"),
        ("INTERVAL '1 day' / 0", "cannot_compute", "divide by zero"),
    ];
    for engine in [live(&job), offline(&job)] {
        for (expression, code, message) in wrong {
            let sql = format!("SELECT {expression} AS x FROM trades");
            let error = ask(&engine, Request::new(&*sql)).unwrap_err();
            assert_eq!(error.code(), code, "{sql}: {error}");
            assert!(error.message().contains(message), "{sql}: {error}");
        }
        let sql = "SELECT count(*) FROM trades WHERE ts AT TIME ZONE 'Mars' > '2024-01-01'";
        let error = ask(&engine, Request::new(sql)).unwrap_err();
        assert_eq!(error.code(), "unknown_time_zone", "{error}");
    }
}

#[test]
fn what_is_null_stays_null() {
    let job = Job::new();
    let engine = live(&job);
    let nothing = [
        "extract(second FROM NULL::TIMESTAMP)",
        "NULL::TIMESTAMP AT TIME ZONE 'Europe/Berlin'",
        "timezone(NULL, now())",
        "date_trunc('day', NULL::TIMESTAMPTZ, 'Europe/Berlin')",
        "to_char(NULL::TIMESTAMP, 'YYYY')",
        "to_char(now(), NULL)",
        "age(NULL::TIMESTAMP, now())",
        "make_timestamp(2024, NULL, 1, 0, 0, 0)",
        "NULL::INTERVAL * 2",
        "time_bucket('1 hour', NULL::TIMESTAMP)",
    ];
    for expression in nothing {
        assert_eq!(value_of(&engine, expression), "null", "{expression}");
    }
}

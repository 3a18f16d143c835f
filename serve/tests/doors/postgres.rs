//! PostgreSQL's protocol, through psql, psycopg and byte by byte.

#![allow(clippy::disallowed_methods, reason = "a test that waits needs a clock")]

use std::time::{Duration, Instant};

use k2_serve::{Access, Concurrency, Engine, EngineConfig, Limits, PgConfig};
use serde_json::{Value, json};

use super::client::{Client, fields_of};
use super::{Doors, ENDLESS, job, open, open_with, psql, python, wait_for_load};
use crate::{config, lines, rows};

/// The answers of psycopg to `questions`; `None` where there is no psycopg.
fn psycopg(doors: &Doors, questions: &[Value]) -> Option<Vec<Value>> {
    let address = format!("postgresql://somebody@{}/k2", doors.pg.address());
    python("ask_with_psycopg.py", &[&address], questions)
}

const VALUES: &str = "SELECT CAST(58000.12 AS DECIMAL(38, 12)) AS price, \
    arrow_cast(1723161600123456, 'Timestamp(Microsecond, Some(\"UTC\"))') AS moment, \
    make_array('@', 'F,I', NULL) AS conditions, X'00ff' AS raw, 7 AS number, true AS flag, \
    'it''s' AS text, NULL AS nothing, CAST(1.5 AS DOUBLE) AS float, DATE '2024-08-09' AS day, \
    INTERVAL '1 month 2 days 3 seconds' AS span, -0.000000000001 AS small";

#[test]
fn psql_shows_the_same_values_as_every_other_door() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let question = "SELECT venue, symbol, trade_id, price, quantity, currency, side, source, \
                    \"offset\" FROM trades ORDER BY source, \"offset\"";
    let flags = ["--csv", "-c", question];
    let Some((is_well, out, error)) = psql(&doors, &flags) else { return };
    assert!(is_well, "{error}");
    let mut csv = Vec::new();
    let answer = crate::answer(&engine, question);
    k2_serve::write_rows(&answer, k2_serve::Format::Csv, &mut csv).unwrap();
    assert_eq!(out, String::from_utf8(csv).unwrap());
    assert!(answer.rows() > 100);
    let (_, out, _) = psql(&doors, &["-A", "-t", "-c", VALUES]).unwrap();
    let expected = "58000.120000000000|2024-08-09 00:00:00.123456+00|{@,\"F,I\",NULL}|\\x00ff|7|t|\
                    it's||1.5|2024-08-09|1 mon 2 days 00:00:03|-0.000000000001\n";
    assert_eq!(out, expected);
}

#[test]
fn psql_finds_tables_and_their_columns() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let Some((is_well, out, error)) = psql(&doors, &["-c", "\\dt"]) else { return };
    assert!(is_well && error.is_empty(), "{error}");
    for table in ["trades", "quotes", "rejects", "gap_changes"] {
        assert!(out.lines().any(|line| line.contains(&format!("| {table} "))), "{table}: {out}");
    }
    assert!(!out.contains("ohlcv_1m"), "{out}");
    let seen = |command: &str, expected: &[&str]| {
        let (is_well, out, error) = psql(&doors, &["-c", command]).unwrap();
        assert!(is_well && error.is_empty(), "{command}: {error}");
        for text in expected {
            assert!(out.contains(text), "{command}: no {text} in\n{out}");
        }
    };
    seen("\\d trades", &["numeric(38,12)", "timestamp with time zone", "text[]", "not null"]);
    seen("\\d+ trades", &["conditions", "bigint"]);
    seen("\\d ohlcv_1m", &["View \"market_data.ohlcv_1m\"", "vwap", "boolean"]);
    seen("\\d+ ohlcv_1m", &["numeric(38,12)"]);
    seen("\\d", &["ohlcv_1m", "view", "trades", "table"]);
    for command in ["\\d+", "\\dt+", "\\dn+", "\\l+", "\\dp", "\\dD", "\\dFt"] {
        seen(command, &[]);
    }
    seen("\\dv", &["feed_health"]);
    seen("\\dn", &["market_data"]);
    seen("\\l", &["k2", "UTF8"]);
    seen("\\du", &["k2"]);
    seen("\\df", &["0 rows"]);
    seen("\\dT", &[]);
    seen("\\conninfo", &["k2"]);
    seen("SHOW TABLES", &["ohlcv_1m"]);
    seen("SELECT version()", &["PostgreSQL 15.0 (K2"]);
}

#[test]
fn psql_is_told_what_was_wrong_and_what_was_meant() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let wrong = [
        ("SELECT * FROM trade", "42P01", "did you mean trades?"),
        ("SELECT pric FROM trades", "42703", "did you mean price?"),
        ("SELECT coutn(*) FROM trades", "42883", "did you mean count?"),
        ("SELEC 1", "42601", ""),
        ("DELETE FROM trades", "25006", "only SELECT"),
        ("WITH x AS (DELETE FROM trades RETURNING *) SELECT * FROM x", "25006", "read-only"),
        ("SELECT 1/0", "22012", ""),
        ("SELECT 1e30::decimal(38,6) * 1e10::decimal(38,6)", "22003", ""),
        ("SELECT 9223372036854775807 + 1", "22003", ""),
        ("SELECT sequence % 0 FROM trades", "22012", ""),
        ("SELECT CAST(symbol AS INT) FROM trades", "22P02", ""),
        ("SELECT count(*) FROM trades WHERE price > 'dear'", "22P02", ""),
        ("SELECT count(*) FROM trades WHERE ts > 'soon'", "22007", ""),
        ("SELECT '2024-13-01'::date", "22007", ""),
        ("SELECT 70000::smallint", "22003", ""),
        ("SET nothing_like_it = 1", "42704", "SHOW ALL"),
    ];
    for (sql, state, hint) in wrong {
        let Some((is_well, _, error)) = psql(&doors, &["-v", "VERBOSITY=verbose", "-c", sql])
        else {
            return;
        };
        assert!(!is_well && error.contains(&format!("ERROR:  {state}: ")), "{sql}: {error}");
        assert!(error.contains(hint), "{sql}: {error}");
    }
    let several = "SELECT 1 AS one; SET application_name = 'x'; SELECT 2 AS two;";
    let (is_well, out, _) = psql(&doors, &["-A", "-t", "-c", several]).unwrap();
    assert!(is_well && out == "1\nSET\n2\n", "{out}");
}

#[test]
fn psql_hears_that_an_answer_is_not_complete() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let Some((_, _, error)) = psql(&doors, &["-c", "SELECT count(*) FROM trades"]) else { return };
    let expected = ["NOTICE:  the answer is not complete; snapshot ", "open gaps"];
    assert!(expected.iter().all(|text| error.contains(text)), "{error}");
    let quiet = ["-c", "SET k2.notices = off", "-c", "SELECT count(*) FROM trades"];
    assert_eq!(psql(&doors, &quiet).unwrap().2, "");
    let all = ["-c", "SET k2.notices = 'all'", "-c", "SELECT 1"];
    assert!(psql(&doors, &all).unwrap().2.contains("NOTICE:  the answer is complete"));
}

#[test]
fn psycopg_gets_each_value_as_its_own_type_in_text_and_in_binary() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let questions = [false, true].map(|binary| json!({ "sql": VALUES, "binary": binary }));
    let Some(answers) = psycopg(&doors, &questions) else { return };
    assert_eq!(answers[0]["rows"], answers[1]["rows"], "text and binary");
    let types = [
        "numeric(38,12)",
        "timestamptz",
        "text[]",
        "bytea",
        "int8",
        "bool",
        "text",
        "text",
        "float8",
        "date",
        "interval",
    ];
    let told = answers[0]["types"].as_array().unwrap();
    assert_eq!(told[..types.len()], types.map(Value::from));
    let values = answers[0]["rows"][0].as_array().unwrap();
    let expected = [
        "Decimal('58000.120000000000')",
        "datetime.datetime(2024, 8, 9, 0, 0, 0, 123456, tzinfo=datetime.timezone.utc)",
        "['@', 'F,I', None]",
        "b'\\x00\\xff'",
        "7",
        "True",
        "\"it's\"",
        "None",
        "1.5",
        "datetime.date(2024, 8, 9)",
        "datetime.timedelta(days=32, seconds=3)",
    ];
    for (value, expected) in values.iter().zip(expected) {
        assert_eq!(value, expected);
    }
    assert_eq!(values[11], "Decimal('-1E-12')");
}

#[test]
fn psycopg_binds_parameters_of_all_kinds() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let price = rows(&engine, "SELECT max(price) AS p FROM trades")[0]
        .split('"')
        .nth(3)
        .unwrap()
        .to_owned();
    let counted = |filter: &str| {
        let line =
            rows(&engine, &format!("SELECT count(*) AS n FROM trades WHERE {filter}")).remove(0);
        line.trim_start_matches("{\"n\":").trim_end_matches('}').to_owned()
    };
    let moment = "2024-08-08T23:55:00+00:00";
    let any = |sql: &str, parameters: Value| json!({"sql": format!("SELECT count(*) FROM trades WHERE {sql}"), "parameters": parameters});
    let text = |value: &str| json!(["as it is", value]);
    let cases = [
        (any("symbol = %s", json!([text("BTCUSDT")])), "symbol = 'BTC-USDT'".to_owned()),
        (
            any("symbol = ANY(%s)", json!([["as it is", ["BTC-USDT", "ETH-USDT"]]])),
            "symbol IN ('BTC-USDT', 'ETH-USDT')".to_owned(),
        ),
        (any("price = %s", json!([["Decimal", price]])), format!("price = {price}")),
        (any("sequence > %s", json!([["as it is", 150]])), "sequence > 150".to_owned()),
        (any("price > %s", json!([["as it is", 0.5]])), "price > 0.5".to_owned()),
        (any("ts >= %s", json!([["datetime", moment]])), format!("ts >= '{moment}'")),
        (any("ts >= %s", json!([text(moment)])), format!("ts >= '{moment}'")),
        (
            any("side = %s AND venue <> %s", json!([text("BUY"), text("it's")])),
            "side = 'BUY'".to_owned(),
        ),
        (
            any("currency IS NOT DISTINCT FROM %s", json!([["as it is", null]])),
            "currency IS NULL".to_owned(),
        ),
    ];
    let prepared = |question: &Value| {
        let mut question = question.clone();
        question["prepare"] = true.into();
        question["binary"] = true.into();
        question
    };
    let questions = cases.iter().flat_map(|(question, _)| [question.clone(), prepared(question)]);
    let Some(answers) = psycopg(&doors, &questions.collect::<Vec<_>>()) else { return };
    for (at, (question, filter)) in cases.iter().enumerate() {
        for answer in &answers[2 * at..2 * at + 2] {
            assert_eq!(answer["rows"][0][0], counted(filter), "{question}: {answer}");
        }
    }
    assert_ne!(answers[0]["rows"][0][0], "0");
}

#[test]
fn psycopg_raises_its_own_exceptions_with_state_and_hint() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let questions = [
        json!({"sql": "SELECT * FROM trade"}),
        json!({"sql": "SELECT * FROM trades WHERE price > %s", "parameters": [["as it is", "dear"]]}),
        json!({"sql": "INSERT INTO trades VALUES (1)"}),
        json!({"sql": "SET statement_timeout = 1"}),
        json!({"sql": "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 1000) b"}),
        json!({"sql": "SELECT %s", "parameters": [["as it is", "x"]]}),
    ];
    let Some(answers) = psycopg(&doors, &questions) else { return };
    let told = |at: usize| [&answers[at]["class"], &answers[at]["state"]].map(|it| it.as_str());
    assert_eq!(told(0), [Some("UndefinedTable"), Some("42P01")]);
    assert_eq!(answers[0]["hint"], "did you mean trades?");
    assert_eq!(told(1), [Some("InvalidTextRepresentation"), Some("22P02")]);
    assert_eq!(told(2), [Some("ReadOnlySqlTransaction"), Some("25006")]);
    assert_eq!(told(4), [Some("QueryCanceled"), Some("57014")]);
    assert_eq!(answers[5]["rows"][0][0], "'x'");
}

#[test]
fn a_query_stops_when_its_client_asks_or_leaves() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut client = Client::begun(doors.pg.address());
    client.query(ENDLESS);
    wait_for_load(&doors, 1);
    let mut wrong = Client::raw(doors.pg.address());
    let request =
        |number: u32, secret: u32| [80_877_102, number, secret].map(u32::to_be_bytes).concat();
    wrong.packet(&request(client.number, client.secret.wrapping_add(1)));
    assert!(wrong.hear().is_none());
    wait_for_load(&doors, 1);
    Client::raw(doors.pg.address()).packet(&request(client.number, client.secret));
    let (state, message, _) = client.refusal();
    assert_eq!(state, "57014", "{message}");
    client.until(b'Z');
    assert_eq!(client.tags("SELECT 1"), "TDCZ", "the session goes on");
    client.query(ENDLESS);
    wait_for_load(&doors, 1);
    drop(client);
    wait_for_load(&doors, 0);
}

#[test]
fn sessions_see_stop_and_end_each_other() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let (mut client, mut other) =
        (Client::begun(doors.pg.address()), Client::begun(doors.pg.address()));
    let number = client.number.to_string();
    assert_eq!(client.values("SELECT pg_backend_pid()"), [number.as_str()]);
    assert_eq!(client.values("SET application_name = 'research'"), [""; 0]);
    client.query(ENDLESS);
    wait_for_load(&doors, 1);
    let active = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND usename = 'somebody' \
                  AND application_name = 'research' AND datname = 'k2' AND client_addr = '127.0.0.1' \
                  AND query LIKE 'SELECT count(*) FROM generate_series%' AND query_start <= now()";
    assert_eq!(other.values(active), [number.as_str()]);
    assert_eq!(other.values("SELECT count(*) FROM pg_stat_activity"), ["2"]);
    assert_eq!(other.values("SELECT pg_cancel_backend(4711)"), ["f"]);
    assert_eq!(other.values(&format!("SELECT pg_cancel_backend({number})")), ["t"]);
    assert_eq!(client.refusal().0, "57014");
    client.until(b'Z');
    assert_eq!(client.tags("SELECT 1"), "TDCZ", "the session goes on");
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
    assert_eq!(other.values(end), ["t"]);
    assert_eq!(client.refusal().0, "57P01");
    assert!(client.hear().is_none());
}

#[test]
fn a_question_may_set_what_a_session_has() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut client = Client::begun(doors.pg.address());
    let sql = "SELECT set_config('statement_timeout', '200ms', false), current_setting('jit')";
    assert_eq!(client.values(sql), ["200ms"]);
    assert_eq!(client.values("SHOW statement_timeout"), ["200ms"]);
    client.query(ENDLESS);
    assert_eq!(client.refusal().0, "57014");
    client.until(b'Z');
    client.query("SELECT set_config('client_encoding', 'LATIN1', false)");
    assert_eq!(client.refusal().0, "22023");
}

#[test]
fn what_is_set_in_a_transaction_ends_as_it_does() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut client = Client::begun(doors.pg.address());
    // What is done, and the timeout then.
    let steps = [
        ("SET statement_timeout = '9s'", "9s"),
        ("BEGIN; SET LOCAL statement_timeout = '1s'", "1s"),
        ("COMMIT", "9s"),
        ("BEGIN; SET statement_timeout = '2s'", "2s"),
        ("ROLLBACK", "9s"),
        ("BEGIN; SET statement_timeout = '2s'; SELECT wrong", ""),
        ("COMMIT", "9s"),
        ("BEGIN; SET statement_timeout = '2s'; COMMIT", "2s"),
        ("BEGIN; SET statement_timeout = '3s'; SET LOCAL statement_timeout = '4s'", "4s"),
        ("COMMIT", "3s"),
        ("BEGIN; RESET ALL", "0"),
        ("ROLLBACK", "3s"),
        ("BEGIN; SELECT set_config('statement_timeout', '5s', true)", "5s"),
        ("COMMIT", "3s"),
        ("BEGIN; SELECT set_config('statement_timeout', '5s', true); COMMIT", "3s"),
        ("BEGIN; SELECT set_config('statement_timeout', '5s', false); ROLLBACK", "3s"),
        ("SELECT set_config('statement_timeout', '5s', true)", "3s"),
        ("SET LOCAL statement_timeout = '5s'", "3s"),
    ];
    for (sql, timeout) in steps {
        client.query(sql);
        client.until(b'Z');
        assert_eq!(client.values("SHOW statement_timeout").concat(), timeout, "{sql}");
    }
    client.query("SET LOCAL statement_timeout = '5s'");
    assert_eq!(fields_of(&client.until(b'N').last().unwrap().1).0, "25P01");
    client.until(b'Z');
    assert_eq!(client.tags("SET LOCAL client_encoding = 'LATIN1'"), "EZ");
    // The name of the application is told whenever it changes.
    assert_eq!(client.tags("SET application_name = 'a'"), "SCZ");
    assert_eq!(client.tags("BEGIN; SET LOCAL application_name = 'b'; COMMIT"), "CSCSCZ");
}

#[test]
fn transactions_are_framed_as_drivers_expect() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut client = Client::begun(doors.pg.address());
    let mut state_after = |sql: &str| {
        client.query(sql);
        let heard = client.until(b'Z');
        let tag = heard.iter().find(|(tag, _)| b"CE".contains(tag));
        let told = match tag.unwrap() {
            (b'C', body) => String::from_utf8(body[..body.len() - 1].to_vec()).unwrap(),
            (_, body) => fields_of(body).0,
        };
        (told, char::from(heard.last().unwrap().1[0]))
    };
    let steps = [
        ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "BEGIN", 'T'),
        ("SELECT 1", "SELECT 1", 'T'),
        ("SAVEPOINT a", "SAVEPOINT", 'T'),
        ("SELECT wrong", "42703", 'E'),
        ("SELECT 1", "25P02", 'E'),
        ("ROLLBACK TO a", "ROLLBACK", 'T'),
        ("COMMIT", "COMMIT", 'I'),
        ("BEGIN", "BEGIN", 'T'),
        ("INSERT INTO trades VALUES (1)", "25006", 'E'),
        ("COMMIT", "ROLLBACK", 'I'),
        ("DISCARD ALL", "DISCARD ALL", 'I'),
        ("DEALLOCATE ALL", "DEALLOCATE ALL", 'I'),
        ("SET extra_float_digits = 3", "SET", 'I'),
        ("RESET ALL", "RESET", 'I'),
        ("SELECT 1; SELECT 2 WHERE false", "SELECT 1", 'I'),
    ];
    for (sql, told, state) in steps {
        assert_eq!(state_after(sql), (told.to_owned(), state), "{sql}");
    }
    assert_eq!(client.tags(""), "IZ");
    assert_eq!(client.tags(" ; "), "IZ");
    assert_eq!(client.tags("SHOW server_version"), "TDCZ");
    assert!(client.tags("SHOW ALL").starts_with("TDDDD"));
    assert_eq!(client.tags("SELECT 1; SELECT wrong; SELECT 2"), "TDCEZ");
}

#[test]
fn a_transaction_may_be_of_one_moment() {
    let (mut job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut client = Client::begun(doors.pg.address());
    // The first value of the first row.
    let mut value = |sql: &str| {
        client.query(sql);
        let heard = client.until(b'Z');
        let row = heard.iter().find(|(tag, _)| *tag == b'D');
        row.map(|(_, body)| String::from_utf8(body[6..].to_vec()).unwrap())
    };
    let counts = ["trades", "latest_trade", "ohlcv_1m"]
        .map(|table| format!("SELECT count(*), '{table}' FROM {table}"));
    let level = "SHOW transaction_isolation";
    let one_moment = [
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
        "BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ; BEGIN",
    ];
    for begin in one_moment {
        value(begin);
        let told = value(level).unwrap();
        assert!(told == "repeatable read" || told == "serializable", "{begin}: {told}");
        let mut first = Vec::new();
        for step in 0..3 {
            let counted = counts.each_ref().map(|sql| value(sql).unwrap());
            first.push(counted);
            assert_eq!(first[step], first[0], "{begin}");
            job.run(1, 40);
            if step == 1 {
                job.commit();
            }
        }
        value("COMMIT");
        let later = value(&counts[0]).unwrap();
        assert_ne!(later, first[0][0], "{begin}");
        value("SET default_transaction_isolation = 'read committed'");
    }
    for begin in ["BEGIN", "BEGIN ISOLATION LEVEL READ COMMITTED"] {
        value(begin);
        let first = value(&counts[0]);
        job.run(1, 40);
        assert_ne!(value(&counts[0]), first, "{begin}");
        assert_eq!(value(level).unwrap(), "read committed");
        value("ROLLBACK");
    }
    let mut refused = |sql: &str| {
        client.query(sql);
        let state = client.refusal().0;
        client.until(b'Z');
        state
    };
    assert_eq!(refused("BEGIN ISOLATION LEVEL CHAOS"), "42601");
    assert_eq!(refused("SET default_transaction_isolation = 'chaos'"), "22023");
    let late = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM trades; SET \
                TRANSACTION ISOLATION LEVEL READ COMMITTED";
    client.query(late);
    assert!(
        client.until(b'Z').iter().any(|(tag, body)| *tag == b'E' && fields_of(body).0 == "25001")
    );
}

#[test]
fn a_number_of_rows_may_be_a_text() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut client = Client::begun(doors.pg.address());
    for sql in ["LIMIT '2'", "LIMIT '2' OFFSET '1'", "OFFSET 1 FETCH FIRST 2 ROWS ONLY"] {
        let tags = client.tags(&format!("SELECT sequence FROM trades {sql}"));
        assert!(tags.starts_with("TDDC"), "{sql}: {tags}");
    }
}

#[test]
fn a_cast_tells_the_type_of_a_parameter_and_an_encoding_has_many_names() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    // As asyncpg begins, quotes included.
    let mut client = Client::raw(doors.pg.address());
    client.begin(&[("user", "somebody"), ("client_encoding", "'utf-8'")]);
    client.until(b'Z');
    let sql =
        "SELECT $1::numeric AS a, $2::text[] AS b, $3::timestamptz AS c WHERE 5 = ANY($4::int8[])";
    client.message(b'P', &[texts(&["s", sql]), vec![0, 0]].concat());
    client.message(b'D', b"Ss\0");
    client.message(b'S', b"");
    let heard = client.until(b'Z');
    let types = [1700_u32, 1009, 1184, 1016].map(u32::to_be_bytes).concat();
    assert_eq!(heard[1].1, [vec![0, 4], types].concat(), "{heard:?}");
    let values = ["1.5", "{a,NULL}", "2024-08-09 00:00:00+00", "{4,5}"];
    let values = values.map(|value| {
        [&u32::try_from(value.len()).unwrap().to_be_bytes()[..], value.as_bytes()].concat()
    });
    client.message(
        b'B',
        &[texts(&["", "s"]), vec![0, 0, 0, 4], values.concat(), vec![0, 0]].concat(),
    );
    client.message(b'E', &[0, 0, 0, 0, 0]);
    client.message(b'S', b"");
    let tags: String = client.until(b'Z').iter().map(|(tag, _)| char::from(*tag)).collect();
    assert_eq!(tags, "2DCZ");
}

#[test]
fn statements_are_prepared_and_executed_as_sql() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut client = Client::begun(doors.pg.address());
    let prepare = "PREPARE p (numeric, text) AS SELECT count(*) FROM trades WHERE price > $1 AND \
                   symbol = $2 LIMIT $3";
    assert_eq!(client.tags(prepare), "CZ");
    let asked = "SELECT count(*) FROM trades WHERE price > 0.5 AND symbol = 'BTC-USDT' LIMIT 1";
    let expected = client.values(asked);
    assert_ne!(expected, ["0"]);
    assert_eq!(client.values("EXECUTE p(0.5, 'BTC-USDT', 1)"), expected);
    // A driver that prepares what it sends asks the same question.
    client.message(b'P', &[texts(&["", "EXECUTE p('0.5', 'BTC-USDT', 1)"]), vec![0, 0]].concat());
    client.message(b'B', &[texts(&["", ""]), vec![0; 6]].concat());
    client.message(b'D', b"P\0");
    client.message(b'E', &[0, 0, 0, 0, 0]);
    client.message(b'S', b"");
    let tags: String = client.until(b'Z').iter().map(|(tag, _)| char::from(*tag)).collect();
    // The job has gaps, of which a notice tells.
    assert_eq!(tags, "12TDCNZ");
    let refused = [
        ("EXECUTE p(1)", "42601"),
        ("EXECUTE q", "26000"),
        ("PREPARE p AS SELECT 1", "42P05"),
        ("PREPARE q AS DELETE FROM trades", "25006"),
        ("PREPARE q (nothing) AS SELECT $1", "42704"),
        ("PREPARE q AS SELECT pric FROM trades", "42703"),
    ];
    for (sql, state) in refused {
        client.query(sql);
        assert_eq!(client.refusal().0, state, "{sql}");
        client.until(b'Z');
    }
    assert_eq!(client.tags("DEALLOCATE p"), "CZ");
    client.query("EXECUTE p(0.5, 'BTC-USDT', 1)");
    assert_eq!(client.refusal().0, "26000");
}

#[test]
fn plans_are_asked_for_with_options_in_parentheses() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut client = Client::begun(doors.pg.address());
    let json = client.values("EXPLAIN (COSTS off, FORMAT JSON) SELECT count(*) FROM trades");
    let plan: Value = serde_json::from_str(&json[0]).unwrap();
    assert!(json.len() == 1 && plan[0]["Plan"]["Node Type"].is_string(), "{json:?}");
    let kinds = client.values("EXPLAIN (ANALYZE, BUFFERS) SELECT count(*) FROM trades");
    assert!(kinds.contains(&"Plan with Metrics".to_owned()), "{kinds:?}");
    client.query("EXPLAIN (FORMAT YAML) SELECT 1");
    assert_eq!(client.refusal().0, "0A000");
}

#[test]
fn names_bytes_and_arrows_are_those_of_postgresql() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut client = Client::begun(doors.pg.address());
    let counted =
        "SELECT row_number() OVER (), pg_typeof(row_number() OVER ()) FROM trades LIMIT 1";
    client.query(counted);
    let heard = client.until(b'Z');
    let (_, columns) = heard.iter().find(|(tag, _)| *tag == b'T').unwrap();
    let kind = "row_number".len() + 2 + 1 + 6;
    assert_eq!(columns[kind..kind + 4], 20_u32.to_be_bytes(), "an int8");
    client.query("SELECT arrow_cast(18446744073709551615, 'UInt64')");
    assert_eq!(client.refusal().0, "22003");
    client.until(b'Z');
    let count = client.values("SELECT count(*) FROM trades");
    for table in ["public.trades", "k2.public.trades", "market_data.trades"] {
        assert_eq!(client.values(&format!("SELECT count(*) FROM {table}")), count, "{table}");
    }
    client.query("SELECT count(*) FROM elsewhere.trades");
    let (state, _, hint) = client.refusal();
    assert_eq!((&*state, &*hint), ("42P01", "did you mean market_data.trades?"));
    client.until(b'Z');
    assert_eq!(client.values("SELECT '\\x00ff'::bytea = X'00ff'"), ["t"]);
    let map = "SELECT m ->> 'a', m ->> 'b' IS NULL FROM (SELECT MAP {'a': 'x'} AS m) AS t WHERE m \
               ->> 'a' = 'x' AND m ->> 'b' IS NULL";
    assert_eq!(client.values(map), ["x"]);
    let none = "SELECT count(*) FROM trades WHERE vendor_data ->> 'nothing' IS NOT NULL";
    assert_eq!(client.values(none), ["0"]);
}

#[test]
fn columns_without_a_name_are_called_as_in_postgresql() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut client = Client::begun(doors.pg.address());
    let sql = "SELECT count(*), sum(price), max(price) AS highest, 1 + 1 FROM trades";
    assert_eq!(client.columns(sql), ["count", "sum", "highest", "?column?"]);
    assert_eq!(client.columns("SELECT venue, \"offset\" FROM trades LIMIT 1"), ["venue", "offset"]);
    let sql = "SELECT floor(price), ts::date, '2024-01-01'::date, true, NULL FROM trades LIMIT 1";
    assert_eq!(client.columns(sql), ["floor", "ts", "date", "bool", "?column?"]);
    let sql = "SELECT symbol, symbol, 1 AS n, 2 AS n FROM trades LIMIT 1";
    assert_eq!(client.columns(sql), ["symbol", "symbol", "n", "n"]);
    client.message(b'P', &[texts(&["s", "SELECT count(*) FROM trades"]), vec![0, 0]].concat());
    client.message(b'D', b"Ss\0");
    client.message(b'S', b"");
    let heard = client.until(b'Z');
    assert!(heard.iter().any(|(tag, body)| *tag == b'T' && body[2..].starts_with(b"count\0")));
}

fn texts(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| text.bytes().chain([0])).collect()
}

#[test]
fn the_extended_protocol_pauses_skips_and_describes() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let mut client = Client::begun(doors.pg.address());
    let series =
        "SELECT value FROM generate_series(1, 9) AS t (value) WHERE value <= $1 ORDER BY value";
    client.message(b'P', &[texts(&["s", series]), vec![0, 0]].concat());
    client.message(b'D', b"Ss\0");
    client.message(b'S', b"");
    let heard = client.until(b'Z');
    let tags: Vec<char> = heard.iter().map(|(tag, _)| char::from(*tag)).collect();
    assert_eq!(tags, ['1', 't', 'T', 'Z']);
    assert_eq!(heard[1].1, [0, 1, 0, 0, 0, 20], "one parameter of int8");
    let bind = |value: i64| {
        let value = value.to_be_bytes();
        [texts(&["", "s"]), vec![0, 1, 0, 1, 0, 1, 0, 0, 0, 8], value.into(), vec![0, 1, 0, 1]]
            .concat()
    };
    client.message(b'B', &bind(5));
    client.message(b'E', &[0, 0, 0, 0, 2]);
    client.message(b'E', &[0, 0, 0, 0, 2]);
    client.message(b'E', &[0, 0, 0, 0, 0]);
    client.message(b'S', b"");
    let heard = client.until(b'Z');
    let tags: String = heard.iter().map(|(tag, _)| char::from(*tag)).collect();
    assert_eq!(tags, "2DDsDDsDCZ");
    assert_eq!(heard[7].1, [0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 5], "the fifth, in binary");
    assert_eq!(heard[8].1, b"SELECT 1\0");
    // After an error nothing is answered until the client asks where it stands.
    client.message(b'B', &texts(&["", "nothing"]).into_iter().chain([0; 6]).collect::<Vec<u8>>());
    client.message(b'E', &[0, 0, 0, 0, 0]);
    client.message(b'S', b"");
    let heard = client.until(b'Z');
    assert_eq!((heard.len(), fields_of(&heard[0].1).0.as_str()), (2, "26000"));
    client.message(b'B', &bind(0));
    client.message(b'D', b"P\0");
    client.message(b'E', &[0, 0, 0, 0, 0]);
    client.message(b'C', b"Ss\0");
    client.message(b'S', b"");
    let tags: String = client.until(b'Z').iter().map(|(tag, _)| char::from(*tag)).collect();
    assert_eq!(tags, "2TC3Z");
}

#[test]
fn what_is_no_protocol_is_told_so_and_closed() {
    let (_job, engine) = job();
    let doors = open(&engine, &Access::open());
    let raw = || Client::raw(doors.pg.address());
    let mut old = raw();
    old.packet(&[0, 2, 0, 0]);
    assert_eq!(old.refusal().0, "0A000");
    let mut huge = raw();
    huge.send(&[0x7f, 0xff, 0xff, 0xff]);
    assert_eq!(huge.refusal().0, "08P01");
    let mut browser = raw();
    browser.send(b"GET / HTTP/1.1\r\nhost: k2\r\n\r\n");
    assert_eq!(browser.refusal().0, "08P01");
    let mut later = raw();
    later.packet(&[vec![0, 3, 0, 2], texts(&["user", "x", "_pq_.new", "1"]), vec![0]].concat());
    let heard = later.until(b'Z');
    assert_eq!(heard[0].0, b'v', "version 3.2 is answered with 3.0");
    let mut encrypted = raw();
    encrypted.packet(&80_877_103_u32.to_be_bytes());
    encrypted.begin(&[("user", "x")]);
    let mut answer = Client::begun(doors.pg.address());
    // Its head alone: the rest would meet a closed door, at a moment that nobody knows.
    answer.send(&[&[b'Q'][..], &((1_u32 << 20) + 5).to_be_bytes()].concat());
    assert_eq!(answer.refusal().0, "08P01");
    assert!(answer.hear().is_none());
    let mut malformed = Client::begun(doors.pg.address());
    malformed.message(b'B', b"x");
    assert_eq!(malformed.refusal().0, "08P01");
    let mut calls = Client::begun(doors.pg.address());
    calls.message(b'F', b"x");
    assert_eq!(calls.refusal().0, "0A000");
    let mut german = raw();
    german.begin(&[("user", "x"), ("client_encoding", "LATIN1")]);
    assert_eq!(german.refusal().0, "22023");
    let mut many = Client::begun(doors.pg.address());
    let long = format!("SELECT '{}'", "x".repeat(70 << 10));
    many.query(&long);
    assert_eq!(many.refusal().0, "54001");
}

#[test]
fn there_are_only_so_many_sessions() {
    let (_job, engine) = job();
    let config = PgConfig { sessions_max: 2, ..PgConfig::default() };
    let doors = open_with(&engine, &Access::open(), config);
    let first = Client::begun(doors.pg.address());
    let _second = Client::begun(doors.pg.address());
    let mut third = Client::raw(doors.pg.address());
    third.begin(&[("user", "x")]);
    assert_eq!(third.refusal().0, "53300");
    drop(first);
    let begun = Instant::now();
    loop {
        let mut again = Client::raw(doors.pg.address());
        again.begin(&[("user", "x")]);
        if again.hear().is_some_and(|(tag, _)| tag == b'R') {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "the place is not given back");
    }
}

#[test]
fn one_queue_is_in_front_of_both_doors() {
    let (job, _) = job();
    let concurrency = Concurrency { running_max: 1, waiting_max: 1 };
    let limits = Limits { time_max: Duration::from_secs(60), ..Limits::default() };
    let config = EngineConfig { concurrency, limits, ..config() };
    let engine = Engine::live(job.live.clone(), job.lake.clone(), config).unwrap();
    let doors = open(&engine, &Access::open());
    let mut first = Client::begun(doors.pg.address());
    first.query(ENDLESS);
    wait_for_load(&doors, 1);
    let mut second = Client::begun(doors.pg.address());
    second.query("SELECT 2");
    let begun = Instant::now();
    while !super::keys::get(&doors, "/metrics", &[]).2.contains("k2_query_waiting 1\n") {
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    let (status, head, body) = super::keys::post_sql(&doors, "SELECT 3", &[]);
    assert!(status == 503 && body.contains("too_busy") && body.contains("hint"), "{body}");
    assert!(head.contains("retry-after: 1"), "{head}");
    let mut third = Client::begun(doors.pg.address());
    third.query("SELECT 4");
    assert_eq!(third.refusal().0, "53300");
    drop(first);
    assert_eq!(second.until(b'Z').len(), 4, "its turn comes once the first has left");
    let (status, ..) = super::keys::post_sql(&doors, "SELECT 3", &[]);
    assert_eq!(status, 200);
    assert_eq!(lines(&crate::answer(&engine, "SELECT 1 AS one")), [r#"{"one":1}"#]);
}

//! No question reaches a file, another machine, or a setting, and none writes: at each door.

use k2_serve::Access;
use tonic::Code;

use super::client::Client;
use super::flight::Flights;
use super::keys::post_sql;
use super::open;
use crate::support::Job;
use crate::{live, nested};

/// What each of them would be, if it were answered.
const TRIES: [&str; 39] = [
    "COPY trades TO '{file}'",
    "COPY (SELECT 1) TO '{file}' STORED AS CSV",
    "COPY trades FROM '{file}'",
    "COPY trades FROM STDIN",
    "COPY (SELECT * FROM '{file}') TO STDOUT",
    "COPY (DELETE FROM trades) TO STDOUT",
    "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM '{file}'",
    "COPY trades TO PROGRAM 'id'",
    "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{file}'",
    "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 'http://127.0.0.1:1/x'",
    "CREATE TABLE t AS SELECT * FROM '{file}'",
    "CREATE VIEW v AS SELECT 1",
    "CREATE SCHEMA s",
    "CREATE FUNCTION f() RETURNS INT RETURN 1",
    "DROP TABLE trades",
    "INSERT INTO trades SELECT * FROM trades",
    "UPDATE trades SET price = 1",
    "DELETE FROM trades",
    "TRUNCATE trades",
    "SELECT 1 INTO t",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM '{file}'",
    "SELECT * FROM \"{file}\"",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM read_parquet('{file}')",
    "SELECT * FROM parquet_metadata('{file}')",
    "SELECT * FROM metadata_cache()",
    "SELECT * FROM pg_read_file('{file}')",
    "SELECT pg_read_file('{file}')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_import('{file}')",
    "SELECT * FROM dblink('host=127.0.0.1', 'SELECT 1')",
    "SET datafusion.execution.batch_size = 1",
    "SET datafusion.catalog.location = '/'",
    "RESET datafusion.execution.batch_size",
    "EXPLAIN ANALYZE COPY trades TO '{file}'",
    "WITH x AS (DELETE FROM trades RETURNING *) SELECT * FROM x",
    "PREPARE p AS COPY trades TO '{file}'",
];

#[test]
fn no_question_reaches_a_file_another_machine_or_a_setting() {
    let mut job = Job::new();
    job.run(5, 50);
    job.commit();
    let engine = live(&job);
    let doors = open(&engine, &Access::open());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret.csv");
    std::fs::write(&file, "sesame\nopen\n").unwrap();
    let before = crate::rows(&engine, "SELECT * FROM trades");
    let mut client = Client::begun(doors.pg.address());
    let mut flights = Flights::at(&doors, None);
    for attempt in TRIES {
        let sql = attempt.replace("{file}", file.to_str().unwrap());
        let (status, _, body) = post_sql(&doors, &sql, &[]);
        assert!(status == 400 && !body.contains("sesame"), "{sql}: {status} {body}");
        let refused = flights.ask(&sql).unwrap_err();
        assert!(!refused.message().contains("sesame"), "{sql}: {refused}");
        assert!(flights.prepare(&sql).is_err(), "{sql}");
        client.query(&sql);
        let heard = client.until(b'Z');
        let tags: String = heard.iter().map(|(tag, _)| char::from(*tag)).collect();
        assert_eq!(tags, "EZ", "{sql}");
        let parse = [b"\0", sql.as_bytes(), b"\0\0\0"].concat();
        client.message(b'P', &parse);
        client.message(b'B', &[0; 8]);
        client.message(b'E', &[0, 0, 0, 0, 0]);
        client.message(b'S', b"");
        let heard = client.until(b'Z');
        assert!(heard.iter().any(|(tag, _)| *tag == b'E'), "{sql}: {heard:?}");
        assert!(heard.iter().all(|(tag, _)| !b"DCHd".contains(tag)), "{sql}: {heard:?}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "sesame\nopen\n");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was written");
    assert_eq!(crate::rows(&engine, "SELECT * FROM trades"), before);
}

#[test]
fn hostile_questions_are_refused_and_the_process_lives() {
    let job = Job::new();
    let doors = open(&live(&job), &Access::open());
    let deep = |open: &str, close: &str| {
        format!("SELECT {}1{}", open.repeat(10_000), close.repeat(10_000))
    };
    let huge_list = format!("SELECT 1 WHERE 1 IN ({})", vec!["1"; 200_000].join(","));
    let mut client = Client::begun(doors.pg.address());
    let mut flights = Flights::at(&doors, None);
    for sql in [deep("(", ")"), deep("-", ""), deep("NOT ", ""), deep("(SELECT ", ")"), huge_list] {
        assert_eq!(post_sql(&doors, &sql, &[]).0, 400);
        client.query(&sql);
        let state = client.refusal().0;
        assert!(["42601", "54001", "42000"].contains(&&*state), "{state}");
        client.until(b'Z');
        // One is longer than a message may be.
        let code = flights.ask(&sql).unwrap_err().code();
        assert!([Code::InvalidArgument, Code::OutOfRange].contains(&code), "{code}");
    }
    assert_eq!(client.tags("SELECT 1"), "TDCZ");
    assert!(flights.ask("SELECT 1").is_ok());
}

#[test]
fn questions_that_are_hard_to_plan_are_answered_or_refused_in_time() {
    let job = Job::new();
    let doors = open(&live(&job), &Access::open());
    let forms = [
        "SELECT x FROM (@)",
        "SELECT (@) AS x",
        "SELECT 1 AS x WHERE EXISTS (@)",
        "SELECT 1 AS x WHERE 1 IN (@)",
        "SELECT CASE WHEN (@) > 0 THEN 1 ELSE 2 END AS x",
        "SELECT 1 AS x FROM (SELECT 1 AS y) AS a JOIN (@) AS b ON a.y = b.x",
        "(@) UNION ALL SELECT 1",
    ];
    let one = "SELECT 1 AS x";
    let mut hard = vec![nested(one, 10, "SELECT (@) + (@) AS x")];
    for form in forms {
        assert_eq!(post_sql(&doors, &nested(one, 8, form), &[]).0, 200, "{form}");
        hard.extend([16, 24, 28, 31].map(|times| nested(one, times, form)));
    }
    let chain = |head: &str, part: &str| head.to_owned() + &part.repeat(60_000 / part.len());
    hard.extend([
        chain("SELECT 1", " UNION ALL SELECT 1"),
        chain("SELECT 1", " EXCEPT SELECT 1"),
        chain("SELECT 1", "+1"),
        chain("SELECT 1", "::INT"),
        chain("SELECT [1]", "[1]"),
        chain("SELECT 1 WHERE true", " AND true"),
        chain("SELECT count(*) FROM (SELECT 1)", ",(SELECT 1)"),
    ]);
    // As long as they may be.
    hard.extend([
        "SELECT 1".to_owned() + &"+1".repeat(490),
        "SELECT 1".to_owned() + &"::INT".repeat(490),
        "SELECT levenshtein(repeat('a', 1000000), repeat('b', 1000000))".to_owned(),
        "SELECT regexp_count(repeat('a', 1000000), '.*[^a]|a')".to_owned(),
        "SELECT btrim(repeat('b', 1000000), repeat('a', 1000000) || 'b')".to_owned(),
        "SELECT array_has_any(range(1, 100000), range(100000, 200000))".to_owned(),
        "SELECT count(*) FROM trades GROUP BY CUBE (venue, symbol, raw_symbol, asset_class, \
         trade_id, sequence, ts, ts_event, ts_recv, price, quantity, currency, side, source)"
            .to_owned(),
        "SELECT INTERVAL '1 day'".to_owned() + &" * 1".repeat(490),
        "SELECT symbol".to_owned() + &"||'x'".repeat(490) + " FROM trades",
        "SELECT ts".to_owned() + &" AT TIME ZONE 'UTC'".repeat(240) + " FROM trades",
        "SELECT length(symbol)".to_owned() + &"+1".repeat(490) + " FROM trades",
        "SELECT 1 FROM trades WHERE true".to_owned() + &" OR sequence = 5".repeat(245),
        "SELECT 1".to_owned() + &" UNION ALL SELECT 1".repeat(245),
        "SELECT 1".to_owned() + &" EXCEPT SELECT 1".repeat(45),
    ]);
    // A name for each step, which stands for the step before twice, or in an expression, or once.
    for (count, step) in [
        (20, "SELECT a.x FROM @ AS a JOIN @ AS b ON a.x = b.x"),
        (60, "SELECT (SELECT x FROM @) AS x"),
        (1_500, "SELECT x + 1 AS x FROM @"),
    ] {
        let steps = (0..count)
            .map(|nth| format!(", c{} AS ({})", nth + 1, step.replace('@', &format!("c{nth}"))));
        let steps: String = steps.collect();
        hard.push(format!("WITH c0 AS (SELECT 1 AS x){steps} SELECT x FROM c{count}"));
    }
    for sql in hard {
        let (status, _, body) = post_sql(&doors, &sql, &[]);
        let start: String = sql.chars().take(80).collect();
        assert!([200, 400].contains(&status), "{status} {body}: {start}");
    }
    assert_eq!(post_sql(&doors, "SELECT 1", &[]).0, 200);
}

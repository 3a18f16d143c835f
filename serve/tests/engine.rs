//! The engine against a job in miniature: live, at the seam, and over the tables alone.

mod doors;
#[path = "engine/functions.rs"]
mod functions;
#[path = "engine/pruning.rs"]
mod pruning;
mod support;
#[path = "engine/time_travel.rs"]
mod time_travel;
#[path = "engine/times.rs"]
mod times;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k2_dataflows::live::Group;
use k2_model::{Coordinates, Decimal, Nanos, Origin, Side, Trade, VendorData, time::NANOS_PER_DAY};
use k2_operators::MarketBatch;
use k2_serve::{
    Answer, Engine, EngineConfig, Error, ErrorKind, Format, Limits, Request, write_rows,
};
use k2_sinks::{BatchId, Lake, LakeConfig, Sealed, Table};
use support::racing::Racing;
use support::{Job, START};

const VIEWS: [&str; 16] = [
    "trades",
    "quotes",
    "rejects",
    "gap_changes",
    "gaps",
    "gaps_open",
    "latest_trade",
    "latest_quote",
    "symbols",
    "feed_health",
    "ohlcv_1m",
    "ohlcv_5m",
    "ohlcv_15m",
    "ohlcv_30m",
    "ohlcv_1h",
    "ohlcv_1d",
];

fn config() -> EngineConfig {
    EngineConfig { parallelism: 2, ..EngineConfig::default() }
}

fn live(job: &Job) -> Engine {
    Engine::live(job.live.clone(), job.lake.clone(), config()).unwrap()
}

fn offline(job: &Job) -> Engine {
    Engine::offline(job.lake.clone(), config()).unwrap()
}

fn ask(engine: &Engine, request: Request) -> Result<Answer, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(engine.query(request))
}

fn answer(engine: &Engine, sql: &str) -> Answer {
    ask(engine, Request::new(sql)).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// The rows as lines, in an order of their own.
fn lines(answer: &Answer) -> Vec<String> {
    let mut out = Vec::new();
    write_rows(answer, Format::Ndjson, &mut out).unwrap();
    let mut lines: Vec<String> =
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn rows(engine: &Engine, sql: &str) -> Vec<String> {
    lines(&answer(engine, sql))
}

/// The texts of the column `x`, in an order of their own.
fn texts_of(engine: &Engine, sql: &str) -> Vec<String> {
    let value = |line: &String| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["x"].as_str().unwrap_or("null").to_owned()
    };
    rows(engine, sql).iter().map(value).collect()
}

/// `inner` in itself so many times in the form of `with`, where `@` stands for the inner one.
fn nested(inner: &str, times: usize, with: &str) -> String {
    (0..times).fold(inner.to_owned(), |inner, _| with.replace('@', &inner))
}

fn all_of(view: &str) -> String {
    format!("SELECT * FROM {view}")
}

#[test]
fn live_and_offline_answer_alike_once_everything_is_committed() {
    let mut job = Job::new();
    job.run(20, 60);
    job.commit();
    job.run(15, 60);
    job.commit();
    let (live, offline) = (live(&job), offline(&job));
    for view in VIEWS {
        let (hot, cold) = (rows(&live, &all_of(view)), rows(&offline, &all_of(view)));
        assert!(!hot.is_empty(), "{view} has rows");
        assert_eq!(hot, cold, "{view}");
    }
    let midnight = Nanos(START).floor(NANOS_PER_DAY).0 + NANOS_PER_DAY;
    let before = ["ohlcv_1m", "ohlcv_1h", "ohlcv_1d"].map(|view| rows(&live, &all_of(view)));
    job.forget_bars(Nanos(midnight));
    let after = ["ohlcv_1m", "ohlcv_1h", "ohlcv_1d"].map(|view| rows(&live, &all_of(view)));
    assert_eq!(before, after, "bars that have left memory come from the tables");
}

#[test]
fn conditions_and_schema_ids_are_answered_from_memory_and_from_tables() {
    let questions = [
        "SELECT DISTINCT venue, raw_symbol, conditions FROM trades",
        "SELECT DISTINCT venue, schema_id FROM rejects",
    ];
    let mut job = Job::new();
    job.run(30, 60);
    let live = live(&job);
    let hot = questions.map(|question| rows(&live, question));
    job.commit();
    let offline = offline(&job);
    assert_eq!(hot, questions.map(|question| rows(&offline, question)));
    let conditions =
        r#"{"venue":"BINANCE","raw_symbol":"NOTLISTED","conditions":["@","@","@"]}"#.to_owned();
    assert!(hot[0].contains(&conditions), "{:?}", hot[0]);
    assert!(
        hot[1].contains(&r#"{"venue":"BINANCE_USDM","schema_id":8}"#.to_owned()),
        "{:?}",
        hot[1]
    );
}

#[test]
fn where_the_seam_is_changes_no_answer() {
    let questions = VIEWS.map(all_of).into_iter().chain([
        "SELECT count(*), sum(quantity) FROM trades".to_owned(),
        "SELECT symbol, count(*) FROM trades WHERE venue = 'BINANCE' GROUP BY symbol".to_owned(),
        "SELECT * FROM trades WHERE symbol = 'BTC-USDT' AND sequence > 150".to_owned(),
        "SELECT price FROM trades WHERE ts > '2024-08-08T23:52:00Z' AND ts < \
         '2024-08-09T00:03:00Z' AND symbol IN ('BTC-USDT', 'SOL-USDT')"
            .to_owned(),
        "SELECT * FROM quotes ORDER BY ts_event DESC, offset LIMIT 7".to_owned(),
        "SELECT * FROM ohlcv_1m WHERE window_start >= '2024-08-08T23:55:00Z' AND symbol = \
         'ETH-USDT'"
            .to_owned(),
        "SELECT * FROM latest_trade WHERE symbol = 'BTC-USDT' AND venue = 'BINANCE'".to_owned(),
    ]);
    let questions: Vec<String> = questions.collect();
    let ask_all = |commit_at: &[u64]| {
        let mut job = Job::new();
        for epoch in 0..30 {
            job.run(1, 60);
            if commit_at.contains(&epoch) {
                job.commit();
            }
        }
        let engine = live(&job);
        let answers = questions.iter().map(|question| rows(&engine, question));
        answers.collect::<Vec<_>>()
    };
    let never = ask_all(&[]);
    for commit_at in [&[29][..], &[10], &[3, 4, 20]] {
        for ((question, expected), got) in questions.iter().zip(&never).zip(ask_all(commit_at)) {
            assert_eq!(*expected, got, "{question} with commits at {commit_at:?}");
        }
    }
}

#[test]
fn an_answer_says_what_its_rows_are_rows_of() {
    let mut job = Job::new();
    job.run(10, 50);
    job.commit();
    job.run(5, 50);
    let engine = live(&job);
    let all = answer(&engine, "SELECT * FROM trades");
    let sources = all.meta.sources;
    assert!(sources.iceberg > 0 && sources.live > 0, "{sources:?}");
    assert_eq!(sources.iceberg + sources.live, all.rows() as u64);
    assert_eq!(all.meta.as_of.frontier, job.live.frontier());
    assert_eq!(all.meta.snapshot_id, all.meta.as_of.snapshot_id);
    assert_eq!(all.meta.snapshots.len(), 4);
    assert!(!all.meta.complete, "a leap of 2,000 is a halt");
    assert!(all.meta.gaps.open > 0);
    let counted = answer(&engine, "SELECT count(*) FROM trades");
    assert_eq!(counted.meta.sources, sources);
    let nothing = answer(&engine, "SELECT 1");
    assert!(nothing.meta.complete && nothing.meta.gaps.open == 0);
    let unknown = answer(&engine, "SELECT * FROM trades WHERE symbol = 'NO-SUCH'");
    assert!(unknown.meta.complete);
    let both = [&engine, &offline(&job)].map(|engine| {
        let gaps = answer(engine, "SELECT * FROM trades WHERE symbol = 'BTC-USDT'").meta.gaps;
        gaps.shown.iter().all(|gap| gap.symbol == "BTC-USDT" && gap.data_type == "trades")
    });
    assert_eq!(both, [true, true]);
}

#[test]
fn the_same_question_asked_as_of_an_answer_gets_its_rows_again() {
    let mut job = Job::new();
    job.run(10, 50);
    job.commit();
    job.run(5, 50);
    let engine = live(&job);
    let views = VIEWS.into_iter().filter(|view| *view != "feed_health");
    let first: Vec<Answer> = views.clone().map(|view| answer(&engine, &all_of(view))).collect();
    let check = |engine: &Engine, when: &str| {
        for (view, first) in views.clone().zip(&first) {
            let request = Request::new(all_of(view)).as_of(first.meta.as_of.clone());
            let again = ask(engine, request).unwrap_or_else(|error| panic!("{view}: {error}"));
            assert_eq!(lines(first), lines(&again), "{view} {when}");
            assert_eq!(again.meta.as_of, first.meta.as_of);
        }
    };
    check(&engine, "at once");
    job.run(10, 50);
    check(&engine, "after more rows have come");
    job.commit();
    check(&engine, "after they were committed");
    check(&offline(&job), "from the tables alone");
    let token = first[0].meta.as_of.clone();
    let health = ask(&engine, Request::new("SELECT * FROM feed_health").as_of(token));
    assert_eq!(health.unwrap_err().code(), "no_history");
    job.run(1, 50);
    let ahead = answer(&engine, "SELECT 1").meta.as_of;
    let error = ask(&offline(&job), Request::new("SELECT 1").as_of(ahead)).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "as_of_ahead"));
}

/// Two thousand pins and more, each raced by steps of a job that a seed has chosen.
#[test]
fn a_pin_raced_by_commits_and_trims_shows_each_row_once() {
    let mut pins = 0;
    for seed in 1..=12 {
        let mut racing = Racing::new(seed);
        let mut held = Vec::new();
        while racing.commits < 25 {
            racing.steps(4);
            let pin = racing.pin(6);
            racing.check(&pin);
            pins += 1;
            if pins % 50 == 0 {
                racing.settle();
                held.push((answer(&live(&racing.job), PLACES), pin));
            }
        }
        // Old pins and old tokens show later what they showed then.
        for (first, pin) in held {
            racing.check(&pin);
            let request = Request::new(PLACES).as_of(first.meta.as_of.clone());
            let again = ask(&live(&racing.job), request).unwrap();
            assert_eq!(lines(&first), lines(&again), "seed {seed}");
        }
    }
    assert!(pins > 2_000, "only {pins} pins");
}

/// `FOLLOW-1`: also what was committed and trimmed between two takings, and from the middle on.
#[test]
fn a_follower_raced_by_commits_and_trims_is_given_each_trade_once_in_order() {
    let (mut losses, mut trades) = (0, 0);
    for (seed, bytes_max) in (20..).zip([1 << 20, 1 << 20, 1 << 20, 600, 600, 1]) {
        let mut racing = Racing::new(seed);
        racing.steps(60);
        let follower = racing.job.live.follow(bytes_max);
        let (mut next, mut taken) = (follower.begin(), Vec::new());
        while racing.commits < 25 {
            racing.steps(20);
            let pin = racing.pin(6);
            let took = follower.take(pin.frontier);
            if took.from > next {
                // What was waiting was too much: all before it is told to be missing.
                losses += 1;
                taken.clear();
            }
            let expected = racing.trades_of(took.from..pin.frontier);
            let mut places: Vec<Vec<Coordinates>> = Vec::new();
            for epoch in &took.epochs {
                assert!((took.from..pin.frontier).contains(&epoch.epoch), "seed {seed}");
                places.push(epoch.groups_of(None).flat_map(|group| rows_of(&group)).collect());
            }
            let mut found: Vec<Coordinates> = places.concat();
            found.sort_unstable();
            let mut sorted = expected.clone();
            sorted.sort_unstable();
            assert_eq!(found, sorted, "seed {seed}, {}..{}", took.from, pin.frontier);
            for group in took.epochs.iter().flat_map(|epoch| epoch.groups_of(None)) {
                let of_group = rows_of(&group);
                let mut came = expected.iter().filter(|at| of_group.contains(at));
                assert!(of_group.iter().all(|at| came.next() == Some(at)), "seed {seed}");
            }
            trades += found.len();
            taken.extend(found);
            next = took.from.max(pin.frontier);
        }
        let distinct: BTreeSet<Coordinates> = taken.iter().copied().collect();
        assert_eq!(distinct.len(), taken.len(), "seed {seed}");
    }
    assert!(trades > 1_000 && losses > 10, "{trades} trades, {losses} losses");
}

fn rows_of(group: &Group<'_>) -> Vec<Coordinates> {
    let columns = group.batch.columns();
    group.rows.clone().map(|at| columns.row(group.instrument, at).at()).collect()
}

const PLACES: &str = "SELECT source, \"partition\", \"offset\", price FROM trades";

#[test]
fn a_symbol_is_found_by_the_spelling_of_its_venue() {
    let mut job = Job::new();
    job.run(10, 50);
    job.commit();
    job.run(5, 50);
    let engine = live(&job);
    for view in ["trades", "ohlcv_1m", "latest_trade", "gaps", "symbols"] {
        let canonical = rows(&engine, &format!("SELECT * FROM {view} WHERE symbol = 'BTC-USDT'"));
        let raw = rows(&engine, &format!("SELECT * FROM {view} WHERE symbol = 'BTCUSDT'"));
        assert!(!canonical.is_empty());
        assert_eq!(canonical, raw, "{view}");
        let others = rows(&engine, &format!("SELECT * FROM {view} WHERE symbol <> 'BTCUSDT'"));
        let all = rows(&engine, &all_of(view));
        assert_eq!(others.len() + raw.len(), all.len(), "{view}");
        let list = format!("SELECT * FROM {view} WHERE symbol IN ('BTCUSDT', 'ETH-USDT')");
        let listed = rows(&engine, &list);
        assert!(listed.len() >= raw.len() && listed.len() < all.len(), "{view}");
    }
    let named = answer(&engine, "SELECT symbol = 'BTCUSDT' FROM trades LIMIT 1");
    assert!(named.schema.field(0).name().contains("BTCUSDT"));
}

#[test]
fn what_writes_is_told_that_tables_are_read_only_however_it_is_hidden() {
    let job = Job::new();
    let engine = live(&job);
    for sql in [
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/tmp/x.csv'",
        "DROP TABLE trades",
        "TRUNCATE TABLE trades",
        "ALTER TABLE trades ADD COLUMN x INT",
        "CREATE SCHEMA s",
        "INSERT INTO trades SELECT * FROM trades",
        "UPDATE trades SET price = 1",
        "DELETE FROM trades",
        "COPY trades TO '/tmp/x.csv'",
        "SELECT 1 INTO t",
        "EXPLAIN DELETE FROM trades",
        "WITH x AS (INSERT INTO trades SELECT * FROM trades RETURNING *) SELECT * FROM x",
        "WITH x AS (DELETE FROM trades RETURNING *) SELECT * FROM x",
        "WITH x AS (SELECT * FROM trades) INSERT INTO trades SELECT * FROM x",
        "SELECT * FROM (WITH x AS (UPDATE trades SET price = 1 RETURNING *) SELECT * FROM x)",
    ] {
        let error = ask(&engine, Request::new(sql)).unwrap_err();
        assert_eq!(error.code(), "not_a_query", "{sql}: {error}");
        assert!(error.message().contains("writes, and all tables are read-only"), "{sql}: {error}");
    }
    let error = ask(&engine, Request::new("SET a = 1")).unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("read-only")), "{error}");
}

#[test]
fn a_time_may_leave_its_seconds_out() {
    let mut job = Job::new();
    job.run(3, 10);
    job.commit();
    let engine = offline(&job);
    let all = rows(&engine, "SELECT count(*) AS n FROM trades");
    for time in ["1970-01-01 00:00", "1970-01-01T00:00Z", "1970-01-01 02:00+02:00"] {
        let since = format!("SELECT count(*) AS n FROM trades WHERE ts >= '{time}'");
        assert_eq!(rows(&engine, &since), all, "{time}");
        let is_same = format!("SELECT '{time}'::timestamptz = TIMESTAMPTZ '1970-01-01' AS x");
        assert_eq!(rows(&engine, &is_same), [r#"{"x":true}"#], "{time}");
    }
    for wrong in ["1970-01-01 00", "1970-01-01 00:0", "1970-01-01 00:00!", "1970-01-01_00:00"] {
        let sql = format!("SELECT count(*) FROM trades WHERE ts >= '{wrong}'");
        assert_eq!(ask(&engine, Request::new(sql)).unwrap_err().code(), "cannot_compute");
    }
    let plan = rows(&engine, "EXPLAIN SELECT 1 FROM trades WHERE ts < '1970-01-01 00:00'");
    assert!(plan.iter().any(|line| line.contains("trades of snapshot") && line.contains("0 of")));
}

#[test]
fn what_is_wrong_with_a_condition_is_no_fault_of_the_files() {
    let mut job = Job::new();
    job.run(3, 10);
    job.commit();
    for condition in
        ["symbol = 5", "symbol::int > 1", "ts > symbol", "price / (partition::int8) > 1"]
    {
        let sql = format!("SELECT count(*) FROM trades WHERE {condition}");
        for engine in [live(&job), offline(&job)] {
            let refused = ask(&engine, Request::new(&sql)).unwrap_err();
            assert_eq!(refused.code(), "cannot_compute", "{sql}: {refused}");
            assert!(!refused.message().contains("Error("), "{refused}");
        }
    }
}

#[test]
fn the_first_of_an_ordered_query_are_those_of_its_order() {
    let mut job = Job::new();
    job.run(20, 50);
    job.commit();
    job.run(5, 50);
    let engine = live(&job);
    let first = |sql: &str| rows(&engine, &format!("SELECT max(sequence) AS n FROM ({sql})"));
    let ordered = "SELECT sequence FROM trades ORDER BY sequence DESC";
    let wanted = rows(&engine, "SELECT max(sequence) AS n FROM trades");
    assert_eq!(first(&format!("SELECT * FROM ({ordered}) AS x LIMIT 1")), wanted);
    assert_eq!(first(&format!("WITH c AS ({ordered}) SELECT * FROM c LIMIT 1")), wanted);
    assert_eq!(
        first(&format!("SELECT sequence + 0 AS sequence FROM ({ordered}) AS x LIMIT 1")),
        wanted
    );
}

#[test]
fn similar_texts_are_found() {
    let mut job = Job::new();
    job.run(20, 50);
    let engine = live(&job);
    let found = |condition: &str| {
        rows(&engine, &format!("SELECT count(*) AS n FROM trades WHERE symbol {condition}"))
    };
    assert_eq!(found("SIMILAR TO '(BTC|ETH)-%'"), found("~ '^(BTC|ETH)-'"));
    assert_eq!(found("NOT SIMILAR TO 'B%'"), found("NOT LIKE 'B%'"));
    assert_ne!(found("SIMILAR TO 'B%'"), [r#"{"n":0}"#]);
}

#[test]
fn tables_are_found_where_postgresql_has_them() {
    let mut job = Job::new();
    job.run(3, 10);
    let engine = live(&job);
    let count = |table: &str| rows(&engine, &format!("SELECT count(*) AS n FROM {table}"));
    assert_eq!(count("public.trades"), count("trades"));
    assert_eq!(count("k2.public.ohlcv_1m"), count("market_data.ohlcv_1m"));
}

#[test]
fn only_questions_are_answered_and_none_about_files() {
    let job = Job::new();
    let file = job.dir.path().join("x.csv");
    std::fs::write(&file, "a\n1\n").unwrap();
    let file = file.display();
    let engine = live(&job);
    let refused = [
        ("", "empty_query"),
        ("SELECT 1; SELECT 2", "several_statements"),
        ("CREATE TABLE t AS SELECT 1", "not_a_query"),
        ("CREATE VIEW v AS SELECT 1", "not_a_query"),
        ("DROP TABLE trades", "not_a_query"),
        ("INSERT INTO trades SELECT * FROM trades", "not_a_query"),
        ("DELETE FROM trades", "not_a_query"),
        ("UPDATE trades SET price = 1", "not_a_query"),
        ("COPY trades TO '/tmp/x.parquet'", "not_a_query"),
        ("COPY (SELECT 1) TO '/tmp/x.csv'", "not_a_query"),
        ("SET datafusion.execution.batch_size = 1", "not_a_query"),
        ("RESET datafusion.execution.batch_size", "not_a_query"),
        ("SHOW ALL", "not_a_query"),
        ("EXPLAIN INSERT INTO trades SELECT * FROM trades", "not_a_query"),
        ("PREPARE p AS SELECT 1", "not_a_query"),
        ("BEGIN", "not_a_query"),
        ("SELECT 1 INTO t", "not_a_query"),
        ("SELECT * FROM", "sql_syntax"),
        ("SELECT 'a' ~ '('", "invalid_regex"),
    ];
    for (sql, code) in refused {
        let error = ask(&engine, Request::new(sql)).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::BadRequest, code), "{sql}: {error}");
    }
    let external = format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{file}'");
    assert_eq!(ask(&engine, Request::new(external)).unwrap_err().code(), "not_a_query");
    for source in [
        "'x.csv'".to_owned(),
        format!("'{file}'"),
        format!("\"{file}\""),
        format!("read_csv('{file}')"),
    ] {
        let error = ask(&engine, Request::new(format!("SELECT * FROM {source}"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest, "{source}: {error}");
    }
    let tables = rows(&engine, "SHOW TABLES");
    assert!(tables.iter().any(|line| line.contains("\"ohlcv_1m\"")), "{tables:?}");
    assert!(rows(&engine, "DESCRIBE trades").len() > 15);
    assert!(rows(&engine, "SHOW COLUMNS FROM ohlcv_1d").len() > 10);
    assert!(!rows(&engine, "EXPLAIN SELECT * FROM trades").is_empty());
    assert!(!rows(&engine, "EXPLAIN ANALYZE SELECT * FROM ohlcv_1m").is_empty());
}

#[test]
fn a_wrong_name_is_answered_with_the_right_one() {
    let job = Job::new();
    let engine = live(&job);
    let wrong = [
        ("SELECT * FROM trade", "unknown_table", "trades"),
        ("SELECT * FROM ohlcv1m", "unknown_table", "ohlcv_1m"),
        ("SELECT pric FROM trades", "unknown_column", "price"),
        ("SELECT t.symbl FROM trades t", "unknown_column", "symbol"),
        ("SELECT coutn(*) FROM trades", "unknown_function", "count"),
        ("SELECT 1 FROM trades WHERE nothing_like_it = 1", "unknown_column", "price"),
    ];
    for (sql, code, hint) in wrong {
        let error = ask(&engine, Request::new(sql)).unwrap_err();
        assert_eq!(error.code(), code, "{sql}: {error}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{sql}: {error}");
    }
}

#[test]
fn what_is_not_known_is_told_without_the_names_of_the_planner() {
    let mut job = Job::new();
    job.run(3, 10);
    for (sql, wanted) in [
        (
            "SELECT 1 FROM trades t ASOF JOIN quotes q MATCH_CONDITION (t.ts >= q.ts) \
             ON t.symbol = q.symbol",
            "this kind of join is not known",
        ),
        (
            "SELECT 1 FROM latest_trade t CROSS JOIN LATERAL (SELECT bid_price FROM quotes q \
             WHERE q.symbol = t.symbol AND q.ts <= t.ts ORDER BY q.ts DESC LIMIT 1) q",
            "needs columns of the one around it",
        ),
    ] {
        let refused = ask(&live(&job), Request::new(sql)).unwrap_err();
        assert!(refused.message().contains(wanted), "{refused}");
        assert!(refused.hint().is_some() && !refused.message().contains('{'), "{refused}");
    }
}

#[test]
fn limits_are_errors_that_say_what_to_do() {
    let mut job = Job::new();
    job.run(10, 100);
    let engine = live(&job);
    let limits = Limits::default();
    let tight = [
        ("SELECT * FROM trades", Limits { rows_max: 10, ..limits }, "limit_rows"),
        (
            "SELECT a.price FROM trades a CROSS JOIN trades b CROSS JOIN trades c ORDER BY 1",
            Limits { memory_bytes_max: 1 << 20, ..limits },
            "limit_memory",
        ),
        (
            "SELECT count(*) FROM trades a, trades b, trades c WHERE a.price + b.price > c.price",
            Limits { time_max: Duration::from_millis(50), ..limits },
            "limit_time",
        ),
    ];
    for (sql, limits, code) in tight {
        let error = ask(&engine, Request::new(sql).limits(limits)).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::LimitReached, code), "{error}");
        assert!(error.hint().is_some());
    }
    assert_eq!(answer(&engine, "SELECT * FROM trades LIMIT 10").rows(), 10);
}

/// Each would take gigabytes, if a function made all of it.
const FUNCTIONS_THAT_SWELL: [&str; 16] = [
    "length(lpad(symbol, 1000000, 'y'))",
    "cardinality(array_repeat(symbol, 100000))",
    "length(to_char(ts, repeat('%Y', 100000)))",
    "length(repeat(symbol, 200000 + trade_id_length))",
    "length(lpad(symbol, 1000000 + trade_id_length))",
    "length(rpad(symbol, 1000000 + trade_id_length, 'x'))",
    "length(replace(repeat(symbol, 1000), '-', repeat('x', 1000 + trade_id_length)))",
    "length(regexp_replace(repeat(symbol, 1000), '.', repeat('x', 1000), 'g'))",
    "array_length(range(0, 1000000 + trade_id_length))",
    "array_length(generate_series(1, 1000000 * trade_id_length, 1))",
    "array_length(generate_series(ts, ts + INTERVAL '1 year', INTERVAL '1 second'))",
    "array_length(array_repeat(price, 1000000 + trade_id_length))",
    "array_length(array_resize([price], 1000000 + trade_id_length))",
    "length(repeat('x', 1000000000))",
    "array_length(generate_series(1, 1000000000))",
    "length(repeat(repeat(repeat('x', 8000), 8000), 8000))",
];

#[test]
fn no_function_makes_more_than_a_query_may_hold() {
    let mut job = Job::new();
    job.run(10, 100);
    job.commit();
    let engine = live(&job);
    let of = "(SELECT *, length(trade_id) AS trade_id_length FROM trades)";
    for swelling in FUNCTIONS_THAT_SWELL {
        let sql = format!("SELECT sum({swelling}) FROM {of}");
        let error = ask(&engine, Request::new(&*sql)).unwrap_err();
        assert_eq!(error.code(), "limit_memory", "{sql}: {error}");
    }
    // What doubles is stopped on its way.
    for (double, size) in
        [("x || x", "length"), ("concat(x, x)", "length"), ("[x, x]", "cardinality")]
    {
        let doubled = format!("SELECT {double} AS x FROM (@)");
        let sql = nested("SELECT symbol AS x FROM trades", 24, &doubled);
        let error = ask(&engine, Request::new(format!("SELECT sum({size}(x)) FROM ({sql})")));
        let error = error.unwrap_err();
        assert_eq!(error.code(), "limit_memory", "{double}: {error}");
    }
}

/// A chain of so many names, each a query of the one before it, and a question of the last.
fn chained(levels: usize, first: &str, each: &str, last: &str) -> String {
    let each = |level: usize| {
        let query = each.replace("{}", &format!("c{}", level - 1));
        format!(", c{level} AS ({query})")
    };
    let names: String = (1..=levels).map(each).collect();
    format!("WITH c0 AS ({first}){names} {}", last.replace("{}", &format!("c{levels}")))
}

#[test]
fn what_doubles_with_each_name_is_refused_before_it_is_made() {
    let job = Job::new();
    let engine = live(&job);
    let price = "SELECT price AS a FROM trades";
    let doubling = [
        ("SELECT 1 AS a", "SELECT * FROM {} UNION ALL SELECT * FROM {}", "SELECT count(*) FROM {}"),
        (price, "SELECT x.a FROM {} x JOIN {} y ON x.a = y.a", "SELECT count(*) FROM {}"),
        (price, "SELECT a FROM {} WHERE a IN (SELECT a FROM {})", "SELECT count(*) FROM {}"),
        (price, "SELECT a + a + 1 AS a FROM {}", "SELECT count(*) FROM {} WHERE a = 1"),
        (price, "SELECT a + a + 1 AS a FROM {} GROUP BY 1", "SELECT count(*) FROM {} WHERE a = 1"),
        (price, "SELECT a + a + 1 AS a FROM {}", "SELECT a FROM {} ORDER BY a LIMIT 1"),
        (
            price,
            "SELECT CASE WHEN a > 1 THEN a ELSE a + 1 END AS a FROM {} WHERE a > 0",
            "SELECT count(*) FROM {}",
        ),
        (price, "SELECT named_struct('l', a, 'r', a) AS a FROM {}", "SELECT count(a) FROM {}"),
        (price, "SELECT struct(a, a) AS a FROM {}", "SELECT count(a) FROM {}"),
        (price, "SELECT {'l': a, 'r': a} AS a FROM {}", "SELECT count(a) FROM {}"),
    ];
    for (first, each, last) in doubling {
        answer(&engine, &chained(2, first, each, last));
        let refused = ask(&engine, Request::new(chained(60, first, each, last))).unwrap_err();
        assert_eq!(refused.code(), "query_too_complex", "{each}: {refused}");
    }
    // What only goes on is no such thing.
    let on = chained(60, price, "SELECT a + 1 AS a FROM {} WHERE a > 0", "SELECT max(a) FROM {}");
    answer(&engine, &on);
}

#[test]
fn quotients_and_products_fit_wherever_their_result_does() {
    let engine = live(&Job::new());
    let one = |sql: &str| texts_of(&engine, &format!("SELECT ({sql})::text AS x"));
    // Prices and quantities.
    let trades = "(VALUES (600.25::decimal(38,12), 500000::decimal(38,12)), \
                  (601.5::decimal(38,12), 50000::decimal(38,12))) AS t (p, q)";
    let of = |sql: &str| texts_of(&engine, &format!("SELECT ({sql})::text AS x FROM {trades}"));
    assert_eq!(of("sum(p * q) / sum(q)"), ["600.363636363636363636"]);
    assert_eq!(of("sum(p) / count(*)"), ["600.875000000000000000"]);
    assert_eq!(of("q / p"), ["83.125519534497090607", "832.986255726780508122"]);
    assert_eq!(of("p * q / q"), ["600.250000000000000000", "601.500000000000000000"]);
    assert_eq!(
        of("p * p * p"),
        ["216270112.515625000000000000000000", "217624053.375000000000000000000000"]
    );
    let decimal = |text: &str| format!("{text}::decimal(38,12)");
    let (two, three, none) = (decimal("2"), decimal("3"), decimal("NULL"));
    assert_eq!(one(&format!("{two} / {three}")), ["0.666666666666666667"]);
    assert_eq!(one(&format!("-{two} / {three}")), ["-0.666666666666666667"]);
    assert_eq!(one(&format!("1 / {}", decimal("60000"))), ["0.000016666666666667"]);
    assert_eq!(one("7.0 / 3"), ["2.333333333333333333"]);
    assert_eq!(one("2::int + 3 * 4 - 5"), ["9"]);
    assert_eq!(one("arrow_typeof(1::int4 + 1::int4)"), ["Int32"]);
    assert_eq!(one("0.000000000001::numeric(38, 12)::numeric"), ["0.000000000001"]);
    let day = "DATE '2024-01-02'";
    for (moved, wanted) in [
        ("@ + INTERVAL '5 minutes'", "2024-01-02 00:05:00"),
        ("@ - INTERVAL '1 hour'", "2024-01-01 23:00:00"),
        ("INTERVAL '1 month' + @", "2024-02-02 00:00:00"),
    ] {
        assert_eq!(one(&moved.replace('@', day)), [wanted], "{moved}");
    }
    assert_eq!(one("7 / 3"), ["2"], "whole numbers stay whole, as in PostgreSQL");
    assert_eq!(one(&format!("{two} / {none}")), ["null"]);
    let refused = ask(&engine, Request::new("SELECT 3 * 2 ^ 2")).unwrap_err();
    assert!(refused.hint().unwrap().contains("power("), "{refused}");
    let name = answer(&engine, "SELECT 7.0 / 3").schema.field(0).name().clone();
    assert!(name.contains(" / "), "{name}");
    for (sql, wanted) in [
        (format!("{two} / 0"), "divide by zero"),
        ("9223372036854775807 + 1".to_owned(), "overflow"),
        ("-9223372036854775807 - 2::int".to_owned(), "overflow"),
        ("2147483647::int4 + 1::int4".to_owned(), "overflow"),
        ("300::int2 * 300::int2".to_owned(), "overflow"),
        (
            "max(value) * 5000000000 FROM generate_series(1, 5000000000, 999999999) AS t (value)"
                .to_owned(),
            "overflow",
        ),
        (format!("{} * {two} / 0.000000000001", decimal("1e25")), "overflow"),
    ] {
        let refused = ask(&engine, Request::new(format!("SELECT {sql}"))).unwrap_err();
        assert!(refused.message().to_lowercase().contains(wanted), "{sql}: {refused}");
    }
}

#[test]
fn columns_of_one_name_are_all_answered() {
    let mut job = Job::new();
    job.run(3, 10);
    job.commit();
    let engine = live(&job);
    let names = |sql: &str| {
        let answer = answer(&engine, sql);
        answer.schema.fields().iter().map(|it| it.name().clone()).collect::<Vec<_>>()
    };
    assert_eq!(names("SELECT ts, ts::date FROM trades"), ["ts", "ts_1"]);
    assert_eq!(
        names("SELECT price, price::float8, price FROM trades"),
        ["price", "price_1", "price_2"]
    );
    assert_eq!(names("SELECT a.price, b.price FROM trades a, trades b"), ["price", "price_1"]);
    assert_eq!(names("SELECT max(price), max(price) FROM trades").len(), 2);
    assert_eq!(names("SELECT 1, 1, 1").len(), 3);
    let all = names("SELECT * FROM latest_trade a JOIN latest_quote b USING (venue, symbol)");
    let apart: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(apart.len(), all.len());
    let of_both = "(SELECT 1 AS p) AS a, (SELECT 2 AS p, 3 AS p_1) AS b";
    assert_eq!(names(&format!("SELECT * FROM {of_both}")), ["p", "p_2", "p_1"]);
    assert_eq!(names("SELECT ts::date::text, t.price::int FROM trades AS t"), ["ts", "price"]);
    assert_eq!(names("SELECT ts FROM (SELECT t.ts::date FROM trades AS t) AS x"), ["ts"]);
    let sums = names("SELECT max(price), max(price::float8), count(*) FROM trades");
    assert_eq!(sums, ["max(price)", "max(price)_1", "count(*)"]);
    for sql in [
        "SELECT ts, ts::date FROM trades GROUP BY ts, ts::date ORDER BY ts::date, ts",
        "SELECT ts::date, max(ts) FROM trades GROUP BY 1 HAVING max(ts)::date = max(ts::date)",
        "SELECT DISTINCT price * 2 FROM trades ORDER BY price * 2",
        "SELECT count(*), symbol FROM trades GROUP BY symbol ORDER BY count(*) DESC, symbol",
        "SELECT symbol || 'x' FROM trades GROUP BY symbol || 'x' ORDER BY symbol || 'x'",
    ] {
        assert!(answer(&engine, sql).rows() > 0, "{sql}");
    }
    let inner = "(SELECT string_agg(symbol, ','), count(*), 1 FROM trades) AS x";
    let outer =
        format!("SELECT max(length(string_agg)), max(count), max(\"?column?\") FROM {inner}");
    assert_eq!(answer(&engine, &outer).rows(), 1);
    let long = format!("SELECT {}", vec!["length('x')"; 30].join(" + "));
    assert_eq!(names(&long), ["?column?"]);
    let more = names("SELECT t.*, t.price, ts::date FROM trades t ORDER BY price LIMIT 1");
    assert_eq!(more[more.len() - 2..], ["price_1", "ts_1"]);
}

#[test]
fn what_types_and_groups_do_not_allow_is_told_as_such() {
    let mut job = Job::new();
    job.run(3, 10);
    let engine = live(&job);
    for (sql, code) in [
        ("SELECT DISTINCT * FROM trades", "wrong_types"),
        ("SELECT * FROM trades UNION SELECT * FROM trades", "wrong_types"),
        ("SELECT vendor_data FROM trades GROUP BY vendor_data", "wrong_types"),
        ("SELECT max(vendor_data) FROM trades", "wrong_types"),
        ("SELECT sum(symbol) FROM trades", "wrong_types"),
        ("SELECT symbol, count(*) FROM trades", "not_grouped"),
    ] {
        let error = ask(&engine, Request::new(sql)).unwrap_err();
        assert_eq!(error.code(), code, "{sql}: {error}");
        assert!(error.hint().is_some() && error.message().len() < 200, "{sql}: {error}");
    }
}

#[test]
fn what_a_query_is_compared_with_is_not_taken_for_its_column() {
    let mut job = Job::new();
    job.run(3, 40);
    let engine = live(&job);
    let count = |condition: &str| {
        let sql = format!("SELECT count(*)::text AS x FROM trades WHERE {condition}");
        texts_of(&engine, &sql).remove(0)
    };
    let all = count("true");
    let most = count("price = (SELECT max(price) FROM trades)");
    assert_ne!(all, most);
    assert_eq!(count("price >= ALL (SELECT price FROM trades)"), most);
    assert_eq!(count("NOT price < ANY (SELECT price FROM trades)"), most);
    let some = "(SELECT symbol FROM trades WHERE symbol = 'BTC-USDT')";
    assert_eq!(count(&format!("symbol = ANY {some}")), count("symbol = 'BTC-USDT'"));
    assert_eq!(count(&format!("symbol <> ALL {some}")), count("symbol <> 'BTC-USDT'"));
}

#[test]
fn what_becomes_a_whole_number_is_rounded() {
    let engine = live(&Job::new());
    for (sql, wanted) in [
        ("2.5::int", "3"),
        ("(-2.5)::bigint", "-3"),
        ("2.4999::int", "2"),
        ("2.5::float8::int", "2"),
        ("3.5::float8::bigint", "4"),
        ("(-0.6)::real::smallint", "-1"),
        ("99.999::decimal(38,12)::int", "100"),
        ("'7'::int", "7"),
        ("7::bigint::int", "7"),
        ("(SELECT sum(x) FROM (VALUES (1.25), (1.25)) AS t (x))::int", "3"),
    ] {
        assert_eq!(texts_of(&engine, &format!("SELECT ({sql})::text AS x")), [wanted], "{sql}");
    }
    let of_columns = "SELECT (x * 2)::int::text AS x FROM (VALUES (1.24), (1.26)) AS t (x) \
                      WHERE (x * 10)::int > 12 GROUP BY (x * 2)::int";
    assert_eq!(texts_of(&engine, of_columns), ["3"]);
    let prices = "(VALUES (1.234::decimal(38,12)), (1.236), (1.25)) AS t (price)";
    for (condition, found) in [
        ("price::numeric(10, 2) = 1.23", "1"),
        ("price::numeric(10, 1) > 1.2", "1"),
        ("price::int = 1", "3"),
        ("price::int IN (1, 2)", "3"),
        ("price::numeric(38, 12) = 1.25", "1"),
    ] {
        let sql = format!("SELECT count(*)::text AS x FROM {prices} WHERE {condition}");
        assert_eq!(texts_of(&engine, &sql), [found], "{condition}");
    }
    let times = "(VALUES (TIMESTAMP '2024-08-09 12:00:00.4'), (TIMESTAMP '2024-08-09 11:59:59.6'), \
                 (TIMESTAMP '2024-08-09 12:00:00.5')) AS t (at)";
    let sql = format!(
        "SELECT count(*)::text AS x FROM {times} WHERE at::timestamp(0) = '2024-08-09 12:00'"
    );
    assert_eq!(texts_of(&engine, &sql), ["2"]);
    let refused = ask(&engine, Request::new("SELECT 'nan'::float8::int")).unwrap_err();
    assert_eq!(refused.code(), "cannot_compute", "{refused}");
}

#[test]
fn what_becomes_a_text_is_written_as_in_postgresql() {
    let mut job = Job::new();
    job.run(5, 40);
    let engine = live(&job);
    let cases = [
        ("(timestamptz '2024-08-08 23:54:15.611Z')::text", "2024-08-08 23:54:15.611+00"),
        ("(timestamp '2024-08-08 23:54:15')::varchar", "2024-08-08 23:54:15"),
        ("timestamptz '2024-08-08 23:54:15Z' || ''", "2024-08-08 23:54:15+00"),
        ("concat(timestamp '2024-08-08 23:54:15.5', '!')", "2024-08-08 23:54:15.5!"),
        ("left((timestamptz '2024-08-08 23:54:15.611Z')::text, 19)", "2024-08-08 23:54:15"),
        ("(interval '5 minutes 45.929 seconds')::text", "00:05:45.929"),
        ("(interval '1 month 2 days 03:04:05')::text", "1 mon 2 days 03:04:05"),
        ("(timestamp '2024-08-10 02:00' - timestamp '2024-08-09 00:00')::text", "1 day 02:00:00"),
        ("1.0::float8::text", "1"),
        ("1e20::float8::text", "1e+20"),
        ("0.1::float8::text", "0.1"),
        ("'nan'::float8::text", "NaN"),
        ("'-inf'::float8::text", "-Infinity"),
        ("NULL::timestamp::text", "null"),
        ("format('%s', timestamp '2024-08-08 23:54:15')", "2024-08-08 23:54:15"),
        ("(date '2024-08-09')::text", "2024-08-09"),
        ("1.50::numeric(5, 2)::text", "1.50"),
        ("true::text", "true"),
    ];
    for (sql, wanted) in cases {
        assert_eq!(texts_of(&engine, &format!("SELECT {sql} AS x")), [wanted], "{sql}");
    }
    // Of columns too, and what is compared is the text.
    let same = "SELECT count(*)::text AS x FROM trades WHERE ts::text = \
                to_char(ts, 'YYYY-MM-DD HH24:MI:SS') || rtrim(rtrim(to_char(ts, '.US'), '0'), '.') \
                || '+00'";
    let all = texts_of(&engine, "SELECT count(*)::text AS x FROM trades");
    assert_ne!(all, ["0"]);
    assert_eq!(texts_of(&engine, same), all);
    let none = "SELECT count(*)::text AS x FROM trades WHERE ts::text LIKE '%T%'";
    assert_eq!(texts_of(&engine, none), ["0"]);
    let grouped = "SELECT ts::text AS x FROM trades GROUP BY ts::text ORDER BY ts::text LIMIT 1";
    assert!(texts_of(&engine, grouped)[0].ends_with("+00"));
}

#[test]
fn plans_do_not_tell_where_on_the_server_the_tables_are() {
    let mut job = Job::new();
    job.run(3, 10);
    job.commit();
    let place = job.dir.path().display().to_string();
    for form in ["", "VERBOSE", "ANALYZE", "FORMAT PGJSON", "FORMAT TREE", "FORMAT GRAPHVIZ"] {
        let plans =
            rows(&offline(&job), &format!("EXPLAIN {form} SELECT price FROM trades")).join("\n");
        assert!(!plans.contains(place.trim_start_matches('/')), "{form}: {plans}");
        if ["", "VERBOSE"].contains(&form) {
            assert!(plans.contains("market_data/trades/"), "{form}: {plans}");
        }
    }
}

#[test]
fn what_is_done_twice_is_done_twice() {
    let mut job = Job::new();
    job.run(5, 40);
    let engine = live(&job);
    let one = "SELECT 0 * length(symbol) + 1 AS x, 0 * length(venue) + 10 AS y FROM trades LIMIT 1";
    let steps = [
        ("x + 1 AS x, y + x AS y", "4", "16"),
        ("x + x AS x, y", "8", "10"),
        ("y AS x, x AS y", "10", "1"),
        ("2 * x AS x, x + y AS y", "8", "17"),
    ];
    for (step, x, y) in steps {
        for between in ["", " WHERE x > -1", " ORDER BY x", " LIMIT 3"] {
            let sql = nested(one, 3, &format!("SELECT {step} FROM (@){between}"));
            let texts = "CAST(x AS VARCHAR) AS x, CAST(y AS VARCHAR) AS y";
            let found = rows(&engine, &format!("SELECT {texts} FROM ({sql})"));
            assert_eq!(found, [format!(r#"{{"x":"{x}","y":"{y}"}}"#)], "{sql}");
        }
    }
}

#[test]
fn what_is_added_is_exact_or_refused() {
    let mut job = Job::new();
    job.run(5, 40);
    let engine = live(&job);
    let nines = "CAST('90000000000000000000000000000000000000' AS DECIMAL(38, 0))";
    let long = "9223372036854775807";
    let added = [
        // As a total, in groups, and in a window that moves.
        (format!("sum({nines})"), None),
        (format!("sum({long})"), None),
        (
            "avg(CAST('9000000000000000000000000000000000' AS DECIMAL(38, 0)))".to_owned(),
            Some("9000000000000000000000000000000000"),
        ),
        (
            "sum(CASE WHEN n % 2 = 0 THEN 9223372036854775807 ELSE -9223372036854775807 END)"
                .to_owned(),
            Some("0"),
        ),
        ("sum(CAST(n AS DECIMAL(20, 2)) * 0.25)".to_owned(), Some("13.75")),
        ("avg(CAST(n AS DECIMAL(38, 0)))".to_owned(), Some("5.5")),
        ("sum(n) FILTER (WHERE n > 8)".to_owned(), Some("19")),
        ("sum(CASE WHEN n < 3 THEN n END)".to_owned(), Some("3")),
        ("sum(CASE WHEN n > 99 THEN n END)".to_owned(), Some("null")),
        ("avg(CASE WHEN n > 99 THEN CAST(n AS DECIMAL(38, 0)) END)".to_owned(), Some("null")),
    ];
    let from = "(SELECT row_number() OVER () AS n FROM trades LIMIT 10)";
    for (added, expected) in added {
        for sql in [
            format!("SELECT {added} AS x FROM {from}"),
            format!("SELECT {added} AS x FROM {from} GROUP BY n < 0"),
            format!(
                "SELECT min(x) AS x FROM (SELECT n, {added} OVER (ORDER BY n ROWS BETWEEN 9 PRECEDING AND CURRENT ROW) AS x FROM {from}) WHERE n = 10"
            ),
        ] {
            match (expected, ask(&engine, Request::new(&*sql))) {
                (None, Err(error)) => {
                    assert_eq!(error.code(), "cannot_compute", "{sql}: {error}");
                    assert!(error.to_string().contains("CAST"), "{error}");
                }
                (Some(expected), Ok(answer)) => {
                    let found = lines(&answer);
                    let [found] = &found[..] else { panic!("{sql}: {found:?}") };
                    let value = found.trim_start_matches(r#"{"x":"#).trim_matches(['"', '}']);
                    let value = match value.split_once('.') {
                        Some((whole, part)) => {
                            format!("{whole}.{}", part.trim_end_matches('0'))
                        }
                        None => value.to_owned(),
                    };
                    assert_eq!(value.trim_end_matches('.'), expected, "{sql}");
                }
                (_, other) => panic!("{sql}: {other:?}"),
            }
        }
    }
}

#[test]
fn distinct_values_beside_others_are_added_exactly_or_refused() {
    let mut job = Job::new();
    job.run(5, 40);
    let engine = live(&job);
    let from = "(SELECT CAST(row_number() OVER () AS BIGINT) AS n FROM trades LIMIT 10)";
    let of_ten = |columns: &str| format!("SELECT {columns} FROM {from}");
    let answers = [
        (of_ten("sum(DISTINCT n % 3) AS x, count(DISTINCT n) AS y"), r#"{"x":3,"y":10}"#),
        (
            of_ten("avg(DISTINCT CAST(n % 4 AS DECIMAL(9, 1))) AS x, sum(DISTINCT n % 2) AS y"),
            r#"{"x":"1.50000","y":1}"#,
        ),
        (
            of_ten("sum(DISTINCT n) FILTER (WHERE n > 99) AS x, sum(DISTINCT n % 2) AS y"),
            r#"{"x":null,"y":1}"#,
        ),
        (
            format!(
                "SELECT x FROM (SELECT n, sum(DISTINCT CAST(n / 4 AS DECIMAL(9, 1))) OVER (ORDER \
                 BY n ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) AS x FROM {from}) WHERE n = 10"
            ),
            r#"{"x":"3.0"}"#,
        ),
    ];
    for (sql, expected) in answers {
        assert_eq!(rows(&engine, &sql), [expected], "{sql}");
    }
    let nines = "CAST('90000000000000000000000000000000000000' AS DECIMAL(38, 0))";
    let wrong = of_ten(&format!("sum(DISTINCT {nines} - n) AS x, count(DISTINCT n) AS y"));
    let error = ask(&engine, Request::new(&*wrong)).unwrap_err();
    assert_eq!(error.code(), "cannot_compute", "{error}");
    // In many groups, by several threads, as one by one.
    let from = "(SELECT *, ts_event / 1000000000 AS second FROM trades)";
    for by in ["venue", "symbol", "symbol, second"] {
        let both = format!(
            "SELECT CASE WHEN count(DISTINCT sequence) > 0 THEN sum(DISTINCT quantity) END AS x \
             FROM {from} GROUP BY {by} ORDER BY {by}"
        );
        let alone = format!(
            "SELECT sum(quantity) AS x FROM (SELECT DISTINCT {by}, quantity FROM {from}) GROUP BY \
             {by} ORDER BY {by}"
        );
        assert_eq!(rows(&engine, &both), rows(&engine, &alone), "{by}");
    }
}

#[test]
fn functions_answer_as_they_do_without_a_guard() {
    let job = Job::new();
    let engine = live(&job);
    let answers = [
        ("repeat('ab', 3)", "ababab"),
        ("lpad('7', 3, '0')", "007"),
        ("'a' || 'b' || 1", "ab1"),
        ("replace('a-b', '-', '/')", "a/b"),
        ("array_to_string(range(1, 4), ',')", "1,2,3"),
        ("array_to_string([1, 2] || [3], ',')", "1,2,3"),
        ("coalesce(NULL, 'x')", "x"),
        ("CAST(power(2, 10) AS BIGINT)", "1024"),
        ("regexp_replace('aa', 'a', 'b', 'g')", "bb"),
        ("date_part('year', TIMESTAMP '2024-08-09')", "2024"),
        ("named_struct('a', 5)['a']", "5"),
    ];
    for (sql, expected) in answers {
        let found = rows(&engine, &format!("SELECT CAST({sql} AS VARCHAR) AS answer"));
        assert_eq!(format!("{found:?}").matches(expected).count(), 1, "{sql}: {found:?}");
    }
    let named = answer(&engine, "SELECT symbol || '!', upper(symbol) FROM trades");
    let names: Vec<&str> = named.schema.fields().iter().map(|it| it.name().as_str()).collect();
    assert_eq!(names, ["symbol || '!'", "upper(symbol)"]);
}

#[test]
fn a_lake_opened_for_reading_answers_without_a_job() {
    let mut job = Job::new();
    job.run(10, 50);
    job.commit();
    let expected = rows(&live(&job), "SELECT * FROM ohlcv_5m");
    let lake = Lake::open_read_only(LakeConfig::new(job.dir.path(), "test")).unwrap();
    let engine = Engine::offline(Arc::new(lake), config()).unwrap();
    assert_eq!(rows(&engine, "SELECT * FROM ohlcv_5m"), expected);
    assert_eq!(rows(&engine, "SELECT * FROM trades"), rows(&live(&job), "SELECT * FROM trades"));
}

#[test]
fn an_engine_before_the_first_row_answers_with_no_rows() {
    let job = Job::new();
    for engine in [live(&job), offline(&job)] {
        for view in VIEWS {
            assert_eq!(answer(&engine, &all_of(view)).rows(), 0, "{view}");
        }
    }
}

#[test]
fn snapshots_are_a_table() {
    let mut job = Job::new();
    job.run(5, 50);
    job.commit();
    let engine = live(&job);
    let found = answer(&engine, "SELECT \"table\", snapshot_id FROM snapshots WHERE is_current");
    let tables: BTreeSet<String> = lines(&found).into_iter().collect();
    assert_eq!(tables.len(), 4);
}

/// A file with decimals of 18 digits, one with the greatest of them, one with more digits in the
/// price and one with more in both.
fn files_of_every_width(job: &Job) -> Vec<Trade> {
    const NARROW: i128 = 999_999_999_999_999_999;
    let instrument = job.instruments.resolve("BINANCE", "BTCUSDT");
    let decimals = |kind: u64, number: u64| {
        let step = i128::from(number) * 10_000_000_000;
        match kind {
            0 => (61_837_630_000_000_000 + step, 20_000_000 + step % 7),
            1 => (if number.is_multiple_of(2) { NARROW } else { -NARROW }, 1),
            2 => (NARROW + 1 + step, 5_000_000_000),
            _ => (-NARROW - 1 - step, k2_model::decimal::MAX),
        }
    };
    let trade = |offset: u64| Trade {
        instrument,
        trade_id: offset,
        sequence: offset,
        ts_event: Nanos(START + offset as i64),
        ts_recv: Nanos(START + offset as i64),
        price: Decimal(decimals(offset / FILE_ROWS, offset % FILE_ROWS).0),
        quantity: Decimal(decimals(offset / FILE_ROWS, offset % FILE_ROWS).1),
        side: Side::Buy,
        vendor_data: VendorData::EMPTY,
        at: Coordinates { origin: Origin::new("feed.ndjson", 0), offset },
    };
    let trades: Vec<Trade> = (0..4 * FILE_ROWS).map(trade).collect();
    for of_file in trades.chunks(FILE_ROWS as usize) {
        let lower = job.lake.next_epoch();
        let batch = BatchId { lower, upper: lower + 1, worker: 0, part: 0 };
        let files = job.lake.write_trades(&batch, &[MarketBatch::of(of_file)]).unwrap();
        let files = [(Table::Trades, files)].into();
        job.lake.commit(Sealed { lower, upper: lower + 1, files, ..Sealed::default() }).unwrap();
    }
    trades
}

/// Several pages.
const FILE_ROWS: u64 = 50_000;

#[test]
fn files_with_few_and_with_many_digits_answer_alike() {
    let job = Job::new();
    let trades = files_of_every_width(&job);
    let engine = offline(&job);
    let middle = |kind: u64| trades[(kind * FILE_ROWS + FILE_ROWS / 2) as usize].price;
    let limits = [middle(0), middle(1), middle(2), middle(3), Decimal::ZERO, Decimal(1)];
    for limit in limits {
        for sign in [">", "<", "=", "<>"] {
            let holds = |trade: &&Trade| match sign {
                ">" => trade.price > limit,
                "<" => trade.price < limit,
                "=" => trade.price == limit,
                _ => trade.price != limit,
            };
            let fit: Vec<&Trade> = trades.iter().filter(holds).collect();
            let offsets: u64 = fit.iter().map(|trade| trade.at.offset).sum();
            let sum = if fit.is_empty() { "null".to_owned() } else { offsets.to_string() };
            for literal in [format!("{limit}"), format!("CAST('{limit}' AS DECIMAL(38,12))")] {
                let question = format!(
                    "SELECT count(*) AS n, sum(\"offset\") AS s FROM trades WHERE price {sign} {literal}"
                );
                let expected = format!("{{\"n\":{},\"s\":{sum}}}", fit.len());
                assert_eq!(rows(&engine, &question), [expected], "{question}");
            }
        }
    }
    let ends = "SELECT max(price) AS p, min(price) AS q, max(quantity) AS r FROM trades";
    let (greatest, least) = (trades.iter().map(|it| it.price), trades.iter().map(|it| it.price));
    let expected = format!(
        "{{\"p\":\"{}\",\"q\":\"{}\",\"r\":\"{}\"}}",
        twelve(greatest.max().unwrap()),
        twelve(least.min().unwrap()),
        twelve(Decimal(k2_model::decimal::MAX)),
    );
    assert_eq!(rows(&engine, ends), [expected]);
}

/// With all twelve digits behind the point, as answers have them.
fn twelve(value: Decimal) -> String {
    let (sign, digits) = (if value.0 < 0 { "-" } else { "" }, value.0.unsigned_abs());
    format!("{sign}{}.{:012}", digits / 1_000_000_000_000, digits % 1_000_000_000_000)
}

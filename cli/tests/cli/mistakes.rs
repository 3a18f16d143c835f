//! What is said to somebody who asked for the wrong thing.

use std::process::Stdio;

use crate::support::{Place, finish};

#[test]
fn a_wrong_flag_or_command_names_the_nearest_right_one() {
    let place = Place::new();
    place.line("run --inputt a").refused(2, &["--inputt", "--input"]);
    place.line("qery x").refused(2, &["qery", "query"]);
    place.line("query --output jsn x").refused(2, &["jsn", "json"]);
    place.line("run --speed fast").refused(2, &["fast", "max"]);
    place.line("run --workers 0").refused(2, &["workers", "1 to 64"]);
    place.line("run --listen 127.0.0.1:0 --no-listen").refused(2, &["--no-listen"]);
    place.line("generate --duplicates 2 --output x").refused(2, &["0 to 1"]);
    place.line("generate --quotes 0.5 --output x").refused(2, &["receive time"]);
    assert!(!place.path("k2-data").exists(), "a wrong command leaves nothing behind");
}

#[test]
fn a_wrong_venue_names_the_nearest_right_one() {
    let place = Place::new();
    place.take_in("BINANC=a.gz").refused(2, &["BINANC", "did you mean BINANCE"]);
    place.take_in("BINANCE_UDSM=a.gz").refused(2, &["did you mean BINANCE_USDM"]);
    place.take_in("KRAKEN=a.gz").refused(2, &["KRAKEN", "BINANCE, BINANCE_USDM"]);
    place.generate("a=b", &["--messages", "10"]);
    assert_eq!(place.take_in("a=b").ok().counted("messages"), 10);
}

#[test]
fn what_cannot_work_is_said_before_anything_is_done() {
    let place = Place::new();
    place.line("run --exit-at-end").refused(2, &["--exit-at-end", "--input", "never ends"]);
    place.line("run --listen 0.0.0.0:80").refused(2, &["loopback"]);
    place.write("settings", "[commit]\nintervall_s = 1\n");
    place.line("run --config settings").refused(2, &["settings", "intervall_s", "interval_s"]);
    place.write("table", "[BINANCE]\nX = { tier = 9 }\n");
    place.line("run --instruments table").refused(2, &["table", "tier"]);
    place.line("run --config nowhere").refused(1, &["nowhere", "no such file"]);
    assert!(!place.path("k2-data").exists());
}

#[test]
fn wrong_sql_is_the_askers_mistake_and_gets_a_hint() {
    let place = Place::new();
    place.generate("market", &["--messages", "1000"]);
    place.take_in("market").ok();
    let ask = |sql: &str| place.k2(["query", "--data-dir", "d", sql]);
    ask("SELECT * FROM trade").refused(2, &["trade", "trades"]);
    ask("SELECT pryce FROM trades").refused(2, &["pryce", "price"]);
    ask("SELEC * FROM trades").refused(2, &["SELEC"]);
    ask("").refused(2, &["empty"]);
    for writes in [
        "DELETE FROM trades",
        "INSERT INTO trades SELECT * FROM trades",
        "CREATE TABLE x AS SELECT 1",
        "COPY trades TO 'x.csv'",
        "DROP TABLE trades",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
    ] {
        ask(writes).refused(2, &["select"]);
    }
    ask("SELECT * FROM '/etc/passwd'").refused(2, &[]);
    assert_eq!(place.count("trades"), place.ask("SELECT * FROM trades").len() as u64);
}

#[test]
fn a_statement_may_come_from_a_file_or_standard_input() {
    let place = Place::new();
    place.generate("market", &["--messages", "1000", "--duplicates", "0"]);
    place.take_in("market").ok();
    place.write("a.sql", "SELECT count(*) AS trades FROM trades\n");
    let from_file = place.line("query --data-dir d --file a.sql --output json").ok();
    assert_eq!(from_file.stdout, "[{\"trades\":1000}]\n");
    let line = "query --data-dir d --output ndjson -";
    let piped = place.with_stdin(line, b"SELECT count(*) AS trades FROM trades").ok();
    assert_eq!(piped.stdout, "{\"trades\":1000}\n");
    assert!(piped.stderr.contains("complete"), "{}", piped.stderr);
}

#[test]
fn a_directory_that_cannot_be_used_is_refused_with_what_to_do() {
    let place = Place::new();
    place.generate("market", &["--messages", "10"]);
    place.line("query --data-dir nowhere SELECT").refused(1, &["nowhere", "start a job"]);
    let file = "run --no-listen --exit-at-end --input market --data-dir market";
    place.line(file).refused(1, &["market", "data directory"]);
    // Nobody may write there, not even root.
    let read_only = "run --no-listen --exit-at-end --input market --data-dir /proc/k2";
    place.line(read_only).refused(1, &["/proc/k2", "data directory"]);
    place.take_in("market").ok();
    std::fs::write(place.path("d/format"), "999\n").unwrap();
    place.take_in("market").refused(1, &["format 999", "newer"]);
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let place = Place::new();
    let mut command = place.command(["generate", "--messages", "1000000", "--output", "-"]);
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let ran = finish(child);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
}

#[test]
fn each_help_has_an_example() {
    let place = Place::new();
    let queries = ["trades", "quotes", "bars", "symbols", "snapshots", "gaps", "feeds"]
        .map(|what| format!("query {what} "));
    let others = [
        "",
        "run ",
        "query ",
        "generate ",
        "bench ",
        "table ",
        "table tag ",
        "table tag create ",
        "table tag list ",
        "table tag delete ",
        "completions ",
    ];
    for command in others.into_iter().chain(queries.iter().map(String::as_str)) {
        let help = place.line(&format!("{command}--help")).ok();
        assert!(help.stdout.contains("Examples:\n  k2 "), "{command}: {}", help.stdout);
    }
    let nothing = finish(place.command([""; 0]).stdin(Stdio::null()).spawn().unwrap());
    assert_eq!(nothing.code, Some(2));
}

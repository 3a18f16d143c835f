//! What is asked in few words, at which moment, and how the answer is shown.

use std::process::{Command, Stdio};

use crate::support::{Place, Ran, finish};

/// A folder with a market in two commits: the symbol that trades most, and the first snapshot.
struct Market {
    place: Place,
    symbol: String,
    first: String,
}

impl Market {
    fn new() -> Self {
        let place = Place::new();
        let flags =
            "--messages 6000 --symbols 6 --seed 5 --quotes 0.3 --receive-time --missing 0.01";
        let bytes = place.generate("whole", &flags.split(' ').collect::<Vec<_>>());
        let half = bytes[..bytes.len() / 2].iter().rposition(|byte| *byte == b'\n').unwrap();
        place.write("market", &bytes[..=half]);
        place.take_in("market").ok();
        let current = "SELECT snapshot_id FROM snapshots WHERE is_current AND \"table\" = 'trades'";
        let first = place.ask(current).swap_remove(0);
        place.write("market", &bytes);
        place.take_in("market").ok();
        let busiest = "SELECT symbol FROM symbols ORDER BY trade_count DESC, symbol LIMIT 1";
        let symbol = place.ask(busiest).swap_remove(0);
        Self { place, symbol, first }
    }

    /// `k2 query` in short, as CSV without its header.
    #[track_caller]
    fn rows(&self, words: &str) -> Vec<String> {
        let ran = self.query(&format!("{words} --output csv")).ok();
        ran.stdout.lines().skip(1).map(str::to_owned).collect()
    }

    fn query(&self, words: &str) -> Ran {
        let words = words.replace("SYMBOL", &self.symbol).replace("FIRST", &self.first);
        self.place.line(&format!("query --data-dir d {words}"))
    }

    #[track_caller]
    fn ask(&self, sql: &str) -> Vec<String> {
        self.place.ask(&sql.replace("SYMBOL", &self.symbol).replace("FIRST", &self.first))
    }
}

#[test]
fn each_short_question_is_a_query() {
    let market = Market::new();
    let trades = "SELECT ts, venue, symbol, side, price, quantity, trade_id FROM trades \
                  WHERE symbol = 'SYMBOL'";
    let newest = format!("{trades} ORDER BY ts_event DESC, sequence DESC");
    assert_eq!(market.rows("trades SYMBOL --limit 7"), market.ask(&format!("{newest} LIMIT 7")));
    assert_eq!(market.rows("trades SYMBOL").len(), 100);
    let all = market.rows("trades SYMBOL --from 1970-01-01");
    assert_eq!(all, market.ask(&newest));
    assert_eq!(market.rows("trades SYMBOL --from 1970-01-01 --venue BINANCE"), all);
    // Half-open: the row at the end is not in, the one at the beginning is.
    let times =
        market.ask("SELECT ts_event FROM trades WHERE symbol = 'SYMBOL' ORDER BY 1 LIMIT 9");
    let moments = market.ask(
        "SELECT arrow_cast(ts_event, 'Timestamp(Nanosecond, Some(\"UTC\"))') FROM trades \
         WHERE symbol = 'SYMBOL' ORDER BY ts_event LIMIT 9",
    );
    let between = format!(
        "SELECT count(*) FROM trades WHERE symbol = 'SYMBOL' AND ts_event >= {} AND ts_event < {}",
        times[2], times[8]
    );
    let window = format!("trades SYMBOL --from {} --to {}", moments[2], moments[8]);
    assert_eq!(market.rows(&window).len().to_string(), market.ask(&between)[0]);
    let half = "SELECT (max(ts_event) - min(ts_event)) / 2000000 FROM trades \
                WHERE symbol = 'SYMBOL'";
    let half = market.ask(half).swap_remove(0);
    let last = format!(
        "SELECT count(*) FROM trades WHERE symbol = 'SYMBOL' AND ts_event >= \
         (SELECT max(ts_event) - {half}000000 FROM trades WHERE symbol = 'SYMBOL')"
    );
    let found = market.rows(&format!("trades SYMBOL --last {half}ms")).len();
    assert_eq!(found.to_string(), market.ask(&last)[0]);
    assert!(found > 0 && found < all.len());

    assert!(!market.rows("quotes SYMBOL --last 1h").is_empty());
    let bars = market.rows("bars SYMBOL 5m --from 1970-01-01");
    let expected = "SELECT window_start, venue, symbol, open, high, low, close, volume, vwap, \
                    trade_count, revision, final FROM ohlcv_5m WHERE symbol = 'SYMBOL' \
                    ORDER BY window_start";
    assert_eq!(bars, market.ask(expected));
    assert_eq!(market.rows("bars SYMBOL --limit 1").len(), 1);
    assert!(!market.rows("bars SYMBOL 1d --last 24h").is_empty());
    assert_eq!(market.rows("symbols").len(), market.place.count("symbols") as usize);
    assert_eq!(market.rows("snapshots --table trades --limit 2").len(), 2);
    assert_eq!(market.rows("feeds").len(), market.place.count("feed_health") as usize);
    let open = market.place.count("gaps_open");
    assert!(open > 0);
    assert_eq!(market.rows("gaps --open --limit 100000").len() as u64, open);
    let of_symbol = market.ask("SELECT count(*) FROM gaps WHERE symbol = 'SYMBOL'");
    assert_eq!(market.rows("gaps SYMBOL --limit 100000").len().to_string(), of_symbol[0]);
}

#[test]
fn a_symbol_or_venue_that_is_not_there_is_answered_with_what_is() {
    let market = Market::new();
    let wrong = format!("{}X", market.symbol);
    let symbol = market.symbol.clone();
    for command in ["trades", "quotes", "bars", "gaps"] {
        let near = format!("did you mean {symbol}?");
        market.query(&format!("{command} {wrong}")).refused(2, &[&wrong, &near]);
    }
    market.query(&format!("trades {wrong} --last 5m")).refused(2, &["did you mean"]);
    market.query("trades WHAT-IS-THIS").refused(2, &["symbols are"]);
    market.query("bars SYMBOL --venue KRAKEN").refused(2, &["not at KRAKEN", "at BINANCE"]);
    // Nothing in a window is no mistake.
    assert!(market.rows("trades SYMBOL --to 1970-01-02").is_empty());
    market.query("trades SYMBOL --from 2024-08-10 --to 2024-08-09").refused(2, &["not before"]);
    market.query("trades SYMBOL --from yesterday").refused(2, &["2024-08-09"]);
    market.query("trades SYMBOL --last 5x").refused(2, &["5m or 2h"]);
    market.query("bars SYMBOL 7m").refused(2, &["1m, 5m, 15m"]);
    market.query("trades SYMBOL --last 5m --from 2024-08-09").refused(2, &["--from"]);
    market.query("trades").refused(2, &["<SYMBOL>"]);
    let both = ["query", "SELECT 1", "trades", "BTC-USDT"];
    market.place.k2(both).refused(2, &["not both"]);
}

#[test]
fn earlier_moments_are_asked_for_in_sql_in_short_and_by_name() {
    let market = Market::new();
    let then = market.ask("SELECT count(*) FROM trades AT (SNAPSHOT FIRST)");
    let now = market.ask("SELECT count(*) FROM trades");
    let count = |rows: &[String]| rows[0].parse::<u64>().unwrap();
    assert!(count(&then) > 0 && count(&then) < count(&now));
    let committed = market.ask(
        "SELECT committed_at FROM snapshots WHERE snapshot_id = FIRST AND \"table\" = 'trades'",
    );
    let by_time = format!("SELECT count(*) FROM trades AT (TIMESTAMP '{}')", committed[0]);
    assert_eq!(market.ask(&by_time), then);
    let of_symbol = "SELECT count(*) FROM trades AT (SNAPSHOT FIRST) WHERE symbol = 'SYMBOL'";
    let of_symbol = market.ask(of_symbol)[0].parse::<usize>().unwrap();
    let tag = |line: &str| market.place.line(&format!("table tag {line} --data-dir d"));
    let created = tag(&format!("create half --snapshot {}", market.first)).ok();
    assert!(created.stdout.contains(&market.first), "{}", created.stdout);
    for at in [market.first.clone(), committed[0].clone(), "tag:half".into()] {
        let rows = market.rows(&format!("trades SYMBOL --from 1970-01-01 --at {at}"));
        assert_eq!(rows.len(), of_symbol, "{at}");
    }
    market.query("bars SYMBOL --at tag:hal").refused(2, &["hal", "did you mean half?"]);
    market.query("symbols --at 12345").refused(2, &["snapshot 12345", "newest snapshot is"]);
    market.query("symbols --at 2001-01-01").refused(2, &["2001-01-01", "first snapshot is"]);
    assert!(tag("list").ok().stdout.starts_with("half  "));
    tag("create half").refused(1, &["already"]);
    tag("create half2 --snapshot 7").refused(2, &["newest snapshot"]);
    tag("delete halv").refused(2, &["did you mean half?"]);
    tag("delete half").ok();
    assert_eq!(tag("list").ok().stdout, "");
    let both = "SELECT (SELECT count(*) FROM trades) - (SELECT count(*) FROM trades AT (SNAPSHOT \
                FIRST)) AS more";
    let both = both.replace("FIRST", &market.first);
    let compared = market.place.k2(["query", "--data-dir", "d", &both]).ok();
    assert_eq!(compared.stdout, format!("{{\"more\":{}}}\n", count(&now) - count(&then)));
    let said = format!("besides as of snapshot {}", market.first);
    assert!(compared.stderr.contains(&said), "{}", compared.stderr);
    let plan = market.place.k2(["query", "--data-dir", "d", "EXPLAIN SELECT * FROM trades"]).ok();
    assert!(plan.stdout.contains(" files with "), "{}", plan.stdout);
}

#[test]
fn a_running_job_answers_for_earlier_moments_too() {
    let market = Market::new();
    let question = "SELECT count(*), sum(quantity) FROM trades AT (SNAPSHOT FIRST)";
    let offline = market.ask(question);
    let before = market.rows("bars SYMBOL 1m --at FIRST");
    let job = market.place.start("run --data-dir d --input market --listen 127.0.0.1:0");
    assert_eq!(market.ask(question), offline);
    assert_eq!(market.rows("bars SYMBOL 1m --at FIRST"), before);
    // The job knows the name at once, though another process gave it.
    market.place.line("table tag create now --data-dir d").ok();
    let named = market.ask("SELECT count(*) FROM trades AT (TAG 'now')");
    assert_eq!(named, market.ask("SELECT count(*) FROM trades"));
    market.query("symbols --at tag:nov").refused(2, &["did you mean now?"]);
    assert_eq!(job.stop().code, Some(0));
    assert_eq!(market.ask("SELECT count(*) FROM trades AT (TAG 'now')"), named);
    market.place.take_in("market").ok();
}

#[test]
fn numbers_stand_to_the_right_and_texts_to_the_left() {
    let market = Market::new();
    let table = market.query("symbols --output table").ok().stdout;
    let lines: Vec<&str> = table.lines().collect();
    let column = |name: &str| lines[0].find(name).unwrap();
    let symbol = column("symbol");
    let end = column("trade_count") + "trade_count".len();
    for line in &lines[2..lines.len() - 1] {
        assert!(line.as_bytes()[symbol].is_ascii_alphanumeric(), "{table}");
        assert!(line.as_bytes()[end - 1].is_ascii_digit(), "{table}");
    }
}

#[test]
fn a_pager_shows_tables_on_a_terminal_alone() {
    let market = Market::new();
    let query = format!("{} query --data-dir d symbols", env!("CARGO_BIN_EXE_k2"));
    let on_terminal = |query: &str| {
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", query, "/dev/null"]);
        script.current_dir(market.place.path("")).env("PAGER", "sed s/^/paged:/");
        let pipes = script.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(pipes.spawn().unwrap()).ok().stdout
    };
    assert!(on_terminal(&query).contains(&format!("paged:BINANCE  {}", market.symbol)));
    assert!(!on_terminal(&format!("{query} --no-pager")).contains("paged:"));
    assert!(!on_terminal(&format!("{query} --output csv")).contains("paged:"));
}

#[test]
fn completions_are_scripts_that_the_shell_takes() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.line(&format!("completions {shell}")).ok().stdout;
        for word in ["query", "bars", "last", "tag"] {
            assert!(script.contains(word), "{shell} knows no {word}");
        }
        if shell == "bash" {
            place.write("k2.bash", &script);
            let mut check = Command::new("bash");
            let check = check.args(["-n", "k2.bash"]).current_dir(place.path(""));
            assert!(check.status().unwrap().success());
        }
    }
    place.line("completions tcsh").refused(2, &["bash", "zsh", "fish"]);
}

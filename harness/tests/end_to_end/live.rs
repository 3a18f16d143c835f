//! Answers of a running job: against the oracle at the same frontier, against the tables once all
//! is committed, and against themselves.

use std::collections::BTreeMap;

use k2_dataflows::Job;
use k2_harness::answers::{Asker, lines_of};
use k2_harness::generator::Flaws;
use k2_model::Offsets;
use k2_serve::Request;
use serde::Deserialize;

use crate::support::{Case, Expected, FLAWS, SOURCE, market, wait_until};

const MESSAGES: u64 = 20_000;

/// Everything that has an answer without a job too.
const VIEWS: [&str; 16] = [
    "trades",
    "quotes",
    "rejects",
    "gaps",
    "gaps_open",
    "gap_changes",
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

/// Waits until all `lines` are seen by readers.
fn wait_for_lines(job: &Job, lines: u64) {
    wait_until("all lines are seen", || {
        let offsets = job.live().pin().offsets;
        job.is_finished() || offsets.iter().any(|(_, next)| next == lines)
    });
}

fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[test]
fn live_and_offline_answer_as_the_oracle_does() {
    let flaws = Flaws { contradictions_per_million: 5_000, ..FLAWS };
    for (workers, seed, batch_bytes) in [(1, 30, 1 << 30), (2, 31, 200_000), (3, 32, 900_000)] {
        let bytes = market(MESSAGES, seed, flaws);
        let expected = Expected::of(&bytes);
        let case = Case::new(&bytes);
        let setup = case.setup.clone().follow().workers(workers).batch_bytes(batch_bytes);
        let job = setup.start().unwrap();
        wait_for_lines(&job, lines_in(&bytes));
        let live = Asker::live(&job);
        expected.check_result(&live, "live");
        let of = |asker: &Asker| VIEWS.map(|view| asker.lines(&format!("SELECT * FROM {view}")));
        let (before, tokens) = (of(&live), VIEWS.map(|view| live.answer(&all_of(view)).meta.as_of));
        job.stop();
        job.wait().unwrap();
        let offline = Asker::offline(&case.data());
        expected.check(&case.data(), "offline");
        for ((view, before), after) in VIEWS.into_iter().zip(before).zip(of(&offline)) {
            assert!(!before.is_empty(), "{view} has rows");
            assert_eq!(before, after, "{view} with {workers} workers");
        }
        for (view, token) in
            VIEWS.into_iter().zip(tokens).filter(|(view, _)| *view != "feed_health")
        {
            let again = offline.ask(Request::new(all_of(view)).as_of(token)).unwrap();
            assert_eq!(lines_of(&again), offline.lines(&all_of(view)), "{view} as of then");
        }
    }
}

fn all_of(view: &str) -> String {
    format!("SELECT * FROM {view}")
}

/// What one statement sees, all of it at one frontier.
#[derive(Debug, Deserialize)]
struct Seen {
    trades: u64,
    offsets: Option<u64>,
    volume: Option<String>,
    volumes: [Option<String>; 6],
    counts: [Option<u64>; 6],
    strange: u64,
}

const CONSISTENT: &str = "
    SELECT t.trades, t.offsets, t.volume,
           [m1.volume, m5.volume, m15.volume, m30.volume, h1.volume, d1.volume] AS volumes,
           [m1.trades, m5.trades, m15.trades, m30.trades, h1.trades, d1.trades] AS counts,
           s.strange
    FROM (SELECT count(*) AS trades, sum(\"offset\") AS offsets, sum(quantity) AS volume
          FROM trades) t,
         (SELECT sum(trade_count) AS trades, sum(volume) AS volume FROM ohlcv_1m) m1,
         (SELECT sum(trade_count) AS trades, sum(volume) AS volume FROM ohlcv_5m) m5,
         (SELECT sum(trade_count) AS trades, sum(volume) AS volume FROM ohlcv_15m) m15,
         (SELECT sum(trade_count) AS trades, sum(volume) AS volume FROM ohlcv_30m) m30,
         (SELECT sum(trade_count) AS trades, sum(volume) AS volume FROM ohlcv_1h) h1,
         (SELECT sum(trade_count) AS trades, sum(volume) AS volume FROM ohlcv_1d) d1,
         (SELECT count(*) AS strange FROM ohlcv_1m
          WHERE NOT (low <= vwap AND vwap <= high AND low <= open AND open <= high
                     AND low <= close AND close <= high)) s";

/// While commits and trims go on, each answer is that of the oracle at its own frontier; bars
/// change only with a higher revision; and the same question as of then gets the same rows.
#[test]
fn answers_that_race_commits_are_those_of_the_oracle_at_their_frontier() {
    let bytes = market(60_000, 33, FLAWS);
    let lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    let case = Case::new(&bytes);
    let setup = case.setup.clone().follow().block_bytes(3_000).batch_bytes(150_000);
    let job = setup.start().unwrap();
    let asker = Asker::live(&job);
    let mut prefixes = Prefixes::new(&lines);
    let mut revisions = BTreeMap::new();
    let (mut asked, mut tokens) = (0, Vec::new());
    let all = lines.len() as u64;
    loop {
        let answer = asker.answer(CONSISTENT);
        let at = next_of(&answer.meta.as_of.offsets);
        prefixes.check(at, &lines_of(&answer)[0]);
        check_revisions(&asker, &mut revisions);
        asked += 1;
        if asked % 20 == 1 {
            let first = asker.answer("SELECT source, \"offset\", price FROM trades");
            tokens.push((first.meta.as_of.clone(), lines_of(&first)));
        }
        if at == all {
            break;
        }
    }
    assert!(job.metrics().commit_snapshots.get() > 20, "commits went on meanwhile");
    assert!(asked > 20, "only {asked} answers were given meanwhile");
    job.stop();
    job.wait().unwrap();
    let offline = Asker::offline(&case.data());
    for (token, rows) in tokens {
        let sql = "SELECT source, \"offset\", price FROM trades";
        let again = offline.ask(Request::new(sql).as_of(token)).unwrap();
        assert_eq!(lines_of(&again), rows, "the same moment asked later");
    }
}

fn next_of(offsets: &Offsets) -> u64 {
    let of_source = offsets.iter().find(|(origin, _)| origin.source() == SOURCE);
    of_source.map_or(0, |(_, next)| next)
}

/// The oracle after each number of lines, advanced as it is asked.
struct Prefixes<'a> {
    lines: &'a [&'a [u8]],
    at: u64,
    oracle: k2_harness::oracle::Oracle,
    offsets: u64,
}

impl<'a> Prefixes<'a> {
    fn new(lines: &'a [&'a [u8]]) -> Self {
        let instruments = k2_model::InstrumentTable::shipped();
        Self { lines, at: 0, oracle: k2_harness::oracle::Oracle::new(instruments), offsets: 0 }
    }

    fn unique(&self) -> u64 {
        self.oracle.counts(k2_model::DataType::Trades).unique
    }

    fn check(&mut self, at: u64, answer: &str) {
        assert!(self.at <= at, "a frontier never goes back");
        for line in &self.lines[self.at as usize..at as usize] {
            let before = self.unique();
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            self.oracle.observe(crate::support::VENUE, SOURCE, line);
            if self.unique() > before {
                self.offsets += self.at;
            }
            self.at += 1;
        }
        let seen: Seen = serde_json::from_str(answer).unwrap();
        assert_eq!(seen.trades, self.unique(), "{answer}");
        assert_eq!(seen.strange, 0, "{answer}");
        assert!(seen.volumes.iter().all(|volume| *volume == seen.volume), "{answer}");
        assert!(seen.counts.iter().all(|count| count.unwrap_or(0) == seen.trades), "{answer}");
        assert_eq!(seen.offsets.unwrap_or(0), self.offsets, "{answer}");
    }
}

type Revisions = BTreeMap<(String, String, String), (u64, String)>;

/// A bar that has changed has a higher revision than before.
fn check_revisions(asker: &Asker, known: &mut Revisions) {
    #[derive(Deserialize)]
    struct Revised {
        venue: String,
        symbol: String,
        window_start: String,
        revision: u64,
        content: String,
    }
    let sql = "SELECT venue, symbol, window_start, revision,
                      concat_ws(' ', open, high, low, close, volume, vwap, trade_count) AS content
               FROM ohlcv_1d";
    for row in asker.rows::<Revised>(sql) {
        let key = (row.venue, row.symbol, row.window_start);
        let before = known.insert(key, (row.revision, row.content.clone()));
        let Some((revision, content)) = before else { continue };
        assert!(row.revision >= revision, "a revision never goes back");
        assert!(row.revision > revision || row.content == content, "{content} {}", row.content);
    }
}

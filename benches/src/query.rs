//! How soon does a job answer while a hundred thousand messages a second come in, over rows in
//! memory, over a month of tables, and across the seam? (P4, P5, P6)
//!
//! A market is piped into one job: its history as fast as it goes, then more of it at a steady
//! rate, until the end. Questions come at a rate of their own (`query/load.rs`). Each answer says
//! which lines it covers, so how late a line is seen is measured beside, by the answers themselves.
//! What is cold is also asked of DuckDB, over the same Parquet files, while the same job runs.

mod cold;
mod feed;
mod load;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use k2_harness::generator::{Generator, GeneratorConfig};
use k2_model::time::NANOS_PER_DAY;

use crate::latency::histogram;
use crate::report::{Figure, Report};
use crate::run::{
    Error, Killed, address, clear, k2, pg_address, query as query_job, scratch, text,
    wait_until_read,
};
use feed::Feed;
use load::{Load, Outcome, Question, Seen};

const POLL: Duration = Duration::from_millis(50);
/// Before anything is measured the rate is held for so long: a commit has come and gone.
const WARM_UP: Duration = Duration::from_secs(62);
/// Questions a second of those that memory answers.
const HOT_RATE: f64 = 200.0;
/// Of those that are planned and read files.
const COLD_RATE: f64 = 10.0;
const COLD_QUESTIONS: u64 = 300;
const SEAM_RATE: f64 = 3.0;
const SEAM_QUESTIONS: u64 = 150;
/// The symbols that are asked for, busiest first.
const SYMBOLS_ASKED: usize = 50;
/// The share of the wanted rate that must be reached, or the figures are of something else.
const RATE_SHARE: f64 = 0.98;

pub struct QueryBench {
    /// Messages of the tables, over `days` of event time.
    pub history: u64,
    pub days: u64,
    /// Messages a second while questions are asked.
    pub rate: u64,
    /// Questions for the recent minutes.
    pub samples: u64,
    /// Rows of an export.
    pub export: u64,
    pub workers: usize,
    /// A Python with psycopg and DuckDB, for the comparison; without it there is none.
    pub python: Option<PathBuf>,
    /// Told what is being done.
    pub progress: fn(&str),
}

pub fn query(options: &QueryBench) -> Result<Report, Error> {
    let question = "How soon does a job answer while messages come in?";
    let mut report = Report::new("query", question);
    let folder = scratch("query")?;
    let bench = Bench::start(options, &folder.join("data"))?;
    bench.tell_input(&mut report)?;
    bench.hot(&mut report)?;
    bench.cold(&mut report)?;
    bench.seam(&mut report)?;
    bench.exports(&mut report)?;
    bench.end(&mut report)?;
    clear(&folder)?;
    Ok(report)
}

/// A job with its history, its feed, and whom to ask about what.
struct Bench<'a> {
    options: &'a QueryBench,
    dir: PathBuf,
    job: Killed,
    feed: Feed,
    /// When the feed's rate began.
    live_since: Instant,
    lines_before: u64,
    clock: Instant,
    address: SocketAddr,
    /// Symbols and how many trades each has in the history, busiest first.
    symbols: Vec<(String, u64)>,
    /// Of each load the answers, in order of time.
    seen: Mutex<Vec<Vec<Seen>>>,
}

impl<'a> Bench<'a> {
    fn start(options: &'a QueryBench, dir: &Path) -> Result<Self, Error> {
        let config = GeneratorConfig::default()
            .spread(options.history, options.days * NANOS_PER_DAY.unsigned_abs());
        let config = GeneratorConfig { messages: None, ..config };
        let generator = Generator::new(config).map_err(|wrong| Error::Wrong(wrong.to_string()))?;
        let mut child = start_job(dir, options.workers)?;
        let pipe = child.stdin.take().expect("the job's standard input is a pipe");
        let (job, clock) = (Killed(child), Instant::now());
        let feed = Feed::start(generator, options.history, options.rate, pipe, clock);
        (options.progress)(&format!("a history of {} messages", options.history));
        let address = address(dir)?;
        wait_for_history(&feed, address, options.history)?;
        let symbols = symbols(dir)?;
        feed.go_live();
        let (live_since, lines_before) = (Instant::now(), feed.lines());
        (options.progress)(&format!("{} messages a second from now on", options.rate));
        std::thread::sleep(WARM_UP);
        let (dir, seen) = (dir.to_owned(), Default::default());
        Ok(Self {
            options,
            dir,
            job,
            feed,
            live_since,
            lines_before,
            clock,
            address,
            symbols,
            seen,
        })
    }

    fn tell_input(&self, report: &mut Report) -> Result<(), Error> {
        report.input("history", self.options.history);
        report.input("days", self.options.days);
        let newest = "SELECT snapshot_id FROM snapshots WHERE \"table\" = 'trades' AND is_current";
        let newest = count(&self.dir, newest)?;
        let stored = format!("SELECT count(*) AS n FROM trades AT (SNAPSHOT {newest})");
        report.input("rows in tables", count(&self.dir, &stored)?);
        report.input("files", cold::files(&self.dir)?.len());
        report.input("rate", self.options.rate);
        report.input("workers", self.options.workers);
        report.input("symbols asked", SYMBOLS_ASKED);
        Ok(())
    }

    fn load(
        &self,
        what: &str,
        (rate, count): (f64, u64),
        question: &(dyn Fn(u64) -> Question + Sync),
    ) -> Result<Outcome, Error> {
        let load = Load { address: self.address, rate, count, clock: self.clock, question };
        let outcome = load.run()?;
        if rate >= HOT_RATE {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(outcome.seen.clone());
        }
        let ms = |share| outcome.latency_us.value_at_quantile(share) as f64 / 1e3;
        (self.options.progress)(&format!("{what}: p50 {} ms, p99 {} ms", ms(0.5), ms(0.99)));
        if self.feed.has_failed() {
            return Err(Error::Wrong("the job does not take its messages any more".into()));
        }
        Ok(outcome)
    }

    fn symbol(&self, nth: u64) -> &str {
        let asked = self.symbols.len().min(SYMBOLS_ASKED);
        &self.symbols[nth as usize % asked].0
    }

    /// What memory answers: P4 and P5.
    fn hot(&self, report: &mut Report) -> Result<(), Error> {
        let path = |nth| {
            let symbol = self.symbol(nth);
            Question::Get(format!("/v1/trades/recent?symbol={symbol}&window_minutes=15&limit=1000"))
        };
        let recent = self.load("recent trades", (HOT_RATE, self.options.samples), &path)?;
        if recent.empty > 0 {
            return Err(Error::Wrong(format!("{} answers have no rows", recent.empty)));
        }
        report.input("bytes of a recent answer", recent.bytes / recent.latency_us.len());
        add(report, "recent (P4)", &recent.latency_us, [Some(2.0), Some(10.0)]);
        let path = |nth| Question::Get(format!("/v1/trades?symbol={}&limit=1", self.symbol(nth)));
        let samples = (HOT_RATE, self.options.samples / 4);
        let latest = self.load("latest trades", samples, &path)?;
        add(report, "latest trade (P5)", &latest.latency_us, [None, Some(1.0)]);
        let path = |nth| Question::Get(format!("/v1/ohlcv/1m?symbol={}&limit=1", self.symbol(nth)));
        let bar = self.load("latest bars", samples, &path)?;
        add(report, "one bar (P5)", &bar.latency_us, [None, Some(1.0)]);
        // What no server can be below, on this machine and under this load.
        let nothing = self.load("answers of nothing", samples, &|_| Question::Nothing)?;
        add(report, "no answer, 404", &nothing.latency_us, NO_BUDGET);
        Ok(())
    }

    /// One symbol and hour of the history: P6.
    fn cold(&self, report: &mut Report) -> Result<(), Error> {
        // The last day goes on while questions are asked.
        let hours = (self.options.days - 1) * 24;
        // Each is asked once before: its file's footer is in the cache, as with any hour that
        // people look at.
        let question = |nth: u64| cold::hour(self.symbol(nth), nth.wrapping_mul(7_919) % hours);
        let ask = |nth| Question::Sql(question(nth));
        let first = self.load("cold hours, first time", (COLD_RATE, COLD_QUESTIONS), &ask)?;
        add(report, "cold hour, first time", &first.latency_us, NO_BUDGET);
        let outcome = self.load("cold hours", (COLD_RATE, COLD_QUESTIONS), &ask)?;
        add(report, "cold hour (P6)", &outcome.latency_us, [None, Some(50.0)]);
        let questions: Vec<String> = (0..COLD_QUESTIONS).map(question).collect();
        let Some(python) = &self.options.python else { return Ok(()) };
        (self.options.progress)("cold hours, through psycopg and DuckDB");
        let clients = cold::Clients { python, dir: &self.dir, rate: COLD_RATE };
        let mine = clients.postgres(pg_address(&self.dir)?, &questions)?;
        add(report, "cold hour over PostgreSQL (P6)", &mine.latency_us, [None, Some(50.0)]);
        let other = clients.duckdb_of_days(&questions)?;
        add(report, "cold hour, DuckDB given the day", &other.latency_us, NO_BUDGET);
        if mine.rows != other.rows {
            return Err(Error::Wrong("DuckDB counts other rows in the same files".into()));
        }
        let all = clients.duckdb_of_all(&questions[..questions.len().min(5)])?;
        add(report, "cold hour, DuckDB given all files", &all.latency_us, NO_BUDGET);
        let p99 = |it: &Histogram<u64>| it.value_at_quantile(0.99) as f64;
        let ratio = p99(&other.latency_us) / p99(&outcome.latency_us);
        report.figures.push(Figure::at_least("DuckDB's p99 over K2's", "x", vec![ratio], 1.0));
        Ok(())
    }

    /// A range that ends now, against one of as many rows in the tables alone.
    fn seam(&self, report: &mut Report) -> Result<(), Error> {
        // One that is not the busiest: the live rows of a minute are not a month of its history.
        let (symbol, trades) = &self.symbols[self.symbols.len().min(SYMBOLS_ASKED) - 1];
        let a_day = *trades as f64 / self.options.days as f64;
        let spanning = cold::since(symbol, self.options.days - 1);
        let counted = count(&self.dir, &spanning)?;
        let days = ((counted as f64 / a_day).ceil() as u64).clamp(1, self.options.days - 1);
        let of_tables = cold::days(symbol, days);
        report.input("rows of the range over the seam", counted);
        report.input("rows of the cold range", count(&self.dir, &of_tables)?);
        let shape = (SEAM_RATE, SEAM_QUESTIONS);
        let over =
            self.load("ranges over the seam", shape, &|_| Question::Sql(spanning.clone()))?;
        let cold = self.load("cold ranges", shape, &|_| Question::Sql(of_tables.clone()))?;
        add(report, "range over the seam", &over.latency_us, NO_BUDGET);
        add(report, "cold range", &cold.latency_us, NO_BUDGET);
        let p99 = |it: &Outcome| it.latency_us.value_at_quantile(0.99) as f64;
        let ratio = p99(&over) / p99(&cold);
        report.figures.push(Figure::at_most("seam over cold, p99", "x", vec![ratio], 1.5));
        Ok(())
    }

    fn exports(&self, report: &mut Report) -> Result<(), Error> {
        for (format, wanted) in [("arrow", 2e6), ("parquet", 2e6), ("csv", 5e5)] {
            (self.options.progress)(&format!("an export as {format}"));
            let rows = self.options.export.min(self.options.history);
            let (bytes, took) = cold::export(self.address, format, rows)?;
            report.input(&format!("bytes of the export as {format}"), bytes);
            let rate = rows as f64 / took.as_secs_f64();
            let name = format!("export as {format}");
            report.figures.push(Figure::at_least(name, "rows/s", vec![rate], wanted));
        }
        Ok(())
    }

    /// How the feed fared meanwhile.
    fn end(self, report: &mut Report) -> Result<(), Error> {
        let lines = self.feed.lines() - self.lines_before;
        let reached = lines as f64 / self.live_since.elapsed().as_secs_f64();
        let written = self.feed.end().map_err(Error::io("feed the job"))?;
        drop(self.job);
        let seen = self.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = histogram();
        for load in &seen {
            fresh.add(freshness(&written, load)).expect("both have the same bounds");
        }
        let wanted = self.options.rate as f64 * RATE_SHARE;
        report.figures.push(Figure::at_least("messages taken", "/s", vec![reached], wanted));
        report.input("samples of freshness", fresh.len());
        add(report, "freshness", &fresh, [None, Some(50.0)]);
        Ok(())
    }
}

fn start_job(dir: &Path, workers: usize) -> Result<Child, Error> {
    let (dir, workers) = (text(dir), workers.to_string());
    let mut command = k2(&["run", "--input", "-", "--data-dir", &dir, "--workers", &workers])?;
    command.args(["--listen", "127.0.0.1:0", "--pg", "127.0.0.1:0"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(Error::io("start k2 run"))
}

fn wait_for_history(feed: &Feed, address: SocketAddr, lines: u64) -> Result<(), Error> {
    wait_until_read(address, lines)?;
    // It writes whole blocks, so a few lines more may be on their way.
    while !feed.has_history() {
        if feed.has_failed() {
            return Err(Error::Wrong("the job did not take all of its history".into()));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// The rows of `sql` as lines of CSV; at least one.
fn rows(dir: &Path, sql: &str) -> Result<Vec<String>, Error> {
    let found = query_job(dir, sql)?.filter(|rows| !rows.is_empty());
    found.ok_or_else(|| Error::Wrong(format!("no rows: {sql}")))
}

/// How many rows a question of [`cold`] counts.
/// The one number that `sql` is answered by.
fn count(dir: &Path, sql: &str) -> Result<u64, Error> {
    let row = rows(dir, sql)?.swap_remove(0);
    let counted = row.split(',').next().and_then(|count| count.parse().ok());
    counted.ok_or_else(|| Error::Wrong(format!("{sql}: {row}")))
}

fn symbols(dir: &Path) -> Result<Vec<(String, u64)>, Error> {
    let sql = "SELECT symbol, trade_count FROM symbols ORDER BY trade_count DESC, symbol";
    let known = rows(dir, sql)?;
    let known = known.iter().filter_map(|row| {
        let (symbol, trades) = row.split_once(',')?;
        Some((symbol.to_owned(), trades.parse().ok()?))
    });
    Ok(known.collect())
}

/// Adds the figures of a histogram, with what its median and its p99 are held to.
fn add(report: &mut Report, name: &str, us: &Histogram<u64>, [p50_ms, p99_ms]: [Option<f64>; 2]) {
    let shares =
        [("p50", 0.5, p50_ms), ("p99", 0.99, p99_ms), ("p99.9", 0.999, None), ("most", 1.0, None)];
    for (what, share, budget) in shares {
        let (name, ms) = (format!("{name}, {what}"), us.value_at_quantile(share) as f64 / 1e3);
        report.figures.push(match budget {
            Some(budget) => Figure::at_most(name, "ms", vec![ms], budget),
            None => Figure::plain(name, "ms", vec![ms]),
        });
    }
    report.input(&format!("samples, {name}"), us.len());
}

const NO_BUDGET: [Option<f64>; 2] = [None, None];

/// From when a line was written until the first answer that covers it had come: of the lines that
/// were written while `seen`, one load's answers, came.
fn freshness(written: &[(u64, Duration)], seen: &[Seen]) -> Histogram<u64> {
    let mut latency_us = histogram();
    let (Some(first), Some(last)) = (seen.first(), seen.last()) else { return latency_us };
    let mut answers = seen.iter().peekable();
    for pair in written.windows(2) {
        let [(before, _), (lines, at)] = pair else { continue };
        if *at < first.at || *lines > last.lines {
            continue;
        }
        while answers.next_if(|answer| answer.lines < *lines).is_some() {}
        let Some(answer) = answers.peek() else { break };
        let us = u64::try_from(answer.at.saturating_sub(*at).as_micros()).unwrap_or(u64::MAX);
        latency_us.saturating_record_n(us.max(1), lines - before);
    }
    latency_us
}

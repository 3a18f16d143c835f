//! How long after `kill -9` and a new start does the first right answer come (P10)?

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use k2_harness::generator::GeneratorConfig;

use crate::replay::write_market;
use crate::report::{Figure, Report};
use crate::run::{Error, Killed, clear, job, k2, query, scratch, text};

const SECONDS: f64 = 5.0;
/// When a start counts as failed.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

pub struct Restart {
    pub hours: u64,
    pub messages: u64,
    pub runs: usize,
}

/// Fills a directory with `hours` of a generated market, starts the job on it, kills it as it
/// serves, and measures from the next start to the first right answer of a view and of a table.
pub fn restart(options: &Restart) -> Result<Report, Error> {
    let mut report = Report::new(
        "restart",
        "How long after kill -9 and a new start does the first right answer come?",
    );
    let folder = scratch("restart")?;
    let (market, dir) = (folder.join("market.ndjson"), folder.join("data"));
    let span = Duration::from_secs(options.hours * 3_600).as_nanos();
    let mut config = GeneratorConfig::default();
    config = config.spread(options.messages, u64::try_from(span).unwrap_or(u64::MAX));
    write_market(&market, config)?;
    job(&market, &dir, 2)?;
    let expected = ask(&dir)?.ok_or_else(|| Error::Command("the first query failed".into()))?;
    report.input("hours", options.hours);
    report.input("messages", options.messages);
    report.input("answer", expected.join(" "));
    let mut seconds = Vec::new();
    // The first start is not measured: it is the one that is killed.
    for run in 0..=options.runs.max(1) {
        let begun = Instant::now();
        let running = Killed(start(&market, &dir)?);
        wait_for(&dir, &expected, begun)?;
        if run > 0 {
            seconds.push(begun.elapsed().as_secs_f64());
        }
        drop(running);
    }
    report.figures.push(Figure::at_most("first right answer", "s", seconds, SECONDS));
    clear(&folder)?;
    Ok(report)
}

fn start(market: &Path, dir: &Path) -> Result<std::process::Child, Error> {
    let (market, dir) = (text(market), text(dir));
    let arguments = ["run", "--input", &market, "--data-dir", &dir, "--listen", "127.0.0.1:0"];
    let mut command = k2(&arguments)?;
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(Error::io("start k2 run"))
}

/// Waits for a job that answers as it did before. Its address is in the directory, so an answer
/// that came from the tables alone does not count.
fn wait_for(dir: &Path, expected: &[String], begun: Instant) -> Result<(), Error> {
    loop {
        if dir.join("job.json").exists()
            && let Some(found) = ask(dir)?
        {
            if found == expected {
                return Ok(());
            }
            return Err(Error::Wrong(format!("{found:?} instead of {expected:?}")));
        }
        if begun.elapsed() > PATIENCE {
            return Err(Error::Command("the job gave no answer for two minutes".into()));
        }
        std::thread::sleep(POLL);
    }
}

fn ask(dir: &Path) -> Result<Option<Vec<String>>, Error> {
    const SQL: &str = "SELECT (SELECT sum(trade_count) FROM ohlcv_1d), \
                       (SELECT sum(trade_count) FROM symbols), count(*) FROM trades";
    query(dir, SQL)
}

//! What is asked of the tables, and the clients that are not K2.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use k2_harness::generator::GeneratorConfig;
use k2_model::Nanos;
use k2_model::time::NANOS_PER_DAY;
use serde::Deserialize;

use crate::latency::histogram;
use crate::run::Error;

const CLIENTS: &str = include_str!("clients.py");
const NANOS_PER_HOUR: i64 = NANOS_PER_DAY / 24;
const ASKED: &str = "count(*) AS n, sum(quantity) AS volume, min(price) AS low, max(price) AS high";

fn start() -> i64 {
    GeneratorConfig::default().start.0
}

fn range(symbol: &str, from: i64, to: Option<i64>) -> String {
    let from = Nanos(from);
    let to = to.map_or(String::new(), |to| format!(" AND ts < TIMESTAMPTZ '{}'", Nanos(to)));
    format!(
        "SELECT {ASKED} FROM trades WHERE symbol = '{symbol}' AND ts >= TIMESTAMPTZ '{from}'{to}"
    )
}

/// One hour of the history.
pub(super) fn hour(symbol: &str, hour: u64) -> String {
    let from = start() + hour as i64 * NANOS_PER_HOUR;
    range(symbol, from, Some(from + NANOS_PER_HOUR))
}

/// From the beginning of a day of the history until now.
pub(super) fn since(symbol: &str, day: u64) -> String {
    range(symbol, start() + day as i64 * NANOS_PER_DAY, None)
}

/// The first days of the history.
pub(super) fn days(symbol: &str, days: u64) -> String {
    range(symbol, start(), Some(start() + days as i64 * NANOS_PER_DAY))
}

/// The Parquet files of the trades.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(Error::io("list the tables' files"))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "parquet")
                && path.components().any(|part| part.as_os_str() == "trades")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Other clients, each a process of its own.
pub(super) struct Clients<'a> {
    pub python: &'a Path,
    pub dir: &'a Path,
    /// Questions a second.
    pub rate: f64,
}

/// What a client was told.
pub(super) struct Told {
    pub latency_us: Histogram<u64>,
    /// Of each answer the count of its rows.
    pub rows: Vec<String>,
}

impl Clients<'_> {
    pub(super) fn postgres(&self, at: SocketAddr, questions: &[String]) -> Result<Told, Error> {
        let (host, port) = (at.ip().to_string(), at.port().to_string());
        let questions = questions.iter().map(|sql| serde_json::json!({ "sql": sql }));
        self.ask(&["postgres", &self.rate.to_string(), &host, &port], questions)
    }

    /// With the files of the right day named in each question.
    pub(super) fn duckdb_of_days(&self, questions: &[String]) -> Result<Told, Error> {
        let files = files(self.dir)?;
        let of_day = |sql: &str| {
            let day = sql.split("TIMESTAMPTZ '").nth(1).map_or("", |time| &time[..10]);
            let files = files.iter().filter(|file| file.to_string_lossy().contains(day));
            files.collect::<Vec<_>>()
        };
        let questions =
            questions.iter().map(|sql| serde_json::json!({ "sql": sql, "files": of_day(sql) }));
        self.duckdb(self.rate, questions)
    }

    /// With all files named.
    pub(super) fn duckdb_of_all(&self, questions: &[String]) -> Result<Told, Error> {
        let files = files(self.dir)?;
        let questions =
            questions.iter().map(|sql| serde_json::json!({ "sql": sql, "files": files }));
        self.duckdb(0.2, questions)
    }

    fn duckdb(
        &self,
        rate: f64,
        questions: impl Iterator<Item = serde_json::Value>,
    ) -> Result<Told, Error> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();
        self.ask(&["duckdb", &rate.to_string(), &threads], questions)
    }

    fn ask(
        &self,
        arguments: &[&str],
        questions: impl Iterator<Item = serde_json::Value>,
    ) -> Result<Told, Error> {
        let mut client = Command::new(self.python)
            .args(["-c", CLIENTS])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io("start a client in Python"))?;
        let mut stdin = client.stdin.take().expect("its standard input is a pipe");
        for question in questions {
            writeln!(stdin, "{question}").map_err(Error::io("ask a client in Python"))?;
        }
        drop(stdin);
        let output = client.wait_with_output().map_err(Error::io("wait for a client"))?;
        if !output.status.success() {
            return Err(Error::Command(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Told::of(&String::from_utf8_lossy(&output.stdout))
    }
}

impl Told {
    fn of(lines: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Line {
            us: u64,
            row: Vec<String>,
        }
        let mut told = Self { latency_us: histogram(), rows: Vec::new() };
        for line in lines.lines() {
            let line: Line = serde_json::from_str(line)
                .map_err(|error| Error::Wrong(format!("read what a client said: {error}")))?;
            told.latency_us.saturating_record(line.us);
            told.rows.extend(line.row.into_iter().next());
        }
        Ok(told)
    }
}

/// Exports so many trades, and answers how many bytes they were and how long they took.
pub(super) fn export(
    address: SocketAddr,
    format: &str,
    rows: u64,
) -> Result<(u64, Duration), Error> {
    let failed = |error: reqwest::Error| Error::Command(format!("export: {error}"));
    let http = reqwest::blocking::Client::builder().no_proxy().timeout(None).build();
    let sql = format!("SELECT * FROM trades LIMIT {rows}");
    let question = serde_json::json!({ "sql": sql, "format": format });
    let begun = Instant::now();
    let request = http.map_err(failed)?.post(format!("http://{address}/v1/sql")).json(&question);
    let mut answer = request.send().and_then(|it| it.error_for_status()).map_err(failed)?;
    let (mut bytes, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match answer.read(&mut buffer).map_err(Error::io("read an export"))? {
            0 => return Ok((bytes, begun.elapsed())),
            read => bytes += read as u64,
        }
    }
}

//! What do a thousand subscribers cost a job, how late do they hear, and do those who want every
//! trade get every trade?
//!
//! The same file passes twice through a job that serves: once while nobody listens, and once with
//! subscribers of its busiest symbols, conflated to four updates a second each, from the first
//! message to the last. Then the market comes at a steady rate, and some subscribers of its busiest
//! symbol want every trade.
//!
//! The subscribers are threads of this program and take their share of the same cores, so the
//! figures are of both together; the job's own part is its CPU time.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use k2_harness::generator::{GeneratorConfig, LineForm};
use k2_harness::subscriber::Subscriber;
use serde::Deserialize;

use crate::replay::write_market;
use crate::report::{Figure, Report};
use crate::run::{Error, Killed, address, clear, cpu, k2, query, scratch, text, wait_until_read};

/// The share of its rate that a job keeps.
const SHARE: f64 = 0.9;
/// Between two updates, for those who are to have four a second.
const GAP_MS: f64 = 500.0;
/// The symbols that conflated subscribers share, busiest first.
const SYMBOLS: [&str; 4] = ["BTC-USDT", "ETH-USDT", "SOL-USDT", "BNB-USDT"];
/// A subscriber's thread reads lines and counts; it needs little.
const STACK_BYTES: usize = 128 << 10;

pub struct Subscribers {
    pub subscribers: usize,
    /// Messages of the file that passes as fast as it can.
    pub messages: u64,
    pub runs: usize,
    /// Subscribers of every trade, while messages come at `rate` a second for `duration`.
    pub every: usize,
    pub rate: u64,
    pub duration: Duration,
    pub workers: usize,
}

pub fn subscribers(options: &Subscribers) -> Result<Report, Error> {
    let mut report =
        Report::new("subscribers", "What do subscribers cost a job, and what do they get?");
    report.input("messages", options.messages);
    report.input("readers", options.subscribers);
    report.input("runs", options.runs);
    report.input("workers", options.workers);
    let folder = scratch("subscribers")?;
    at_full_speed(options, &folder, &mut report)?;
    every_trade(options, &folder, &mut report)?;
    clear(&folder)?;
    Ok(report)
}

fn at_full_speed(options: &Subscribers, folder: &Path, report: &mut Report) -> Result<(), Error> {
    let config = GeneratorConfig { messages: Some(options.messages), ..GeneratorConfig::default() };
    let market = write_market(&folder.join("market.ndjson"), config)?;
    let (messages, workers) = (options.messages, options.workers);
    let run = Run { market: &market, messages, folder, speed: "max", workers };
    let conflated: Vec<String> = (0..options.subscribers)
        .map(|at| format!("symbol={}&on_slow=conflate&rate=4", SYMBOLS[at % SYMBOLS.len()]))
        .collect();
    let (mut alone, mut watched) = (Vec::new(), Vec::new());
    for _ in 0..options.runs.max(1) {
        alone.push(run.with(&[])?.0);
        watched.push(run.with(&conflated)?);
    }
    let rate = |run: &Took| options.messages as f64 / run.wall.as_secs_f64();
    let per_message = |run: &Took| run.cpu.as_nanos() as f64 / options.messages as f64;
    let mut add = |figure| report.figures.push(figure);
    add(Figure::plain("messages a second, no readers", "/s", alone.iter().map(rate).collect()));
    let rates = watched.iter().map(|(run, _)| rate(run)).collect();
    add(Figure::plain("messages a second, with readers", "/s", rates));
    let pairs = || alone.iter().zip(&watched);
    let shares = pairs().map(|(alone, (watched, _))| rate(watched) / rate(alone)).collect();
    add(Figure::at_least("rate with readers over without", "x", shares, SHARE));
    let more = pairs().map(|(alone, (watched, _))| per_message(watched) / per_message(alone));
    add(Figure::plain("CPU of the job with over without", "x", more.collect()));
    let gaps = || watched.iter().map(|(_, heard)| heard);
    let late = gaps().map(|heard| heard.gaps_ms.value_at_quantile(0.99) as f64).collect();
    add(Figure::plain("between two updates, p99", "ms", late));
    let most = gaps().map(|heard| heard.gaps_ms.max() as f64).collect();
    add(Figure::at_most("between two updates, most", "ms", most, GAP_MS));
    add(Figure::plain("updates", "", gaps().map(|heard| heard.events as f64).collect()));
    Ok(())
}

fn every_trade(options: &Subscribers, folder: &Path, report: &mut Report) -> Result<(), Error> {
    let messages = options.rate * options.duration.as_secs();
    let config = GeneratorConfig {
        messages: Some(messages),
        bursts: false,
        // By this time it is paced.
        form: LineForm { receive_time: true, envelope: false },
        ..GeneratorConfig::default()
    };
    let market = write_market(&folder.join("paced.ndjson"), config.at_rate(options.rate))?;
    let every = format!("symbol={}&on_slow=skip&snapshot=0", SYMBOLS[0]);
    let readers = vec![every; options.every];
    let workers = options.workers;
    let run = Run { market: &market, messages, folder, speed: "1", workers };
    let (took, heard) = run.with(&readers)?;
    let sql = format!("SELECT count(*) FROM trades WHERE symbol = '{}'", SYMBOLS[0]);
    let trades = query(&run.data(), &sql)?.and_then(|lines| lines.first()?.parse::<u64>().ok());
    let trades = trades.ok_or_else(|| Error::Wrong("the trades could not be counted".into()))?;
    report.input("readers of all", options.every);
    report.input("trades", trades);
    let reached = messages as f64 / took.wall.as_secs_f64();
    let mut add = |figure| report.figures.push(figure);
    add(Figure::plain(format!("messages a second of {}", options.rate), "/s", vec![reached]));
    let wanted = (trades * options.every as u64) as f64;
    add(Figure::at_least("share of every trade", "x", vec![heard.rows as f64 / wanted], 1.0));
    add(Figure::plain("trades that were skipped", "", vec![heard.skipped as f64]));
    Ok(())
}

/// One run of a job over a file, to its end.
struct Run<'a> {
    market: &'a Path,
    messages: u64,
    folder: &'a Path,
    speed: &'a str,
    workers: usize,
}

/// What a run took, from the first message on.
struct Took {
    wall: Duration,
    /// User and system time of the job.
    cpu: Duration,
}

impl Run<'_> {
    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Runs it with a subscriber for each of `readers`, which are there before the first message.
    fn with(&self, readers: &[String]) -> Result<(Took, Heard), Error> {
        let dir = self.data();
        clear(&dir)?;
        let before = cpu();
        // The job follows a file that grows, so that readers are there before the first message.
        let grows = self.folder.join("grows.ndjson");
        std::fs::write(&grows, FIRST).map_err(Error::io("begin the market"))?;
        let mut job = Killed(self.start(&grows, &dir)?);
        let address = address(&dir)?;
        let threads = readers.iter().map(|reader| subscribe(address, reader));
        let threads = threads.collect::<Result<Vec<_>, _>>()?;
        let mut market = File::open(self.market).map_err(Error::io("read the market"))?;
        let begun = Instant::now();
        feed(&mut market, &grows).map_err(Error::io("feed k2 run"))?;
        wait_until_read(address, self.messages + 1)?;
        stop(&job.0)?;
        let status = job.0.wait().map_err(Error::io("wait for k2 run"))?;
        let wall = begun.elapsed();
        if !status.success() {
            return Err(Error::Command(format!("k2 run: {status}")));
        }
        let mut heard = Heard::new();
        for thread in threads {
            let one = thread.join().map_err(|_| Error::Wrong("a subscriber panicked".into()))?;
            heard.add(&one.map_err(Error::io("read events"))?);
        }
        Ok((Took { wall, cpu: cpu() - before }, heard))
    }

    fn start(&self, input: &Path, dir: &Path) -> Result<Child, Error> {
        let (input, data, workers) = (text(input), text(dir), self.workers.to_string());
        let arguments = [
            "run",
            "--input",
            &input,
            "--data-dir",
            &data,
            "--workers",
            &workers,
            "--speed",
            self.speed,
            "--listen",
            "127.0.0.1:0",
        ];
        let mut command = k2(&arguments)?;
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_err(Error::io("start k2 run"))
    }
}

/// Lets the file at `grows` grow by `market`. Not opened to append, which the kernel does not copy
/// to by itself: the job needs the processors.
fn feed(market: &mut File, grows: &Path) -> std::io::Result<()> {
    let mut grown = File::options().write(true).open(grows)?;
    grown.seek(SeekFrom::End(0))?;
    std::io::copy(market, &mut grown).map(drop)
}

/// Asks the job to commit what it has and to end.
fn stop(job: &Child) -> Result<(), Error> {
    let pid = job.id().to_string();
    let status = Command::new("kill").args(["-INT", &pid]).status();
    status.map(drop).map_err(Error::io("stop k2 run"))
}

/// What subscribers were told.
struct Heard {
    rows: u64,
    skipped: u64,
    events: u64,
    /// From one update of a subscriber to its next.
    gaps_ms: Histogram<u64>,
}

impl Heard {
    fn new() -> Self {
        let gaps_ms = Histogram::new(2).expect("two digits can be kept");
        Self { rows: 0, skipped: 0, events: 0, gaps_ms }
    }

    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.skipped += other.skipped;
        self.events += other.events;
        self.gaps_ms.add(&other.gaps_ms).expect("both grow as they must");
    }
}

type Listening = JoinHandle<std::io::Result<Heard>>;

/// Subscribes, and listens on a thread of its own until the stream ends.
fn subscribe(address: SocketAddr, query: &str) -> Result<Listening, Error> {
    let path = format!("/v1/stream/trades?{query}");
    let failed = || Error::io("subscribe");
    let mut subscriber = Subscriber::connect(address, &path, "").map_err(failed())?;
    // The snapshot: from here on nothing is missed.
    subscriber.read_event().map_err(failed())?;
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    thread.spawn(move || listen(&mut subscriber)).map_err(failed())
}

fn listen(subscriber: &mut Subscriber) -> std::io::Result<Heard> {
    let (mut heard, mut last) = (Heard::new(), None::<Instant>);
    while let Some(received) = subscriber.read_event()? {
        match received.event.as_str() {
            "changes" => {
                let now = Instant::now();
                if let Some(last) = last.replace(now) {
                    let gap = now.duration_since(last).as_millis();
                    heard.gaps_ms.saturating_record(u64::try_from(gap).unwrap_or(u64::MAX));
                }
                heard.events += 1;
                let rows = memchr::memmem::find_iter(received.data.as_bytes(), ROW);
                heard.rows += rows.count() as u64;
            }
            "skipped" => {
                let skipped: Skipped = serde_json::from_str(&received.data)?;
                heard.skipped += skipped.count;
            }
            _ => {}
        }
    }
    Ok(heard)
}

/// What a venue says to a client that subscribes: a line, but of no market. At the time at which
/// generated markets begin, because a market is paced from the first line on.
const FIRST: &[u8] = b"1704067200000000000 {\"result\":null,\"id\":1}\n";

/// Stands once in each row.
const ROW: &[u8] = b"\"trade_id\":";

#[derive(Deserialize)]
struct Skipped {
    count: u64,
}

//! How soon after a broker has taken a message does a query see it (P3), and does a job keep up
//! with a producer and a broker on the same cores?
//!
//! `k2 generate` writes at a steady rate, `k2 run` reads, and a client asks for the latest trades
//! over HTTP again and again. Each answer says exactly which offsets it covers, so a message is
//! seen by the first answer that covers it, from the moment the client has that answer whole. The
//! broker stamps messages as it appends them; one that was named may leave the producer's stamps,
//! which are older. Each message counts by itself, so that a job that stands still is held against
//! every message that waits meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use k2_harness::parts::BrokerOptions;
use k2_kafka::{Delivery, Format};
use k2_model::time::NANOS_PER_MILLI;
use k2_model::{Offsets, Origin};
use reqwest::blocking::Client;
use serde::Deserialize;

use crate::kafka::read_each;
use crate::latency::{Meta, histogram};
use crate::report::{Figure, Report};
use crate::run::{Error, Killed, address, clear, scratch, text, unanswered};
use crate::stage::{Named, Stage};

const P99_MS: f64 = 50.0;
/// The rate at which the budget holds, messages a second.
const P99_RATE: u64 = 100_000;
/// The share of the wanted rate that must be reached, or the figures are of something else.
const RATE_SHARE: f64 = 0.98;
/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(2);
/// What is appended so soon after the first message is not measured: the broker's compiler is
/// still at work.
const WARM_UP_MS: i64 = 5_000;
/// How long a job may take to catch up at the end.
const PATIENCE: Duration = Duration::from_secs(120);
const SQL: &str = "SELECT * FROM latest_trade WHERE symbol = 'BTC-USDT'";

pub struct Freshness {
    /// `None`: a cluster of the bench's own.
    pub named: Option<Named>,
    /// Messages a second, each measured by itself.
    pub rates: Vec<u64>,
    pub duration: Duration,
    pub partitions: i32,
    pub workers: usize,
}

/// Measures one rate after the other, with one job.
pub fn freshness(options: &Freshness) -> Result<Report, Error> {
    let mut report = Report::new(
        "freshness",
        "How soon after a broker has taken a message does a query see it?",
    );
    report.input("seconds", options.duration.as_secs());
    report.input("partitions", options.partitions);
    report.input("workers", options.workers);
    report.input("question", SQL);
    let broker = BrokerOptions::for_benches().set("log.message.timestamp.type", "LogAppendTime");
    let stage = Stage::set(options.named.as_ref(), broker, options.partitions, Format::Avro)?;
    let folder = scratch("freshness")?;
    let dir = folder.join("data");
    let job = Killed(start_job(&stage, &dir, options.workers)?);
    let asker = Asker::find(&dir)?;
    for rate in &options.rates {
        let measured = measure(&stage, &asker, *rate, options.duration)?;
        measured.add_to(&mut report, *rate);
    }
    drop(job);
    clear(&folder)?;
    Ok(report)
}

/// What the client was told, and when.
struct Seen {
    at_ns: i64,
    offsets: BTreeMap<Origin, u64>,
}

/// What was appended to a partition.
#[derive(Default)]
struct Appended {
    /// The first message's offset.
    first: u64,
    /// When each message was appended, in milliseconds since 1970.
    stamps: Vec<i64>,
}

type Stamps = BTreeMap<Origin, Appended>;

fn measure(stage: &Stage, asker: &Asker, rate: u64, duration: Duration) -> Result<Measured, Error> {
    let before = stage.ends()?;
    let mut producer = Killed(start_producer(stage, rate, duration)?);
    let seen = asker.ask_until_ended(&mut producer.0)?;
    let stamps = stamps(stage, &before)?;
    let seen = asker.ask_until_covered(seen, &stamps)?;
    Measured::of(&seen, &stamps)
}

fn start_job(stage: &Stage, dir: &Path, workers: usize) -> Result<Child, Error> {
    let (dir, workers) = (text(dir), workers.to_string());
    let mut command = stage.reading(&["run", "--data-dir", &dir, "--workers", &workers])?;
    command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(Error::io("start k2 run"))
}

fn start_producer(stage: &Stage, rate: u64, duration: Duration) -> Result<Child, Error> {
    let (rate, duration) = (rate.to_string(), format!("{}ms", duration.as_millis()));
    let mut command = stage.command(&["generate", "--rate", &rate, "--duration", &duration])?;
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(Error::io("start k2 generate"))
}

/// The client that asks.
struct Asker {
    http: Client,
    url: String,
}

#[derive(Deserialize)]
struct Answer {
    meta: Meta,
}

impl Asker {
    /// Waits until the job on `dir` says where it is.
    fn find(dir: &Path) -> Result<Self, Error> {
        let http = Client::builder().no_proxy().build().map_err(unanswered)?;
        Ok(Self { http, url: format!("http://{}/v1/sql", address(dir)?) })
    }

    fn ask(&self) -> Result<Seen, Error> {
        let question = serde_json::json!({ "sql": SQL });
        let answer = self.http.post(&self.url).json(&question).send().map_err(unanswered)?;
        let answer: Answer =
            answer.error_for_status().and_then(|it| it.json()).map_err(unanswered)?;
        let sources = answer.meta.as_of.offsets.into_iter();
        let offsets = sources.flat_map(|(source, partitions)| {
            let of = move |(partition, next)| (Origin::new(&source, partition), next);
            partitions.into_iter().map(of)
        });
        Ok(Seen { offsets: offsets.collect(), at_ns: now_ns() })
    }

    fn ask_until_ended(&self, producer: &mut Child) -> Result<Vec<Seen>, Error> {
        let mut seen = Vec::new();
        loop {
            seen.push(self.ask()?);
            match producer.try_wait().map_err(Error::io("wait for k2 generate"))? {
                None => std::thread::sleep(ASK_EVERY),
                Some(status) if status.success() => return Ok(seen),
                Some(status) => {
                    return Err(Error::Command(format!("k2 generate: {status}")));
                }
            }
        }
    }

    fn ask_until_covered(&self, mut seen: Vec<Seen>, stamps: &Stamps) -> Result<Vec<Seen>, Error> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let last = self.ask()?;
            let covers = |(origin, appended): (&Origin, &Appended)| {
                last.offsets.get(origin).is_some_and(|next| *next >= appended.end())
            };
            let is_covered = stamps.iter().all(covers);
            seen.push(last);
            if is_covered {
                return Ok(seen);
            }
            std::thread::sleep(ASK_EVERY);
        }
        Err(Error::Wrong("not all messages were seen two minutes after the last".into()))
    }
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

impl Appended {
    fn end(&self) -> u64 {
        self.first + self.stamps.len() as u64
    }

    /// How many there were at that time.
    fn by(&self, at_ms: i64) -> u64 {
        self.stamps.partition_point(|stamp| *stamp <= at_ms) as u64
    }
}

/// Reads the topics from `first` on, for when each message was appended.
fn stamps(stage: &Stage, first: &Offsets) -> Result<Stamps, Error> {
    let empty = |(origin, first)| (origin, Appended { first, stamps: Vec::new() });
    let mut stamps: Stamps = first.iter().map(empty).collect();
    read_each(&stage.settings, first, |origin, delivery| {
        if let Delivery::Message { timestamp_ms: Some(stamp), .. } = delivery {
            stamps.entry(origin).or_default().stamps.push(*stamp);
        }
    })?;
    stamps.retain(|_, appended| !appended.stamps.is_empty());
    Ok(stamps)
}

/// The outcome of one rate.
struct Measured {
    messages: u64,
    /// Messages a second that were appended, on average.
    reached: f64,
    /// From append to answer, in microseconds.
    latency_us: Histogram<u64>,
    answers: usize,
    /// Messages that were appended and not seen, at the end of the first and of the last third.
    lag: [u64; 2],
}

impl Measured {
    fn of(seen: &[Seen], stamps: &Stamps) -> Result<Self, Error> {
        let all = || stamps.values().flat_map(|appended| &appended.stamps).copied();
        let (Some(first), Some(last)) = (all().min(), all().max()) else {
            return Err(Error::Wrong("no message was written".into()));
        };
        let mut latency_us = histogram();
        for (origin, appended) in stamps {
            let next_of = |it: &Seen| Some((it.at_ns, *it.offsets.get(origin)?));
            let mut answers = seen.iter().filter_map(next_of);
            let mut current = answers.next();
            for (stamp, offset) in appended.stamps.iter().zip(appended.first..) {
                while current.is_some_and(|(_, next)| next <= offset) {
                    current = answers.next();
                }
                let Some((at_ns, _)) = current else { break };
                if *stamp >= first + WARM_UP_MS {
                    let us = (at_ns - stamp * NANOS_PER_MILLI).max(0) / 1_000;
                    latency_us.saturating_record(us.unsigned_abs());
                }
            }
        }
        let messages = all().count() as u64;
        let third = (last - first) / 3;
        let lag = [first + third, last - third / 10].map(|at_ms| lag_at(at_ms, seen, stamps));
        let reached = messages as f64 / ((last - first).max(1) as f64 / 1e3);
        Ok(Self { messages, reached, latency_us, answers: seen.len(), lag })
    }

    fn add_to(&self, report: &mut Report, rate: u64) {
        let ms = |quantile| self.latency_us.value_at_quantile(quantile) as f64 / 1e3;
        report.input(&format!("messages at {rate}/s"), self.messages);
        report.input(&format!("samples at {rate}/s"), self.latency_us.len());
        report.input(&format!("answers at {rate}/s"), self.answers);
        let mut add = |figure| report.figures.push(figure);
        let named = |what: &str| format!("{what} at {rate}/s");
        add(Figure::at_least(named("rate"), "/s", vec![self.reached], rate as f64 * RATE_SHARE));
        add(Figure::plain(named("p50"), "ms", vec![ms(0.5)]));
        add(match rate {
            P99_RATE => Figure::at_most(named("p99"), "ms", vec![ms(0.99)], P99_MS),
            _ => Figure::plain(named("p99"), "ms", vec![ms(0.99)]),
        });
        add(Figure::plain(named("most"), "ms", vec![self.latency_us.max() as f64 / 1e3]));
        let [early, late] = self.lag.map(|lag| vec![lag as f64]);
        add(Figure::plain(named("lag after a third"), "messages", early));
        add(Figure::plain(named("lag at the end"), "messages", late));
    }
}

/// Messages that the last answer before a time does not cover, of those appended by then.
fn lag_at(at_ms: i64, seen: &[Seen], stamps: &Stamps) -> u64 {
    let is_before = |it: &&Seen| it.at_ns / NANOS_PER_MILLI <= at_ms;
    let answer = seen.iter().rev().find(is_before);
    let behind = stamps.iter().map(|(origin, appended)| {
        let next = answer.and_then(|it| it.offsets.get(origin)).copied().unwrap_or(0);
        (appended.first + appended.by(at_ms)).saturating_sub(next.max(appended.first))
    });
    behind.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_seen_by_the_first_answer_that_covers_it() {
        let origin = Origin::new("freshness-test", 0);
        let appended = Appended { first: 7, stamps: vec![0, WARM_UP_MS, WARM_UP_MS + 10] };
        let stamps: Stamps = [(origin, appended)].into();
        let seen = |at_ms: i64, next| Seen {
            at_ns: at_ms * NANOS_PER_MILLI,
            offsets: [(origin, next)].into(),
        };
        let seen = [seen(1, 7), seen(WARM_UP_MS + 4, 9), seen(WARM_UP_MS + 30, 10)];
        let measured = Measured::of(&seen, &stamps).unwrap();
        assert_eq!(measured.latency_us.len(), 2, "the first is before the warm-up ends");
        let recorded = measured.latency_us.iter_recorded();
        let values: Vec<u64> = recorded.map(|it| it.value_iterated_to()).collect();
        assert_eq!(values.len(), 2);
        assert!((4_000..4_010).contains(&values[0]) && (20_000..20_020).contains(&values[1]));
        assert_eq!(lag_at(WARM_UP_MS + 20, &seen, &stamps), 1);
    }
}

//! Questions at a steady rate, whether or not the answers keep up.
//!
//! Each has its time, and what it takes is counted from that time on, not from when it could be
//! sent: a server that stands still is held against every question that waits meanwhile.
//!
//! The clients stand for other machines, which the job's workers would not keep waiting. They share
//! its processors, so they ask for turns as short as those of the threads that answer them.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use k2_operators::kit::turns::answer_promptly;

use crate::latency::{Meta, histogram};
use crate::run::Error;

/// Connections, each on a thread of its own.
const CONNECTIONS: usize = 8;
/// How long an answer may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A question to a job.
#[derive(Clone, Debug)]
pub(super) enum Question {
    Get(String),
    Sql(String),
    /// What there is no answer to: it takes as long as the machine and the protocol alone.
    Nothing,
}

impl Question {
    /// The status of the answer.
    fn status(&self) -> u16 {
        if matches!(self, Self::Nothing) { 404 } else { 200 }
    }
}

/// How often what is asked.
pub(super) struct Load<'a> {
    pub address: SocketAddr,
    /// Questions a second.
    pub rate: f64,
    pub count: u64,
    /// The time of which `Seen` is counted.
    pub clock: Instant,
    /// The n-th question.
    pub question: &'a (dyn Fn(u64) -> Question + Sync),
}

/// What came of it.
pub(super) struct Outcome {
    pub latency_us: Histogram<u64>,
    /// Answers without rows.
    pub empty: u64,
    pub bytes: u64,
    pub seen: Vec<Seen>,
}

/// An answer covers so many lines of the feed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub at: Duration,
    pub lines: u64,
}

impl Outcome {
    fn new() -> Self {
        Self { latency_us: histogram(), empty: 0, bytes: 0, seen: Vec::new() }
    }

    fn add(&mut self, other: Self) {
        self.latency_us.add(&other.latency_us).expect("both have the same bounds");
        self.empty += other.empty;
        self.bytes += other.bytes;
        self.seen.extend(other.seen);
    }
}

impl Load<'_> {
    /// Asks all of them.
    pub(super) fn run(&self) -> Result<Outcome, Error> {
        let (next, begun) = (AtomicU64::new(0), Instant::now());
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let connection = || scope.spawn(|| self.ask_in_turn(&next, begun));
            let threads: Vec<_> = (0..CONNECTIONS).map(|_| connection()).collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        let mut all = Outcome::new();
        for outcome in outcomes {
            all.add(outcome.map_err(|_| Error::Wrong("a client panicked".into()))??);
        }
        all.seen.sort_by_key(|seen| seen.at);
        Ok(all)
    }

    fn ask_in_turn(&self, next: &AtomicU64, begun: Instant) -> Result<Outcome, Error> {
        answer_promptly();
        let mut connection =
            Connection::open(self.address).map_err(Error::io("connect to the job"))?;
        let mut outcome = Outcome::new();
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= self.count {
                return Ok(outcome);
            }
            let due = begun + Duration::from_secs_f64(nth as f64 / self.rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let question = (self.question)(nth);
            let reply = connection.ask(&question).map_err(Error::io("ask the job"))?;
            let took = due.elapsed().as_micros();
            outcome.latency_us.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
            if reply.status != question.status() {
                let body = String::from_utf8_lossy(&reply.body);
                return Err(Error::Wrong(format!("{question:?}: {} {body}", reply.status)));
            }
            outcome.empty += u64::from(reply.body.starts_with(EMPTY));
            outcome.bytes += reply.body.len() as u64;
            let lines = reply.meta.as_deref().and_then(lines_of);
            let at = self.clock.elapsed();
            outcome.seen.extend(lines.map(|lines| Seen { at, lines }));
        }
    }
}

const EMPTY: &[u8] = br#"{"success":true,"data":[]"#;

/// How many lines of its one input an answer covers.
fn lines_of(meta: &str) -> Option<u64> {
    let meta: Meta = serde_json::from_str(meta).ok()?;
    meta.as_of.offsets.values().flat_map(BTreeMap::values).max().copied()
}

/// A connection that is kept.
struct Connection {
    stream: BufReader<TcpStream>,
}

struct Reply {
    status: u16,
    /// What the answer says of itself.
    meta: Option<String>,
    body: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::with_capacity(1 << 18, stream) })
    }

    fn ask(&mut self, question: &Question) -> io::Result<Reply> {
        let request = match question {
            Question::Nothing => "GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
            Question::Get(path) => format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"),
            Question::Sql(sql) => {
                let body = serde_json::json!({ "sql": sql }).to_string();
                let length = body.len();
                format!(
                    "POST /v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\
                     \r\ncontent-length: {length}\r\n\r\n{body}"
                )
            }
        };
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.read()
    }

    fn read(&mut self) -> io::Result<Reply> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| wrong("the answer has no status"))?;
        let (mut meta, mut length) = (None, None);
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some(("content-length", value)) => length = value.parse::<usize>().ok(),
                Some(("x-k2-meta", value)) => meta = Some(value.to_owned()),
                Some(_) => {}
                None => break,
            }
        }
        let length = length.ok_or_else(|| wrong("the answer does not say how long it is"))?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Reply { status, meta, body })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_answer_that_comes_late_is_held_against_all_that_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pause = Duration::from_millis(300);
        // Answers, but stands still for a while at first.
        std::thread::spawn(move || {
            let begun = Instant::now();
            for stream in listener.incoming() {
                std::thread::spawn(move || {
                    let mut stream = BufReader::new(stream.unwrap());
                    let mut line = String::new();
                    while stream.read_line(&mut line).is_ok_and(|length| length > 0) {
                        if line == "\r\n" {
                            std::thread::sleep(pause.saturating_sub(begun.elapsed()));
                            let meta = r#"{"as_of":{"offsets":{"stdin":{"0":7}}}}"#;
                            let answer = format!(
                                "HTTP/1.1 200 OK\r\nx-k2-meta: {meta}\r\ncontent-length: 2\r\n\r\n[]"
                            );
                            stream.get_mut().write_all(answer.as_bytes()).unwrap();
                        }
                        line.clear();
                    }
                });
            }
        });
        let question = |_| Question::Get("/".into());
        let clock = Instant::now();
        let load = Load { address, rate: 100.0, count: 50, clock, question: &question };
        let outcome = load.run().unwrap();
        assert_eq!(outcome.latency_us.len(), 50);
        let late = outcome.latency_us.iter_recorded();
        let late = late.filter(|it| it.value_iterated_to() > 90_000).map(|it| it.count_at_value());
        assert!(late.sum::<u64>() >= 15, "twenty were due in the first two tenths of a second");
        assert!(outcome.seen.iter().all(|seen| seen.lines == 7));
    }
}

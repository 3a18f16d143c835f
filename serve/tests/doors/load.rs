//! More heavy questions than there is room for, against a job that goes on meanwhile.

#![allow(clippy::disallowed_methods, reason = "a test that waits needs a clock")]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use k2_serve::{Access, Concurrency, Engine, EngineConfig, Limits, ServerConfig};

use super::keys::{get, post_sql};
use super::{Doors, open, open_http_with};
use crate::config;
use crate::support::Job;

const QUESTIONS: usize = 100;
/// Of all queries together.
const MEMORY_BYTES_MAX: usize = 32 << 20;
/// What batches on their way take, which no operator asks for, and what a server has for itself.
const SLACK_BYTES_MAX: u64 = 256 << 20;

/// Each would hold a million groups, or all of its rows, and takes its time.
const HEAVY: [&str; 4] = [
    "SELECT a.a % 1000003 AS k, count(*), max(b.b) FROM generate_series(1, 1000000) a, \
     generate_series(1, 20) b GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5",
    "SELECT a.a, b.b FROM generate_series(1, 1000000) a, generate_series(1, 20) b \
     ORDER BY a.a % 977, b.b DESC",
    "SELECT count(DISTINCT a.price * b.price) FROM trades a, trades b, trades c",
    "SELECT array_agg(a.a) FROM generate_series(1, 100000000) a",
];

fn metric(doors: &Doors, name: &str) -> u64 {
    let metrics = get(doors, "/metrics", &[]).2;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

#[test]
fn a_hundred_heavy_questions_stop_neither_the_job_nor_the_server() {
    let mut job = Job::new();
    job.run(20, 50);
    job.commit();
    let limits = Limits {
        memory_bytes_max: 16 << 20,
        time_max: Duration::from_secs(8),
        ..Limits::default()
    };
    let concurrency = Concurrency { running_max: 8, waiting_max: 60 };
    let config =
        EngineConfig { limits, concurrency, memory_bytes_max: MEMORY_BYTES_MAX, ..config() };
    let engine = Engine::live(job.live.clone(), job.lake.clone(), config).unwrap();
    let doors = open(&engine, &Access::open());
    let before = metric(&doors, "process_resident_memory_bytes");
    let (is_over, epochs) = (AtomicBool::new(false), AtomicU64::new(0));
    let (answers, most) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                job.run(1, 50);
                if epochs.fetch_add(1, Ordering::Relaxed) % 20 == 19 {
                    job.commit();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let watched = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(metric(&doors, "process_resident_memory_bytes"));
                std::thread::sleep(Duration::from_millis(50));
            }
            most
        });
        let asked: Vec<_> = (0..QUESTIONS)
            .map(|at| {
                let doors = &doors;
                scope.spawn(move || post_sql(doors, HEAVY[at % HEAVY.len()], &[]))
            })
            .collect();
        let answers: Vec<_> = asked.into_iter().map(|it| it.join().unwrap()).collect();
        is_over.store(true, Ordering::Relaxed);
        (answers, watched.join().unwrap())
    });
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for (status, head, body) in &answers {
        *statuses.entry(*status).or_default() += 1;
        assert!([200, 422, 503, 504].contains(status), "{status} {body}");
        assert_eq!(*status == 503, head.contains("retry-after: 1"), "{head}");
        assert!(*status == 200 || body.contains("\"hint\":\""), "{body}");
    }
    assert!(statuses.contains_key(&503), "nobody was turned away: {statuses:?}");
    let epochs = epochs.into_inner();
    assert!(epochs > 50, "only {epochs} epochs went on: {statuses:?}");
    let bound = before + MEMORY_BYTES_MAX as u64 + SLACK_BYTES_MAX;
    assert!(most < bound, "{} MiB, bound {} MiB: {statuses:?}", most >> 20, bound >> 20);
    println!("{statuses:?}, {epochs} epochs, {} MiB, {} MiB before", most >> 20, before >> 20);
    let begun = Instant::now();
    while metric(&doors, "k2_query_running") > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "a query goes on without its client");
    }
    assert_eq!(metric(&doors, "k2_query_memory_bytes"), 0);
    assert_eq!(get(&doors, "/health", &[]).0, 200);
    let (status, _, body) = post_sql(&doors, "SELECT count(*) AS n FROM trades", &[]);
    assert!(status == 200 && !body.contains("\"n\":0"), "{body}");
}

/// Each looks at pairs of rows for as long as it is let, and finds next to none.
const BUSY: [&str; 4] = [
    "SELECT count(*) FROM generate_series(1, 200000) a, generate_series(1, 200000) b \
     WHERE a.a % 3 > b.b % 3 AND b.b % 3 > a.a % 3",
    "SELECT count(*) FROM generate_series(1, 500) a, generate_series(1, 500) b, \
     generate_series(1, 300000) c WHERE a.a + b.b + c.c = 0",
    "SELECT count(*) FROM generate_series(1, 200000) a JOIN generate_series(1, 200000) b \
     ON a.a % 2 = b.b % 2 WHERE a.a + b.b = 0",
    "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b \
     WHERE length(lpad('x', 5000 + (a.a + b.b) % 2, 'y')) = 0",
];

#[test]
fn what_is_busy_for_ever_leaves_the_door_open_and_ends_with_its_time() {
    let job = Job::new();
    let time_max = Duration::from_secs(2);
    let limits = Limits { time_max, ..Limits::default() };
    let engine =
        Engine::live(job.live.clone(), job.lake.clone(), EngineConfig { limits, ..config() });
    let doors = open(&engine.unwrap(), &Access::open());
    std::thread::scope(|scope| {
        let busy = BUSY.map(|sql| (sql, scope.spawn(|| post_sql(&doors, sql, &[]))));
        while busy.iter().any(|(_, asked)| !asked.is_finished()) {
            assert_eq!(get(&doors, "/health", &[]).0, 200);
            assert_eq!(post_sql(&doors, "SELECT 1", &[]).0, 200, "others have their turn");
            std::thread::sleep(Duration::from_millis(20));
        }
        for (sql, asked) in busy {
            let (status, _, body) = asked.join().unwrap();
            assert!(status == 504 && body.contains("limit_time"), "{sql}: {status} {body}");
        }
    });
    let begun = Instant::now();
    while metric(&doors, "k2_query_running") > 0 {
        assert!(begun.elapsed() < Duration::from_secs(5), "a query goes on without its client");
    }
    // Whoever leaves before the time is over takes the query along.
    let mut leaves = TcpStream::connect(doors.http.address()).unwrap();
    let body = serde_json::json!({ "sql": BUSY[0] }).to_string();
    let length = body.len();
    write!(
        leaves,
        "POST /v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    while metric(&doors, "k2_query_running") == 0 {}
    drop(leaves);
    let begun = Instant::now();
    while metric(&doors, "k2_query_running") > 0 {
        assert!(begun.elapsed() < time_max / 2, "a query goes on without its client");
    }
}

#[test]
fn one_connection_too_many_is_told_so_and_who_leaves_makes_room() {
    let job = Job::new();
    let config = ServerConfig { connections_max: 2, ..ServerConfig::default() };
    let doors = open_http_with(&crate::live(&job), config);
    let mut held: Vec<_> =
        (0..2).map(|_| TcpStream::connect(doors.http.address()).unwrap()).collect();
    let begun = Instant::now();
    let (mut status, mut head, mut body) = get(&doors, "/health", &[]);
    while status == 200 && begun.elapsed() < Duration::from_secs(5) {
        (status, head, body) = get(&doors, "/health", &[]);
    }
    assert!(status == 503 && head.contains("retry-after: 1"), "{head}");
    assert!(body.contains("too_many_connections") && body.contains("hint"), "{body}");
    held.pop();
    let begun = Instant::now();
    while get(&doors, "/health", &[]).0 != 200 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the place is not given back");
    }
}

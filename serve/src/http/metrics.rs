//! `GET /metrics`: counters of the job, of queries and of the process, as Prometheus reads them.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::response::Response;

use super::ServerState;
use super::reply::body_of;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn metrics(State(state): State<ServerState>) -> Response {
    let mut text = String::with_capacity(8 << 10);
    for (name, kind, help, value) in state.metrics.all() {
        put(&mut text, name, kind, help, value);
    }
    let queries = state.engine.statistics();
    let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let counters = [
        ("k2_query_total", "Queries asked.", read(&queries.queries)),
        ("k2_query_failures_total", "Queries that had no answer.", read(&queries.failures)),
        ("k2_query_rows_total", "Rows of answers.", read(&queries.rows)),
        ("k2_query_micros_total", "Time that queries took, microseconds.", read(&queries.micros)),
    ];
    for (name, help, value) in counters {
        put(&mut text, name, "counter", help, value);
    }
    let frontier = state.engine.stands_at().0;
    put(&mut text, "k2_query_frontier", "gauge", "The epoch that a query sees now.", frontier);
    let (running, waiting) = state.engine.load();
    put(&mut text, "k2_query_running", "gauge", "Queries that run now.", running as u64);
    let help = "Queries that wait for their turn.";
    put(&mut text, "k2_query_waiting", "gauge", help, waiting as u64);
    let help = "Bytes that all queries hold now.";
    put(&mut text, "k2_query_memory_bytes", "gauge", help, state.engine.memory_bytes() as u64);
    if let Some(bytes) = resident_bytes() {
        let help = "Resident memory of the process.";
        put(&mut text, "process_resident_memory_bytes", "gauge", help, bytes);
    }
    body_of(CONTENT_TYPE, text.into_bytes())
}

fn put(text: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    let help = help.replace('\\', "\\\\").replace('\n', "\\n");
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
        .expect("writing to memory cannot fail");
}

/// Memory of the process that is in RAM; `None` where the system does not tell.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

//! How a running job is doing: one line, again and again.

use std::fmt::Write;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use k2_operators::kit::metrics::Metrics;

use crate::clock;
use crate::screen::{self, bytes, count};

/// Between two log lines, where there is no terminal.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// Over which rows per second are measured.
const RATE_OVER: Duration = Duration::from_secs(1);

/// Follows the counters of a job.
pub struct Status {
    line: Option<ProgressBar>,
    logged: Instant,
    measured: Instant,
    records_measured: u64,
    records_per_second: f64,
    snapshots: u64,
    committed: Option<Instant>,
}

impl Status {
    pub fn new() -> Self {
        let now = clock::start();
        Self {
            line: screen::moving_line(),
            logged: now,
            measured: now,
            records_measured: 0,
            records_per_second: 0.0,
            snapshots: 0,
            committed: None,
        }
    }

    /// Looks at the counters; several times a second.
    pub fn update(&mut self, metrics: &Metrics) {
        let now = clock::start();
        let records = metrics.ingest_records.get();
        let elapsed = now - self.measured;
        if elapsed >= RATE_OVER {
            let more = records.saturating_sub(self.records_measured);
            self.records_per_second = more as f64 / elapsed.as_secs_f64();
            (self.measured, self.records_measured) = (now, records);
        }
        let snapshots = metrics.commit_snapshots.get();
        if snapshots > self.snapshots {
            (self.snapshots, self.committed) = (snapshots, Some(now));
        }
        match &self.line {
            Some(line) => {
                line.set_message(self.text(metrics, now));
                line.tick();
            }
            None if now - self.logged >= LOG_EVERY => {
                self.logged = now;
                tracing::info!("{}", self.text(metrics, now));
            }
            None => {}
        }
    }

    pub fn finish(self) {
        if let Some(line) = self.line {
            line.finish_and_clear();
        }
    }

    fn text(&self, metrics: &Metrics, now: Instant) -> String {
        let decoded = metrics.messages();
        let lag = metrics.ingest_records.get().saturating_sub(decoded);
        let opened = metrics.sequence_gaps_opened.get();
        let gaps = opened.saturating_sub(metrics.sequence_gaps_healed.get());
        let mut text = format!(
            "{} rows/s · {} rows · lag {} · {} duplicates · {} gaps · ",
            count(self.records_per_second as u64),
            count(metrics.ingest_records.get()),
            count(lag),
            count(metrics.sequence_duplicates.get()),
            count(gaps),
        );
        let _infallible = match self.committed {
            Some(committed) => write!(
                text,
                "{} rows committed, last {} s ago",
                count(metrics.commit_rows.get()),
                (now - committed).as_secs()
            ),
            None => write!(text, "nothing committed yet"),
        };
        if let Some(resident) = resident_bytes() {
            let _infallible = write!(text, " · {}", bytes(resident));
        }
        text
    }
}

/// Resident memory of this process, where the kernel tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        assert!(resident_bytes().is_none_or(|resident| resident > 1 << 20));
    }
}

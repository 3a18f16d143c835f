//! How a running job is doing: one line, again and again.

use std::fmt::Write;
use std::time::{Duration, Instant};

use k2_dataflows::live::Live;
use k2_operators::kit::metrics::Metrics;

use crate::clock;
use crate::screen::{Progress, bytes, count};
use crate::summary::open_gaps;

/// Over which rows per second are measured.
const RATE_OVER: Duration = Duration::from_secs(1);

/// Follows the counters of a job.
pub struct Status {
    progress: Progress,
    pace: Pace,
}

/// What is known from looking more than once.
struct Pace {
    measured: Instant,
    records_measured: u64,
    records_per_second: f64,
    snapshots: u64,
    committed: Option<Instant>,
}

impl Status {
    pub fn new() -> Self {
        let pace = Pace {
            measured: clock::start(),
            records_measured: 0,
            records_per_second: 0.0,
            snapshots: 0,
            committed: None,
        };
        Self { progress: Progress::new(), pace }
    }

    /// Looks at the counters; several times a second.
    pub fn update(&mut self, metrics: &Metrics, live: &Live) {
        let now = clock::start();
        self.pace.measure(metrics, now);
        self.progress.say(|| self.pace.text(metrics, open_gaps(live).0, now));
    }

    pub fn finish(self) {
        self.progress.finish();
    }
}

impl Pace {
    fn measure(&mut self, metrics: &Metrics, now: Instant) {
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
    }

    fn text(&self, metrics: &Metrics, gaps: u64, now: Instant) -> String {
        let undecoded = metrics.ingest_records.get().saturating_sub(metrics.messages());
        let lag = undecoded + metrics.ingest_lag_messages.get();
        let mut text = format!(
            "{} rows/s · {} rows · lag {} · {} duplicates · {} gaps open · ",
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

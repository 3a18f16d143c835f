//! Clocks for a job's source: real time, and time that passes at will.
#![allow(clippy::disallowed_methods, reason = "this is where a job's clock comes from")]

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k2_model::Nanos;
use k2_operators::ingest::Clock;

/// Real time.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Nanos {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// A clock that only goes on while somebody sleeps, and then at once: an hour of waiting passes
/// in moments, and how fast the machine is does not show.
#[derive(Debug)]
pub struct VirtualClock(AtomicI64);

/// What a sleeper leaves to the other threads, however long it sleeps.
const YIELD: Duration = Duration::from_micros(200);

impl VirtualClock {
    pub fn starting_at(now: Nanos) -> Self {
        Self(AtomicI64::new(now.0))
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Nanos {
        Nanos(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        self.0.fetch_add(nanos, Ordering::SeqCst);
        std::thread::sleep(YIELD);
    }
}

//! A clock for a job's source.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use k2_model::Nanos;
use k2_operators::ingest::Clock;

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

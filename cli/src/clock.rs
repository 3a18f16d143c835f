//! Real time, for the source; everything behind it knows only epochs.
#![allow(clippy::disallowed_methods)]

use std::time::Instant;

pub use k2_harness::clock::RealClock;

/// For measuring how long something takes.
pub fn start() -> Instant {
    Instant::now()
}

//! Latencies, and what an answer covers: of all benches that ask a job.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Deserialize;

/// What took longer counts as this.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Digits that are kept of a latency.
const DIGITS: u8 = 3;

/// Of latencies in microseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    let bounds = Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS);
    bounds.expect("three digits can be kept")
}

/// What an answer says of itself.
#[derive(Deserialize)]
pub(crate) struct Meta {
    pub as_of: AsOf,
}

#[derive(Deserialize)]
pub(crate) struct AsOf {
    /// Of each source and partition the next offset.
    pub offsets: BTreeMap<String, BTreeMap<i32, u64>>,
}

//! How an engine answers, and within which limits.

use std::sync::Arc;
use std::time::Duration;

use k2_model::time::NANOS_PER_SECOND;
use k2_model::{InstrumentTable, SeverityLevels};

use crate::access::Concurrency;

/// How an engine answers. `Default` is what a job uses that says nothing else.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// A bar is final once an event this much later than its end has come at its venue.
    pub lateness_ns: i64,
    pub severity: SeverityLevels,
    /// What raw symbols in questions stand for.
    pub instruments: Arc<InstrumentTable>,
    /// For requests that bring none.
    pub limits: Limits,
    /// Queries at once, of all doors together.
    pub concurrency: Concurrency,
    /// Bytes that all queries hold at once, on top of what each may: past it a query is answered
    /// with 503.
    pub memory_bytes_max: usize,
    /// Threads that one large query may use.
    pub parallelism: usize,
    /// Bytes of decoded Parquet footers kept between queries.
    pub metadata_cache_bytes: usize,
    pub streams: StreamLimits,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            lateness_ns: 10 * NANOS_PER_SECOND,
            severity: SeverityLevels::default(),
            instruments: Arc::new(InstrumentTable::shipped()),
            limits: Limits::default(),
            concurrency: Concurrency::default(),
            memory_bytes_max: 4 << 30,
            parallelism: std::thread::available_parallelism().map_or(2, usize::from),
            metadata_cache_bytes: 64 << 20,
            streams: StreamLimits::default(),
        }
    }
}

/// What one query may use. Reaching one of them is an error, never a cut answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows of an answer.
    pub rows_max: usize,
    /// Bytes that a query holds at once, its answer included.
    pub memory_bytes_max: usize,
    pub time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows_max: 1_000_000, memory_bytes_max: 1 << 30, time_max: Duration::from_secs(30) }
    }
}

/// What all subscriptions together may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Subscriptions at once; past it a request is answered with 503.
    pub subscribers_max: usize,
    /// Bytes of the latest trades that are kept while somebody follows: how far a reader may fall
    /// behind, or be away, and still get every one.
    pub history_bytes: usize,
    /// How long they are kept on when nobody listens, for those who connect again.
    pub linger: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        let linger = Duration::from_secs(60);
        Self { subscribers_max: 2_000, history_bytes: 64 << 20, linger }
    }
}

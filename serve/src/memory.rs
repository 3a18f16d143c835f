//! Memory of queries: one has a limit of its own, and all that run have one together.
//!
//! Half of what all have together goes to whoever asks first. Of the other half no query gets more
//! than what would be its part if all that run had the same, so that a few large ones leave room
//! for those that come later. Nothing is written to disk: a query that is refused ends.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};

use crate::error::{Error, ErrorKind};

/// What all queries of an engine have together.
#[derive(Debug)]
pub(crate) struct AllMemory {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    queries: usize,
}

/// What one query has of that. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct QueryMemory {
    all: Arc<AllMemory>,
    bytes_max: usize,
    bytes: Mutex<usize>,
    /// It was refused something that it could have had if it had run alone.
    is_crowded: AtomicBool,
}

impl AllMemory {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, state: Mutex::default() })
    }

    /// For one more query, which may have `bytes_max`.
    pub(crate) fn of_query(self: &Arc<Self>, bytes_max: usize) -> Arc<QueryMemory> {
        self.with(|state| state.queries += 1);
        let (all, bytes, is_crowded) = (self.clone(), Mutex::default(), AtomicBool::new(false));
        Arc::new(QueryMemory { all, bytes_max, bytes, is_crowded })
    }

    /// Bytes that are held now.
    pub(crate) fn bytes(&self) -> usize {
        self.with(|state| state.bytes)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives `more` to a query that has `held`, if there is room.
    fn take(&self, held: usize, more: usize) -> bool {
        self.with(|state| {
            let sum = state.bytes.saturating_add(more);
            let part = self.bytes_max / state.queries.max(1);
            let fits = sum <= self.bytes_max / 2
                || (sum <= self.bytes_max && held.saturating_add(more) <= part);
            if fits {
                state.bytes = sum;
            }
            fits
        })
    }
}

impl QueryMemory {
    /// `error`, or what is behind it.
    pub(crate) fn told(&self, error: Error) -> Error {
        let is_of_memory = matches!(error.code(), "limit_memory" | "internal");
        if !is_of_memory || !self.is_crowded.load(Ordering::Relaxed) {
            return error;
        }
        let message = format!(
            "answer a query: those that run already have taken the {} MiB that all may hold \
             together",
            self.all.bytes_max >> 20
        );
        Error::new(ErrorKind::Unavailable, "crowded", message)
            .with_hint("ask again in a second, or name symbols and a time range in WHERE")
            .with_source(error)
    }

    fn with<T>(&self, act: impl FnOnce(&mut usize) -> T) -> T {
        act(&mut self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn refusal(&self, held: usize, more: usize) -> DataFusionError {
        let message = format!("{more} bytes are wanted besides {held} of {}", self.bytes_max);
        DataFusionError::ResourcesExhausted(message)
    }
}

impl MemoryPool for QueryMemory {
    fn name(&self) -> &str {
        "query"
    }

    /// What cannot be refused is counted, so that the next is.
    fn grow(&self, _reservation: &MemoryReservation, additional: usize) {
        self.with(|bytes| *bytes += additional);
        self.all.with(|state| state.bytes += additional);
    }

    fn shrink(&self, _reservation: &MemoryReservation, shrink: usize) {
        self.with(|bytes| *bytes -= shrink);
        self.all.with(|state| state.bytes -= shrink);
    }

    fn try_grow(&self, _reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.with(|bytes| {
            if bytes.saturating_add(additional) > self.bytes_max {
                return Err(self.refusal(*bytes, additional));
            }
            if !self.all.take(*bytes, additional) {
                self.is_crowded.store(true, Ordering::Relaxed);
                return Err(self.refusal(*bytes, additional));
            }
            *bytes += additional;
            Ok(())
        })
    }

    fn reserved(&self) -> usize {
        self.with(|bytes| *bytes)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

impl fmt::Display for QueryMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query({} of {} bytes)", self.reserved(), self.bytes_max)
    }
}

impl Drop for QueryMemory {
    fn drop(&mut self) {
        let held = self.reserved();
        self.all.with(|state| {
            state.bytes -= held;
            state.queries -= 1;
        });
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::MemoryConsumer;

    use super::*;

    fn reservation(memory: &Arc<QueryMemory>) -> MemoryReservation {
        let pool: Arc<dyn MemoryPool> = memory.clone();
        MemoryConsumer::new("test").register(&pool)
    }

    #[test]
    fn all_queries_together_stay_within_their_bound_and_late_ones_get_their_part() {
        let all = AllMemory::new(1_000);
        let queries: Vec<_> = (0..4).map(|_| all.of_query(800)).collect();
        let held: Vec<_> = queries.iter().map(reservation).collect();
        held[0].try_grow(500).unwrap();
        assert!(held[0].try_grow(1).is_err(), "it has more than its part of four");
        for late in &held[1..3] {
            late.try_grow(250).unwrap();
            assert!(late.try_grow(1).is_err());
        }
        assert!(held[3].try_grow(1).is_err(), "all is taken");
        assert_eq!(all.bytes(), 1_000);
        held[0].free();
        held[3].try_grow(250).unwrap();
        drop((held, queries));
        assert_eq!((all.bytes(), all.with(|state| state.queries)), (0, 0));
    }

    #[test]
    fn a_refusal_says_whose_limit_was_reached() {
        let all = AllMemory::new(1_000);
        let (large, small) = (all.of_query(900), all.of_query(400));
        let (first, second) = (reservation(&large), reservation(&small));
        let limit = || Error::new(ErrorKind::LimitReached, "limit_memory", "answer a query");
        assert!(second.try_grow(401).is_err());
        assert_eq!(small.told(limit()).code(), "limit_memory", "its own");
        first.try_grow(500).unwrap();
        second.try_grow(400).unwrap();
        assert!(first.try_grow(200).is_err());
        assert_eq!(large.told(limit()).code(), "crowded");
        let wrong = Error::bad_request("unknown_column", "answer a query");
        assert_eq!(large.told(wrong).code(), "unknown_column", "of another kind");
    }
}

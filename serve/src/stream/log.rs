//! What the latest epochs brought, by epoch: bounded in bytes, cheap to copy, shared by all
//! readers.

use std::sync::Arc;

use imbl::Vector;
use k2_dataflows::live::{EpochMinutes, EpochTrades};
use k2_model::Time;

/// What one epoch brought.
pub(crate) trait Entry {
    fn epoch(&self) -> Time;
    fn bytes(&self) -> usize;
}

impl Entry for EpochTrades {
    fn epoch(&self) -> Time {
        self.epoch
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }
}

impl Entry for EpochMinutes {
    fn epoch(&self) -> Time {
        self.epoch
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }
}

/// Entries in order of epoch. A copy shares them.
pub(crate) struct Log<T> {
    /// Nothing is missing from here on.
    low: Time,
    entries: Vector<Arc<T>>,
    bytes: usize,
    bytes_max: usize,
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), ..*self }
    }
}

impl<T: Entry> Log<T> {
    /// Nothing is missing from `low` on. At least the newest entry is kept, however large it is.
    pub(crate) fn new(low: Time, bytes_max: usize) -> Self {
        Self { low, entries: Vector::new(), bytes: 0, bytes_max }
    }

    pub(crate) fn low(&self) -> Time {
        self.low
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, entry: T) {
        self.bytes += entry.bytes();
        self.entries.push_back(Arc::new(entry));
        while self.bytes > self.bytes_max && self.entries.len() > 1 {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.low = oldest.epoch() + 1;
        }
    }

    /// Forgets all that is before a loss: what follows begins at `low`.
    pub(crate) fn begin_again(&mut self, low: Time) {
        (self.low, self.bytes) = (low, 0);
        self.entries = Vector::new();
    }

    /// The entries from `epoch` on, oldest first.
    pub(crate) fn since(&self, epoch: Time) -> impl DoubleEndedIterator<Item = &Arc<T>> {
        let first = self.entries.binary_search_by_key(&epoch, |entry| entry.epoch());
        let first = first.unwrap_or_else(|first| first);
        (first..self.entries.len()).filter_map(|at| self.entries.get(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sized(Time, usize);

    impl Entry for Sized {
        fn epoch(&self) -> Time {
            self.0
        }

        fn bytes(&self) -> usize {
            self.1
        }
    }

    #[test]
    fn a_log_keeps_the_newest_within_its_bound_and_says_from_where_on() {
        let mut log = Log::new(3, 100);
        for epoch in [3, 4, 7, 9] {
            log.push(Sized(epoch, 40));
        }
        let epochs = |log: &Log<Sized>, from| log.since(from).map(|it| it.0).collect::<Vec<_>>();
        assert_eq!((log.low(), log.bytes(), epochs(&log, 0)), (5, 80, vec![7, 9]));
        assert_eq!(
            (epochs(&log, 7), epochs(&log, 8), epochs(&log, 10)),
            (vec![7, 9], vec![9], vec![])
        );
        let copy = log.clone();
        log.push(Sized(10, 1_000));
        assert_eq!((log.low(), epochs(&log, 0)), (10, vec![10]), "the newest is always there");
        assert_eq!(epochs(&copy, 0), [7, 9], "a copy stays as it was");
        log.begin_again(20);
        assert_eq!((log.low(), log.bytes(), epochs(&log, 0)), (20, 0, vec![]));
    }
}

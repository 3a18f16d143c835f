//! Bytes in flight between the source and the commit, with a limit: a slow sink makes the source
//! wait.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use k2_model::Time;

/// Bytes taken up by epochs that are not yet committed.
pub struct Budget {
    bytes_max: u64,
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Default)]
struct State {
    epochs: VecDeque<(Time, u64)>,
    bytes: u64,
    closed: bool,
}

impl State {
    fn has_room(&self, bytes: u64, bytes_max: u64) -> bool {
        self.bytes == 0 || self.bytes + bytes <= bytes_max
    }
}

impl Budget {
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, state: Mutex::default(), released: Condvar::new() }
    }

    /// Takes `bytes` for `epoch`, and waits while that would pass the limit. A block alone always
    /// passes, however large. `false`: the budget was closed while waiting, and nothing is taken.
    pub fn take(&self, epoch: Time, bytes: u64) -> bool {
        let over = |state: &mut State| !state.closed && !state.has_room(bytes, self.bytes_max);
        let waited = self.released.wait_while(self.lock(), over);
        let mut state = waited.unwrap_or_else(|poison| poison.into_inner());
        if state.closed {
            return false;
        }
        state.bytes += bytes;
        match state.epochs.back_mut() {
            Some((last, sum)) if *last == epoch => *sum += bytes,
            _ => state.epochs.push_back((epoch, bytes)),
        }
        true
    }

    /// Whether [`Budget::take`] would not have to wait.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.lock().has_room(bytes, self.bytes_max)
    }

    /// Gives back what the epochs below `frontier` took.
    pub fn release_below(&self, frontier: Time) {
        let mut state = self.lock();
        while let Some(&(epoch, bytes)) = state.epochs.front()
            && epoch < frontier
        {
            state.bytes -= bytes;
            state.epochs.pop_front();
        }
        drop(state);
        self.released.notify_all();
    }

    /// Waits until everything that was taken has been given back, or the budget is closed.
    pub fn wait_until_empty(&self) {
        let over = |state: &mut State| !state.closed && state.bytes > 0;
        drop(self.released.wait_while(self.lock(), over));
    }

    /// Lets nobody wait any more: the job has failed.
    pub fn close(&self) {
        self.lock().closed = true;
        self.released.notify_all();
    }

    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_full_budget_waits_until_a_commit_releases_it() {
        let budget = Arc::new(Budget::new(100));
        assert!(budget.take(1, 1_000), "a block alone always passes");
        let waiting = Arc::clone(&budget);
        let thread = std::thread::spawn(move || waiting.take(2, 10));
        assert_eq!(budget.bytes(), 1_000);
        budget.release_below(2);
        assert!(thread.join().unwrap());
        assert_eq!(budget.bytes(), 10);
    }

    #[test]
    fn an_empty_budget_is_waited_for() {
        let budget = Arc::new(Budget::new(100));
        budget.wait_until_empty();
        assert!(budget.take(1, 10));
        let waiting = Arc::clone(&budget);
        let thread = std::thread::spawn(move || waiting.wait_until_empty());
        budget.release_below(2);
        thread.join().unwrap();
    }

    #[test]
    fn a_closed_budget_lets_nobody_wait() {
        let budget = Budget::new(1);
        assert!(budget.take(1, 1));
        budget.close();
        assert!(!budget.take(2, 1));
    }
}

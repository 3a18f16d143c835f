//! How many queries run at once, and how many wait for their turn: in front of the engine, so
//! that all doors share it. First come, first served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, ErrorKind, Result};

/// How many queries there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Each has memory of its own, up to the limit of a query.
    pub running_max: usize,
    /// One more is turned away at once.
    pub waiting_max: usize,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { running_max: 16, waiting_max: 256 }
    }
}

/// The gate that each query passes.
pub(crate) struct Gate {
    config: Concurrency,
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A query's leave to run, for as long as it is held.
pub(crate) struct Running {
    _permit: OwnedSemaphorePermit,
}

impl Gate {
    pub(crate) fn new(config: Concurrency) -> Self {
        let running = Arc::new(Semaphore::new(config.running_max.max(1)));
        Self { config, running, waiting: AtomicUsize::new(0) }
    }

    /// Waits for its turn; an error if too many wait already. Who stops waiting loses its place.
    pub(crate) async fn enter(&self) -> Result<Running> {
        if let Ok(permit) = self.running.clone().try_acquire_owned() {
            return Ok(Running { _permit: permit });
        }
        let _waiting = Waiting::new(&self.waiting, self.config.waiting_max).ok_or_else(|| {
            let Concurrency { running_max, waiting_max } = self.config;
            let message = format!(
                "answer a query: {running_max} run already, and {waiting_max} wait for their turn"
            );
            Error::new(ErrorKind::Unavailable, "too_busy", message)
                .with_hint("ask again in a second, and fewer things at once")
        })?;
        let permit = self.running.clone().acquire_owned().await;
        Ok(Running { _permit: permit.expect("the gate is never closed") })
    }

    /// Queries that run, and that wait.
    pub(crate) fn load(&self) -> (usize, usize) {
        let running = self.config.running_max.max(1) - self.running.available_permits();
        (running, self.waiting.load(Ordering::Relaxed))
    }
}

/// Counts one that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize, max: usize) -> Option<Self> {
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        let one_more = |waiting: usize| (waiting < max).then_some(waiting + 1);
        count.fetch_update(set, fetch, one_more).ok().map(|_| Self(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(running_max: usize, waiting_max: usize) -> Arc<Gate> {
        Arc::new(Gate::new(Concurrency { running_max, waiting_max }))
    }

    #[tokio::test]
    async fn queries_enter_in_the_order_in_which_they_came() {
        let gate = gate(1, 8);
        let first = gate.enter().await.unwrap();
        let mut waiting: Vec<_> = (0..8).map(|_| Box::pin(gate.enter())).collect();
        // Polled in this order, they stand in the queue in this order.
        for place in &mut waiting {
            assert!(futures::poll!(place).is_pending());
        }
        drop(first);
        for at in 0..waiting.len() {
            for later in &mut waiting[at + 1..] {
                assert!(futures::poll!(later).is_pending(), "ahead of {at}");
            }
            let std::task::Poll::Ready(entered) = futures::poll!(&mut waiting[at]) else {
                panic!("{at} is next")
            };
            drop(entered);
        }
        assert_eq!(gate.load(), (0, 0));
    }

    #[tokio::test]
    async fn one_too_many_is_turned_away_and_who_leaves_makes_room() {
        let gate = gate(1, 1);
        let first = gate.enter().await.unwrap();
        let mut second = Box::pin(gate.enter());
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(gate.load(), (1, 1));
        let refused = gate.enter().await.err().unwrap();
        assert_eq!((refused.kind(), refused.code()), (ErrorKind::Unavailable, "too_busy"));
        drop(second);
        let mut third = Box::pin(gate.enter());
        assert!(futures::poll!(&mut third).is_pending());
        drop(first);
        third.await.unwrap();
        assert_eq!(gate.load(), (0, 0));
    }
}

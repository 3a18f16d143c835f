//! How many queries run at once, and how many wait for their turn: in front of the engine, so
//! that all doors share it. First come, first served, in two lanes: what paths read keeps room beside
//! SQL, which may be anything. Who waits for long is told to come again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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

/// How long a query waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Which room a query takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lane {
    #[default]
    Sql,
    /// Questions that K2 has written, each within bounds.
    Reads,
}

/// The gate that each query passes.
pub(crate) struct Gate {
    config: Concurrency,
    sql: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    wait_max: Duration,
    waiting: AtomicUsize,
}

/// A query's leave to run, for as long as it is held.
pub(crate) struct Running {
    _permit: OwnedSemaphorePermit,
}

impl Gate {
    pub(crate) fn new(config: Concurrency) -> Self {
        let lane = || Arc::new(Semaphore::new(config.running_max.max(1)));
        let waiting = AtomicUsize::new(0);
        Self { config, sql: lane(), reads: lane(), wait_max: WAIT_MAX, waiting }
    }

    /// Waits for its turn; an error if too many wait already. Who stops waiting loses its place.
    pub(crate) async fn enter(&self, lane: Lane) -> Result<Running> {
        let running = match lane {
            Lane::Sql => &self.sql,
            Lane::Reads => &self.reads,
        };
        if let Ok(permit) = running.clone().try_acquire_owned() {
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
        let permit = tokio::time::timeout(self.wait_max, running.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| {
            let waited = self.wait_max;
            let message = format!("answer a query: others have kept their places for {waited:?}");
            Error::new(ErrorKind::Unavailable, "too_busy", message)
                .with_hint("ask again in some seconds, and fewer things at once")
        })?;
        Ok(Running { _permit: permit.expect("the gate is never closed") })
    }

    /// Queries that run, and that wait.
    pub(crate) fn load(&self) -> (usize, usize) {
        let all = self.config.running_max.max(1);
        let running = [&self.sql, &self.reads].map(|lane| all - lane.available_permits());
        (running.iter().sum(), self.waiting.load(Ordering::Relaxed))
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
        let first = gate.enter(Lane::Sql).await.unwrap();
        let mut waiting: Vec<_> = (0..8).map(|_| Box::pin(gate.enter(Lane::Sql))).collect();
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
        let first = gate.enter(Lane::Sql).await.unwrap();
        let mut second = Box::pin(gate.enter(Lane::Sql));
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(gate.load(), (1, 1));
        let refused = gate.enter(Lane::Sql).await.err().unwrap();
        assert_eq!((refused.kind(), refused.code()), (ErrorKind::Unavailable, "too_busy"));
        drop(second);
        let mut third = Box::pin(gate.enter(Lane::Sql));
        assert!(futures::poll!(&mut third).is_pending());
        drop(first);
        third.await.unwrap();
        assert_eq!(gate.load(), (0, 0));
    }

    #[tokio::test]
    async fn reads_have_room_beside_sql_and_who_waits_for_long_is_told() {
        let config = Concurrency { running_max: 1, waiting_max: 8 };
        let gate = Gate { wait_max: Duration::from_millis(10), ..Gate::new(config) };
        let heavy = gate.enter(Lane::Sql).await.unwrap();
        let read = gate.enter(Lane::Reads).await.unwrap();
        assert_eq!(gate.load(), (2, 0));
        let waited = gate.enter(Lane::Sql).await.err().unwrap();
        assert_eq!((waited.kind(), waited.code()), (ErrorKind::Unavailable, "too_busy"));
        drop((heavy, read));
        assert_eq!(gate.load(), (0, 0));
    }
}

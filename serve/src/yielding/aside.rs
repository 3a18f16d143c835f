//! Work that keeps its thread for long steps aside.
//!
//! What runs between two batches cannot give its thread back. Once it has kept it for a while, the
//! tasks that wait for the thread get another one in its place, and it goes on beside them: together
//! with others of its kind, a few at a time, so that neither they nor the dataflow run short.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// After so long at work.
const STRETCH: Duration = Duration::from_millis(20);
/// Who was away for so long begins anew.
const BREAK: Duration = Duration::from_millis(20);
/// So many work aside at once; the others wait for their turn.
const ASIDE_MAX: usize = 2;

thread_local! {
    /// When this thread began to work without a break, and when it was last seen.
    static AT_WORK: Cell<Option<(Instant, Instant)>> = const { Cell::new(None) };
}

static ASIDE: Places = Places { taken: Mutex::new(0), given_back: Condvar::new() };

/// Does a part of something that may be long.
#[allow(clippy::disallowed_methods, reason = "which thread works decides no row")]
pub(super) fn work<T>(part: impl FnOnce() -> T) -> T {
    let now = Instant::now();
    let has_gone_on =
        AT_WORK.get().filter(|(_, seen)| now.saturating_duration_since(*seen) < BREAK);
    let began = has_gone_on.map_or(now, |(began, _)| began);
    let done = if now.saturating_duration_since(began) < STRETCH { part() } else { aside(part) };
    AT_WORK.set(Some((began, Instant::now())));
    done
}

fn aside<T>(part: impl FnOnce() -> T) -> T {
    let may_leave = Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if !may_leave {
        return part();
    }
    block_in_place(|| {
        let _until_done = ASIDE.take();
        part()
    })
}

struct Places {
    taken: Mutex<usize>,
    given_back: Condvar,
}

struct Place<'a>(&'a Places);

impl Places {
    /// Waits for a place.
    fn take(&self) -> Place<'_> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |taken: &mut usize| *taken >= ASIDE_MAX;
        let free = self.given_back.wait_while(taken, is_full);
        *free.unwrap_or_else(PoisonError::into_inner) += 1;
        Place(self)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test of time needs a clock")]
    fn others_run_while_one_is_at_work_for_long_and_few_are_at_once() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (at_once, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let counts: &'static (AtomicUsize, AtomicUsize) = Box::leak(Box::new((at_once, most)));
        let (ended, is_over) = tokio::sync::watch::channel(false);
        let busy = |is_over: tokio::sync::watch::Receiver<bool>| async move {
            let began = Instant::now();
            while !*is_over.borrow() {
                work(|| {
                    let here = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
                    if began.elapsed() > 2 * STRETCH {
                        counts.1.fetch_max(here, Ordering::SeqCst);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                    counts.0.fetch_sub(1, Ordering::SeqCst);
                });
            }
        };
        let tasks: Vec<_> = (0..6).map(|_| runtime.spawn(busy(is_over.clone()))).collect();
        // Its only thread is taken by a task that never gives it back.
        let other = runtime.spawn(async { tokio::time::sleep(10 * STRETCH).await });
        runtime.block_on(other).unwrap();
        ended.send_replace(true);
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
        // Those that work aside, and one that has just begun.
        assert!((1..=ASIDE_MAX + 1).contains(&counts.1.load(Ordering::SeqCst)));
    }
}

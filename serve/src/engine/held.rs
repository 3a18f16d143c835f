//! Moments that a client has been told of and is about to ask for the rows of.
//!
//! A token of the past is answered from the tables and the tail alone. While the pin of its moment
//! is still held, it is answered from the views in memory too, as it would have been at that moment.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::pinned::Pinned;
use crate::request::AsOf;

/// Moments that are held at once; one more lets the oldest go.
const HELD_MAX: usize = 64;
/// How long a client may take from being told to asking. What the live side drops stays in memory
/// for as long.
const HELD_FOR: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct Held(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    last: u64,
    pins: VecDeque<(u64, Pinned)>,
}

impl Held {
    /// Holds a live moment that is now. Others have their tables, and need nothing else.
    pub(crate) fn hold(&self, pinned: &Pinned) {
        if pinned.live.is_none() || pinned.is_past() {
            return;
        }
        let number = {
            let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            queue.last += 1;
            let number = queue.last;
            queue.pins.push_back((number, pinned.clone()));
            if queue.pins.len() > HELD_MAX {
                queue.pins.pop_front();
            }
            number
        };
        let queue = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(HELD_FOR).await;
            if let Some(queue) = queue.upgrade() {
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.pins.retain(|(held, _)| *held != number);
            }
        });
    }

    /// The moment that `as_of` is the token of, while it is held.
    pub(crate) fn find(&self, as_of: &AsOf) -> Option<Pinned> {
        let queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pins = queue.pins.iter().map(|(_, pinned)| pinned);
        pins.find(|pinned| pinned.frontier() == as_of.frontier && pinned.token() == *as_of).cloned()
    }
}

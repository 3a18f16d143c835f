//! What comes from a client: its messages, its wish to stop what it asked for, and its leaving.
//!
//! Whatever takes time for a client runs beside these watches, and is dropped when one of them has
//! something to say.

use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::refusal::Refusal;
use super::session::{Result, Stop};
use super::sessions::Registered;
use super::wire::{Ended, Message, Reader};

/// How a client is heard.
pub(super) struct Inbound {
    reader: Reader,
    pub(super) registered: Registered,
}

/// The time that a statement has left, from its message until its last row is sent.
pub(super) struct Timer {
    limit: Duration,
    /// `None`: as long as it takes.
    left: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Of a statement that begins now.
    pub(super) fn new(limit: Option<Duration>) -> Self {
        let left = limit.map(|limit| Box::pin(sleep(limit)));
        Self { limit: limit.unwrap_or_default(), left }
    }

    async fn is_over(&mut self) -> Refusal {
        match &mut self.left {
            Some(left) => left.await,
            None => pending().await,
        }
        let limit = self.limit;
        Refusal::error("57014", format!("answer a statement: it took longer than {limit:?}"))
            .with_hint("statement_timeout of this session says so")
    }
}

impl Inbound {
    pub(super) fn new(reader: Reader, registered: Registered) -> Self {
        Self { reader, registered }
    }

    /// The next message, unless another session has ended this one.
    pub(super) async fn message(&mut self) -> Result<Message, Ended> {
        tokio::select! {
            message = self.reader.message() => message,
            refusal = self.registered.asked_to_end() => Err(Ended::Wrong(refusal)),
        }
    }

    /// What `work` comes to, unless its client stops it, leaves, or gave it too little time.
    pub(super) async fn watch<T>(
        &mut self,
        timer: &mut Timer,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.registered.asked_to_stop() => {
                Err(Refusal::error("57014", "answer a query: its client asked for it to stop").into())
            }
            refusal = self.registered.asked_to_end() => Err(refusal.into()),
            refusal = timer.is_over() => Err(refusal.into()),
            () = self.reader.gone() => Err(Stop::Gone),
        }
    }
}

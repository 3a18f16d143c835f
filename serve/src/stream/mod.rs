//! Live subscriptions: how things stand, then every change, to any number of readers.
//!
//! ```text
//! job ─► follower ─► hub ─► moment ─┬─► reader ─► server-sent events
//!   (trades of each epoch)          └─► reader ─► WebSocket
//! ```
//!
//! One task, the hub, follows the job while somebody listens, and makes a [`moment`](moment::Moment)
//! every few milliseconds: how the job stands at a frontier, and what the epochs before it brought.
//! Each [`reader`](reader::Reader) takes from the latest moment what comes after its own position,
//! at the pace of its client. So a slow client holds nothing back and holds nothing: past what the
//! hub keeps, it is told how much it has missed.

mod hub;
mod log;
pub(crate) mod message;
#[cfg(test)]
pub(crate) mod miniature;
mod moment;
mod reader;
mod roster;
pub(crate) mod spec;
mod streams;
mod texts;
mod token;

pub(crate) use message::Message;
pub(crate) use streams::{Streams, Subscription};

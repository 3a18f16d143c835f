//! The thread that reads Kafka topics and deals blocks of messages to the workers.
//!
//! * **Input**: all partitions of the topics that match, assigned by hand. Any worker decodes any
//!   partition, so a busy one among many idle ones slows nothing.
//! * **Where to begin**: at the offsets of the last commit in Iceberg, and only there. The group's
//!   offsets in Kafka are for dashboards, and are never read.
//! * **Epochs**: closed when nothing more is waiting and `epoch_time` has passed, or when full. A
//!   partition without messages holds nobody up.
//! * **Back-pressure**: open blocks are bounded, the budget makes this thread wait, and librdkafka
//!   stops fetching when its own queue is full.
//! * **Away**: a broker or a registry that cannot be reached is waited for, for ever; see
//!   [`Dependency`](crate::kit::dependency::Dependency).

use std::collections::BTreeMap;
use std::sync::Arc;

use k2_kafka::{Format, KafkaSettings, TopicPattern};

use crate::error::Error;
use crate::ingest::dealer::Dealer;
use crate::ingest::{Ended, IngestStart, Stop};
use crate::kit::dependency::Health;

mod begin;
mod open;
mod partition;
mod reader;
mod schemas;
mod topics;

pub use begin::{From, OnLost, OnRecreated};
use reader::Reader;

/// What to read, and what to do when it is not as it was.
#[derive(Clone)]
pub struct KafkaInput {
    pub settings: KafkaSettings,
    pub topics: TopicPattern,
    /// Where to begin with partitions that no earlier run has read.
    pub from: From,
    pub on_recreated: OnRecreated,
    pub on_lost: OnLost,
    /// Topic → format, where the registry's word for it is not wanted.
    pub formats: BTreeMap<String, Format>,
    /// Where it is seen what the job waits for.
    pub health: Arc<Health>,
}

/// Reads until asked to stop or, if so configured, up to what is there at the start.
pub(super) fn run(
    input: KafkaInput,
    start: IngestStart,
    mut dealer: Dealer,
    stop: Stop,
) -> Result<Vec<Ended>, Error> {
    let mut reader = match Reader::open(input, start, &dealer, stop) {
        Ok(Some(reader)) => reader,
        opened => {
            dealer.finish();
            return opened.map(|_| Vec::new());
        }
    };
    let result = reader.read_all(&mut dealer);
    if let Err(Error::TopicRecreated { .. }) = &result {
        // What came of a topic that was made again is not what its offsets say.
        dealer.abandon();
    } else {
        // What was read before any other error is good: it is drained and committed all the same.
        dealer.finish();
        dealer.config.budget.wait_until_empty();
        reader.store_committed(&dealer);
    }
    result.map(|()| Vec::new())
}

//! What `k2 import` and `k2 generate --brokers` say of what they have written.

use std::time::Duration;

use k2_kafka::{DeliveryFailure, Producer};
use k2_model::Reject;

use crate::failure::{Failure, Result};
use crate::screen;

/// Unreadable messages that are shown with their place and reason. The others are counted.
const SHOWN_MAX: u64 = 10;
/// How long the last messages may take to be confirmed.
const FLUSH_PATIENCE: Duration = Duration::from_secs(120);

/// What was written, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    delivered: u64,
    failed: u64,
    failures: Vec<DeliveryFailure>,
    unreadable: u64,
}

impl Written {
    /// Notes messages that have no topic.
    pub fn note_unreadable(&mut self, rejects: &[Reject]) {
        for reject in rejects {
            self.unreadable += 1;
            if self.unreadable <= SHOWN_MAX {
                screen::say(format!(
                    "record {} of {} is not written: {} ({})",
                    reject.at.offset,
                    reject.at.origin.source(),
                    reject.reason.as_str(),
                    reject.detail
                ));
            }
        }
    }

    /// Waits until the brokers have confirmed everything, or have given it up.
    pub fn await_deliveries(&mut self, producer: &Producer) {
        // What is not delivered is in the counts, and told from there.
        let _told = producer.flush(FLUSH_PATIENCE);
        let deliveries = producer.deliveries();
        self.delivered += deliveries.delivered;
        self.failed += deliveries.sent - deliveries.delivered;
        self.failures.extend(deliveries.failures);
    }

    /// Says what was written, and fails if something was not.
    pub fn report(&self) -> Result {
        screen::say(format!("{} messages are in Kafka", screen::count(self.delivered)));
        for failure in &self.failures {
            screen::say(format!("not delivered {failure}"));
        }
        if self.failed == 0 && self.unreadable == 0 {
            return Ok(());
        }
        Err(Failure::Failed(anyhow::anyhow!(
            "{} messages were not delivered, and {} could not be read; the others are in Kafka",
            screen::count(self.failed),
            screen::count(self.unreadable)
        )))
    }
}

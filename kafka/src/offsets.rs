//! Where partitions begin and end, and how far somebody has come: for lag, and for where to start.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use k2_model::{Offsets, Origin};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::settings::Role;
use crate::topics::{ANSWER_PATIENCE, Topics, answered};

/// How long one try may take to find out what a group has committed, and how many there are.
const COMMITTED_TRY: Duration = Duration::from_secs(1);
const COMMITTED_TRIES_MAX: usize = 10;
/// How often it is asked anew who leads a partition, after so long each time.
const LEADER_TRIES_MAX: usize = 20;
const LEADER_NAP: Duration = Duration::from_millis(100);

/// What there is to read of a partition: from `low`, and below `high`. Messages of a transaction
/// that is still open, and what comes after them, are not there to read.
///
/// The difference is no count of messages: transactions leave marks that take an offset each, and
/// compaction leaves holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    pub low: u64,
    pub high: u64,
}

/// What is asked about partitions.
#[derive(Clone, Copy)]
enum Question {
    First,
    End,
    /// The first message that is this old or younger, in milliseconds since 1970.
    Since(i64),
}

impl Topics {
    /// Where each of `origins` begins and ends, in two requests to each broker.
    pub fn watermarks(&self, origins: &[Origin]) -> Result<BTreeMap<Origin, Watermarks>> {
        // In this order: the beginning may move up between the two, but never past the end.
        let low = self.ask("ask where partitions begin", origins, Question::First)?;
        let high = self.ask("ask where partitions end", origins, Question::End)?;
        let both = low.into_iter().zip(high.into_values());
        Ok(both
            .map(|((origin, low), high)| {
                let (low, high) = (low.unwrap_or(0), high.unwrap_or(0));
                (origin, Watermarks { low: low.min(high), high })
            })
            .collect())
    }

    /// The first offset of each of `origins` whose message has a time of `timestamp_ms` or later,
    /// in milliseconds since 1970; the end of the partition if there is none.
    pub fn offsets_for_time(&self, origins: &[Origin], timestamp_ms: i64) -> Result<Offsets> {
        let attempt = format!("ask which messages are of {timestamp_ms} ms or later");
        let found = self.ask(&attempt, origins, Question::Since(timestamp_ms.max(0)))?;
        let without: Vec<Origin> = found
            .iter()
            .filter(|(_, offset)| offset.is_none())
            .map(|(origin, _)| *origin)
            .collect();
        let mut offsets: Offsets =
            found.into_iter().filter_map(|(origin, offset)| Some((origin, offset?))).collect();
        for (origin, end) in self.ask("ask where partitions end", &without, Question::End)? {
            offsets.advance(origin, end.unwrap_or(0));
        }
        Ok(offsets)
    }

    /// What `group` has committed of `origins`; those of which it has committed nothing are left
    /// out. The group is not joined.
    pub fn committed(&self, group: &str, origins: &[Origin]) -> Result<Offsets> {
        if origins.is_empty() {
            return Ok(Offsets::default());
        }
        let attempt = format!("ask what group {group} has committed");
        let mut config = self.settings.client_config(Role::Admin)?;
        config.set("group.id", group).set("enable.auto.commit", "false");
        let client: BaseConsumer<Context> = config
            .create_with_context(Context::default())
            .map_err(|error| Error::of_kafka(&attempt, &error, None))?;
        let mut list = TopicPartitionList::with_capacity(origins.len());
        for origin in origins {
            list.add_partition(origin.source(), origin.partition());
        }
        let mut tries_left = COMMITTED_TRIES_MAX;
        loop {
            tries_left -= 1;
            let answer = client.committed_offsets(list.clone(), COMMITTED_TRY);
            match answered(&client, &attempt, answer) {
                // A refusal is told while librdkafka still waits for somebody to relent.
                Err(error) if error.retryable() && tries_left > 0 => {}
                Err(error) => return Err(error),
                Ok(list) => {
                    let found = offsets(&attempt, &list)?.into_iter();
                    return Ok(found.filter_map(|(origin, at)| Some((origin, at?))).collect());
                }
            }
        }
    }

    /// The answer for each of `origins`; none where the partition has nothing such.
    fn ask(
        &self,
        attempt: &str,
        origins: &[Origin],
        question: Question,
    ) -> Result<BTreeMap<Origin, Option<u64>>> {
        if origins.is_empty() {
            return Ok(BTreeMap::new());
        }
        // Kafka takes the beginning and the end for times before and after every other.
        let time = match question {
            Question::First => Offset::Beginning,
            Question::End => Offset::End,
            Question::Since(timestamp_ms) => Offset::Offset(timestamp_ms),
        };
        let mut list = TopicPartitionList::with_capacity(origins.len());
        for origin in origins {
            list.add_partition_offset(origin.source(), origin.partition(), time)
                .map_err(|error| Error::of_kafka(attempt, &error, None))?;
        }
        let mut tries_left = LEADER_TRIES_MAX;
        let found = loop {
            tries_left -= 1;
            let answer = self.client.offsets_for_times(list.clone(), ANSWER_PATIENCE);
            let answer = answered(&self.client, attempt, answer);
            match answer.and_then(|list| offsets(attempt, &list)) {
                Ok(found) => break found,
                // librdkafka asks whom it remembers, and does not look again by itself.
                Err(error) if error.is_of_stale_leader() && tries_left > 0 => {
                    self.refresh_leaders(attempt, origins)?;
                }
                Err(error) if error.kind() == ErrorKind::UnknownTopic => {
                    self.check_existing(attempt, origins)?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        };
        if let Some(origin) = origins.iter().find(|origin| !found.contains_key(*origin)) {
            let (topic, partition) = (origin.source(), origin.partition());
            let text = format!("{attempt}: no answer for partition {partition} of {topic}");
            return Err(Error::new(ErrorKind::Unavailable, text));
        }
        Ok(found)
    }

    fn refresh_leaders(&self, attempt: &str, origins: &[Origin]) -> Result<()> {
        thread::sleep(LEADER_NAP);
        let names: BTreeSet<&str> = origins.iter().map(|origin| origin.source()).collect();
        for name in names {
            let metadata = self.client.fetch_metadata(Some(name), ANSWER_PATIENCE);
            answered(&self.client, attempt, metadata)?;
        }
        Ok(())
    }

    /// Says which of `origins` is not there, or may not be seen: librdkafka does not.
    fn check_existing(&self, attempt: &str, origins: &[Origin]) -> Result<()> {
        let names: BTreeSet<&str> = origins.iter().map(|origin| origin.source()).collect();
        let topics = self.describe(attempt, &names)?;
        for origin in origins {
            let (name, partition) = (origin.source(), origin.partition());
            match &topics[name] {
                Ok(topic) if (0..topic.partitions).contains(&partition) => {}
                Ok(topic) => {
                    let partitions = topic.partitions;
                    let text = format!("{attempt}: topic {name} has {partitions} partitions");
                    let text = format!("{text}, and none of number {partition}");
                    return Err(Error::new(ErrorKind::UnknownTopic, text));
                }
                Err(code) => {
                    return Err(Error::of_code(&format!("{attempt}: topic {name}"), *code, None));
                }
            }
        }
        Ok(())
    }
}

fn offsets(attempt: &str, list: &TopicPartitionList) -> Result<BTreeMap<Origin, Option<u64>>> {
    let mut offsets = BTreeMap::new();
    for element in list.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        if let Err(error) = element.error() {
            let attempt = format!("{attempt}: partition {partition} of {topic}");
            return Err(Error::of_kafka(&attempt, &error, None));
        }
        let offset = match element.offset() {
            Offset::Offset(offset) => u64::try_from(offset).ok(),
            _ => None,
        };
        offsets.insert(Origin::new(topic, partition), offset);
    }
    Ok(offsets)
}

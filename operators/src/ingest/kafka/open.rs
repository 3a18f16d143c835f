//! Finds topics, and where to begin with each of their partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k2_kafka::{
    ErrorKind, Format, Registry, TopicInfo, TopicName, TopicPattern, Topics, Watermarks,
    value_subject,
};
use k2_model::codec::VENUES;
use k2_model::time::NANOS_PER_MILLI;
use k2_model::{DataType, Offsets, Origin};

use crate::error::Error;
use crate::ingest::IngestStart;
use crate::ingest::kafka::begin::{self, Found, From, Known, Lost};
use crate::ingest::kafka::partition::{Identity, Partition};
use crate::ingest::kafka::{KafkaInput, OnLost};
use crate::kit::dependency::Dependency;

/// What it takes to begin with a partition.
pub(super) struct Opener {
    pub input: KafkaInput,
    pub start: IngestStart,
    pub topics: Arc<Topics>,
    pub registry: Option<Arc<Registry>>,
    pub kafka: Dependency,
    pub waits_for_registry: Dependency,
}

/// A partition, and where to begin with it.
pub(super) struct Begin {
    pub identity: Identity,
    pub next: u64,
    /// Where it begins is not in any commit yet.
    pub is_new: bool,
    pub lost: Option<Lost>,
    /// The offset after the last that was there when it was looked at.
    pub end: u64,
}

impl Opener {
    /// The topics that match. `None`: asked to stop before Kafka could be reached.
    pub fn first_topics(&self) -> Result<Option<Vec<TopicInfo>>, Error> {
        let pattern = &self.input.topics;
        let found = self.kafka.attempt(|| self.topics.list(pattern))?;
        if found.as_ref().is_some_and(Vec::is_empty) {
            let every: TopicPattern = "*".parse().expect("a star is a pattern");
            let all = self.kafka.attempt(|| self.topics.list(&every))?.unwrap_or_default();
            let there: Vec<_> = all.iter().map(|topic| topic.name.as_str()).collect();
            let there = if there.is_empty() { "none".into() } else { there.join(", ") };
            return Err(Error::NoTopic { pattern: pattern.to_string(), there });
        }
        Ok(found)
    }

    /// Where to begin with the partitions of `found` that are not read yet. `None`: asked to stop
    /// before it was known.
    ///
    /// # Errors
    /// A topic that is read, or was, is another one now.
    pub fn begin(
        &self,
        found: &[TopicInfo],
        partitions: &[Partition],
    ) -> Result<Option<Vec<Begin>>, Error> {
        let unread = unread(found, partitions)?;
        if unread.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let origins: Vec<_> =
            unread.iter().map(|(topic, number)| Origin::new(&topic.name, *number)).collect();
        let ends = self.kafka.attempt(|| self.topics.watermarks(&origins))?;
        // What came between a partition's creation and our look must not be passed over.
        let is_first_look = partitions.is_empty();
        let from = if is_first_look { self.input.from } else { From::Earliest };
        let (Some(ends), Some(since)) = (ends, self.since(from, &origins)?) else {
            return Ok(None);
        };
        let mut formats: BTreeMap<&str, Format> = BTreeMap::new();
        let mut begins = Vec::new();
        for ((topic, number), origin) in unread.into_iter().zip(origins) {
            let format = match formats.get(topic.name.as_str()) {
                Some(format) => *format,
                None => {
                    let Some(format) = self.format(&topic.name)? else { return Ok(None) };
                    formats.insert(&topic.name, format);
                    format
                }
            };
            let found = self.found(topic, ends[&origin]);
            let first = match from {
                From::Earliest => found.low,
                From::Latest => found.high,
                From::At(_) => since.next(origin).clamp(found.low, found.high),
            };
            begins.push(self.begin_one(topic, number, format, &found, first)?);
        }
        Ok(Some(begins))
    }

    /// Where to begin with one partition: with `first` if nothing of its topic was ever read.
    fn begin_one(
        &self,
        topic: &TopicInfo,
        partition: i32,
        format: Format,
        found: &Found,
        first: u64,
    ) -> Result<Begin, Error> {
        let (offsets, marks) = (&self.start.offsets, &self.start.marks);
        let on_recreated = self.input.on_recreated;
        let known = begin::known(&topic.name, partition, found, offsets, marks, on_recreated)?;
        let Known { origin, next: saved, mark } = known;
        let from = match saved {
            Some(next) => next,
            None if begin::is_topic_known(found, marks) => found.low,
            None => first,
        };
        let (next, lost) = begin::resume(&topic.name, partition, from, found)?;
        let name: Option<TopicName> = topic.name.parse().ok();
        let identity = Identity {
            origin,
            topic: topic.name.clone(),
            partition,
            venue: venue(name.as_ref().map_or("", TopicName::venue)),
            data_type: name.map_or(DataType::Trades, |name| name.data_type),
            format,
            mark,
        };
        let lost = self.check_lost(&identity, lost)?;
        Ok(Begin { identity, next, is_new: saved.is_none(), lost, end: found.high })
    }

    /// Where to read on with a partition whose offset Kafka does not have, and what is lost by
    /// then. `None`: asked to stop, or the topic is gone and may come back.
    pub fn read_on(&self, read: &Partition) -> Result<Option<(u64, Option<Lost>)>, Error> {
        let Identity { topic: name, partition, mark, .. } = &read.identity;
        let origin = Origin::new(name, *partition);
        let only: TopicPattern = name.parse().expect("the name of a topic is a pattern");
        let look = || -> k2_kafka::Result<Option<_>> {
            let Some(topic) = self.topics.find(&only)?.pop() else { return Ok(None) };
            Ok(Some((topic, self.topics.watermarks(&[origin])?)))
        };
        let found = self.kafka.attempt(|| match look() {
            // It went between the two questions.
            Err(error) if error.kind() == ErrorKind::UnknownTopic => Ok(None),
            found => found,
        })?;
        let Some((topic, ends)) = found.flatten() else { return Ok(None) };
        if topic.id != mark.topic_id {
            let (topic, next) = (name.clone(), read.next());
            return Err(Error::TopicRecreated { topic, next, other_cluster: false });
        }
        let found = self.found(&topic, ends[&origin]);
        let (next, lost) = begin::resume(name, *partition, read.next(), &found)?;
        Ok(Some((next, self.check_lost(&read.identity, lost)?)))
    }

    fn found(&self, topic: &TopicInfo, ends: Watermarks) -> Found {
        let Watermarks { low, high } = ends;
        Found { cluster_id: self.topics.cluster_id().into(), topic_id: topic.id, low, high }
    }

    fn check_lost(&self, of: &Identity, lost: Option<Lost>) -> Result<Option<Lost>, Error> {
        let Some(Lost { first, last }) = lost else { return Ok(None) };
        let Identity { topic, partition, .. } = of;
        if self.input.on_lost == OnLost::Stop {
            let (topic, partition) = (topic.clone(), *partition);
            return Err(Error::OffsetsLost { topic, partition, first, last });
        }
        tracing::error!(
            "topic {topic}, partition {partition}: offsets {first} to {last} were deleted before \
             they could be read; they are recorded in the table gaps, and the job reads on"
        );
        Ok(lost)
    }

    /// The offsets of a time, if it is a time to begin from. `None`: asked to stop.
    fn since(&self, from: From, origins: &[Origin]) -> Result<Option<Offsets>, Error> {
        let From::At(time) = from else { return Ok(Some(Offsets::default())) };
        // The first whole millisecond that is not before it: Kafka's stamps have no more digits.
        let since_ms =
            time.0.div_euclid(NANOS_PER_MILLI) + i64::from(time.0.rem_euclid(NANOS_PER_MILLI) > 0);
        self.kafka.attempt(|| self.topics.offsets_for_time(origins, since_ms))
    }

    /// A topic holds Avro if the registry has a schema for it, raw messages otherwise, unless it
    /// is said. `None`: asked to stop.
    fn format(&self, topic: &str) -> Result<Option<Format>, Error> {
        if let Some(format) = self.input.formats.get(topic) {
            return Ok(Some(*format));
        }
        let Some(registry) = &self.registry else { return Ok(Some(Format::Raw)) };
        let subject = value_subject(topic);
        let asked = self.waits_for_registry.attempt(|| registry.has_subject(&subject))?;
        Ok(asked.map(|has_subject| if has_subject { Format::Avro } else { Format::Raw }))
    }
}

/// The partitions of `found` that are not read yet, each with its topic.
fn unread<'a>(
    found: &'a [TopicInfo],
    partitions: &[Partition],
) -> Result<Vec<(&'a TopicInfo, i32)>, Error> {
    let mut unread = Vec::new();
    for topic in found {
        let of_topic = partitions.iter().filter(|read| read.identity.topic == topic.name);
        let mut numbers = BTreeSet::new();
        for read in of_topic {
            if read.identity.mark.topic_id != topic.id {
                let (topic, next) = (topic.name.clone(), read.next());
                return Err(Error::TopicRecreated { topic, next, other_cluster: false });
            }
            numbers.insert(read.identity.partition);
        }
        let new = (0..topic.partitions).filter(|number| !numbers.contains(number));
        unread.extend(new.map(|number| (topic, number)));
    }
    Ok(unread)
}

/// The venue's name for ever: one of those that have a decoder, or another, of which there are no
/// more than topics.
fn venue(name: &str) -> &'static str {
    let known = VENUES.iter().find(|known| **known == name);
    known.copied().unwrap_or_else(|| Box::leak(name.to_owned().into_boxed_str()))
}

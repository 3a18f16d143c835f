//! Where to begin with a partition: what an earlier run has read, against what Kafka has.
//!
//! * `SOURCE-1`: a partition is read on from the offsets of the last commit in the tables, and from
//!   nowhere else.
//! * `SOURCE-2`: rows of a topic that was deleted and made again never stand under places of the old
//!   one: it is another source.

use std::collections::BTreeMap;

use k2_model::instrument::InstrumentParts;
use k2_model::{
    AssetClass, Coordinates, DataType, Gap, GapCause, GapChange, Instrument, Nanos, Offsets,
    Origin, Stream,
};

use crate::batch::{PartitionMark, SourceMark};
use crate::error::Error;

/// Where to begin with partitions that no earlier run has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    #[default]
    Earliest,
    Latest,
    /// With the first message stamped then or later.
    At(Nanos),
}

/// What to do about a topic that was deleted and made again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRecreated {
    #[default]
    Stop,
    /// Read the new one from its start, as another source.
    Restart,
}

/// What to do about messages that were deleted before they could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLost {
    /// Record what is missing and read on.
    #[default]
    GoOn,
    Stop,
}

/// What Kafka says of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub cluster_id: String,
    pub topic_id: [u8; 16],
    /// The first offset that is there, and the one after the last.
    pub low: u64,
    pub high: u64,
}

/// What is known of a partition from earlier runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub origin: Origin,
    /// `None`: nothing has been read.
    pub next: Option<u64>,
    pub mark: PartitionMark,
}

/// Finds what an earlier run knew of a partition of the topic that Kafka has now.
///
/// A topic that was deleted and made again counts its offsets from 0, so under the same name its
/// rows could not be told from the old ones: it becomes the source `topic@id`.
pub(super) fn known(
    topic: &str,
    partition: i32,
    found: &Found,
    offsets: &Offsets,
    marks: &BTreeMap<Origin, SourceMark>,
    on_recreated: OnRecreated,
) -> Result<Known, Error> {
    let mark_of = |origin| marks.get(&origin).and_then(SourceMark::as_partition).cloned();
    let new = |origin: Origin| {
        let Found { cluster_id, topic_id, .. } = found.clone();
        Known { origin, next: None, mark: PartitionMark { cluster_id, topic_id, lost: Vec::new() } }
    };
    let resumed = |origin: Origin, mark: PartitionMark| Known {
        origin,
        next: Some(offsets.next(origin)),
        mark,
    };
    let plain = Origin::new(topic, partition);
    let again = Origin::new(&format!("{topic}@{}", hex(found.topic_id)), partition);
    if let Some(mark) = mark_of(again) {
        return Ok(resumed(again, mark));
    }
    match mark_of(plain) {
        Some(mark) if mark.topic_id == found.topic_id => Ok(resumed(plain, mark)),
        None if !any_partition_was_read(topic, found, marks) => Ok(new(plain)),
        _ if on_recreated == OnRecreated::Restart => Ok(new(again)),
        mark => Err(Error::TopicRecreated {
            topic: topic.into(),
            next: offsets.next(plain),
            other_cluster: mark.is_some_and(|mark| mark.cluster_id != found.cluster_id),
        }),
    }
}

/// Whether some partition of this very topic was read before.
pub(super) fn is_topic_known(found: &Found, marks: &BTreeMap<Origin, SourceMark>) -> bool {
    marks.values().filter_map(SourceMark::as_partition).any(|mark| mark.topic_id == found.topic_id)
}

/// Whether another partition of an older topic of that name was read: a new partition of a topic
/// that was made again is no new partition of the old one.
fn any_partition_was_read(
    topic: &str,
    found: &Found,
    marks: &BTreeMap<Origin, SourceMark>,
) -> bool {
    let of_topic = marks.iter().filter(|(origin, _)| origin.source() == topic);
    let mut known = of_topic.filter_map(|(_, mark)| mark.as_partition());
    known.any(|mark| mark.topic_id != found.topic_id)
}

/// Offsets `first..=last` that were gone before they could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub first: u64,
    pub last: u64,
}

/// Where to read on from `next`, and what is lost by then.
pub(super) fn resume(
    topic: &str,
    partition: i32,
    next: u64,
    found: &Found,
) -> Result<(u64, Option<Lost>), Error> {
    if next > found.high {
        return Err(Error::TopicShortened {
            topic: topic.into(),
            partition,
            next,
            high: found.high,
        });
    }
    let lost = (next < found.low).then(|| Lost { first: next, last: found.low - 1 });
    Ok((next.max(found.low), lost))
}

/// The lost offsets as a row of the gaps' log. Their stream is the partition itself.
pub(super) fn gap_of(
    venue: &str,
    data_type: DataType,
    origin: Origin,
    lost: Lost,
    now: Nanos,
) -> GapChange {
    let name = format!("{}[{}]", origin.source(), origin.partition());
    let instrument = Instrument::new(InstrumentParts {
        venue: venue.into(),
        symbol: name.clone().into(),
        raw_symbol: name.into(),
        asset_class: AssetClass::default(),
        base: Box::default(),
        quote: Box::default(),
        tier: 1,
    });
    let gap = Gap {
        stream: Stream { instrument, data_type },
        first_missing: lost.first,
        last_missing: lost.last,
        revealed: now,
        healed: None,
        cause: GapCause::Retention,
    };
    GapChange { gap, diff: 1, at: Coordinates { origin, offset: lost.last } }
}

fn hex(id: [u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: [u8; 16] = [1; 16];
    const NEW: [u8; 16] = [2; 16];

    fn found(topic_id: [u8; 16], low: u64, high: u64) -> Found {
        Found { cluster_id: "cluster".into(), topic_id, low, high }
    }

    /// What a run remembers that has read offsets below 50 of partition 0 of the old topic.
    fn remembered() -> (Offsets, BTreeMap<Origin, SourceMark>) {
        let origin = Origin::new("begin-test", 0);
        let mark = PartitionMark { cluster_id: "cluster".into(), topic_id: OLD, lost: vec![] };
        let marks = [(origin, SourceMark::Partition(mark))].into_iter().collect();
        ([(origin, 50)].into_iter().collect(), marks)
    }

    fn known_as(partition: i32, found: &Found, on: OnRecreated) -> Result<Known, Error> {
        let (offsets, marks) = remembered();
        known("begin-test", partition, found, &offsets, &marks, on)
    }

    /// `SOURCE-1`.
    #[test]
    fn a_topic_that_is_the_same_is_read_on() {
        let known = known_as(0, &found(OLD, 0, 100), OnRecreated::Stop).unwrap();
        assert_eq!((known.origin.source(), known.next), ("begin-test", Some(50)));
        let added = known_as(1, &found(OLD, 0, 100), OnRecreated::Stop).unwrap();
        assert_eq!((added.origin.source(), added.next), ("begin-test", None));
    }

    /// `SOURCE-2`.
    #[test]
    fn a_topic_that_was_made_again_stops_the_job_or_is_another_source() {
        for partition in [0, 1] {
            let found = found(NEW, 0, 100);
            let error = known_as(partition, &found, OnRecreated::Stop).unwrap_err();
            assert!(error.to_string().contains("--on-recreated-topic"), "{error}");
            let known = known_as(partition, &found, OnRecreated::Restart).unwrap();
            assert_eq!(known.origin.source(), format!("begin-test@{}", "02".repeat(16)));
            assert_eq!(known.next, None);
        }
    }

    #[test]
    fn offsets_that_are_gone_are_lost_and_offsets_that_never_were_are_an_error() {
        let resume = |next, low, high| resume("begin-test", 0, next, &found(OLD, low, high));
        assert_eq!(resume(50, 0, 100).unwrap(), (50, None));
        assert_eq!(resume(50, 50, 50).unwrap(), (50, None));
        assert_eq!(resume(50, 80, 100).unwrap(), (80, Some(Lost { first: 50, last: 79 })));
        resume(50, 0, 49).unwrap_err();
    }
}

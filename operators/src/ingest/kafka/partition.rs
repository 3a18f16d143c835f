//! One partition as it is read: what has come of it and waits to be dealt.

use std::collections::BTreeSet;
use std::sync::Arc;

use k2_kafka::Format;
use k2_model::codec::avro::Frame;
use k2_model::{DataType, Origin};

use crate::batch::PartitionMark;
use crate::ingest::messages::{Messages, Schemas};
use crate::ingest::{Block, Payload};

/// What a partition is, and by what it is known again.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub origin: Origin,
    pub topic: String,
    pub partition: i32,
    /// Of its raw messages.
    pub venue: &'static str,
    pub data_type: DataType,
    pub format: Format,
    pub mark: PartitionMark,
}

/// A partition that is being read. Pure: knows no client and no clock.
pub(super) struct Partition {
    pub identity: Identity,
    /// Nothing is fetched of it, because too much of it waits.
    pub is_held_back: bool,
    /// All below it is dealt, or in `open`, or will never come.
    next: u64,
    /// All below it is dealt, or will never come.
    dealt: u64,
    /// What lies from here on is left for later.
    stop: Option<u64>,
    /// The offset after the last that was there at the start.
    end: u64,
    open: Messages,
    /// Schemas that `open` names and nobody knows yet.
    unknown: BTreeSet<u32>,
    /// When the latest message was stamped, milliseconds since 1970.
    timestamp_ms: Option<i64>,
}

impl Partition {
    pub fn new(identity: Identity, next: u64, end: u64) -> Self {
        let open = Messages::new(identity.format);
        let (unknown, timestamp_ms) = (BTreeSet::new(), None);
        Self {
            identity,
            is_held_back: false,
            next,
            dealt: next,
            stop: None,
            end,
            open,
            unknown,
            timestamp_ms,
        }
    }

    /// Takes a message; answers the id of its schema if that is not known yet and was not met
    /// before in what waits.
    pub fn push(
        &mut self,
        offset: u64,
        timestamp_ms: Option<i64>,
        value: &[u8],
        schemas: &Schemas,
    ) -> Option<u32> {
        if offset < self.next {
            return None;
        }
        if let Some(stop) = self.stop
            && offset >= stop
        {
            self.next = stop;
            return None;
        }
        self.next = offset + 1;
        self.timestamp_ms = timestamp_ms.or(self.timestamp_ms);
        self.open.push(offset, value);
        if self.identity.format == Format::Raw {
            return None;
        }
        let id = Frame::split(value)?.schema_id;
        (!schemas.contains_key(&id) && self.unknown.insert(id)).then_some(id)
    }

    /// Nothing more will come below `next`.
    pub fn pass(&mut self, next: u64) {
        self.next = self.next.max(next.min(self.stop.unwrap_or(next)));
    }

    /// Takes nothing from `stop` on until [`Partition::go_on`]; nothing at all if it is past that.
    pub fn stop_at(&mut self, stop: u64) {
        self.stop = Some(stop.max(self.next));
    }

    pub fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| self.next >= stop && !self.waits())
    }

    /// Takes everything again; answers the offset from which it has to be read once more.
    pub fn go_on(&mut self) -> u64 {
        self.stop = None;
        self.next
    }

    /// Notes that a schema is known now.
    pub fn learn(&mut self, id: u32) {
        self.unknown.remove(&id);
    }

    /// Whether its messages wait for a schema.
    pub fn waits(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Whether all has been read that was there at the start.
    pub fn is_at_end(&self) -> bool {
        self.next >= self.end && !self.waits()
    }

    /// Whether too much waits for a schema: fetching more of it must wait too.
    pub fn is_overfull(&self, bytes_max: usize) -> bool {
        self.waits() && self.open.bytes() > bytes_max
    }

    pub fn next(&self) -> u64 {
        self.next
    }

    /// Bytes that have come and are not dealt.
    pub fn open_bytes(&self) -> usize {
        self.open.bytes()
    }

    /// Whether there is anything to tell the dealer.
    pub fn has_moved(&self) -> bool {
        self.next > self.dealt && !self.waits()
    }

    pub fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms
    }

    /// All that has come, as a block if there are messages, and the next offset after it. `None` if
    /// there is nothing new, or if it has to wait for a schema.
    pub fn take(&mut self, schemas: &Arc<Schemas>) -> Option<(Option<Block>, u64)> {
        if !self.has_moved() {
            return None;
        }
        self.dealt = self.next;
        if self.open.is_empty() {
            return Some((None, self.next));
        }
        let Identity { origin, venue, .. } = self.identity;
        let payload = Payload::Messages(Arc::new(self.open.seal(schemas)));
        Some((Some(Block { origin, venue, payload }), self.next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::messages::Known;

    fn partition(format: Format) -> Partition {
        let identity = Identity {
            origin: Origin::new("partition-test", 3),
            topic: "partition-test".into(),
            partition: 3,
            venue: "BINANCE",
            data_type: DataType::Trades,
            format,
            mark: PartitionMark::default(),
        };
        Partition::new(identity, 10, 100)
    }

    fn offsets(block: Option<Block>) -> Vec<u64> {
        match block.map(|block| block.payload) {
            Some(Payload::Messages(messages)) => {
                messages.iter().map(|(offset, _)| offset).collect()
            }
            _ => Vec::new(),
        }
    }

    #[test]
    fn messages_are_taken_once_and_holes_are_passed() {
        let (mut partition, schemas) = (partition(Format::Raw), Arc::default());
        assert!(partition.take(&schemas).is_none());
        for offset in [10, 11, 11, 14, 9] {
            partition.push(offset, None, b"{}", &schemas);
        }
        partition.pass(16);
        let (block, next) = partition.take(&schemas).unwrap();
        assert_eq!((offsets(block), next), (vec![10, 11, 14], 16));
        assert!(partition.take(&schemas).is_none());
        partition.pass(17);
        let (block, next) = partition.take(&schemas).unwrap();
        assert!(block.is_none());
        assert_eq!(next, 17);
    }

    #[test]
    fn what_lies_beyond_the_stop_is_left_for_later() {
        let (mut partition, schemas) = (partition(Format::Raw), Arc::default());
        partition.stop_at(12);
        for offset in [10, 13, 14] {
            assert!(!partition.is_stopped());
            partition.push(offset, None, b"{}", &schemas);
            if offset > 12 {
                break;
            }
        }
        partition.pass(20);
        assert!(partition.is_stopped());
        let (block, next) = partition.take(&schemas).unwrap();
        assert_eq!((offsets(block), next), (vec![10], 12));
        assert_eq!(partition.go_on(), 12);
        partition.push(13, None, b"{}", &schemas);
        assert_eq!(offsets(partition.take(&schemas).unwrap().0), [13]);
    }

    #[test]
    fn who_is_past_the_stop_takes_nothing_and_goes_back_to_nothing() {
        let (mut partition, schemas) = (partition(Format::Raw), Arc::default());
        partition.stop_at(4);
        assert!(partition.is_stopped());
        partition.push(10, None, b"{}", &schemas);
        assert!(partition.take(&schemas).is_none());
        assert_eq!(partition.go_on(), 10);
    }

    #[test]
    fn a_message_of_an_unknown_schema_waits_and_with_it_what_comes_after() {
        let (mut partition, mut schemas) = (partition(Format::Avro), Arc::<Schemas>::default());
        let framed = |id: u8| [0, 0, 0, 0, id, 1];
        assert_eq!(partition.push(10, None, &framed(7), &schemas), Some(7));
        assert_eq!(partition.push(11, None, &framed(7), &schemas), None, "asked for already");
        assert_eq!(partition.push(12, None, b"not Avro", &schemas), None);
        assert!(partition.take(&schemas).is_none());
        Arc::make_mut(&mut schemas).insert(7, Known::Refused("a test".into()));
        partition.learn(7);
        let (block, next) = partition.take(&schemas).unwrap();
        assert_eq!((offsets(block), next), (vec![10, 11, 12], 13));
        assert_eq!(partition.push(13, None, &framed(7), &schemas), None);
    }
}

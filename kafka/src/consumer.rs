//! Reads partitions that are assigned by hand, many messages at a time.
//!
//! No consumer group decides who reads what, and no offset is kept by Kafka: where to read is the
//! caller's business. The group's name serves only [`Consumer::store`], for those who watch lag.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::mem::ManuallyDrop;
use std::time::Duration;

use k2_model::Origin;
use rdkafka::ClientContext as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::native::{self, Batch, Queue, RawMessage};
use crate::settings::{KafkaSettings, Role};

/// Under this name offsets are stored, unless `kafka.group.id` names another.
pub const GROUP_DEFAULT: &str = "k2";
/// Messages taken from librdkafka at once. More gain nothing.
const BATCH_MESSAGES: usize = 4_096;

/// A partition, and the next offset to read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    pub topic: String,
    pub partition: i32,
    pub next: u64,
}

impl Assigned {
    /// Of a partition that is known by its topic's name.
    pub fn of(origin: Origin, next: u64) -> Self {
        Self { topic: origin.source().into(), partition: origin.partition(), next }
    }
}

/// What came of a partition.
#[derive(Debug)]
pub enum Delivery<'a> {
    Message {
        offset: u64,
        /// Milliseconds since 1970, as the producer or the broker stamped it.
        timestamp_ms: Option<i64>,
        /// `None`: without a value, as a deletion in a compacted topic.
        value: Option<&'a [u8]>,
    },
    /// There is no more for now. Everything below `next` has been delivered or will never be:
    /// markers of transactions and what compaction removed leave holes.
    End {
        next: u64,
    },
    Failed(Failure),
}

/// What a partition says in place of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: RDKafkaErrorCode,
    text: String,
}

/// What follows from a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The offset is not there: deleted, or never written. Nothing comes of the partition until it
    /// is assigned anew.
    OffsetGone,
    /// Nobody mends that but a person: no permission, a codec that this program does not know.
    Fatal,
    /// The client goes on trying.
    Passing,
}

impl Failure {
    pub fn kind(&self) -> FailureKind {
        use RDKafkaErrorCode as Code;
        match self.code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => FailureKind::OffsetGone,
            Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::NotImplemented
            | Code::UnsupportedCompressionType => FailureKind::Fatal,
            _ => FailureKind::Passing,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.as_str() {
            "" => self.code.fmt(f),
            text => f.write_str(text),
        }
    }
}

/// A client that reads. Partitions are known by their place: the order of assignment.
pub struct Consumer {
    // In this order they are dropped: what borrows from the client goes before it.
    batch: Batch,
    messages: Queue,
    events: Queue,
    client: ManuallyDrop<BaseConsumer<Context>>,
    places: Places,
}

/// Reads nothing any more. The client itself stays until the process ends: librdkafka 2.12 waits
/// for ever, about every other time, for the thread of a broker when a client is destroyed that has
/// been read by the batch. A job has one consumer for all its life, so what stays is one.
impl Drop for Consumer {
    fn drop(&mut self) {
        if let Err(error) = self.client.unassign() {
            tracing::debug!("a consumer that ends could not leave its partitions: {error}");
        }
    }
}

impl Consumer {
    /// A client that has not reached any broker yet: it goes on trying for ever.
    ///
    /// # Errors
    /// The settings cannot work.
    pub fn new(settings: &KafkaSettings) -> Result<Self> {
        let mut config = settings.client_config(Role::Consumer)?;
        if config.get("group.id").is_none() {
            config.set("group.id", GROUP_DEFAULT);
        }
        let client: BaseConsumer<Context> = config
            .create_with_context(Context::default())
            .map_err(|error| Error::of_kafka("start a consumer", &error, None))?;
        let (messages, events) =
            native::queues(client.client()).expect("a consumer with a group has both");
        let batch = Batch::with_room_for(BATCH_MESSAGES);
        let client = ManuallyDrop::new(client);
        Ok(Self { batch, messages, events, client, places: Places::default() })
    }

    /// Reads these too. Their places follow those of the ones before.
    pub fn assign(&mut self, partitions: &[Assigned]) -> Result<()> {
        self.places.assigned.extend(partitions.iter().cloned());
        self.places.forget_addresses();
        self.start(partitions)
    }

    /// Reads the partition at `place` from `next` on, wherever it was, and though it was left.
    pub fn reassign(&mut self, place: usize, next: u64) -> Result<()> {
        self.leave(place)?;
        self.places.left.remove(&place);
        let assigned = &mut self.places.assigned[place];
        assigned.next = next;
        let one = [assigned.clone()];
        self.places.forget_addresses();
        self.start(&one)
    }

    /// Reads no more of the partition at `place`, until it is assigned again.
    ///
    /// This in place of a pause, after which librdkafka goes on where it believes to be: what has
    /// been handed out by the batch is known only to the caller.
    pub fn leave(&mut self, place: usize) -> Result<()> {
        if !self.places.left.insert(place) {
            return Ok(());
        }
        self.places.forget_addresses();
        let unassigned = self.client.incremental_unassign(&self.list_of(place));
        unassigned.map_err(|error| self.failed("leave", place, &error))
    }

    fn start(&self, partitions: &[Assigned]) -> Result<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        let assigned = self.client.incremental_assign(&offsets(partitions));
        assigned.map_err(|error| self.explain("assign partitions", &error))
    }

    /// Hands what has come to `each`, with the place of its partition; waits up to `wait` for as
    /// much as is taken at once. Answers whether there is probably more.
    pub fn read(&mut self, wait: Duration, mut each: impl FnMut(usize, Delivery<'_>)) -> bool {
        self.messages.take(wait, &mut self.batch);
        // A topic that was left may be gone since the last batch, and another have its address.
        if !self.places.left.is_empty() {
            self.places.forget_addresses();
        }
        for message in self.batch.iter() {
            // What is of no partition comes as an event as well.
            let Some(place) = self.places.of(message) else { continue };
            each(place, delivery(message));
        }
        self.batch.is_full()
    }

    /// The end of the partition at `place` as the brokers told it last; `None` if they have not.
    pub fn known_end(&self, place: usize) -> Option<u64> {
        let Assigned { topic, partition, .. } = &self.places.assigned[place];
        native::known_end(self.client.client(), topic, *partition)
    }

    /// What `failure` of the partition at `place` is to a person.
    pub fn error_of(&self, place: usize, failure: &Failure) -> Error {
        let Assigned { topic, partition, .. } = &self.places.assigned[place];
        let attempt = format!("read topic {topic}, partition {partition}");
        Error::of_code(&attempt, failure.code, Some(failure.text.clone()))
    }

    fn list_of(&self, place: usize) -> TopicPartitionList {
        let Assigned { topic, partition, .. } = &self.places.assigned[place];
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, *partition);
        list
    }

    fn failed(&self, what: &str, place: usize, error: &KafkaError) -> Error {
        let Assigned { topic, partition, .. } = &self.places.assigned[place];
        self.explain(&format!("{what} topic {topic}, partition {partition}"), error)
    }

    fn explain(&self, attempt: &str, error: &KafkaError) -> Error {
        self.client.client().context().explain_error(attempt, error)
    }

    /// Hears what the client has to say since the last call: logs go to the log. Answers why it is
    /// in trouble, if it is, from which it goes on trying to recover.
    pub fn heed_events(&self) -> Option<String> {
        let context = self.client.client().context();
        let mut is_troubled = false;
        for event in std::iter::from_fn(|| self.events.event()) {
            match event {
                native::Event::Log(level, facility, text) => context.log(level, &facility, &text),
                native::Event::Error(code, text) => {
                    context.error(KafkaError::Global(code), &text);
                    is_troubled = true;
                }
                native::Event::Other => {}
            }
        }
        context.trouble().filter(|_| is_troubled).map(|trouble| trouble.reason)
    }

    /// Stores `partitions` as the group's offsets, without waiting. Nothing reads them back: they
    /// are for those who watch the lag of groups.
    pub fn store(&self, partitions: &[Assigned]) -> Result<()> {
        let committed = self.client.commit(&offsets(partitions), CommitMode::Async);
        committed.map_err(|error| self.explain("store the group's offsets", &error))
    }
}

fn offsets(partitions: &[Assigned]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for Assigned { topic, partition, next } in partitions {
        let next = i64::try_from(*next).unwrap_or(i64::MAX);
        let added = list.add_partition_offset(topic, *partition, Offset::Offset(next));
        added.expect("an offset that is not negative can be named");
    }
    list
}

fn delivery(message: RawMessage<'_>) -> Delivery<'_> {
    let offset = u64::try_from(message.offset()).unwrap_or(0);
    match message.error() {
        None => Delivery::Message {
            offset,
            timestamp_ms: message.timestamp_ms(),
            value: message.value(),
        },
        Some(RDKafkaErrorCode::PartitionEOF) => Delivery::End { next: offset },
        Some(code) => Delivery::Failed(Failure { code, text: message.error_text() }),
    }
}

/// Which partition a message is of.
#[derive(Default)]
struct Places {
    assigned: Vec<Assigned>,
    /// Those of which nothing is read for now.
    left: BTreeSet<usize>,
    /// (address of the topic, partition) → place, of those met since the last assignment.
    met: BTreeMap<(usize, i32), usize>,
    /// Messages come in runs of one partition.
    last: Option<((usize, i32), usize)>,
}

impl Places {
    fn of(&mut self, message: RawMessage<'_>) -> Option<usize> {
        let key = (message.topic_address(), message.partition());
        if let Some((known, place)) = self.last
            && known == key
        {
            return Some(place);
        }
        let place = match self.met.get(&key) {
            Some(place) => *place,
            None => {
                let topic = message.topic()?;
                let is_it = |it: &Assigned| it.partition == key.1 && it.topic == topic;
                let place = self.assigned.iter().position(is_it)?;
                self.met.insert(key, place);
                place
            }
        };
        self.last = Some((key, place));
        Some(place)
    }

    /// An address is only good while its topic is assigned.
    fn forget_addresses(&mut self) {
        self.met.clear();
        self.last = None;
    }
}

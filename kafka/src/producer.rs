//! Sends messages, each once and in order, and knows which have arrived.

use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::context::Context;
use crate::describe;
use crate::error::{Error, ErrorKind, Result, advice_on, reason};
use crate::low_water::LowWater;
use crate::redact::without_userinfo;
use crate::settings::{KafkaSettings, Role};

/// How long a first broker may take to be reached.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long to sleep while the queue is full, or until all are delivered. A queue that is full
/// holds hundreds of times what leaves it meanwhile.
const NAP: Duration = Duration::from_millis(1);
/// Failures that are kept with their reasons. The others are counted.
pub const FAILURES_KEPT_MAX: usize = 10;

/// How a producer behaves towards its caller; how it behaves towards Kafka is in the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerOptions {
    /// How long [`Producer::send`] waits at least while the queue is full.
    pub room_wait: Duration,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self { room_wait: Duration::from_secs(60) }
    }
}

/// A message to be sent. Its bytes are copied.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub topic: &'a str,
    /// `None`: by the key, as Java producers do it; without a key, at random.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub value: &'a [u8],
    /// Milliseconds since 1970; `None`: when it is sent.
    pub timestamp_ms: Option<i64>,
    /// Where it comes from in the sender's input; never less than that of the message before.
    /// Senders that do not ask for [`Deliveries::mark`] say 0.
    pub position: u64,
}

/// How it stands with what was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// Messages that the producer took.
    pub sent: u64,
    /// Messages of these that the brokers have confirmed.
    pub delivered: u64,
    /// Messages of these that were given up.
    pub failed: u64,
    /// The first failures, at most [`FAILURES_KEPT_MAX`].
    pub failures: Vec<DeliveryFailure>,
    /// Every message of a position below this is delivered. It never passes one that failed.
    pub mark: u64,
}

impl Deliveries {
    /// Messages that are neither delivered nor given up.
    pub fn in_flight(&self) -> u64 {
        self.sent - self.delivered - self.failed
    }
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryFailure {
    pub topic: String,
    /// Negative if it had been given none yet.
    pub partition: i32,
    pub reason: String,
}

impl fmt::Display for DeliveryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to partition {} of {}: {}", self.partition, self.topic, self.reason)
    }
}

/// Sends messages, from any thread. A thread of its own hears what becomes of them.
///
/// What is still in flight when it is dropped is lost: [`Producer::flush`] first.
pub struct Producer {
    inner: ThreadedProducer<Watch>,
    brokers: String,
    options: ProducerOptions,
}

impl Producer {
    /// Connects, and waits a few seconds for a first broker to answer.
    pub fn connect(settings: &KafkaSettings, options: ProducerOptions) -> Result<Self> {
        let producer = Self::open(settings, options)?;
        let attempt = format!("connect a producer to Kafka at {}", producer.brokers);
        let context = &producer.watch().context;
        let may_succeed = || !context.trouble().is_some_and(|trouble| trouble.is_final());
        match describe::cluster_id(producer.inner.client(), CONNECT_PATIENCE, may_succeed) {
            Ok(_) => context.forget(),
            Err(code) => return Err(context.explain(&attempt, code)),
        }
        Ok(producer)
    }

    /// Without waiting for a broker.
    fn open(settings: &KafkaSettings, options: ProducerOptions) -> Result<Self> {
        let config = settings.client_config(Role::Producer)?;
        let inner: ThreadedProducer<Watch> = config
            .create_with_context(Watch::default())
            .map_err(|error| Error::of_kafka("set up a producer", &error, None))?;
        Ok(Self { inner, brokers: without_userinfo(&settings.brokers), options })
    }

    /// Takes a copy of `message` and sends it in its own time. Waits while the queue is full.
    ///
    /// At an error the message is not sent. One that says [`ErrorKind::Backlogged`] may be tried
    /// again; one that says [`ErrorKind::Fatal`] is true of all that follow.
    pub fn send(&self, message: Message<'_>) -> Result<()> {
        let ticket = self.watch().lock().send(message.position);
        let mut record = BaseRecord {
            topic: message.topic,
            partition: message.partition,
            payload: Some(message.value),
            key: message.key,
            timestamp: message.timestamp_ms,
            headers: None,
            delivery_opaque: ticket,
        };
        let mut naps_left = self.options.room_wait.as_millis() / NAP.as_millis();
        loop {
            let error = match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((error, returned)) => {
                    record = returned;
                    error
                }
            };
            if error == KafkaError::MessageProduction(Code::QueueFull) && naps_left > 0 {
                naps_left -= 1;
                thread::sleep(NAP);
                continue;
            }
            self.watch().lock().take_back(ticket);
            return Err(self.refused(&message, &error));
        }
    }

    /// Says that no message below `position` will follow, so that the mark may move up to there.
    pub fn advance(&self, position: u64) {
        self.watch().lock().low_water.advance(position);
    }

    /// Waits until nothing is in flight, for `timeout` at least. An error if some messages are not
    /// delivered by then, or were ever given up.
    pub fn flush(&self, timeout: Duration) -> Result<()> {
        let mut naps_left = timeout.as_millis() / NAP.as_millis();
        while self.watch().lock().in_flight() > 0 && naps_left > 0 {
            naps_left -= 1;
            thread::sleep(NAP);
        }
        let deliveries = self.deliveries();
        let attempt = format!("deliver messages to Kafka at {}", self.brokers);
        if let Some(error) = self.stopped(&attempt) {
            return Err(error);
        }
        if deliveries.failed > 0 {
            let first = deliveries.failures.first().map(DeliveryFailure::to_string);
            let (failed, sent) = (deliveries.failed, deliveries.sent);
            let text = format!("{attempt}: {failed} of {sent} were given up, the first ");
            return Err(Error::new(ErrorKind::Undelivered, text + &first.unwrap_or_default()));
        }
        match deliveries.in_flight() {
            0 => Ok(()),
            in_flight => {
                let seconds = timeout.as_secs_f64();
                let attempt = format!("{attempt}: {in_flight} still wait after {seconds} s");
                Err(self.watch().context.explain(&attempt, Code::OperationTimedOut))
            }
        }
    }

    /// How it stands now.
    pub fn deliveries(&self) -> Deliveries {
        let ledger = self.watch().lock();
        Deliveries {
            sent: ledger.sent,
            delivered: ledger.delivered,
            failed: ledger.failed,
            failures: ledger.failures.clone(),
            mark: ledger.low_water.mark(),
        }
    }

    fn refused(&self, message: &Message<'_>, error: &KafkaError) -> Error {
        let topic = message.topic;
        if let Some(error) = self.stopped(&format!("send a message to {topic}")) {
            return error;
        }
        let bytes = message.value.len() + message.key.map_or(0, <[u8]>::len);
        let attempt = match error.rdkafka_error_code() {
            Some(Code::QueueFull) => {
                let seconds = self.options.room_wait.as_secs_f64();
                format!("send a message to {topic}: the queue was full for {seconds} s")
            }
            Some(Code::MessageSizeTooLarge) => format!("send a message of {bytes} B to {topic}"),
            _ => format!("send a message to {topic}"),
        };
        match self.watch().context.trouble() {
            Some(trouble) if error.rdkafka_error_code() == Some(Code::QueueFull) => {
                Error::of_kafka(&attempt, error, Some(trouble.reason))
            }
            _ => Error::of_kafka(&attempt, error, None),
        }
    }

    /// An idempotent producer that could not go on without loss or repetition does not go on.
    fn stopped(&self, attempt: &str) -> Option<Error> {
        let (code, reason) = self.inner.client().fatal_error()?;
        let text = format!("{attempt}: the producer has stopped: {reason}");
        let error = Error::new(ErrorKind::Fatal, text).with_source(code);
        Some(match advice_on(code) {
            Some(advice) => error.with_advice(advice),
            None => error,
        })
    }

    fn watch(&self) -> &Watch {
        self.inner.client().context()
    }
}

/// Hears what becomes of messages.
#[derive(Default)]
struct Watch {
    context: Context,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    low_water: LowWater,
    sent: u64,
    delivered: u64,
    failed: u64,
    failures: Vec<DeliveryFailure>,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

impl Ledger {
    fn send(&mut self, position: u64) -> usize {
        self.sent += 1;
        // What librdkafka carries along is as wide as a pointer; more messages than that are not
        // sent in the life of a machine.
        self.low_water.sent(position) as usize
    }

    fn take_back(&mut self, ticket: usize) {
        self.sent -= 1;
        self.low_water.settled(ticket as u64);
    }

    fn in_flight(&self) -> u64 {
        self.sent - self.delivered - self.failed
    }
}

impl ProducerContext for Watch {
    /// The message's ticket: a number needs no memory of its own.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let mut ledger = self.lock();
        match result {
            Ok(_) => {
                self.context.forget();
                ledger.delivered += 1;
                ledger.low_water.settled(ticket as u64);
            }
            Err((error, message)) => {
                ledger.failed += 1;
                ledger.low_water.failed(ticket as u64);
                if ledger.failures.len() < FAILURES_KEPT_MAX {
                    let topic = message.topic().to_owned();
                    let partition = message.partition();
                    let reason = reason(error);
                    ledger.failures.push(DeliveryFailure { topic, partition, reason });
                }
            }
        }
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }

    fn stats_raw(&self, _: &[u8]) {}
}

/// Against librdkafka's own mock of a cluster, which serves for when and how long to wait. That
/// messages arrive is tested against a real broker.
#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;

    use super::*;

    const TOPIC: &str = "market.crypto.trades.mock";
    const PATIENCE: Duration = Duration::from_secs(30);

    type Cluster = MockCluster<'static, DefaultProducerContext>;

    fn cluster() -> Cluster {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        cluster
    }

    fn producer(cluster: &Cluster, properties: &[(&str, &str)], room_wait_ms: u64) -> Producer {
        let own = [("reconnect.backoff.max.ms", "100"), ("linger.ms", "0")];
        let properties = properties.iter().chain(&own);
        let settings = KafkaSettings {
            brokers: cluster.bootstrap_servers(),
            properties: properties.map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            registry: None,
        };
        let options = ProducerOptions { room_wait: Duration::from_millis(room_wait_ms) };
        // The mock does not answer what a producer asks when it connects.
        Producer::open(&settings, options).unwrap()
    }

    fn message(position: u64) -> Message<'static> {
        let (partition, key, timestamp_ms) = (Some(0), None, None);
        Message { topic: TOPIC, partition, key, value: b"value", timestamp_ms, position }
    }

    #[test]
    fn a_full_queue_makes_the_sender_wait_and_then_give_up() {
        let cluster = cluster();
        let producer = producer(&cluster, &[("queue.buffering.max.messages", "10")], 100);
        cluster.broker_down(-1).unwrap();
        for position in 1..=10 {
            producer.send(message(position)).unwrap();
        }
        let error = producer.send(message(11)).unwrap_err();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Backlogged, true));
        assert_eq!(producer.deliveries().sent, 10, "what was refused was not sent");
        cluster.broker_up(-1).unwrap();
        // It may now be tried again, until there is room.
        while let Err(error) = producer.send(message(11)) {
            assert_eq!(error.kind(), ErrorKind::Backlogged, "{error}");
        }
        producer.advance(12);
        producer.flush(PATIENCE).unwrap();
        let deliveries = producer.deliveries();
        assert_eq!((deliveries.delivered, deliveries.mark), (11, 12));
    }

    #[test]
    fn a_flush_that_runs_out_of_time_says_how_many_still_wait() {
        let cluster = cluster();
        let producer = producer(&cluster, &[], 100);
        cluster.broker_down(-1).unwrap();
        for position in 7..10 {
            producer.send(message(position)).unwrap();
        }
        let error = producer.flush(Duration::from_millis(100)).unwrap_err();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true));
        assert!(error.to_string().contains("3 still wait"), "{error}");
        assert_eq!(producer.deliveries().mark, 7);
        cluster.broker_up(-1).unwrap();
        producer.flush(PATIENCE).unwrap();
    }

    #[test]
    fn messages_that_are_given_up_are_counted_and_the_first_are_told() {
        let cluster = cluster();
        let producer = producer(&cluster, &[("message.timeout.ms", "3000")], 100);
        producer.send(message(1)).unwrap();
        producer.flush(PATIENCE).unwrap();
        cluster.broker_down(-1).unwrap();
        for position in 2..17 {
            producer.send(message(position)).unwrap();
        }
        let error = producer.flush(PATIENCE).unwrap_err();
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Undelivered, false));
        assert!(error.to_string().contains("15 of 16 were given up"), "{error}");
        let deliveries = producer.deliveries();
        assert_eq!((deliveries.delivered, deliveries.failed), (1, 15));
        assert_eq!((deliveries.in_flight(), deliveries.mark), (0, 2));
        assert_eq!(deliveries.failures.len(), FAILURES_KEPT_MAX);
        let first = &deliveries.failures[0];
        assert_eq!((first.topic.as_str(), first.partition), (TOPIC, 0));
        assert!(first.reason.contains("timed out"), "{first}");
    }

    #[test]
    fn a_topic_name_that_cannot_be_is_refused_and_not_counted() {
        let cluster = cluster();
        let producer = producer(&cluster, &[], 100);
        let error = producer.send(Message { topic: "a\0b", ..message(1) }).unwrap_err();
        assert!(!error.retryable() && error.to_string().contains("NUL"), "{error}");
        assert_eq!(producer.deliveries().sent, 0);
    }
}

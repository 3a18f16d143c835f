//! What librdkafka can do and its safe wrapper cannot: reading messages by the batch.
//!
//! One call for thousands of messages costs a third of a call for each. This is the only module
//! besides `describe` with unsafe code; each block says why it is sound.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka_sys as sys;

/// The queue into which the messages of all assigned partitions of a consumer come, and that of
/// its own events (logs, errors), which are kept apart from now on.
///
/// The client must outlive both, which [`crate::consumer::Consumer`] sees to.
pub(crate) fn queues<C: ConsumerContext>(client: &Client<C>) -> Option<(Queue, Queue)> {
    let client = client.native_ptr();
    // SAFETY: the client is live while it is borrowed; the answers are references of our own. A
    // queue without a target is forwarded nowhere: the wrapper had forwarded the events to the
    // messages, where a batch would print them rather than hand them over.
    unsafe {
        let messages = NonNull::new(sys::rd_kafka_queue_get_consumer(client)).map(Queue)?;
        let events = NonNull::new(sys::rd_kafka_queue_get_main(client)).map(Queue)?;
        sys::rd_kafka_queue_forward(events.0.as_ptr(), std::ptr::null_mut());
        Some((messages, events))
    }
}

/// The end of a partition as the brokers told it last, without asking them.
pub(crate) fn known_end<C: ConsumerContext>(
    client: &Client<C>,
    topic: &str,
    partition: i32,
) -> Option<u64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is live while it is borrowed, and the name ends with a zero.
    let code = unsafe {
        let client = client.native_ptr();
        sys::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut low, &mut high)
    };
    let is_known = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    u64::try_from(high).ok().filter(|_| is_known)
}

/// One of a client's queues.
pub(crate) struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues are locked inside, and the pointer is not tied to a thread.
unsafe impl Send for Queue {}

impl Queue {
    /// Takes up to `batch.capacity()` messages; waits up to `wait` for as many. What was in
    /// `batch` before is let go of.
    pub(crate) fn take(&self, wait: Duration, batch: &mut Batch) {
        batch.clear();
        let wait_ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue is live as long as we are, and the batch has room for so many.
        let taken = unsafe {
            let (first, room) = (batch.messages.as_mut_ptr(), batch.messages.capacity());
            sys::rd_kafka_consume_batch_queue(self.0.as_ptr(), wait_ms, first, room)
        };
        // Below zero there is an error of the queue itself, which comes as an event too.
        let taken = usize::try_from(taken).unwrap_or(0);
        // SAFETY: librdkafka has written that many pointers, no more than the room.
        unsafe { batch.messages.set_len(taken) };
    }

    /// The next event, if there is one.
    pub(crate) fn event(&self) -> Option<Event> {
        // SAFETY: the queue is live; the event is ours until we destroy it, once.
        unsafe {
            let event = NonNull::new(sys::rd_kafka_queue_poll(self.0.as_ptr(), 0))?;
            let read = Event::read(event.as_ptr());
            sys::rd_kafka_event_destroy(event.as_ptr());
            Some(read)
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and given back once.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// What a client says besides messages.
#[derive(Debug)]
pub(crate) enum Event {
    /// A line of its log: level, facility, text.
    Log(RDKafkaLogLevel, String, String),
    Error(RDKafkaErrorCode, String),
    Other,
}

impl Event {
    /// # Safety
    /// `event` points to a live event.
    unsafe fn read(event: *mut sys::rd_kafka_event_t) -> Self {
        // SAFETY: the event is live, and so are the texts that it owns.
        unsafe {
            match sys::rd_kafka_event_type(event) {
                sys::RD_KAFKA_EVENT_LOG => {
                    let (mut level, mut facility, mut text) =
                        (0, std::ptr::null(), std::ptr::null());
                    sys::rd_kafka_event_log(event, &mut facility, &mut text, &mut level);
                    Self::Log(log_level(level), owned(facility), owned(text))
                }
                sys::RD_KAFKA_EVENT_ERROR => {
                    let code = sys::rd_kafka_event_error(event).into();
                    Self::Error(code, owned(sys::rd_kafka_event_error_string(event)))
                }
                _ => Self::Other,
            }
        }
    }
}

/// Of syslog's number.
fn log_level(level: c_int) -> RDKafkaLogLevel {
    match level {
        ..=0 => RDKafkaLogLevel::Emerg,
        1 => RDKafkaLogLevel::Alert,
        2 => RDKafkaLogLevel::Critical,
        3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 => RDKafkaLogLevel::Notice,
        6 => RDKafkaLogLevel::Info,
        7.. => RDKafkaLogLevel::Debug,
    }
}

/// # Safety
/// `text` is null or a live C string.
unsafe fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: it is not null, and live, says the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned()
}

/// Messages that librdkafka has handed over, until the next ones are taken.
pub(crate) struct Batch {
    messages: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: a message is not tied to a thread, and nothing is shared while it is ours.
unsafe impl Send for Batch {}

impl Batch {
    pub(crate) fn with_room_for(messages: usize) -> Self {
        Self { messages: Vec::with_capacity(messages) }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.messages.len() == self.messages.capacity()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = RawMessage<'_>> {
        // SAFETY: every pointer is a live message until `clear`, which needs `&mut self`.
        self.messages.iter().map(|message| RawMessage(unsafe { &**message }))
    }

    fn clear(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: the message is ours, and let go of once.
            unsafe { sys::rd_kafka_message_destroy(message) }
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A message, or what librdkafka has to say of a partition in its place.
#[derive(Clone, Copy)]
pub(crate) struct RawMessage<'a>(&'a sys::rd_kafka_message_t);

impl<'a> RawMessage<'a> {
    /// `None`: it is a message.
    pub(crate) fn error(self) -> Option<RDKafkaErrorCode> {
        let code = self.0.err;
        (code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| code.into())
    }

    /// What librdkafka says of the error.
    pub(crate) fn error_text(self) -> String {
        // SAFETY: the message is live; of an error the payload is a text that it owns.
        unsafe { owned(sys::rd_kafka_message_errstr(self.0)) }
    }

    /// Tells topics apart as long as they are assigned.
    pub(crate) fn topic_address(self) -> usize {
        self.0.rkt.addr()
    }

    /// `None` of an error that is of no topic.
    pub(crate) fn topic(self) -> Option<&'a str> {
        if self.0.rkt.is_null() {
            return None;
        }
        // SAFETY: the topic lives as long as the message, and so does its name.
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.0.rkt)) };
        name.to_str().ok()
    }

    pub(crate) fn partition(self) -> i32 {
        self.0.partition
    }

    pub(crate) fn offset(self) -> i64 {
        self.0.offset
    }

    /// Milliseconds since 1970, as the producer or the broker stamped it.
    pub(crate) fn timestamp_ms(self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is live.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(self.0, &mut kind) };
        (timestamp >= 0).then_some(timestamp)
    }

    /// `None`: it has no value, as deletions in compacted topics.
    pub(crate) fn value(self) -> Option<&'a [u8]> {
        let (first, length) = (self.0.payload.cast::<u8>(), self.0.len);
        // SAFETY: the payload has that length and lives as long as the message.
        (!first.is_null()).then(|| unsafe { std::slice::from_raw_parts(first, length) })
    }
}

//! Requests that librdkafka has and its Rust wrapper has not: a topic's id, and the cluster's.
//!
//! Both go the same way: a request with a queue of its own, and one event in that queue for the
//! answer. What the event holds lives as long as it, so everything is copied out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;
use std::slice;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::types::{RDKafkaAdminOp, RDKafkaErrorCode as Code};
use rdkafka_sys as sys;

/// How long one wait lasts before the caller is asked whether to go on, in milliseconds.
const WAIT_MS: i32 = 20;
/// How much longer than librdkafka itself its answer is waited for.
const GRACE_MS: i32 = 1_000;

/// A topic as a broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub id: [u8; 16],
    pub partitions: i32,
    /// Kafka's own, such as the one of committed offsets.
    pub is_internal: bool,
}

/// What a broker says about each topic.
pub type Descriptions = BTreeMap<String, Result<Description, Code>>;

/// Describes each of `names`. `go_on` is asked every now and then while there is no answer; once
/// it says no, this is given up as timed out.
pub fn topics<C: ClientContext>(
    client: &Client<C>,
    names: &BTreeSet<&str>,
    timeout: Duration,
    go_on: impl FnMut() -> bool,
) -> Result<Descriptions, Code> {
    let names: Result<Vec<CString>, _> = names.iter().map(|name| CString::new(*name)).collect();
    let names = names.map_err(|_| Code::InvalidTopic)?;
    let mut texts: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the array has so many texts, each ends with a NUL, and all outlive the call, which
    // copies them.
    let collection =
        unsafe { sys::rd_kafka_TopicCollection_of_topic_names(texts.as_mut_ptr(), texts.len()) };
    let collection = Owned::new(collection, sys::rd_kafka_TopicCollection_destroy)?;
    let operation = RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    let answer = Request::new(client, operation, timeout)?.answer(go_on, |request| {
        // SAFETY: all four live until the answer is there; options and collection are only read.
        unsafe {
            sys::rd_kafka_DescribeTopics(
                client.native_ptr(),
                collection.pointer(),
                request.options.pointer(),
                request.queue.pointer(),
            );
        }
    })?;
    // SAFETY: the event is alive; one of another type would give null.
    let result = unsafe { sys::rd_kafka_event_DescribeTopics_result(answer.pointer()) };
    if result.is_null() {
        return Err(Code::BadMessage);
    }
    let mut count = 0;
    // SAFETY: the result belongs to the living event, and the array in it has `count` entries.
    let described = unsafe {
        let first = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if count == 0 { &[] } else { slice::from_raw_parts(first, count) }
    };
    // SAFETY: each entry is a description that belongs to the living event, and has a name.
    let named = |topic: &*const _| unsafe {
        let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(*topic));
        (name.to_string_lossy().into_owned(), description(*topic))
    };
    Ok(described.iter().map(named).collect())
}

/// The cluster's id; none if its brokers are too old to have one.
pub fn cluster_id<C: ClientContext>(
    client: &Client<C>,
    timeout: Duration,
    go_on: impl FnMut() -> bool,
) -> Result<Option<String>, Code> {
    let operation = RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER;
    let answer = Request::new(client, operation, timeout)?.answer(go_on, |request| {
        // SAFETY: all three live until the answer is there; the options are only read.
        unsafe {
            sys::rd_kafka_DescribeCluster(
                client.native_ptr(),
                request.options.pointer(),
                request.queue.pointer(),
            );
        }
    })?;
    // SAFETY: the event is alive; one of another type would give null.
    let result = unsafe { sys::rd_kafka_event_DescribeCluster_result(answer.pointer()) };
    if result.is_null() {
        return Err(Code::BadMessage);
    }
    // SAFETY: the result belongs to the living event, and so does the text, which may be null.
    let id = unsafe {
        let id = sys::rd_kafka_DescribeCluster_result_cluster_id(result);
        if id.is_null() { None } else { Some(CStr::from_ptr(id).to_string_lossy().into_owned()) }
    };
    Ok(id)
}

/// # Safety
///
/// `topic` has to be a description in a living event.
unsafe fn description(topic: *const sys::rd_kafka_TopicDescription_t) -> Result<Description, Code> {
    // SAFETY: the caller vouches for `topic`; error and id are parts of it, and may be null.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            let code = Code::from(sys::rd_kafka_error_code(error));
            if code != Code::NoError {
                return Err(code);
            }
        }
        let mut partitions = 0;
        sys::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        let mut id = [0; 16];
        let uuid = sys::rd_kafka_TopicDescription_topic_id(topic);
        if !uuid.is_null() {
            let (high, low) = id.split_at_mut(8);
            high.copy_from_slice(&sys::rd_kafka_Uuid_most_significant_bits(uuid).to_be_bytes());
            low.copy_from_slice(&sys::rd_kafka_Uuid_least_significant_bits(uuid).to_be_bytes());
        }
        let is_internal = sys::rd_kafka_TopicDescription_is_internal(topic) != 0;
        let partitions = i32::try_from(partitions).map_err(|_| Code::BadMessage)?;
        Ok(Description { id, partitions, is_internal })
    }
}

/// A request's own queue, and how long it may take.
struct Request {
    queue: Owned<sys::rd_kafka_queue_t>,
    options: Owned<sys::rd_kafka_AdminOptions_t>,
    timeout_ms: i32,
}

impl Request {
    fn new<C: ClientContext>(
        client: &Client<C>,
        operation: RDKafkaAdminOp,
        timeout: Duration,
    ) -> Result<Self, Code> {
        let client = client.native_ptr();
        // SAFETY: the client is alive, and outlives both, which the caller drops before it.
        let (queue, options) = unsafe {
            (sys::rd_kafka_queue_new(client), sys::rd_kafka_AdminOptions_new(client, operation))
        };
        let queue = Owned::new(queue, sys::rd_kafka_queue_destroy)?;
        let options = Owned::new(options, sys::rd_kafka_AdminOptions_destroy)?;
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX - GRACE_MS);
        let mut text = [0; 256];
        // SAFETY: the options are alive, and the buffer is as long as it is said to be.
        let code = unsafe {
            sys::rd_kafka_AdminOptions_set_request_timeout(
                options.pointer(),
                timeout_ms,
                text.as_mut_ptr(),
                text.len(),
            )
        };
        match Code::from(code) {
            Code::NoError => Ok(Self { queue, options, timeout_ms }),
            code => Err(code),
        }
    }

    /// Sends the request and waits for its event.
    fn answer(
        self,
        mut go_on: impl FnMut() -> bool,
        send: impl FnOnce(&Self),
    ) -> Result<Owned<sys::rd_kafka_event_t>, Code> {
        send(&self);
        let mut waited_ms = 0;
        while waited_ms < self.timeout_ms.saturating_add(GRACE_MS) {
            // SAFETY: the queue is alive, and the event that it gives is ours to destroy.
            let event = unsafe { sys::rd_kafka_queue_poll(self.queue.pointer(), WAIT_MS) };
            if let Ok(event) = Owned::new(event, sys::rd_kafka_event_destroy) {
                // SAFETY: the event is alive.
                let code = unsafe { sys::rd_kafka_event_error(event.pointer()) };
                return match Code::from(code) {
                    Code::NoError => Ok(event),
                    code => Err(code),
                };
            }
            waited_ms += WAIT_MS;
            if !go_on() {
                break;
            }
        }
        // An answer that comes later finds its queue closed, and is thrown away.
        Err(Code::OperationTimedOut)
    }
}

/// An object of librdkafka that has to be destroyed by hand.
struct Owned<T> {
    pointer: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// Takes over what librdkafka has just made, which is null where there was nothing.
    fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Result<Self, Code> {
        let pointer = NonNull::new(pointer).ok_or(Code::CriticalSystemResource)?;
        Ok(Self { pointer, destroy })
    }

    fn pointer(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it came from librdkafka alive, and nobody else destroys it.
        unsafe { (self.destroy)(self.pointer()) }
    }
}

//! What does it cost to send a trade to Kafka, and how many a second does one thread send?
//!
//! `cargo run --release -p k2-kafka --example produce_ns host:port [messages] [key=value ...]`.
//! Messages are of 112 bytes with a key of 7, to 8 partitions; the rest are properties of
//! librdkafka, such as `compression.codec=zstd`. The rate is of everything up to the last
//! confirmation; times are CPU times of this process, and of the sending thread alone.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::time::{Duration, Instant};

use k2_kafka::{KafkaSettings, Message, Producer, ProducerOptions, TopicSpec, Topics};

const TOPIC: &str = "market.crypto.trades.produce_ns";
const PARTITIONS: i32 = 8;
const VALUE_BYTES: usize = 112;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let brokers = arguments.next().expect("the first argument is a broker's host:port");
    let messages = arguments.next().map_or(2_000_000, |text| text.parse().expect("a number"));
    let property = |text: String| {
        let (key, value) = text.split_once('=').expect("key=value");
        (key.to_owned(), value.to_owned())
    };
    let properties = arguments.map(property).collect();
    let settings = KafkaSettings { brokers, properties, registry: None };
    let retention = Duration::from_secs(3_600);
    let topics = Topics::connect(&settings).expect("a broker");
    let name = TOPIC.to_owned();
    let spec = TopicSpec { name, partitions: PARTITIONS, replicas: None, retention };
    topics.create(&[spec]).expect("a topic");
    let producer = Producer::connect(&settings, ProducerOptions::default()).expect("a broker");
    let (process, thread) = (cpu(libc::RUSAGE_SELF), cpu(libc::RUSAGE_THREAD));
    let begun = Instant::now();
    send(&producer, messages);
    let sending = cpu(libc::RUSAGE_THREAD) - thread;
    producer.flush(PATIENCE).expect("all delivered");
    let seconds = begun.elapsed().as_secs_f64();
    let process = cpu(libc::RUSAGE_SELF) - process;
    assert_eq!(producer.deliveries().delivered, messages);
    let each = |cpu_seconds: f64| cpu_seconds * 1e9 / messages as f64;
    println!(
        "{:.0} messages/s; CPU ns a message: {:.0}, of these {:.0} of the sending thread",
        messages as f64 / seconds,
        each(process),
        each(sending),
    );
}

fn send(producer: &Producer, messages: u64) {
    let mut value = [0; VALUE_BYTES];
    let text = b"\x0eBINANCE\x10BTC-USDT\x0eBTCUSDT\x02\x08USDT";
    value[5..5 + text.len()].copy_from_slice(text);
    let mut noise = 1_u64;
    for position in 0..messages {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Ids and times that grow, a price that moves little, and a quantity of any size.
        value[48..56].copy_from_slice(&(4_000_000_000 + position).to_be_bytes());
        value[56..64].copy_from_slice(&(1_750_000_000_000_000_000 + position * 991).to_be_bytes());
        value[64..72].copy_from_slice(&(65_000_000 + (noise >> 54)).to_be_bytes());
        value[72..80].copy_from_slice(&(noise >> 16).to_be_bytes());
        let key = format_args!("K{:06}", noise >> 57).to_string();
        let (topic, partition, timestamp_ms) = (TOPIC, None, None);
        let key = Some(key.as_bytes());
        let message = Message { topic, partition, key, value: &value, timestamp_ms, position };
        producer.send(message).expect("room before patience ends");
    }
}

fn cpu(who: i32) -> f64 {
    // SAFETY: all zeroes are a valid value of these plain numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the place is valid for the call.
    unsafe { libc::getrusage(who, &raw mut usage) };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

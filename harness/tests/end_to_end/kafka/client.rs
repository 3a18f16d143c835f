//! The client of Kafka by itself: topics, producer, offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use k2_harness::parts::{Broker, BrokerOptions, Parts};
use k2_kafka::{
    Context, Creation, ErrorKind, KafkaSettings, MESSAGE_BYTES_MAX, Message, Producer,
    ProducerOptions, Role, TopicInfo, TopicPattern, TopicSpec, Topics, Watermarks,
};
use k2_model::Origin;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message as _, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Above anything that a sound broker takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 4;

type Check = fn(&KafkaSettings);

/// One broker for all: each check has topics of its own.
#[test]
fn a_client_does_what_it_says() {
    let Some(parts) = Parts::find() else { return };
    let broker = Broker::start(&parts, BrokerOptions::default());
    let brokers = broker.address().to_string();
    let settings = KafkaSettings { brokers, ..KafkaSettings::default() };
    let checks: [Check; 13] = [
        a_topic_is_made_once_and_found_by_name_and_pattern,
        a_topic_that_is_named_has_to_exist,
        a_topic_that_was_made_again_has_another_id,
        kafkas_own_topics_are_only_meant_by_name,
        more_replicas_than_brokers_are_refused,
        what_is_sent_arrives_once_in_order_and_moves_the_mark,
        a_key_goes_where_a_java_producer_puts_it,
        messages_pass_up_to_the_limit_and_no_larger_ones,
        a_message_to_a_topic_that_there_is_not_is_undelivered_and_holds_the_mark,
        partitions_say_where_they_begin_and_end_and_were_at_a_time,
        messages_of_an_open_transaction_are_not_there_to_read,
        a_producer_serves_several_threads,
        what_a_group_has_committed_is_known_without_joining_it,
    ];
    for check in checks {
        check(&settings);
    }
}

/// A name that no other test takes.
fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("test.{}.{count}", std::process::id())
}

fn spec(name: &str) -> TopicSpec {
    // Messages here are stamped in 1970, and the broker looks for old ones each second.
    let retention = Duration::from_secs(100 * 366 * 86_400);
    TopicSpec { name: name.into(), partitions: PARTITIONS, replicas: None, retention }
}

/// A topic of this test's own.
fn new_topic(topics: &Topics) -> TopicInfo {
    let name = new_name();
    assert_eq!(topics.create(&[spec(&name)]).unwrap(), [Creation::Created]);
    found(topics, &name).unwrap().remove(0)
}

fn found(topics: &Topics, pattern: &str) -> k2_kafka::Result<Vec<TopicInfo>> {
    topics.list(&pattern.parse::<TopicPattern>().unwrap())
}

fn producer(settings: &KafkaSettings) -> Producer {
    Producer::connect(settings, ProducerOptions::default()).unwrap()
}

fn message<'a>(topic: &'a TopicInfo, key: &'a str, value: &'a [u8]) -> Message<'a> {
    let key = Some(key.as_bytes());
    Message { topic: &topic.name, partition: None, key, value, timestamp_ms: None, position: 0 }
}

/// Everything in `topic`, in the order of each partition.
pub(super) fn read(
    settings: &KafkaSettings,
    topic: &TopicInfo,
) -> BTreeMap<i32, Vec<OwnedMessage>> {
    let mut config = settings.client_config(Role::Consumer).unwrap();
    config.set("group.id", new_name());
    let consumer: BaseConsumer<Context> = config.create_with_context(Context::default()).unwrap();
    let mut assignment = TopicPartitionList::new();
    for origin in topic.origins() {
        let (source, partition) = (origin.source(), origin.partition());
        assignment.add_partition_offset(source, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut read: BTreeMap<i32, Vec<OwnedMessage>> = BTreeMap::new();
    let mut ended = BTreeSet::new();
    while ended.len() < assignment.count() {
        match consumer.poll(PATIENCE).expect("a message or an end before patience does") {
            Ok(message) => read.entry(message.partition()).or_default().push(message.detach()),
            Err(KafkaError::PartitionEOF(partition)) => _ = ended.insert(partition),
            Err(error) => panic!("{error}"),
        }
    }
    read
}

fn admin(settings: &KafkaSettings) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &settings.brokers).create().unwrap()
}

fn a_topic_is_made_once_and_found_by_name_and_pattern(settings: &KafkaSettings) {
    let topics = Topics::connect(settings).unwrap();
    assert_eq!(topics.cluster_id().len(), 22, "{}", topics.cluster_id());
    let name = new_name();
    let (first, second) = (format!("{name}.a"), format!("{name}.b"));
    assert_eq!(topics.create(&[spec(&first)]).unwrap(), [Creation::Created]);
    // One is there, with other partitions than are asked for now, and one is not.
    let specs = [TopicSpec { partitions: 7, ..spec(&first) }, spec(&second)];
    let existed = Creation::Existed { partitions: PARTITIONS };
    assert_eq!(topics.create(&specs).unwrap(), [existed, Creation::Created]);
    let listed = found(&topics, &format!("{name}.*")).unwrap();
    let names: Vec<_> = listed.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, [&first, &second]);
    assert!(listed.iter().all(|topic| topic.partitions == PARTITIONS && topic.id != [0; 16]));
    assert_ne!(listed[0].id, listed[1].id);
    assert_eq!(found(&topics, &second).unwrap(), listed[1..]);
    assert_eq!(found(&topics, &format!("{name}.?x")).unwrap(), []);
}

fn a_topic_that_is_named_has_to_exist(settings: &KafkaSettings) {
    let topics = Topics::connect(settings).unwrap();
    let name = new_name();
    let error = found(&topics, &name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopic);
    assert!(error.to_string().contains(&name), "{error}");
}

fn a_topic_that_was_made_again_has_another_id(settings: &KafkaSettings) {
    let topics = Topics::connect(settings).unwrap();
    let topic = new_topic(&topics);
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    block_on(admin(settings).delete_topics(&[&topic.name], &options)).unwrap()[0].clone().unwrap();
    // The name is free once the brokers have forgotten it.
    while found(&topics, &topic.name).is_ok() {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(topics.create(&[spec(&topic.name)]).unwrap(), [Creation::Created]);
    let again = found(&topics, &topic.name).unwrap().remove(0);
    assert_ne!(again.id, topic.id);
}

fn kafkas_own_topics_are_only_meant_by_name(settings: &KafkaSettings) {
    let topics = Topics::connect(settings).unwrap();
    let topic = new_topic(&topics);
    // Committing makes Kafka make the topic that it keeps offsets in.
    commit(settings, &topic, &new_name(), 0);
    let all = found(&topics, "*").unwrap();
    assert!(all.contains(&topic), "{all:?}");
    assert!(all.iter().all(|topic| !topic.name.starts_with("__")), "{all:?}");
    assert_eq!(found(&topics, "__consumer_offsets").unwrap().len(), 1);
}

fn more_replicas_than_brokers_are_refused(settings: &KafkaSettings) {
    let topics = Topics::connect(settings).unwrap();
    let error = topics.create(&[TopicSpec { replicas: Some(99), ..spec(&new_name()) }]);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("brokers"), "{error}");
}

fn what_is_sent_arrives_once_in_order_and_moves_the_mark(settings: &KafkaSettings) {
    const MESSAGES: u64 = 100_000;
    let topics = Topics::connect(settings).unwrap();
    let topic = new_topic(&topics);
    // A queue that is full most of the time.
    let mut small = settings.clone();
    small.properties.insert("queue.buffering.max.messages".into(), "1000".into());
    let producer = producer(&small);
    let mut mark = 0;
    for number in 0..MESSAGES {
        let (key, value) = (format!("K{}", number % 50), number.to_be_bytes());
        producer.send(Message { position: number, ..message(&topic, &key, &value) }).unwrap();
        if number % 1_000 == 0 {
            let deliveries = producer.deliveries();
            assert!(deliveries.mark >= mark && deliveries.mark <= number, "{deliveries:?}");
            mark = deliveries.mark;
        }
    }
    assert!(mark > 0, "nothing was confirmed on the way");
    producer.advance(MESSAGES);
    producer.flush(PATIENCE).unwrap();
    let deliveries = producer.deliveries();
    assert_eq!((deliveries.delivered, deliveries.mark), (MESSAGES, MESSAGES));
    let read = read(settings, &topic);
    let mut numbers = BTreeSet::new();
    for messages in read.values() {
        let of_partition: Vec<u64> = messages.iter().map(number).collect();
        assert!(of_partition.is_sorted(), "out of order");
        numbers.extend(of_partition);
    }
    assert_eq!(read.values().map(Vec::len).sum::<usize>(), numbers.len(), "some came twice");
    assert!(numbers.into_iter().eq(0..MESSAGES));
}

fn number(message: &OwnedMessage) -> u64 {
    u64::from_be_bytes(message.payload().unwrap().try_into().unwrap())
}

/// What Java's producer computes: `toPositive(murmur2(key)) % partitions`, by its own test data.
fn a_key_goes_where_a_java_producer_puts_it(settings: &KafkaSettings) {
    let hashes = [
        ("21", -973_932_308_i32),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("abc", 479_470_107),
    ];
    let topics = Topics::connect(settings).unwrap();
    let topic = new_topic(&topics);
    let producer = producer(settings);
    for (key, _) in hashes {
        producer.send(message(&topic, key, b"x")).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let mut expected: BTreeMap<i32, BTreeSet<&str>> = BTreeMap::new();
    for (key, hash) in hashes {
        expected.entry((hash & i32::MAX) % PARTITIONS).or_default().insert(key);
    }
    let read = read(settings, &topic);
    let keys = |messages: &[OwnedMessage]| -> BTreeSet<String> {
        let key =
            |message: &OwnedMessage| String::from_utf8(message.key().unwrap().into()).unwrap();
        messages.iter().map(key).collect()
    };
    let found: BTreeMap<i32, BTreeSet<String>> =
        read.iter().map(|(partition, messages)| (*partition, keys(messages))).collect();
    let expected = expected.into_iter().map(|(partition, keys)| {
        (partition, keys.into_iter().map(str::to_owned).collect::<BTreeSet<_>>())
    });
    assert_eq!(found, expected.collect());
}

fn messages_pass_up_to_the_limit_and_no_larger_ones(settings: &KafkaSettings) {
    let topics = Topics::connect(settings).unwrap();
    let topic = new_topic(&topics);
    let producer = producer(settings);
    // Noise, which does not get smaller when it is packed.
    let mut state = 1_u64;
    let mut noise = |bytes: usize| -> Vec<u8> {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..bytes).map(|_| next()).collect()
    };
    let key = "K";
    let sizes = [10, 5_000_000, MESSAGE_BYTES_MAX - 100];
    let values: Vec<Vec<u8>> = sizes.into_iter().map(&mut noise).collect();
    for value in &values {
        let message = message(&topic, key, value);
        producer.send(Message { partition: Some(0), ..message }).unwrap();
    }
    let too_large = noise(MESSAGE_BYTES_MAX);
    let error = producer.send(message(&topic, key, &too_large)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(error.to_string().contains("8388609 B"), "{error}");
    producer.flush(PATIENCE).unwrap();
    let read = read(settings, &topic).remove(&0).unwrap();
    let read: Vec<&[u8]> = read.iter().map(|message| message.payload().unwrap()).collect();
    assert!(read == values, "{:?}", read.iter().map(|value| value.len()).collect::<Vec<_>>());
}

fn a_message_to_a_topic_that_there_is_not_is_undelivered_and_holds_the_mark(
    settings: &KafkaSettings,
) {
    let mut hasty = settings.clone();
    hasty.properties.insert("topic.metadata.propagation.max.ms".into(), "500".into());
    let producer = producer(&hasty);
    let name = new_name();
    for position in 5..8 {
        let (partition, key, timestamp_ms) = (None, None, None);
        let message = Message { topic: &name, partition, key, value: b"x", timestamp_ms, position };
        // Once the topic is known not to exist, sending fails at once.
        let sent = producer.send(message);
        assert!(sent.is_ok() || sent.is_err_and(|error| error.kind() == ErrorKind::UnknownTopic));
    }
    let error = producer.flush(PATIENCE).unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Undelivered, false));
    assert!(error.to_string().contains(&name), "{error}");
    let deliveries = producer.deliveries();
    assert!(deliveries.failed >= 1 && deliveries.delivered == 0, "{deliveries:?}");
    assert_eq!(deliveries.failures[0].topic, name);
    assert_eq!(deliveries.mark, 5);
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    // A port that nobody listens on: it was just given back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let brokers = listener.local_addr().unwrap().to_string();
    drop(listener);
    let settings = KafkaSettings { brokers: brokers.clone(), ..KafkaSettings::default() };
    let asked = Topics::connect(&settings).err().unwrap();
    let sent = Producer::connect(&settings, ProducerOptions::default()).err().unwrap();
    for error in [asked, sent] {
        assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true));
        let text = error.to_string();
        for part in [brokers.as_str(), "Connection refused", "kafka.brokers"] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }
}

/// Puts `count` messages into each partition, a second apart from time 1,000 s on.
fn fill(settings: &KafkaSettings, topic: &TopicInfo, count: i64) {
    let producer = producer(settings);
    for origin in topic.origins() {
        for number in 0..count {
            let (partition, timestamp_ms) = (Some(origin.partition()), Some(seconds(number)));
            let message = message(topic, "K", b"x");
            producer.send(Message { partition, timestamp_ms, ..message }).unwrap();
        }
    }
    producer.flush(PATIENCE).unwrap();
}

/// The time of the message of that number.
fn seconds(number: i64) -> i64 {
    1_000_000 + 1_000 * number
}

fn partitions_say_where_they_begin_and_end_and_were_at_a_time(settings: &KafkaSettings) {
    let topics = Topics::connect(settings).unwrap();
    let topic = new_topic(&topics);
    let origins: Vec<Origin> = topic.origins().collect();
    let is_everywhere = |low, high| {
        let found = topics.watermarks(&origins).unwrap();
        found.len() == origins.len() && found.values().all(|one| *one == Watermarks { low, high })
    };
    assert!(is_everywhere(0, 0));
    fill(settings, &topic, 10);
    assert!(is_everywhere(0, 10));
    let at = |timestamp_ms| {
        let offsets = topics.offsets_for_time(&origins, timestamp_ms).unwrap();
        let offsets: BTreeSet<u64> = origins.iter().map(|origin| offsets.next(*origin)).collect();
        assert_eq!(offsets.len(), 1, "the partitions are alike");
        *offsets.first().unwrap()
    };
    assert_eq!([at(0), at(seconds(0)), at(seconds(3)), at(seconds(3) + 1)], [0, 0, 3, 4]);
    assert_eq!([at(seconds(9)), at(seconds(9) + 1), at(i64::MAX)], [9, 10, 10]);
    let mut deleted = TopicPartitionList::new();
    for origin in &origins {
        let (source, partition) = (origin.source(), origin.partition());
        deleted.add_partition_offset(source, partition, Offset::Offset(6)).unwrap();
    }
    let deleted = block_on(admin(settings).delete_records(&deleted, &AdminOptions::new())).unwrap();
    let refused: Vec<_> =
        deleted.elements().into_iter().filter_map(|it| it.error().err()).collect();
    assert_eq!(refused, []);
    assert!(is_everywhere(6, 10));
    assert_eq!(at(0), 6);
    let missing = Origin::new(&topic.name, PARTITIONS);
    let error = topics.watermarks(&[origins[0], missing]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopic, "{error}");
    assert!(error.to_string().contains("has 4 partitions, and none of number 4"), "{error}");
}

fn messages_of_an_open_transaction_are_not_there_to_read(settings: &KafkaSettings) {
    let topics = Topics::connect(settings).unwrap();
    let topic = new_topic(&topics);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &settings.brokers).set("transactional.id", new_name());
    let writer: BaseProducer = config.create().unwrap();
    let origin = Origin::new(&topic.name, 0);
    let end = || topics.watermarks(&[origin]).unwrap()[&origin].high;
    writer.init_transactions(PATIENCE).unwrap();
    writer.begin_transaction().unwrap();
    for _ in 0..3 {
        let record = BaseRecord::to(&topic.name).partition(0).key("K").payload("x");
        writer.send(record).map_err(|(error, _)| error).unwrap();
    }
    writer.flush(PATIENCE).unwrap();
    assert_eq!(end(), 0);
    writer.commit_transaction(PATIENCE).unwrap();
    // The mark of the commit, which takes an offset too, is written a little after the answer.
    let mut naps_left = 500;
    while end() == 0 && naps_left > 0 {
        naps_left -= 1;
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(end(), 4);
    assert_eq!(read(settings, &topic)[&0].len(), 3);
}

fn a_producer_serves_several_threads(settings: &KafkaSettings) {
    const EACH: u64 = 5_000;
    let topics = Topics::connect(settings).unwrap();
    let topic = new_topic(&topics);
    let producer = producer(settings);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (producer, topic) = (&producer, &topic);
            scope.spawn(move || {
                for number in 0..EACH {
                    let value = (thread * EACH + number).to_be_bytes();
                    producer.send(message(topic, "K", &value)).unwrap();
                }
            });
        }
    });
    producer.flush(PATIENCE).unwrap();
    let numbers: BTreeSet<u64> = read(settings, &topic).values().flatten().map(number).collect();
    assert!(numbers.into_iter().eq(0..4 * EACH));
}

/// Lets `group` commit `offset` in partition 1.
fn commit(settings: &KafkaSettings, topic: &TopicInfo, group: &str, offset: i64) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &settings.brokers).set("group.id", group);
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic.name, 1, Offset::Offset(offset)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

fn what_a_group_has_committed_is_known_without_joining_it(settings: &KafkaSettings) {
    let topics = Topics::connect(settings).unwrap();
    let topic = new_topic(&topics);
    let origins: Vec<Origin> = topic.origins().collect();
    let group = new_name();
    assert!(topics.committed(&group, &origins).unwrap().is_empty());
    commit(settings, &topic, &group, 42);
    let committed: Vec<_> = topics.committed(&group, &origins).unwrap().iter().collect();
    assert_eq!(committed, [(origins[1], 42)]);
}

//! Topics that change, and messages that are none.

use std::collections::BTreeMap;
use std::time::Duration;

use k2_dataflows::Error;
use k2_harness::cluster::input;
use k2_harness::job::JobSetup;
use k2_harness::parts::BrokerOptions;
use k2_kafka::{Format, Message, Producer, ProducerOptions, TopicName, Topics};
use k2_model::InstrumentTable;
use k2_operators::ingest::kafka::OnRecreated;

use super::client::read;
use super::{Stage, wait_for_records, wait_until};
use crate::support::{Expected, FLAWS, VENUE, market};

const TRADES: &str = "market.crypto.trades.binance";
const MESSAGES: u64 = 5_000;
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a message that is far larger than others.
const LARGE: usize = 5 << 20;

/// A trade of one stream with that id.
fn trade(id: u64) -> Vec<u8> {
    let price = 60_000 + id % 100;
    format!(
        "{{\"e\":\"trade\",\"E\":{0},\"s\":\"BTCUSDT\",\"t\":{id},\"p\":\"{price}.01\",\
         \"q\":\"0.5\",\"T\":{0},\"m\":true,\"M\":true}}",
        1_700_000_000_000 + id
    )
    .into_bytes()
}

/// Writes values to a partition as they are.
fn produce(stage: &Stage, partition: i32, values: &[Vec<u8>]) {
    let settings = stage.cluster.settings();
    let producer = Producer::connect(&settings, ProducerOptions::default()).unwrap();
    for value in values {
        let (topic, partition, key) = (TRADES, Some(partition), None);
        let message = Message { topic, partition, key, value, timestamp_ms: None, position: 0 };
        producer.send(message).unwrap();
    }
    producer.flush(FLUSH_PATIENCE).unwrap();
}

/// What the tables have of each place, and how often.
fn places(stage: &Stage) -> BTreeMap<String, u64> {
    let asker = stage.answers();
    let sql = "SELECT source, \"partition\", \"offset\" FROM trades";
    let mut places = BTreeMap::new();
    asker.lines(sql).into_iter().for_each(|place| *places.entry(place).or_default() += 1);
    places
}

#[test]
fn one_busy_partition_of_forty_and_a_new_one_are_read_while_others_are_idle() {
    let Some(stage) = Stage::set(40, Format::Raw) else { return };
    let job = stage.setup().follow().start().unwrap();
    let ids = |from: u64| (from..from + MESSAGES).map(trade).collect::<Vec<_>>();
    produce(&stage, 17, &ids(1));
    wait_for_records(&job, MESSAGES);
    stage.cluster.broker.tools().run(
        "TopicCommand",
        &["--alter", "--topic", TRADES, "--partitions", "41"],
        "",
    );
    produce(&stage, 40, &ids(MESSAGES + 1));
    wait_for_records(&job, 2 * MESSAGES);
    // A frontier that idle partitions held back would show none of it.
    let live = k2_harness::answers::Asker::live(&job);
    wait_until("all is seen live", || {
        live.lines("SELECT count(*) AS n FROM trades") == [format!("{{\"n\":{}}}", 2 * MESSAGES)]
    });
    job.stop();
    job.wait().unwrap();
    let places = places(&stage);
    assert_eq!(places.len() as u64, 2 * MESSAGES);
    assert!(places.values().all(|&times| times == 1));
}

#[test]
fn a_topic_that_was_made_again_stops_the_job_until_it_is_told_to_restart() {
    let Some(stage) = Stage::set(1, Format::Raw) else { return };
    produce(&stage, 0, &(1..=100).map(trade).collect::<Vec<_>>());
    stage.setup().run().unwrap();
    let tools = stage.cluster.broker.tools();
    let arguments = ["--delete", "--topic", TRADES];
    tools.run("TopicCommand", &arguments, "");
    tools.create_topic(TRADES, 1);
    produce(&stage, 0, &(101..=150).map(trade).collect::<Vec<_>>());
    let stopped = stage.setup().run().unwrap_err();
    assert!(matches!(&stopped, Error::Source(_)), "{stopped}");
    assert!(stopped.to_string().contains("--on-recreated-topic restart"), "{stopped}");
    let mut again = input(stage.cluster.settings());
    again.on_recreated = OnRecreated::Restart;
    for _ in 0..2 {
        JobSetup::of_kafka(&stage.data(), again.clone()).run().unwrap();
        let places = places(&stage);
        assert_eq!(places.len(), 150);
        assert!(places.values().all(|&times| times == 1));
    }
}

#[test]
fn a_topic_that_is_made_again_while_it_is_read_stops_the_job() {
    let Some(stage) = Stage::set(1, Format::Raw) else { return };
    let job = stage.setup().follow().start().unwrap();
    produce(&stage, 0, &(1..=100).map(trade).collect::<Vec<_>>());
    wait_for_records(&job, 100);
    let tools = stage.cluster.broker.tools();
    tools.run("TopicCommand", &["--delete", "--topic", TRADES], "");
    tools.create_topic(TRADES, 1);
    // As many as there were, so that no offset is out of range.
    produce(&stage, 0, &(201..=350).map(trade).collect::<Vec<_>>());
    wait_until("the job has stopped", || job.is_finished());
    let stopped = job.wait().unwrap_err();
    assert!(stopped.to_string().contains("--on-recreated-topic restart"), "{stopped}");
    let mut again = input(stage.cluster.settings());
    again.on_recreated = OnRecreated::Restart;
    JobSetup::of_kafka(&stage.data(), again).run().unwrap();
    let found = places(&stage);
    assert!(found.values().all(|&times| times == 1));
    // Those of the old topic that no commit had are gone with it.
    let new = found.keys().filter(|place| place.contains('@')).count();
    assert_eq!(new, 150, "{found:?}");
}

#[test]
fn messages_that_retention_took_are_a_gap_and_the_job_goes_on() {
    let short = BrokerOptions::default().set("log.retention.check.interval.ms", "500");
    let Some(stage) = Stage::set_with(1, Format::Raw, short) else { return };
    produce(&stage, 0, &(1..=100).map(trade).collect::<Vec<_>>());
    stage.setup().run().unwrap();
    produce(&stage, 0, &(101..=150).map(trade).collect::<Vec<_>>());
    let deletions = stage.dir.path().join("deletions.json");
    let what = format!("{{\"topic\":\"{TRADES}\",\"partition\":0,\"offset\":130}}");
    let what = format!("{{\"version\":1,\"partitions\":[{what}]}}");
    std::fs::write(&deletions, what).unwrap();
    let deletions = deletions.to_str().unwrap();
    stage.cluster.broker.tools().run(
        "DeleteRecordsCommand",
        &["--offset-json-file", deletions],
        "",
    );
    for _ in 0..2 {
        stage.setup().run().unwrap();
        let asker = stage.answers();
        assert_eq!(places(&stage).len(), 120);
        let gaps = asker.lines(
            "SELECT symbol, first_missing, last_missing, cause FROM gaps WHERE cause = 'retention'",
        );
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        let expected = "\"first_missing\":100,\"last_missing\":129";
        assert!(gaps[0].contains(expected), "{gaps:?}");
    }
}

#[test]
fn poison_in_any_place_and_messages_of_any_size_are_kept() {
    let Some(stage) = Stage::set(1, Format::Raw) else { return };
    let mut values: Vec<Vec<u8>> = (1..=200).map(trade).collect();
    let mut large = vec![b' '; LARGE];
    large.extend(trade(201));
    let poison: [Vec<u8>; 5] =
        [b"".to_vec(), b"{".to_vec(), vec![0xff; 9], vec![0, 0, 0, 0, 1, 2], b"[1]".to_vec()];
    for (at, value) in poison.iter().enumerate() {
        values.insert(at * 49, value.clone());
    }
    values.insert(0, poison[1].clone());
    values.push(large);
    values.push(poison[0].clone());
    produce(&stage, 0, &values);
    stage.setup().run().unwrap();
    assert_eq!(places(&stage).len(), 201);
    let rejects = stage.answers().rejects();
    assert_eq!(rejects.values().sum::<u64>(), 7, "{rejects:?}");
    assert_eq!(rejects.get("wrong_format"), Some(&1), "{rejects:?}");
}

#[test]
fn messages_of_a_transaction_come_if_it_is_committed_and_its_marks_hold_nothing_up() {
    let Some(stage) = Stage::set(1, Format::Raw) else { return };
    let broker = stage.cluster.broker.address().to_string();
    let job = stage.setup().follow().start().unwrap();
    for (ids, is_committed) in [(1..=3, true), (4..=5, false), (6..=7, true)] {
        super::transaction(&broker, TRADES, ids.map(trade), is_committed);
    }
    wait_for_records(&job, 5);
    job.stop();
    job.wait().unwrap();
    assert_eq!(places(&stage).len(), 5);
    // The end is behind the marks, and is reached.
    stage.setup().run().unwrap();
    assert_eq!(places(&stage).len(), 5);
}

#[test]
fn what_compaction_took_is_no_lost_range_and_is_not_waited_for() {
    let eager = BrokerOptions::default()
        .set("log.cleaner.backoff.ms", "100")
        .set("log.cleaner.min.cleanable.ratio", "0.01");
    let Some(stage) = Stage::set_with(1, Format::Raw, eager) else { return };
    let tools = stage.cluster.broker.tools();
    tools.run("TopicCommand", &["--delete", "--topic", TRADES], "");
    let compacted = ["--config", "cleanup.policy=compact", "--config", "segment.ms=500"];
    let create = [&["--create", "--topic", TRADES, "--partitions", "1"], &compacted[..]].concat();
    tools.run("TopicCommand", &create, "");
    let settings = stage.cluster.settings();
    let producer = Producer::connect(&settings, ProducerOptions::default()).unwrap();
    let send = |id: u64, key: &str| {
        let (topic, partition, key) = (TRADES, Some(0), Some(key.as_bytes()));
        let value = trade(id);
        let message =
            Message { topic, partition, key, value: &value, timestamp_ms: None, position: 0 };
        producer.send(message).unwrap();
        producer.flush(FLUSH_PATIENCE).unwrap();
    };
    (1..=50).for_each(|id| send(id, "often"));
    let topics = Topics::connect(&settings).unwrap().list(&TRADES.parse().unwrap()).unwrap();
    let count = || read(&settings, &topics[0]).values().map(Vec::len).sum::<usize>();
    let mut id = 50;
    // A segment is cleaned once another one has begun.
    wait_until("most messages of that key are gone", || {
        std::thread::sleep(Duration::from_millis(600));
        id += 1;
        send(id, "seldom");
        count() < 20
    });
    let left = count();
    stage.setup().run().unwrap();
    assert_eq!(places(&stage).len(), left);
    let lost = stage.answers().lines("SELECT * FROM gaps WHERE cause = 'retention'");
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn messages_that_come_twice_count_once() {
    let bytes = market(MESSAGES, 31, FLAWS);
    let expected = Expected::of(&bytes);
    let Some(stage) = Stage::set(3, Format::Avro) else { return };
    for _ in 0..2 {
        stage.cluster.write(VENUE, Format::Avro, &bytes);
    }
    stage.setup().run().unwrap();
    expected.check_result(&stage.answers(), "twice");
    let names = TopicName::all_of(VENUE, &InstrumentTable::shipped()).unwrap();
    assert_eq!(names[0].to_string(), TRADES);
}

//! Brokers and registries that go away and come back.

use std::time::Duration;

use k2_harness::cluster::input;
use k2_harness::job::JobSetup;
use k2_kafka::{CircuitState, Feeder, Format};
use k2_model::{InstrumentTable, Origin};
use k2_operators::kit::dependency::Health;

use super::{Stage, wait_for_records, wait_until};
use crate::support::{Expected, FLAWS, VENUE, market};

const MESSAGES: u64 = 40_000;
const PAUSE: Duration = Duration::from_secs(30);

fn is_away(health: &Health, name: &str) -> bool {
    let away = |it: &k2_operators::kit::dependency::Condition| it.state != CircuitState::Closed;
    health.conditions().iter().any(|it| it.name == name && away(it))
}

/// The first and the second half of the lines.
fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    let middle = bytes.len() / 2;
    let end = middle + bytes[middle..].iter().position(|&byte| byte == b'\n').unwrap() + 1;
    bytes.split_at(end)
}

#[test]
fn a_broker_that_is_killed_or_frozen_in_the_middle_loses_and_repeats_nothing() {
    let bytes = market(MESSAGES, 21, FLAWS);
    let expected = Expected::of(&bytes);
    let Some(mut stage) = Stage::set(4, Format::Avro) else { return };
    let (first, second) = halves(&bytes);
    let input = input(stage.cluster.settings());
    let health = input.health.clone();
    let setup = JobSetup::of_kafka(&stage.data(), input).batch_bytes(500_000).follow();
    let job = setup.start().unwrap();
    stage.cluster.write(VENUE, Format::Avro, first);
    wait_for_records(&job, 1_000);
    stage.cluster.broker.kill();
    wait_until("it is seen that the broker is away", || is_away(&health, "kafka"));
    stage.cluster.broker.restart();
    stage.cluster.write(VENUE, Format::Avro, second);
    wait_until("the broker is back", || !is_away(&health, "kafka"));
    stage.cluster.broker.pause();
    std::thread::sleep(PAUSE);
    stage.cluster.broker.resume();
    let written = expected.oracle.tally();
    let written = written.trades + written.quotes + written.depth_updates;
    wait_for_records(&job, written);
    job.stop();
    job.wait().unwrap();
    expected.check_result(&stage.answers(), "killed and frozen");
}

#[test]
fn a_registry_that_is_down_is_waited_for_at_the_start_and_in_the_middle() {
    let bytes = market(MESSAGES, 22, FLAWS);
    let expected = Expected::of(&bytes);
    let Some(mut stage) = Stage::set(4, Format::Avro) else { return };
    let (settings, instruments) = (stage.cluster.settings(), InstrumentTable::shipped());
    let mut feeder = Feeder::connect(&settings, Format::Avro, VENUE, &instruments).unwrap();
    feed(&mut feeder, &bytes);
    stage.cluster.registry.refuse();
    let input = input(settings);
    let health = input.health.clone();
    let job = JobSetup::of_kafka(&stage.data(), input).follow().start().unwrap();
    wait_until("it is seen that the registry is away", || is_away(&health, "registry"));
    assert_eq!(job.metrics().ingest_records.get(), 0, "no message is guessed at");
    stage.cluster.registry.accept();
    let tally = expected.oracle.tally();
    let written = tally.trades + tally.quotes + tally.depth_updates;
    wait_for_records(&job, written);
    // What is known is read on while the registry is away.
    stage.cluster.registry.refuse();
    let more = market(2_000, 23, FLAWS);
    feed(&mut feeder, &more);
    let expected = Expected::of(&[bytes, more].concat());
    let tally = expected.oracle.tally();
    wait_for_records(&job, tally.trades + tally.quotes + tally.depth_updates);
    job.stop();
    job.wait().unwrap();
    expected.check_result(&stage.answers(), "registry down");
}

/// Writes all lines of `bytes`, with schemas that it has registered before if it can.
fn feed(feeder: &mut Feeder, bytes: &[u8]) {
    feeder.feed_lines(bytes, Origin::new("fed", 0), 0).unwrap();
    feeder.publisher().producer().flush(PAUSE).unwrap();
}

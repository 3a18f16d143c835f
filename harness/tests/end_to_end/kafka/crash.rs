//! A job is killed thirty times while messages flow, and nothing is lost or repeated.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k2_harness::cluster::{input, settings};
use k2_harness::job::JobSetup;
use k2_kafka::Format;

use super::Stage;
use crate::support::{Dice, Expected, FLAWS, VENUE, market};

const KILLS: usize = 30;
const MESSAGES: u64 = 2_000_000;
/// Where the child finds its tables, its broker and its registry.
const DIR: &str = "K2_KAFKA_CRASH_DIR";
const BROKER: &str = "K2_KAFKA_CRASH_BROKER";
const REGISTRY: &str = "K2_KAFKA_CRASH_REGISTRY";
const WORKERS: &str = "K2_KAFKA_CRASH_WORKERS";
const BATCH_BYTES: &str = "K2_KAFKA_CRASH_BATCH_BYTES";

/// Not a test: what the child does.
#[test]
fn job() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let variable = |name| std::env::var(name).unwrap();
    let settings = settings(variable(BROKER).parse().unwrap(), &variable(REGISTRY));
    let setup = JobSetup::of_kafka(Path::new(&dir), input(settings));
    let setup = setup.workers(variable(WORKERS).parse().unwrap());
    setup.batch_bytes(variable(BATCH_BYTES).parse().unwrap()).run().unwrap();
}

fn spawn(stage: &Stage, workers: usize, batch_bytes: u64, failpoint: Option<&str>) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["kafka::crash::job", "--exact", "--nocapture", "--test-threads=1"]);
    child.env(DIR, stage.data()).env(WORKERS, workers.to_string());
    child.env(BATCH_BYTES, batch_bytes.to_string());
    child.env(BROKER, stage.cluster.broker.address().to_string());
    child.env(REGISTRY, stage.cluster.registry.url()).env("RUST_BACKTRACE", "0");
    child.envs(failpoint.map(|failpoint| ("K2_FAILPOINT", failpoint)));
    child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    child.spawn().unwrap()
}

#[test]
fn thirty_kills_while_messages_flow_lose_and_repeat_nothing() {
    let bytes = market(MESSAGES, 41, FLAWS);
    let expected = Expected::of(&bytes);
    let Some(stage) = Stage::set(8, Format::Avro) else { return };
    let mut dice = Dice::new(41);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| stage.cluster.write(VENUE, Format::Avro, &bytes));
        for kill in 0..KILLS {
            let mut child = spawn(&stage, 1 + kill % 3, 4_000_000, None);
            std::thread::sleep(Duration::from_millis(300 + dice.below(1_200)));
            // It may have come to its end by itself.
            let _ended = child.kill();
            child.wait().unwrap();
        }
        writing.join().unwrap();
    });
    let ended = spawn(&stage, 2, 4_000_000, None).wait().unwrap();
    assert!(ended.success(), "{ended}");
    expected.check_result(&stage.answers(), "after thirty kills");
}

/// `LAKE-3` and `SOURCE-3`. The first run of each round leaves the table of quotes ahead of the
/// position. The second one reads the partitions in another order, and dies when it has come
/// further in one of them, and less far in another.
#[test]
fn crashes_between_two_tables_repeat_nothing_wherever_the_next_one_comes_to() {
    let bytes = market(MESSAGES / 4, 43, FLAWS);
    let expected = Expected::of(&bytes);
    let Some(stage) = Stage::set(8, Format::Avro) else { return };
    stage.cluster.write(VENUE, Format::Avro, &bytes);
    for round in 0..5 {
        for (batch_bytes, failpoint) in
            [(6_000_000, "commit.after-table:1"), (1_000_000, "commit.before-state:2")]
        {
            let died = spawn(&stage, 1 + round % 3, batch_bytes, Some(failpoint)).wait().unwrap();
            assert!(!died.success(), "round {round}, {failpoint}: there was nothing left to read");
        }
    }
    let ended = spawn(&stage, 2, 4_000_000, None).wait().unwrap();
    assert!(ended.success(), "{ended}");
    expected.check_result(&stage.answers(), "after ten crashes");
}

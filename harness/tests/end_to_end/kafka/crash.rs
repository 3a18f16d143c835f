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

/// Not a test: what the child does.
#[test]
fn job() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let variable = |name| std::env::var(name).unwrap();
    let settings = settings(variable(BROKER).parse().unwrap(), &variable(REGISTRY));
    let setup = JobSetup::of_kafka(Path::new(&dir), input(settings));
    setup.workers(variable(WORKERS).parse().unwrap()).batch_bytes(4_000_000).run().unwrap();
}

fn spawn(stage: &Stage, workers: usize) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["kafka::crash::job", "--exact", "--nocapture", "--test-threads=1"]);
    child.env(DIR, stage.data()).env(WORKERS, workers.to_string());
    child.env(BROKER, stage.cluster.broker.address().to_string());
    child.env(REGISTRY, stage.cluster.registry.url()).env("RUST_BACKTRACE", "0");
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
            let mut child = spawn(&stage, 1 + kill % 3);
            std::thread::sleep(Duration::from_millis(300 + dice.below(1_200)));
            // It may have come to its end by itself.
            let _ended = child.kill();
            child.wait().unwrap();
        }
        writing.join().unwrap();
    });
    let ended = spawn(&stage, 2).wait().unwrap();
    assert!(ended.success(), "{ended}");
    expected.check_result(&stage.answers(), "after thirty kills");
}

//! Two jobs that read the same topics into one directory.

use std::sync::Arc;

use k2_dataflows::Error;
use k2_harness::generator::cut_lines;
use k2_kafka::Format;
use k2_sinks::{ErrorKind, Lake, LakeConfig};

use super::{Stage, wait_for_records, wait_until};
use crate::support::{Expected, FLAWS, VENUE, market};

#[test]
fn only_the_newer_of_two_jobs_commits_and_nothing_is_lost_or_repeated() {
    let bytes = market(20_000, 61, FLAWS);
    let expected = Expected::of(&bytes);
    let Some(stage) = Stage::set(4, Format::Avro) else { return };
    let pieces = cut_lines(&bytes, 2);
    stage.cluster.write(VENUE, Format::Avro, pieces[0]);
    let setup = stage.setup().follow().batch_bytes(200_000);
    let old = setup.clone().workers(3).start().unwrap();
    wait_for_records(&old, 1_000);
    let Err(Error::Sink(refused)) = setup.start() else { panic!("two jobs in one directory") };
    assert_eq!(refused.kind(), ErrorKind::Locked, "{refused}");
    let lake = Lake::open(LakeConfig { take_over: true, ..setup.lake.clone() }).unwrap();
    let new = setup.start_on(Arc::new(lake)).unwrap();
    stage.cluster.write(VENUE, Format::Avro, pieces[1]);
    wait_until("the old job has given up", || old.is_finished());
    let Err(Error::Sink(fenced)) = old.wait() else { panic!("the old job was not fenced") };
    assert_eq!(fenced.kind(), ErrorKind::Fenced, "{fenced}");
    new.stop();
    new.wait().unwrap();
    stage.setup().run().unwrap();
    expected.check_result(&stage.answers(), "two jobs");
}

//! One job a directory: a second one is refused, and an old one that wakes up cannot commit.

use std::sync::Arc;
use std::time::Duration;

use k2_dataflows::Error;
use k2_harness::generator::cut_lines;
use k2_sinks::{ErrorKind, Lake, LakeConfig};

use crate::support::{Case, Expected, FLAWS, market, wait_until};

const MESSAGES: u64 = 12_000;

fn kind(error: &Error) -> Option<ErrorKind> {
    match error {
        Error::Sink(error) => Some(error.kind()),
        _ => None,
    }
}

#[test]
fn a_second_job_on_the_directory_is_refused() {
    let bytes = market(MESSAGES, 10, FLAWS);
    let case = Case::new(&bytes);
    let job = case.setup.clone().follow().start().unwrap();
    let Err(refused) = case.setup.start() else { panic!("two jobs in one directory") };
    assert_eq!(kind(&refused), Some(ErrorKind::Locked), "{refused}");
    let message = refused.to_string();
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    job.stop();
    job.wait().unwrap();
    case.setup.run().unwrap();
    Expected::of(&bytes).check(&case.data(), "after the first had let go");
}

#[test]
fn a_paused_job_that_wakes_up_after_a_new_one_started_cannot_commit() {
    for (seed, old_sees_all) in [(11, false), (12, true)] {
        let bytes = market(MESSAGES, seed, FLAWS);
        let pieces = cut_lines(&bytes, 3);
        let case = Case::new(pieces[0]);
        let setup = case.setup.clone().follow().batch_bytes(100_000);
        let old = setup.clone().workers(3).start().unwrap();
        let first = pieces[0].len() as u64;
        wait_until("the old job has read what is there", || {
            old.is_finished() || old.metrics().ingest_bytes.get() == first
        });
        let take_over = LakeConfig { take_over: true, ..setup.lake.clone() };
        let lake = Arc::new(Lake::open(take_over).unwrap());
        let new = setup.start_on(lake).unwrap();
        let grown = [pieces[0], pieces[1]].concat();
        case.grow(if old_sees_all { &bytes } else { &grown });
        let failed = wait_for(old);
        assert_eq!(kind(&failed), Some(ErrorKind::Fenced), "{failed}");
        case.grow(&bytes);
        wait_until("the new job has read the rest", || {
            let offsets = new.lake().position().offsets.clone();
            let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
            new.is_finished() || offsets.iter().all(|(_, next)| next == lines)
        });
        new.stop();
        new.wait().unwrap();
        Expected::of(&bytes).check(&case.data(), "after the old job was fenced");
    }
}

/// The error that ends `job`.
fn wait_for(job: k2_dataflows::Job) -> Error {
    wait_until("the fenced job has given up", || job.is_finished());
    job.wait().expect_err("a fenced job ends with an error")
}

#[test]
fn a_job_that_ends_lets_the_next_one_in_at_once() {
    let bytes = market(2_000, 13, FLAWS);
    let case = Case::new(&bytes);
    for _ in 0..3 {
        case.setup.run().unwrap();
    }
    std::thread::sleep(Duration::from_millis(1));
    Expected::of(&bytes).check(&case.data(), "three jobs in a row");
}

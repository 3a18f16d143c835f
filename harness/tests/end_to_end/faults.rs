//! A slow disk, a failing one and a full one: the source waits, and nothing is lost.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k2_harness::generator::Flaws;
use k2_sinks::{Fault, StorageFaults, StorageOperation};

use crate::support::{Case, Dice, Expected, FLAWS, market, wait_until};

/// Fails now and then, as a seed has it, in each way that a disk has.
#[derive(Debug)]
struct Unreliable(Mutex<Dice>);

impl StorageFaults for Unreliable {
    fn fault(&self, operation: StorageOperation, _path: &Path) -> Option<Fault> {
        let mut dice = self.0.lock().unwrap();
        // A start reads everything that there is, and is not begun again at each failure.
        let seldom = if operation == StorageOperation::Read { 500 } else { 40 };
        if operation == StorageOperation::Exists || dice.below(seldom) > 0 {
            return None;
        }
        Some(dice.pick(&[Fault::ErrorBefore, Fault::ErrorAfter, Fault::ShortWrite, Fault::NoSpace]))
    }
}

/// Whether data files cannot be written for now, and how long each takes.
#[derive(Debug, Default)]
struct Disk {
    is_full: AtomicBool,
    delay_ms: AtomicU64,
    refused: AtomicU64,
}

impl StorageFaults for Disk {
    fn fault(&self, operation: StorageOperation, path: &Path) -> Option<Fault> {
        let is_data = path.to_string_lossy().contains(".parquet");
        if operation != StorageOperation::Write || !is_data {
            return None;
        }
        if self.is_full.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Some(Fault::NoSpace);
        }
        let delay = self.delay_ms.load(Ordering::SeqCst);
        (delay > 0).then(|| Fault::Delay(Duration::from_millis(delay)))
    }
}

#[test]
fn a_failing_disk_loses_and_doubles_nothing() {
    let flaws = Flaws { contradictions_per_million: 5_000, ..FLAWS };
    let bytes = market(20_000, 40, flaws);
    let expected = Expected::of(&bytes);
    let mut case = Case::new(&bytes);
    case.setup = case.setup.batch_bytes(300_000);
    let sound = case.setup.lake.clone();
    case.setup.lake.faults = Some(Arc::new(Unreliable(Mutex::new(Dice::new(40)))));
    case.setup.lake.retry.wait_first = Duration::from_micros(100);
    case.setup.lake.retry.wait_max = Duration::from_millis(1);
    // A fault that cannot be tried again ends the job; it is started again, as a person would.
    let mut runs = 1;
    while let Err(error) = case.setup.run() {
        assert!(!error.to_string().is_empty());
        runs += 1;
        assert!(runs < 200, "{error}");
    }
    case.setup.lake = sound;
    case.setup.run().unwrap();
    expected.check(&case.data(), &format!("after {runs} runs on a failing disk"));
}

#[test]
fn a_full_disk_loses_nothing_and_the_job_goes_on_when_there_is_space() {
    let bytes = market(20_000, 41, FLAWS);
    let expected = Expected::of(&bytes);
    let mut case = Case::new(&bytes);
    let disk = Arc::<Disk>::default();
    disk.is_full.store(true, Ordering::SeqCst);
    case.setup = case.setup.batch_bytes(300_000);
    case.setup.lake.faults = Some(Arc::<Disk>::clone(&disk));
    case.setup.lake.retry.wait_first = Duration::from_millis(1);
    case.setup.lake.retry.wait_max = Duration::from_millis(5);
    let job = case.setup.start().unwrap();
    // More often than an error of another kind would be tried again.
    wait_until("the disk has refused often", || disk.refused.load(Ordering::SeqCst) > 200);
    assert!(!job.is_finished(), "a full disk stalls the job, and does not end it");
    let stalled = job.metrics().ingest_records.get();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(job.metrics().ingest_records.get(), stalled, "the source waits");
    assert!(stalled < 20_000);
    disk.is_full.store(false, Ordering::SeqCst);
    job.wait().unwrap();
    expected.check(&case.data(), "after there was space");
}

#[test]
fn a_slow_disk_makes_the_source_wait_within_its_budget() {
    let bytes = market(40_000, 42, FLAWS);
    let expected = Expected::of(&bytes);
    let mut case = Case::new(&bytes);
    let disk = Arc::<Disk>::default();
    disk.delay_ms.store(60, Ordering::SeqCst);
    case.setup = case.setup.block_bytes(20_000).batch_bytes(250_000);
    case.setup.lake.faults = Some(disk);
    let limit = case.setup.config.commit.in_flight_bytes;
    let job = case.setup.start().unwrap();
    let metrics = job.metrics();
    let (mut most, mut committed) = (0, 0);
    while !job.is_finished() {
        // What was committed is read first: it only grows.
        let in_flight_floor = committed;
        committed = job.lake().position().offsets.iter().map(|(_, next)| next).sum::<u64>();
        let read = metrics.ingest_records.get();
        let bytes_a_record = bytes.len() as u64 / 40_000;
        most = most.max((read.saturating_sub(committed.max(in_flight_floor))) * bytes_a_record);
        std::thread::sleep(Duration::from_millis(1));
    }
    job.wait().unwrap();
    assert!(most > limit / 4, "the source was never ahead: {most} of {limit}");
    assert!(most < limit * 3 / 2, "{most} bytes were in flight, {limit} may be");
    expected.check(&case.data(), "on a slow disk");
}

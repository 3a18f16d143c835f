//! Disks that fail, fill up, or lose their power.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::support::faults::{ScriptedFaults, SeededFaults};
use crate::support::{Reports, claimed, config, numbers, offsets, offsets_in, sealed};
use k2_operators::MarketBatch;
use k2_sinks::{ErrorKind, Fault, Lake, Status, StorageOperation, Table};

/// Runs jobs on a failing disk until the trades `0..20` are in, then reads them on a sound one.
fn survive(seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    drop(claimed(dir.path()));
    let mut at = 0;
    for run in 0..60 {
        if at == 20 {
            break;
        }
        let mut config = config(dir.path());
        config.faults = Some(Arc::new(SeededFaults::new(seed * 1_000 + run, 6)));
        let Ok(lake) = Lake::open(config) else { continue };
        if lake.claim().is_err() {
            continue;
        }
        // A job: from the position on, in steps of five, until the end or an error.
        loop {
            at = lake.position().offsets.iter().next().map_or(0, |(_, next)| next);
            if at == 20 {
                break;
            }
            let (lower, upper) = (lake.next_epoch(), lake.next_epoch() + 1);
            let rows = crate::support::btc(at..at + 5);
            let batch = crate::support::batch_id(lower, upper);
            let Ok(files) = lake.write_trades(&batch, &[MarketBatch::of(&rows)]) else { break };
            let state = format!("state at {}", at + 5).into_bytes();
            let files = [(Table::Trades, files)].into();
            let sealed = k2_sinks::Sealed { lower, upper, offsets: offsets(at + 5), state, files };
            if lake.commit(sealed).is_err() {
                break;
            }
            // A job is killed now and then.
            if (seed + at) % 3 == run % 3 {
                break;
            }
        }
    }
    let lake = Lake::open(config(dir.path())).unwrap();
    assert_eq!(offsets_in(&lake.pin(), Table::Trades), numbers(0..20), "seed {seed}");
    assert_eq!(lake.position().state.as_deref(), Some(&b"state at 20"[..]), "seed {seed}");
}

#[test]
fn no_row_is_lost_or_doubled_whatever_the_disk_does() {
    for seed in 0..8 {
        survive(seed);
    }
}

#[test]
fn a_full_disk_stalls_the_sink_until_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    let faults = Arc::new(ScriptedFaults::default());
    config.faults = Some(faults.clone());
    let reports = Reports::default();
    reports.install(&mut config);
    let lake = Lake::open(config).unwrap();
    lake.claim().unwrap();
    // More often than the policy would try anything else.
    faults.add(StorageOperation::Write, ".parquet", Fault::NoSpace, 50);
    faults.add(StorageOperation::Write, "k2-state", Fault::NoSpace, 50);
    faults.add(StorageOperation::Write, ".avro", Fault::NoSpace, 50);
    faults.add(StorageOperation::Write, ".metadata.json", Fault::NoSpace, 50);
    lake.commit(sealed(&lake, 0, 10)).unwrap();
    assert_eq!(offsets_in(&lake.pin(), Table::Trades), numbers(0..10));
    let reports = reports.0.lock().unwrap();
    let stalled = reports.iter().filter(|status| matches!(status, Status::Stalled { .. }));
    assert_eq!(stalled.count(), 200);
    assert!(matches!(reports.last(), Some(Status::Recovered { .. })));
}

#[test]
fn a_stalled_sink_gives_up_when_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    let faults = Arc::new(ScriptedFaults::default());
    config.faults = Some(faults.clone());
    config.on_status = Arc::new(|_| ControlFlow::Break(()));
    let lake = Lake::open(config).unwrap();
    lake.claim().unwrap();
    faults.add(StorageOperation::Sync, ".parquet", Fault::NoSpace, u32::MAX);
    let rows = crate::support::btc(0..1);
    let error =
        lake.write_trades(&crate::support::batch_id(0, 1), &[MarketBatch::of(&rows)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[test]
fn a_power_cut_leaves_no_half_written_file_under_a_name() {
    for operation in [StorageOperation::Sync, StorageOperation::SyncDirectory] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        let faults = Arc::new(ScriptedFaults::default());
        config.faults = Some(faults.clone());
        let lake = Lake::open(config).unwrap();
        lake.claim().unwrap();
        lake.commit(sealed(&lake, 0, 10)).unwrap();
        for part in [".metadata.json", ".avro", ".parquet"] {
            faults.add(operation, part, Fault::ForgetUnsynced, 1);
        }
        let next = lake.next_epoch();
        lake.commit(sealed(&lake, next, next + 10)).unwrap();
        drop(lake);
        let lake = Lake::open(crate::support::config(dir.path())).unwrap();
        assert_eq!(offsets_in(&lake.pin(), Table::Trades), numbers(0..20), "{operation:?}");
    }
}

#[test]
fn what_crashed_writers_left_is_swept_up_at_the_next_claim() {
    let dir = tempfile::tempdir().unwrap();
    drop(claimed(dir.path()));
    let data = dir.path().join("warehouse/market_data/trades/data/ts_day=2024-08-08");
    std::fs::create_dir_all(&data).unwrap();
    let left = [data.join(".job-1-0-1-w0-0-x.parquet.tmp"), dir.path().join(
        "warehouse/market_data/trades/metadata/k2-state-1-7-01234567-89ab-7def-8123-456789abcdef.bin",
    )];
    for path in &left {
        std::fs::write(path, "half").unwrap();
    }
    let lake = claimed(dir.path());
    assert!(left.iter().all(|path| !path.exists()));
    for upper in 1..=20 {
        lake.commit(sealed(&lake, upper - 1, upper)).unwrap();
    }
    let metadata = dir.path().join("warehouse/market_data/trades/metadata");
    let states = std::fs::read_dir(metadata).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("k2-state-")
    });
    assert_eq!(states.count(), 8, "old states are deleted, the last few kept");
}

//! The process dies at each fail point in turn, and the next one finds everything in order.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{config, numbers, offsets, offsets_in};
use k2_operators::MarketBatch;
use k2_sinks::failpoint::FAILPOINTS;
use k2_sinks::{Lake, Table};

/// Not a test: what the child does. From where it finds the lake, three batches of five.
#[test]
fn job() {
    let Some(dir) = std::env::var_os("K2_CRASH_DIR") else { return };
    let lake = Lake::open(config(&PathBuf::from(dir))).unwrap();
    lake.claim().unwrap();
    for _ in 0..3 {
        let at = lake.position().offsets.iter().next().map_or(0, |(_, next)| next);
        let (lower, upper) = (lake.next_epoch(), lake.next_epoch() + 5);
        let batch = crate::support::batch_id(lower, upper);
        let rows = crate::support::btc(at..at + 5);
        let mut files = std::collections::BTreeMap::new();
        files.insert(Table::Trades, lake.write_trades(&batch, &[MarketBatch::of(&rows)]).unwrap());
        // One reject for each trade, unless it is already in.
        let rejects: Vec<_> = rows
            .iter()
            .filter(|row| !lake.table_offsets(Table::Rejects).covers(row.at))
            .map(|row| k2_model::Reject {
                venue: "BINANCE".into(),
                raw: b"{}".to_vec(),
                reason: k2_model::RejectReason::MissingField,
                detail: "p".into(),
                ts_recv: Some(row.ts_recv),
                schema_id: None,
                at: row.at,
            })
            .collect();
        let rejects = lake.write_rejects(&batch, rejects.iter().collect()).unwrap();
        if !rejects.is_empty() {
            files.insert(Table::Rejects, rejects);
        }
        let state = format!("state at {}", at + 5).into_bytes();
        lake.commit(k2_sinks::Sealed { lower, upper, offsets: offsets(at + 5), state, files })
            .unwrap();
    }
}

fn run(dir: &std::path::Path, failpoint: Option<&str>) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["crash::job", "--exact"]).env("K2_CRASH_DIR", dir).env("RUST_BACKTRACE", "0");
    if let Some(failpoint) = failpoint {
        child.env("K2_FAILPOINT", failpoint);
    }
    child.output().unwrap().status.success()
}

#[test]
fn a_crash_at_any_fail_point_loses_and_doubles_nothing() {
    for failpoint in FAILPOINTS {
        for passage in [1, 2] {
            let dir = tempfile::tempdir().unwrap();
            let name = format!("{failpoint}:{passage}");
            let survived = run(dir.path(), Some(&name));
            let is_claim = matches!(failpoint, "claim.before" | "claim.after");
            assert_eq!(survived, is_claim && passage == 2, "{name} is passed");
            assert!(run(dir.path(), None), "{name}: the next process goes on");
            let lake = Lake::open(config(dir.path())).unwrap();
            let position = lake.position();
            let next = position.offsets.iter().next().unwrap().1;
            assert!(next >= 15, "{name}");
            assert_eq!(position.state, Some(format!("state at {next}").into_bytes()), "{name}");
            for table in [Table::Trades, Table::Rejects] {
                let expected = numbers(0..next as i64);
                assert_eq!(offsets_in(&lake.pin(), table), expected, "{name} {table:?}");
            }
        }
    }
}

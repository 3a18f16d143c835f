//! Earlier moments and their names: also after a crash, after expiry, and while a job commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iceberg::transaction::{ApplyTransactionAction, Transaction};
use k2_model::Nanos;
use k2_sinks::{At, ColdPin, Lake, Moment, NoMoment, Sealed, Table};

use crate::protocol::{sealed_with_gap, tricky};
use crate::support::catalogs::Trick;
use crate::support::{btc, claimed, config, numbers, offsets, sealed, write};

fn current(lake: &Lake, table: Table) -> i64 {
    lake.pin().tables[&table].snapshot_id.unwrap()
}

fn find(lake: &Lake, at: At) -> Result<Moment, NoMoment> {
    lake.history().unwrap().find(&at).unwrap()
}

fn pin(lake: &Lake, at: At) -> ColdPin {
    let moment = find(lake, at).unwrap();
    lake.history().unwrap().pin(moment).unwrap()
}

/// The offsets that the files of a table have.
fn rows(pin: &ColdPin, table: Table) -> u64 {
    pin.tables[&table].rows
}

/// `HISTORY-1`.
#[test]
fn a_moment_is_a_snapshot_of_the_anchor_and_the_others_no_further() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, catalog) = tricky(dir.path());
    lake.commit(sealed_with_gap(&lake, 0, 10)).unwrap();
    let first = current(&lake, Table::Trades);
    let first_gaps = current(&lake, Table::Gaps);
    catalog.on_updates(&[Trick::None]);
    catalog.on_updates(&[Trick::FailBefore; 100]);
    lake.commit(sealed_with_gap(&lake, 10, 20)).unwrap_err();
    drop(lake);
    let lake = claimed(dir.path());
    let left = current(&lake, Table::Gaps);
    // The next process has not come as far as the one that crashed.
    let files = write(&lake, 20, 30, &btc(10..15));
    let batch = Sealed { lower: 20, upper: 30, offsets: offsets(15), ..Sealed::default() };
    lake.commit(Sealed { files: [(Table::Trades, files)].into(), ..batch }).unwrap();
    let second = current(&lake, Table::Trades);

    let then = pin(&lake, At::Snapshot(first));
    assert_eq!((then.frontier, rows(&then, Table::Trades), rows(&then, Table::Gaps)), (10, 10, 1));
    assert_eq!(then.position.offsets, offsets(10));
    assert_eq!(then.tables[&Table::Gaps].snapshot_id, Some(first_gaps));
    assert!(!then.tables[&Table::Gaps].is_ahead);

    // A snapshot of another table is the moment of its batch.
    let asked = pin(&lake, At::Snapshot(first_gaps));
    assert_eq!((asked.frontier, asked.tables[&Table::Gaps].snapshot_id), (10, Some(first_gaps)));

    // What the crash left is of no moment yet, though the table has it.
    let early = pin(&lake, At::Snapshot(left));
    assert_eq!((early.frontier, rows(&early, Table::Gaps)), (10, 1));
    let now = pin(&lake, At::Snapshot(second));
    assert_eq!((now.frontier, rows(&now, Table::Trades), rows(&now, Table::Gaps)), (30, 15, 2));
    assert!(now.tables[&Table::Gaps].is_ahead, "it has offset 10, and its offsets say 20");
    assert!(!now.tables[&Table::Quotes].is_ahead && !now.tables[&Table::Trades].is_ahead);
}

#[test]
fn a_moment_is_found_by_time_and_what_was_expired_is_told_from_what_never_was() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, catalog) = tricky(dir.path());
    for upper in [10, 20, 30] {
        std::thread::sleep(std::time::Duration::from_millis(3));
        lake.commit(sealed(&lake, upper - 10, upper)).unwrap();
    }
    let snapshots = lake.snapshots();
    let trades: Vec<_> = snapshots.iter().filter(|it| it.table == Table::Trades).collect();
    let time = |at: usize| Nanos::from_millis(trades[at].timestamp_ms).unwrap();
    for (at, snapshot) in trades.iter().enumerate() {
        let found = find(&lake, At::Timestamp(time(at)));
        assert_eq!(found.unwrap().snapshot_id, snapshot.snapshot_id);
    }
    let before = find(&lake, At::Timestamp(Nanos(time(0).0 - 1)));
    let Err(NoMoment::TooEarly { nearest: Some(nearest) }) = before else { panic!("{before:?}") };
    assert_eq!((nearest.snapshot_id, nearest.committed_at), (trades[0].snapshot_id, time(0)));
    let unknown = find(&lake, At::Snapshot(7));
    let Err(NoMoment::UnknownSnapshot { nearest: Some(nearest) }) = unknown else { panic!() };
    assert_eq!(nearest.snapshot_id, trades[3].snapshot_id);

    let expired = trades[1].snapshot_id;
    let table = lake.pin().tables[&Table::Trades].table.clone();
    let transaction = Transaction::new(&table);
    let ids = [trades[0].snapshot_id, expired];
    let expire = transaction.expire_snapshots().expire_snapshot_ids(ids);
    let transaction = expire.apply(transaction).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(transaction.commit(&*catalog.real())).unwrap();
    for at in [At::Snapshot(expired), At::Timestamp(time(1))] {
        let found = find(&lake, at);
        let Err(NoMoment::Expired { nearest: Some(nearest) }) = found else { panic!("{found:?}") };
        assert_eq!(nearest.snapshot_id, trades[2].snapshot_id);
    }
    assert_eq!(rows(&pin(&lake, At::Snapshot(trades[2].snapshot_id)), Table::Trades), 20);
}

#[test]
fn tags_are_set_on_every_table_and_stay_through_commits() {
    let dir = tempfile::tempdir().unwrap();
    let lake = claimed(dir.path());
    lake.commit(sealed_with_gap(&lake, 0, 10)).unwrap();
    let other = Lake::open_read_only(config(dir.path())).unwrap();
    let place = other.tags().unwrap().create("eod", None).unwrap().unwrap();
    assert_eq!(place.snapshot_id, current(&lake, Table::Trades));
    lake.commit(sealed_with_gap(&lake, 10, 20)).unwrap();
    for table in [Table::Trades, Table::Gaps] {
        let loaded = &lake.pin().tables[&table].table;
        let tagged = loaded.metadata().snapshot_for_ref("eod").unwrap().snapshot_id();
        assert_ne!(Some(tagged), loaded.metadata().current_snapshot_id());
    }
    let then = pin(&lake, At::Tag("eod".into()));
    assert_eq!((then.frontier, rows(&then, Table::Trades)), (10, 10));
    let names: Vec<String> = other.tags().unwrap().list().unwrap().into_keys().collect();
    assert_eq!(names, ["eod"]);
    let tags = other.tags().unwrap();
    assert!(tags.create("eod", None).unwrap_err().to_string().contains("already"));
    for wrong in ["", "main", "a b", "a/b"] {
        assert!(tags.create(wrong, None).is_err(), "{wrong}");
    }
    assert!(matches!(
        tags.create("late", Some(&At::Snapshot(7))).unwrap(),
        Err(NoMoment::UnknownSnapshot { .. })
    ));
    assert!(tags.delete("eod").unwrap());
    assert!(!other.tags().unwrap().delete("eod").unwrap());
    assert!(matches!(find(&lake, At::Tag("eod".into())), Err(NoMoment::UnknownTag { .. })));
    // The job goes on where it was, and so does the next one.
    lake.commit(sealed(&lake, 20, 30)).unwrap();
    drop(lake);
    assert_eq!(claimed(dir.path()).position().upper, 30);
}

#[test]
fn tags_and_commits_at_once_neither_lose_nor_double_anything() {
    const COMMITS: u64 = 25;
    let dir = tempfile::tempdir().unwrap();
    let lake = claimed(dir.path());
    lake.commit(sealed(&lake, 0, 10)).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let tagger = {
        let (is_over, config) = (is_over.clone(), config(dir.path()));
        std::thread::spawn(move || {
            let lake = Lake::open_read_only(config).unwrap();
            let mut tags = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let name = format!("tag-{}", tags.len());
                let place = lake.tags().unwrap().create(&name, None).unwrap().unwrap();
                tags.push((name, place.snapshot_id));
            }
            tags
        })
    };
    for at in 1..=COMMITS {
        lake.commit(sealed(&lake, at * 10, at * 10 + 10)).unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    let tags = tagger.join().unwrap();
    assert!(tags.len() > 1, "the tagger had no turn");
    lake.refresh().unwrap();
    let rows = crate::support::offsets_in(&lake.pin(), Table::Trades);
    assert_eq!(rows, numbers(0..(COMMITS as i64 + 1) * 10));
    let listed = lake.tags().unwrap().list().unwrap();
    assert_eq!(listed.len(), tags.len());
    assert!(tags.iter().all(|(name, id)| listed[name].snapshot_id == *id));
}

//! Exactly once: lost answers, lost races, crashes between tables, and writers that came back.

use std::collections::HashMap;
use std::sync::Arc;

use crate::support::catalogs::{Trick, TrickyCatalog};
use crate::support::{
    Reports, batch_id, btc, claimed, config, numbers, offsets, offsets_in, sealed, write,
};
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::{Catalog, TableIdent};
use k2_model::{
    Coordinates, DataType, Gap, GapCause, GapChange, Nanos, Origin, Reject, RejectReason, Stream,
};
use k2_operators::MarketBatch;
use k2_sinks::{ErrorKind, Lake, LakeConfig, Sealed, Status, Table};

pub fn tricky(dir: &std::path::Path) -> (Lake, Arc<TrickyCatalog>) {
    let mut config = config(dir);
    let catalog = TrickyCatalog::install(&mut config);
    let lake = Lake::open(config).unwrap();
    lake.claim().unwrap();
    (lake, catalog)
}

/// Opens the lake of somebody who thinks that it is his.
fn second(dir: &std::path::Path) -> Lake {
    Lake::open(LakeConfig { take_over: true, ..config(dir) }).unwrap()
}

fn gap(first: u64, last: u64, at: &k2_model::Trade) -> GapChange {
    let stream = Stream { instrument: at.instrument, data_type: DataType::Trades };
    GapChange {
        gap: Gap {
            stream,
            first_missing: first,
            last_missing: last,
            revealed: Nanos(at.ts_recv.0),
            healed: None,
            cause: GapCause::Feed,
        },
        diff: 1,
        at: at.at,
    }
}

/// As [`sealed`], with a gap change besides the trades.
pub fn sealed_with_gap(lake: &Lake, lower: u64, upper: u64) -> Sealed {
    let mut batch = sealed(lake, lower, upper);
    let cause = &btc(lower..upper)[0];
    let gaps = lake.write_gaps(&batch_id(lower, upper), vec![&gap(1, 2, cause)]).unwrap();
    batch.files.insert(Table::Gaps, gaps);
    batch
}

#[test]
fn a_job_reopens_where_it_committed() {
    let dir = tempfile::tempdir().unwrap();
    let lake = claimed(dir.path());
    assert_eq!((lake.next_epoch(), lake.position().incarnation.0), (0, 1));
    let pin = lake.commit(sealed(&lake, 0, 10)).unwrap();
    assert_eq!((pin.frontier, lake.next_epoch()), (10, 10));
    lake.commit(sealed(&lake, 10, 20)).unwrap();
    drop(lake);
    let lake = Lake::open(config(dir.path())).unwrap();
    let position = lake.position();
    assert_eq!((position.upper, &position.offsets), (20, &offsets(20)));
    assert_eq!(position.state.as_deref(), Some(&b"state at 20"[..]));
    assert_eq!(lake.claim().unwrap().0, 2);
    assert_eq!(lake.position().state.as_deref(), Some(&b"state at 20"[..]), "the claim keeps it");
    assert_eq!(offsets_in(&lake.pin(), Table::Trades), numbers(0..20));
    lake.commit(sealed(&lake, 20, 30)).unwrap();
    assert_eq!(offsets_in(&lake.pin(), Table::Trades), numbers(0..30));
}

#[test]
fn a_pin_after_a_delta_is_the_pin_built_from_manifests() {
    let dir = tempfile::tempdir().unwrap();
    let lake = claimed(dir.path());
    lake.commit(sealed_with_gap(&lake, 0, 10)).unwrap();
    lake.commit(sealed_with_gap(&lake, 10, 20)).unwrap();
    let by_delta = lake.pin();
    let rebuilt = lake.refresh().unwrap();
    for table in Table::ALL {
        let sorted = |pin: &k2_sinks::ColdPin| {
            let mut files: Vec<_> = pin.tables[&table].files.to_vec();
            files.sort_by(|a, b| a.path.cmp(&b.path));
            files
        };
        assert_eq!(sorted(&by_delta), sorted(&rebuilt));
    }
    let reader = Lake::open_read_only(LakeConfig::new(dir.path(), "reader")).unwrap();
    assert_eq!(reader.pin().frontier, 20);
    assert_eq!(offsets_in(&reader.pin(), Table::Trades), numbers(0..20));
    lake.commit(sealed(&lake, 20, 21)).unwrap();
    assert_eq!(reader.pin().frontier, 20, "a pin stays");
    assert_eq!(reader.refresh().unwrap().frontier, 21);
    assert_eq!(reader.claim().unwrap_err().kind(), ErrorKind::Invalid);
}

/// `COMMIT-2`, and `LAKE-2`: the pin has the rows that were read back.
#[test]
fn lost_answers_conflicts_and_phantoms_neither_lose_nor_double_a_row() {
    for trick in [Trick::LoseResponse, Trick::FailBefore, Trick::Phantom, Trick::Conflict] {
        let dir = tempfile::tempdir().unwrap();
        let (lake, catalog) = tricky(dir.path());
        catalog.on_updates(&[trick, Trick::None, trick]);
        lake.commit(sealed_with_gap(&lake, 0, 10)).unwrap();
        lake.commit(sealed_with_gap(&lake, 10, 20)).unwrap();
        assert_eq!(offsets_in(&lake.pin(), Table::Trades), numbers(0..20), "{trick:?}");
        assert_eq!(offsets_in(&lake.pin(), Table::Gaps), vec![0, 10], "{trick:?}");
    }
}

#[test]
fn a_catalog_that_shows_old_versions_doubles_nothing() {
    for stale in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let (lake, catalog) = tricky(dir.path());
        lake.commit(sealed(&lake, 0, 10)).unwrap();
        let mut tricks = vec![Trick::None; stale];
        tricks.extend([Trick::Stale, Trick::Stale]);
        catalog.on_loads(&tricks);
        lake.commit(sealed(&lake, 10, 20)).unwrap();
        lake.commit(sealed(&lake, 20, 30)).unwrap();
        assert_eq!(offsets_in(&lake.pin(), Table::Trades), numbers(0..30), "after {stale} loads");
    }
}

#[test]
fn a_catalog_that_cannot_be_reached_is_asked_until_the_policy_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    let reports = Reports::default();
    reports.install(&mut config);
    let catalog = TrickyCatalog::install(&mut config);
    let lake = Lake::open(config).unwrap();
    lake.claim().unwrap();
    catalog.on_updates(&[Trick::LoseResponse]);
    catalog.on_loads(&[Trick::None, Trick::FailBefore, Trick::FailBefore, Trick::FailBefore]);
    lake.commit(sealed(&lake, 0, 10)).unwrap();
    assert_eq!(reports.0.lock().unwrap().last(), Some(&Status::Recovered { attempts: 5 }));
    catalog.on_updates(&[Trick::FailBefore; 100]);
    let batch = sealed(&lake, 10, 20);
    let error = lake.commit(batch.clone()).unwrap_err();
    assert!(error.retryable() && error.kind() == ErrorKind::Unavailable, "{error}");
    assert_eq!(lake.pin().frontier, 10);
    catalog.on_updates(&[]);
    for _ in 0..10 {
        if lake.commit(batch.clone()).is_ok() {
            break;
        }
    }
    assert_eq!(offsets_in(&lake.pin(), Table::Trades), numbers(0..20));
}

/// `COMMIT-3`: the files are still there when the outcome is known.
#[test]
fn a_batch_whose_commit_was_unknown_may_be_committed_again() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, catalog) = tricky(dir.path());
    let batch = sealed_with_gap(&lake, 0, 10);
    // The gaps get in, the anchor gets in too, but its answer and every look at it are lost.
    catalog.on_updates(&[Trick::None, Trick::LoseResponse]);
    catalog.on_loads(&[Trick::None, Trick::None, Trick::None]);
    catalog.on_loads(&[Trick::FailBefore; 30]);
    assert!(lake.commit(batch.clone()).unwrap_err().retryable());
    let wider = Sealed { upper: 20, ..batch.clone() };
    assert_eq!(lake.commit(wider).unwrap_err().kind(), ErrorKind::Invalid, "the gaps are in");
    let mut result = lake.commit(batch.clone());
    while result.is_err() {
        result = lake.commit(batch.clone());
    }
    assert_eq!(offsets_in(&lake.pin(), Table::Trades), numbers(0..10));
    assert_eq!(offsets_in(&lake.pin(), Table::Gaps), vec![0]);
    lake.commit(sealed(&lake, 10, 20)).unwrap();
}

#[test]
fn a_zombie_is_fenced_on_every_table() {
    for table in Table::ALL {
        let dir = tempfile::tempdir().unwrap();
        let zombie = claimed(dir.path());
        zombie.commit(sealed(&zombie, 0, 10)).unwrap();
        let mut batch = sealed(&zombie, 10, 20);
        match table {
            Table::Gaps => batch = sealed_with_gap(&zombie, 10, 20),
            // Files of another table will do: the append must not get as far as looking at them.
            Table::Trades => {}
            _ => {
                let files = batch.files[&Table::Trades].clone();
                batch.files = [(table, files)].into();
            }
        }
        let heir = second(dir.path());
        assert_eq!(heir.claim().unwrap().0, 2);
        let error = zombie.commit(batch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{table:?}: {error}");
        heir.commit(sealed(&heir, 10, 15)).unwrap();
        assert_eq!(offsets_in(&heir.pin(), Table::Trades), numbers(0..15));
        assert_eq!(heir.pin().tables[&table].rows, if table == Table::Trades { 15 } else { 0 });
    }
}

#[test]
fn of_two_claims_at_once_exactly_one_wins() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        drop(claimed(dir.path()));
        let lakes = [second(dir.path()), second(dir.path()), second(dir.path())];
        let claims: Vec<_> = std::thread::scope(|scope| {
            let claims: Vec<_> = lakes.iter().map(|lake| scope.spawn(|| lake.claim())).collect();
            claims.into_iter().map(|claim| claim.join().unwrap()).collect()
        });
        // One that came late enough to see another's claim takes over, which is no race.
        let won: Vec<_> = claims.iter().filter_map(|claim| claim.as_ref().ok()).collect();
        let lost = claims.iter().filter_map(|claim| claim.as_ref().err());
        assert!(lost.into_iter().all(|error| error.kind() == ErrorKind::Fenced));
        let last = won.iter().max().expect("one wins");
        assert_eq!(won.iter().filter(|claim| *claim == last).count(), 1, "no number twice");
        let able = lakes.iter().filter(|lake| {
            lake.position().incarnation == **last && lake.commit(sealed(lake, 0, 5)).is_ok()
        });
        assert_eq!(able.count(), 1);
    }
}

/// Commits as the lake would, but with `keys` of the test's own.
fn forge(
    catalog: &Arc<dyn Catalog>,
    table: Table,
    keys: &[(&str, &str)],
    files: Vec<k2_sinks::DataFile>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let ident = TableIdent::from_strs([k2_sinks::NAMESPACE, table.as_str()]).unwrap();
        let loaded = catalog.load_table(&ident).await.unwrap();
        let keys: HashMap<String, String> =
            keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let transaction = Transaction::new(&loaded);
        let append = transaction
            .fast_append()
            .set_snapshot_properties(keys)
            .add_data_files(files)
            .apply(transaction)
            .unwrap();
        append.commit(&**catalog).await.unwrap();
    });
}

const FORGED_ID: &str = "01234567-89ab-7def-8123-456789abcdef";

fn forged_keys<'a>(
    incarnation: &'a str,
    lower: &'a str,
    upper: &'a str,
) -> [(&'a str, &'a str); 8] {
    [
        ("k2.sink-id", "job"),
        ("k2.incarnation", incarnation),
        ("k2.commit-id", FORGED_ID),
        ("k2.lower", lower),
        ("k2.upper", upper),
        ("k2.offsets", "{\"topic\":{\"0\":15}}"),
        ("k2.state", ""),
        ("k2.version", "1"),
    ]
}

/// `COMMIT-1`.
#[test]
fn a_prefix_or_overlap_of_the_same_incarnation_is_fatal() {
    for (lower, upper) in [("10", "15"), ("10", "20"), ("10", "25"), ("5", "15")] {
        let dir = tempfile::tempdir().unwrap();
        let (lake, catalog) = tricky(dir.path());
        lake.commit(sealed(&lake, 0, 10)).unwrap();
        let batch = sealed(&lake, 10, 20);
        forge(&catalog.real(), Table::Trades, &forged_keys("1", lower, upper), Vec::new());
        let error = lake.commit(batch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Diverged, "{lower}..{upper}: {error}");
        assert!(!error.retryable());
    }
}

/// `POSITION-1`.
#[test]
fn the_position_is_the_maximum_and_not_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, catalog) = tricky(dir.path());
    lake.commit(sealed(&lake, 0, 10)).unwrap();
    lake.commit(sealed(&lake, 10, 20)).unwrap();
    // Somebody rewrites files and copies the keys of an older snapshot.
    forge(&catalog.real(), Table::Trades, &forged_keys("1", "0", "10"), Vec::new());
    drop(lake);
    let lake = Lake::open(config(dir.path())).unwrap();
    assert_eq!((lake.position().upper, &lake.position().offsets), (20, &offsets(20)));
    lake.claim().unwrap();
    lake.commit(sealed(&lake, 20, 30)).unwrap();
    assert_eq!(offsets_in(&lake.pin(), Table::Trades), numbers(0..30));
}

/// `POSITION-3`.
#[test]
fn rows_of_somebody_else_stop_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, catalog) = tricky(dir.path());
    lake.commit(sealed(&lake, 0, 10)).unwrap();
    let files = write(&lake, 10, 11, &btc(10..11));
    forge(&catalog.real(), Table::Trades, &[("by", "hand")], files);
    let error = lake.commit(sealed(&lake, 10, 20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Foreign, "{error}");
    drop(lake);
    assert_eq!(Lake::open(config(dir.path())).unwrap_err().kind(), ErrorKind::Foreign);
    let other = LakeConfig { sink_id: "other".into(), ..config(dir.path()) };
    assert_eq!(Lake::open(other).unwrap_err().kind(), ErrorKind::Foreign);
    let reader = Lake::open_read_only(LakeConfig::new(dir.path(), "reader")).unwrap();
    assert_eq!(offsets_in(&reader.pin(), Table::Trades), numbers(0..11), "reading goes on");
}

/// `LAKE-1`.
#[test]
fn a_crash_between_two_tables_leaves_the_one_ahead_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, catalog) = tricky(dir.path());
    lake.commit(sealed_with_gap(&lake, 0, 10)).unwrap();
    // The gaps get in; then everything fails until the process is gone.
    catalog.on_updates(&[Trick::None]);
    catalog.on_updates(&[Trick::FailBefore; 100]);
    lake.commit(sealed_with_gap(&lake, 10, 20)).unwrap_err();
    drop(lake);
    let lake = claimed(dir.path());
    assert_eq!((lake.position().upper, &lake.position().offsets), (10, &offsets(10)));
    assert_eq!(lake.position().state.as_deref(), Some(&b"state at 10"[..]));
    assert_eq!(lake.table_offsets(Table::Trades), offsets(10));
    assert_eq!(lake.table_offsets(Table::Gaps), offsets(20), "its rows below are already in");
    assert_eq!(lake.table_offsets(Table::Quotes), offsets(10), "the anchor knows better");
    assert_eq!(lake.next_epoch(), 20);
    let files = write(&lake, 20, 30, &btc(10..30));
    let batch = Sealed { lower: 20, upper: 30, offsets: offsets(30), ..sealed(&lake, 20, 30) };
    lake.commit(Sealed { files: [(Table::Trades, files)].into(), ..batch }).unwrap();
    assert_eq!(offsets_in(&lake.pin(), Table::Trades), numbers(0..30));
    assert_eq!(offsets_in(&lake.pin(), Table::Gaps), vec![0, 10]);
}

/// `LAKE-3`.
#[test]
fn a_table_that_is_ahead_stays_so_though_the_next_process_comes_less_far() {
    let at = |partition: i32, number: u64| Coordinates {
        origin: Origin::new("topic", partition),
        offset: number,
    };
    let reject = |at: Coordinates| Reject {
        venue: "BINANCE".into(),
        raw: b"{}".to_vec(),
        reason: RejectReason::MissingField,
        detail: "p".into(),
        ts_recv: None,
        schema_id: None,
        at,
    };
    // A batch with the messages below `next` of two partitions that are not in yet.
    let batch = |lake: &Lake, lower: u64, upper: u64, next: [u64; 2]| {
        let (from, stored) = (lake.position(), lake.table_offsets(Table::Rejects));
        let origins = [0, 1].map(|partition| Origin::new("topic", partition));
        let read = origins.iter().zip(next).zip(0..).flat_map(|((origin, next), partition)| {
            (from.offsets.next(*origin)..next).map(move |number| at(partition, number))
        });
        let rows: Vec<Reject> = read.filter(|at| !stored.covers(*at)).map(reject).collect();
        let files = lake.write_rejects(&batch_id(lower, upper), rows.iter().collect()).unwrap();
        let offsets = origins.into_iter().zip(next).collect();
        Sealed { lower, upper, offsets, state: Vec::new(), files: [(Table::Rejects, files)].into() }
    };
    let dir = tempfile::tempdir().unwrap();
    let (lake, catalog) = tricky(dir.path());
    // The rejects get in; then everything fails until the process is gone.
    catalog.on_updates(&[Trick::None]);
    catalog.on_updates(&[Trick::FailBefore; 100]);
    lake.commit(batch(&lake, 0, 10, [9, 2])).unwrap_err();
    drop(lake);
    // The next one reads the other partition first, and so ends its batch elsewhere.
    let lake = claimed(dir.path());
    assert!(lake.pin().tables[&Table::Rejects].is_ahead, "the anchor has nothing");
    lake.commit(batch(&lake, 10, 20, [3, 6])).unwrap();
    assert!(lake.pin().tables[&Table::Rejects].is_ahead, "the anchor has only 3 of 9");
    drop(lake);
    let lake = claimed(dir.path());
    assert_eq!(lake.table_offsets(Table::Rejects).next(Origin::new("topic", 0)), 9);
    lake.commit(batch(&lake, 20, 30, [12, 7])).unwrap();
    let mut expected: Vec<i64> = (0..12).chain(0..7).collect();
    expected.sort_unstable();
    assert_eq!(offsets_in(&lake.pin(), Table::Rejects), expected);
    let reader = Lake::open_read_only(LakeConfig::new(dir.path(), "reader")).unwrap();
    assert!(!lake.pin().tables[&Table::Rejects].is_ahead, "the anchor has come up");
    assert!(!reader.pin().tables[&Table::Rejects].is_ahead);
}

#[test]
fn batches_out_of_order_and_files_twice_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::open(config(dir.path())).unwrap();
    let unclaimed = lake.write_trades(&batch_id(0, 1), &[MarketBatch::of(&btc(0..1))]);
    assert_eq!(unclaimed.unwrap_err().kind(), ErrorKind::Invalid);
    lake.claim().unwrap();
    let batch = sealed(&lake, 0, 10);
    lake.commit(batch.clone()).unwrap();
    for (lower, upper) in [(0, 10), (5, 15), (11, 20), (10, 10)] {
        let error = lake.commit(Sealed { lower, upper, ..sealed(&lake, 30, 31) }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{lower}..{upper}");
    }
    let error = lake.commit(Sealed { lower: 10, upper: 20, ..batch }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "a file that is already in");
    let mut twice = sealed(&lake, 10, 20);
    let files = twice.files.get_mut(&Table::Trades).unwrap();
    files.extend(files.clone());
    assert_eq!(lake.commit(twice).unwrap_err().kind(), ErrorKind::Invalid);
    lake.commit(Sealed { lower: 10, upper: 20, offsets: offsets(20), ..Sealed::default() })
        .unwrap();
    assert_eq!(lake.pin().frontier, 20, "an empty batch moves the job on");
}

#[test]
fn the_directory_is_locked_versioned_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let empty = LakeConfig::new(dir.path(), "reader");
    assert_eq!(Lake::open_read_only(empty).unwrap_err().kind(), ErrorKind::NoLake);
    let lake = claimed(dir.path());
    let error = Lake::open(config(dir.path())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    drop(lake);
    std::fs::write(dir.path().join("format"), "2\n").unwrap();
    assert_eq!(Lake::open(config(dir.path())).unwrap_err().kind(), ErrorKind::NewerFormat);
    std::fs::write(dir.path().join("format"), "1\n").unwrap();
    let strange = LakeConfig { sink_id: "a/b".into(), ..config(dir.path()) };
    assert_eq!(Lake::open(strange).unwrap_err().kind(), ErrorKind::Invalid);
    drop(Lake::open(config(dir.path())).unwrap());
}

/// `POSITION-2`.
#[test]
fn a_table_rolled_back_or_replaced_stops_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, catalog) = tricky(dir.path());
    lake.commit(sealed(&lake, 0, 10)).unwrap();
    let anchor = lake.pin().tables[&Table::Trades].table.clone();
    lake.commit(sealed(&lake, 10, 20)).unwrap();
    let newer = lake.pin().tables[&Table::Trades].table.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // A rollback is the newer metadata with `main` at the older snapshot.
    let rolled = newer
        .metadata()
        .clone()
        .into_builder(newer.metadata_location().map(str::to_owned))
        .set_ref(
            "main",
            iceberg::spec::SnapshotReference::new(
                anchor.metadata().current_snapshot_id().unwrap(),
                iceberg::spec::SnapshotRetention::branch(None, None, None),
            ),
        )
        .unwrap()
        .build()
        .unwrap()
        .metadata;
    let register = |metadata: iceberg::spec::TableMetadata, version: u32| {
        let id = uuid::Uuid::now_v7();
        let location =
            format!("{}/metadata/{version:05}-{id}.gz.metadata.json", metadata.location());
        runtime.block_on(async {
            let location: iceberg::MetadataLocation = location.parse().unwrap();
            metadata.write_to(newer.file_io(), &location).await.unwrap();
            catalog.real().drop_table(newer.identifier()).await.unwrap();
            catalog.real().register_table(newer.identifier(), location.to_string()).await.unwrap();
        });
    };
    register(rolled, 90);
    let error = lake.commit(sealed(&lake, 20, 30)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolledBack, "{error}");
    drop(lake);
    assert_eq!(Lake::open(config(dir.path())).unwrap_err().kind(), ErrorKind::RolledBack);
    let accepting = LakeConfig { accept_rollback: true, ..config(dir.path()) };
    let lake = Lake::open(accepting).unwrap();
    assert_eq!(lake.position().upper, 10);
    lake.claim().unwrap();
    lake.commit(sealed(&lake, 10, 20)).unwrap();
    assert_eq!(offsets_in(&lake.pin(), Table::Trades), numbers(0..20));
    let builder = lake.pin().tables[&Table::Trades].table.metadata().clone().into_builder(None);
    register(builder.assign_uuid(uuid::Uuid::now_v7()).build().unwrap().metadata, 91);
    let error = lake.commit(sealed(&lake, 20, 30)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TableReplaced, "{error}");
}

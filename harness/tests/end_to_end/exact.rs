//! The tables hold what the oracle says, whatever happened to the lines on their way.

use k2_harness::generator::{Flaws, cut_lines, double_lines, shuffle_lines};
use k2_harness::job::{JobSetup, Recording};
use k2_harness::recordings::{recordings, unzipped};
use k2_model::DataType;

use crate::support::{Case, Expected, FLAWS, Scratch, market};

const MESSAGES: u64 = 30_000;

#[test]
fn repeated_or_shuffled_lines_change_nothing() {
    let bytes = market(MESSAGES, 1, FLAWS);
    let expected = Expected::of(&bytes);
    let doubled = double_lines(&bytes);
    let cases = [
        ("as it is", bytes.clone()),
        ("doubled", doubled.clone()),
        ("shuffled", shuffle_lines(&bytes, 1_000, 5)),
        ("doubled and shuffled", shuffle_lines(&doubled, 1_000, 6)),
    ];
    for (name, bytes) in cases {
        let case = Case::new(&bytes);
        case.setup.run().unwrap();
        // Repeated malformed lines are rejected again, so only the rest stays the same.
        expected.check_result(&k2_harness::answers::Asker::offline(&case.data()), name);
        Expected::of(&bytes).check(&case.data(), name);
    }
}

#[test]
fn cuts_workers_and_commits_change_nothing() {
    let flaws = Flaws { contradictions_per_million: 5_000, ..FLAWS };
    let bytes = market(MESSAGES, 2, flaws);
    let expected = Expected::of(&bytes);
    assert!(expected.rejects.contains_key("contradiction"));
    let cases = [
        (1, 500, 1 << 30),
        (3, 500, 100_000),
        (1, 64 << 10, 1 << 30),
        (2, 1 << 20, 1 << 30),
        (2, 10_000, 150_000),
        (7, 4_000, 300_000),
        (7, 64 << 10, 64 << 10),
        (3, 1 << 20, 1),
    ];
    for (workers, block_bytes, batch_bytes) in cases {
        let name = format!("{workers} workers, blocks of {block_bytes}, batches of {batch_bytes}");
        let mut case = Case::new(&bytes);
        case.setup = case.setup.workers(workers).block_bytes(block_bytes).batch_bytes(batch_bytes);
        let job = case.setup.start().unwrap();
        let metrics = job.metrics();
        job.wait().unwrap();
        expected.check(&case.data(), &name);
        let counts = DataType::ALL.map(|kind| expected.oracle.counts(kind));
        let sum = |count: fn(&k2_harness::oracle::Counts) -> u64| counts.iter().map(count).sum();
        let found = [
            metrics.sequence_unique.get(),
            metrics.sequence_duplicates.get(),
            metrics.sequence_contradictions.get(),
            metrics.sequence_out_of_order.get(),
        ];
        let wanted: [u64; 4] = [
            sum(|counts| counts.unique),
            sum(|counts| counts.duplicates),
            sum(|counts| counts.contradictions),
            sum(|counts| counts.out_of_order),
        ];
        assert_eq!(found, wanted, "{name}");
    }
}

#[test]
fn a_job_stopped_anywhere_goes_on_with_any_number_of_workers() {
    let bytes = market(MESSAGES, 3, Flaws { contradictions_per_million: 5_000, ..FLAWS });
    let expected = Expected::of(&bytes);
    for (seed, workers) in [[1, 2, 3], [3, 1, 7], [2, 7, 1]].into_iter().enumerate() {
        let mut case = Case::new(&bytes);
        case.setup = case.setup.batch_bytes(200_000);
        for (run, workers) in (1..).zip(workers) {
            let block_bytes = [3_000, 50_000, 700][(seed + run) % 3];
            case.setup = case.setup.workers(workers).block_bytes(block_bytes);
            let job = case.setup.start().unwrap();
            let metrics = job.metrics();
            // The budget keeps the source near the commits, so this is somewhere in the middle.
            while !job.is_finished() && metrics.commit_snapshots.get() < 4 * run as u64 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            job.stop();
            job.wait().unwrap();
        }
        case.setup.run().unwrap();
        expected.check(&case.data(), &format!("stopped, workers {workers:?}"));
    }
}

#[test]
fn the_same_input_again_adds_nothing_and_a_grown_one_goes_on() {
    let bytes = market(MESSAGES, 4, Flaws { contradictions_per_million: 5_000, ..FLAWS });
    let case = Case::new(&[]);
    let mut grown = Vec::new();
    for (piece, bytes) in cut_lines(&bytes, 4).into_iter().enumerate() {
        grown.extend_from_slice(bytes);
        case.write(&grown);
        case.setup.clone().workers(1 + piece).run().unwrap();
        Expected::of(&grown).check(&case.data(), &format!("piece {piece}"));
    }
    let expected = Expected::of(&bytes);
    let before = files(&case);
    for workers in [1, 3] {
        let job = case.setup.clone().workers(workers).start().unwrap();
        let metrics = job.metrics();
        job.wait().unwrap();
        assert_eq!((metrics.ingest_records.get(), metrics.commit_rows.get()), (0, 0));
        expected.check(&case.data(), "again");
    }
    assert_eq!(before, files(&case));
}

/// The data files in the warehouse.
fn files(case: &Case) -> usize {
    fn count(path: &std::path::Path) -> usize {
        let entries = path.read_dir().unwrap().map(|entry| entry.unwrap().path());
        let is_data = |path: &std::path::Path| path.extension().is_some_and(|it| it == "parquet");
        entries.map(|path| if path.is_dir() { count(&path) } else { is_data(&path).into() }).sum()
    }
    count(&case.data().join("warehouse"))
}

#[test]
fn recordings_come_out_as_the_oracle_says() {
    let Some(recordings) = recordings() else { return };
    let names = [
        ("BINANCE", "spot_btcusdt_20240808.jsonl.gz"),
        ("BINANCE", "spot_ethusdt_20240808.jsonl.gz"),
        ("BINANCE_USDM", "usdm_btcusdt_20240808.jsonl.gz"),
    ];
    let bytes = names.map(|(_, name)| unzipped(&recordings.join(name)));
    let inputs = [0, 1, 2].map(|at| (names[at].0, names[at].1, &bytes[at][..]));
    let expected = Expected::of_all(&inputs);
    assert_eq!(expected.oracle.counts(DataType::Trades).unique, 9_757 + 6_106 + 21_313);
    assert_eq!(expected.oracle.gaps().count(), 0);

    let dir = Scratch::new();
    let recorded = names.map(|(venue, name)| Recording { venue, path: recordings.join(name) });
    let setup = JobSetup::new(&dir.path().join("as they are"), recorded.to_vec());
    setup.run().unwrap();
    expected.check(&dir.path().join("as they are"), "as they are");

    let mangled = [0, 1, 2].map(|at| {
        let mangled = shuffle_lines(&double_lines(&bytes[at]), 1_000, at as u64);
        Recording::write(dir.path(), names[at].0, names[at].1, &mangled)
    });
    let data = dir.path().join("mangled");
    let setup = JobSetup::new(&data, mangled.to_vec()).workers(3).block_bytes(100_000);
    setup.batch_bytes(8 << 20).run().unwrap();
    expected.check_result(&k2_harness::answers::Asker::offline(&data), "mangled");
}

//! A process is killed a hundred times, and what it leaves is as if it never had been.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use k2_harness::answers::Asker;
use k2_harness::generator::Flaws;
use k2_harness::job::Recording;
use k2_sinks::failpoint::FAILPOINTS;

use crate::support::{Case, Dice, Expected, FLAWS, VENUE, market};

const KILLS: usize = 100;
/// Kills in one directory, before its job may run to its end.
const KILLS_EACH: usize = 8;
const MESSAGES: u64 = 12_000;
/// Another recording of the feed, that is read first if it is there.
const COPY: &str = "copy.ndjson";
/// Where the child finds its input and its tables.
const DIR: &str = "K2_END_TO_END_DIR";
/// How many workers it has, and how long its blocks and its batches are.
const SHAPE: &str = "K2_END_TO_END_SHAPE";

/// Not a test: what the child does.
#[test]
fn job() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let shape = std::env::var(SHAPE).unwrap();
    let shape: Vec<usize> = shape.split('x').map(|number| number.parse().unwrap()).collect();
    let [workers, block_bytes, batch_bytes] = shape.try_into().unwrap();
    let setup = Case::setup_in(Path::new(&dir)).workers(workers).block_bytes(block_bytes);
    let mut setup = setup.batch_bytes(batch_bytes as u64);
    let copy = Recording { venue: VENUE, path: Path::new(&dir).join(COPY) };
    if copy.path.exists() {
        setup.inputs.insert(0, copy);
    }
    setup.run().unwrap();
}

fn spawn(dir: &Path, shape: &str, failpoint: Option<&str>) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["crash::job", "--exact", "--test-threads=1"]);
    child.env(DIR, dir).env(SHAPE, shape).env("RUST_BACKTRACE", "0");
    child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    if let Some(failpoint) = failpoint {
        child.env("K2_FAILPOINT", failpoint);
    }
    child.spawn().unwrap()
}

/// Where a child is to die.
enum Death {
    AtFailpoint(String),
    After(Duration),
}

/// Whether the child was killed; otherwise it must have come to its end.
fn kill(dir: &Path, shape: &str, death: &Death) -> bool {
    let status = match death {
        Death::AtFailpoint(name) => spawn(dir, shape, Some(name)).wait().unwrap(),
        Death::After(delay) => {
            let mut child = spawn(dir, shape, None);
            std::thread::sleep(*delay);
            child.kill().unwrap();
            child.wait().unwrap()
        }
    };
    assert!(status.success() || is_killed(status), "{status}");
    is_killed(status)
}

fn is_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal().is_some()
}

/// The shapes that the runs of one directory take in turn.
fn shape(dice: &mut Dice) -> String {
    let workers = dice.pick(&[1, 2, 3]);
    let block_bytes = dice.pick(&[900, 7_000, 40_000]);
    let batch_bytes = dice.pick(&[30_000, 100_000, 300_000]);
    format!("{workers}x{block_bytes}x{batch_bytes}")
}

#[test]
fn a_hundred_kills_lose_and_double_nothing() {
    let flaws = Flaws { contradictions_per_million: 5_000, ..FLAWS };
    let mut dice = Dice::new(2024);
    // Each fail point early and late, and as many random moments as make a hundred.
    let points = FAILPOINTS.iter().flat_map(|name| [1, 2, 5].map(|nth| format!("{name}:{nth}")));
    let mut deaths: Vec<Death> = points.map(Death::AtFailpoint).collect();
    dice.shuffle(&mut deaths);
    let (mut kills, mut seed) = (0, 20);
    while kills < KILLS || !deaths.is_empty() {
        let bytes = market(MESSAGES, seed, flaws);
        let case = Case::new(&bytes);
        let mut history = Vec::new();
        for _ in 0..KILLS_EACH {
            let at_random = || Death::After(Duration::from_millis(200));
            let is_planned = kills % 2 == 0 || kills >= KILLS;
            let death =
                if is_planned { deaths.pop().unwrap_or_else(at_random) } else { at_random() };
            let death = match death {
                Death::After(_) => Death::After(Duration::from_micros(dice.below(500_000))),
                planned => planned,
            };
            let shape = shape(&mut dice);
            let was_killed = kill(case.dir.path(), &shape, &death);
            kills += usize::from(was_killed);
            history.push(match death {
                Death::AtFailpoint(name) => format!("{shape} {name} {was_killed}"),
                Death::After(delay) => format!("{shape} {delay:?} {was_killed}"),
            });
        }
        let shape = shape(&mut dice);
        let end = spawn(case.dir.path(), &shape, None).wait().unwrap();
        assert!(end.success(), "seed {seed}: the last run fails after {history:#?}");
        let name = format!("seed {seed}, kills {history:#?}, then {shape}");
        Expected::of(&bytes).check(&case.data(), &name);
        check_gap_log(&Asker::offline(&case.data()), &name);
        seed += 1;
    }
    eprintln!("{kills} kills in {} directories", seed - 20);
}

/// `SOURCE-3`. A second recording has come when the next process starts, and its copies go before
/// those of the first, some of which are in a table already.
#[test]
fn what_a_crash_left_in_a_table_stays_the_first_of_its_number() {
    // Nothing that opens a gap: up to the end of the log of gaps everything is read first anyway.
    let flaws = Flaws { missing_per_million: 0, late_per_million: 0, ..FLAWS };
    let bytes = market(MESSAGES, 44, Flaws { reordered_per_million: 0, ..flaws });
    let case = Case::new(&bytes);
    let dir = case.dir.path();
    let died = spawn(dir, "2x7000x100000", Some("commit.before-anchor:3")).wait().unwrap();
    assert!(is_killed(died), "{died}");
    Recording::write(dir, VENUE, COPY, &bytes);
    let ended = spawn(dir, "2x7000x100000", None).wait().unwrap();
    assert!(ended.success(), "{ended}");
    Expected::of(&bytes).check_result(&Asker::offline(&case.data()), "two recordings");
}

/// Each run of missing numbers stands in the log once or not at all.
fn check_gap_log(found: &Asker, name: &str) {
    let wrong = found.lines(
        "SELECT venue, symbol, data_type, first_missing, last_missing, healed_ts, sum(diff) AS n
         FROM gap_changes
         GROUP BY venue, symbol, data_type, first_missing, last_missing, revealed_ts, healed_ts
         HAVING sum(diff) NOT IN (0, 1)",
    );
    assert!(wrong.is_empty(), "{name}: {wrong:?}");
}

//! What the cases share: a market with every flaw, what must come of it, and the comparison.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use k2_harness::answers::Asker;
use k2_harness::generator::random::Random;
use k2_harness::generator::{Flaws, Generator, GeneratorConfig, LineForm};
use k2_harness::job::{JobSetup, Recording};
use k2_harness::oracle::{Oracle, ResultHash, differences};
use k2_model::{DataType, InstrumentTable, RejectReason};

pub const VENUE: &str = "BINANCE";
pub const SOURCE: &str = "market.ndjson";
const DAY_NS: u64 = 86_400_000_000_000;

/// Everything that can go wrong without the order of arrival deciding what is right.
pub const FLAWS: Flaws = Flaws {
    duplicates_per_million: 20_000,
    contradictions_per_million: 0,
    reordered_per_million: 20_000,
    late_per_million: 10_000,
    malformed_per_million: 3_000,
    missing_per_million: 4_000,
    ..Flaws::NONE
};

/// A market of trades, quotes and book updates over three days, so that the bars of the first one
/// leave memory.
pub fn market(messages: u64, seed: u64, flaws: Flaws) -> Vec<u8> {
    let config = GeneratorConfig {
        seed,
        symbols: 12,
        form: LineForm { receive_time: true, envelope: seed % 2 == 1 },
        quotes_per_million: 200_000,
        depth_per_million: 100_000,
        flaws,
        ..GeneratorConfig::default()
    };
    let mut bytes = Vec::new();
    let mut generator = Generator::new(config.spread(messages, 3 * DAY_NS)).unwrap();
    while generator.push_line(&mut bytes) {}
    bytes
}

/// What the oracle says of some input.
pub struct Expected {
    pub lines: Vec<String>,
    pub hash: ResultHash,
    pub rejects: BTreeMap<String, u64>,
    pub oracle: Oracle,
}

impl Expected {
    /// Of messages of [`VENUE`] in [`SOURCE`].
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_all(&[(VENUE, SOURCE, bytes)])
    }

    pub fn of_all(inputs: &[(&str, &str, &[u8])]) -> Self {
        let mut oracle = Oracle::new(InstrumentTable::shipped());
        for (venue, source, bytes) in inputs {
            oracle.observe_all(venue, source, bytes);
        }
        let mut lines: Vec<String> = oracle.canonical_lines().collect();
        lines.sort_unstable();
        let mut rejects = BTreeMap::new();
        let contradictions = DataType::ALL.map(|kind| oracle.counts(kind).contradictions);
        let tally = oracle.tally().rejects.iter().map(|(reason, count)| (*reason, *count));
        let all = tally.chain([(RejectReason::Contradiction, contradictions.iter().sum())]);
        for (reason, count) in all.filter(|(_, count)| *count > 0) {
            rejects.insert(reason.as_str().to_owned(), count);
        }
        Self { lines, hash: oracle.result_hash(), rejects, oracle }
    }

    /// Compares with what the tables in `dir` answer, rejects too.
    pub fn check(&self, dir: &Path, case: &str) {
        let found = Asker::offline(dir);
        self.check_result(&found, case);
        assert_eq!(found.rejects(), self.rejects, "{case}: rejects");
    }

    /// Compares all but the rejects, which differ when lines are repeated.
    pub fn check_result(&self, found: &Asker, case: &str) {
        let lines = found.canonical_lines();
        if lines != self.lines {
            let (expected, found) = (kinds_of(&self.lines), kinds_of(&lines));
            let differ = differences(&self.lines, &lines, 10).join("\n");
            panic!("{case}: lines expected: {expected:?}\nlines found: {found:?}\n{differ}");
        }
        let mut hash = ResultHash::default();
        lines.iter().for_each(|line| hash.add_line(line));
        assert_eq!(hash, self.hash, "{case}");
        for table in ["trades", "quotes"] {
            let doubled = found.doubled(table);
            assert!(doubled.is_empty(), "{case}: {table} {doubled:?}");
        }
    }
}

/// How many of `lines` begin with each word.
fn kinds_of(lines: &[String]) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    for kind in lines.iter().filter_map(|line| line.split('|').next()) {
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// A directory that goes away with its owner.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("k2-end-to-end-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What a failed test leaves is for a person to look at.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A job on one file with `bytes`, in a directory of its own.
pub struct Case {
    pub dir: Scratch,
    pub setup: JobSetup,
}

impl Case {
    pub fn new(bytes: &[u8]) -> Self {
        let dir = Scratch::new();
        Recording::write(dir.path(), VENUE, SOURCE, bytes);
        let setup = Self::setup_in(dir.path());
        Self { dir, setup }
    }

    /// The job of a case in `dir`.
    pub fn setup_in(dir: &Path) -> JobSetup {
        let recording = Recording { venue: VENUE, path: dir.join(SOURCE) };
        JobSetup::new(&dir.join("data"), vec![recording]).block_bytes(64 << 10)
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Lets the input grow to `bytes`, which begin with what it holds.
    pub fn grow(&self, bytes: &[u8]) {
        let path = &self.setup.inputs[0].path;
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        let length = file.metadata().unwrap().len() as usize;
        file.write_all(&bytes[length..]).unwrap();
    }

    /// Puts `bytes` in place of the input.
    pub fn write(&self, bytes: &[u8]) {
        std::fs::write(&self.setup.inputs[0].path, bytes).unwrap();
    }
}

/// Waits until `is_true`, but not for ever: what stands still is a failure.
pub fn wait_until(what: &str, is_true: impl FnMut() -> bool) {
    assert!(is_soon(is_true), "waited in vain until {what}");
}

/// Whether it is so within a minute.
pub fn is_soon(mut is_true: impl FnMut() -> bool) -> bool {
    for _ in 0..60_000 {
        if is_true() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    false
}

/// Seeded choices.
#[derive(Debug)]
pub struct Dice(Random);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// From 0 to below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

/// The checkout. Asked for at run time: a build may outlive the checkout that it was made in.
pub fn root() -> PathBuf {
    let of_crate = std::env::var_os("CARGO_MANIFEST_DIR").expect("the test runner sets it");
    Path::new(&of_crate).parent().expect("a crate is in the workspace").to_owned()
}

/// A Python with a client of Kafka.
pub fn python() -> Option<OsString> {
    let python = std::env::var_os("K2_READERS");
    if python.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI sets K2_READERS");
        eprintln!("SKIPPED: K2_READERS names no Python with a client of Kafka; ./test does");
    }
    python
}

/// What a command prints that succeeds.
#[track_caller]
pub fn finish(mut command: Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The client in Python, which is not ours: `arguments` begin with what it is to do.
pub fn kafka_avro(python: &OsStr, broker: &str, registry: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.arg(root().join("scripts/kafka_avro.py")).arg(arguments[0]);
    command.args(["--brokers", broker, "--registry", registry]).args(&arguments[1..]);
    command
}

//! Epochs, publications, commits and trims in any order that a job allows, one step at a time.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use k2_dataflows::live::{LivePin, TradeChunk};
use k2_model::{Coordinates, Nanos, Origin, Trade};
use k2_operators::MarketBatch;
use k2_sinks::{BatchId, ColdPin, Sealed, Table};

use super::{Epoch, Job, WORKERS, absorb};

/// Epochs that the slowest worker may be behind.
const BEHIND_MAX: usize = 5;

/// A job whose parts take their steps in an order that a seed decides.
pub struct Racing {
    pub job: Job,
    /// Closed epochs that a worker has yet to publish.
    pending: [VecDeque<(u64, Arc<Epoch>)>; WORKERS],
    /// Closed epochs that are in no table yet.
    unsealed: Vec<(u64, Arc<Epoch>)>,
    /// Committed, but not yet published.
    sealed: Option<Arc<ColdPin>>,
    seams: [u64; WORKERS],
    /// The places of all unique trades so far, with their epochs.
    trades: Vec<(u64, Coordinates)>,
    rows: Vec<Trade>,
    /// The places of the trades of each snapshot.
    known: BTreeMap<Option<i64>, Vec<Coordinates>>,
    pub commits: usize,
}

impl Racing {
    pub fn new(seed: u64) -> Self {
        let mut job = Job::new();
        job.random = seed;
        Self {
            job,
            pending: Default::default(),
            unsealed: Vec::new(),
            sealed: None,
            seams: [0; WORKERS],
            trades: Vec::new(),
            rows: Vec::new(),
            known: BTreeMap::new(),
            commits: 0,
        }
    }

    /// One step of one part.
    pub fn step(&mut self) {
        let worker = self.job.random(WORKERS as u64) as usize;
        match self.job.random(64) {
            0..18 => self.close(),
            18..46 => self.publish(worker),
            46 => self.seal(),
            47..54 => self.move_seam(),
            _ => self.trim(worker),
        }
    }

    pub fn steps(&mut self, most: u64) {
        for _ in 0..self.job.random(most + 1) {
            self.step();
        }
    }

    fn close(&mut self) {
        if self.pending.iter().any(|pending| pending.len() >= BEHIND_MAX) {
            return;
        }
        let mut epoch = Epoch::default();
        for _ in 0..self.job.random(8) {
            self.job.record(&mut epoch);
        }
        let closed = self.job.epoch;
        self.trades.extend(epoch.trades.iter().map(|trade| (closed, trade.at)));
        self.rows.extend(epoch.trades.iter().cloned());
        let (time, epoch) = (self.job.epoch, Arc::new(epoch));
        self.job.epoch += 1;
        self.job.note_offsets(&epoch);
        for pending in &mut self.pending {
            pending.push_back((time, Arc::clone(&epoch)));
        }
        self.unsealed.push((time, epoch));
    }

    fn publish(&mut self, worker: usize) {
        let Some((time, epoch)) = self.pending[worker].pop_front() else { return };
        let version = &mut self.job.versions[worker];
        version.from = time + 1;
        absorb(version, &epoch, time, |it| it.route() as usize % WORKERS == worker, worker == 0);
        for (origin, next) in epoch.offsets.iter().filter(|_| worker == 0) {
            let known = version.offsets.get(origin).copied().unwrap_or_default();
            version.offsets.insert(*origin, known.max(*next));
        }
        let added = version.tail.trades.last().filter(|chunk| chunk.epoch == time).cloned();
        self.publish_trimmed(worker, added);
    }

    /// Commits all closed epochs, also those that some worker has yet to publish.
    fn seal(&mut self) {
        if self.sealed.is_some() || self.unsealed.is_empty() {
            return;
        }
        let (lower, upper) = (self.job.committed, self.job.epoch);
        let batch = BatchId { lower, upper, worker: 0, part: 0 };
        let trades = self.unsealed.iter().flat_map(|(_, epoch)| &epoch.trades);
        let quotes = self.unsealed.iter().flat_map(|(_, epoch)| &epoch.quotes);
        let (trades, quotes) = ([MarketBatch::of(trades)], [MarketBatch::of(quotes)]);
        let mut files = BTreeMap::new();
        files.insert(Table::Trades, self.job.lake.write_trades(&batch, &trades).unwrap());
        files.insert(Table::Quotes, self.job.lake.write_quotes(&batch, &quotes).unwrap());
        files.retain(|_, files| !files.is_empty());
        let (offsets, state) = (self.job.offsets.clone(), Vec::new());
        let sealed = Sealed { lower, upper, offsets, state, files };
        self.sealed = Some(self.job.lake.commit(sealed).unwrap());
        self.job.committed = upper;
        self.unsealed.clear();
        self.commits += 1;
    }

    fn move_seam(&mut self) {
        if let Some(pin) = self.sealed.take() {
            self.job.live.set_cold(pin);
        }
    }

    /// As a worker does once it has heard of the seam.
    fn trim(&mut self, worker: usize) {
        self.seams[worker] = self.job.live.cold().frontier;
        self.publish_trimmed(worker, None);
    }

    fn publish_trimmed(&mut self, worker: usize, added: Option<TradeChunk>) {
        let (room, seam) = (self.job.random(60_000) as usize, self.seams[worker]);
        let version = &mut self.job.versions[worker];
        version.tail.trim(seam, room);
        let versions = vec![version.clone()];
        self.job.live.publish_with(worker, versions, added.as_slice(), version.from);
    }

    /// Lets the workers catch up, as a query waits for.
    pub fn settle(&mut self) {
        for worker in 0..WORKERS {
            while !self.pending[worker].is_empty() {
                self.publish(worker);
            }
        }
    }

    /// A pin, with up to `most` steps between its two sides.
    pub fn pin(&mut self, most: u64) -> LivePin {
        let live = Arc::clone(&self.job.live);
        live.pin_while(|| self.steps(most))
    }

    /// The places of all unique trades of some epochs, in the order in which they came.
    pub fn trades_of(&self, epochs: Range<u64>) -> Vec<Coordinates> {
        let within = self.trades.iter().filter(|(epoch, _)| epochs.contains(epoch));
        within.map(|(_, at)| *at).collect()
    }

    /// `SEAM-1` and `SEAM-2`: the pin shows each trade below its offsets once, and no other.
    pub fn check(&mut self, pin: &LivePin) {
        let mut found: Vec<Coordinates> = pin
            .rows(|tail| &tail.trades, Nanos(i64::MIN))
            .flat_map(|chunk| chunk.rows())
            .map(|it| it.at)
            .collect();
        let snapshot = pin.cold.tables[&Table::Trades].snapshot_id;
        found.extend(self.known.entry(snapshot).or_insert_with(|| places_of(&pin.cold)).iter());
        found.sort_unstable();
        let mut expected: Vec<Coordinates> =
            self.trades.iter().map(|(_, at)| *at).filter(|at| pin.offsets.covers(*at)).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "at {} over {}", pin.frontier, pin.cold.frontier);
        self.check_memory(pin);
        for bars in 0..pin.versions[0].views.bars.len() {
            let versions = pin.versions.iter();
            let counted: u64 = versions
                .flat_map(|version| version.views.bars[bars].iter())
                .map(|(_, bar)| bar.trade_count)
                .sum();
            assert_eq!(counted, expected.len() as u64, "views and rows are of one epoch");
        }
    }

    /// `SEAM-3`: no row is in memory twice, and none is missing that is newer than what has left.
    fn check_memory(&self, pin: &LivePin) {
        let rows = pin.recent::<Trade>(Nanos(i64::MIN)).flat_map(|chunk| chunk.rows());
        let held: BTreeMap<Coordinates, Trade> = rows.map(|row| (row.at, row)).collect();
        let count = pin.recent::<Trade>(Nanos(i64::MIN)).map(|chunk| chunk.len()).sum::<usize>();
        assert_eq!(held.len(), count, "a row is in memory once");
        for row in self.rows.iter().filter(|row| pin.offsets.covers(row.at)) {
            let missing = !held.contains_key(&row.at);
            let told = !pin.holds::<Trade>(Some(&[row.instrument]), row.ts_event);
            assert!(!missing || told, "{row:?} has left memory untold");
        }
        assert!(held.keys().all(|at| pin.offsets.covers(*at)), "nothing is from the future");
    }
}

fn places_of(pin: &ColdPin) -> Vec<Coordinates> {
    let batches = pin.read_trades(Nanos(i64::MIN), &["source", "partition", "offset"], 1).unwrap();
    let batches = batches.map(Result::unwrap).flat_map(|batch| {
        let source = batch.column(0).as_string::<i32>();
        let partition = batch.column(1).as_primitive::<Int32Type>();
        let offset = batch.column(2).as_primitive::<Int64Type>();
        let place = |row| Coordinates {
            origin: Origin::new(source.value(row), partition.value(row)),
            offset: offset.value(row) as u64,
        };
        (0..batch.num_rows()).map(place).collect::<Vec<_>>()
    });
    batches.collect()
}

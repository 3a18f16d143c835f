//! The live side: what each worker publishes at closed epochs, and pins of one consistent epoch.
//!
//! A worker publishes an immutable [`Version`] for each closed epoch that changed something.
//! A pin takes the greatest epoch that all workers have closed, and of each worker the version
//! that stood there: reads never stop the dataflow, and never see half an epoch.

mod bars;
mod follower;
mod gaps;
mod rows;
mod streams;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use imbl::OrdMap;
use k2_model::{
    GapChange, Instrument, Nanos, Offsets, Origin, Quote, Reject, Time, Timeframe, Trade,
};
use k2_operators::market_batch::MarketRecord;
use k2_operators::{Batch, Kept, MarketBatch};
use k2_sinks::ColdPin;

pub use bars::BarMap;
use follower::Queue;
pub use follower::{EpochMinutes, EpochTrades, Follower, Group, Taken, TradeChunk};
pub use gaps::{OpenGaps, StreamGaps};
pub use rows::{Chunk, Left, Rows};
pub use streams::Streams;

/// How long a pin waits for workers that have not yet come as far as the seam: they are starting.
const PIN_RETRY: Duration = Duration::from_millis(1);

/// What all workers of a job publish, and the tables' latest pin.
pub struct Live {
    workers: Vec<Mutex<Published>>,
    cold: RwLock<Arc<ColdPin>>,
}

/// One worker's versions, oldest first; never empty.
struct Published {
    /// All epochs below it are closed on this worker.
    frontier: Time,
    versions: VecDeque<Arc<Version>>,
    /// Versions that no pin can take any more, and that some still had when they were last looked
    /// at. To drop one takes a while, which is for the worker to spend and not for who asks.
    retired: Vec<Arc<Version>>,
    followers: Vec<Arc<Queue>>,
}

/// The rows and views of one worker, from one epoch on.
#[derive(Clone, Debug, Default)]
pub struct Version {
    /// The frontier from which this stands, until that of the next version.
    pub from: Time,
    pub tail: Tail,
    pub views: Views,
    /// O(from), known to worker 0 alone.
    pub offsets: OrdMap<Origin, u64>,
}

/// Rows in memory, by table: all that are not yet in a published snapshot, and the newest trades
/// and quotes of those that are.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    pub trades: Rows<MarketBatch<Trade>>,
    pub quotes: Rows<MarketBatch<Quote>>,
    pub rejects: Rows<Batch<Reject>>,
    pub gaps: Rows<Batch<GapChange>>,
}

/// What of the rows stays in memory.
#[derive(Clone, Copy, Debug)]
pub struct TailConfig {
    /// Heap bytes on this worker above which committed rows go.
    pub bytes_max: usize,
    /// The newest event time in each table before the job began.
    pub trades_before: Nanos,
    pub quotes_before: Nanos,
}

/// Records of which the newest stay in memory when they are committed.
pub trait Recent: MarketRecord {
    fn rows(tail: &Tail) -> &Rows<MarketBatch<Self>>;
}

impl Recent for Trade {
    fn rows(tail: &Tail) -> &Rows<MarketBatch<Self>> {
        &tail.trades
    }
}

impl Recent for Quote {
    fn rows(tail: &Tail) -> &Rows<MarketBatch<Self>> {
        &tail.quotes
    }
}

impl Tail {
    /// No rows yet.
    pub fn new(config: &TailConfig) -> Self {
        Self {
            trades: Rows::beside(config.trades_before),
            quotes: Rows::beside(config.quotes_before),
            ..Self::default()
        }
    }

    /// Lets go of what is in a published snapshot: of epochs below `seam`. Trades and quotes only
    /// go, the oldest first, while all rows together take more than `bytes_max`.
    pub fn trim(&mut self, seam: Time, bytes_max: usize) {
        self.rejects.trim(seam);
        self.gaps.trim(seam);
        while self.bytes() > bytes_max {
            match (self.trades.oldest_below(seam), self.quotes.oldest_below(seam)) {
                (Some(trades), Some(quotes)) if quotes < trades => self.quotes.let_go(),
                (Some(_), _) => self.trades.let_go(),
                (None, Some(_)) => self.quotes.let_go(),
                (None, None) => break,
            }
        }
        self.trades.merge(seam);
        self.quotes.merge(seam);
    }

    /// Heap bytes of all rows.
    pub fn bytes(&self) -> usize {
        self.trades.bytes() + self.quotes.bytes() + self.rejects.bytes() + self.gaps.bytes()
    }
}

/// The maintained views of one worker's streams.
#[derive(Clone, Debug, Default)]
pub struct Views {
    /// Bars whose window starts at or after `bars_from`, by timeframe.
    pub bars: [BarMap; Timeframe::ALL.len()],
    /// Older windows are not in memory; they are computed from the tables. A UTC midnight, or
    /// `i64::MIN` if nothing has left memory.
    pub bars_from: Option<Nanos>,
    pub latest_trade: OrdMap<Instrument, Trade>,
    pub latest_quote: OrdMap<Instrument, Quote>,
    pub streams: Streams,
    pub gaps_open: OpenGaps,
}

impl Views {
    /// The bars in memory of one timeframe.
    pub fn bars_of(&self, timeframe: Timeframe) -> &BarMap {
        let at = Timeframe::ALL.iter().position(|known| *known == timeframe);
        &self.bars[at.expect("every timeframe has its view")]
    }
}

impl Version {
    /// Whether no row of `instruments` that is at or after `from` has left the worker's memory.
    /// `None`: of all.
    pub fn holds<R: Recent>(&self, instruments: Option<&[Instrument]>, from: Nanos) -> bool {
        let left = R::rows(&self.tail).left();
        match instruments {
            // What was stored before may be of instruments that no stream is known of.
            Some(some) => {
                left.before() < from && some.iter().all(|one| left.newest_of(*one) < from)
            }
            None => left.newest() < from,
        }
    }
}

/// Of which instrument and window a bar is.
pub type BarKey = (Instrument, Nanos);

/// One consistent closed epoch of the whole job, and a snapshot that joins it without a seam.
#[derive(Clone, Debug)]
pub struct LivePin {
    /// F_q: exactly the rows of epochs below it are seen.
    pub frontier: Time,
    /// O(F_q): of each origin the next offset.
    pub offsets: Offsets,
    /// One version per worker.
    pub versions: Vec<Arc<Version>>,
    /// The tables at F_c ≤ F_q. Live rows of epochs in `[F_c, F_q)` are the rest of the answer.
    pub cold: Arc<ColdPin>,
}

impl Live {
    /// Nothing is closed yet: a pin waits until each worker has published as far as the seam.
    pub fn new(workers: usize, cold: Arc<ColdPin>) -> Self {
        let published = || {
            let versions = VecDeque::from([Arc::<Version>::default()]);
            let (retired, followers) = (Vec::new(), Vec::new());
            Mutex::new(Published { frontier: 0, versions, retired, followers })
        };
        Self { workers: (0..workers).map(|_| published()).collect(), cold: RwLock::new(cold) }
    }

    /// Publishes `versions` of `worker`, in order, and that everything below `frontier` is closed
    /// there. Versions that no pin can take any more are dropped.
    pub fn publish(&self, worker: usize, versions: Vec<Version>, frontier: Time) {
        self.publish_with(worker, versions, &[], frontier);
    }

    /// As [`Live::publish`], with the trades that the closed epochs have `added`, whether they are
    /// in `versions` or have been committed and trimmed already: for those who follow.
    pub fn publish_with(
        &self,
        worker: usize,
        versions: Vec<Version>,
        added: &[TradeChunk],
        frontier: Time,
    ) {
        let mut published = lock(&self.workers[worker]);
        published.followers.iter().for_each(|queue| queue.put(worker, added));
        published.versions.extend(versions.into_iter().map(Arc::new));
        published.frontier = frontier;
        drop(published);
        let least = self.frontier();
        let mut published = lock(&self.workers[worker]);
        while published.versions.get(1).is_some_and(|next| next.from <= least) {
            let oldest = published.versions.pop_front();
            published.retired.extend(oldest);
        }
        let unheld = published.retired.extract_if(.., |version| Arc::strong_count(version) == 1);
        let unheld: Vec<Arc<Version>> = unheld.collect();
        // Readers are not to wait meanwhile.
        drop(published);
        drop(unheld);
    }

    /// The epoch below which all workers have closed.
    pub fn frontier(&self) -> Time {
        let frontiers = self.workers.iter().map(|worker| lock(worker).frontier);
        frontiers.min().expect("a job has a worker")
    }

    /// Moves the seam: rows below the pin's frontier are read from its snapshot from now on.
    /// Called after the commit and before any of those rows is dropped.
    pub fn set_cold(&self, pin: Arc<ColdPin>) {
        *self.cold.write().unwrap_or_else(|poison| poison.into_inner()) = pin;
    }

    pub fn cold(&self) -> Arc<ColdPin> {
        Arc::clone(&self.cold.read().unwrap_or_else(|poison| poison.into_inner()))
    }

    /// Pins the live side, then the cold side: the other order would lose the rows that a commit
    /// in between moves (SEAM-1). If the seam has passed the live pin meanwhile, both are pinned
    /// again, so that views and rows are of one epoch.
    pub fn pin(&self) -> LivePin {
        self.pin_while(|| ())
    }

    /// As [`Live::pin`], with `between` called between the two sides, where commits and trims may
    /// race it: a test lets them.
    pub fn pin_while(&self, mut between: impl FnMut()) -> LivePin {
        loop {
            let (frontier, versions) = self.pin_live();
            between();
            let cold = self.cold();
            if cold.frontier <= frontier {
                let offsets = versions[0].offsets.iter().map(|(origin, next)| (*origin, *next));
                let offsets = offsets.collect::<Offsets>().furthest(&cold.position.offsets);
                return LivePin { frontier, offsets, versions, cold };
            }
            std::thread::sleep(PIN_RETRY);
        }
    }

    fn pin_live(&self) -> (Time, Vec<Arc<Version>>) {
        // Frontiers only rise, so a version that stood at the least of them when it was read
        // still stands there, or has a successor that does.
        let locked: Vec<MutexGuard<'_, Published>> = self.workers.iter().map(lock).collect();
        let frontier = locked.iter().map(|worker| worker.frontier).min();
        let frontier = frontier.expect("a job has a worker");
        let stands = |worker: &MutexGuard<'_, Published>| {
            let stood = worker.versions.iter().rev().find(|version| version.from <= frontier);
            Arc::clone(stood.expect("versions are kept back to the least frontier"))
        };
        (frontier, locked.iter().map(stands).collect())
    }
}

fn lock(worker: &Mutex<Published>) -> MutexGuard<'_, Published> {
    worker.lock().unwrap_or_else(|poison| poison.into_inner())
}

impl LivePin {
    /// The rows of one table at the seam: live rows of epochs in `[F_c, F_q)`, without chunks that
    /// have none at or after `from`.
    pub fn rows<'a, B: 'a>(
        &'a self,
        pick: impl Fn(&'a Tail) -> &'a Rows<B> + 'a,
        from: Nanos,
    ) -> impl Iterator<Item = &'a Arc<Chunk<B>>> {
        let epochs = self.epochs();
        let tails = self.versions.iter().map(move |version| pick(&version.tail));
        tails.flat_map(move |rows| rows.of_epochs(epochs.clone(), from))
    }

    /// How many chunks of one table are live at the seam, and how many rows.
    pub fn counted<'a, B: Kept + 'a>(
        &'a self,
        pick: impl Fn(&'a Tail) -> &'a Rows<B>,
    ) -> (usize, usize) {
        let tails = self.versions.iter().map(|version| pick(&version.tail));
        let counted = tails.map(|rows| rows.counted(self.epochs()));
        counted.fold((0, 0), |(chunks, rows), (more, rows_more)| (chunks + more, rows + rows_more))
    }

    /// The epochs of live rows that are not in the pinned snapshot.
    fn epochs(&self) -> Range<Time> {
        self.cold.frontier..self.frontier
    }

    /// All rows in memory that may be at or after `from`, on either side of the seam. With what
    /// [`LivePin::holds`] says of the instruments that are asked for, nothing else is needed.
    pub fn recent<'a, R: Recent + 'a>(
        &'a self,
        from: Nanos,
    ) -> impl Iterator<Item = &'a Arc<Chunk<MarketBatch<R>>>> {
        let epochs = Time::MIN..self.frontier;
        let tails = self.versions.iter().map(|version| R::rows(&version.tail));
        tails.flat_map(move |rows| rows.of_epochs(epochs.clone(), from))
    }

    /// Whether memory has every row of `instruments` that is at or after `from`. `None`: of all.
    pub fn holds<R: Recent>(&self, instruments: Option<&[Instrument]>, from: Nanos) -> bool {
        self.versions.iter().all(|version| version.holds::<R>(instruments, from))
    }
}

/// The window start from which the workers hold all bars in memory; `None`: they hold all there are.
pub fn bars_from(versions: &[Arc<Version>]) -> Option<Nanos> {
    versions.iter().filter_map(|version| version.views.bars_from).max()
}

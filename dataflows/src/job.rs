//! A job: the graph on its workers, the source before it, the sink behind it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use k2_model::time::NANOS_PER_SECOND;
use k2_model::{Depth, Gap, InstrumentTable, Nanos, Offsets, Quote, Time, Trade};
use k2_operators::ingest::{
    Clock, Ended, IngestConfig, IngestStart, Inputs, RejectWatch, Source, SourceEnd, Stop, spawn,
};
use k2_operators::kit::budget::Budget;
use k2_operators::kit::latest::Latest;
use k2_operators::kit::metrics::Metrics;
use k2_operators::kit::turns::Turns;
use k2_operators::sequence::{SequenceConfig, StreamState, WindowLimits};
use k2_operators::state::StateError;
use k2_operators::{Numbered, SavedState, SourceMark};
use k2_sinks::flow::Failure;
use k2_sinks::flow::{CommitterThread, MintConfig, spawn_committer};
use k2_sinks::{ColdPin, Lake, PlannedFile, Table};
use timely::worker::Worker;

use crate::config::JobConfig;
use crate::live::{Live, TailConfig};
use crate::market::{MarketConfig, Shared, market};
use crate::seed::{BarSeeds, seed_bars};
use crate::views::bars::BarsConfig;

/// How long a worker sleeps at most before it looks whether the job has failed.
const PARK: Duration = Duration::from_millis(100);

/// What a job runs on.
pub struct JobOptions {
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Recorded time against the clock; `None` reads as fast as possible.
    pub speed: Option<f64>,
    /// End when all has been read that is there at the start, rather than wait for more.
    pub exit_at_end: bool,
    pub inputs: Inputs,
    pub instruments: InstrumentTable,
    pub clock: Arc<dyn Clock>,
    pub config: JobConfig,
}

/// Why a job could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Source(#[from] k2_operators::Error),
    #[error(transparent)]
    Sink(#[from] k2_sinks::Error),
    #[error("could not resume the job: {0}")]
    State(#[from] StateError),
    #[error("could not start the workers: {0}")]
    Workers(String),
    #[error(
        "a worker of the dataflow failed: {0}; what was committed is safe, start the job again"
    )]
    Worker(String),
}

/// A running job.
pub struct Job {
    live: Arc<Live>,
    lake: Arc<Lake>,
    metrics: Arc<Metrics>,
    failure: Arc<Failure>,
    budget: Arc<Budget>,
    rejects: RejectWatch,
    stop: Stop,
    reader: JoinHandle<Result<Vec<Ended>, k2_operators::Error>>,
    workers: JoinHandle<Result<(), Error>>,
    committer: JoinHandle<()>,
}

impl Job {
    /// Claims the lake, goes on where the last commit of it stands, and starts to read.
    pub fn start(lake: Arc<Lake>, options: JobOptions) -> Result<Self, Error> {
        lake.claim()?;
        let position = lake.position();
        let saved = position.state.as_deref().map(SavedState::decode).transpose()?;
        let saved = saved.unwrap_or_default();
        let start = IngestStart {
            epoch: lake.next_epoch(),
            offsets: position.offsets.clone(),
            stages: vec![lake.table_offsets(Table::Gaps), lake.furthest_offsets()],
            marks: saved.marks.clone(),
        };
        let keys = &options.config;
        let bars = seed_bars(&lake, &options.instruments, keys.views.horizon_hours)?;
        let resumed = Resumed::of(&saved, &options.instruments, options.workers)?;
        let budget = Arc::new(Budget::new(keys.commit.in_flight_bytes));
        let (metrics, failure) = (Arc::<Metrics>::default(), Arc::<Failure>::default());
        let live = Arc::new(Live::new(options.workers, lake.pin()));
        let stop = Stop::default();
        let rejects = reject_watch(&options);
        let committed = Arc::<Latest<Offsets>>::default();
        let ingest = ingest_config(&options, &budget, &committed, &metrics);
        let (clock, inputs) = (Arc::clone(&options.clock), options.inputs);
        let Source { workers: ends, thread: reader } =
            spawn(inputs, &start, options.workers, ingest, clock, stop.clone())?;
        let (committer_end, committer) = spawn_committer(
            Arc::clone(&lake),
            Arc::clone(&failure),
            on_commit(Arc::clone(&live), Arc::clone(&budget), committed, Arc::clone(&metrics)),
        );
        let shared = Shared {
            instruments: Arc::new(options.instruments),
            lake: Arc::clone(&lake),
            live: Arc::clone(&live),
            metrics: Arc::clone(&metrics),
            failure: Arc::clone(&failure),
        };
        let plan =
            Plan { start, resumed, bars, config: options.config, shared, workers: options.workers };
        let closing = Closing { budget: Arc::clone(&budget), stop: stop.clone() };
        let workers = spawn_workers(plan, ends, committer_end, closing)?;
        Ok(Self { live, lake, metrics, failure, budget, rejects, stop, reader, workers, committer })
    }

    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    pub fn lake(&self) -> Arc<Lake> {
        Arc::clone(&self.lake)
    }

    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Asks the job to drain: what has been read is committed, then it ends.
    pub fn stop(&self) {
        self.stop.ask();
    }

    pub fn is_finished(&self) -> bool {
        self.workers.is_finished()
    }

    /// Where it is seen that the sink has given up, and why.
    pub fn failure(&self) -> Arc<Failure> {
        Arc::clone(&self.failure)
    }

    /// Waits for the end, and says how each input stood there.
    pub fn wait(mut self) -> Result<Vec<Ended>, Error> {
        let workers = self.workers.join().unwrap_or_else(|panic| Err(panicked(&*panic)));
        self.budget.close();
        let committed = self.committer.join().map_err(|panic| panicked(&*panic));
        let ended = self.reader.join().map_err(|panic| panicked(&*panic));
        // A thread that wrote files may be a moment behind with letting go of the lake.
        self.lake.release();
        if let Some(error) = self.failure.take() {
            return Err(error.into());
        }
        workers?;
        committed?;
        let ended = ended??;
        // A short input may be through before the source sees what became of it.
        self.rejects.check(&self.metrics)?;
        Ok(ended)
    }
}

fn ingest_config(
    options: &JobOptions,
    budget: &Arc<Budget>,
    committed: &Arc<Latest<Offsets>>,
    metrics: &Arc<Metrics>,
) -> IngestConfig {
    let keys = &options.config.ingest;
    IngestConfig {
        block_bytes: keys.block_bytes,
        epoch_blocks: keys.epoch_blocks * options.workers,
        epoch_time: Duration::from_millis(keys.epoch_ms),
        speed: options.speed,
        exit_at_end: options.exit_at_end,
        rejects: reject_watch(options),
        budget: Arc::clone(budget),
        committed: Arc::clone(committed),
        metrics: Arc::clone(metrics),
    }
}

fn reject_watch(options: &JobOptions) -> RejectWatch {
    let keys = &options.config.ingest;
    RejectWatch::new(keys.reject_share_max, keys.reject_window)
}

/// Publishes a pin before any row below it may be dropped (SEAM-2), then lets the source go on.
fn on_commit(
    live: Arc<Live>,
    budget: Arc<Budget>,
    committed: Arc<Latest<Offsets>>,
    metrics: Arc<Metrics>,
) -> impl Fn(&Arc<ColdPin>) + Send + 'static {
    let start = totals(&live.cold());
    move |pin| {
        let before = live.cold();
        live.set_cold(Arc::clone(pin));
        committed.put(pin.position.offsets.clone());
        budget.release_below(pin.frontier);
        let (rows, bytes) = totals(pin);
        metrics.commit_rows.set(rows - start.0);
        metrics.commit_bytes.set(bytes - start.1);
        metrics.commit_snapshots.add(changed_tables(&before, pin));
        metrics.commit_epoch.set(pin.frontier);
        metrics.budget_bytes.set(budget.bytes());
    }
}

fn totals(pin: &ColdPin) -> (u64, u64) {
    let tables = pin.tables.values();
    tables.fold((0, 0), |(rows, bytes), table| (rows + table.rows, bytes + table.bytes))
}

fn changed_tables(before: &ColdPin, after: &ColdPin) -> u64 {
    let snapshot =
        |pin: &ColdPin, table: Table| pin.tables.get(&table).and_then(|pinned| pinned.snapshot_id);
    let tables = after.tables.keys();
    tables.filter(|&&table| snapshot(before, table) != snapshot(after, table)).count() as u64
}

/// Everything that the workers' graphs are built from.
struct Plan {
    start: IngestStart,
    resumed: Resumed,
    bars: BarSeeds,
    config: JobConfig,
    shared: Shared,
    workers: usize,
}

/// What ends the source if a worker fails.
struct Closing {
    budget: Arc<Budget>,
    stop: Stop,
}

impl Closing {
    fn close(&self) {
        self.stop.ask();
        self.budget.close();
    }
}

/// The configuration of each worker.
fn configs(
    plan: Plan,
    ends: Vec<SourceEnd>,
    committer: CommitterThread,
) -> BTreeMap<usize, MarketConfig> {
    let Plan { start, mut resumed, bars, config, shared, workers } = plan;
    let window = WindowLimits {
        age_ns: i64::try_from(config.sequence.id_window_hours)
            .unwrap_or(i64::MAX / 3_600)
            .saturating_mul(3_600 * NANOS_PER_SECOND),
        bytes_max: config.sequence.id_window_bytes,
    };
    let tail = tail_config(&config, &shared.lake.pin(), workers);
    let mut committer = Some(committer);
    let mut all = BTreeMap::new();
    for (worker, source) in ends.into_iter().enumerate() {
        let lake = &shared.lake;
        all.insert(
            worker,
            MarketConfig {
                source,
                start: start.clone(),
                lost: if worker == 0 { lost_gaps(&start) } else { Vec::new() },
                mint: MintConfig {
                    bytes: config.commit.batch_bytes,
                    age_ns: i64::try_from(config.commit.interval_s)
                        .unwrap_or(i64::MAX)
                        .saturating_mul(NANOS_PER_SECOND),
                },
                trades: sequence_config(
                    &mut resumed.trades[worker],
                    Table::Trades,
                    window,
                    &shared,
                ),
                quotes: sequence_config(
                    &mut resumed.quotes[worker],
                    Table::Quotes,
                    window,
                    &shared,
                ),
                depths: sequence_config(
                    &mut resumed.depths[worker],
                    Table::Trades,
                    window,
                    &shared,
                ),
                bars: BarsConfig {
                    resumed: bars.of_worker(worker, workers),
                    from: bars.from,
                    horizon_ns: crate::seed::horizon_ns(config.views.horizon_hours),
                },
                tail,
                stored_rejects: lake.table_offsets(Table::Rejects),
                stored_gaps: lake.table_offsets(Table::Gaps),
                committer: committer.take(),
                shared: shared.clone(),
            },
        );
    }
    all
}

/// One worker's part of what stays in memory.
fn tail_config(config: &JobConfig, pin: &ColdPin, workers: usize) -> TailConfig {
    TailConfig {
        bytes_max: config.tail.bytes / workers,
        trades_before: newest_stored(pin, Table::Trades),
        quotes_before: newest_stored(pin, Table::Quotes),
    }
}

/// The newest event time in `table`: the least there is if it is empty, the greatest if a file
/// does not say.
fn newest_stored(pin: &ColdPin, table: Table) -> Nanos {
    let files = pin.tables.get(&table).map_or(&[][..], |pinned| &pinned.files);
    let newest = |file: &Arc<PlannedFile>| file.ts_event.map_or(i64::MAX, |times| times.upper);
    Nanos(files.iter().map(newest).max().unwrap_or(i64::MIN))
}

/// What the source has found missing so far, by itself.
fn lost_gaps(start: &IngestStart) -> Vec<Gap> {
    let marks = start.marks.values().filter_map(SourceMark::as_partition);
    marks.flat_map(|mark| &mark.lost).cloned().collect()
}

fn sequence_config<R: Numbered>(
    resumed: &mut Vec<StreamState<R>>,
    table: Table,
    window: WindowLimits,
    shared: &Shared,
) -> SequenceConfig<R> {
    SequenceConfig {
        resumed: std::mem::take(resumed),
        stored: shared.lake.table_offsets(table),
        window,
        metrics: Arc::clone(&shared.metrics),
    }
}

/// The saved streams, by the worker that owns them now.
struct Resumed {
    trades: Vec<Vec<StreamState<Trade>>>,
    quotes: Vec<Vec<StreamState<Quote>>>,
    depths: Vec<Vec<StreamState<Depth>>>,
}

impl Resumed {
    fn of(
        saved: &SavedState,
        instruments: &InstrumentTable,
        workers: usize,
    ) -> Result<Self, StateError> {
        Ok(Self {
            trades: by_worker(saved, instruments, workers)?,
            quotes: by_worker(saved, instruments, workers)?,
            depths: by_worker(saved, instruments, workers)?,
        })
    }
}

fn by_worker<R: Numbered>(
    saved: &SavedState,
    instruments: &InstrumentTable,
    workers: usize,
) -> Result<Vec<Vec<StreamState<R>>>, StateError> {
    let mut all: Vec<Vec<StreamState<R>>> = (0..workers).map(|_| Vec::new()).collect();
    for state in saved.streams::<R>(instruments)? {
        let worker = state.stream.instrument.route() % workers as u64;
        all[worker as usize].push(state);
    }
    Ok(all)
}

/// Starts the workers, and a thread that waits for them.
fn spawn_workers(
    plan: Plan,
    ends: Vec<SourceEnd>,
    committer: CommitterThread,
    closing: Closing,
) -> Result<JoinHandle<Result<(), Error>>, Error> {
    let workers = plan.workers;
    let failure = Arc::clone(&plan.shared.failure);
    let configs = Arc::new(Mutex::new(configs(plan, ends, committer)));
    let closing = Arc::new(closing);
    let failed = Arc::new(AtomicBool::new(false));
    let run = move || {
        let timely_config = timely::Config::process(workers);
        let guards = timely::execute(timely_config, move |worker| {
            let mut configs = configs.lock().unwrap_or_else(|poison| poison.into_inner());
            let config = configs.remove(&worker.index()).expect("each worker has one");
            drop(configs);
            let ran = catch_unwind(AssertUnwindSafe(|| {
                run_worker(worker, config, &failed, &failure);
            }));
            if ran.is_err() || failure.is_set() {
                failed.store(true, Ordering::SeqCst);
                closing.close();
                drop_dataflows(worker);
            }
            ran.map_err(|panic| panicked(&*panic))
        });
        let results = guards.map_err(Error::Workers)?.join();
        results.into_iter().try_for_each(|result| match result {
            Ok(ran) => ran,
            Err(why) => Err(Error::Workers(why)),
        })
    };
    let thread = std::thread::Builder::new().name("k2-workers".into()).spawn(run);
    thread.map_err(|error| Error::Workers(error.to_string()))
}

/// Runs one worker until its graph has ended or the job has failed.
fn run_worker(worker: &mut Worker, config: MarketConfig, failed: &AtomicBool, failure: &Failure) {
    worker.dataflow::<Time, _, _>(|scope| market(scope, config));
    let mut turns = Turns::begin();
    while worker.has_dataflows() {
        if failed.load(Ordering::Relaxed) || failure.is_set() {
            return;
        }
        worker.step_or_park(Some(PARK));
        turns.offer();
    }
}

/// Ends what a failed job has left standing: timely would go on to run it.
fn drop_dataflows(worker: &mut Worker) {
    for dataflow in worker.installed_dataflows() {
        worker.drop_dataflow(dataflow);
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Error::Worker(text.unwrap_or_else(|| "it panicked".into()))
}

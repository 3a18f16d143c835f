//! Rows → data files, one set per worker and batch.
//!
//! * **Input**: the rows of each table; batch boundaries.
//! * **Output**: the files of this worker's part of a batch, at the batch's last epoch.
//! * **Routing**: none: rows are written where they are.
//! * **Progress**: a batch is written once all frontiers have passed its last epoch. The right to
//!   answer is held until the files are durable, so the output frontier says what is written.
//! * **State**: the rows of open batches, shared with the tail; bounded by the source's budget.
//!   Sorting happens on a thread of the worker's own, encoding and fsync on the lake's.
//! * **Restart**: nothing to keep; files that no snapshot names are orphans.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use k2_model::{GapChange, Quote, Reject, Time, Trade};
use k2_operators::{Batch, Boundary, Kept, MarketBatch};
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::SyncActivator;

use crate::flow::failure::Failure;
use crate::lake::Lake;
use crate::rows::BatchId;
use crate::table::Table;
use crate::{DataFile, Error};

/// The rows of each table on this worker.
#[derive(Clone)]
pub struct TableStreams<'scope> {
    pub trades: StreamVec<'scope, Time, MarketBatch<Trade>>,
    pub quotes: StreamVec<'scope, Time, MarketBatch<Quote>>,
    pub rejects: StreamVec<'scope, Time, Batch<Reject>>,
    pub gaps: StreamVec<'scope, Time, Batch<GapChange>>,
}

/// What one worker wrote of a batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Written {
    pub upper: Time,
    #[serde(with = "within_a_process")]
    pub files: Files,
    pub rows: u64,
}

/// The data files of each table.
pub type Files = BTreeMap<Table, Vec<DataFile>>;

/// Files are handed from worker to worker by address; over a wire they would need their schema.
mod within_a_process {
    use super::Files;

    pub(super) fn serialize<S: serde::Serializer>(_: &Files, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("data files pass between threads of one process only"))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(_: D) -> Result<Files, D::Error> {
        Err(serde::de::Error::custom("data files pass between threads of one process only"))
    }
}

/// The rows of one batch, or of one epoch.
#[derive(Default)]
struct TableRows {
    trades: Vec<MarketBatch<Trade>>,
    quotes: Vec<MarketBatch<Quote>>,
    rejects: Vec<Batch<Reject>>,
    gaps: Vec<Batch<GapChange>>,
}

impl TableRows {
    fn append(&mut self, mut other: Self) {
        self.trades.append(&mut other.trades);
        self.quotes.append(&mut other.quotes);
        self.rejects.append(&mut other.rejects);
        self.gaps.append(&mut other.gaps);
    }
}

/// Writes each batch as it ends.
pub fn write<'scope>(
    rows: TableStreams<'scope>,
    boundaries: StreamVec<'scope, Time, Boundary>,
    lake: Arc<Lake>,
    failure: Arc<Failure>,
) -> StreamVec<'scope, Time, Written> {
    let scope = boundaries.scope();
    let mut builder = OperatorBuilder::new("Write".into(), scope);
    let mut trades = builder.new_input(rows.trades, Pipeline);
    let mut quotes = builder.new_input(rows.quotes, Pipeline);
    let mut rejects = builder.new_input(rows.rejects, Pipeline);
    let mut gaps = builder.new_input(rows.gaps, Pipeline);
    let mut boundaries = builder.new_input(boundaries, Pipeline);
    let (output, written) = builder.new_output();
    let address = builder.operator_info().address;
    let waker = scope.worker().sync_activator_for(address.to_vec());
    let worker = u32::try_from(scope.index()).expect("workers are few");
    let (jobs, done) = spawn_writer(lake, worker, waker, failure);
    builder.build_reschedule(move |capabilities| {
        drop(capabilities);
        let mut output: OutputBuilder<_, CapacityContainerBuilder<Vec<Written>>> =
            OutputBuilder::from(output);
        // The rows of epochs that no ended batch has taken yet.
        let mut epochs: BTreeMap<Time, TableRows> = BTreeMap::new();
        // Batches that have ended, by last epoch, until their rows are complete.
        let mut ended: BTreeMap<Time, (Capability<Time>, Boundary)> = BTreeMap::new();
        // Batches at the writer's thread.
        let mut writing: BTreeMap<Time, Capability<Time>> = BTreeMap::new();
        move |frontiers| {
            // STEP 1. Stash rows by epoch, and the right to answer for each batch that ends.
            trades.for_each(|time, data| {
                epochs.entry(*time.time()).or_default().trades.append(data);
            });
            quotes.for_each(|time, data| {
                epochs.entry(*time.time()).or_default().quotes.append(data);
            });
            rejects.for_each(|time, data| {
                epochs.entry(*time.time()).or_default().rejects.append(data);
            });
            gaps.for_each(|time, data| {
                epochs.entry(*time.time()).or_default().gaps.append(data);
            });
            boundaries.for_each(|time, data| {
                for boundary in data.drain(..) {
                    ended.insert(boundary.upper - 1, (time.retain(0), boundary));
                }
            });
            // STEP 2. Hand complete batches to the thread.
            while let Some((&last, _)) = ended.first_key_value()
                && !is_open(frontiers, last)
            {
                let (capability, boundary) = ended.remove(&last).expect("it was just seen");
                let rows = take_through(&mut epochs, last);
                writing.insert(last, capability);
                // The thread ends only with the job, and then nobody waits for the answer.
                let _gone = jobs.send((boundary, rows));
            }
            // STEP 3. Answer for what has been written.
            for written in done.try_iter() {
                let capability =
                    writing.remove(&(written.upper - 1)).expect("it was being written");
                output.activate().session(&capability).give(written);
            }
            !writing.is_empty()
        }
    });
    written
}

fn is_open(frontiers: &[MutableAntichain<Time>], time: Time) -> bool {
    frontiers.iter().any(|frontier| frontier.less_equal(&time))
}

/// Takes out the rows of all epochs up to `last`.
fn take_through(epochs: &mut BTreeMap<Time, TableRows>, last: Time) -> TableRows {
    let later = epochs.split_off(&(last + 1));
    let mut taken = TableRows::default();
    for (_, rows) in std::mem::replace(epochs, later) {
        taken.append(rows);
    }
    taken
}

/// The thread that sorts, encodes and stores this worker's rows.
fn spawn_writer(
    lake: Arc<Lake>,
    worker: u32,
    waker: SyncActivator,
    failure: Arc<Failure>,
) -> (Sender<(Boundary, TableRows)>, Receiver<Written>) {
    let (jobs, inbox) = unbounded::<(Boundary, TableRows)>();
    let (outbox, done) = unbounded();
    let run = move || {
        for (boundary, rows) in inbox {
            match write_batch(&lake, &boundary, worker, &rows) {
                Ok(written) => {
                    let _gone = outbox.send(written);
                }
                Err(error) => {
                    failure.set(error);
                    break;
                }
            }
            let _gone = waker.activate();
        }
    };
    let thread = std::thread::Builder::new().name(format!("k2-write-{worker}")).spawn(run);
    thread.expect("the system can start a thread");
    (jobs, done)
}

fn write_batch(
    lake: &Lake,
    boundary: &Boundary,
    worker: u32,
    rows: &TableRows,
) -> Result<Written, Error> {
    let id = BatchId { lower: boundary.lower, upper: boundary.upper, worker, part: 0 };
    let (trades, quotes) = (&rows.trades, &rows.quotes);
    let (rejects, gaps) = (refs(&rows.rejects), refs(&rows.gaps));
    let count = count_of(trades) + count_of(quotes) + rejects.len() + gaps.len();
    // The small files wait for the disk, so the large ones are encoded meanwhile.
    let (market, others) = lake.write_both(
        || Ok::<_, Error>([lake.write_trades(&id, trades)?, lake.write_quotes(&id, quotes)?]),
        || Ok::<_, Error>([lake.write_rejects(&id, rejects)?, lake.write_gaps(&id, gaps)?]),
    )?;
    let ([trades, quotes], [rejects, gaps]) = (market?, others?);
    let mut files = Files::from([
        (Table::Trades, trades),
        (Table::Quotes, quotes),
        (Table::Rejects, rejects),
        (Table::Gaps, gaps),
    ]);
    files.retain(|_, files| !files.is_empty());
    Ok(Written { upper: boundary.upper, files, rows: count as u64 })
}

fn count_of<B: Kept>(batches: &[B]) -> usize {
    batches.iter().map(Kept::len).sum()
}

fn refs<R>(batches: &[Batch<R>]) -> Vec<&R> {
    batches.iter().flat_map(|batch| batch.iter()).collect()
}

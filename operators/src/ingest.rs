//! The source: recorded lines from files, standard input or a generator.
//!
//! * **Input**: [`Input`]s, read by one thread ([`reader`]) that deals blocks of whole lines to
//!   the workers in turn, so that one file is decoded by all of them.
//! * **Output**: blocks on each worker; on worker 0 also a [`Binding`] per epoch.
//! * **Progress**: the thread mints epochs; each worker's capability follows as they close, with
//!   data or without.
//! * **State**: none here; channels hold at most [`reader::BLOCKS_AHEAD`] blocks a worker, and the
//!   bytes between here and the commit are bounded by the budget.
//! * **Restart**: offsets and marks, which come back with the last committed batch, say where each
//!   input goes on.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use k2_model::{Nanos, Offsets, Origin, Time};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::SyncActivator;

use crate::batch::SourceMark;
use crate::error::Error;
use crate::kit::budget::Budget;
use crate::kit::metrics::Metrics;

pub mod input;
pub mod lines;
pub mod reader;
pub mod watch;

pub use input::{Input, check_distinct};
pub use lines::Lines;
pub use reader::{Clock, Ended, Stop};
pub use watch::RejectWatch;

/// Messages handled in one activation, so that other operators get their turn.
const MESSAGES_PER_ACTIVATION: usize = 2;

/// Whole lines of one input.
#[derive(Clone, Debug)]
pub struct Block {
    pub origin: Origin,
    pub venue: &'static str,
    pub lines: Arc<Lines>,
}

/// What a closed epoch holds: O(epoch + 1) of the origins it touched, and its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub epoch: Time,
    pub offsets: Offsets,
    pub marks: BTreeMap<Origin, SourceMark>,
    pub records: u64,
    pub bytes: u64,
    /// The source's clock when the epoch was closed.
    pub minted: Nanos,
    /// A batch must end with this epoch: nothing comes after it, or the source waits for room
    /// that only a commit can make.
    pub ends_batch: bool,
}

/// From the reader to a worker.
pub(crate) enum Message {
    Block(Time, Block),
    Close(Binding),
    Finished,
}

/// Limits and surroundings of the source.
#[derive(Clone)]
pub struct IngestConfig {
    /// Bytes of a block of lines.
    pub block_bytes: usize,
    /// Blocks of an epoch at full speed.
    pub epoch_blocks: usize,
    /// Length of an epoch when paced.
    pub epoch_time: Duration,
    /// Recorded time against the clock; `None` reads as fast as possible.
    pub speed: Option<f64>,
    /// Stop when all inputs have ended, rather than wait for them to grow.
    pub exit_at_end: bool,
    /// When too many rejects stop the job.
    pub rejects: RejectWatch,
    pub budget: Arc<Budget>,
    pub metrics: Arc<Metrics>,
}

/// Where the source starts.
#[derive(Clone, Debug, Default)]
pub struct IngestStart {
    pub epoch: Time,
    pub offsets: Offsets,
    /// The gap log goes up to here, beyond `offsets`: a run died between two tables. An epoch ends
    /// here, so that what cancels out within an epoch is either all in the log or not at all.
    pub stored: Offsets,
    pub marks: BTreeMap<Origin, SourceMark>,
}

/// The reader's thread, and the channel of each worker.
pub struct Source {
    pub workers: Vec<SourceEnd>,
    pub thread: JoinHandle<Result<Vec<Ended>, Error>>,
}

/// A worker's end of the source.
pub struct SourceEnd {
    messages: Receiver<Message>,
    wakers: Arc<Wakers>,
}

/// How the reader wakes each worker's source operator.
#[derive(Default)]
pub(crate) struct Wakers(Vec<OnceLock<SyncActivator>>);

impl Wakers {
    fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| OnceLock::new()).collect())
    }

    fn wake(&self, worker: usize) {
        if let Some(activator) = self.0[worker].get() {
            // The worker is gone only when the job ends.
            let _gone = activator.activate();
        }
    }
}

/// Opens `inputs` where `start` says and begins to read.
///
/// # Errors
/// An input cannot be read, is not the file it was, or is named twice.
pub fn spawn(
    mut inputs: Vec<Input>,
    start: &IngestStart,
    workers: usize,
    config: IngestConfig,
    clock: Arc<dyn Clock>,
    stop: Stop,
) -> Result<Source, Error> {
    check_distinct(&inputs)?;
    let mut open = Vec::with_capacity(inputs.len());
    for mut input in inputs.drain(..) {
        let mark = start.marks.get(&input.origin).cloned();
        let next = start.offsets.next(input.origin);
        let lines = input.open(mark.map(|mark| (next, mark)))?;
        let disk_bytes = input.disk_bytes();
        let mut opened = reader::Open { input, lines, next: None, disk_bytes };
        opened.note_next()?;
        open.push(opened);
    }
    let wakers = Arc::new(Wakers::new(workers));
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..workers).map(|_| bounded(reader::BLOCKS_AHEAD)).unzip();
    let unstarted = Nanos(i64::MIN);
    let reader = reader::Reader {
        inputs: open,
        rejects: config.rejects,
        pace: config.speed.map(|speed| reader::Pace {
            speed,
            started: unstarted,
            recorded: unstarted,
        }),
        config,
        senders,
        wakers: Arc::clone(&wakers),
        stop,
        clock,
        epoch: start.epoch,
        stored: start.stored.clone(),
        next_worker: 0,
        pending: reader::Pending::default(),
    };
    let thread = std::thread::Builder::new().name("k2-read".into()).spawn(|| reader.run());
    let thread = thread.map_err(|error| Error::read("the reader's thread", error))?;
    let end = |messages| SourceEnd { messages, wakers: Arc::clone(&wakers) };
    Ok(Source { workers: receivers.into_iter().map(end).collect(), thread })
}

/// What the source gives to the dataflow of one worker.
pub struct Ingested<'scope> {
    pub blocks: StreamVec<'scope, Time, Block>,
    /// In order of epoch; on worker 0 only.
    pub bindings: StreamVec<'scope, Time, Binding>,
}

/// The source operator of this worker. `epoch` is the first one that the reader mints.
pub fn ingest<'scope>(scope: Scope<'scope, Time>, end: SourceEnd, epoch: Time) -> Ingested<'scope> {
    let mut builder = OperatorBuilder::new("Ingest".into(), scope);
    let (blocks_out, blocks) = builder.new_output();
    let (bindings_out, bindings) = builder.new_output();
    let (worker, address) = (scope.index(), builder.operator_info().address);
    let activator = scope.activator_for(Rc::clone(&address));
    let waker = scope.worker().sync_activator_for(address.to_vec());
    assert!(end.wakers.0[worker].set(waker).is_ok(), "a worker's source is built once");
    let mut blocks_out: OutputBuilder<_, timely::container::CapacityContainerBuilder<Vec<Block>>> =
        OutputBuilder::from(blocks_out);
    let mut bindings_out: OutputBuilder<
        _,
        timely::container::CapacityContainerBuilder<Vec<Binding>>,
    > = OutputBuilder::from(bindings_out);
    builder.build(move |mut capabilities| {
        // The right to speak at the open epoch, on both outputs; `None` once all has been read.
        let mut rights: Option<[Capability<Time>; 2]> = {
            let bindings = capabilities.pop().expect("two outputs have two capabilities");
            let blocks = capabilities.pop().expect("two outputs have two capabilities");
            Some([blocks.delayed(&epoch), bindings.delayed(&epoch)])
        };
        move |_frontiers| {
            let Some([block_right, binding_right]) = &mut rights else { return };
            for _ in 0..MESSAGES_PER_ACTIVATION {
                match end.messages.try_recv() {
                    Ok(Message::Block(time, block)) => {
                        let right = block_right.delayed(&time);
                        blocks_out.activate().session(&right).give(block);
                    }
                    Ok(Message::Close(binding)) => {
                        let next = binding.epoch + 1;
                        if worker == 0 {
                            let right = binding_right.delayed(&binding.epoch);
                            bindings_out.activate().session(&right).give(binding);
                        }
                        block_right.downgrade(&next);
                        binding_right.downgrade(&next);
                    }
                    Ok(Message::Finished) | Err(TryRecvError::Disconnected) => {
                        rights = None;
                        return;
                    }
                    Err(TryRecvError::Empty) => return,
                }
            }
            activator.activate();
        }
    });
    Ingested { blocks, bindings }
}

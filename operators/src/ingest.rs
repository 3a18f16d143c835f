//! The source: recorded lines, or the messages of Kafka topics.
//!
//! * **Input**: [`Inputs`], read by one thread that deals blocks to the workers in turn, so that
//!   one file or one busy partition is decoded by all of them: [`reader`] for what is recorded,
//!   [`kafka`] for topics.
//! * **Output**: blocks on each worker; on worker 0 also a [`Binding`] per epoch, and the gaps that
//!   the source knows of by itself.
//! * **Progress**: the thread mints epochs; each worker's capability follows as they close, with
//!   data or without.
//! * **State**: none here; channels hold at most `dealer::BLOCKS_AHEAD` blocks a worker, and the
//!   bytes between here and the commit are bounded by the budget.
//! * **Restart**: offsets and marks, which come back with the last committed batch, say where each
//!   input goes on.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use k2_model::{GapChange, Nanos, Offsets, Origin, Time};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::SyncActivator;

use crate::batch::{Batch, SourceMark};
use crate::error::Error;
use crate::kit::budget::Budget;
use crate::kit::latest::Latest;
use crate::kit::metrics::Metrics;

mod dealer;
pub mod input;
pub mod kafka;
pub mod lines;
pub mod messages;
mod piped;
pub mod reader;
pub mod watch;

use dealer::Dealer;
pub use input::{Input, check_distinct};
pub use kafka::KafkaInput;
pub use lines::Lines;
pub use messages::Messages;
pub use watch::RejectWatch;

/// Messages handled in one activation, so that other operators get their turn.
const MESSAGES_PER_ACTIVATION: usize = 2;

/// Where a job's messages come from.
pub enum Inputs {
    Recorded(Vec<Input>),
    Kafka(KafkaInput),
}

/// Some messages of one origin, in order of offset.
#[derive(Clone, Debug)]
pub struct Block {
    pub origin: Origin,
    /// Of raw messages; others say theirs.
    pub venue: &'static str,
    pub payload: Payload,
}

/// What a block holds.
#[derive(Clone, Debug)]
pub enum Payload {
    Lines(Arc<Lines>),
    Messages(Arc<Messages>),
}

impl Payload {
    pub fn records(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.count,
            Self::Messages(messages) => messages.len() as u64,
        }
    }

    pub fn bytes(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.bytes.len() as u64,
            Self::Messages(messages) => messages.bytes() as u64,
        }
    }

    pub fn first_offset(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.first_offset,
            Self::Messages(messages) => messages.first_offset(),
        }
    }
}

/// Real time, or a test's. An argument, so that everything after the source is free of clocks.
pub trait Clock: Send + Sync {
    fn now(&self) -> Nanos;
    fn sleep(&self, duration: Duration);
}

/// Asks the source to stop: what has been read is drained and committed.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn ask(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// How an input stood when the source stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub origin: Origin,
    /// Bytes of half a last line, which were not taken.
    pub left_over: usize,
    /// Decompressed byte at which that half line starts, or the data breaks off.
    pub at_byte: u64,
    /// What the decompressor said, if the data is damaged or cut.
    pub broken: Option<String>,
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

/// From the source's thread to a worker.
pub(crate) enum Message {
    Block(Time, Block),
    /// What the source itself knows to be missing. To worker 0.
    Gap(Time, GapChange),
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
    /// What was committed last, for a source that tells others.
    pub committed: Arc<Latest<Offsets>>,
    pub metrics: Arc<Metrics>,
}

/// Where the source starts.
#[derive(Clone, Debug, Default)]
pub struct IngestStart {
    pub epoch: Time,
    pub offsets: Offsets,
    /// How far tables go beyond `offsets`, because a run died between two of them; each stage is
    /// beyond the ones before. All inputs are read up to a stage, and an epoch ends there, before
    /// any input goes further:
    ///
    /// * What cancels out within an epoch is either all in the gap log or not at all, if the log
    ///   ends at a stage.
    /// * `SOURCE-3`: a record that is in a table stays the first of its number, though another with
    ///   that number is in another input, and this run reads them in another order.
    pub stages: Vec<Offsets>,
    pub marks: BTreeMap<Origin, SourceMark>,
}

/// The source's thread, and the channel of each worker.
pub struct Source {
    pub workers: Vec<SourceEnd>,
    pub thread: JoinHandle<Result<Vec<Ended>, Error>>,
}

/// A worker's end of the source.
pub struct SourceEnd {
    messages: Receiver<Message>,
    wakers: Arc<Wakers>,
}

/// How the thread wakes each worker's source operator.
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
/// A recorded input cannot be read, is not the file it was, or is named twice.
pub fn spawn(
    inputs: Inputs,
    start: &IngestStart,
    workers: usize,
    config: IngestConfig,
    clock: Arc<dyn Clock>,
    stop: Stop,
) -> Result<Source, Error> {
    let wakers = Arc::new(Wakers::new(workers));
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..workers).map(|_| bounded(dealer::BLOCKS_AHEAD)).unzip();
    let dealer = Dealer::new(config, clock, senders, Arc::clone(&wakers), start.epoch);
    let run: Box<dyn FnOnce() -> Result<Vec<Ended>, Error> + Send> = match inputs {
        Inputs::Recorded(inputs) => {
            check_distinct(&inputs)?;
            let reader = reader::Reader::open(inputs, start, dealer, stop)?;
            Box::new(|| reader.run())
        }
        Inputs::Kafka(input) => {
            let start = start.clone();
            Box::new(|| kafka::run(input, start, dealer, stop))
        }
    };
    let thread = std::thread::Builder::new().name("k2-read".into()).spawn(run);
    let thread = thread.map_err(|error| Error::read("the source's thread", error))?;
    let end = |messages| SourceEnd { messages, wakers: Arc::clone(&wakers) };
    Ok(Source { workers: receivers.into_iter().map(end).collect(), thread })
}

/// What the source gives to the dataflow of one worker.
pub struct Ingested<'scope> {
    pub blocks: StreamVec<'scope, Time, Block>,
    /// In order of epoch; on worker 0 only.
    pub bindings: StreamVec<'scope, Time, Binding>,
    /// What was gone before it could be read; on worker 0 only.
    pub gaps: StreamVec<'scope, Time, Batch<GapChange>>,
}

type Output<D> = OutputBuilder<Time, CapacityContainerBuilder<Vec<D>>>;

/// The right to speak at the open epoch, on each output.
struct Rights {
    blocks: Capability<Time>,
    bindings: Capability<Time>,
    gaps: Capability<Time>,
}

impl Rights {
    fn from(epoch: Time, capabilities: Vec<Capability<Time>>) -> Self {
        let [blocks, bindings, gaps] = capabilities.try_into().expect("one for each output");
        let mut rights = Self { blocks, bindings, gaps };
        rights.downgrade(epoch);
        rights
    }

    fn downgrade(&mut self, epoch: Time) {
        self.blocks.downgrade(&epoch);
        self.bindings.downgrade(&epoch);
        self.gaps.downgrade(&epoch);
    }
}

/// The source operator of this worker. `epoch` is the first one that the thread mints.
pub fn ingest<'scope>(scope: Scope<'scope, Time>, end: SourceEnd, epoch: Time) -> Ingested<'scope> {
    let mut builder = OperatorBuilder::new("Ingest".into(), scope);
    let (blocks_out, blocks) = builder.new_output();
    let (bindings_out, bindings) = builder.new_output();
    let (gaps_out, gaps) = builder.new_output();
    let (worker, address) = (scope.index(), builder.operator_info().address);
    let activator = scope.activator_for(Rc::clone(&address));
    let waker = scope.worker().sync_activator_for(address.to_vec());
    assert!(end.wakers.0[worker].set(waker).is_ok(), "a worker's source is built once");
    let mut blocks_out: Output<Block> = OutputBuilder::from(blocks_out);
    let mut bindings_out: Output<Binding> = OutputBuilder::from(bindings_out);
    let mut gaps_out: Output<Batch<GapChange>> = OutputBuilder::from(gaps_out);
    builder.build(move |capabilities| {
        // `None` once all has been read.
        let mut rights = Some(Rights::from(epoch, capabilities));
        move |_frontiers| {
            let Some(right) = &mut rights else { return };
            for _ in 0..MESSAGES_PER_ACTIVATION {
                match end.messages.try_recv() {
                    Ok(Message::Block(time, block)) => {
                        let right = right.blocks.delayed(&time);
                        blocks_out.activate().session(&right).give(block);
                    }
                    Ok(Message::Gap(time, change)) => {
                        let right = right.gaps.delayed(&time);
                        gaps_out.activate().session(&right).give(Arc::new(vec![change]));
                    }
                    Ok(Message::Close(binding)) => {
                        let next = binding.epoch + 1;
                        if worker == 0 {
                            let right = right.bindings.delayed(&binding.epoch);
                            bindings_out.activate().session(&right).give(binding);
                        }
                        right.downgrade(next);
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
    Ingested { blocks, bindings, gaps }
}

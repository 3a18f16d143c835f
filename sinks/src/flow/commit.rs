//! Complete batches → snapshots, one after the other.
//!
//! * **Input**: the files that each worker wrote; the state as of each batch's end; boundaries.
//! * **Output**: a [`Committed`] at the batch's last epoch, to every worker.
//! * **Routing**: everything to worker 0; the outcome is broadcast.
//! * **Progress**: a batch is complete once all frontiers have passed its last epoch. The right to
//!   answer is held until the snapshot is in, so the output frontier says what is durable.
//! * **State**: files and state of batches on their way. The committing thread takes all batches
//!   that wait as one, so a slow catalog makes larger snapshots, not a longer queue.
//! * **Restart**: nothing to keep; the snapshot's summary holds all that must come back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};
use k2_model::Time;
use k2_operators::{Boundary, SavedState, StateShard};
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;
use timely::scheduling::SyncActivator;

use crate::Result;
use crate::flow::failure::Failure;
use crate::flow::write::{Files, Written};
use crate::lake::Lake;
use crate::pin::ColdPin;
use crate::rows::Sealed;

/// A batch is in: every row of an epoch below `frontier` is in a published snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    pub frontier: Time,
}

/// All that is to be committed of one batch.
struct Complete {
    boundary: Boundary,
    files: Files,
    shards: Vec<StateShard>,
}

/// A batch on its way to being complete.
#[derive(Default)]
struct Gathering {
    end: Option<(Capability<Time>, Boundary)>,
    files: Files,
    shards: Vec<StateShard>,
}

/// The thread that commits. Joined by the job, so that nothing is cut off at its end.
pub struct CommitterThread {
    batches: Sender<Complete>,
    committed: Receiver<Committed>,
    waker: Arc<std::sync::OnceLock<SyncActivator>>,
}

/// Starts the committing thread. `on_commit` is told of each pin before any row below it may be
/// dropped; it publishes the pin.
pub fn spawn_committer(
    lake: Arc<Lake>,
    failure: Arc<Failure>,
    on_commit: impl Fn(&Arc<ColdPin>) + Send + 'static,
) -> (CommitterThread, JoinHandle<()>) {
    let (batches, inbox) = unbounded::<Complete>();
    let (outbox, committed) = unbounded();
    let waker: Arc<std::sync::OnceLock<SyncActivator>> = Arc::default();
    let waking = Arc::clone(&waker);
    let run = move || {
        while let Ok(first) = inbox.recv() {
            let waiting: Vec<Complete> = std::iter::once(first).chain(inbox.try_iter()).collect();
            match commit_all(&lake, waiting) {
                Ok(pin) => {
                    on_commit(&pin);
                    let _gone = outbox.send(Committed { frontier: pin.frontier });
                }
                Err(error) => {
                    failure.set(error);
                    break;
                }
            }
            if let Some(waker) = waking.get() {
                let _gone = waker.activate();
            }
        }
    };
    let thread = std::thread::Builder::new().name("k2-commit".into()).spawn(run);
    let thread = thread.expect("the system can start a thread");
    (CommitterThread { batches, committed, waker }, thread)
}

/// Commits batches that follow one another as one.
fn commit_all(lake: &Lake, batches: Vec<Complete>) -> Result<Arc<ColdPin>> {
    let lower = batches[0].boundary.lower;
    let mut files = Files::new();
    let mut last = None;
    for batch in batches {
        for (table, mut written) in batch.files {
            files.entry(table).or_default().append(&mut written);
        }
        last = Some((batch.boundary, batch.shards));
    }
    let (boundary, shards) = last.expect("there is at least one batch");
    let state = SavedState::new(shards, boundary.marks).encode();
    let (upper, offsets) = (boundary.upper, boundary.offsets);
    lake.commit(Sealed { lower, upper, offsets, state, files })
}

/// Commits each batch once it is complete. `thread` is there on worker 0.
pub fn commit<'scope>(
    written: StreamVec<'scope, Time, Written>,
    shards: StreamVec<'scope, Time, (Time, StateShard)>,
    boundaries: StreamVec<'scope, Time, Boundary>,
    thread: Option<CommitterThread>,
) -> StreamVec<'scope, Time, Committed> {
    let scope = boundaries.scope();
    let mut builder = OperatorBuilder::new("Commit".into(), scope);
    let mut written = builder.new_input(written, Exchange::new(|_: &Written| 0));
    let mut shards = builder.new_input(shards, Exchange::new(|_: &(Time, StateShard)| 0));
    let mut boundaries = builder.new_input(boundaries, Pipeline);
    let (output, committed) = builder.new_output();
    if let Some(thread) = &thread {
        let address = builder.operator_info().address;
        let waker = scope.worker().sync_activator_for(address.to_vec());
        assert!(thread.waker.set(waker).is_ok(), "the commit operator is built once");
    }
    builder.build_reschedule(move |capabilities| {
        drop(capabilities);
        let mut output: OutputBuilder<_, CapacityContainerBuilder<Vec<Committed>>> =
            OutputBuilder::from(output);
        // Batches by last epoch, until all workers have written their part.
        let mut gathering: BTreeMap<Time, Gathering> = BTreeMap::new();
        // Batches at the thread.
        let mut committing: BTreeMap<Time, Capability<Time>> = BTreeMap::new();
        move |frontiers| {
            // STEP 1. Gather files, state and ends by batch.
            written.for_each(|time, data| {
                let batch = gathering.entry(*time.time()).or_default();
                for part in data.drain(..) {
                    for (table, mut files) in part.files {
                        batch.files.entry(table).or_default().append(&mut files);
                    }
                }
            });
            shards.for_each(|time, data| {
                let batch = gathering.entry(*time.time()).or_default();
                batch.shards.extend(data.drain(..).map(|(_, shard)| shard));
            });
            boundaries.for_each(|time, data| {
                if let (Some(boundary), Some(_)) = (data.drain(..).next(), &thread) {
                    let batch = gathering.entry(*time.time()).or_default();
                    batch.end = Some((time.retain(0), boundary));
                }
            });
            let Some(thread) = &thread else { return false };
            // STEP 2. Hand complete batches to the thread, in order.
            while let Some((&last, _)) = gathering.first_key_value()
                && frontiers.iter().all(|frontier| !frontier.less_equal(&last))
            {
                let Gathering { end, files, shards } =
                    gathering.remove(&last).expect("it was just seen");
                let (capability, boundary) = end.expect("only a batch's last epoch is gathered");
                committing.insert(last, capability);
                // The thread ends only with the job, and then nobody waits for the answer.
                let _gone = thread.batches.send(Complete { boundary, files, shards });
            }
            // STEP 3. Answer for what has been committed, with all that it took along.
            for done in thread.committed.try_iter() {
                let later = committing.split_off(&done.frontier);
                let ended = std::mem::replace(&mut committing, later);
                if let Some((_, capability)) = ended.last_key_value() {
                    output.activate().session(capability).give(done);
                }
            }
            !committing.is_empty()
        }
    });
    committed.broadcast()
}

//! `gaps_open`: the runs of numbers that are missing now.

use differential_dataflow::{AsCollection, VecCollection};
use k2_model::{Gap, GapChange, Time};
use k2_operators::Batch;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::ToStream;

/// The open gaps. `resumed` are those open as of the start.
pub fn gaps_open<'scope>(
    changes: StreamVec<'scope, Time, Batch<GapChange>>,
    resumed: Vec<Gap>,
) -> VecCollection<'scope, Time, Gap> {
    let seeds = resumed.into_iter().map(|gap| (gap, 0, 1)).to_stream(changes.scope());
    let updates = changes.unary(Pipeline, "Open gaps", |_capability, _info| {
        move |input, output| {
            input.for_each_time(|time, batches| {
                let at = *time.time();
                let mut session = output.session(&time);
                for batch in batches.flat_map(|batch| batch.drain(..)) {
                    let open = batch.iter().filter(|change| change.gap.is_open());
                    let update = |it: &GapChange| (it.gap.clone(), at, isize::from(it.diff));
                    session.give_iterator(open.map(update));
                }
            });
        }
    });
    updates.concat(seeds).as_collection()
}

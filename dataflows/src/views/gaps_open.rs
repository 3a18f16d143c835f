//! `gaps_open`: the runs of numbers that are missing now.

use std::rc::Rc;

use differential_dataflow::{AsCollection, VecCollection};
use k2_model::{Gap, Time};
use k2_operators::Numbered;
use k2_operators::kit::expand::expand;
use k2_operators::sequence::Judged;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::ToStream;

/// The open gaps. `resumed` are those open as of the start.
pub fn gaps_open<'scope, R: Numbered>(
    judged: StreamVec<'scope, Time, Rc<Judged<R>>>,
    resumed: Vec<Gap>,
) -> VecCollection<'scope, Time, Gap> {
    let scope = judged.scope();
    let seeds = resumed.into_iter().map(|gap| (gap, 0, 1));
    let updates = expand(judged, "Open gaps", |judged, time, given| {
        let open = judged.gaps.iter().filter(|change| change.gap.is_open());
        given.extend(open.map(|change| (change.gap.clone(), time, isize::from(change.diff))));
    });
    updates.concat(seeds.to_stream(scope)).as_collection()
}

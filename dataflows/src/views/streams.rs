//! The counts of each stream, behind `symbols` and `feed_health`.

use std::rc::Rc;

use differential_dataflow::difference::{IsZero, Semigroup};
use differential_dataflow::operators::CountTotal;
use differential_dataflow::{AsCollection, VecCollection};
use k2_model::{Stream, Time};
use k2_operators::Numbered;
use k2_operators::kit::arrange::arrange_by_self_here;
use k2_operators::kit::expand::expand;
use k2_operators::sequence::{Judged, StreamCounts};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::ToStream;

/// Maintains the counts of each stream. `resumed` are the counts as of the start.
pub fn streams<'scope, R: Numbered>(
    judged: StreamVec<'scope, Time, Rc<Judged<R>>>,
    resumed: Vec<(Stream, StreamCounts)>,
) -> VecCollection<'scope, Time, (Stream, StreamCounts)> {
    let scope = judged.scope();
    let seeds = resumed.into_iter().map(|(stream, counts)| (stream, 0, Counted(counts)));
    let updates = expand(judged, "Stream counts", |judged, time, given| {
        let grown = judged.counts.iter();
        given.extend(grown.map(|(stream, counts)| (*stream, time, Counted(*counts))));
    });
    let grown = updates.concat(seeds.to_stream(scope)).as_collection();
    arrange_by_self_here(grown, "Arrange: Streams")
        .count_total_core::<isize>()
        .map(|(stream, Counted(counts))| (stream, counts))
}

/// Counts under addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Counted(StreamCounts);

impl IsZero for Counted {
    fn is_zero(&self) -> bool {
        self.0 == StreamCounts::default()
    }
}

impl Semigroup for Counted {
    fn plus_equals(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }
}

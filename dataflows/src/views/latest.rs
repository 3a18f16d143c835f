//! `latest_trade`, `latest_quote`: of each instrument the record with the greatest (event time,
//! sequence).
//!
//! The record is the difference: the greater of two is their sum, so the collection is a count.

use std::rc::Rc;

use differential_dataflow::difference::{IsZero, Semigroup};
use differential_dataflow::operators::CountTotal;
use differential_dataflow::{AsCollection, VecCollection};
use k2_model::{Instrument, Time};
use k2_operators::Numbered;
use k2_operators::kit::arrange::arrange_by_self_here;
use k2_operators::kit::expand::expand;
use k2_operators::sequence::Judged;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::ToStream;

/// Maintains the latest record of each instrument. `resumed` are the latest as of the start.
pub fn latest<'scope, R: Numbered + std::fmt::Debug>(
    judged: StreamVec<'scope, Time, Rc<Judged<R>>>,
    resumed: Vec<R>,
) -> VecCollection<'scope, Time, (Instrument, R)> {
    let scope = judged.scope();
    let seeds = resumed.into_iter().map(|record| (record.instrument(), 0, Latest(record)));
    let updates = expand(judged, "Latest candidates", |judged, time, given| {
        let candidate = |record: &R| (record.instrument(), time, Latest(record.clone()));
        given.extend(judged.latest.iter().map(candidate));
    });
    let candidates = updates.concat(seeds.to_stream(scope)).as_collection();
    arrange_by_self_here(candidates, "Arrange: Latest")
        .count_total_core::<isize>()
        .map(|(instrument, Latest(record))| (instrument, record))
}

/// A record under "the later of both".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Latest<R>(R);

impl<R> IsZero for Latest<R> {
    fn is_zero(&self) -> bool {
        false
    }
}

impl<R: Numbered> Semigroup for Latest<R> {
    fn plus_equals(&mut self, other: &Self) {
        let place = |record: &R| (record.ts_event(), record.numbers().1);
        if place(&self.0) < place(&other.0) {
            self.0 = other.0.clone();
        }
    }
}

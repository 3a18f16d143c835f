//! Arrivals of open times, each with the right to answer at its time.

use std::collections::BTreeMap;

use k2_model::Time;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::frontier::MutableAntichain;

/// Time → what arrived for it. A capability is retained with the first arrival of a time and
/// leaves with the time, so that the output frontier waits for the answer and for nothing else.
pub struct Stash<A> {
    times: BTreeMap<Time, (Capability<Time>, A)>,
}

impl<A: Default> Stash<A> {
    pub fn new() -> Self {
        Self { times: BTreeMap::new() }
    }

    /// The arrivals of `time`, to add to. `output` is the port at which they will be answered.
    pub fn at(&mut self, time: &InputCapability<Time>, output: usize) -> &mut A {
        let fresh = || (time.retain(output), A::default());
        &mut self.times.entry(*time.time()).or_insert_with(fresh).1
    }

    /// Takes out the oldest time that all `frontiers` have passed.
    pub fn next_closed(
        &mut self,
        frontiers: &[&MutableAntichain<Time>],
    ) -> Option<(Capability<Time>, A)> {
        let (&time, _) = self.times.first_key_value()?;
        let open = frontiers.iter().any(|frontier| frontier.less_equal(&time));
        if open { None } else { self.times.remove(&time) }
    }
}

impl<A: Default> Default for Stash<A> {
    fn default() -> Self {
        Self::new()
    }
}

//! Where batches end: by size, by time, and at the end of the input.
//!
//! * **Input**: the source's bindings, in order of epoch.
//! * **Output**: a [`Boundary`] at the last epoch of each batch, to every worker.
//! * **Routing**: bindings are on worker 0; boundaries are broadcast.
//! * **Progress**: a binding is answered at once, at its own time.
//! * **State**: the batch's lower end, what it holds so far, O(e) and the marks.
//! * **Restart**: the lower end and the offsets come from the last committed batch.

use std::collections::BTreeMap;

use k2_model::{Nanos, Offsets, Origin, Time};
use k2_operators::ingest::Binding;
use k2_operators::{Boundary, SourceMark};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::Broadcast;

/// When a batch is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MintConfig {
    /// Bytes of input.
    pub bytes: u64,
    /// Nanoseconds of the source's clock since the batch first moved an origin on.
    pub age_ns: i64,
}

/// Ends batches. `lower` is the first epoch of this run; `offsets` and `marks` are O(lower).
pub fn mint<'scope>(
    bindings: StreamVec<'scope, Time, Binding>,
    lower: Time,
    offsets: Offsets,
    marks: BTreeMap<Origin, SourceMark>,
    config: MintConfig,
) -> StreamVec<'scope, Time, Boundary> {
    let boundaries = bindings.unary(Pipeline, "Mint", |_capability, _info| {
        // The batch that is being filled.
        let mut batch = OpenBatch { lower, offsets, marks, bytes: 0, since: None };
        move |input, output| {
            input.for_each_time(|time, batches| {
                for binding in batches.flat_map(|batch| batch.drain(..)) {
                    if let Some(boundary) = batch.add(binding, config) {
                        output.session(&time).give(boundary);
                    }
                }
            });
        }
    });
    boundaries.broadcast()
}

/// A batch that is being filled. Pure: its clock is in the bindings.
struct OpenBatch {
    lower: Time,
    offsets: Offsets,
    marks: BTreeMap<Origin, SourceMark>,
    bytes: u64,
    /// When it first moved an origin on.
    since: Option<Nanos>,
}

impl OpenBatch {
    /// Adds an epoch; the boundary, if the batch ends with it.
    fn add(&mut self, binding: Binding, config: MintConfig) -> Option<Boundary> {
        self.offsets.advance_all(&binding.offsets);
        self.marks.extend(binding.marks);
        self.bytes += binding.bytes;
        if !binding.offsets.is_empty() {
            self.since.get_or_insert(binding.minted);
        }
        // If no origin has moved on since the last batch there is nothing to commit.
        let since = self.since?;
        let is_old = binding.minted.0.saturating_sub(since.0) >= config.age_ns;
        if self.bytes < config.bytes && !is_old && !binding.ends_batch {
            return None;
        }
        let upper = binding.epoch + 1;
        let boundary = Boundary {
            lower: self.lower,
            upper,
            offsets: self.offsets.clone(),
            marks: self.marks.clone(),
        };
        (self.lower, self.bytes, self.since) = (upper, 0, None);
        Some(boundary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(epoch: Time, records: u64, bytes: u64, minted: i64, ends_batch: bool) -> Binding {
        let origin = (Origin::new("mint-test", 0), epoch * 10);
        let offsets = (records > 0).then_some(origin).into_iter().collect();
        let (marks, minted) = (BTreeMap::new(), Nanos(minted));
        Binding { epoch, offsets, marks, records, bytes, minted, ends_batch }
    }

    fn ends(bindings: impl IntoIterator<Item = Binding>) -> Vec<(Time, Time)> {
        let config = MintConfig { bytes: 100, age_ns: 1_000 };
        let (offsets, marks) = (Offsets::default(), BTreeMap::new());
        let mut batch = OpenBatch { lower: 5, offsets, marks, bytes: 0, since: None };
        let boundaries = bindings.into_iter().filter_map(|binding| batch.add(binding, config));
        boundaries.map(|boundary| (boundary.lower, boundary.upper)).collect()
    }

    #[test]
    fn a_batch_ends_when_it_is_large_or_old_or_must() {
        let by_size = [binding(5, 1, 60, 0, false), binding(6, 1, 60, 1, false)];
        assert_eq!(ends(by_size), [(5, 7)]);
        let by_age = [binding(5, 1, 1, 0, false), binding(9, 0, 0, 1_000, false)];
        assert_eq!(ends(by_age), [(5, 10)]);
        let at_the_end = [binding(5, 1, 1, 0, false), binding(6, 0, 0, 1, true)];
        assert_eq!(ends(at_the_end), [(5, 7)]);
    }

    #[test]
    fn empty_intervals_end_no_batch() {
        let idle = (5..50).map(|epoch| binding(epoch, 0, 0, epoch as i64 * 10_000, epoch == 49));
        assert_eq!(ends(idle), []);
    }
}

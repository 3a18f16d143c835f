//! From one record per epoch to the many that it holds, with their time.

use std::rc::Rc;

use k2_model::Time;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;

/// Gives what `logic` makes of each item and its time. The item is shared, so nothing is copied
/// that is not asked for.
pub fn expand<'scope, A: 'static, B: Clone + 'static>(
    items: StreamVec<'scope, Time, Rc<A>>,
    name: &str,
    mut logic: impl FnMut(&A, Time, &mut Vec<B>) + 'static,
) -> StreamVec<'scope, Time, B> {
    items.unary(Pipeline, name, |_capability, _info| {
        // What one item came to.
        let mut given = Vec::new();
        move |input, output| {
            input.for_each_time(|time, batches| {
                for item in batches.flat_map(|batch| batch.drain(..)) {
                    logic(&item, *time.time(), &mut given);
                }
                if !given.is_empty() {
                    output.session(&time).give_iterator(given.drain(..));
                }
            });
        }
    })
}

//! Arrangements of collections whose keys are already on the worker that owns them.
//!
//! The rows of an instrument live on one worker; an arrangement by the hash of a key would send
//! them all round once more.

use differential_dataflow::VecCollection;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::{
    ContainerChunker, KeyBatcher, KeyBuilder, KeySpine,
};
use k2_model::Time;
use timely::dataflow::channels::pact::Pipeline;

/// A collection of keys arranged on this worker.
pub type BySelf<'scope, K, R> = Arranged<'scope, TraceAgent<KeySpine<K, Time, R>>>;

/// Arranges keys, without moving them.
pub fn arrange_by_self_here<'scope, K, R>(
    keys: VecCollection<'scope, Time, K, R>,
    name: &str,
) -> BySelf<'scope, K, R>
where
    K: differential_dataflow::ExchangeData,
    R: differential_dataflow::ExchangeData + Semigroup,
{
    arrange_core::<_, _, ContainerChunker<_>, KeyBatcher<_, _, _>, KeyBuilder<_, _, _>, _>(
        keys.map(|key| (key, ())).inner,
        Pipeline,
        name,
    )
}

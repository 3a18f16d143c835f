//! Arrangements of collections whose keys are already on the worker that owns them.
//!
//! The rows of an instrument live on one worker; an arrangement by the hash of a key would send
//! them all round once more.

use differential_dataflow::VecCollection;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::{
    ContainerChunker, KeyBatcher, KeyBuilder, KeySpine, ValBatcher, ValBuilder, ValSpine,
};
use k2_model::Time;
use timely::dataflow::channels::pact::Pipeline;

/// A collection arranged by key on this worker.
pub type ByKey<'scope, K, V, R> = Arranged<'scope, TraceAgent<ValSpine<K, V, Time, R>>>;
/// A collection of keys arranged on this worker.
pub type BySelf<'scope, K, R> = Arranged<'scope, TraceAgent<KeySpine<K, Time, R>>>;

/// Arranges pairs by their first part, without moving them.
pub fn arrange_by_key_here<'scope, K, V, R>(
    pairs: VecCollection<'scope, Time, (K, V), R>,
    name: &str,
) -> ByKey<'scope, K, V, R>
where
    K: differential_dataflow::ExchangeData,
    V: differential_dataflow::ExchangeData,
    R: differential_dataflow::ExchangeData + Semigroup,
{
    arrange_core::<_, _, ContainerChunker<_>, ValBatcher<_, _, _, _>, ValBuilder<_, _, _, _>, _>(
        pairs.inner,
        Pipeline,
        name,
    )
}

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

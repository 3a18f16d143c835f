//! Where the dataflow meets its readers: closed epochs become versions of the live side.
//!
//! * **Input**: the changes of each view, the rows of each table, O(e), and what was committed.
//! * **Output**: none; versions go to [`Live`].
//! * **Routing**: none: each worker publishes what is on it.
//! * **Progress**: an epoch is applied once all inputs have passed it, oldest first. Commits are
//!   no such input: they come late by nature, and readers must not wait for them.
//! * **State**: the current version, as persistent maps that share what did not change with the
//!   versions before; the changes of open epochs.
//! * **Restart**: the views are seeded at epoch 0, which closes before the first record.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::VecCollection;
use differential_dataflow::consolidation::consolidate;
use imbl::OrdMap;
use k2_model::{Bar, Gap, GapChange, Instrument, Nanos, Offsets, Quote, Reject, Stream};
use k2_model::{Time, Timeframe, Trade};
use k2_operators::ingest::Binding;
use k2_operators::kit::metrics::Metrics;
use k2_operators::sequence::StreamCounts;
use k2_operators::{Batch, Kept, MarketBatch};
use k2_sinks::flow::{Committed, TableStreams};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator;

use crate::live::{
    BarKey, BarMap, Chunk, Live, Rows, Streams, Tail, TailConfig, TradeChunk, Version,
};
use crate::views::bars::Bars;

/// All that is published.
pub struct Publications<'scope> {
    pub bars: Bars<'scope>,
    pub latest_trade: VecCollection<'scope, Time, (Instrument, Trade)>,
    pub latest_quote: VecCollection<'scope, Time, (Instrument, Quote)>,
    pub streams: VecCollection<'scope, Time, (Stream, StreamCounts)>,
    pub gaps_open: VecCollection<'scope, Time, Gap>,
    pub rows: TableStreams<'scope>,
    pub bindings: StreamVec<'scope, Time, Binding>,
    pub committed: StreamVec<'scope, Time, Committed>,
    pub tail: TailConfig,
}

/// The changes of one open epoch.
#[derive(Default)]
struct Changes {
    bars: [Changed<(BarKey, Bar)>; Timeframe::ALL.len()],
    horizon: Option<Nanos>,
    latest_trade: Changed<(Instrument, Trade)>,
    latest_quote: Changed<(Instrument, Quote)>,
    streams: Changed<(Stream, StreamCounts)>,
    gaps_open: Changed<Gap>,
    trades: Vec<MarketBatch<Trade>>,
    quotes: Vec<MarketBatch<Quote>>,
    rejects: Vec<Batch<Reject>>,
    gaps: Vec<Batch<GapChange>>,
    offsets: Offsets,
}

type Changed<D> = Vec<(D, isize)>;

/// Open epochs, shared by the operators that fill them in. All are on one thread.
type Open = Rc<RefCell<BTreeMap<Time, Changes>>>;

/// Publishes each closed epoch to `live`.
pub fn publish(publications: Publications<'_>, live: Arc<Live>, metrics: Arc<Metrics>) {
    let scope = publications.bindings.scope();
    let open = Open::default();
    let (committed, tail) = (publications.committed.clone(), publications.tail);
    let ticks = scope.concatenate(absorb_all(publications, &open));
    let worker = scope.index();
    let mut builder = OperatorBuilder::new("Publish".into(), scope);
    let mut ticks = builder.new_input(ticks, Pipeline);
    let mut committed = builder.new_input(committed, Pipeline);
    builder.build(move |_capabilities| {
        let mut publisher = Publisher::new(tail, metrics);
        // What is closed here as far as readers know.
        let mut published = 0;
        move |frontiers| {
            ticks.for_each(|_time, ticks| ticks.clear());
            // STEP 1. Apply the closed epochs, oldest first; each that changed is a version.
            let mut versions = Vec::new();
            let closed = frontiers[0].frontier().first().copied();
            while let Some((epoch, changes)) = take_closed(&open, closed) {
                versions.push(publisher.apply(epoch, changes));
                published = epoch + 1;
            }
            // STEP 2. Let go of rows that are in the tables. Nothing waits for a commit here.
            committed.for_each(|_time, done| {
                for Committed { frontier } in done.drain(..) {
                    versions.push(publisher.move_seam(frontier));
                }
            });
            // STEP 3. Publish. After the end of the input all that is committed is closed too.
            published = published.max(closed.unwrap_or(publisher.seam));
            live.publish_with(worker, versions, &publisher.added, published);
            publisher.added.clear();
        }
    });
}

/// Takes out the oldest epoch below `closed`; `None` there says that all are closed.
fn take_closed(open: &Open, closed: Option<Time>) -> Option<(Time, Changes)> {
    let mut open = open.borrow_mut();
    let oldest = open.first_entry()?;
    let is_closed = closed.is_none_or(|closed| *oldest.key() < closed);
    is_closed.then(|| oldest.remove_entry())
}

/// Lets each publication fill in its part of the open epochs.
fn absorb_all<'scope>(from: Publications<'scope>, open: &Open) -> Vec<StreamVec<'scope, Time, ()>> {
    let mut ticks = Vec::new();
    for (at, bars) in from.bars.by_timeframe.into_iter().enumerate() {
        ticks.push(absorb(bars.inner, open, move |changes, (keyed, _, diff)| {
            changes.bars[at].push((keyed, diff));
        }));
    }
    ticks.push(absorb(from.bars.horizon, open, |changes, from| changes.horizon = Some(from)));
    ticks.push(absorb(from.latest_trade.inner, open, |changes, (keyed, _, diff)| {
        changes.latest_trade.push((keyed, diff));
    }));
    ticks.push(absorb(from.latest_quote.inner, open, |changes, (keyed, _, diff)| {
        changes.latest_quote.push((keyed, diff));
    }));
    ticks.push(absorb(from.streams.inner, open, |changes, (keyed, _, diff)| {
        changes.streams.push((keyed, diff));
    }));
    ticks.push(absorb(from.gaps_open.inner, open, |changes, (gap, _, diff)| {
        changes.gaps_open.push((gap, diff));
    }));
    ticks.push(absorb(from.rows.trades, open, |changes, rows| changes.trades.push(rows)));
    ticks.push(absorb(from.rows.quotes, open, |changes, rows| changes.quotes.push(rows)));
    ticks.push(absorb(from.rows.rejects, open, |changes, rows| changes.rejects.push(rows)));
    ticks.push(absorb(from.rows.gaps, open, |changes, rows| changes.gaps.push(rows)));
    ticks.push(absorb(from.bindings, open, |changes, binding| {
        changes.offsets.advance_all(&binding.offsets);
    }));
    ticks
}

/// Notes what comes with its epoch. Gives nothing on: only the frontier of its output matters.
fn absorb<'scope, D: Clone + 'static>(
    stream: StreamVec<'scope, Time, D>,
    open: &Open,
    mut note: impl FnMut(&mut Changes, D) + 'static,
) -> StreamVec<'scope, Time, ()> {
    let open = Rc::clone(open);
    stream.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Pipeline, "Absorb", |_cap, _info| {
        move |input, _output| {
            input.for_each(|time, data| {
                let mut open = open.borrow_mut();
                let changes = open.entry(*time.time()).or_default();
                data.drain(..).for_each(|item| note(changes, item));
            });
        }
    })
}

/// The worker's current version. Pure: knows no frontier.
struct Publisher {
    version: Version,
    /// Rows of epochs below it are in a published snapshot.
    seam: Time,
    /// The trades of the epochs that are about to be published.
    added: Vec<TradeChunk>,
    /// Committed rows go while all of this worker's take more.
    tail_bytes_max: usize,
    /// What this worker has added to the gauge.
    tail_bytes: u64,
    metrics: Arc<Metrics>,
}

impl Publisher {
    fn new(config: TailConfig, metrics: Arc<Metrics>) -> Self {
        Self {
            version: Version { tail: Tail::new(&config), ..Version::default() },
            seam: 0,
            added: Vec::new(),
            tail_bytes_max: config.bytes_max,
            tail_bytes: 0,
            metrics,
        }
    }

    fn apply(&mut self, epoch: Time, changes: Changes) -> Version {
        let version = &mut self.version;
        version.from = epoch + 1;
        for (bars, changed) in version.views.bars.iter_mut().zip(changes.bars) {
            apply_pairs(bars, changed);
        }
        version.views.bars_from = version.views.bars_from.max(changes.horizon);
        apply_pairs(&mut version.views.latest_trade, changes.latest_trade);
        apply_pairs(&mut version.views.latest_quote, changes.latest_quote);
        apply_pairs(&mut version.views.streams, changes.streams);
        for (gap, diff) in net(changes.gaps_open) {
            if diff > 0 {
                version.views.gaps_open.insert(gap);
            } else {
                version.views.gaps_open.remove(&gap);
            }
        }
        let tail = &mut version.tail;
        self.added.extend(append(&mut tail.trades, epoch, changes.trades));
        append(&mut tail.quotes, epoch, changes.quotes);
        append(&mut tail.rejects, epoch, changes.rejects);
        append(&mut tail.gaps, epoch, changes.gaps);
        for (origin, next) in changes.offsets.iter() {
            version.offsets.insert(origin, next);
        }
        self.trim()
    }

    fn move_seam(&mut self, frontier: Time) -> Version {
        self.seam = self.seam.max(frontier);
        self.trim()
    }

    fn trim(&mut self) -> Version {
        let tail = &mut self.version.tail;
        tail.trim(self.seam, self.tail_bytes_max);
        let bytes = tail.bytes() as u64;
        // A gauge over all workers: to take away is to add what wraps around.
        self.metrics.tail_bytes.add(bytes.wrapping_sub(self.tail_bytes));
        self.tail_bytes = bytes;
        self.version.clone()
    }
}

fn append<B: Kept>(rows: &mut Rows<B>, epoch: Time, batches: Vec<B>) -> Option<Arc<Chunk<B>>> {
    (!batches.is_empty()).then(|| rows.push(Chunk::new(epoch, batches)))
}

/// What changes come to, removals first, so that a key's new value is what stays.
fn net<D: Ord>(mut changed: Changed<D>) -> impl Iterator<Item = (D, isize)> {
    consolidate(&mut changed);
    changed.sort_by_key(|(_, diff)| *diff);
    changed.into_iter()
}

/// What a view is published as.
trait Entries<K, V> {
    fn value(&self, key: &K) -> Option<&V>;
    fn put(&mut self, key: K, value: V);
    fn take(&mut self, key: &K);
}

impl<K: Ord + Clone, V: Clone> Entries<K, V> for OrdMap<K, V> {
    fn value(&self, key: &K) -> Option<&V> {
        self.get(key)
    }

    fn put(&mut self, key: K, value: V) {
        self.insert(key, value);
    }

    fn take(&mut self, key: &K) {
        self.remove(key);
    }
}

impl Entries<Stream, StreamCounts> for Streams {
    fn value(&self, key: &Stream) -> Option<&StreamCounts> {
        self.get(key)
    }

    fn put(&mut self, key: Stream, value: StreamCounts) {
        self.insert(key, value);
    }

    fn take(&mut self, _key: &Stream) {
        unreachable!("a stream that was seen has counts from then on");
    }
}

impl Entries<BarKey, Bar> for BarMap {
    fn value(&self, key: &BarKey) -> Option<&Bar> {
        self.get(key)
    }

    fn put(&mut self, key: BarKey, value: Bar) {
        self.insert(key, value);
    }

    fn take(&mut self, key: &BarKey) {
        self.remove(key);
    }
}

fn apply_pairs<K: Ord + Clone, V: Ord + Clone>(
    map: &mut impl Entries<K, V>,
    mut changed: Changed<(K, V)>,
) {
    // This sorts, so what a key was stands beside what it has become: one step down the tree.
    consolidate(&mut changed);
    for of_key in changed.chunk_by(|((one, _), _), ((other, _), _)| one == other) {
        match of_key.iter().find(|(_, diff)| *diff > 0) {
            Some(((key, value), _)) => map.put(key.clone(), value.clone()),
            None => {
                let key = &of_key[0].0.0;
                let known = map.value(key);
                if of_key.iter().any(|((_, value), _)| Some(value) == known) {
                    map.take(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_what_it_has_become_and_goes_when_only_taken_back() {
        let mut map = OrdMap::from_iter([("a", 1), ("b", 2), ("c", 3), ("d", 4)]);
        let changed = vec![
            (("a", 9), 1),
            (("a", 1), -1),
            (("b", 2), -1),
            (("c", 7), -1),
            (("d", 4), -1),
            (("d", 4), 1),
            (("e", 0), -1),
            (("e", 5), 1),
            (("e", 0), 1),
        ];
        apply_pairs(&mut map, changed);
        assert_eq!(map, OrdMap::from_iter([("a", 9), ("c", 3), ("d", 4), ("e", 5)]));
    }
}

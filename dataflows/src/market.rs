//! The whole graph, on one screen.
//!
//! ```text
//! ingest ─► decode ─► sequence ─┬─► write ─► commit ─► Iceberg
//!   │                 │ gaps,   └─► views ─┐      │
//!   └─► mint ◄────────┘ state      rows ───┴─► publish ─► readers
//! ```

use std::rc::Rc;
use std::sync::Arc;

use k2_model::{
    Coordinates, Depth, Gap, GapChange, InstrumentTable, Offsets, Quote, Reject, Stream, Time,
    Trade,
};
use k2_operators::decode::{DecodedStreams, SpareRows, decode};
use k2_operators::ingest::{IngestStart, Ingested, SourceEnd, ingest};
use k2_operators::kit::expand::expand;
use k2_operators::kit::metrics::Metrics;
use k2_operators::sequence::{Judged, SequenceConfig, StreamCounts, StreamState, gap_of, sequence};
use k2_operators::{Batch, Kept, Numbered, StateShard};
use k2_sinks::Lake;
use k2_sinks::flow::Failure;
use k2_sinks::flow::{CommitterThread, MintConfig, TableStreams, commit, mint, write};
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::{Scope, StreamVec};

use crate::live::{Live, TailConfig};
use crate::publish::{Publications, publish};
use crate::views::bars::{BarsConfig, bars};
use crate::views::gaps_open::gaps_open;
use crate::views::latest::latest;
use crate::views::streams::streams;

/// What one worker's graph is built from.
pub struct MarketConfig {
    pub source: SourceEnd,
    pub start: IngestStart,
    pub mint: MintConfig,
    pub trades: SequenceConfig<Trade>,
    pub quotes: SequenceConfig<Quote>,
    pub depths: SequenceConfig<Depth>,
    pub bars: BarsConfig,
    pub tail: TailConfig,
    /// Open gaps that the source has found by itself.
    pub lost: Vec<Gap>,
    /// What an earlier run stored beyond the start, and which is not written again.
    pub stored_rejects: Offsets,
    pub stored_gaps: Offsets,
    /// On worker 0.
    pub committer: Option<CommitterThread>,
    pub shared: Shared,
}

/// What all workers share.
#[derive(Clone)]
pub struct Shared {
    pub instruments: Arc<InstrumentTable>,
    pub lake: Arc<Lake>,
    pub live: Arc<Live>,
    pub metrics: Arc<Metrics>,
    pub failure: Arc<Failure>,
}

/// Builds the graph of one worker.
pub fn market(scope: Scope<'_, Time>, config: MarketConfig) {
    let MarketConfig { source, start, shared, .. } = config;
    let Shared { instruments, lake, live, metrics, failure } = shared;
    let (trades, quotes) = (&config.trades.resumed, &config.quotes.resumed);
    let seeds = Seeds::of(trades, quotes, &config.depths.resumed, config.lost);

    let Ingested { blocks, bindings, gaps: lost } = ingest(scope, source, start.epoch);
    let boundaries = mint(bindings.clone(), start.epoch, start.offsets, start.marks, config.mint);
    let spare = SpareRows::default();
    let DecodedStreams { trades, quotes, depths, rejects } =
        decode(blocks, instruments, spare.clone(), Arc::clone(&metrics));

    let trades = sequence(trades, boundaries.clone(), spare.trades, config.trades);
    let quotes = sequence(quotes, boundaries.clone(), spare.quotes, config.quotes);
    let depths = sequence(depths, boundaries.clone(), spare.depths, config.depths);

    let gaps = scope.concatenate([gap_log(trades.clone()), gap_log(depths.clone()), lost]);
    let rows = TableStreams {
        trades: unique(trades.clone()),
        quotes: unique(quotes.clone()),
        rejects: scope
            .concatenate([
                rejects,
                contradictions(trades.clone()),
                contradictions(quotes.clone()),
                contradictions(depths.clone()),
            ])
            .flat_map(beyond(config.stored_rejects, |reject: &Reject| reject.at)),
        gaps: gaps.clone().flat_map(beyond(config.stored_gaps, |change: &GapChange| change.at)),
    };
    let states =
        scope.concatenate([state(trades.clone()), state(quotes.clone()), state(depths.clone())]);
    let written = write(rows.clone(), boundaries.clone(), lake, failure);
    let committed = commit(written, states, boundaries, config.committer);

    let publications = Publications {
        bars: bars(trades.clone(), config.bars),
        latest_trade: latest(trades.clone(), seeds.latest_trade),
        latest_quote: latest(quotes.clone(), seeds.latest_quote),
        streams: streams(trades.clone(), seeds.trades)
            .concat(streams(quotes, seeds.quotes))
            .concat(streams(depths.clone(), seeds.depths)),
        gaps_open: gaps_open(gaps, seeds.gaps),
        rows,
        bindings,
        committed,
        tail: config.tail,
    };
    publish(publications, live, metrics);
}

/// What the views start with, out of the streams' states.
struct Seeds {
    latest_trade: Vec<Trade>,
    latest_quote: Vec<Quote>,
    trades: Vec<(Stream, StreamCounts)>,
    quotes: Vec<(Stream, StreamCounts)>,
    depths: Vec<(Stream, StreamCounts)>,
    gaps: Vec<Gap>,
}

impl Seeds {
    fn of(
        trades: &[StreamState<Trade>],
        quotes: &[StreamState<Quote>],
        depths: &[StreamState<Depth>],
        lost: Vec<Gap>,
    ) -> Self {
        Self {
            latest_trade: trades.iter().filter_map(|state| state.latest.clone()).collect(),
            latest_quote: quotes.iter().filter_map(|state| state.latest.clone()).collect(),
            trades: counts(trades),
            quotes: counts(quotes),
            depths: counts(depths),
            gaps: open_gaps(trades).chain(open_gaps(depths)).chain(lost).collect(),
        }
    }
}

fn counts<R>(states: &[StreamState<R>]) -> Vec<(Stream, StreamCounts)> {
    states.iter().map(|state| (state.stream, state.counts)).collect()
}

fn open_gaps<R>(states: &[StreamState<R>]) -> impl Iterator<Item = Gap> {
    states.iter().flat_map(|state| state.numbers.holes().map(|hole| gap_of(state.stream, &hole)))
}

type JudgedStream<'scope, R> = StreamVec<'scope, Time, Rc<Judged<R>>>;

fn unique<R: Numbered>(judged: JudgedStream<'_, R>) -> StreamVec<'_, Time, R::Kept> {
    expand(judged, "Unique", |judged, _time, given| {
        if !judged.unique.is_empty() {
            given.push(judged.unique.clone());
        }
    })
}

fn contradictions<R: Numbered>(judged: JudgedStream<'_, R>) -> StreamVec<'_, Time, Batch<Reject>> {
    expand(judged, "Contradictions", |judged, _time, given| {
        if !judged.rejects.is_empty() {
            given.push(Arc::new(judged.rejects.clone()));
        }
    })
}

fn gap_log<R: Numbered>(judged: JudgedStream<'_, R>) -> StreamVec<'_, Time, Batch<GapChange>> {
    expand(judged, "Gap log", |judged, _time, given| {
        if !judged.gaps.is_empty() {
            given.push(Arc::new(judged.gaps.clone()));
        }
    })
}

/// Keeps the rows that are not stored yet.
fn beyond<R: Clone>(
    stored: Offsets,
    at: impl Fn(&R) -> Coordinates,
) -> impl FnMut(Batch<R>) -> Option<Batch<R>> {
    move |rows| {
        if stored.is_empty() || rows.iter().all(|row| !stored.covers(at(row))) {
            return Some(rows);
        }
        let kept: Vec<R> = rows.iter().filter(|row| !stored.covers(at(row))).cloned().collect();
        (!kept.is_empty()).then(|| Arc::new(kept))
    }
}

fn state<R: Numbered>(judged: JudgedStream<'_, R>) -> StreamVec<'_, Time, (Time, StateShard)> {
    expand(judged, "State", |judged, _time, given| given.extend(judged.state.clone()))
}

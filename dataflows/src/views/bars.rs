//! `ohlcv_1m` … `ohlcv_1d`: bars of all timeframes.
//!
//! * **Input**: unique trades by batch.
//! * **Output**: of each timeframe the bars as they stand: `-1` for what a bar was, `+1` for what
//!   it has become.
//! * **Routing**: none: an instrument's trades are on one worker.
//! * **Progress**: each time is answered at once.
//! * **State**: the bars of the horizon. Windows that fall behind it are computed from the tables
//!   from then on, and their bars are retracted, some with each batch: a day of them at once would
//!   hold the frontier for seconds.
//! * **Restart**: `resumed` are the one-minute bars of the horizon, read from the table.
//!
//! By hand, because trades come by the million and minutes by the hundred: a time's trades are
//! merged by minute before anything else sees them. What they come to is merged into the bar of
//! each timeframe that they are in: trades are never taken back, so no bar is ever summed up anew
//! from the finer ones, of which a reduction would look at all.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound::{self, Excluded, Unbounded};
use std::ops::Range;
use std::rc::Rc;

use differential_dataflow::{AsCollection, VecCollection};
use k2_model::time::{NANOS_PER_DAY, NANOS_PER_SECOND};
use k2_model::{Bar, Instrument, Nanos, Time, Timeframe, Trade};
use k2_operators::kit::expand::expand;
use k2_operators::kit::instruments::AddressMap;
use k2_operators::sequence::Judged;
use k2_operators::{MarketBatch, MarketColumns};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;

use crate::live::BarKey;

/// A bar with its key, as it passes from timeframe to timeframe.
type KeyedBars<'scope> = VecCollection<'scope, Time, (BarKey, Bar)>;

/// The bars of all timeframes, finest first, and how far back they reach.
pub struct Bars<'scope> {
    pub by_timeframe: Vec<KeyedBars<'scope>>,
    /// Each move of the horizon: windows that start before it are no longer here.
    pub horizon: StreamVec<'scope, Time, Nanos>,
}

/// What the bars start with.
#[derive(Clone, Debug, Default)]
pub struct BarsConfig {
    /// One-minute bars at or after `from`.
    pub resumed: Vec<(BarKey, Bar)>,
    /// Windows before it are computed from the tables; `None`: there is nothing before.
    pub from: Option<Nanos>,
    /// How long a bar stays in memory behind the newest trade, in nanoseconds of event time.
    pub horizon_ns: i64,
}

/// Maintains the bars of all timeframes.
pub fn bars<'scope>(
    judged: StreamVec<'scope, Time, Rc<Judged<Trade>>>,
    config: BarsConfig,
) -> Bars<'scope> {
    let updates = judged.unary(Pipeline, "Bars", |capability, _info| {
        let mut bars = KeptBars::new(config);
        // What the bars start with is given at the first activation, at the least time.
        let mut seed = Some(capability);
        move |input, output| {
            if let Some(capability) = seed.take() {
                output.session(&capability).give(Rc::new(bars.seed()));
            }
            input.for_each_time(|time, batches| {
                let mut session = output.session(&time);
                for judged in batches.flat_map(|batch| batch.drain(..)) {
                    session.give(Rc::new(bars.add(&judged.unique)));
                }
            });
        }
    });
    let of_timeframe = |(nth, timeframe): (usize, &Timeframe)| {
        let name = format!("Bars {timeframe} changes");
        let changes = expand(updates.clone(), &name, move |changed: &Changed, time, given| {
            let bars = changed.bars[nth].iter();
            given.extend(bars.map(|(key, bar, diff)| ((*key, *bar), time, *diff)));
        });
        changes.as_collection()
    };
    let by_timeframe = Timeframe::ALL.iter().enumerate().map(of_timeframe).collect();
    let horizon = expand(updates, "Bars horizon", |changed: &Changed, _time, given| {
        given.extend(changed.horizon);
    });
    Bars { by_timeframe, horizon }
}

const MINUTE: i64 = 60 * NANOS_PER_SECOND;
const TIMEFRAMES: usize = Timeframe::ALL.len();

/// Steps of a sweep with each batch, a bar or an instrument each; and with each minute that is
/// merged, so that more leaves than comes.
const SWEEP_STEPS: usize = 1_024;
const SWEEP_STEPS_A_MINUTE: usize = 16;

/// How the bars changed over one time.
#[derive(Debug, Default)]
struct Changed {
    /// Of each timeframe.
    bars: [Vec<(BarKey, Bar, isize)>; TIMEFRAMES],
    horizon: Option<Nanos>,
}

/// The bars of the horizon. Pure: its only clock is the newest trade.
struct KeptBars {
    /// Of each timeframe.
    bars: [BTreeMap<BarKey, Bar>; TIMEFRAMES],
    /// Windows that start before it are not kept. A UTC midnight; only ever rises.
    behind: Nanos,
    /// `behind`, once a bar before it has been left out; until then all bars are here.
    from: Option<Nanos>,
    horizon_ns: i64,
    /// While bars from before `behind` may still be here: the timeframe that is looked through, and
    /// from where on.
    sweep: Option<(usize, Bound<BarKey>)>,
    /// Of this time: instrument → its latest minute and that one's place in `merged`.
    places: AddressMap<(Nanos, usize)>,
    merged: Vec<(BarKey, Bar)>,
}

impl KeptBars {
    fn new(config: BarsConfig) -> Self {
        let BarsConfig { mut resumed, from, horizon_ns } = config;
        resumed.sort_unstable_by_key(|(key, _)| *key);
        let bars = Timeframe::ALL.map(|timeframe| {
            coarsen(&mut resumed, timeframe);
            resumed.iter().copied().collect()
        });
        Self {
            bars,
            behind: from.unwrap_or(Nanos(i64::MIN)),
            from,
            horizon_ns,
            sweep: None,
            places: AddressMap::default(),
            merged: Vec::new(),
        }
    }

    fn seed(&self) -> Changed {
        let all =
            |bars: &BTreeMap<BarKey, Bar>| bars.iter().map(|(key, bar)| (*key, *bar, 1)).collect();
        Changed { bars: self.bars.each_ref().map(all), horizon: self.from }
    }

    fn add(&mut self, unique: &MarketBatch<Trade>) -> Changed {
        for (instrument, rows) in unique.columns().groups() {
            self.merge(instrument, unique.columns(), rows);
        }
        self.places.clear();
        let mut changed = Changed::default();
        let mut merged = std::mem::take(&mut self.merged);
        let newest = merged.iter().map(|((_, start), _)| *start).max();
        if newest.is_some_and(|newest| horizon_at(newest, self.horizon_ns) > self.behind)
            && let Some(newest) = newest_plausible(unique.columns())
        {
            self.move_horizon(newest, &mut changed);
        }
        self.sweep(SWEEP_STEPS + SWEEP_STEPS_A_MINUTE * merged.len(), &mut changed);
        let before = merged.len();
        merged.retain(|((_, start), _)| *start >= self.behind);
        if merged.len() < before {
            // Their bars are not in memory, so none before the horizon may be answered from it.
            self.leave(&mut changed);
        }
        merged.sort_unstable_by_key(|(key, _)| *key);
        let kept = self.bars.iter_mut().zip(&mut changed.bars);
        for (timeframe, (bars, changes)) in Timeframe::ALL.into_iter().zip(kept) {
            coarsen(&mut merged, timeframe);
            merged.iter().for_each(|(key, more)| grow(bars, *key, more, changes));
        }
        merged.clear();
        self.merged = merged;
        changed
    }

    /// Merges trades of one instrument into its minutes. Nearly all are of its latest minute.
    fn merge(&mut self, instrument: Instrument, trades: &MarketColumns, rows: Range<usize>) {
        let address = instrument.address();
        let [prices, quantities] = trades.decimals() else { return };
        // The minute at hand: its start, its place in `merged`, and its bar so far.
        let known = self.places.get(&address);
        let mut latest = known.map(|&(start, place)| (start, place, self.merged[place].1));
        for at in rows {
            let ts_event = trades.ts_events()[at];
            let (price, quantity) = (prices.get(at), quantities.get(at));
            let more = Bar::of_parts(ts_event, trades.sequences()[at], price, quantity);
            match &mut latest {
                Some((start, _, bar))
                    if (0..MINUTE).contains(&ts_event.0.wrapping_sub(start.0)) =>
                {
                    bar.merge(&more);
                }
                _ => {
                    self.put(latest);
                    let start = Timeframe::M1.window_start(ts_event);
                    latest = Some((start, self.merged.len(), more));
                    self.merged.push(((instrument, start), more));
                }
            }
        }
        self.put(latest);
        self.places.extend(latest.map(|(start, place, _)| (address, (start, place))));
    }

    fn put(&mut self, latest: Option<(Nanos, usize, Bar)>) {
        if let Some((_, place, bar)) = latest {
            self.merged[place].1 = bar;
        }
    }

    /// Lets the days go that fall behind the horizon as `newest` comes.
    fn move_horizon(&mut self, newest: Nanos, changed: &mut Changed) {
        let behind = horizon_at(newest, self.horizon_ns);
        if behind <= self.behind {
            return;
        }
        self.behind = behind;
        // Every window begins and ends on one side of a midnight, so a day's bar tells of all.
        let [.., days] = &self.bars;
        if days.keys().any(|(_, start)| *start < behind) {
            self.sweep = Some((0, Unbounded));
        }
        if self.sweep.is_some() || self.from.is_some() {
            self.leave(changed);
        }
    }

    /// Retracts bars from before the horizon, in at most so many steps.
    fn sweep(&mut self, steps: usize, changed: &mut Changed) {
        for _ in 0..steps {
            let Some((nth, from)) = self.sweep else { return };
            let bars = &mut self.bars[nth];
            let next = bars.range((from, Unbounded)).next().map(|(key, bar)| (*key, *bar));
            self.sweep = match next {
                Some((key, bar)) if key.1 < self.behind => {
                    bars.remove(&key);
                    changed.bars[nth].push((key, bar, -1));
                    Some((nth, Excluded(key)))
                }
                Some(((instrument, _), _)) => Some((nth, Excluded((instrument, Nanos(i64::MAX))))),
                None => (nth + 1 < TIMEFRAMES).then_some((nth + 1, Unbounded)),
            };
        }
    }

    /// Says that windows before the horizon are not in memory.
    fn leave(&mut self, changed: &mut Changed) {
        if self.from != Some(self.behind) {
            self.from = Some(self.behind);
            changed.horizon = self.from;
        }
    }
}

/// Where the horizon is when `newest` is the newest event: a UTC midnight.
pub(crate) fn horizon_at(newest: Nanos, horizon_ns: i64) -> Nanos {
    Nanos(newest.0.saturating_sub(horizon_ns)).floor(NANOS_PER_DAY)
}

/// The newest event, those left out whose clocks are days ahead of their receipt.
fn newest_plausible(trades: &MarketColumns) -> Option<Nanos> {
    let times = trades.ts_events().iter().zip(trades.ts_recvs());
    times.map(|(event, recv)| Nanos::plausible(*event, *recv)).max()
}

/// Merges bars, which come in the order of their keys, into those of a coarser timeframe.
fn coarsen(bars: &mut Vec<(BarKey, Bar)>, timeframe: Timeframe) {
    bars.iter_mut().for_each(|((_, start), _)| *start = timeframe.window_start(*start));
    bars.dedup_by(|(key, bar), (kept, merged)| {
        let is_same = key == kept;
        if is_same {
            merged.merge(bar);
        }
        is_same
    });
}

/// Merges `more` into its bar, and tells what the bar was and what it has become.
fn grow(
    bars: &mut BTreeMap<BarKey, Bar>,
    key: BarKey,
    more: &Bar,
    changes: &mut Vec<(BarKey, Bar, isize)>,
) {
    let bar = match bars.entry(key) {
        Entry::Occupied(known) => {
            let bar = known.into_mut();
            changes.push((key, *bar, -1));
            bar.merge(more);
            bar
        }
        Entry::Vacant(place) => place.insert(*more),
    };
    changes.push((key, *bar, 1));
}

#[cfg(test)]
mod tests {
    use k2_model::{Coordinates, Decimal, InstrumentTable, Origin, Side, VendorData};
    use proptest::prelude::*;

    use super::*;

    const HORIZON_NS: i64 = NANOS_PER_DAY;

    type Drawn = (usize, i64, u64, i64, i64);

    fn trade(&(name, minute, sequence, price, quantity): &Drawn) -> Trade {
        let instrument = InstrumentTable::default().resolve("BINANCE", ["A", "B", "C"][name]);
        let ts_event = Nanos(19_944 * NANOS_PER_DAY + minute * MINUTE / 2);
        Trade {
            instrument,
            trade_id: sequence,
            sequence,
            ts_event,
            ts_recv: ts_event,
            price: Decimal(i128::from(price)),
            quantity: Decimal(i128::from(quantity)),
            side: Side::Buy,
            vendor_data: VendorData::EMPTY,
            at: Coordinates { origin: Origin::new("a", 0), offset: sequence },
        }
    }

    /// Five days of half minutes, some of them again and again.
    fn batches() -> impl Strategy<Value = Vec<Vec<Drawn>>> {
        let minute = prop_oneof![0..14_400_i64, (0..20_i64).prop_map(|it| it * 720)];
        let drawn = (0..3_usize, minute, 0..9_u64, 1..50_i64, 0..20_i64);
        prop::collection::vec(prop::collection::vec(drawn, 0..20), 1..20)
    }

    /// From scratch, of all trades.
    fn recomputed(trades: &[Trade], timeframe: Timeframe, from: Nanos) -> BTreeMap<BarKey, Bar> {
        let mut bars = BTreeMap::new();
        for trade in trades {
            let key = (trade.instrument, timeframe.window_start(trade.ts_event));
            let more = Bar::of(trade);
            bars.entry(key).and_modify(|bar: &mut Bar| bar.merge(&more)).or_insert(more);
        }
        bars.retain(|(_, start), _| *start >= from);
        bars
    }

    /// The bars as whoever adds up the changes sees them.
    #[derive(Default)]
    struct Seen {
        bars: [BTreeMap<(BarKey, Bar), isize>; TIMEFRAMES],
        from: Option<Nanos>,
    }

    impl Seen {
        fn see(&mut self, changed: &Changed) {
            for (bars, changes) in self.bars.iter_mut().zip(&changed.bars) {
                for (key, bar, diff) in changes {
                    *bars.entry((*key, *bar)).or_default() += diff;
                }
                bars.retain(|_, count| *count != 0);
            }
            self.from = changed.horizon.or(self.from);
        }

        fn from(&self) -> Nanos {
            self.from.unwrap_or(Nanos(i64::MIN))
        }

        fn of(&self, nth: usize) -> BTreeMap<BarKey, Bar> {
            assert!(self.bars[nth].values().all(|count| *count == 1));
            let bars = self.bars[nth].keys().copied();
            bars.filter(|((_, start), _)| *start >= self.from()).collect()
        }
    }

    proptest! {
        #[test]
        fn bars_are_those_of_all_trades_wherever_they_are_cut_and_resumed(
            batches in batches(),
            resumed_at in 0..20_usize,
        ) {
            let config = BarsConfig { horizon_ns: HORIZON_NS, ..BarsConfig::default() };
            let (mut kept, mut seen) = (KeptBars::new(config.clone()), Seen::default());
            let mut trades: Vec<Trade> = Vec::new();
            for (at, batch) in batches.iter().enumerate() {
                if at == resumed_at {
                    let minutes = recomputed(&trades, Timeframe::M1, kept.behind);
                    let oldest = trades.iter().map(|trade| trade.ts_event).min();
                    let from = oldest.filter(|oldest| *oldest < kept.behind).map(|_| kept.behind);
                    let resumed = minutes.into_iter().collect();
                    kept = KeptBars::new(BarsConfig { resumed, from, ..config.clone() });
                    seen = Seen::default();
                    seen.see(&kept.seed());
                }
                let batch: Vec<Trade> = batch.iter().map(trade).collect();
                seen.see(&kept.add(&MarketBatch::of(&batch)));
                trades.extend(batch);
                for (nth, timeframe) in Timeframe::ALL.into_iter().enumerate() {
                    let expected = recomputed(&trades, timeframe, seen.from());
                    prop_assert_eq!(seen.of(nth), expected, "{}", timeframe);
                }
            }
            // Nothing from before the horizon stays for good.
            while kept.sweep.is_some() {
                let mut changed = Changed::default();
                kept.sweep(7, &mut changed);
                seen.see(&changed);
            }
            for (nth, bars) in kept.bars.iter().enumerate() {
                prop_assert!(bars.keys().all(|(_, start)| *start >= kept.behind));
                let all: BTreeMap<BarKey, Bar> = seen.bars[nth].keys().copied().collect();
                prop_assert_eq!(bars, &all);
            }
        }
    }

    #[test]
    fn one_wrong_clock_does_not_empty_memory() {
        let config = BarsConfig { horizon_ns: HORIZON_NS, ..BarsConfig::default() };
        let mut kept = KeptBars::new(config);
        kept.add(&MarketBatch::of([&trade(&(0, 0, 0, 1, 1))]));
        let behind = kept.behind;
        let wrong = Trade { ts_event: Nanos(30_000 * NANOS_PER_DAY), ..trade(&(0, 1, 1, 1, 1)) };
        let changed = kept.add(&MarketBatch::of([&wrong]));
        assert_eq!((changed.horizon, kept.behind), (None, behind));
        assert_eq!(kept.bars[0].len(), 2, "a bar for each");
    }

    #[test]
    fn a_day_leaves_little_by_little() {
        let config = BarsConfig { horizon_ns: HORIZON_NS, ..BarsConfig::default() };
        let mut kept = KeptBars::new(config);
        let day: Vec<Trade> = (0..2_880).map(|minute| trade(&(0, minute, 0, 1, 1))).collect();
        kept.add(&MarketBatch::of(&day));
        let minutes = kept.bars[0].len();
        assert_eq!(minutes, 1_440);
        let later = trade(&(1, 4 * 2_880, 0, 1, 1));
        let changed = kept.add(&MarketBatch::of([&later]));
        assert_eq!(changed.horizon, Some(kept.behind));
        let left: usize = changed.bars.iter().map(Vec::len).sum();
        assert!((1..=SWEEP_STEPS + SWEEP_STEPS_A_MINUTE + TIMEFRAMES).contains(&left), "{left}");
        let mut batches = 1;
        while kept.sweep.is_some() {
            let changed = kept.add(&MarketBatch::of([&later]));
            assert_eq!(changed.horizon, None);
            batches += 1;
        }
        assert!(batches > 1);
        assert!(kept.bars.iter().all(|bars| bars.len() == 1));
    }
}

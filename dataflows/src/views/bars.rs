//! `ohlcv_1m` … `ohlcv_1d`: bars of all timeframes.
//!
//! * **Input**: unique trades by batch.
//! * **Output**: of each timeframe the bars as they stand: `-1` for what a bar was, `+1` for what
//!   it has become.
//! * **Routing**: none: an instrument's trades are on one worker.
//! * **Progress**: each time is answered at once.
//! * **State**: the bars of the horizon. Those that fall behind it are retracted; from then on
//!   they are computed from the tables.
//! * **Restart**: `resumed` are the one-minute bars of the horizon, read from the table.
//!
//! By hand, because trades come by the million and minutes by the hundred: a time's trades are
//! merged by minute before anything else sees them. What they come to is merged into the bar of
//! each timeframe that they are in: trades are never taken back, so no bar is ever summed up anew
//! from the finer ones, of which a reduction would look at all.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::rc::Rc;

use differential_dataflow::{AsCollection, VecCollection};
use k2_model::time::NANOS_PER_DAY;
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

const TIMEFRAMES: usize = Timeframe::ALL.len();

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
        self.move_horizon(newest, &mut changed);
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
        const MINUTE: i64 = 60 * k2_model::time::NANOS_PER_SECOND;
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

    /// Retracts the days that fall behind the horizon as `newest` comes.
    fn move_horizon(&mut self, newest: Option<Nanos>, changed: &mut Changed) {
        let Some(newest) = newest else { return };
        let behind = Nanos(newest.0.saturating_sub(self.horizon_ns)).floor(NANOS_PER_DAY);
        if behind <= self.behind {
            return;
        }
        self.behind = behind;
        let mut has_left = false;
        // Every window begins and ends on one side of a midnight.
        for (bars, changes) in self.bars.iter_mut().zip(&mut changed.bars) {
            bars.retain(|key, bar| {
                let stays = key.1 >= behind;
                if !stays {
                    changes.push((*key, *bar, -1));
                }
                stays
            });
            has_left |= !changes.is_empty();
        }
        if has_left || self.from.is_some() {
            self.leave(changed);
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

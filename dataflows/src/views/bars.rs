//! `ohlcv_1m` … `ohlcv_1d`: bars, each timeframe built from the finer one.
//!
//! * **Input**: unique trades by batch.
//! * **Output**: of each timeframe the bars as they stand: `-1` for what a bar was, `+1` for what
//!   it has become.
//! * **Routing**: none: an instrument's trades are on one worker.
//! * **Progress**: each time is answered at once.
//! * **State**: the one-minute bars of the horizon, and the arrangements of the coarser ones. A
//!   bar that falls behind the horizon is retracted, and with it goes all that was built on it;
//!   from then on it is computed from the tables.
//! * **Restart**: `resumed` are the one-minute bars of the horizon, read from the table.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use differential_dataflow::trace::implementations::{ValBuilder, ValSpine};
use differential_dataflow::{AsCollection, VecCollection};
use k2_model::time::NANOS_PER_DAY;
use k2_model::{Bar, Instrument, Nanos, Time, Timeframe, Trade};
use k2_operators::kit::arrange::arrange_by_key_here;
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
    let (minutes, horizon) = one_minute(judged, config);
    let mut by_timeframe = vec![minutes];
    for timeframe in &Timeframe::ALL[1..] {
        let finer = by_timeframe.last().expect("there is a finest timeframe").clone();
        by_timeframe.push(coarser(finer, *timeframe));
    }
    Bars { by_timeframe, horizon }
}

/// Merges the bars of the next finer timeframe. At most 24 of them make one.
fn coarser<'scope>(finer: KeyedBars<'scope>, timeframe: Timeframe) -> KeyedBars<'scope> {
    let keyed = finer.map(move |((instrument, start), bar)| {
        ((instrument, timeframe.window_start(start)), (start, bar))
    });
    arrange_by_key_here(keyed, &format!("Arrange: Bars {timeframe}"))
        .reduce_abelian::<_, ValBuilder<_, _, _, _>, ValSpine<BarKey, Bar, Time, isize>, _, _>(
            &format!("Bars {timeframe}"),
            |_key, finer, merged| {
                let mut bars = finer.iter().map(|((_, bar), _)| bar);
                let mut sum = *bars.next().expect("a key that is reduced has values");
                bars.for_each(|bar| sum.merge(bar));
                merged.push((sum, 1));
            },
            |updates, key, changes| {
                updates.clear();
                updates
                    .extend(changes.drain(..).map(|(bar, time, diff)| ((*key, bar), time, diff)));
            },
        )
        .as_collection(|key, bar| (*key, *bar))
}

type Minutes<'scope> = (KeyedBars<'scope>, StreamVec<'scope, Time, Nanos>);

/// One-minute bars. By hand, because trades come by the million and minutes by the hundred: a
/// time's trades are merged by minute before anything of differential dataflow sees them.
fn one_minute<'scope>(
    judged: StreamVec<'scope, Time, Rc<Judged<Trade>>>,
    config: BarsConfig,
) -> Minutes<'scope> {
    let updates = judged.unary(Pipeline, "Bars 1m", |capability, _info| {
        let mut minutes = MinuteBars::new(config);
        // What the bars start with is given at the first activation, at the least time.
        let mut seed = Some(capability);
        move |input, output| {
            if let Some(capability) = seed.take() {
                output.session(&capability).give(Rc::new(minutes.seed()));
            }
            input.for_each_time(|time, batches| {
                let mut session = output.session(&time);
                for judged in batches.flat_map(|batch| batch.drain(..)) {
                    let changed = minutes.add(&judged.unique);
                    session.give(Rc::new(changed));
                }
            });
        }
    });
    let bars = k2_operators::kit::expand::expand(updates.clone(), "Bars 1m changes", {
        |changed: &Changed, time, given| {
            given.extend(changed.bars.iter().map(|(key, bar, diff)| ((*key, *bar), time, *diff)));
        }
    });
    let horizon = k2_operators::kit::expand::expand(updates, "Bars horizon", {
        |changed: &Changed, _time, given| given.extend(changed.horizon)
    });
    (bars.as_collection(), horizon)
}

/// How the one-minute bars changed over one time.
#[derive(Debug, Default)]
struct Changed {
    bars: Vec<(BarKey, Bar, isize)>,
    horizon: Option<Nanos>,
}

/// The one-minute bars of the horizon. Pure: its only clock is the newest trade.
struct MinuteBars {
    bars: BTreeMap<BarKey, Bar>,
    /// Windows that start before it are not kept. A UTC midnight; only ever rises.
    behind: Nanos,
    /// `behind`, once a bar before it has been left out; until then all bars are here.
    from: Option<Nanos>,
    horizon_ns: i64,
    /// Of this time: instrument → its latest minute and that one's place in `merged`.
    places: AddressMap<(Nanos, usize)>,
    merged: Vec<(BarKey, Bar)>,
}

impl MinuteBars {
    fn new(config: BarsConfig) -> Self {
        let BarsConfig { resumed, from, horizon_ns } = config;
        Self {
            bars: resumed.into_iter().collect(),
            behind: from.unwrap_or(Nanos(i64::MIN)),
            from,
            horizon_ns,
            places: AddressMap::default(),
            merged: Vec::new(),
        }
    }

    fn seed(&self) -> Changed {
        let bars = self.bars.iter().map(|(key, bar)| (*key, *bar, 1)).collect();
        Changed { bars, horizon: self.from }
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
        for (key, more) in merged.drain(..) {
            if key.1 < self.behind {
                // Its bar is not in memory, so no bar before the horizon may be answered from it.
                self.leave(&mut changed);
                continue;
            }
            let mut bar = more;
            if let Some(before) = self.bars.get(&key) {
                changed.bars.push((key, *before, -1));
                bar.merge(before);
            }
            changed.bars.push((key, bar, 1));
            self.bars.insert(key, bar);
        }
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
        let before = self.bars.len();
        self.bars.retain(|key, bar| {
            if key.1 < behind {
                changed.bars.push((*key, *bar, -1));
            }
            key.1 >= behind
        });
        if self.bars.len() < before || self.from.is_some() {
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

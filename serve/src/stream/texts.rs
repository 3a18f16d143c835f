//! Rows as text, made once for all readers of the same rows.
//!
//! The texts are those of every other answer, written by `format`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k2_dataflows::live::Group;
use k2_model::{Instrument, Nanos, Time, Timeframe, Trade};
use k2_operators::MarketRecord;

use crate::format::row_objects;
use crate::stream::moment::Moment;
use crate::views::bars;

/// Bytes of texts that are kept for other readers.
const BYTES_MAX: usize = 16 << 20;

/// Which rows a text is of, at the time of [`Key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rows {
    /// Of an epoch: the number of the first, and of the one behind the last.
    Trades(u64, u64),
    /// As it stood at a frontier.
    Latest(Instrument),
    Bar(Timeframe, Instrument, Nanos),
}

type Key = (Time, Rows);

/// The latest texts.
#[derive(Default)]
pub(crate) struct Texts(Mutex<Known>);

#[derive(Default)]
struct Known {
    texts: BTreeMap<Key, Arc<str>>,
    bytes: usize,
}

/// Some rows of an epoch that stand one behind the other.
pub(crate) struct Run<'a> {
    pub(crate) epoch: Time,
    pub(crate) numbers: Range<u64>,
    pub(crate) group: Group<'a>,
}

impl Run<'_> {
    fn trades(&self) -> impl Iterator<Item = Trade> + '_ {
        let Group { batch, instrument, rows, .. } = &self.group;
        rows.clone().map(|at| Trade::of(batch.columns().row(*instrument, at)))
    }
}

impl Texts {
    /// A text for each of `runs`.
    pub(crate) fn of_runs(&self, runs: &[Run<'_>]) -> Vec<Arc<str>> {
        let key = |run: &Run<'_>| (run.epoch, Rows::Trades(run.numbers.start, run.numbers.end));
        self.texts(runs.iter().map(key).collect(), |missing| {
            let runs = || missing.iter().map(|at| &runs[*at]);
            let trades: Vec<Trade> = runs().flat_map(Run::trades).collect();
            row_objects(&trades, runs().map(|run| run.group.rows.len()))
        })
    }

    /// A text for each of `trades`, which are the latest of their instruments at `frontier`.
    pub(crate) fn of_latest(&self, frontier: Time, trades: &[Trade]) -> Vec<Arc<str>> {
        let key = |trade: &Trade| (frontier, Rows::Latest(trade.instrument));
        self.texts(trades.iter().map(key).collect(), |missing| {
            let trades: Vec<Trade> = missing.iter().map(|at| trades[*at].clone()).collect();
            row_objects(&trades, trades.iter().map(|_| 1))
        })
    }

    /// A text for each of `bars`, as they stand at `moment`.
    pub(crate) fn of_bars(
        &self,
        moment: &Moment,
        timeframe: Timeframe,
        bars: &[bars::Entry],
    ) -> Vec<Arc<str>> {
        let key =
            |(it, start, _): &bars::Entry| (moment.frontier, Rows::Bar(timeframe, *it, *start));
        self.texts(bars.iter().map(key).collect(), |missing| {
            let bars: Vec<bars::Entry> = missing.iter().map(|at| bars[*at]).collect();
            bars_texts(moment, timeframe, &bars)
        })
    }

    /// The texts of `keys`; `make` makes those that are missing. Two readers may make the same
    /// one at once: to wait for each other would cost more.
    fn texts(&self, keys: Vec<Key>, make: impl FnOnce(&[usize]) -> Vec<Arc<str>>) -> Vec<Arc<str>> {
        let known = self.known();
        let mut texts: Vec<Option<Arc<str>>> =
            keys.iter().map(|key| known.texts.get(key).cloned()).collect();
        drop(known);
        let missing: Vec<usize> = (0..keys.len()).filter(|at| texts[*at].is_none()).collect();
        if !missing.is_empty() {
            let made = make(&missing);
            let mut known = self.known();
            for (at, text) in missing.into_iter().zip(made) {
                known.keep(keys[at], &text);
                texts[at] = Some(text);
            }
        }
        texts.into_iter().flatten().collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn keep(&mut self, key: Key, text: &Arc<str>) {
        self.bytes += text.len();
        let before = self.texts.insert(key, Arc::clone(text));
        self.bytes -= before.map_or(0, |before| before.len());
        while self.bytes > BYTES_MAX
            && let Some((_, oldest)) = self.texts.pop_first()
        {
            self.bytes -= oldest.len();
        }
    }
}

/// Each of `bars` as a text, with whether it is final.
pub(crate) fn bars_texts(
    moment: &Moment,
    timeframe: Timeframe,
    bars: &[bars::Entry],
) -> Vec<Arc<str>> {
    let rows: Vec<_> = bars.iter().map(|entry| moment.bar_row(timeframe, *entry)).collect();
    row_objects(&rows, bars.iter().map(|_| 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_made_once_and_the_oldest_make_room() {
        let texts = Texts::default();
        let key = |epoch| (epoch, Rows::Trades(0, 1));
        let long: Arc<str> = "x".repeat(BYTES_MAX / 2).into();
        let make = |missing: &[usize]| missing.iter().map(|_| Arc::clone(&long)).collect();
        assert_eq!(texts.texts(vec![key(1), key(2)], make).len(), 2);
        let never = |_: &[usize]| -> Vec<Arc<str>> { panic!("both are known") };
        assert_eq!(texts.texts(vec![key(2), key(1)], never).len(), 2);
        assert_eq!(texts.texts(vec![key(3)], make).len(), 1);
        let mut made = Vec::new();
        texts.texts(vec![key(1), key(2), key(3)], |missing| {
            made = missing.to_vec();
            make(missing)
        });
        assert_eq!(made, [0], "the oldest had made room");
    }
}

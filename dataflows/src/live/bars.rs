//! The bars of one timeframe, as a persistent value.
//!
//! To change an entry of a shared map copies the leaf that it is in, with all bars beside it. The
//! newest bar of an instrument changes at almost every epoch, so those are kept apart, where one
//! leaf has those of many instruments: then a hundred of them are a few leaves, not a hundred.

use std::ops::RangeInclusive;

use imbl::OrdMap;
use k2_model::{Bar, Instrument, Nanos};

use super::BarKey;

/// Bars by instrument and start of their window. A clone shares all of them.
#[derive(Clone, Debug, Default)]
pub struct BarMap {
    newest: OrdMap<Instrument, (Nanos, Bar)>,
    /// Each is older than the newest of its instrument, which there is.
    older: OrdMap<BarKey, Bar>,
}

impl BarMap {
    pub fn get(&self, key: &BarKey) -> Option<&Bar> {
        let (newest, bar) = self.newest.get(&key.0)?;
        if *newest == key.1 { Some(bar) } else { self.older.get(key) }
    }

    /// The bars of `instrument` whose windows start within `starts`, oldest first.
    pub fn of(
        &self,
        instrument: Instrument,
        starts: RangeInclusive<Nanos>,
    ) -> impl DoubleEndedIterator<Item = (Nanos, &Bar)> {
        let newest = self.newest.get(&instrument).filter(|(start, _)| starts.contains(start));
        let keys = (instrument, *starts.start())..=(instrument, *starts.end());
        let older = (!starts.is_empty()).then(|| self.older.range(keys));
        let older = older.into_iter().flatten().map(|((_, start), bar)| (*start, bar));
        older.chain(newest.map(|(start, bar)| (*start, bar)))
    }

    /// All bars: those of an instrument oldest first, but not one after the other.
    pub fn iter(&self) -> impl Iterator<Item = (BarKey, &Bar)> {
        let newest =
            self.newest.iter().map(|(instrument, (start, bar))| ((*instrument, *start), bar));
        self.older.iter().map(|(key, bar)| (*key, bar)).chain(newest)
    }

    /// Puts a bar in the place of the one that was there, if there was one.
    pub fn insert(&mut self, key: BarKey, bar: Bar) {
        let (instrument, start) = key;
        match self.newest.get(&instrument) {
            Some((newest, _)) if start < *newest => drop(self.older.insert(key, bar)),
            Some((newest, known)) if *newest < start => {
                self.older.insert((instrument, *newest), *known);
                self.newest.insert(instrument, (start, bar));
            }
            _ => drop(self.newest.insert(instrument, (start, bar))),
        }
    }

    /// Adds `bar` to the one that is there.
    pub fn merge(&mut self, key: BarKey, mut bar: Bar) {
        if let Some(known) = self.get(&key) {
            bar.merge(known);
        }
        self.insert(key, bar);
    }

    /// Takes a bar out, if it is there.
    pub fn remove(&mut self, key: &BarKey) {
        let (instrument, start) = *key;
        if self.newest.get(&instrument).is_none_or(|(newest, _)| *newest != start) {
            self.older.remove(key);
            return;
        }
        let before = self.older.range((instrument, Nanos(i64::MIN))..*key).next_back();
        match before.map(|(key, bar)| (*key, *bar)) {
            Some((next, bar)) => {
                self.older.remove(&next);
                self.newest.insert(instrument, (next.1, bar));
            }
            None => drop(self.newest.remove(&instrument)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k2_model::bar::Edge;
    use k2_model::{Decimal, InstrumentTable};
    use proptest::prelude::*;

    use super::*;

    fn bar(number: u64) -> Bar {
        let price = Decimal(i128::from(number));
        let edge = Edge { ts_event: Nanos(0), sequence: number, price };
        let (high, low, volume, notional) = (price, price, price, Default::default());
        Bar { open: edge, close: edge, high, low, volume, notional, trade_count: number }
    }

    proptest! {
        #[test]
        fn bars_are_those_of_a_plain_map(
            steps in prop::collection::vec((0usize..3, 0i64..12, any::<bool>()), 0..80),
            starts in (0i64..12, 0i64..12),
        ) {
            let known = InstrumentTable::default();
            let instruments = ["A", "B", "C"].map(|raw| known.resolve("X", raw));
            let (mut map, mut plain) = (BarMap::default(), BTreeMap::<BarKey, Bar>::new());
            for ((which, start, is_removal), number) in steps.into_iter().zip(1..) {
                let key = (instruments[which], Nanos(start));
                if is_removal {
                    map.remove(&key);
                    plain.remove(&key);
                } else {
                    map.insert(key, bar(number));
                    plain.insert(key, bar(number));
                }
                prop_assert_eq!(map.get(&key), plain.get(&key));
            }
            let all: BTreeMap<BarKey, Bar> = map.iter().map(|(key, bar)| (key, *bar)).collect();
            prop_assert_eq!(map.iter().count(), plain.len());
            prop_assert_eq!(&all, &plain);
            let starts = Nanos(starts.0)..=Nanos(starts.1);
            for instrument in instruments {
                let within = |(key, _): &(&BarKey, &Bar)| {
                    key.0 == instrument && starts.contains(&key.1)
                };
                let expected = plain.iter().filter(within).map(|(key, bar)| (key.1, bar));
                let found: Vec<_> = map.of(instrument, starts.clone()).collect();
                prop_assert_eq!(&found, &expected.collect::<Vec<_>>());
                let back: Vec<_> = map.of(instrument, starts.clone()).rev().collect();
                prop_assert!(back.into_iter().rev().eq(found));
            }
        }
    }
}

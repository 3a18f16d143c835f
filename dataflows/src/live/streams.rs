//! The counts of a worker's streams, with what every look-up asks of them: which instruments have a
//! symbol, and how far the clock of a venue is. There may be ten thousand streams.

use imbl::OrdMap;
use k2_model::{DataType, Instrument, Nanos, Stream};
use k2_operators::sequence::StreamCounts;

/// Counts by stream. A persistent value: a clone shares what is not changed.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    counts: OrdMap<Stream, StreamCounts>,
    /// The instruments of all streams, by symbol.
    by_symbol: OrdMap<&'static str, Vec<Instrument>>,
    /// Of each venue the greatest event time over its trades.
    clocks: OrdMap<&'static str, Nanos>,
}

impl Streams {
    /// Counts of a stream never go back, so neither does the clock of its venue.
    pub fn insert(&mut self, stream: Stream, counts: StreamCounts) {
        let names = stream.instrument.parts();
        if let (DataType::Trades, Some(last)) = (stream.data_type, counts.last_event)
            && self.clocks.get(&*names.venue).is_none_or(|clock| *clock < last)
        {
            self.clocks.insert(&names.venue, last);
        }
        if self.counts.insert(stream, counts).is_none() {
            let named = self.by_symbol.entry(&names.symbol).or_default();
            if let Err(place) = named.binary_search(&stream.instrument) {
                named.insert(place, stream.instrument);
            }
        }
    }

    /// Adds `more` to the counts of a stream.
    pub fn merge(&mut self, stream: Stream, more: &StreamCounts) {
        let mut counts = self.get(&stream).cloned().unwrap_or_default();
        counts.merge(more);
        self.insert(stream, counts);
    }

    pub fn get(&self, stream: &Stream) -> Option<&StreamCounts> {
        self.counts.get(stream)
    }

    pub fn contains(&self, stream: &Stream) -> bool {
        self.counts.contains_key(stream)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Stream, &StreamCounts)> {
        self.counts.iter()
    }

    pub fn len(&self) -> usize {
        self.counts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The instruments of `symbol` that have a stream of any kind, in their order.
    pub fn named(&self, symbol: &str) -> &[Instrument] {
        self.by_symbol.get(symbol).map_or(&[], Vec::as_slice)
    }

    /// Of each venue the greatest event time over its trades.
    pub fn clocks(&self) -> impl Iterator<Item = (&'static str, Nanos)> {
        self.clocks.iter().map(|(venue, clock)| (*venue, *clock))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use k2_model::InstrumentTable;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_and_clocks_are_those_of_all_streams(
            changes in prop::collection::vec((0..3_usize, 0..4_usize, any::<bool>(), 0..90_i64), 0..60),
        ) {
            let known = InstrumentTable::default();
            let mut streams = Streams::default();
            let mut all: BTreeMap<Stream, StreamCounts> = BTreeMap::new();
            for (venue, raw, is_trade, event) in changes {
                // Two spellings of one symbol are among them.
                let venue = ["BINANCE", "KRAKEN", "X"][venue];
                let instrument = known.resolve(venue, ["BTCUSDT", "ETHUSDT", "A", "B"][raw]);
                let data_type = if is_trade { DataType::Trades } else { DataType::Quotes };
                let stream = Stream { instrument, data_type };
                let one = StreamCounts {
                    unique: 1, last_event: Some(Nanos(event)), ..StreamCounts::default()
                };
                streams.merge(stream, &one);
                all.entry(stream).or_default().merge(&one);
            }
            prop_assert!(streams.iter().eq(all.iter()));
            let mut clocks: BTreeMap<&str, Nanos> = BTreeMap::new();
            for (stream, counts) in &all {
                let named = streams.named(&stream.instrument.symbol);
                prop_assert!(named.contains(&stream.instrument));
                if let (DataType::Trades, Some(last)) = (stream.data_type, counts.last_event) {
                    let clock = clocks.entry(&stream.instrument.parts().venue).or_insert(last);
                    *clock = last.max(*clock);
                }
            }
            prop_assert!(streams.clocks().eq(clocks));
            let instruments: BTreeSet<Instrument> = all.keys().map(|it| it.instrument).collect();
            let names: BTreeSet<&str> = instruments.iter().map(|it| &*it.parts().symbol).collect();
            let named: Vec<Instrument> =
                names.iter().flat_map(|symbol| streams.named(symbol)).copied().collect();
            prop_assert_eq!(named.len(), instruments.len());
        }
    }
}

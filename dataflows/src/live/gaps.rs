//! The open gaps of a worker's streams, summed up by stream: every answer tells how many there
//! are and shows the worst, and there may be hundreds of thousands.

use std::cmp::Reverse;

use imbl::{OrdMap, OrdSet};
use k2_model::{Gap, Stream};

/// Open gaps, by stream. A persistent value: a clone shares what is not changed.
#[derive(Clone, Debug, Default)]
pub struct OpenGaps {
    streams: OrdMap<Stream, StreamGaps>,
    /// The streams that have any, by symbol.
    by_symbol: OrdMap<&'static str, Vec<Stream>>,
}

/// The open gaps of one stream; at least one.
#[derive(Clone, Debug, Default)]
pub struct StreamGaps {
    missing: u64,
    worst_first: OrdSet<(Reverse<u64>, Gap)>,
}

impl OpenGaps {
    pub fn insert(&mut self, gap: Gap) {
        if !self.streams.contains_key(&gap.stream) {
            let symbol = &*gap.stream.instrument.parts().symbol;
            self.by_symbol.entry(symbol).or_default().push(gap.stream);
        }
        let stream = self.streams.entry(gap.stream).or_default();
        let missing = gap.missing();
        if stream.worst_first.insert((Reverse(missing), gap)).is_none() {
            stream.missing = stream.missing.saturating_add(missing);
        }
    }

    pub fn remove(&mut self, gap: &Gap) {
        let Some(stream) = self.streams.get_mut(&gap.stream) else { return };
        let missing = gap.missing();
        if stream.worst_first.remove(&(Reverse(missing), gap.clone())).is_some() {
            stream.missing = stream.missing.saturating_sub(missing);
        }
        if stream.worst_first.is_empty() {
            self.streams.remove(&gap.stream);
            let symbol = &*gap.stream.instrument.parts().symbol;
            if let Some(named) = self.by_symbol.get_mut(symbol) {
                named.retain(|stream| *stream != gap.stream);
            }
        }
    }

    /// The gaps of the streams of one symbol.
    pub fn named(&self, symbol: &str) -> impl Iterator<Item = (&Stream, &StreamGaps)> {
        let streams = self.by_symbol.get(symbol).into_iter().flatten();
        streams.filter_map(|stream| Some((stream, self.streams.get(stream)?)))
    }

    pub fn by_stream(&self) -> impl Iterator<Item = (&Stream, &StreamGaps)> {
        self.streams.iter()
    }

    /// Stream after stream, of each the worst first.
    pub fn iter(&self) -> impl Iterator<Item = &Gap> {
        self.streams.values().flat_map(StreamGaps::worst_first)
    }
}

impl StreamGaps {
    /// How many there are.
    pub fn open(&self) -> u64 {
        self.worst_first.len() as u64
    }

    /// How many numbers are missing in all of them.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    pub fn worst_first(&self) -> impl Iterator<Item = &Gap> {
        self.worst_first.iter().map(|(_, gap)| gap)
    }
}

#[cfg(test)]
mod tests {
    use k2_model::{DataType, GapCause, InstrumentTable, Nanos};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_summed_up_is_what_is_open(
            changes in prop::collection::vec((0usize..3, 0u64..12, 0u64..9, any::<bool>()), 0..80),
        ) {
            let known = InstrumentTable::default();
            let streams = ["A", "B", "C"].map(|raw| Stream {
                instrument: known.resolve("X", raw), data_type: DataType::Trades,
            });
            let (mut gaps, mut all) = (OpenGaps::default(), Vec::<Gap>::new());
            for (stream, first_missing, more, opens) in changes {
                let gap = Gap {
                    stream: streams[stream],
                    first_missing,
                    last_missing: first_missing + more,
                    revealed: Nanos(0),
                    healed: None,
                    cause: GapCause::Feed,
                };
                all.retain(|known| *known != gap);
                if opens {
                    gaps.insert(gap.clone());
                    all.push(gap);
                } else {
                    gaps.remove(&gap);
                }
            }
            let mut found: Vec<Gap> = gaps.iter().cloned().collect();
            found.sort();
            all.sort();
            prop_assert_eq!(&found, &all);
            let named: usize = ["A", "B", "C"].map(|it| gaps.named(it).count()).iter().sum();
            prop_assert_eq!(named, gaps.by_stream().count());
            for (stream, of_it) in gaps.by_stream() {
                let mut named = gaps.named(&stream.instrument.symbol);
                prop_assert!(named.any(|(named, gaps)| named == stream && gaps.open() > 0));
                let own: Vec<&Gap> = all.iter().filter(|gap| gap.stream == *stream).collect();
                prop_assert!(!own.is_empty());
                prop_assert_eq!(of_it.open(), own.len() as u64);
                prop_assert_eq!(of_it.missing(), own.iter().map(|gap| gap.missing()).sum::<u64>());
                prop_assert!(of_it.worst_first().is_sorted_by_key(|gap| Reverse(gap.missing())));
            }
        }
    }
}

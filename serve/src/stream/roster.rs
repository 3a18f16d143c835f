//! The instruments that trade, and which of them a subscription is of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k2_dataflows::live::Version;
use k2_model::{DataType, Instrument};

/// All instruments with a stream of trades.
pub(crate) struct Roster {
    /// In their own order.
    all: Vec<Instrument>,
    /// Where a venue spells one symbol in several ways: each spelling → all of them.
    twins: BTreeMap<Instrument, Arc<[Instrument]>>,
    streams: usize,
}

impl Roster {
    pub(crate) fn of(versions: &[Arc<Version>]) -> Self {
        let streams = versions.iter().flat_map(|version| version.views.streams.iter());
        let trades = streams.filter(|(stream, _)| stream.data_type == DataType::Trades);
        let all: BTreeSet<Instrument> = trades.map(|(stream, _)| stream.instrument).collect();
        let mut named: BTreeMap<(&str, &str), Vec<Instrument>> = BTreeMap::new();
        for instrument in &all {
            named.entry((&instrument.venue, &instrument.symbol)).or_default().push(*instrument);
        }
        let several = named.into_values().filter(|spellings| spellings.len() > 1);
        let twins = several.flat_map(|spellings| {
            let spellings: Arc<[Instrument]> = spellings.into();
            let each: Vec<Instrument> = spellings.to_vec();
            each.into_iter().map(move |spelling| (spelling, Arc::clone(&spellings)))
        });
        Self {
            twins: twins.collect(),
            all: all.into_iter().collect(),
            streams: streams_in(versions),
        }
    }

    /// Whether `versions` have no other streams. Streams never go.
    pub(crate) fn is_of(&self, versions: &[Arc<Version>]) -> bool {
        self.streams == streams_in(versions)
    }

    pub(crate) fn all(&self) -> &[Instrument] {
        &self.all
    }

    /// All spellings of the symbol that `instrument` is, itself among them.
    pub(crate) fn spellings<'a>(&'a self, instrument: &'a Instrument) -> &'a [Instrument] {
        let one = std::slice::from_ref(instrument);
        self.twins.get(instrument).map_or(one, |spellings| spellings)
    }
}

fn streams_in(versions: &[Arc<Version>]) -> usize {
    versions.iter().map(|version| version.views.streams.len()).sum()
}

/// Of which symbols a subscription is: none named is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) symbols: BTreeSet<String>,
    pub(crate) venues: BTreeSet<String>,
}

impl Names {
    pub(crate) fn is_all(&self) -> bool {
        self.symbols.is_empty() && self.venues.is_empty()
    }

    /// A symbol is found by its canonical name and by the venue's own.
    pub(crate) fn admit(&self, instrument: &Instrument) -> bool {
        let is_named = self.symbols.is_empty()
            || self.symbols.contains(&*instrument.symbol)
            || self.symbols.contains(&*instrument.raw_symbol);
        is_named && (self.venues.is_empty() || self.venues.contains(&*instrument.venue))
    }

    /// Those of `roster`, in their own order.
    pub(crate) fn of(&self, roster: &Roster) -> Vec<Instrument> {
        let admitted = roster.all().iter().filter(|instrument| self.admit(instrument));
        // Who asks for one spelling of a symbol asks for the symbol.
        let spelled = admitted.flat_map(|instrument| roster.spellings(instrument));
        spelled.copied().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

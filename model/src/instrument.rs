//! Instruments: what a venue's raw symbol stands for.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::intern::Interner;

static INSTRUMENTS: Interner<Entry> = Interner::new();

/// Raw symbols that are in no instrument data and that one job takes; past it a message is
/// rejected, because each one is kept in memory for the life of the process.
pub const UNKNOWN_INSTRUMENTS_MAX: usize = 100_000;

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum AssetClass {
    Equities,
    #[default]
    Crypto,
    Futures,
    Options,
}

impl AssetClass {
    pub const ALL: [Self; 4] = [Self::Equities, Self::Crypto, Self::Futures, Self::Options];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equities => "equities",
            Self::Crypto => "crypto",
            Self::Futures => "futures",
            Self::Options => "options",
        }
    }
}

/// An instrument at a venue. An 8-byte handle: equal handles are equal instruments.
///
/// Ordered by (venue, symbol, raw symbol).
#[derive(Clone, Copy)]
pub struct Instrument(&'static Entry);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    parts: InstrumentParts,
    route: u64,
}

/// What is known of an instrument.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstrumentParts {
    pub venue: Box<str>,
    /// Canonical: `BASE-QUOTE` for crypto; the raw symbol where instrument data has no entry.
    pub symbol: Box<str>,
    /// The venue's own spelling.
    pub raw_symbol: Box<str>,
    #[serde(default)]
    pub asset_class: AssetClass,
    /// Base asset; empty if unknown.
    #[serde(default)]
    pub base: Box<str>,
    /// Quote asset, which is the currency of the price; empty if unknown.
    #[serde(default)]
    pub quote: Box<str>,
    /// Priority, 1 (never deferred) to 4 (deferred first).
    #[serde(default = "InstrumentParts::default_tier")]
    pub tier: u8,
}

impl InstrumentParts {
    fn default_tier() -> u8 {
        3
    }
}

impl Instrument {
    pub fn new(parts: InstrumentParts) -> Self {
        let venue = xxh3_64(parts.venue.as_bytes());
        let route = xxh3_64_with_seed(parts.raw_symbol.as_bytes(), venue);
        Self(INSTRUMENTS.intern(Entry { parts, route }))
    }

    /// Where the instrument's records go: a hash of its names that is the same in each process.
    pub fn route(self) -> u64 {
        self.0.route
    }

    /// A number that tells instruments apart within this process; for tables, never for order.
    pub fn address(self) -> usize {
        std::ptr::from_ref(self.0).addr()
    }
}

impl Deref for Instrument {
    type Target = InstrumentParts;

    fn deref(&self) -> &InstrumentParts {
        &self.0.parts
    }
}

impl PartialEq for Instrument {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Instrument {}

impl PartialOrd for Instrument {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Instrument {
    fn cmp(&self, other: &Self) -> Ordering {
        if self == other { Ordering::Equal } else { self.0.cmp(other.0) }
    }
}

impl Hash for Instrument {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.route().hash(state);
    }
}

impl fmt::Debug for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.venue, self.symbol)
    }
}

impl Serialize for Instrument {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.parts.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Instrument {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        InstrumentParts::deserialize(deserializer).map(Self::new)
    }
}

/// A job's instrument data: (venue, raw symbol) → instrument.
#[derive(Clone, Debug, Default)]
pub struct InstrumentTable {
    by_raw: BTreeMap<Box<str>, BTreeMap<Box<str>, Instrument>>,
}

impl InstrumentTable {
    /// Adds `instrument`, in place of an earlier one of the same venue and raw symbol.
    pub fn insert(&mut self, instrument: Instrument) {
        let venue = self.by_raw.entry(instrument.venue.clone()).or_default();
        venue.insert(instrument.raw_symbol.clone(), instrument);
    }

    pub fn get(&self, venue: &str, raw_symbol: &str) -> Option<Instrument> {
        self.by_raw.get(venue)?.get(raw_symbol).copied()
    }

    /// The instrument of `raw_symbol`; where there is none, one that keeps the raw spelling.
    pub fn resolve(&self, venue: &str, raw_symbol: &str) -> Instrument {
        self.get(venue, raw_symbol).unwrap_or_else(|| {
            Instrument::new(InstrumentParts {
                venue: venue.into(),
                symbol: raw_symbol.into(),
                raw_symbol: raw_symbol.into(),
                asset_class: AssetClass::default(),
                base: Box::default(),
                quote: Box::default(),
                tier: InstrumentParts::default_tier(),
            })
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = Instrument> + '_ {
        self.by_raw.values().flat_map(|venue| venue.values().copied())
    }

    pub fn len(&self) -> usize {
        self.by_raw.values().map(BTreeMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.by_raw.is_empty()
    }
}

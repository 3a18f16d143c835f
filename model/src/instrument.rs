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

/// Bytes of a raw symbol; a longer one is not a symbol but a mangled message.
pub const RAW_SYMBOL_BYTES_MAX: usize = 64;

/// Whether `text` can be a venue's own spelling of a symbol.
pub fn is_raw_symbol(text: &str) -> bool {
    (1..=RAW_SYMBOL_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_raw_symbol_byte)
}

/// ASCII letters, digits and what venues put between them.
pub(crate) fn is_raw_symbol_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-./:+@#".contains(&byte)
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
    pub(crate) fn default_tier() -> u8 {
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
    #[inline]
    pub fn route(self) -> u64 {
        self.0.route
    }

    /// What is known of it, for as long as the process runs.
    pub fn parts(self) -> &'static InstrumentParts {
        &self.0.parts
    }

    /// A number that tells instruments apart within this process; for tables, never for order.
    #[inline]
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

/// By the hash of the name, which is the same everywhere and compares in one step; by the name
/// itself where two hashes meet. Not the order of names: who shows names sorts by them.
impl Ord for Instrument {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        if self == other {
            return Ordering::Equal;
        }
        self.0.route.cmp(&other.0.route).then_with(|| self.0.parts.cmp(&other.0.parts))
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

/// The instrument data that K2 ships.
const SHIPPED: [&str; 2] = [
    include_str!("../data/instruments/binance.toml"),
    include_str!("../data/instruments/binance_usdm.toml"),
];

/// Why a text is not instrument data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read instrument data, line {line}: {reason}")]
pub struct InstrumentDataError {
    /// From 1.
    pub line: usize,
    pub reason: String,
}

/// One line of instrument data, which is named by its venue and raw symbol.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// If absent, `BASE-QUOTE` where both are known, otherwise the raw symbol.
    symbol: Option<Box<str>>,
    #[serde(default)]
    asset_class: AssetClass,
    #[serde(default)]
    base: Box<str>,
    #[serde(default)]
    quote: Box<str>,
    #[serde(default = "InstrumentParts::default_tier", deserialize_with = "tier")]
    tier: u8,
}

fn tier<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let tier = i64::deserialize(deserializer)?;
    let known = u8::try_from(tier).ok().filter(|tier| (1..=4).contains(tier));
    known.ok_or_else(|| serde::de::Error::custom(format!("tier {tier} is not from 1 to 4")))
}

impl Row {
    fn instrument(self, venue: &str, raw_symbol: &str) -> Instrument {
        let Self { symbol, asset_class, base, quote, tier } = self;
        let symbol = symbol.unwrap_or_else(|| {
            if base.is_empty() || quote.is_empty() {
                raw_symbol.into()
            } else {
                format!("{base}-{quote}").into()
            }
        });
        let (venue, raw_symbol) = (venue.into(), raw_symbol.into());
        Instrument::new(InstrumentParts {
            venue,
            symbol,
            raw_symbol,
            asset_class,
            base,
            quote,
            tier,
        })
    }
}

/// A job's instrument data: (venue, raw symbol) → instrument.
#[derive(Clone, Debug, Default)]
pub struct InstrumentTable {
    by_raw: BTreeMap<Box<str>, BTreeMap<Box<str>, Instrument>>,
}

impl InstrumentTable {
    /// The instruments that K2 knows by itself.
    pub fn shipped() -> Self {
        let mut table = Self::default();
        for text in SHIPPED {
            table.extend_from_toml(text).expect("the shipped data is read in a test");
        }
        table
    }

    /// Adds the instruments of `text`, in place of earlier ones of the same venue and raw symbol.
    /// At an error nothing is added.
    ///
    /// A venue is a table, and each of its raw symbols a line:
    ///
    /// ```
    /// # use k2_model::{AssetClass, InstrumentTable};
    /// # let mut table = InstrumentTable::default();
    /// table.extend_from_toml(r#"
    /// [BINANCE]
    /// BTCUSDT = { base = "BTC", quote = "USDT", tier = 1 }
    ///
    /// [ASX]
    /// BHP = { symbol = "BHP", asset_class = "equities", quote = "AUD" }
    /// "#)?;
    /// assert_eq!(&*table.get("BINANCE", "BTCUSDT").unwrap().symbol, "BTC-USDT");
    /// assert_eq!(table.get("ASX", "BHP").unwrap().asset_class, AssetClass::Equities);
    /// # Ok::<(), k2_model::instrument::InstrumentDataError>(())
    /// ```
    ///
    /// Every field may be left out: `symbol` is then `BASE-QUOTE`, or the raw symbol where one of
    /// these is unknown; `asset_class` crypto; `tier` 3. An unknown field, a raw symbol that comes
    /// twice, and a name that cannot be a symbol are errors.
    pub fn extend_from_toml(&mut self, text: &str) -> Result<(), InstrumentDataError> {
        type Venues = BTreeMap<toml::Spanned<String>, BTreeMap<toml::Spanned<String>, Row>>;
        let error_at = |start: usize, reason: String| {
            let line = text.bytes().take(start).filter(|&byte| byte == b'\n').count() + 1;
            InstrumentDataError { line, reason }
        };
        let venues: Venues = toml::from_str(text).map_err(|error| {
            error_at(error.span().map_or(0, |span| span.start), error.message().to_owned())
        })?;
        let names =
            venues.iter().flat_map(|(venue, rows)| std::iter::once(venue).chain(rows.keys()));
        for name in names {
            if !is_raw_symbol(name.get_ref()) {
                let reason = format!("{:?} cannot be a venue or raw symbol", name.get_ref());
                return Err(error_at(name.span().start, reason));
            }
        }
        for (venue, rows) in venues {
            for (raw_symbol, row) in rows {
                self.insert(row.instrument(venue.get_ref(), raw_symbol.get_ref()));
            }
        }
        Ok(())
    }

    /// Adds `instrument`, in place of an earlier one of the same venue and raw symbol.
    pub fn insert(&mut self, instrument: Instrument) {
        let venue = self.by_raw.entry(instrument.venue.clone()).or_default();
        venue.insert(instrument.raw_symbol.clone(), instrument);
    }

    pub fn get(&self, venue: &str, raw_symbol: &str) -> Option<Instrument> {
        self.by_raw.get(venue)?.get(raw_symbol).copied()
    }

    /// The instruments that any venue spells `raw_symbol`.
    pub fn at_all_venues(&self, raw_symbol: &str) -> impl Iterator<Item = Instrument> {
        self.by_raw.values().filter_map(move |venue| venue.get(raw_symbol).copied())
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

    /// The venues that have instruments.
    pub fn venues(&self) -> impl Iterator<Item = &str> {
        self.by_raw.keys().map(|venue| &**venue)
    }

    pub fn len(&self) -> usize {
        self.by_raw.values().map(BTreeMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.by_raw.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<InstrumentTable, InstrumentDataError> {
        let mut table = InstrumentTable::default();
        table.extend_from_toml(text).map(|()| table)
    }

    #[test]
    fn shipped_data_names_the_busiest_pairs_of_each_venue() {
        let table = InstrumentTable::shipped();
        for (venue, asset_class) in
            [("BINANCE", AssetClass::Crypto), ("BINANCE_USDM", AssetClass::Futures)]
        {
            let of_venue: Vec<_> = table.iter().filter(|known| &*known.venue == venue).collect();
            assert!(of_venue.len() >= 200, "{venue}: {}", of_venue.len());
            for known in of_venue {
                assert_eq!(known.asset_class, asset_class, "{known:?}");
                assert_eq!(*known.symbol, *format!("{}-{}", known.base, known.quote));
                assert_eq!(*known.raw_symbol, *format!("{}{}", known.base, known.quote));
                assert!((1..=4).contains(&known.tier));
            }
            assert_eq!(table.get(venue, "BTCUSDT").unwrap().tier, 1);
        }
        let pepe = table.get("BINANCE_USDM", "1000PEPEUSDT").unwrap();
        assert_eq!((&*pepe.symbol, &*pepe.base), ("1000PEPE-USDT", "1000PEPE"));
    }

    #[test]
    fn a_users_data_extends_and_overrides_what_is_shipped() {
        let mut table = InstrumentTable::shipped();
        let shipped = table.len();
        let data = "[BINANCE]\nBTCUSDT = { base = 'XBT', quote = 'USDT', tier = 4 }\nNEWCOIN = {}\n\
                    [KRAKEN]\n'BTC/USD' = { base = 'BTC', quote = 'USD' }\n";
        table.extend_from_toml(data).unwrap();
        assert_eq!(table.len(), shipped + 2);
        let bitcoin = table.get("BINANCE", "BTCUSDT").unwrap();
        assert_eq!((&*bitcoin.symbol, bitcoin.tier), ("XBT-USDT", 4));
        let new = table.get("BINANCE", "NEWCOIN").unwrap();
        assert_eq!((&*new.symbol, &*new.base, new.tier), ("NEWCOIN", "", 3));
        assert_eq!(&*table.get("KRAKEN", "BTC/USD").unwrap().symbol, "BTC-USD");
    }

    #[test]
    fn an_error_names_its_line_and_leaves_the_table_alone() {
        let wrong = [
            ("[A]\nX = {}\nX = {}\n", 3, "duplicate key"),
            ("[A]\nX = { bace = 'B' }\n", 2, "unknown field `bace`"),
            ("[A]\n\n# Too high.\nX = { tier = 5 }\n", 4, "tier 5 is not from 1 to 4"),
            ("[A]\nX = { tier = 'high' }\n", 2, "invalid type"),
            ("[A]\nX = { asset_class = 'coin' }\n", 2, "unknown variant `coin`"),
            ("[A]\nY = {}\n'' = {}\n", 3, "cannot be a venue or raw symbol"),
            ("[A]\n'X Y' = {}\n", 2, "cannot be a venue or raw symbol"),
            ("X = 1\n", 1, "invalid type"),
            ("[A\n", 1, ""),
        ];
        for (text, line, reason) in wrong {
            let error = read(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error}");
            assert!(error.reason.contains(reason), "{text:?}: {error}");
        }
        let mut table = InstrumentTable::default();
        table.extend_from_toml("[A]\nX = {}\nY = { tier = 9 }\n").unwrap_err();
        assert!(table.is_empty());
    }
}

//! What a topic's name says, and which names a pattern means.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use k2_model::{AssetClass, DataType, InstrumentTable};

use crate::error::{Error, ErrorKind, Result};

/// What every topic of market data begins with.
const PREFIX: &str = "market";
/// Bytes of a topic's name, by Kafka's rules.
const NAME_BYTES_MAX: usize = 249;

/// `market.{asset class}.{data type}.{venue}`, all lower case.
///
/// ```
/// # use k2_kafka::TopicName;
/// # use k2_model::{AssetClass, DataType};
/// let name: TopicName = "market.crypto.trades.binance".parse()?;
/// assert_eq!(name.venue(), "BINANCE");
/// assert_eq!(name, TopicName::new(AssetClass::Crypto, DataType::Trades, "BINANCE")?);
/// assert_eq!(name.to_string(), "market.crypto.trades.binance");
/// # Ok::<(), k2_kafka::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName {
    pub asset_class: AssetClass,
    pub data_type: DataType,
    venue: Box<str>,
}

impl TopicName {
    /// `venue` is upper case, and has only letters, digits, `_` and `-`.
    pub fn new(asset_class: AssetClass, data_type: DataType, venue: &str) -> Result<Self> {
        let is_venue_byte =
            |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        let name = Self { asset_class, data_type, venue: venue.into() };
        if venue.is_empty() || !venue.bytes().all(is_venue_byte) {
            let text = format!("name the topic of venue {venue:?}: it cannot be part of a name");
            let advice = "a venue is upper case, and has only letters, digits, _ and -";
            return Err(Error::new(ErrorKind::Invalid, text).with_advice(advice));
        }
        if name.to_string().len() > NAME_BYTES_MAX {
            let text = format!(
                "name the topic of venue {venue}: over {NAME_BYTES_MAX} bytes are too many"
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        Ok(name)
    }

    /// The topics of `venue`: trades, quotes, depth.
    pub fn all_of(venue: &str, instruments: &InstrumentTable) -> Result<Vec<Self>> {
        let class = asset_class(venue, instruments);
        DataType::ALL.into_iter().map(|data_type| Self::new(class, data_type, venue)).collect()
    }

    /// Upper case.
    pub fn venue(&self) -> &str {
        &self.venue
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asset_class, data_type, venue } = self;
        let venue = venue.to_ascii_lowercase();
        write!(f, "{PREFIX}.{}.{}.{venue}", asset_class.as_str(), data_type.as_str())
    }
}

impl FromStr for TopicName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let parsed = || {
            let mut parts = name.split('.');
            let mut next = || parts.next();
            let (prefix, asset_class, data_type, venue) = (next()?, next()?, next()?, next()?);
            let asset_class =
                AssetClass::ALL.into_iter().find(|class| class.as_str() == asset_class)?;
            let data_type = DataType::ALL.into_iter().find(|kind| kind.as_str() == data_type)?;
            let is_whole = prefix == PREFIX && next().is_none();
            let is_lower = !venue.bytes().any(|byte| byte.is_ascii_uppercase());
            let venue = venue.to_ascii_uppercase();
            (is_whole && is_lower).then(|| Self::new(asset_class, data_type, &venue).ok())?
        };
        parsed().ok_or_else(|| {
            let text = format!("read what topic {name} holds: its name does not say");
            let advice = "names are market.{asset class}.{data type}.{venue}, in lower case";
            Error::new(ErrorKind::Invalid, text).with_advice(advice)
        })
    }
}

/// Which topics are meant: names with `*` for any text and `?` for any one character, separated by
/// commas. A name matches if all of it matches one of them.
///
/// ```
/// # use k2_kafka::TopicPattern;
/// let pattern: TopicPattern = "market.crypto.*, market.futures.trades.binance_usdm".parse()?;
/// assert!(pattern.matches("market.crypto.quotes.kraken"));
/// assert!(!pattern.matches("market.futures.quotes.binance_usdm"));
/// # Ok::<(), k2_kafka::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPattern(Vec<String>);

impl TopicPattern {
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|part| is_match(part.as_bytes(), name.as_bytes()))
    }

    /// The parts that are whole names, each of which has to exist.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str).filter(|part| !part.contains(['*', '?']))
    }
}

impl FromStr for TopicPattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-*?".contains(&byte);
        let parts: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
        for part in &parts {
            if part.is_empty() || part.len() > NAME_BYTES_MAX || !part.bytes().all(is_byte) {
                let text = format!("read topics {text:?}: {part:?} cannot be the name of a topic");
                let advice = "a name has letters, digits, `.`, `_` and `-`; in its place, `*` \
                              stands for any text and `?` for any character";
                return Err(Error::new(ErrorKind::Setting, text).with_advice(advice));
            }
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// Goes through both once; at a mismatch the last star takes one byte more.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut name_at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while name_at < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, name_at));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[name_at] => {
                at += 1;
                name_at += 1;
            }
            _ => match &mut star {
                Some((after, taken)) => {
                    *taken += 1;
                    (at, name_at) = (*after, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// Partitions of a topic of `venue`, unless somebody says otherwise.
pub fn default_partitions(venue: &str) -> i32 {
    match venue {
        "BINANCE" | "BINANCE_USDM" => 40,
        _ => 20,
    }
}

/// What `venue` trades: by itself where K2 knows it, otherwise what most of its instruments are,
/// otherwise crypto.
pub fn asset_class(venue: &str, instruments: &InstrumentTable) -> AssetClass {
    match venue {
        "BINANCE" | "KRAKEN" | "COINBASE" => AssetClass::Crypto,
        "BINANCE_USDM" => AssetClass::Futures,
        "ASX" => AssetClass::Equities,
        _ => {
            let mut counts: BTreeMap<AssetClass, usize> = BTreeMap::new();
            for instrument in instruments.iter().filter(|one| &*one.venue == venue) {
                *counts.entry(instrument.asset_class).or_default() += 1;
            }
            // The last of several maxima is taken: from behind, so that it is the first class.
            let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
            most.map_or(AssetClass::Crypto, |(class, _)| class)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_whole_names_of_market_data_are_read() {
        let wrong = [
            "market.crypto.trades",
            "market.crypto.trades.binance.x",
            "market.crypto.trades.",
            "market.bonds.trades.binance",
            "market.crypto.candles.binance",
            "Market.crypto.trades.binance",
            "market.crypto.trades.BINANCE",
            "other.crypto.trades.binance",
            "market.crypto.trades.bin ance",
        ];
        for name in wrong {
            let error = name.parse::<TopicName>().unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn a_venue_that_cannot_be_read_back_gets_no_topic() {
        for venue in ["", "binance", "A.B", "A B", "É", &"A".repeat(NAME_BYTES_MAX)] {
            let name = TopicName::new(AssetClass::Crypto, DataType::Trades, venue);
            assert_eq!(name.unwrap_err().kind(), ErrorKind::Invalid, "{venue}");
        }
    }

    #[test]
    fn a_pattern_matches_whole_names() {
        let cases = [
            ("market.*", "market.crypto.trades.binance", true),
            ("market.*", "my.market.crypto", false),
            ("market.crypto.*.binance", "market.crypto.trades.binance", true),
            ("market.crypto.*.binance", "market.crypto.trades.binance_usdm", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a.c", "abc", false),
            ("x,abc", "abc", true),
            ("*", "anything", true),
            ("a**b*", "ab", true),
        ];
        for (pattern, name, matches) in cases {
            let pattern: TopicPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_that_no_topic_can_match_is_an_error() {
        for text in ["", "a,", "a,,b", "market.[ab]", "a b", "a/b"] {
            let error = text.parse::<TopicPattern>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Setting, "{text}");
        }
    }

    #[test]
    fn parts_without_a_wildcard_are_names() {
        let pattern: TopicPattern = "a, b*, c?, d".parse().unwrap();
        assert_eq!(pattern.names().collect::<Vec<_>>(), ["a", "d"]);
        assert_eq!(pattern.to_string(), "a,b*,c?,d");
    }

    #[test]
    fn venues_have_their_class_and_their_partitions() {
        let mut instruments = InstrumentTable::default();
        let data = "[CBOE]\nA = { asset_class = \"equities\" }\nB = { asset_class = \"options\" }\n\
                    C = { asset_class = \"options\" }\n[ASX]\nD = { asset_class = \"options\" }";
        instruments.extend_from_toml(data).unwrap();
        let class = |venue| asset_class(venue, &instruments);
        assert_eq!(class("BINANCE_USDM"), AssetClass::Futures);
        assert_eq!(class("ASX"), AssetClass::Equities);
        assert_eq!(class("CBOE"), AssetClass::Options);
        assert_eq!(class("UNHEARD_OF"), AssetClass::Crypto);
        assert_eq!((default_partitions("BINANCE"), default_partitions("KRAKEN")), (40, 20));
    }

    /// Says the same thing the slow way.
    fn oracle(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|taken| oracle(rest, &name[taken..])),
            Some((byte, rest)) => name.split_first().is_some_and(|(first, others)| {
                (*byte == b'?' || byte == first) && oracle(rest, others)
            }),
        }
    }

    proptest! {
        #[test]
        fn a_name_is_read_back_as_it_was_made(
            class in 0..4_usize, kind in 0..3_usize, venue in "[A-Z0-9_-]{1,40}",
        ) {
            let name = TopicName::new(AssetClass::ALL[class], DataType::ALL[kind], &venue).unwrap();
            prop_assert_eq!(name.to_string().parse::<TopicName>().unwrap(), name);
        }

        #[test]
        fn a_pattern_agrees_with_its_definition(pattern in "[ab.*?]{1,8}", name in "[ab.]{0,8}") {
            let parsed: TopicPattern = pattern.parse().unwrap();
            let expected = oracle(pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(parsed.matches(&name), expected, "{} {}", pattern, name);
        }
    }
}

//! The five fields that name an instrument → its handle, without an allocation for those met.

use std::collections::BTreeMap;

use super::body::Body;
use super::encode::{push_long, push_text};
use super::known::Known;
use crate::codec::{Problem, excerpt};
use crate::instrument::{
    AssetClass, Instrument, InstrumentParts, InstrumentTable, RAW_SYMBOL_BYTES_MAX,
    UNKNOWN_INSTRUMENTS_MAX, is_raw_symbol, is_raw_symbol_byte,
};
use crate::record::RejectReason;

/// Bytes of a canonical symbol: a base, a dash and a quote.
const SYMBOL_BYTES_MAX: usize = 2 * RAW_SYMBOL_BYTES_MAX + 1;

/// Spellings that are remembered; one more is looked up anew each time, which is slower. Several
/// can be of one instrument: what a message says of a known one makes no difference.
const SPELLINGS_MAX: usize = 2 * UNKNOWN_INSTRUMENTS_MAX;

/// What a record says of its instrument.
pub(super) struct Named<'a> {
    pub(super) venue: &'a str,
    pub(super) symbol: &'a str,
    pub(super) raw_symbol: &'a str,
    pub(super) asset_class: AssetClass,
    /// Empty if it is not known.
    pub(super) currency: &'a str,
}

/// The instruments that a decoder has met. Holds no more than the table and
/// [`UNKNOWN_INSTRUMENTS_MAX`] others.
pub(super) struct Instruments {
    table: InstrumentTable,
    /// By the bytes of the five fields in our own schema, as they came.
    spellings: Known<Instrument>,
    /// Those met that are in no instrument data.
    unknown: BTreeMap<InstrumentParts, Instrument>,
    /// Room for the spelling at hand.
    spelling: Vec<u8>,
}

impl Instruments {
    pub(super) fn new(table: InstrumentTable) -> Self {
        let (spellings, spelling) = (Known::new(), Vec::new());
        Self { table, spellings, unknown: BTreeMap::new(), spelling }
    }

    /// Takes the five fields and finds their instrument; `None` at any surprise.
    #[inline(always)]
    pub(super) fn take(&mut self, body: &mut Body<'_>) -> Option<Instrument> {
        let before = body.rest();
        for _ in 0..3 {
            body.bytes()?;
        }
        body.short()?;
        body.bytes()?;
        let spelling = &before[..before.len() - body.rest().len()];
        match self.spellings.get(spelling) {
            Some(instrument) => Some(*instrument),
            None => self.take_new(spelling),
        }
    }

    #[cold]
    fn take_new(&mut self, spelling: &[u8]) -> Option<Instrument> {
        let mut body = Body::new(spelling);
        let named = Named {
            venue: body.text()?,
            symbol: body.text()?,
            raw_symbol: body.text()?,
            asset_class: *AssetClass::ALL.get(body.short()?)?,
            currency: body.text()?,
        };
        let instrument = self.resolve(&named).ok()?;
        self.remember(spelling, instrument);
        Some(instrument)
    }

    /// The instrument of a record that is in some other schema.
    pub(super) fn find(&mut self, named: &Named<'_>) -> Result<Instrument, Problem> {
        let mut spelling = std::mem::take(&mut self.spelling);
        spelling.clear();
        named.push(&mut spelling);
        let found = match self.spellings.get(&spelling) {
            Some(instrument) => Ok(*instrument),
            None => self.resolve(named).inspect(|&found| self.remember(&spelling, found)),
        };
        self.spelling = spelling;
        found
    }

    fn remember(&mut self, spelling: &[u8], instrument: Instrument) {
        if self.spellings.len() < SPELLINGS_MAX {
            self.spellings.insert(spelling, instrument);
        }
    }

    /// The instrument data's own where it has the raw symbol, otherwise what the record says.
    fn resolve(&mut self, named: &Named<'_>) -> Result<Instrument, Problem> {
        named.check()?;
        if let Some(instrument) = self.table.get(named.venue, named.raw_symbol) {
            return Ok(instrument);
        }
        let parts = named.parts();
        if let Some(instrument) = self.unknown.get(&parts) {
            return Ok(*instrument);
        }
        if self.unknown.len() == UNKNOWN_INSTRUMENTS_MAX {
            return Err(Problem {
                reason: RejectReason::TooManyInstruments,
                detail: format!(
                    "field `raw_symbol`: {} is not in the instrument data, and neither were \
                     {UNKNOWN_INSTRUMENTS_MAX} instruments before it",
                    named.raw_symbol
                ),
            });
        }
        let instrument = Instrument::new(parts.clone());
        self.unknown.insert(parts, instrument);
        Ok(instrument)
    }
}

impl<'a> Named<'a> {
    pub(super) fn of(instrument: &'a InstrumentParts) -> Self {
        Self {
            venue: &instrument.venue,
            symbol: &instrument.symbol,
            raw_symbol: &instrument.raw_symbol,
            asset_class: instrument.asset_class,
            currency: &instrument.quote,
        }
    }

    fn check(&self) -> Result<(), Problem> {
        let is_upper = !self.venue.bytes().any(|byte| byte.is_ascii_lowercase());
        if !is_raw_symbol(self.venue) || !is_upper {
            let letters = "upper-case ASCII letters";
            return Err(not_a_name("venue", self.venue, RAW_SYMBOL_BYTES_MAX, letters));
        }
        let is_name =
            |text: &str| text.len() <= SYMBOL_BYTES_MAX && text.bytes().all(is_raw_symbol_byte);
        let letters = "ASCII letters";
        if !is_name(self.symbol) || self.symbol.is_empty() {
            return Err(not_a_name("symbol", self.symbol, SYMBOL_BYTES_MAX, letters));
        }
        if !is_raw_symbol(self.raw_symbol) {
            return Err(not_a_name("raw_symbol", self.raw_symbol, RAW_SYMBOL_BYTES_MAX, letters));
        }
        if !is_name(self.currency) {
            return Err(not_a_name("currency", self.currency, SYMBOL_BYTES_MAX, letters));
        }
        Ok(())
    }

    /// Appends the five fields as our own schema has them.
    pub(super) fn push(&self, out: &mut Vec<u8>) {
        push_text(self.venue, out);
        push_text(self.symbol, out);
        push_text(self.raw_symbol, out);
        push_long(self.asset_class as i64, out);
        push_text(self.currency, out);
    }

    fn parts(&self) -> InstrumentParts {
        let Self { venue, symbol, raw_symbol, asset_class, currency } = *self;
        let of_pair = || symbol.strip_suffix(currency)?.strip_suffix('-');
        let base = if currency.is_empty() { None } else { of_pair() };
        InstrumentParts {
            venue: venue.into(),
            symbol: symbol.into(),
            raw_symbol: raw_symbol.into(),
            asset_class,
            base: base.unwrap_or_default().into(),
            quote: currency.into(),
            tier: InstrumentParts::default_tier(),
        }
    }
}

#[cold]
fn not_a_name(field: &str, value: &str, most: usize, letters: &str) -> Problem {
    let detail = format!(
        "field `{field}`: {:?}: not 1 to {most} {letters}, digits or any of `_ - . / : + @ #`",
        excerpt(value)
    );
    Problem { reason: RejectReason::InvalidField, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(symbol: &'a str, raw_symbol: &'a str, currency: &'a str) -> Named<'a> {
        let asset_class = AssetClass::Equities;
        Named { venue: "BINANCE", symbol, raw_symbol, asset_class, currency }
    }

    fn of(named: &Named<'_>) -> Result<Instrument, Problem> {
        Instruments::new(InstrumentTable::shipped()).resolve(named)
    }

    #[test]
    fn instrument_data_overrides_what_a_record_says() {
        let bitcoin = of(&named("XBT-USD", "BTCUSDT", "USD")).unwrap();
        assert_eq!((&*bitcoin.symbol, &*bitcoin.quote, bitcoin.tier), ("BTC-USDT", "USDT", 1));
        assert_eq!(bitcoin.asset_class, AssetClass::Crypto);
    }

    #[test]
    fn what_instrument_data_does_not_have_is_as_the_record_says() {
        let parts = |symbol, currency| {
            let instrument = of(&named(symbol, "RAW", currency)).unwrap();
            assert_eq!((&*instrument.venue, &*instrument.raw_symbol), ("BINANCE", "RAW"));
            assert_eq!((&*instrument.symbol, &*instrument.quote), (symbol, currency));
            assert_eq!((instrument.asset_class, instrument.tier), (AssetClass::Equities, 3));
            instrument.base.clone()
        };
        assert_eq!(&*parts("NEW-USDT", "USDT"), "NEW");
        assert_eq!(&*parts("A-B-USDT", "USDT"), "A-B");
        assert_eq!(&*parts("NEW-USDT", "USD"), "");
        assert_eq!(&*parts("NEWUSDT", "USDT"), "");
        assert_eq!(&*parts("BHP", "AUD"), "");
        assert_eq!(&*parts("BHP-", ""), "");
    }

    #[test]
    fn a_name_that_cannot_be_one_is_refused_with_its_field() {
        let long = "A".repeat(SYMBOL_BYTES_MAX + 1);
        let cases = [
            (Named { venue: "", ..named("A", "A", "") }, "field `venue`"),
            (Named { venue: "Binance", ..named("A", "A", "") }, "field `venue`"),
            (Named { venue: "BIN ANCE", ..named("A", "A", "") }, "field `venue`"),
            (Named { venue: &long[..65], ..named("A", "A", "") }, "field `venue`"),
            (named("", "A", ""), "field `symbol`"),
            (named("币", "A", ""), "field `symbol`"),
            (named(&long, "A", ""), "field `symbol`"),
            (named("A", "", ""), "field `raw_symbol`"),
            (named("A", &long[..65], ""), "field `raw_symbol`"),
            (named("A", "A", "U S D"), "field `currency`"),
            (named("A", "A", &long), "field `currency`"),
        ];
        for (wrong, field) in cases {
            let problem = of(&wrong).unwrap_err();
            assert_eq!(problem.reason, RejectReason::InvalidField);
            assert!(problem.detail.starts_with(field), "{}", problem.detail);
            assert!(problem.detail.len() < 300, "{}", problem.detail);
        }
        let longest = (&long[1..], &long[..64], &long[1..]);
        assert!(of(&named(longest.0, longest.1, longest.2)).is_ok());
    }

    #[test]
    fn past_the_bound_only_instruments_already_met_or_in_the_data_are_taken() {
        let mut instruments = Instruments::new(InstrumentTable::shipped());
        let raw: Vec<String> = (0..UNKNOWN_INSTRUMENTS_MAX).map(|at| format!("N{at}")).collect();
        let mut resolve = |raw: &str| instruments.resolve(&named("NEW", raw, ""));
        let first = resolve(&raw[0]).unwrap();
        for raw in &raw {
            resolve(raw).unwrap();
        }
        let problem = resolve("ONEMORE").unwrap_err();
        assert_eq!(problem.reason, RejectReason::TooManyInstruments);
        assert!(problem.detail.contains("ONEMORE"));
        assert_eq!(resolve("N0"), Ok(first));
        assert_eq!(&*resolve("ETHUSDT").unwrap().symbol, "ETH-USDT");
    }
}

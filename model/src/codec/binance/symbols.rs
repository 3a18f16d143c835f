//! Raw symbols → instruments, without a lock or an allocation for those already seen.

use std::collections::BTreeMap;

use crate::codec::Problem;
use crate::codec::number::short_key;
use crate::instrument::{Instrument, InstrumentTable, UNKNOWN_INSTRUMENTS_MAX, is_raw_symbol};
use crate::record::RejectReason;

/// A raw symbol as it stands in a message.
#[derive(Clone, Copy)]
pub(super) struct Symbol<'a> {
    pub(super) bytes: &'a [u8],
    /// Tells apart symbols of at most 15 bytes; 0 for a longer one.
    pub(super) key: u128,
}

impl<'a> Symbol<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let key = if bytes.len() < 16 {
            let word = bytes.iter().rev().fold(0, |word, &byte| (word << 8) | u128::from(byte));
            short_key(word, bytes.len())
        } else {
            0
        };
        Self { bytes, key }
    }
}

/// The instruments that a decoder has met. Holds no more than the table and
/// [`UNKNOWN_INSTRUMENTS_MAX`] others.
pub(super) struct Symbols {
    venue: Box<str>,
    table: InstrumentTable,
    /// Symbols met that are in no instrument data.
    unknown: usize,
    /// The symbol that came last: most messages are about the same one as the message before.
    last: Option<(u128, Instrument)>,
    /// Open addressing with linear probing, at most half full; a power of two long.
    slots: Vec<Option<(u128, Instrument)>>,
    used: usize,
    /// Symbols of more than 15 bytes.
    long: BTreeMap<Box<[u8]>, Instrument>,
}

impl Symbols {
    pub(super) fn new(venue: &str, table: InstrumentTable) -> Self {
        Self {
            venue: venue.into(),
            table,
            unknown: 0,
            last: None,
            slots: vec![None; 256],
            used: 0,
            long: BTreeMap::new(),
        }
    }

    /// The instrument of a symbol that has been met before.
    #[inline(always)]
    fn met(&mut self, symbol: Symbol<'_>) -> Option<Instrument> {
        match self.last {
            Some((key, instrument)) if key == symbol.key => Some(instrument),
            _ => self.met_earlier(symbol),
        }
    }

    fn met_earlier(&mut self, symbol: Symbol<'_>) -> Option<Instrument> {
        if symbol.key == 0 {
            return self.long.get(symbol.bytes).copied();
        }
        self.last = self.slots[self.slot(symbol.key)];
        self.last.map(|(_, instrument)| instrument)
    }

    /// The instrument of any bytes. `None` if they are no symbol, or one too many.
    #[inline(always)]
    pub(super) fn find(&mut self, bytes: Symbol<'_>) -> Option<Instrument> {
        self.met(bytes).or_else(|| self.find_new(bytes))
    }

    #[cold]
    fn find_new(&mut self, bytes: Symbol<'_>) -> Option<Instrument> {
        std::str::from_utf8(bytes.bytes).ok().filter(|text| is_raw_symbol(text))?;
        self.resolve(bytes).ok()
    }

    /// The instrument of any symbol for which [`is_raw_symbol`] holds.
    pub(super) fn resolve(&mut self, symbol: Symbol<'_>) -> Result<Instrument, Problem> {
        if let Some(instrument) = self.met(symbol) {
            return Ok(instrument);
        }
        let raw = std::str::from_utf8(symbol.bytes).ok().filter(|raw| is_raw_symbol(raw));
        let raw = raw.expect("only a well-formed symbol is resolved");
        let instrument = match self.table.get(&self.venue, raw) {
            Some(instrument) => instrument,
            None if self.unknown == UNKNOWN_INSTRUMENTS_MAX => {
                return Err(Problem {
                    reason: RejectReason::TooManyInstruments,
                    detail: format!(
                        "field `s`: {raw} is not in the instrument data, and neither were \
                         {UNKNOWN_INSTRUMENTS_MAX} symbols before it"
                    ),
                });
            }
            None => {
                self.unknown += 1;
                self.table.resolve(&self.venue, raw)
            }
        };
        self.remember(symbol, instrument);
        Ok(instrument)
    }

    fn remember(&mut self, symbol: Symbol<'_>, instrument: Instrument) {
        if symbol.key == 0 {
            self.long.insert(symbol.bytes.into(), instrument);
            return;
        }
        if self.used * 2 >= self.slots.len() {
            let longer = vec![None; self.slots.len() * 2];
            let earlier = std::mem::replace(&mut self.slots, longer);
            for entry in earlier.into_iter().flatten() {
                let slot = self.slot(entry.0);
                self.slots[slot] = Some(entry);
            }
        }
        let slot = self.slot(symbol.key);
        self.slots[slot] = Some((symbol.key, instrument));
        self.used += 1;
    }

    /// Where `key` stands, or the free slot where it would.
    fn slot(&self, key: u128) -> usize {
        let mask = self.slots.len() - 1;
        let folded = (key as u64) ^ ((key >> 64) as u64).rotate_left(23);
        let mixed = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut slot = (mixed ^ (mixed >> 32)) as usize & mask;
        while self.slots[slot].is_some_and(|(taken, _)| taken != key) {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(symbols: &mut Symbols, raw: &str) -> Result<Instrument, Problem> {
        symbols.resolve(Symbol::new(raw.as_bytes()))
    }

    #[test]
    fn each_symbol_keeps_its_own_instrument_while_the_slots_grow() {
        let mut symbols = Symbols::new("BINANCE", InstrumentTable::shipped());
        let short = (0..3_000).map(|number| format!("T{number}USDT"));
        let long = (0..100).map(|number| format!("A{number}LONGSYMBOLTHATISLONG"));
        let raw: Vec<String> = short.chain(long).chain(["BTCUSDT".to_owned()]).collect();
        for _ in 0..2 {
            for raw in &raw {
                assert_eq!(&*find(&mut symbols, raw).unwrap().raw_symbol, raw);
            }
        }
        assert_eq!(symbols.unknown, 3_100);
        assert_eq!(&*find(&mut symbols, "BTCUSDT").unwrap().symbol, "BTC-USDT");
    }

    #[test]
    fn past_the_bound_only_symbols_already_met_or_in_the_data_are_taken() {
        let mut symbols = Symbols::new("BINANCE", InstrumentTable::shipped());
        let first = find(&mut symbols, "NEW0").unwrap();
        for number in 1..UNKNOWN_INSTRUMENTS_MAX {
            find(&mut symbols, &format!("NEW{number}")).unwrap();
        }
        let problem = find(&mut symbols, "ONEMORE").unwrap_err();
        assert_eq!(problem.reason, RejectReason::TooManyInstruments);
        assert!(problem.detail.contains("ONEMORE"));
        assert_eq!(find(&mut symbols, "NEW0"), Ok(first));
        assert_eq!(&*find(&mut symbols, "ETHUSDT").unwrap().symbol, "ETH-USDT");
    }
}

//! Message ids: `VENUE/RAWSYMBOL/trades/NUMBER`, each written as its difference from the last.
//!
//! The ids of a run of one instrument differ in their last digits only, so none is ever built
//! whole: the digits are counted up in place.

use parquet::basic::Encoding;
use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use k2_model::{DataType, Instrument, Stream};

use crate::encode::{Chunk, Compressor, Encoded, Extremes, FrontCoding, flat};

/// Digits of the largest number.
const DIGITS_MAX: usize = 20;

pub(crate) struct MessageIds {
    chunk: Chunk,
    feed: DataType,
    coding: FrontCoding,
}

impl MessageIds {
    pub(crate) fn new(column: ColumnDescPtr, feed: DataType) -> Self {
        Self { chunk: Chunk::new(column), feed, coding: FrontCoding::default() }
    }

    /// `runs` tell the instrument of each of `numbers`.
    pub(crate) fn page(
        &mut self,
        compressor: &mut Compressor,
        runs: &[(&Instrument, usize)],
        numbers: &[i64],
    ) -> Result<()> {
        let mut extremes = IdExtremes::default();
        let mut last = String::new();
        let mut rest = numbers;
        for (instrument, count) in runs {
            let (run, after) = rest.split_at(*count);
            rest = after;
            let stream = Stream { instrument: **instrument, data_type: self.feed };
            let name = stream.message_id_prefix();
            extremes.add(&name, run);
            last = self.put_run(&last, &name, run);
        }
        let mut body = Vec::new();
        self.coding.finish(&mut body);
        let facts = flat(numbers.len(), Encoding::DELTA_BYTE_ARRAY, extremes.finish());
        self.chunk.add(compressor, &body, facts)
    }

    /// Appends the ids of one instrument after the id `last`, and answers the last of them.
    fn put_run(&mut self, last: &str, name: &str, numbers: &[i64]) -> String {
        let Some((&first, following)) = numbers.split_first() else { return last.to_owned() };
        let mut digits = Digits::of(first as u64);
        let id = format!("{name}{}", digits.as_str());
        self.coding.put(last, &id);
        let mut before = first as u64;
        for &number in following {
            let number = number as u64;
            let shared = digits.advance(before, number);
            let suffix = &digits.bytes[digits.from + shared..];
            self.coding.put_suffix(name.len() + shared, suffix);
            before = number;
        }
        format!("{name}{}", digits.as_str())
    }

    pub(crate) fn finish(self, compressor: &mut Compressor) -> Result<Encoded> {
        self.chunk.finish(compressor, None, None, <[u8]>::cmp)
    }
}

/// A number's decimal digits, at the end of the array.
struct Digits {
    bytes: [u8; DIGITS_MAX],
    from: usize,
}

impl Digits {
    fn of(mut number: u64) -> Self {
        let mut digits = Self { bytes: [b'0'; DIGITS_MAX], from: DIGITS_MAX };
        loop {
            digits.from -= 1;
            digits.bytes[digits.from] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return digits;
            }
        }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.from..]).expect("digits are text")
    }

    /// Goes on from `before` to `number`, and answers how many leading digits are the same.
    fn advance(&mut self, before: u64, number: u64) -> usize {
        if number == before.wrapping_add(1) && before != u64::MAX {
            let mut at = DIGITS_MAX;
            while at > self.from && self.bytes[at - 1] == b'9' {
                at -= 1;
                self.bytes[at] = b'0';
            }
            if at > self.from {
                self.bytes[at - 1] += 1;
                return at - 1 - self.from;
            }
            self.from -= 1;
            self.bytes[self.from] = b'1';
            return 0;
        }
        let next = Self::of(number);
        let pairs = self.bytes[self.from..].iter().zip(&next.bytes[next.from..]);
        let shared = pairs.take_while(|(a, b)| a == b).count();
        *self = next;
        shared
    }
}

/// Least and greatest id of a page, as texts.
///
/// Of one instrument's numbers with equally many digits, the least number is the least text.
#[derive(Default)]
struct IdExtremes {
    least: Option<String>,
    greatest: Option<String>,
}

impl IdExtremes {
    fn add(&mut self, name: &str, numbers: &[i64]) {
        let numbers = || numbers.iter().map(|number| *number as u64);
        let (Some(lowest), Some(highest)) = (numbers().min(), numbers().max()) else { return };
        if digits_of(lowest) == digits_of(highest) {
            self.add_numbers(name, lowest, highest);
            return;
        }
        let mut by_digits = [(u64::MAX, 0); DIGITS_MAX + 1];
        for number in numbers() {
            let (low, high) = &mut by_digits[digits_of(number)];
            *low = (*low).min(number);
            *high = (*high).max(number);
        }
        for (low, high) in by_digits.into_iter().filter(|(low, high)| low <= high) {
            self.add_numbers(name, low, high);
        }
    }

    fn add_numbers(&mut self, name: &str, low: u64, high: u64) {
        let (low, high) = (format!("{name}{low}"), format!("{name}{high}"));
        if self.least.as_ref().is_none_or(|least| low < *least) {
            self.least = Some(low);
        }
        if self.greatest.as_ref().is_none_or(|greatest| high > *greatest) {
            self.greatest = Some(high);
        }
    }

    fn finish(self) -> Option<Extremes> {
        let (least, greatest) = self.least.zip(self.greatest)?;
        Some(Extremes { least: least.into_bytes(), greatest: greatest.into_bytes() })
    }
}

fn digits_of(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

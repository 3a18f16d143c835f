//! A cursor over the bytes of a message that reads eight digits at a time.
//!
//! Each method takes what it names, or gives `None` and leaves the cursor in no particular place:
//! a positional reader that meets a surprise starts again in the general parser.

use crate::decimal::{Decimal, SCALE};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x80 * ONES;
const LOW_BITS: u64 = 0x7f * ONES;

/// What turns eight digits into their values.
const DIGIT_ZEROS: u64 = b'0' as u64 * ONES;

const POWERS_OF_TEN: [u64; 17] = {
    let mut powers = [1; 17];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = powers[exponent - 1] * 10;
        exponent += 1;
    }
    powers
};

/// What is still to be read.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The byte `ahead` of the cursor; 0 behind the end.
    #[inline(always)]
    pub(super) fn peek(&self, ahead: usize) -> u8 {
        self.rest.get(ahead).copied().unwrap_or(0)
    }

    /// Takes exactly `literal`.
    #[inline(always)]
    pub(super) fn literal<const N: usize>(&mut self, literal: &[u8; N]) -> Option<()> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        if head != literal {
            return None;
        }
        self.rest = rest;
        Some(())
    }

    /// Takes `true` or `false`.
    #[inline(always)]
    pub(super) fn boolean(&mut self) -> Option<bool> {
        if self.peek(0) == b't' {
            self.literal(b"true").map(|()| true)
        } else {
            self.literal(b"false").map(|()| false)
        }
    }

    /// Takes a JSON integer of at most 19 digits: no sign, no leading zero.
    #[inline(always)]
    pub(super) fn integer(&mut self) -> Option<u64> {
        let leading_zero = self.peek(0) == b'0';
        let (mut value, count) = self.digits();
        if count == 0 || (leading_zero && count > 1) {
            return None;
        }
        if count == 8 {
            let (next, count) = self.digits();
            value = value * POWERS_OF_TEN[count] + next;
            if count == 8 {
                let (next, count) = self.digits();
                if count > 3 {
                    return None;
                }
                value = value * POWERS_OF_TEN[count] + next;
            }
        }
        Some(value)
    }

    /// Takes a JSON integer that has 13 digits in nearly all cases: milliseconds.
    #[inline(always)]
    pub(super) fn integer_of_13(&mut self) -> Option<u64> {
        let (first, second) = self.two_words()?;
        let (first, second) = (first ^ DIGIT_ZEROS, second ^ DIGIT_ZEROS);
        let five_more = not_digits(second).trailing_zeros() / 8 == 5;
        if not_digits(first) != 0 || !five_more || first as u8 == 0 {
            return self.integer();
        }
        self.rest = &self.rest[13..];
        Some(eight_digits(first) * POWERS_OF_TEN[5] + eight_digits(second << 24))
    }

    /// Takes `digits[.digits]`: at most 16 digits before the point and 12 behind it.
    #[inline(always)]
    pub(super) fn decimal(&mut self) -> Option<Decimal> {
        let (whole, count) = self.digits_16();
        if count == 0 {
            return None;
        }
        let mut fraction = 0;
        if self.peek(0) == b'.' {
            self.rest = &self.rest[1..];
            let (digits, count) = self.digits_16();
            if count == 0 || count > SCALE as usize {
                return None;
            }
            fraction = digits * POWERS_OF_TEN[SCALE as usize - count];
        }
        let one = u128::from(POWERS_OF_TEN[SCALE as usize]);
        // Below 10^28, so it fits with room to spare.
        Some(Decimal((u128::from(whole) * one + u128::from(fraction)) as i128))
    }

    /// Takes up to 16 digits: their value and their count.
    #[inline(always)]
    fn digits_16(&mut self) -> (u64, usize) {
        let (value, count) = self.digits();
        if count < 8 || !self.peek(0).is_ascii_digit() {
            return (value, count);
        }
        let (next, more) = self.digits();
        (value * POWERS_OF_TEN[more] + next, count + more)
    }

    /// Takes up to 8 digits: their value and their count.
    #[inline(always)]
    fn digits(&mut self) -> (u64, usize) {
        let values = self.word() ^ DIGIT_ZEROS;
        let others = not_digits(values);
        if others == 0 {
            // Apart, so that the processor foresees where the next word begins.
            self.rest = &self.rest[8..];
            return (eight_digits(values), 8);
        }
        let count = (others.trailing_zeros() / 8) as usize;
        self.rest = self.rest.get(count..).unwrap_or_default();
        if count == 0 {
            return (0, 0);
        }
        // Shifted up, so that the bytes before the first digit count as leading zeros.
        (eight_digits(values << (64 - 8 * count)), count)
    }

    /// Takes a text of at most 15 bytes and its closing quote. The bytes are not looked at: the
    /// key tells apart any two texts, and is never 0 unless the text is empty.
    #[inline(always)]
    pub(super) fn short_text(&mut self) -> Option<(&'a [u8], u128)> {
        const ONES: u128 = u128::MAX / 0xff;
        let word = u128::from_le_bytes(*self.rest.first_chunk::<16>()?);
        let differs = word ^ (u128::from(b'"') * ONES);
        // The lowest bit set marks the first quote; those above it may be wrong.
        let quotes = differs.wrapping_sub(ONES) & !differs & (0x80 * ONES);
        if quotes == 0 {
            return None;
        }
        let length = (quotes.trailing_zeros() / 8) as usize;
        let text = &self.rest[..length];
        self.rest = &self.rest[length + 1..];
        Some((text, short_key(word & ((1 << (8 * length)) - 1), length)))
    }

    /// Takes text that stands for itself in JSON and is ASCII, and its closing quote.
    #[inline(always)]
    pub(super) fn plain_text(&mut self) -> Option<()> {
        loop {
            let word = self.word();
            let low = word & LOW_BITS;
            let not_control = low + (0x80 - 0x20) * ONES;
            let quote = word ^ (u64::from(b'"') * ONES);
            let backslash = word ^ (u64::from(b'\\') * ONES);
            let plain = not_control & not_zero(quote) & not_zero(backslash) & !word & HIGH_BITS;
            let count = ((!plain & HIGH_BITS).trailing_zeros() / 8) as usize;
            if count < 8 {
                self.rest = self.rest.get(count..)?;
                return self.literal(b"\"");
            }
            self.rest = &self.rest[8..];
        }
    }

    /// Takes the characters of a number in quotes, without asking whether they make one: digits,
    /// points (and slashes, which stand between them in ASCII).
    #[inline(always)]
    pub(super) fn number_characters(&mut self) -> Option<()> {
        loop {
            let word = self.word();
            let low = word & LOW_BITS;
            let from_point = low + (0x80 - 0x2e) * ONES;
            let past_nine = low + (0x80 - 0x3a) * ONES;
            let inside = from_point & !past_nine & !word & HIGH_BITS;
            let count = ((!inside & HIGH_BITS).trailing_zeros() / 8) as usize;
            if count < 8 {
                self.rest = self.rest.get(count..)?;
                return Some(());
            }
            self.rest = &self.rest[8..];
        }
    }

    /// The next eight bytes, the first in the lowest place; zeros behind the end.
    #[inline(always)]
    fn word(&self) -> u64 {
        match self.rest.first_chunk::<8>() {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => self.last_word(),
        }
    }

    /// The next sixteen bytes as [`Self::word`] has them; `None` if there are not even eight.
    #[inline(always)]
    fn two_words(&self) -> Option<(u64, u64)> {
        let first = u64::from_le_bytes(*self.rest.first_chunk::<8>()?);
        let second = match self.rest.get(8..16) {
            Some(bytes) => u64::from_le_bytes(bytes.try_into().ok()?),
            None => {
                // The end is near: the last eight bytes, less those that `first` has too.
                let shared = 16 - self.rest.len();
                let last = u64::from_le_bytes(*self.rest.last_chunk::<8>()?);
                last.checked_shr(8 * shared as u32).unwrap_or(0)
            }
        };
        Some((first, second))
    }

    #[cold]
    fn last_word(&self) -> u64 {
        self.rest.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte))
    }
}

/// The key of a text of at most 15 bytes, which stand in `bytes` from the lowest place on.
#[inline(always)]
pub(super) fn short_key(bytes: u128, length: usize) -> u128 {
    // The length in the topmost byte tells "A" from "A\0".
    bytes | ((length as u128) << 120)
}

/// High bit set in each byte that is more than 9. No byte can carry into the next.
#[inline(always)]
fn not_digits(values: u64) -> u64 {
    (((values & LOW_BITS) + (0x80 - 10) * ONES) | values) & HIGH_BITS
}

/// High bit set in each byte that is not 0, as far as the byte is below 0x80.
#[inline(always)]
fn not_zero(word: u64) -> u64 {
    (word & LOW_BITS) + LOW_BITS
}

/// The number that eight digits (each a byte from 0 to 9, the first in the lowest place) make:
/// neighbours are joined to pairs, pairs to fours, fours to eight.
#[inline(always)]
fn eight_digits(digits: u64) -> u64 {
    const FOURS: u64 = 0x0000_00ff_0000_00ff;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let first = (pairs & FOURS).wrapping_mul(100 + (1_000_000 << 32));
    let second = ((pairs >> 16) & FOURS).wrapping_mul(1 + (10_000 << 32));
    first.wrapping_add(second) >> 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_are_read_whole_or_not_at_all(value: u64, tail in "[^0-9]{0,12}") {
            let text = format!("{value}{tail}");
            let mut cursor = Cursor::new(text.as_bytes());
            match cursor.integer() {
                Some(read) => {
                    prop_assert_eq!(read, value);
                    prop_assert_eq!(cursor.rest(), tail.as_bytes());
                }
                None => prop_assert!(value > 9_999_999_999_999_999_999),
            }
        }

        #[test]
        fn an_integer_that_should_have_13_digits_is_read_like_any_other(
            text in "([0-9]{0,20}|[0-9]{13})[^0-9]{0,9}",
        ) {
            let (mut one, mut other) = (Cursor::new(text.as_bytes()), Cursor::new(text.as_bytes()));
            match (one.integer_of_13(), other.integer()) {
                (Some(read), Some(same)) => {
                    prop_assert_eq!(read, same);
                    prop_assert_eq!(one.rest(), other.rest());
                }
                (None, None) => {}
                (None, Some(_)) => prop_assert!(text.len() < 8),
                (Some(read), None) => prop_assert!(false, "{} of {:?}", read, text),
            }
        }

        #[test]
        fn decimals_agree_with_the_general_parser(text in "[0-9]{0,18}[.]?[0-9]{0,14}[-\"x]?") {
            let mut cursor = Cursor::new(text.as_bytes());
            if let Some(read) = cursor.decimal() {
                let taken = text.len() - cursor.rest().len();
                prop_assert_eq!(Decimal::parse(&text.as_bytes()[..taken]), Ok(read));
            } else {
                // Only what is rare may be left to the general parser.
                let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
                let digits = |part: &str| part.bytes().take_while(u8::is_ascii_digit).count();
                prop_assert!(digits(whole) == 0 || digits(fraction) == 0 || digits(fraction) > 12);
            }
        }

        #[test]
        fn a_short_text_ends_at_its_first_quote(
            text in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut cursor = Cursor::new(&text);
            let end = text.iter().position(|&byte| byte == b'"');
            match cursor.short_text() {
                Some((read, key)) => {
                    prop_assert_eq!(Some(read.len()), end);
                    prop_assert_eq!(key == 0, read.is_empty());
                    prop_assert_eq!(cursor.rest(), &text[read.len() + 1..]);
                }
                None => prop_assert!(text.len() < 16 || end.is_none_or(|end| end > 15)),
            }
        }

        #[test]
        fn plain_text_ends_at_its_quote_and_holds_nothing_to_decode(
            text in proptest::collection::vec(
                prop_oneof![9 => 0x20..0x7fu8, 1 => any::<u8>()], 0..40,
            ),
        ) {
            let mut cursor = Cursor::new(&text);
            let special = |byte: &u8| !(0x20..0x80).contains(byte) || b"\"\\".contains(byte);
            let end = text.iter().position(special);
            let quote = end.filter(|&end| text[end] == b'"');
            prop_assert_eq!(cursor.plain_text(), quote.map(|_| ()));
            if let Some(quote) = quote {
                prop_assert_eq!(cursor.rest(), &text[quote + 1..]);
            }
        }

        #[test]
        fn number_characters_are_points_slashes_and_digits(
            text: Vec<u8>, number in "[0-9./]{0,20}",
        ) {
            let whole = [number.as_bytes(), &text].concat();
            let mut cursor = Cursor::new(&whole);
            prop_assert_eq!(cursor.number_characters(), Some(()));
            let taken = whole.iter().take_while(|&&byte| (b'.'..=b'9').contains(&byte)).count();
            prop_assert_eq!(cursor.rest(), &whole[taken..]);
        }
    }
}

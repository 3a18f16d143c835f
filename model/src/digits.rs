//! Decimal digits as ASCII, without the detours of a formatter: rows of answers are full of them.

/// The texts of 00 to 99.
const PAIRS: [[u8; 2]; 100] = pairs();
/// Digits that are written at once, and the least number that has more.
const WORD: usize = 8;
const WORD_END: u64 = 100_000_000;

const fn pairs() -> [[u8; 2]; 100] {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
}

/// The two digits of `number`, which is below 100.
///
/// # Panics
/// If it is not.
#[inline]
pub fn pair(number: usize) -> [u8; 2] {
    PAIRS[number]
}

/// The eight digits of `number`, which is below 10^8: the first in the lowest byte.
///
/// Two halves of four digits become four pairs, and those eight digits, side by side in one word.
/// `10_486 / 2^20` is a hundredth and `103 / 2^10` a tenth, as far as such numbers can tell.
#[inline]
fn eight(number: u64) -> u64 {
    let halves = (number / 10_000) | (number % 10_000) << 32;
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (halves - 100 * hundreds) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (pairs - 10 * tens) << 8
}

/// Appends the digits of `word` behind the first `skipped`.
#[inline]
fn push_word(word: u64, skipped: usize, out: &mut Vec<u8>) {
    let text = (word | 0x3030_3030_3030_3030).checked_shr(8 * skipped as u32).unwrap_or(0);
    let end = out.len() + WORD - skipped;
    // Always eight bytes, which is one move; what is too much is cut off.
    out.extend_from_slice(&text.to_le_bytes());
    out.truncate(end);
}

/// Appends `number` with zeros before it up to `width` digits, at most 24.
#[inline]
pub fn push_digits(number: u64, width: usize, out: &mut Vec<u8>) {
    let push_first = |number, width, out: &mut _| {
        let word = eight(number);
        let zeros = word.trailing_zeros() as usize / 8;
        push_word(word, zeros.min(WORD - width), out);
    };
    let (high, low) = (number / WORD_END, number % WORD_END);
    if high == 0 && width <= WORD {
        return push_first(low, width, out);
    }
    if high < WORD_END && width <= 2 * WORD {
        push_first(high, width.saturating_sub(WORD), out);
    } else {
        push_first(high / WORD_END, width.saturating_sub(2 * WORD), out);
        push_word(eight(high % WORD_END), 0, out);
    }
    push_word(eight(low), 0, out);
}

/// Appends `number` as people write it.
#[inline]
pub fn push_integer(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    push_digits(number.unsigned_abs(), 1, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(push: impl Fn(&mut Vec<u8>)) -> String {
        let mut text = b"=".to_vec();
        push(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn ends_of_the_range_are_written_whole() {
        assert_eq!(pushed(|out| push_digits(0, 1, out)), "=0");
        assert_eq!(pushed(|out| push_digits(0, 0, out)), "=");
        assert_eq!(pushed(|out| push_digits(u64::MAX, 20, out)), "=18446744073709551615");
        assert_eq!(pushed(|out| push_integer(i64::MIN, out)), "=-9223372036854775808");
        assert_eq!(pushed(|out| push_integer(i64::MAX, out)), "=9223372036854775807");
    }

    proptest! {
        #[test]
        fn digits_are_those_of_the_standard_formatter(number: u64, cut in 0u32..64, width in 1usize..=24) {
            let number = number >> cut;
            prop_assert_eq!(pushed(|out| push_digits(number, width, out)), format!("={number:0width$}"));
            let signed = number.cast_signed();
            prop_assert_eq!(pushed(|out| push_integer(signed, out)), format!("={signed}"));
        }
    }
}

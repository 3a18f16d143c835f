//! Decimal digits as ASCII, without the detours of a formatter: rows of answers are full of them.

/// The texts of 00 to 99.
const PAIRS: [[u8; 2]; 100] = pairs();
/// As many as any `u64` has.
const DIGITS_MAX: usize = 20;

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

/// Appends `number` with zeros before it up to `width` digits, at most 20.
#[inline]
pub fn push_digits(number: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; DIGITS_MAX];
    let (mut at, mut rest) = (digits.len(), number);
    while rest >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&pair((rest % 100) as usize));
        rest /= 100;
    }
    if rest > 0 {
        at -= 1;
        digits[at] = b'0' + rest as u8;
    }
    out.extend_from_slice(&digits[at.min(digits.len() - width)..]);
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
        fn digits_are_those_of_the_standard_formatter(number: u64, cut in 0u32..64, width in 1usize..=20) {
            let number = number >> cut;
            prop_assert_eq!(pushed(|out| push_digits(number, width, out)), format!("={number:0width$}"));
            let signed = number.cast_signed();
            prop_assert_eq!(pushed(|out| push_integer(signed, out)), format!("={signed}"));
        }
    }
}

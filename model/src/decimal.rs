//! Exact numbers: 38 digits, 12 of them behind the point, and 256-bit sums of products.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digits::push_digits;

/// Digits behind the point.
pub const SCALE: u32 = 12;
/// One unit: 10^12.
pub const ONE: i128 = 1_000_000_000_000;
/// The largest magnitude that a `decimal(38,12)` holds: 10^38 - 1.
pub const MAX: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;

/// As many digits as every number of 64 bits can have.
const DIGITS_OF_64_BITS: u32 = 19;
/// The least magnitude with more than 18 digits.
const NARROW_END: u128 = 1_000_000_000_000_000_000;

/// A decimal with 12 digits behind the point, at most 38 in all. Zero is the default.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Decimal(pub i128);

/// Why a text is not a [`Decimal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalError {
    /// Not `[-]digits[.digits]`.
    Form,
    /// A digit other than 0 behind the twelfth decimal.
    TooPrecise,
    /// More than 26 digits before the point.
    OutOfRange,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "not a decimal number",
            Self::TooPrecise => "more than 12 decimals",
            Self::OutOfRange => "more than 26 digits before the point",
        })
    }
}

impl std::error::Error for DecimalError {}

impl Decimal {
    pub const ZERO: Self = Self(0);

    /// In 64 bits, if it has at most 18 digits: as many as any 64-bit decimal may have.
    #[inline]
    pub fn narrow(self) -> Option<i64> {
        (self.0.unsigned_abs() < NARROW_END).then_some(self.0 as i64)
    }

    /// Reads `[-]digits[.digits]`. Zeros behind the twelfth decimal are no loss and are accepted.
    pub fn parse(text: &[u8]) -> Result<Self, DecimalError> {
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let point = digits.iter().position(|&byte| byte == b'.');
        let (whole, fraction) = match point {
            Some(at) => (&digits[..at], &digits[at + 1..]),
            None => (digits, &[][..]),
        };
        if whole.is_empty() || (point.is_some() && fraction.is_empty()) {
            return Err(DecimalError::Form);
        }
        let mut mantissa: i128 = 0;
        let kept = fraction.len().min(SCALE as usize);
        for &byte in whole.iter().chain(&fraction[..kept]) {
            mantissa = push_digit(mantissa, byte)?;
        }
        for _ in kept..SCALE as usize {
            mantissa = push_digit(mantissa, b'0')?;
        }
        for &byte in &fraction[kept..] {
            match byte {
                b'0' => {}
                b'1'..=b'9' => return Err(DecimalError::TooPrecise),
                _ => return Err(DecimalError::Form),
            }
        }
        Ok(Self(if negative { -mantissa } else { mantissa }))
    }

    /// Appends what [`fmt::Display`] writes, without its detours: rows of answers are full of these.
    pub fn push_to(self, out: &mut Vec<u8>) {
        if self.0 < 0 {
            out.push(b'-');
        }
        let (magnitude, one) = (self.0.unsigned_abs(), ONE.unsigned_abs());
        // Of narrow numbers both parts fit 64 bits, in which division is quick.
        let fraction = match u64::try_from(magnitude) {
            Ok(narrow) => {
                push_digits(narrow / one as u64, 1, out);
                narrow % one as u64
            }
            Err(_) => {
                push_wide(magnitude / one, out);
                (magnitude % one) as u64
            }
        };
        out.push(b'.');
        push_digits(fraction, SCALE as usize, out);
    }

    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// The exact product, with 24 digits behind the point.
    #[inline]
    pub fn times(self, other: Self) -> Wide {
        Wide::product(self.0, other.0)
    }

    /// The sum, held at the ends of the range of `decimal(38,12)`.
    #[inline]
    pub fn saturating_add(self, other: Self) -> Self {
        Self((self.0 + other.0).clamp(-MAX, MAX))
    }
}

/// Appends a number that may have more digits than 64 bits hold.
fn push_wide(number: u128, out: &mut Vec<u8>) {
    let place = 10_u128.pow(DIGITS_OF_64_BITS);
    match u64::try_from(number) {
        Ok(narrow) => push_digits(narrow, 1, out),
        Err(_) => {
            push_wide(number / place, out);
            push_digits((number % place) as u64, DIGITS_OF_64_BITS as usize, out);
        }
    }
}

fn push_digit(mantissa: i128, byte: u8) -> Result<i128, DecimalError> {
    if !byte.is_ascii_digit() {
        return Err(DecimalError::Form);
    }
    // Checked before it grows, so that 38 digits are the most that ever stand in `mantissa`.
    if mantissa > MAX / 10 {
        return Err(DecimalError::OutOfRange);
    }
    Ok(mantissa * 10 + i128::from(byte - b'0'))
}

impl fmt::Display for Decimal {
    /// All twelve decimals, so that equal numbers are equal texts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let one = ONE.unsigned_abs();
        write!(f, "{sign}{}.{:012}", magnitude / one, magnitude % one)
    }
}

/// A signed 256-bit integer in two's complement: sums of products of two [`Decimal`]s, 24 digits
/// behind the point. 10^39 products of the largest decimals fit, so sums here cannot overflow.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Wide {
    high: i128,
    low: u128,
}

impl Wide {
    pub const ZERO: Self = Self { high: 0, low: 0 };

    #[inline]
    fn product(a: i128, b: i128) -> Self {
        let (x, y) = (a.unsigned_abs(), b.unsigned_abs());
        let magnitude = match (u64::try_from(x), u64::try_from(y)) {
            (Ok(x), Ok(y)) => Self { high: 0, low: u128::from(x) * u128::from(y) },
            _ => Self::long_product(x, y),
        };
        if (a < 0) == (b < 0) { magnitude } else { magnitude.negated() }
    }

    /// Schoolbook multiplication of two 128-bit magnitudes in 64-bit limbs.
    fn long_product(x: u128, y: u128) -> Self {
        const MASK: u128 = u64::MAX as u128;
        let (x1, x0, y1, y0) = (x >> 64, x & MASK, y >> 64, y & MASK);
        let low = x0 * y0;
        let (middle, carry) = (x1 * y0).overflowing_add(x0 * y1);
        let (low, low_carry) = low.overflowing_add(middle << 64);
        let high = x1 * y1 + (middle >> 64) + (u128::from(carry) << 64) + u128::from(low_carry);
        // Both factors are below 2^127, so the product is below 2^254.
        Self { high: high as i128, low }
    }

    #[must_use]
    #[inline]
    pub fn plus(self, other: Self) -> Self {
        let (low, carry) = self.low.overflowing_add(other.low);
        Self { high: self.high.wrapping_add(other.high).wrapping_add(i128::from(carry)), low }
    }

    fn negated(self) -> Self {
        let (low, carry) = (!self.low).overflowing_add(1);
        Self { high: (!self.high).wrapping_add(i128::from(carry)), low }
    }

    /// `self / volume` rounded half up in magnitude: the mean price of a volume.
    ///
    /// `None` if `volume` is zero. Rounding is monotonic, so a mean of prices stays between the
    /// least and the greatest of them.
    pub fn mean_over(self, volume: Decimal) -> Option<Decimal> {
        let divisor = volume.0.unsigned_abs();
        if divisor == 0 {
            return None;
        }
        let negative = (self.high < 0) != (volume.0 < 0);
        let magnitude = if self.high < 0 { self.negated() } else { self };
        let (quotient, remainder) = magnitude.divided(divisor);
        let rounded = quotient.saturating_add(u128::from(remainder >= divisor - remainder));
        let mean = i128::try_from(rounded).unwrap_or(MAX).min(MAX);
        Some(Decimal(if negative { -mean } else { mean }))
    }

    /// Quotient (held at `u128::MAX`) and remainder of a non-negative number.
    fn divided(self, divisor: u128) -> (u128, u128) {
        if self.high == 0 {
            return (self.low / divisor, self.low % divisor);
        }
        // Shift and subtract; only sums beyond 3.4e38 (1e14 units) come here. Divisors are below
        // 2^127, so the doubled remainder fits.
        let (mut quotient, mut remainder) = (0u128, 0u128);
        for bit in (0..256).rev() {
            let word = if bit >= 128 { self.high as u128 } else { self.low };
            remainder = (remainder << 1) | ((word >> (bit % 128)) & 1);
            let fits = remainder >= divisor;
            remainder -= if fits { divisor } else { 0 };
            if quotient >> 127 == 1 {
                return (u128::MAX, 0);
            }
            quotient = (quotient << 1) | u128::from(fits);
        }
        (quotient, remainder)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Decimal, DecimalError> {
        Decimal::parse(text.as_bytes())
    }

    #[test]
    fn texts_become_exact_decimals_or_say_why_not() {
        assert_eq!(parse("61837.63000000"), Ok(Decimal(61_837_630_000_000_000)));
        assert_eq!(parse("-0.000000000001"), Ok(Decimal(-1)));
        assert_eq!(parse("1.0000000000000"), Ok(Decimal(ONE)));
        assert_eq!(parse("0.0000000000001"), Err(DecimalError::TooPrecise));
        assert_eq!(parse("99999999999999999999999999.999999999999"), Ok(Decimal(MAX)));
        assert_eq!(parse("100000000000000000000000000"), Err(DecimalError::OutOfRange));
        for wrong in ["", "-", ".", "1.", ".5", "1e5", "+1", " 1", "1.2.3", "0x1", "NaN"] {
            assert_eq!(parse(wrong), Err(DecimalError::Form), "{wrong:?}");
        }
    }

    #[test]
    fn the_largest_products_sum_and_divide_without_overflow() {
        let largest = Decimal(MAX);
        let sum = largest.times(largest).plus(largest.times(largest));
        assert_eq!(sum.mean_over(largest), Some(Decimal(MAX)), "held at the end of the range");
        assert_eq!(largest.times(Decimal(ONE)).mean_over(Decimal(ONE)), Some(largest));
        assert_eq!(Wide::ZERO.mean_over(Decimal::ZERO), None);
    }

    proptest! {
        #[test]
        fn display_and_parse_are_inverse(mantissa in -MAX..=MAX) {
            prop_assert_eq!(parse(&Decimal(mantissa).to_string()), Ok(Decimal(mantissa)));
        }

        #[test]
        fn pushing_writes_what_display_does(wide in -MAX..=MAX, narrow: i64, small in -2_000i128..2_000) {
            for mantissa in [wide, narrow.into(), small, small * ONE, -MAX, MAX, 0] {
                let mut pushed = b"x".to_vec();
                Decimal(mantissa).push_to(&mut pushed);
                let pushed = String::from_utf8(pushed).unwrap();
                prop_assert_eq!(pushed, format!("x{}", Decimal(mantissa)));
            }
        }

        #[test]
        fn the_mean_of_a_product_over_one_factor_is_the_other(
            price in -MAX..=MAX, quantity in 1..=MAX,
        ) {
            let mean = Decimal(price).times(Decimal(quantity)).mean_over(Decimal(quantity));
            prop_assert_eq!(mean, Some(Decimal(price)));
        }

        #[test]
        fn sums_of_products_agree_with_small_arithmetic(
            pairs in proptest::collection::vec((-1_000_000i128..1_000_000, 1i128..1_000_000), 1..50),
        ) {
            let exact: i128 = pairs.iter().map(|(price, quantity)| price * quantity).sum();
            let volume: i128 = pairs.iter().map(|(_, quantity)| quantity).sum();
            let sum = pairs.iter().fold(Wide::ZERO, |sum, &(price, quantity)| {
                sum.plus(Decimal(price).times(Decimal(quantity)))
            });
            let twice = 2 * exact.abs() + volume;
            let rounded = (twice / (2 * volume)) * exact.signum();
            prop_assert_eq!(sum.mean_over(Decimal(volume)), Some(Decimal(rounded)));
        }
    }
}

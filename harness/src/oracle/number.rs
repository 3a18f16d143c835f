//! Exact numbers, the slow and obvious way: decimals through their digits, long products by hand.
//!
//! Shares nothing with the product's arithmetic, so that an error there is not repeated here.

use k2_model::RejectReason;

/// Digits behind the point, and before it at most.
const DECIMALS: usize = 12;
const WHOLE_DIGITS_MAX: usize = 26;
/// The largest number with 38 digits in all.
pub(super) const LARGEST: i128 = 10i128.pow(38) - 1;

/// Reads a price or quantity in units of 10^-12.
pub(super) fn parse_decimal(text: &str) -> Result<i128, RejectReason> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return Err(RejectReason::InvalidField);
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if whole.len() > WHOLE_DIGITS_MAX {
        return Err(RejectReason::OutOfRange);
    }
    if fraction.len() > DECIMALS {
        return Err(RejectReason::TooPrecise);
    }
    let digits = format!("0{whole}{fraction:0<DECIMALS$}");
    let units: i128 = digits.parse().expect("at most 39 digits, the first of them 0");
    match (negative, units) {
        (true, 1..) => Err(RejectReason::Negative),
        _ => Ok(units),
    }
}

/// A number of 10^-12 units with all twelve decimals: equal numbers are equal texts.
pub fn decimal_text(units: i128) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let digits = format!("{:013}", units.unsigned_abs());
    let (whole, fraction) = digits.split_at(digits.len() - DECIMALS);
    format!("{sign}{whole}.{fraction}")
}

/// A natural number below 10^90, in digits of base 10^9, the lowest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Natural {
    digits: [u64; Self::DIGITS],
}

impl Natural {
    const BASE: u64 = 1_000_000_000;
    const DIGITS: usize = 10;

    pub(super) fn from_units(units: i128) -> Self {
        let mut rest = units.unsigned_abs();
        let mut natural = Self::default();
        for digit in &mut natural.digits {
            // Below 10^9, so it fits.
            *digit = (rest % u128::from(Self::BASE)) as u64;
            rest /= u128::from(Self::BASE);
        }
        natural
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        let mut sum = Self::default();
        let mut carry = 0;
        for (at, digit) in sum.digits.iter_mut().enumerate() {
            let column = self.digits[at] + other.digits[at] + carry;
            *digit = column % Self::BASE;
            carry = column / Self::BASE;
        }
        assert_eq!(carry, 0, "a sum reached 10^90");
        sum
    }

    pub(super) fn times(&self, other: &Self) -> Self {
        let mut product = Self::default();
        // Most numbers are short, and a digit of 0 adds nothing.
        for (low, &mine) in self.digits.iter().enumerate().filter(|(_, digit)| **digit > 0) {
            let mut carry = 0;
            for (high, &theirs) in other.digits.iter().enumerate() {
                let Some(digit) = product.digits.get_mut(low + high) else {
                    assert_eq!(mine * theirs + carry, 0, "a product reached 10^90");
                    continue;
                };
                let column = *digit + mine * theirs + carry;
                *digit = column % Self::BASE;
                carry = column / Self::BASE;
            }
        }
        product
    }

    /// `self / divisor`, rounded half up. `None` if `divisor` is zero.
    pub(super) fn over(&self, divisor: &Self) -> Option<Self> {
        if *divisor == Self::default() {
            return None;
        }
        let one = Self::from_units(1);
        let (mut quotient, mut remainder) = (Self::default(), Self::default());
        for &digit in self.digits.iter().rev() {
            remainder = remainder.times(&Self::from_units(i128::from(Self::BASE)));
            remainder = remainder.plus(&Self::from_units(i128::from(digit)));
            let fits = divisor.fits_into(&remainder);
            let part = Self::from_units(i128::from(fits));
            remainder = remainder.minus(&divisor.times(&part));
            quotient = quotient.times(&Self::from_units(i128::from(Self::BASE))).plus(&part);
        }
        let rounds_up = !remainder.plus(&remainder).is_below(divisor);
        Some(if rounds_up { quotient.plus(&one) } else { quotient })
    }

    /// How many times `self` fits into `whole`, which must be fewer than 10^9 times: by bisection.
    fn fits_into(&self, whole: &Self) -> u64 {
        let (mut fits, mut fails) = (0, Self::BASE);
        while fits + 1 < fails {
            let middle = fits.midpoint(fails);
            if whole.is_below(&self.times(&Self::from_units(i128::from(middle)))) {
                fails = middle;
            } else {
                fits = middle;
            }
        }
        fits
    }

    fn is_below(&self, other: &Self) -> bool {
        self.digits.iter().rev().lt(other.digits.iter().rev())
    }

    /// `self - other`, which must not be greater.
    fn minus(&self, other: &Self) -> Self {
        let mut difference = Self::default();
        let mut borrow = 0;
        for (at, digit) in difference.digits.iter_mut().enumerate() {
            let column = Self::BASE + self.digits[at] - other.digits[at] - borrow;
            *digit = column % Self::BASE;
            borrow = u64::from(column < Self::BASE);
        }
        assert_eq!(borrow, 0, "a difference went below zero");
        difference
    }

    /// As an integer, held at the largest decimal.
    pub(super) fn to_units(self) -> i128 {
        if !self.is_below(&Self::from_units(LARGEST)) {
            return LARGEST;
        }
        let base = i128::from(Self::BASE);
        self.digits.iter().rev().fold(0, |units, &digit| units * base + i128::from(digit))
    }
}

#[cfg(test)]
mod tests {
    use k2_model::Decimal;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_or_refused_with_the_reason() {
        assert_eq!(parse_decimal("61837.63000000"), Ok(61_837_630_000_000_000));
        assert_eq!(parse_decimal("0.0000000000010"), Ok(1));
        assert_eq!(parse_decimal("-0.0"), Ok(0));
        assert_eq!(parse_decimal(&decimal_text(LARGEST)), Ok(LARGEST));
        for (text, reason) in [
            ("", RejectReason::InvalidField),
            ("1.", RejectReason::InvalidField),
            ("1e3", RejectReason::InvalidField),
            ("0.0000000000001", RejectReason::TooPrecise),
            ("100000000000000000000000000", RejectReason::OutOfRange),
            ("-1", RejectReason::Negative),
        ] {
            assert_eq!(parse_decimal(text), Err(reason), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn texts_and_means_are_those_of_the_model(
            price in 0..=LARGEST, quantity in 1..=LARGEST, other in 1..=LARGEST,
        ) {
            prop_assert_eq!(decimal_text(price), Decimal(price).to_string());
            prop_assert_eq!(parse_decimal(&decimal_text(price)), Ok(price));
            let natural = Natural::from_units;
            let product = natural(price).times(&natural(quantity));
            prop_assert_eq!(product.over(&natural(quantity)).unwrap().to_units(), price);
            let mean = product.over(&natural(other)).unwrap().to_units();
            let expected = Decimal(price).times(Decimal(quantity)).mean_over(Decimal(other));
            prop_assert_eq!(Some(Decimal(mean)), expected);
        }
    }
}

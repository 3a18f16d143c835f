//! The patterns that PostgreSQL's `to_char` writes numbers by: `FM999,990.00`.
//!
//! Those with digits (`9`, and `0` where zeros are written), groups (`,` or `G`), a point (`.` or
//! `D`) and one sign (`S` or `MI` on either side, `PR` behind). Others are refused: text between
//! digits, currencies, powers of ten and Roman numbers.

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type};
use arrow_cast::cast;
use arrow_schema::DataType;
use datafusion::common::Result as PlanResult;

use crate::error::{Error, Result};

/// Digits of a decimal.
const DIGITS: u8 = 38;
/// A pattern of numbers has no more bytes than this: no number here has more digits.
const PATTERN_BYTES_MAX: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// A plus too.
    Both,
    Minus,
    /// `<1>` is below zero.
    Brackets,
}

/// A pattern, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NumberTemplate {
    /// Blanks stand where no digit does.
    is_filled: bool,
    before: Option<Sign>,
    behind: Option<Sign>,
    whole: String,
    fraction: String,
}

/// A number without its sign, to as many decimals as are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rounded {
    is_negative: bool,
    /// Nothing for 0.
    whole: String,
    fraction: String,
}

/// One to be written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Exact { units: i128, scale: usize },
    Float(f64),
}

/// The numbers of a column.
pub(super) fn numbers(array: &ArrayRef) -> PlanResult<Vec<Option<Number>>> {
    if array.data_type().is_floating() {
        let array = cast(array, &DataType::Float64)?;
        let numbers = array.as_primitive::<Float64Type>().iter();
        return Ok(numbers.map(|number| number.map(Number::Float)).collect());
    }
    let scale = match array.data_type() {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => (*scale).max(0),
        _ => 0,
    };
    let array = cast(array, &DataType::Decimal128(DIGITS, scale))?;
    let scale = usize::from(scale.unsigned_abs());
    let exact = |units| Number::Exact { units, scale };
    Ok(array.as_primitive::<Decimal128Type>().iter().map(|units| units.map(exact)).collect())
}

impl NumberTemplate {
    pub(super) fn new(pattern: &str) -> Result<Self> {
        let upper = pattern.to_uppercase().replace('D', ".").replace('G', ",");
        let (is_filled, rest) =
            upper.strip_prefix("FM").map_or((true, &*upper), |rest| (false, rest));
        let signs = [("S", Sign::Both), ("MI", Sign::Minus), ("PR", Sign::Brackets)];
        let first = signs[..2].iter().find(|(sign, _)| rest.starts_with(sign));
        let rest = first.map_or(rest, |(sign, _)| &rest[sign.len()..]);
        let last = signs.iter().find(|(sign, _)| rest.ends_with(sign));
        let rest = last.map_or(rest, |(sign, _)| &rest[..rest.len() - sign.len()]);
        let (whole, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
        let is_digit = |letter: char| matches!(letter, '9' | '0');
        let are_digits = |text: &str| !text.is_empty() && text.chars().all(is_digit);
        let is_known = whole.split(',').all(are_digits) && are_digits(fraction);
        let is_long = pattern.len() > PATTERN_BYTES_MAX;
        if !is_known || is_long || (first.is_some() && last.is_some()) {
            return Err(unknown(pattern));
        }
        Ok(Self {
            is_filled,
            before: first.map(|(_, sign)| *sign),
            behind: last.map(|(_, sign)| *sign),
            whole: whole.to_owned(),
            fraction: if rest.contains('.') { fraction.to_owned() } else { String::new() },
        })
    }

    pub(super) fn write(&self, number: Number, out: &mut String) {
        let mut rounded = number.rounded(self.fraction.len());
        let places = self.whole.bytes().filter(|slot| *slot != b',').count();
        let is_too_large = rounded.whole.len() > places;
        if is_too_large {
            rounded.whole = "#".repeat(places);
            rounded.fraction = "#".repeat(self.fraction.len());
        }
        let mut decimals = self.fraction.len();
        if !self.is_filled && !is_too_large {
            let asked = self.fraction.rfind('0').map_or(0, |at| at + 1);
            decimals = rounded.fraction.trim_end_matches('0').len().max(asked);
        }
        let (blanks, mut digits) = self.whole_of(&rounded, places);
        if !self.fraction.is_empty() {
            digits.push('.');
            digits.push_str(&rounded.fraction[..decimals]);
        }
        self.put_signed(&blanks, &digits, rounded.is_negative, out);
    }

    /// The blanks before the first digit, and the digits.
    fn whole_of(&self, rounded: &Rounded, places: usize) -> (String, String) {
        let slots = self.whole.chars().filter(|slot| *slot != ',');
        let zero = slots.clone().position(|slot| slot == '0').unwrap_or(places);
        let empty = places - rounded.whole.len();
        let mut first = empty.min(zero);
        // Where a zero would be all that is left, it is written.
        let is_lone = self.fraction.is_empty()
            || (!self.is_filled
                && !self.fraction.contains('0')
                && rounded.fraction.bytes().all(|digit| digit == b'0'));
        if first == places && is_lone {
            first = places - 1;
        }
        let (mut blanks, mut digits, mut place) = (String::new(), String::new(), 0);
        let mut given = rounded.whole.chars();
        for slot in self.whole.chars() {
            let is_blank = if slot == ',' { place <= first } else { place < first };
            if is_blank {
                blanks.extend(self.is_filled.then_some(' '));
            } else if slot == ',' {
                digits.push(',');
            } else {
                digits.push(if place < empty { '0' } else { given.next().unwrap_or('0') });
            }
            place += usize::from(slot != ',');
        }
        (blanks, digits)
    }

    fn put_signed(&self, blanks: &str, digits: &str, is_negative: bool, out: &mut String) {
        let filling = if self.is_filled { " " } else { "" };
        let minus = if is_negative { "-" } else { filling };
        let both = if is_negative { "-" } else { "+" };
        let parts = match (self.before, self.behind) {
            (Some(Sign::Both), _) => [blanks, both, digits, ""],
            (Some(_), _) => [minus, blanks, digits, ""],
            (None, Some(Sign::Both)) => [blanks, "", digits, both],
            (None, Some(Sign::Minus)) => [blanks, "", digits, minus],
            (None, Some(Sign::Brackets)) if is_negative => [blanks, "<", digits, ">"],
            (None, Some(Sign::Brackets)) => [blanks, filling, digits, filling],
            (None, None) => [blanks, minus, digits, ""],
        };
        out.extend(parts);
    }
}

fn unknown(pattern: &str) -> Error {
    let shown: String = pattern.chars().take(PATTERN_BYTES_MAX).collect();
    let message = format!("answer a query: to_char of numbers has no pattern {shown:?}");
    Error::bad_request("not_supported", message)
        .with_hint("write patterns like FM999,990.00 and S9990.9, or round and cast to text")
}

impl Number {
    /// Half away from zero. What is no number is too large for any pattern.
    fn rounded(self, decimals: usize) -> Rounded {
        let (is_below, digits) = match self {
            Self::Float(number) if !number.is_finite() => {
                (number < 0.0, "9".repeat(2 * PATTERN_BYTES_MAX))
            }
            Self::Float(number) => {
                (number < 0.0, format!("{:.decimals$}", number.abs()).replace('.', ""))
            }
            Self::Exact { units, scale } => {
                let dropped = u32::try_from(scale.saturating_sub(decimals)).unwrap_or(u32::MAX);
                // A decimal has no more digits than this has.
                let step = 10_u128.checked_pow(dropped).unwrap_or(u128::MAX);
                let all = units.unsigned_abs();
                let kept = all / step + u128::from(all % step >= step.div_ceil(2) && step > 1);
                let zeros = "0".repeat(decimals.saturating_sub(scale));
                (units < 0, format!("{kept}{zeros}"))
            }
        };
        let digits = format!("{digits:0>width$}", width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        Rounded {
            is_negative: is_below && digits.bytes().any(|digit| digit != b'0'),
            whole: whole.trim_start_matches('0').to_owned(),
            fraction: fraction.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pattern: &str, units: i128, scale: usize) -> String {
        let mut out = String::new();
        NumberTemplate::new(pattern).unwrap().write(Number::Exact { units, scale }, &mut out);
        out
    }

    /// What PostgreSQL 15 writes of 0, 1.5, -1.5, 12.345, -0.001 and 1234.5.
    const WRITTEN: [(&str, [&str; 6]); 18] = [
        ("999", ["   0", "   2", "  -2", "  12", "   0", " ###"]),
        ("FM999", ["0", "2", "-2", "12", "0", "###"]),
        ("099", [" 000", " 002", "-002", " 012", " 000", " ###"]),
        ("990.99", ["   0.00", "   1.50", "  -1.50", "  12.35", "   0.00", " ###.##"]),
        ("FM990.99", ["0.", "1.5", "-1.5", "12.35", "0.", "###.##"]),
        ("FM990.00", ["0.00", "1.50", "-1.50", "12.35", "0.00", "###.##"]),
        ("999.99", ["    .00", "   1.50", "  -1.50", "  12.35", "    .00", " ###.##"]),
        ("FM999D99", ["0.", "1.5", "-1.5", "12.35", "0.", "###.##"]),
        ("9,999", ["     0", "     2", "    -2", "    12", "     0", " 1,235"]),
        ("0G000", [" 0,000", " 0,002", "-0,002", " 0,012", " 0,000", " 1,235"]),
        ("S999", ["  +0", "  +2", "  -2", " +12", "  +0", "+###"]),
        ("999S", ["  0+", "  2+", "  2-", " 12+", "  0+", "###+"]),
        ("999MI", ["  0 ", "  2 ", "  2-", " 12 ", "  0 ", "### "]),
        ("MI999", ["   0", "   2", "-  2", "  12", "   0", " ###"]),
        ("999PR", ["   0 ", "   2 ", "  <2>", "  12 ", "   0 ", " ### "]),
        ("FM999PR", ["0", "2", "<2>", "12", "0", "###"]),
        (
            "FM9999990.000000",
            ["0.000000", "1.500000", "-1.500000", "12.345000", "-0.001000", "1234.500000"],
        ),
        ("FM999,999,990.00", ["0.00", "1.50", "-1.50", "12.35", "0.00", "1,234.50"]),
    ];

    #[test]
    fn numbers_are_written_as_postgresql_writes_them() {
        let numbers = [(0, 0), (15, 1), (-15, 1), (12_345, 3), (-1, 3), (12_345, 1)];
        for (pattern, expected) in WRITTEN {
            for ((units, scale), expected) in numbers.into_iter().zip(expected) {
                assert_eq!(written(pattern, units, scale), expected, "{pattern} of {units}");
            }
        }
        let mut out = String::new();
        NumberTemplate::new("FM990.0").unwrap().write(Number::Float(2.25), &mut out);
        assert_eq!(out, "2.2");
    }

    #[test]
    fn patterns_that_are_not_known_are_refused() {
        for pattern in
            ["", "L999", "999V9", "9.9.9", "999EEEE", "RN", "9 9", "S9S", "9,,9", "999.", ".99"]
        {
            assert_eq!(
                NumberTemplate::new(pattern).unwrap_err().code(),
                "not_supported",
                "{pattern}"
            );
        }
    }
}

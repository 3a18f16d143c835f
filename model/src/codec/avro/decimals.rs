//! Decimals: integers in big-endian two's complement, and a scale that only the schema tells.

use super::body::Body;
use super::encode::push_long;
use crate::decimal::{Decimal, DecimalError, MAX, SCALE};

/// Bytes of the largest integer that is kept; any decimal of 38 digits has at most so many.
const BYTES_MAX: usize = size_of::<i128>();

/// Appends the length and the bytes of `decimal`, of which there are as few as can be.
#[inline]
pub(super) fn push_decimal(decimal: Decimal, out: &mut Vec<u8>) {
    let Decimal(mantissa) = decimal;
    // One bit is the sign's.
    let bits = 1 + i128::BITS - (mantissa ^ (mantissa >> (i128::BITS - 1))).leading_zeros();
    let bytes = bits.div_ceil(8) as usize;
    push_long(bytes as i64, out);
    out.extend_from_slice(&mantissa.to_be_bytes()[BYTES_MAX - bytes..]);
}

/// Takes a price or quantity in our own scale; `None` if it is none, or written at more length than
/// it needs.
#[inline(always)]
pub(super) fn take_decimal(body: &mut Body<'_>) -> Option<Decimal> {
    let length = body.short()?;
    if length == 0 || length > BYTES_MAX {
        return None;
    }
    let mantissa = match body.rest().first_chunk() {
        // What stands behind the number is shifted out, and the sign in.
        Some(bytes) => i128::from_be_bytes(*bytes) >> (8 * (BYTES_MAX - length)),
        None => mantissa_of(body.rest().get(..length)?)?,
    };
    body.take(length)?;
    (0..=MAX).contains(&mantissa).then_some(Decimal(mantissa))
}

/// The integer in `bytes`; `None` beyond 128 bits.
fn mantissa_of(bytes: &[u8]) -> Option<i128> {
    let extension = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let extra = bytes.len().saturating_sub(BYTES_MAX);
    let (more, kept) = bytes.split_at(extra);
    let is_extension = more.iter().all(|&byte| byte == extension)
        && (more.is_empty() || (kept[0] ^ extension) & 0x80 == 0);
    let mut whole = [extension; BYTES_MAX];
    whole[BYTES_MAX - kept.len()..].copy_from_slice(kept);
    is_extension.then(|| i128::from_be_bytes(whole))
}

/// The decimal whose integer is in `bytes`, with `scale` digits behind the point.
pub(super) fn decimal_of(bytes: &[u8], scale: u32) -> Result<Decimal, DecimalError> {
    if bytes.is_empty() {
        return Err(DecimalError::Form);
    }
    let mantissa = mantissa_of(bytes).ok_or(DecimalError::OutOfRange)?;
    let scaled = if scale <= SCALE {
        mantissa.checked_mul(10i128.pow(SCALE - scale)).ok_or(DecimalError::OutOfRange)?
    } else {
        match 10i128.checked_pow(scale - SCALE) {
            Some(beyond) if mantissa % beyond == 0 => mantissa / beyond,
            None if mantissa == 0 => 0,
            _ => return Err(DecimalError::TooPrecise),
        }
    };
    if scaled.unsigned_abs() > MAX.unsigned_abs() {
        return Err(DecimalError::OutOfRange);
    }
    Ok(Decimal(scaled))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(mantissa: i128) -> Vec<u8> {
        let mut out = Vec::new();
        push_decimal(Decimal(mantissa), &mut out);
        out
    }

    fn mantissa() -> impl Strategy<Value = i128> {
        (-MAX..=MAX, 0..127u32).prop_map(|(mantissa, shift)| mantissa >> shift)
    }

    #[test]
    fn the_bytes_are_as_few_as_the_sign_allows() {
        assert_eq!(pushed(0), [2, 0]);
        assert_eq!(pushed(127), [2, 0x7f]);
        assert_eq!(pushed(128), [4, 0, 0x80]);
        assert_eq!(pushed(-1), [2, 0xff]);
        assert_eq!(pushed(-128), [2, 0x80]);
        assert_eq!(pushed(-129), [4, 0xff, 0x7f]);
        assert_eq!(pushed(MAX).len(), 1 + 16);
    }

    #[test]
    fn another_scale_is_exact_or_an_error() {
        use DecimalError::{Form, OutOfRange, TooPrecise};
        let of = |mantissa: i128, scale| decimal_of(&mantissa.to_be_bytes(), scale);
        assert_eq!(of(6_183_763, 2), Ok(Decimal(61_837_630_000_000_000)));
        assert_eq!(of(-5, 0), Ok(Decimal(-5_000_000_000_000)));
        assert_eq!(of(1_500, 15), Err(TooPrecise));
        assert_eq!(of(-1_000, 15), Ok(Decimal(-1)));
        assert_eq!(of(0, 4_000_000_000), Ok(Decimal(0)));
        assert_eq!(of(1, 4_000_000_000), Err(TooPrecise));
        assert_eq!(of(i128::MAX, 4_000_000_000), Err(TooPrecise));
        assert_eq!(of(10i128.pow(26) - 1, 0), Ok(Decimal((10i128.pow(26) - 1) * 10i128.pow(12))));
        assert_eq!(of(10i128.pow(26), 0), Err(OutOfRange));
        assert_eq!(of(i128::MAX, 0), Err(OutOfRange));
        assert_eq!(of(MAX + 1, SCALE), Err(OutOfRange));
        assert_eq!(of(i128::MIN, SCALE), Err(OutOfRange));
        assert_eq!(decimal_of(&[], SCALE), Err(Form));
    }

    #[test]
    fn a_long_number_is_taken_if_its_head_says_nothing() {
        let long = |head: u8, mantissa: i128| [&[head; 9][..], &mantissa.to_be_bytes()].concat();
        assert_eq!(mantissa_of(&long(0, 7)), Some(7));
        assert_eq!(mantissa_of(&long(0xff, -7)), Some(-7));
        assert_eq!(mantissa_of(&long(0, -7)), None);
        assert_eq!(mantissa_of(&long(0xff, 7)), None);
        assert_eq!(mantissa_of(&long(1, 7)), None);
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_taken_if_it_is_not_negative(mantissa in mantissa(), more: bool) {
            let mut bytes = pushed(mantissa);
            let encoded = bytes.len();
            prop_assert_eq!(decimal_of(&bytes[1..], SCALE), Ok(Decimal(mantissa)));
            // The shortest: without its first byte it is another number.
            prop_assert_ne!(mantissa_of(&bytes[2..]), Some(mantissa));
            bytes.resize(encoded + if more { 20 } else { 0 }, 0xee);
            let mut body = Body::new(&bytes);
            let taken = take_decimal(&mut body);
            prop_assert_eq!(taken, (mantissa >= 0).then_some(Decimal(mantissa)));
            prop_assert_eq!(body.rest(), &bytes[encoded..]);
        }

        #[test]
        fn a_decimal_is_the_same_number_in_each_scale(mantissa in mantissa(), scale in 0..30u32) {
            let found = decimal_of(&mantissa.to_be_bytes(), scale);
            if scale >= SCALE {
                let beyond = 10i128.pow(scale - SCALE);
                let whole = (mantissa % beyond == 0).then(|| Decimal(mantissa / beyond));
                prop_assert_eq!(found, whole.ok_or(DecimalError::TooPrecise));
            } else if let Ok(Decimal(scaled)) = found {
                prop_assert_eq!(scaled / 10i128.pow(SCALE - scale), mantissa);
                prop_assert_eq!(scaled % 10i128.pow(SCALE - scale), 0);
            } else {
                prop_assert!(mantissa.abs() > MAX / 10i128.pow(SCALE - scale));
            }
        }
    }
}

//! Numbers as text, fast: every byte of a generated message passes here.

/// Decimals of every price and quantity that Binance sends.
pub(super) const DECIMALS: u32 = 8;
/// One unit of a number with [`DECIMALS`] decimals.
pub(super) const UNIT: u64 = 10u64.pow(DECIMALS);

/// Appends `number` in decimal.
pub(super) fn push_number(out: &mut Vec<u8>, number: u64) {
    const HALF: u64 = 10u64.pow(8);
    const WHOLE: u64 = HALF * HALF;
    if number >= WHOLE {
        push_number(out, number / WHOLE);
        out.extend_from_slice(&ascii(number % WHOLE / HALF));
        out.extend_from_slice(&ascii(number % HALF));
        return;
    }
    let digits = u128::from(digits(number / HALF)) | u128::from(digits(number % HALF)) << 64;
    let zeros_leading = (digits.trailing_zeros() / 8).min(15);
    let text = (digits >> (8 * zeros_leading)) | 0x3030_3030_3030_3030_3030_3030_3030_3030;
    // Appending a fixed length and cutting it costs a fraction of appending what is needed.
    out.extend_from_slice(&text.to_le_bytes());
    out.truncate(out.len() - zeros_leading as usize);
}

/// A short text that is appended fast: kept in a fixed length, which is then cut.
#[derive(Clone, Debug)]
pub(super) struct Snippet {
    bytes: [u8; Self::LENGTH_MAX],
    length: usize,
}

impl Snippet {
    const LENGTH_MAX: usize = 32;

    /// Keeps `text`, of at most 32 bytes.
    pub(super) fn new(text: &str) -> Self {
        let mut bytes = [0; Self::LENGTH_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Self { bytes, length: text.len() }
    }

    pub(super) fn push(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        out.truncate(start + self.length);
    }
}

/// Appends a number of 10^-8 units with all eight decimals, as `61837.63000000`.
pub(super) fn push_decimal(out: &mut Vec<u8>, units: u64) {
    push_number(out, units / UNIT);
    out.push(b'.');
    out.extend_from_slice(&ascii(units % UNIT));
}

/// The eight digits of a number below 10^8, as text.
fn ascii(number: u64) -> [u8; 8] {
    (digits(number) | 0x3030_3030_3030_3030).to_le_bytes()
}

/// The eight digits of a number below 10^8, one a byte, the first in the lowest.
///
/// Splits all parts at once: into fours, then pairs, then single digits, each division being a
/// multiplication whose error stays below one in its range.
fn digits(number: u64) -> u64 {
    debug_assert!(number < UNIT, "{number} has more than eight digits");
    let fours = (number / 10_000) | (number % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let pairs = hundreds + ((fours - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens + ((pairs - 10 * tens) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        let mut number = 1u64;
        for step in 0..64 {
            for number in [number - 1, number, number.wrapping_mul(7) ^ step] {
                let mut out = Vec::new();
                push_number(&mut out, number);
                assert_eq!(out, number.to_string().into_bytes());
                out.clear();
                push_decimal(&mut out, number);
                let expected = format!("{}.{:08}", number / UNIT, number % UNIT);
                assert_eq!(out, expected.into_bytes());
            }
            number = number.wrapping_mul(2).max(1);
        }
    }
}

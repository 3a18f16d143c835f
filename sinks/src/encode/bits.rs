//! Parquet's two integer encodings: the run-length/bit-packing hybrid and delta binary packing.
//!
//! Written here because the library's encoders take one value at a time; K2's columns come in runs
//! of equal values and in whole pages.

/// Values in a group of the hybrid encoding.
const GROUP: usize = 8;
/// Groups in one bit-packed run, so that its header is one byte.
const GROUPS_MAX: usize = 63;

/// Values in a block of delta binary packing, and in a miniblock of it. Larger blocks compress
/// better, see [`put_deltas`]; no reader is known to mind. Larger miniblocks are another matter:
/// the library's own reader cannot skip them.
const BLOCK: usize = 1_024;
const MINIBLOCK: usize = 32;
const MINIBLOCKS: usize = BLOCK / MINIBLOCK;

/// Bits needed for values up to `highest`.
pub(crate) fn width_of(highest: u64) -> u8 {
    // At most 64, so it fits.
    (u64::BITS - highest.leading_zeros()) as u8
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// As [`pack`], for a width of whole bytes.
fn pack_bytes<const BYTES: usize>(out: &mut Vec<u8>, values: &[u64]) {
    let at = out.len();
    out.resize(at + values.len() * BYTES, 0);
    for (bytes, value) in out[at..].chunks_exact_mut(BYTES).zip(values) {
        bytes.copy_from_slice(&value.to_le_bytes()[..BYTES]);
    }
}

/// Appends `values` with `width` bits each, the lowest bit first. Their count times `width` must
/// be whole bytes.
fn pack(out: &mut Vec<u8>, values: &[u64], width: u8) {
    debug_assert!((values.len() * usize::from(width)).is_multiple_of(8), "whole bytes");
    if width == 0 {
        return;
    }
    let (mut word, mut filled) = (0u64, 0u32);
    let width = u32::from(width);
    for &value in values {
        word |= value << filled;
        filled += width;
        if filled >= u64::BITS {
            out.extend_from_slice(&word.to_le_bytes());
            filled -= u64::BITS;
            // What did not fit. A shift by the full width is no shift at all, hence the check.
            word = if filled == 0 { 0 } else { value >> (width - filled) };
        }
    }
    let left = filled.div_ceil(8) as usize;
    out.extend_from_slice(&word.to_le_bytes()[..left]);
}

/// The run-length/bit-packing hybrid, fed with runs.
pub(crate) struct Hybrid<'a> {
    out: &'a mut Vec<u8>,
    width: u8,
    /// Values waiting to be bit-packed.
    waiting: Vec<u64>,
}

impl<'a> Hybrid<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, width: u8) -> Self {
        Self { out, width, waiting: Vec::with_capacity(GROUP * GROUPS_MAX) }
    }

    pub(crate) fn put_run(&mut self, value: u64, mut count: usize) {
        // A bit-packed run holds whole groups, so first complete the group that was begun.
        let begun = self.waiting.len() % GROUP;
        if begun != 0 || count < GROUP {
            let fill = if begun == 0 { count } else { count.min(GROUP - begun) };
            self.waiting.extend(std::iter::repeat_n(value, fill));
            count -= fill;
            if self.waiting.len() >= GROUP * GROUPS_MAX {
                self.flush_packed();
            }
        }
        if count >= GROUP {
            self.flush_packed();
            put_varint(self.out, (count as u64) << 1);
            let bytes = usize::from(self.width.div_ceil(8));
            self.out.extend_from_slice(&value.to_le_bytes()[..bytes]);
        } else if count > 0 {
            self.put_run(value, count);
        }
    }

    /// Values one by one. Equal neighbours become runs.
    pub(crate) fn put_values(&mut self, values: &[u32]) {
        let mut rest = values;
        while let Some(&first) = rest.first() {
            let run = rest.iter().position(|&value| value != first).unwrap_or(rest.len());
            if run >= GROUP {
                self.put_run(u64::from(first), run);
                rest = &rest[run..];
            } else {
                // Too short for a run of its own: take the whole group as it is.
                let begun = self.waiting.len() % GROUP;
                let take = rest.len().min(GROUP - begun);
                self.waiting.extend(rest[..take].iter().map(|&value| u64::from(value)));
                rest = &rest[take..];
                if self.waiting.len() >= GROUP * GROUPS_MAX {
                    self.flush_packed();
                }
            }
        }
    }

    pub(crate) fn finish(mut self) {
        self.flush_packed();
    }

    fn flush_packed(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let groups = self.waiting.len().div_ceil(GROUP);
        debug_assert!(groups <= GROUPS_MAX, "the header is one byte");
        // Only the last group of a page is filled up: a run comes after whole groups.
        self.waiting.resize(groups * GROUP, 0);
        put_varint(self.out, (groups as u64) << 1 | 1);
        pack(self.out, &self.waiting, self.width);
        self.waiting.clear();
    }
}

/// Appends `values` in delta binary packing, in the way that compresses best.
///
/// What repeats must do so in the same bytes, where the compressor finds it. So widths are whole
/// bytes, and most blocks of a page subtract the same number, though the least of their own would
/// make some of them narrower.
pub(crate) fn put_deltas(out: &mut Vec<u8>, values: &[i64]) {
    put_varint(out, BLOCK as u64);
    put_varint(out, MINIBLOCKS as u64);
    put_varint(out, values.len() as u64);
    put_zigzag(out, values.first().copied().unwrap_or(0));
    // Each block with the value before it.
    let blocks = || {
        (0..values.len().saturating_sub(1))
            .step_by(BLOCK)
            .map(|from| &values[from..values.len().min(from + BLOCK + 1)])
    };
    let spans: Vec<(i64, i64)> = blocks().map(span_of).collect();
    let common = common_least(&spans);
    let mut offsets = [0u64; BLOCK];
    for (block, (least, _)) in blocks().zip(spans) {
        let least = least.min(common);
        let count = block.len() - 1;
        for (offset, delta) in offsets.iter_mut().zip(deltas(block)) {
            *offset = delta.wrapping_sub(least) as u64;
        }
        offsets[count..].fill(0);
        put_block(out, least, &offsets, count);
    }
}

fn deltas(values: &[i64]) -> impl Iterator<Item = i64> {
    values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]))
}

/// Least and greatest delta.
fn span_of(values: &[i64]) -> (i64, i64) {
    deltas(values).fold((i64::MAX, i64::MIN), |(least, greatest), delta| {
        (least.min(delta), greatest.max(delta))
    })
}

/// The lowest of the blocks' leasts that makes the page at most an eighth longer. Where one
/// instrument follows another a value leaps; for that block all others would be as wide.
fn common_least(spans: &[(i64, i64)]) -> i64 {
    let bytes_with = |common: i64| -> usize {
        let wide = |(least, greatest): &(i64, i64)| {
            usize::from(width_of(greatest.wrapping_sub(common.min(*least)) as u64).div_ceil(8))
        };
        spans.iter().map(wide).sum()
    };
    let bytes_max = bytes_with(i64::MAX) * 9 / 8;
    let mut leasts: Vec<i64> = spans.iter().map(|(least, _)| *least).collect();
    leasts.sort_unstable();
    leasts.into_iter().find(|least| bytes_with(*least) <= bytes_max).unwrap_or(0)
}

fn put_block(out: &mut Vec<u8>, least: i64, offsets: &[u64; BLOCK], count: usize) {
    put_zigzag(out, least);
    let offsets = &offsets[..count.next_multiple_of(MINIBLOCK)];
    let mut widths = [0u8; MINIBLOCKS];
    for (width, miniblock) in widths.iter_mut().zip(offsets.chunks_exact(MINIBLOCK)) {
        let bytes = width_of(miniblock.iter().fold(0, |bits, offset| bits | offset)).div_ceil(8);
        *width = bytes * 8;
    }
    out.extend_from_slice(&widths);
    for (width, miniblock) in widths.iter().zip(offsets.chunks_exact(MINIBLOCK)) {
        match width / 8 {
            0 => {}
            1 => pack_bytes::<1>(out, miniblock),
            2 => pack_bytes::<2>(out, miniblock),
            3 => pack_bytes::<3>(out, miniblock),
            4 => pack_bytes::<4>(out, miniblock),
            5 => pack_bytes::<5>(out, miniblock),
            6 => pack_bytes::<6>(out, miniblock),
            7 => pack_bytes::<7>(out, miniblock),
            _ => pack_bytes::<8>(out, miniblock),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the hybrid encoding as the format describes it.
    fn read_hybrid(mut bytes: &[u8], width: u8, count: usize) -> Vec<u64> {
        let mut values = Vec::new();
        while values.len() < count {
            let header = read_varint(&mut bytes);
            if header & 1 == 0 {
                let (value, rest) = bytes.split_at(usize::from(width.div_ceil(8)));
                let value = value.iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
                values.extend(std::iter::repeat_n(value, (header >> 1) as usize));
                bytes = rest;
            } else {
                let packed = (header >> 1) as usize * usize::from(width);
                let (packed, rest) = bytes.split_at(packed);
                values.extend((0..(header >> 1) as usize * GROUP).map(|at| {
                    (0..usize::from(width)).fold(0u64, |value, bit| {
                        let bit_at = at * usize::from(width) + bit;
                        value | u64::from(packed[bit_at / 8] >> (bit_at % 8) & 1) << bit
                    })
                }));
                bytes = rest;
            }
        }
        assert!(bytes.is_empty(), "nothing is left over");
        values.truncate(count);
        values
    }

    fn read_varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }

    /// A mix of runs of every length and of single values.
    fn mixed(seed: u64, count: usize, width: u8) -> Vec<u32> {
        let mut random = seed | 1;
        let mut values = Vec::new();
        while values.len() < count {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let value = (random >> 40) as u32 & ((1u64 << width) - 1) as u32;
            let run = if random >> 33 & 1 == 0 { 1 } else { (random >> 34) as usize % 40 };
            values.extend(std::iter::repeat_n(value, run));
        }
        values.truncate(count);
        values
    }

    #[test]
    fn the_hybrid_encoding_reads_back_by_runs_and_by_values() {
        for width in [0, 1, 3, 8, 12, 17] {
            for count in [1, 7, 8, 9, 503, 504, 505, 2_000] {
                let values = mixed(count as u64, count, width);
                let expected: Vec<u64> = values.iter().map(|value| u64::from(*value)).collect();
                let mut by_values = Vec::new();
                let mut hybrid = Hybrid::new(&mut by_values, width);
                hybrid.put_values(&values);
                hybrid.finish();
                assert_eq!(read_hybrid(&by_values, width, count), expected);
                let mut by_runs = Vec::new();
                let mut hybrid = Hybrid::new(&mut by_runs, width);
                for run in values.chunk_by(|a, b| a == b) {
                    hybrid.put_run(u64::from(run[0]), run.len());
                }
                hybrid.finish();
                assert_eq!(read_hybrid(&by_runs, width, count), expected);
            }
        }
    }

    #[test]
    fn a_leap_widens_its_own_block_only() {
        let steps: Vec<i64> = (0..20 * BLOCK as i64).map(|at| 1_000_000 + at % 7).collect();
        let mut leaping = steps.clone();
        leaping[5 * BLOCK + 3..].iter_mut().for_each(|value| *value -= 1_000_000_000_000);
        let (mut calm, mut leapt) = (Vec::new(), Vec::new());
        put_deltas(&mut calm, &steps);
        put_deltas(&mut leapt, &leaping);
        let wider = leapt.len() - calm.len();
        assert!(wider < MINIBLOCK * 8 * MINIBLOCKS, "{wider} bytes more of {}", calm.len());
    }

    #[test]
    fn blocks_of_a_page_subtract_the_same_number() {
        // Even blocks could do with 1, the others with 0; a byte a value it is either way.
        let rise = |at: i64| if at / BLOCK as i64 % 2 == 0 { 1 + at % 3 } else { at % 3 };
        let values = (0..8 * BLOCK as i64).scan(0, |sum, at| {
            *sum += rise(at);
            Some(*sum)
        });
        let mut out = Vec::new();
        put_deltas(&mut out, &values.collect::<Vec<_>>());
        let mut bytes = out.as_slice();
        let _header: Vec<u64> = (0..4).map(|_| read_varint(&mut bytes)).collect();
        for _ in 0..8 {
            assert_eq!(read_varint(&mut bytes), 0, "the least delta");
            let widths: usize = bytes[..MINIBLOCKS].iter().map(|width| usize::from(*width)).sum();
            bytes = &bytes[MINIBLOCKS + widths * MINIBLOCK / 8..];
        }
        assert!(bytes.is_empty(), "nothing is left over");
    }

    #[test]
    fn deltas_keep_the_ends_of_the_range() {
        // That they read back is for the round trips; here, that nothing overflows.
        for values in [vec![], vec![7], vec![i64::MIN, i64::MAX, i64::MIN, 0, -1]] {
            let mut out = Vec::new();
            put_deltas(&mut out, &values);
            let mut bytes = out.as_slice();
            let header: Vec<u64> = (0..3).map(|_| read_varint(&mut bytes)).collect();
            assert_eq!(header, [BLOCK as u64, MINIBLOCKS as u64, values.len() as u64]);
        }
    }
}

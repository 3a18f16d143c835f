//! Parquet's two integer encodings: the run-length/bit-packing hybrid and delta binary packing.
//!
//! Written here because the library's encoders take one value at a time; K2's columns come in runs
//! of equal values and in whole pages.

/// Values in a group of the hybrid encoding.
const GROUP: usize = 8;
/// Groups in one bit-packed run, so that its header is one byte.
const GROUPS_MAX: usize = 63;

/// Values in a block of delta binary packing, and in a miniblock of it.
const BLOCK: usize = 128;
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
    for value in values {
        out.extend_from_slice(&value.to_le_bytes()[..BYTES]);
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

/// Appends `values` in delta binary packing.
pub(crate) fn put_deltas(out: &mut Vec<u8>, values: &[i64]) {
    put_varint(out, BLOCK as u64);
    put_varint(out, MINIBLOCKS as u64);
    put_varint(out, values.len() as u64);
    put_zigzag(out, values.first().copied().unwrap_or(0));
    let mut deltas = [0i64; BLOCK];
    let mut offsets = [0u64; BLOCK];
    let mut from = 0;
    while from + 1 < values.len() {
        let count = (values.len() - 1 - from).min(BLOCK);
        let window = &values[from..=from + count];
        for (delta, pair) in deltas.iter_mut().zip(window.windows(2)) {
            *delta = pair[1].wrapping_sub(pair[0]);
        }
        let least = deltas[..count].iter().copied().min().unwrap_or(0);
        for (offset, delta) in offsets.iter_mut().zip(&deltas[..count]) {
            *offset = delta.wrapping_sub(least) as u64;
        }
        offsets[count..].fill(0);
        put_block(out, least, &offsets, count);
        from += count;
    }
}

/// Widths are whole bytes. That is more before compression and less after it: what repeats does so
/// at the same bits of a byte, where the compressor finds it. Recorded times shrink by a tenth.
fn put_block(out: &mut Vec<u8>, least: i64, offsets: &[u64; BLOCK], count: usize) {
    put_zigzag(out, least);
    let mut bytes = [0u8; MINIBLOCKS];
    for (bytes, miniblock) in bytes.iter_mut().zip(offsets.chunks_exact(MINIBLOCK)) {
        *bytes = width_of(miniblock.iter().fold(0, |bits, offset| bits | offset)).div_ceil(8);
    }
    out.extend(bytes.map(|bytes| bytes * 8));
    let used = count.div_ceil(MINIBLOCK);
    for (bytes, miniblock) in bytes.iter().zip(offsets.chunks_exact(MINIBLOCK)).take(used) {
        match bytes {
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

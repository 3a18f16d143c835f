//! Fixed-point numbers by their values: with a dictionary, or plainly where few values repeat.

use parquet::basic::Encoding;
use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use super::chunk::{Chunk, Compressor, Dictionary, Extremes};
use super::columns::{Encoded, flat, least_and_greatest, put_codes};

/// A dictionary is used where each of its values comes this often on average. Otherwise codes,
/// which do not compress, take more than they save.
const REPEATS_MIN: usize = 3;

/// What a decimal is kept as: `i64` as Parquet's `INT64`, `i128` as 16 bytes of fixed length.
pub trait Unscaled: Copy + Ord {
    /// As plain encoding and statistics have it.
    fn bytes(self) -> impl AsRef<[u8]>;
    /// # Panics
    /// If they are not as many as [`Unscaled::bytes`] gives.
    fn of_bytes(bytes: &[u8]) -> Self;
    /// As a start for hashing.
    fn folded(self) -> u64;
}

impl Unscaled for i64 {
    fn bytes(self) -> impl AsRef<[u8]> {
        self.to_le_bytes()
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        Self::from_le_bytes(bytes.try_into().expect("a narrow decimal has 8 bytes"))
    }

    fn folded(self) -> u64 {
        self as u64
    }
}

impl Unscaled for i128 {
    fn bytes(self) -> impl AsRef<[u8]> {
        self.to_be_bytes()
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        Self::from_be_bytes(bytes.try_into().expect("a wide decimal has 16 bytes"))
    }

    fn folded(self) -> u64 {
        self as u64 ^ (self >> 64) as u64
    }
}

/// Decimals by their values: with a dictionary, or plainly where few values repeat.
///
/// Pages wait for the whole row group, because the dictionary is sorted: then neighbours in it are
/// alike, and codes are as small as the values.
pub struct Decimals<V> {
    chunk: Chunk,
    distinct: Distinct<V>,
    /// Of all pages.
    codes: Vec<u32>,
    pages: Vec<(usize, Option<Extremes>)>,
}

impl<V: Unscaled> Decimals<V> {
    pub fn new(column: ColumnDescPtr) -> Self {
        Self {
            chunk: Chunk::new(column),
            distinct: Distinct { values: Vec::new(), slots: Vec::new() },
            codes: Vec::new(),
            pages: Vec::new(),
        }
    }

    pub fn page(&mut self, values: &[V]) {
        self.codes.extend(values.iter().map(|value| self.distinct.code(*value)));
        let extremes = least_and_greatest(values).map(|(least, greatest)| Extremes {
            least: least.bytes().as_ref().into(),
            greatest: greatest.bytes().as_ref().into(),
        });
        self.pages.push((values.len(), extremes));
    }

    pub fn finish(mut self, compressor: &mut Compressor) -> Result<Encoded> {
        let has_dictionary = self.distinct.values.len() * REPEATS_MIN <= self.codes.len();
        if has_dictionary {
            let ranks = self.distinct.sort();
            self.codes.iter_mut().for_each(|code| *code = ranks[*code as usize]);
        }
        let values = self.distinct.values;
        let mut codes = self.codes.as_slice();
        for (rows, extremes) in self.pages {
            let (of_page, rest) = codes.split_at(rows);
            codes = rest;
            let mut body = Vec::with_capacity(rows * 2);
            self.chunk.put_all_there(&mut body, rows);
            let encoding = if has_dictionary {
                put_codes(&mut body, values.len(), |codes| codes.put_values(of_page));
                Encoding::RLE_DICTIONARY
            } else {
                of_page.iter().for_each(|code| put(&mut body, values[*code as usize]));
                Encoding::PLAIN
            };
            self.chunk.add(compressor, &body, flat(rows, encoding, extremes))?;
        }
        let dictionary = has_dictionary.then(|| {
            let mut bytes = Vec::with_capacity(values.len() * size_of::<V>());
            values.iter().for_each(|value| put(&mut bytes, *value));
            Dictionary { bytes, values: values.len() }
        });
        self.chunk.finish(compressor, dictionary, None, |a, b| V::of_bytes(a).cmp(&V::of_bytes(b)))
    }
}

fn put<V: Unscaled>(out: &mut Vec<u8>, value: V) {
    out.extend_from_slice(value.bytes().as_ref());
}

/// Numbers distinct values in order of appearance. An open-addressing table; nothing iterates
/// over it, so its order is nowhere seen.
struct Distinct<V> {
    values: Vec<V>,
    /// Code by hash, or [`FREE`]. At most half full.
    slots: Vec<u32>,
}

/// Not zero: memory that is zeroed by being fresh is touched twice, by the search and by the
/// entry, and the second touch stops all processors for a moment.
const FREE: u32 = u32::MAX;

impl<V: Unscaled> Distinct<V> {
    fn code(&mut self, value: V) -> u32 {
        if self.values.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = slot_of(value, mask);
        loop {
            match self.slots[at] {
                FREE => {
                    let code = self.values.len() as u32;
                    self.values.push(value);
                    self.slots[at] = code;
                    return code;
                }
                code if self.values[code as usize] == value => return code,
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 4).max(256);
        self.slots = vec![FREE; size];
        for (code, value) in (0..).zip(&self.values) {
            let mut at = slot_of(*value, size - 1);
            while self.slots[at] != FREE {
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = code;
        }
    }

    /// Sorts the values, and answers the new code of each old one.
    fn sort(&mut self) -> Vec<u32> {
        let mut sorted: Vec<(V, u32)> = self.values.iter().copied().zip(0..).collect();
        sorted.sort_unstable();
        let mut ranks = vec![0; sorted.len()];
        for (rank, (value, code)) in sorted.into_iter().enumerate() {
            self.values[rank] = value;
            ranks[code as usize] = rank as u32;
        }
        ranks
    }
}

fn slot_of<V: Unscaled>(value: V, mask: usize) -> usize {
    (value.folded().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask
}

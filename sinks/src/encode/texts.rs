//! Texts that hardly repeat: of each what differs from the one before, Parquet's
//! `DELTA_BYTE_ARRAY`.

use parquet::basic::Encoding;
use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use super::bits::put_deltas;
use super::chunk::{Chunk, Compressor, Extremes};
use super::columns::{Encoded, flat, least_and_greatest};

/// A column of texts, one in every row.
pub struct DistinctTexts {
    chunk: Chunk,
    coding: FrontCoding,
}

impl DistinctTexts {
    pub fn new(column: ColumnDescPtr) -> Self {
        Self { chunk: Chunk::new(column), coding: FrontCoding::default() }
    }

    pub fn page(&mut self, compressor: &mut Compressor, texts: &[&str]) -> Result<()> {
        let mut last = "";
        for text in texts {
            self.coding.put(last, text);
            last = text;
        }
        let mut body = Vec::new();
        self.chunk.put_all_there(&mut body, texts.len());
        self.coding.finish(&mut body);
        let extremes = least_and_greatest(texts)
            .map(|(least, greatest)| Extremes { least: least.into(), greatest: greatest.into() });
        self.chunk.add(compressor, &body, flat(texts.len(), Encoding::DELTA_BYTE_ARRAY, extremes))
    }

    pub fn finish(self, compressor: &mut Compressor) -> Result<Encoded> {
        self.chunk.finish(compressor, None, None, <[u8]>::cmp)
    }
}

/// Bytes that both begin with.
fn shared(a: &[u8], b: &[u8]) -> usize {
    let mut same = 0;
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        let differing = word(a) ^ word(b);
        if differing != 0 {
            return same + differing.trailing_zeros() as usize / 8;
        }
        same += 8;
    }
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("chunks have 8 bytes"))
}

/// The texts of one page.
#[derive(Default)]
pub(crate) struct FrontCoding {
    shared: Vec<i64>,
    lengths: Vec<i64>,
    suffixes: Vec<u8>,
}

impl FrontCoding {
    /// Adds `text` behind the text `last`.
    pub(crate) fn put(&mut self, last: &str, text: &str) {
        let (last, text) = (last.as_bytes(), text.as_bytes());
        let shared = shared(last, text);
        self.put_suffix(shared, &text[shared..]);
    }

    /// Adds a text of `shared` bytes of the one before, and then `suffix`.
    pub(crate) fn put_suffix(&mut self, shared: usize, suffix: &[u8]) {
        self.shared.push(shared as i64);
        self.lengths.push(suffix.len() as i64);
        match suffix {
            // Nine of ten ids in sequence differ in their last digit only.
            [digit] => self.suffixes.push(*digit),
            _ => self.suffixes.extend_from_slice(suffix),
        }
    }

    /// Appends the page's values to `body`, and begins anew.
    pub(crate) fn finish(&mut self, body: &mut Vec<u8>) {
        body.reserve(self.suffixes.len() + 2 * self.shared.len());
        put_deltas(body, &self.shared);
        put_deltas(body, &self.lengths);
        body.extend_from_slice(&self.suffixes);
        self.shared.clear();
        self.lengths.clear();
        self.suffixes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_texts_share_is_found_at_every_length() {
        let long: Vec<u8> = (0..40).collect();
        for length in 0..=long.len() {
            for at in 0..=length {
                let mut other = long[..length].to_vec();
                other[at..].fill(0xff);
                assert_eq!(shared(&long, &other), at, "{at} of {length}");
                assert_eq!(shared(&other, &long), at, "{at} of {length}");
            }
        }
    }
}

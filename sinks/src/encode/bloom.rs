//! Bloom filters of numbers: Parquet's split block filter, filled at a few nanoseconds a number.
//!
//! The library's own insertion hashes with a general state machine, at several times the cost. The
//! bits are the same, which a test holds it to.

use parquet::bloom_filter::Sbbf;
use parquet::errors::Result;

const WORDS: usize = 8;
const SALT: [u32; WORDS] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

const PRIME_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME_3: u64 = 0x1656_67b1_9e37_79f9;
const PRIME_4: u64 = 0x85eb_ca77_c2b2_ae63;
const PRIME_5: u64 = 0x27d4_eb2f_1656_67c5;

/// A filter of 64-bit numbers.
pub(crate) struct NumberFilter {
    blocks: Vec<[u32; WORDS]>,
}

impl NumberFilter {
    /// For so many distinct numbers and that chance of a false "maybe".
    pub(crate) fn new(numbers: usize, false_positives: f64) -> Result<Self> {
        let sized = Sbbf::new_with_ndv_fpp(numbers as u64, false_positives)?;
        Ok(Self { blocks: vec![[0; WORDS]; sized.num_blocks()] })
    }

    pub(crate) fn insert(&mut self, number: i64) {
        let hash = xxh64(number);
        // The upper half chooses the block, the lower half one bit in each of its words.
        let block = ((hash >> 32) * self.blocks.len() as u64) >> 32;
        for (word, salt) in self.blocks[block as usize].iter_mut().zip(SALT) {
            *word |= 1 << ((hash as u32).wrapping_mul(salt) >> 27);
        }
    }

    pub(crate) fn finish(self) -> Sbbf {
        let bytes = self.blocks.iter().flatten().flat_map(|word| word.to_le_bytes());
        Sbbf::new(&bytes.collect::<Vec<u8>>())
    }
}

/// XXH64 with seed 0 of a number's eight bytes.
fn xxh64(number: i64) -> u64 {
    let lane = (number as u64).wrapping_mul(PRIME_2).rotate_left(31).wrapping_mul(PRIME_1);
    let mut hash = PRIME_5.wrapping_add(8) ^ lane;
    hash = hash.rotate_left(27).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
    hash = (hash ^ (hash >> 33)).wrapping_mul(PRIME_2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(PRIME_3);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_the_librarys_bit_for_bit() {
        let numbers = (0..1_000).map(|at: i64| at.wrapping_mul(0x1234_5678_9abc_def1));
        let mut own = NumberFilter::new(1_000, 0.1).unwrap();
        let mut library = Sbbf::new_with_ndv_fpp(1_000, 0.1).unwrap();
        for number in numbers {
            own.insert(number);
            library.insert(&number);
        }
        let bytes = |filter: &Sbbf| {
            let mut bytes = Vec::new();
            filter.write(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(bytes(&own.finish()), bytes(&library));
    }
}

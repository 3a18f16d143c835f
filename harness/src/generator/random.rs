//! Randomness that is the same for ever: xoshiro256++ seeded by splitmix64, and a Zipf draw.
//!
//! Written out here, in integers only, because what a seed means must not change with a
//! dependency's version or a machine's floating point.

/// A million: shares are given in parts of it.
pub(super) const MILLION: u64 = 1_000_000;

/// One step of splitmix64: a well-mixed number for each `state`.
pub(super) fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A xoshiro256++ generator.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut seeding = seed;
        Self { state: std::array::from_fn(|_| splitmix64(&mut seeding)) }
    }

    pub(super) fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let drawn = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        drawn
    }

    /// A number below `bound`; 0 if `bound` is 0. The bias is below `bound` / 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        scaled(self.next(), bound)
    }

    /// True `per_million` times in a million.
    pub(super) fn chance(&mut self, per_million: u64) -> bool {
        per_million > 0 && self.below(MILLION) < per_million
    }
}

/// `bits`, uniform over all 64-bit numbers, brought below `bound`.
fn scaled(bits: u64, bound: u64) -> u64 {
    // The product's upper half is below `bound`, so it fits.
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

/// `bits`, uniform over all 32-bit numbers, brought below `bound`.
pub(super) fn scaled_32(bits: u32, bound: u32) -> u32 {
    ((u64::from(bits) * u64::from(bound)) >> 32) as u32
}

/// Draws ranks by Zipf's law with exponent 1: rank `k`, from 0, has weight 1 / (k + 1).
///
/// Walker's alias method: one table look-up and one comparison a draw, whatever the size.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    columns: Vec<Column>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    /// Of 2^32 coins those below stay in the column; the others go to `alias`.
    stays_below: u64,
    alias: u32,
}

impl Zipf {
    pub(super) fn new(ranks: u32) -> Self {
        let weights: Vec<u128> = (1..=u128::from(ranks)).map(|rank| (1 << 60) / rank).collect();
        let total: u128 = weights.iter().sum();
        // Scaled so that a column of average weight weighs `total`.
        let mut scaled: Vec<u128> = weights.iter().map(|w| w * u128::from(ranks)).collect();
        let full = Column { stays_below: 1 << 32, alias: 0 };
        let mut columns = vec![full; weights.len()];
        let (mut light, mut heavy): (Vec<u32>, Vec<u32>) =
            (0..ranks).partition(|&rank| scaled[rank as usize] < total);
        while let (Some(&below), Some(&above)) = (light.last(), heavy.last()) {
            light.pop();
            let (low, high) = (below as usize, above as usize);
            // Below 2^32, because `scaled[low]` is below `total`.
            let stays_below = ((scaled[low] << 32) / total) as u64;
            columns[low] = Column { stays_below, alias: above };
            scaled[high] -= total - scaled[low];
            if scaled[high] < total {
                heavy.pop();
                light.push(above);
            }
        }
        Self { columns }
    }

    pub(super) fn draw(&self, random: &mut Random) -> usize {
        let bits = random.next();
        let at = ((bits >> 32) * self.columns.len() as u64) >> 32;
        let column = self.columns[at as usize];
        let coin = bits & u64::from(u32::MAX);
        if coin < column.stays_below { at as usize } else { column.alias as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequences_are_those_of_the_published_algorithms() {
        let mut state = 0;
        assert_eq!(splitmix64(&mut state), 0xe220_a839_7b1d_cdaf);
        assert_eq!(splitmix64(&mut state), 0x6e78_9e6a_a1b9_65f4);
        let mut random = Random { state: [1, 2, 3, 4] };
        assert_eq!(random.next(), 41_943_041);
        assert_eq!(random.next(), 58_720_359);
    }

    #[test]
    fn ranks_come_by_their_weights() {
        let (zipf, mut random) = (Zipf::new(100), Random::new(1));
        let mut counts = [0u32; 100];
        for _ in 0..1_000_000 {
            counts[zipf.draw(&mut random)] += 1;
        }
        // The harmonic number of 100 is 5.187, so the first rank has 19.28 % of the draws.
        assert!((191_000..195_000).contains(&counts[0]), "{}", counts[0]);
        assert!((95_000..98_000).contains(&counts[1]), "{}", counts[1]);
        assert!((1_700..2_200).contains(&counts[99]), "{}", counts[99]);
    }
}

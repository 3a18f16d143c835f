//! Fingerprints of a stream's recent records, to tell a repeat from a contradiction.

use serde::{Deserialize, Serialize};

/// Records of one stream that are remembered: 8 KiB. A repeat of an older one counts as a repeat
/// without its content being compared.
pub const PRINTS_MAX: usize = 1_024;
/// Numbers compared at once: a search is a few vector instructions.
const LANES: usize = 32;

/// Number → fingerprint of the latest records, in a ring; grows with the stream.
///
/// Numbers are kept in order of arrival and searched, rather than hashed, because a feed's numbers
/// may rise by any step and the latest records must be there whatever the step is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prints {
    /// The low 32 bits of each number.
    numbers: Vec<u32>,
    prints: Vec<u32>,
    /// Where the next record goes, once the ring is full.
    next: usize,
}

impl Prints {
    /// Remembers the fingerprint of the record with `number`.
    pub fn insert(&mut self, number: u64, print: u32) {
        if self.numbers.len() < PRINTS_MAX {
            self.numbers.push(number as u32);
            self.prints.push(print);
            return;
        }
        self.numbers[self.next] = number as u32;
        self.prints[self.next] = print;
        self.next = (self.next + 1) % PRINTS_MAX;
    }

    /// The fingerprint of the record with `number`, if it is still remembered. Numbers that are a
    /// multiple of 2^32 apart are taken for one another.
    pub fn get(&self, number: u64) -> Option<u32> {
        let number = number as u32;
        // The latest come first: repeats are mostly of what has just been there.
        let (old, new) = self.numbers.split_at(self.next);
        let at = rfind(old, number).or_else(|| rfind(new, number).map(|at| at + self.next))?;
        Some(self.prints[at])
    }

    /// Heap bytes held.
    pub fn bytes(&self) -> usize {
        (self.numbers.capacity() + self.prints.capacity()) * size_of::<u32>()
    }
}

/// The last place of `number`.
fn rfind(numbers: &[u32], number: u32) -> Option<usize> {
    let mut end = numbers.len();
    while end >= LANES {
        let lanes = &numbers[end - LANES..end];
        if lanes.iter().fold(false, |found, &lane| found | (lane == number)) {
            break;
        }
        end -= LANES;
    }
    numbers[..end].iter().rposition(|&lane| lane == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_records_are_remembered_whatever_their_step_and_memory_stops_growing() {
        for step in [1, 7, 1_024, 4_096] {
            let mut prints = Prints::default();
            for number in 0..100_000u64 {
                prints.insert(number * step, number as u32 ^ 0xabcd);
            }
            assert_eq!(prints.bytes(), PRINTS_MAX * 8);
            for number in 100_000 - PRINTS_MAX as u64..100_000 {
                assert_eq!(prints.get(number * step), Some(number as u32 ^ 0xabcd));
            }
            assert_eq!(prints.get(10 * step), None);
        }
        assert_eq!(Prints::default().get(0), None);
    }
}

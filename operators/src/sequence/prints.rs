//! Fingerprints of a stream's recent records, to tell a repeat from a contradiction.

use serde::{Deserialize, Serialize};

/// Slots of one stream at most: 8 KiB. A repeat of a record that more than this many numbers have
/// since pushed out counts as a repeat without its content being compared.
pub const SLOTS_MAX: usize = 1_024;

/// Number → fingerprint for the latest numbers, direct-mapped; grows with the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prints {
    slots: Vec<Slot>,
    used: usize,
}

/// The low 32 bits of a number, and its fingerprint; 0 there marks an empty slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    number: u32,
    print: u32,
}

impl Prints {
    /// Remembers the fingerprint of the record with `number`.
    pub fn insert(&mut self, number: u64, print: u32) {
        if self.used >= self.slots.len() && self.slots.len() < SLOTS_MAX {
            self.grow();
        }
        let at = self.slot(number as u32);
        self.used += usize::from(self.slots[at].print == 0);
        self.slots[at] = Slot { number: number as u32, print: print.max(1) };
    }

    /// The fingerprint of the record with `number`, if it is still remembered. Numbers that are a
    /// multiple of 2^32 apart are taken for one another.
    pub fn get(&self, number: u64) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let slot = self.slots[self.slot(number as u32)];
        (slot.print != 0 && slot.number == number as u32).then_some(slot.print)
    }

    fn slot(&self, number: u32) -> usize {
        number as usize & (self.slots.len() - 1)
    }

    /// Doubles the slots. A slot keeps all bits that choose it, so each finds its new place.
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        self.slots = vec![Slot::default(); (old.len() * 2).max(16)];
        self.used = 0;
        for slot in old.into_iter().filter(|slot| slot.print != 0) {
            let at = self.slot(slot.number);
            self.used += usize::from(self.slots[at].print == 0);
            self.slots[at] = slot;
        }
    }

    /// Heap bytes held.
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_numbers_are_remembered_and_memory_stops_growing() {
        let mut prints = Prints::default();
        for number in 0..100_000u64 {
            prints.insert(number, (number as u32 ^ 0xabcd) + 1);
        }
        assert_eq!(prints.bytes(), SLOTS_MAX * 8);
        for number in 100_000 - SLOTS_MAX as u64..100_000 {
            assert_eq!(prints.get(number), Some((number as u32 ^ 0xabcd) + 1));
        }
        assert_eq!(prints.get(10), None);
        assert_eq!(Prints::default().get(0), None);
    }

    #[test]
    fn growing_keeps_what_was_there() {
        let mut prints = Prints::default();
        for number in 0..300u64 {
            prints.insert(number, number as u32 + 1);
            assert!((0..=number).all(|earlier| prints.get(earlier) == Some(earlier as u32 + 1)));
        }
    }
}

//! A table keyed by instrument, for what happens once a row.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Instrument's address → value. Only looked up: its order means nothing.
pub type AddressMap<V> = HashMap<usize, V, BuildHasherDefault<AddressHasher>>;

/// Hashes an address with one multiplication: its low bits are zero, the product's high ones not.
#[derive(Default)]
pub struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only addresses are hashed here");
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

//! The ids that a stream without dense numbers has shown, exact within a window of bounded memory.

use std::collections::VecDeque;

use k2_model::Nanos;
use serde::{Deserialize, Serialize};

/// Ids kept plain before they are packed into a block.
const BLOCK_IDS: usize = 2_048;

/// How far back ids are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimits {
    /// Receive-time nanoseconds; older blocks are forgotten.
    pub age_ns: i64,
    /// Packed bytes of one stream; past it the lowest ids are forgotten.
    pub bytes_max: usize,
}

impl Default for WindowLimits {
    /// 24 hours and 4 MiB: about 2 to 4 million ids a stream.
    fn default() -> Self {
        Self { age_ns: 86_400_000_000_000, bytes_max: 4 << 20 }
    }
}

/// Ids seen, sorted: the highest ones plain, the rest in blocks of varint-coded differences
/// (between one and two bytes an id for a feed whose ids rise by tens).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    blocks: VecDeque<Block>,
    /// Sorted; all above each block.
    recent: Vec<u64>,
    /// Ids below it have been forgotten.
    forgotten_below: u64,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Block {
    first: u64,
    last: u64,
    newest: Nanos,
    differences: Vec<u8>,
}

/// What inserting an id told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    New,
    Repeated,
    /// The id lies below what is remembered: it is taken for new.
    Forgotten,
}

impl Ids {
    pub fn highest(&self) -> Option<u64> {
        self.recent.last().copied().or_else(|| self.blocks.back().map(|block| block.last))
    }

    /// Adds `id`, received at `now`.
    pub fn insert(&mut self, id: u64, now: Nanos, limits: WindowLimits) -> Seen {
        if self.highest().is_none_or(|highest| id > highest) {
            self.recent.push(id);
            if self.recent.len() >= 2 * BLOCK_IDS {
                self.pack(now, limits);
            }
            return Seen::New;
        }
        if id < self.forgotten_below {
            return Seen::Forgotten;
        }
        // Blocks are disjoint and in order, so the first one that does not end before `id` is
        // where it belongs, unless it lies above all of them.
        let at = self.blocks.partition_point(|block| block.last < id);
        if at < self.blocks.len() {
            return self.insert_packed(at, id, now);
        }
        match self.recent.binary_search(&id) {
            Ok(_) => Seen::Repeated,
            Err(place) => {
                self.recent.insert(place, id);
                Seen::New
            }
        }
    }

    /// Moves the lower half of the plain ids into a block, and forgets what is past the limits.
    fn pack(&mut self, now: Nanos, limits: WindowLimits) {
        let rest = self.recent.split_off(BLOCK_IDS);
        let block = Block::of(&self.recent, now);
        self.recent = rest;
        self.bytes += block.differences.len();
        self.blocks.push_back(block);
        while let Some(oldest) = self.blocks.front() {
            let stale = oldest.newest.0 < now.0.saturating_sub(limits.age_ns);
            if !stale && self.bytes <= limits.bytes_max {
                break;
            }
            self.bytes -= oldest.differences.len();
            self.forgotten_below = oldest.last + 1;
            self.blocks.pop_front();
        }
    }

    fn insert_packed(&mut self, at: usize, id: u64, now: Nanos) -> Seen {
        let mut ids = self.blocks[at].ids();
        match ids.binary_search(&id) {
            Ok(_) => Seen::Repeated,
            Err(place) => {
                ids.insert(place, id);
                let block = Block::of(&ids, now.max(self.blocks[at].newest));
                self.bytes += block.differences.len();
                self.bytes -= self.blocks[at].differences.len();
                self.blocks[at] = block;
                Seen::New
            }
        }
    }

    /// Heap bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes + self.recent.capacity() * size_of::<u64>()
    }
}

impl Block {
    /// `ids` must be sorted, distinct and not empty.
    fn of(ids: &[u64], newest: Nanos) -> Self {
        let mut differences = Vec::with_capacity(ids.len() * 2);
        for pair in ids.windows(2) {
            let mut rest = pair[1] - pair[0];
            while rest >= 0x80 {
                differences.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            differences.push(rest as u8);
        }
        differences.shrink_to_fit();
        Self { first: ids[0], last: ids[ids.len() - 1], newest, differences }
    }

    fn ids(&self) -> Vec<u64> {
        let mut ids = vec![self.first];
        let (mut difference, mut shift, mut last) = (0u64, 0, self.first);
        for &byte in &self.differences {
            difference |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                last += difference;
                ids.push(last);
                (difference, shift) = (0, 0);
            }
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const FOR_EVER: WindowLimits = WindowLimits { age_ns: i64::MAX, bytes_max: usize::MAX };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn ids_agree_with_a_plain_set(
            steps in proptest::collection::vec((0u64..40, any::<bool>(), 0u64..30_000), 12_000),
        ) {
            let (mut ids, mut plain, mut next) = (Ids::default(), BTreeSet::new(), 0u64);
            for (step, back, distance) in steps {
                next += step;
                let id = if back { next.saturating_sub(distance) } else { next };
                let expected = if plain.insert(id) { Seen::New } else { Seen::Repeated };
                prop_assert_eq!(ids.insert(id, Nanos(0), FOR_EVER), expected);
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_what_was_forgotten_is_said_so() {
        let limits = WindowLimits { age_ns: i64::MAX, bytes_max: 10_000 };
        let mut ids = Ids::default();
        for id in 0..100_000 {
            assert_eq!(ids.insert(id * 10, Nanos(0), limits), Seen::New);
        }
        assert!(ids.bytes() < 60_000, "{}", ids.bytes());
        assert_eq!(ids.insert(0, Nanos(0), limits), Seen::Forgotten);
        assert_eq!(ids.insert(999_990, Nanos(0), limits), Seen::Repeated);
        assert_eq!(ids.insert(999_985, Nanos(0), limits), Seen::New);
    }

    #[test]
    fn old_ids_are_forgotten_by_age() {
        let limits = WindowLimits { age_ns: 1_000, bytes_max: usize::MAX };
        let mut ids = Ids::default();
        for id in 0..10_000u64 {
            ids.insert(id, Nanos(id as i64), limits);
        }
        assert_eq!(ids.insert(5, Nanos(10_000), limits), Seen::Forgotten);
        assert_eq!(ids.insert(9_500, Nanos(10_000), limits), Seen::Repeated);
    }
}

//! The set of numbers that a stream has shown, as sorted runs; the holes between them are its gaps.

use std::ops::RangeInclusive;

use k2_model::Nanos;
use serde::{Deserialize, Serialize};

/// Runs in one set. Past it a number that would open another run is refused, and nothing is lost:
/// its record goes to the rejects. 1,048,576 runs are 24 MiB.
pub const RUNS_MAX: usize = 1 << 20;

/// Numbers seen, as disjoint runs that do not touch, in order.
///
/// Appending to the last run, which is what a healthy feed does, is a compare and an add.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    first: u64,
    /// Inclusive.
    last: u64,
    /// When the hole before this run was revealed; means nothing in the first run.
    revealed: Nanos,
}

/// What inserting a range of numbers did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// At least one of the numbers is new.
    New,
    /// All of them had been seen.
    Repeated,
    /// The set holds [`RUNS_MAX`] runs; nothing was changed.
    Full,
}

/// A hole, as it appears or goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hole {
    pub first: u64,
    /// Inclusive.
    pub last: u64,
    pub revealed: Nanos,
    /// When it was filled; `None` while open.
    pub healed: Option<Nanos>,
}

impl Runs {
    /// The highest number seen.
    pub fn highest(&self) -> Option<u64> {
        self.runs.last().map(|run| run.last)
    }

    /// Adds `numbers` (not empty), which arrived at `now`, and reports each hole that this opens
    /// or fills in part: `+1` for a hole as it now stands, `-1` for one that stands no longer.
    pub fn insert(
        &mut self,
        numbers: RangeInclusive<u64>,
        now: Nanos,
        report: &mut impl FnMut(Hole, i8),
    ) -> Inserted {
        let (first, last) = (*numbers.start(), *numbers.end());
        match self.runs.last_mut() {
            Some(tail) if tail.last.checked_add(1) == Some(first) => {
                tail.last = last;
                Inserted::New
            }
            Some(tail) if first > tail.last => {
                let hole =
                    Hole { first: tail.last + 1, last: first - 1, revealed: now, healed: None };
                self.append(Run { first, last, revealed: now }, hole, report)
            }
            Some(_) => self.insert_below(first, last, now, report),
            None => {
                self.runs.push(Run { first, last, revealed: now });
                Inserted::New
            }
        }
    }

    fn append(&mut self, run: Run, hole: Hole, report: &mut impl FnMut(Hole, i8)) -> Inserted {
        if self.runs.len() >= RUNS_MAX {
            return Inserted::Full;
        }
        self.runs.push(run);
        report(hole, 1);
        Inserted::New
    }

    /// The general case: `first` is not above the last run.
    fn insert_below(
        &mut self,
        first: u64,
        last: u64,
        now: Nanos,
        report: &mut impl FnMut(Hole, i8),
    ) -> Inserted {
        // The runs that overlap or touch `first..=last` are `from..to`; they become one run.
        let from = self.runs.partition_point(|run| run.last.saturating_add(1) < first);
        let to =
            from + self.runs[from..].partition_point(|run| run.first <= last.saturating_add(1));
        let touched = &self.runs[from..to];
        if touched.iter().any(|run| run.first <= first && last <= run.last) {
            return Inserted::Repeated;
        }
        if touched.is_empty() && self.runs.len() >= RUNS_MAX {
            return Inserted::Full;
        }
        let merged = Run {
            first: touched.first().map_or(first, |run| run.first.min(first)),
            last: touched.last().map_or(last, |run| run.last.max(last)),
            revealed: now,
        };
        self.report_holes(from, to, (first, last), now, report);
        self.replace(from, to, merged, now);
        Inserted::New
    }

    /// Reports what `numbers` does to the holes around and between the runs `from..to`.
    fn report_holes(
        &self,
        from: usize,
        to: usize,
        numbers: (u64, u64),
        now: Nanos,
        report: &mut impl FnMut(Hole, i8),
    ) {
        let (first, last) = numbers;
        // Holes lie before each of the runs `from..=to`, except before the very first run.
        for at in from.max(1)..=to.min(self.runs.len() - 1) {
            let (low, high) = (self.runs[at - 1].last + 1, self.runs[at].first - 1);
            let (fill_first, fill_last) = (low.max(first), high.min(last));
            if fill_first > fill_last {
                continue;
            }
            let revealed = self.runs[at].revealed;
            let hole = |first, last, healed| Hole { first, last, revealed, healed };
            report(hole(low, high, None), -1);
            report(hole(fill_first, fill_last, Some(now)), 1);
            if low < fill_first {
                report(hole(low, fill_first - 1, None), 1);
            }
            if fill_last < high {
                report(hole(fill_last + 1, high, None), 1);
            }
        }
        // A number below all that came so far reveals the hole up to the first run.
        if from == 0 && to == 0 && last + 1 < self.runs[0].first {
            let end = self.runs[0].first - 1;
            report(Hole { first: last + 1, last: end, revealed: now, healed: None }, 1);
        }
    }

    /// Puts `merged` in place of the runs `from..to`, keeping when each hole was revealed.
    fn replace(&mut self, from: usize, to: usize, merged: Run, now: Nanos) {
        let revealed_before = self.runs.get(from).map_or(now, |run| run.revealed);
        let merged = Run { revealed: revealed_before, ..merged };
        if from == to {
            // Alone in a hole, which it splits: both parts were revealed when the hole was.
            if from == 0 {
                self.runs[0].revealed = now;
            }
            self.runs.insert(from, merged);
        } else {
            self.runs[from] = merged;
            self.runs.drain(from + 1..to);
        }
    }

    /// The open holes, in order.
    pub fn holes(&self) -> impl Iterator<Item = Hole> + '_ {
        self.runs.windows(2).map(|pair| Hole {
            first: pair[0].last + 1,
            last: pair[1].first - 1,
            revealed: pair[1].revealed,
            healed: None,
        })
    }

    pub fn len(&self) -> usize {
        self.runs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Heap bytes held.
    pub fn bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    type Holes = BTreeMap<Hole, i64>;

    fn insert(runs: &mut Runs, holes: &mut Holes, first: u64, last: u64, now: i64) -> Inserted {
        runs.insert(first..=last, Nanos(now), &mut |hole, diff| {
            let count = holes.entry(hole).or_default();
            *count += i64::from(diff);
            if *count == 0 {
                holes.remove(&hole);
            }
        })
    }

    fn hole(first: u64, last: u64, revealed: i64, healed: Option<i64>) -> Hole {
        Hole { first, last, revealed: Nanos(revealed), healed: healed.map(Nanos) }
    }

    #[test]
    fn a_hole_opens_splits_and_heals_and_keeps_when_it_was_revealed() {
        let (mut runs, mut holes) = (Runs::default(), Holes::new());
        insert(&mut runs, &mut holes, 1, 1, 1);
        insert(&mut runs, &mut holes, 10, 10, 2);
        assert_eq!(holes.keys().copied().collect::<Vec<_>>(), [hole(2, 9, 2, None)]);
        insert(&mut runs, &mut holes, 5, 5, 3);
        let split = [hole(2, 4, 2, None), hole(5, 5, 2, Some(3)), hole(6, 9, 2, None)];
        assert_eq!(holes.keys().copied().collect::<Vec<_>>(), split);
        insert(&mut runs, &mut holes, 2, 4, 4);
        insert(&mut runs, &mut holes, 6, 9, 5);
        assert!(runs.holes().next().is_none());
        assert!(holes.keys().all(|hole| hole.healed.is_some()));
        assert_eq!(runs.len(), 1);
    }

    #[test]
    fn the_ends_of_the_number_range_are_numbers_like_others() {
        let (mut runs, mut holes) = (Runs::default(), Holes::new());
        assert_eq!(insert(&mut runs, &mut holes, u64::MAX, u64::MAX, 1), Inserted::New);
        assert_eq!(insert(&mut runs, &mut holes, 0, 0, 2), Inserted::New);
        assert_eq!(insert(&mut runs, &mut holes, u64::MAX, u64::MAX, 3), Inserted::Repeated);
        assert_eq!(insert(&mut runs, &mut holes, 1, u64::MAX - 1, 4), Inserted::New);
        assert_eq!((runs.len(), runs.holes().count()), (1, 0));
    }

    proptest! {
        #[test]
        fn runs_agree_with_a_plain_set(
            inserts in proptest::collection::vec((0u64..60, 0u64..4), 1..80),
        ) {
            let (mut runs, mut holes) = (Runs::default(), Holes::new());
            let mut seen = BTreeSet::new();
            for (now, (first, more)) in inserts.into_iter().enumerate() {
                let numbers = first..=first + more;
                let new = numbers.clone().filter(|number| seen.insert(*number)).count();
                let inserted = insert(&mut runs, &mut holes, first, first + more, now as i64);
                prop_assert_eq!(inserted == Inserted::New, new > 0);
            }
            let (low, high) = (*seen.first().unwrap(), *seen.last().unwrap());
            let missing: Vec<u64> = (low..=high).filter(|number| !seen.contains(number)).collect();
            let open: Vec<u64> = runs.holes().flat_map(|hole| hole.first..=hole.last).collect();
            prop_assert_eq!(&open, &missing);
            // What was reported comes to the same: the open holes, each once, revealed as kept.
            prop_assert!(holes.values().all(|count| *count == 1));
            let reported: Vec<Hole> = holes.keys().filter(|h| h.healed.is_none()).copied().collect();
            prop_assert_eq!(reported, runs.holes().collect::<Vec<_>>());
            // Healed parts are numbers that came, and each only once.
            let healed: Vec<u64> = holes.keys().filter(|h| h.healed.is_some())
                .flat_map(|hole| hole.first..=hole.last).collect();
            let distinct: BTreeSet<u64> = healed.iter().copied().collect();
            prop_assert_eq!(healed.len(), distinct.len());
            prop_assert!(distinct.is_subset(&seen));
        }
    }
}

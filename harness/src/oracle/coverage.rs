//! Which numbers of a stream have come, and which between them have not.

use std::collections::BTreeMap;

/// Numbers covered by ranges, kept as runs that neither touch nor overlap.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    /// First number → last.
    runs: BTreeMap<u64, u64>,
}

impl Coverage {
    /// Covers `first..=last`. False if all of it was covered before.
    pub(super) fn cover(&mut self, first: u64, last: u64) -> bool {
        let within = |(&start, &end): (&u64, &u64)| start <= first && last <= end;
        if self.runs.range(..=first).next_back().is_some_and(within) {
            return false;
        }
        let (mut low, mut high) = (first, last);
        // Whatever touches or overlaps becomes one run with it.
        while let Some((&start, &end)) = self.runs.range(..=high.saturating_add(1)).next_back() {
            if end.saturating_add(1) < low {
                break;
            }
            self.runs.remove(&start);
            (low, high) = (low.min(start), high.max(end));
        }
        self.runs.insert(low, high);
        true
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.runs.iter().map(|(&first, &last)| (first, last))
    }
}

/// What lies between runs in rising order, both ends inclusive.
pub(super) fn holes(runs: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let mut before: Option<u64> = None;
    for (first, last) in runs {
        if let Some(before) = before.filter(|before| before + 1 < first) {
            found.push((before + 1, first - 1));
        }
        before = Some(last);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn coverage_is_a_set_of_numbers(
            ranges in proptest::collection::vec((0u64..80, 0u64..6), 1..60),
        ) {
            let (mut coverage, mut set) = (Coverage::default(), BTreeSet::new());
            for (first, more) in ranges {
                let before = set.len();
                set.extend(first..=first + more);
                prop_assert_eq!(coverage.cover(first, first + more), set.len() > before);
            }
            let covered: Vec<u64> = coverage.runs().flat_map(|(first, last)| first..=last).collect();
            prop_assert!(covered.iter().eq(set.iter()));
            let missing: Vec<u64> =
                holes(coverage.runs()).into_iter().flat_map(|(first, last)| first..=last).collect();
            let (low, high) = (*set.first().unwrap(), *set.last().unwrap());
            let expected: Vec<u64> = (low..=high).filter(|number| !set.contains(number)).collect();
            prop_assert_eq!(missing, expected);
        }
    }
}

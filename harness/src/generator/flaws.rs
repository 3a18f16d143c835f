//! What goes wrong on the way: which messages it befalls, and the slots where they come instead.

use std::collections::BTreeMap;

use super::market::Message;
use super::random::{MILLION, Random, scaled_32};

/// Consecutive numbers that one hole takes, at most.
const MISSING_RUN_MAX: u64 = 100_000;

/// How much goes wrong, in parts of a million. The default is a feed on an ordinary day: 1 % comes
/// twice, 0.15 % never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaws {
    /// Messages that are sent again later, to the byte.
    pub duplicates_per_million: u32,
    /// Messages that come again later with the same number and another price.
    pub contradictions_per_million: u32,
    /// Messages that come later than their turn.
    pub reordered_per_million: u32,
    /// Trades whose event time lies before that of trades already sent.
    pub late_per_million: u32,
    /// Lines that are no message, each in place of one; see the rejects of the summary.
    pub malformed_per_million: u32,
    /// Trade ids and depth numbers that are never sent.
    pub missing_per_million: u32,
    /// A run of missing numbers goes on by one more this many times in a million: a third makes
    /// runs of 1.5 on average.
    pub missing_run_more_per_million: u32,
    /// How much later a duplicate, a contradiction or a reordered message comes, in messages.
    pub within_messages: u64,
    /// How long before its turn a late trade happened, at most, in ns. Never before the start.
    pub late_by_ns_max: u64,
}

impl Flaws {
    /// A perfect feed.
    pub const NONE: Self = Self {
        duplicates_per_million: 0,
        contradictions_per_million: 0,
        reordered_per_million: 0,
        late_per_million: 0,
        malformed_per_million: 0,
        missing_per_million: 0,
        missing_run_more_per_million: 333_333,
        within_messages: 1_000,
        late_by_ns_max: 2 * 3_600_000_000_000,
    };

    /// What is wrong with the values themselves, if anything.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let million = MILLION as u32;
        if self.befalling().iter().map(|&share| u64::from(share)).sum::<u64>() > MILLION {
            return Some("the flaws of single messages add up to more than all messages");
        }
        if self.missing_per_million >= million || self.missing_run_more_per_million >= million {
            return Some("missing shares must be below all of the numbers");
        }
        (self.within_messages == 0).then_some("flaws must come within 1 or more messages")
    }

    /// The shares of the flaws that exclude each other, in the order of [`Fate::ALL`].
    fn befalling(&self) -> [u32; 5] {
        [
            self.duplicates_per_million,
            self.contradictions_per_million,
            self.reordered_per_million,
            self.late_per_million,
            self.malformed_per_million,
        ]
    }

    /// How many numbers a message leaves out before its own.
    pub(super) fn missing_run(&self, random: &mut Random) -> u64 {
        let missing = u64::from(self.missing_per_million);
        let more = u64::from(self.missing_run_more_per_million);
        // Runs per message: the ratio of missing to sent numbers, over the mean length of a run.
        let runs = missing * (MILLION - more) / (MILLION - missing);
        if !random.chance(runs) {
            return 0;
        }
        let mut run = 1;
        while run < MISSING_RUN_MAX && random.chance(more) {
            run += 1;
        }
        run
    }
}

impl Default for Flaws {
    fn default() -> Self {
        Self { duplicates_per_million: 10_000, missing_per_million: 1_500, ..Self::NONE }
    }
}

/// What befalls one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Duplicated,
    Contradicted,
    Reordered,
    Late,
    Malformed,
    Sound,
}

/// Rolls a [`Fate`] with one comparison for sound messages.
#[derive(Clone, Debug)]
pub(super) struct Fates {
    /// Upper ends of the shares, in parts of a million, rising.
    ends: [u32; 5],
}

impl Fates {
    const FLAWED: [Fate; 5] =
        [Fate::Duplicated, Fate::Contradicted, Fate::Reordered, Fate::Late, Fate::Malformed];

    pub(super) fn new(flaws: &Flaws) -> Self {
        let mut end = 0;
        Self {
            ends: flaws.befalling().map(|share| {
                end += share;
                end
            }),
        }
    }

    pub(super) fn of(&self, bits: u32) -> Fate {
        let rolled = scaled_32(bits, MILLION as u32);
        if rolled >= self.ends[4] {
            return Fate::Sound;
        }
        let at = self.ends.iter().position(|&end| rolled < end);
        at.map_or(Fate::Sound, |at| Self::FLAWED[at])
    }
}

/// Why a message stands in the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// Sent before, and with this receive time.
    Resent { received_ns: i64 },
    /// Its number was sent before, with another price.
    Contradiction,
    /// Withheld until now.
    Withheld,
}

/// What comes later: at most one message in each slot to come.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    by_slot: BTreeMap<u64, (Message, Nature)>,
    /// Withheld messages among them.
    withheld: u64,
}

impl Schedule {
    /// Messages that are neither sent nor lost.
    pub(super) fn withheld(&self) -> u64 {
        self.withheld
    }

    pub(super) fn take(&mut self, slot: u64) -> Option<(Message, Nature)> {
        let (&first, _) = self.by_slot.first_key_value()?;
        debug_assert!(first >= slot, "a slot was passed by");
        if first != slot {
            return None;
        }
        let (_, due) = self.by_slot.pop_first()?;
        self.withheld -= u64::from(due.1 == Nature::Withheld);
        Some(due)
    }

    /// A free slot from `slot + 1` to `slot + within`, below `end`. `None` if there is none at or
    /// before the one drawn.
    pub(super) fn free_slot(
        &self,
        random: &mut Random,
        slot: u64,
        within: u64,
        end: u64,
    ) -> Option<u64> {
        let slots_left = end.saturating_sub(slot + 1);
        if slots_left == 0 {
            return None;
        }
        let drawn = slot + 1 + random.below(within.min(slots_left));
        (slot + 1..=drawn).rev().find(|wanted| !self.by_slot.contains_key(wanted))
    }

    /// Puts `message` into a free slot.
    pub(super) fn put(&mut self, slot: u64, message: Message, nature: Nature) {
        self.by_slot.insert(slot, (message, nature));
        self.withheld += u64::from(nature == Nature::Withheld);
    }
}

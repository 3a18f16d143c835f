//! How far a sender has come for certain, told as one number.
//!
//! Messages go out in one order, and are confirmed in another. Each carries its position in the
//! sender's input, and positions do not go down. The mark is the position below which everything
//! is settled: an input that is read on from there misses nothing.

use std::collections::VecDeque;

/// Which messages are settled. Pure; bounded by the messages in flight.
#[derive(Clone, Debug, Default)]
pub struct LowWater {
    /// The ticket of the first message of `waiting`.
    first: u64,
    /// From the oldest message that is not settled on.
    waiting: VecDeque<Waiting>,
    /// The last position that was sent or announced.
    last: u64,
    /// Once a message has failed: its position, which the mark will never pass.
    stuck: Option<u64>,
    /// The ticket of the next message.
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    position: u64,
    is_settled: bool,
}

impl LowWater {
    /// A message of the input's `position` goes out. The ticket stands for it from now on.
    pub fn sent(&mut self, position: u64) -> u64 {
        debug_assert!(position >= self.last, "position {position} after {}", self.last);
        self.last = self.last.max(position);
        let ticket = self.next;
        self.next += 1;
        if self.stuck.is_none() {
            self.waiting.push_back(Waiting { position: self.last, is_settled: false });
        }
        ticket
    }

    /// Nothing below `position` will be sent any more.
    pub fn advance(&mut self, position: u64) {
        self.last = self.last.max(position);
    }

    /// The message of `ticket` is delivered, or was never sent after all.
    pub fn settled(&mut self, ticket: u64) {
        let Some(waiting) = self.find(ticket) else { return };
        waiting.is_settled = true;
        while self.waiting.front().is_some_and(|waiting| waiting.is_settled) {
            self.waiting.pop_front();
            self.first += 1;
        }
    }

    /// The message of `ticket` will not be delivered.
    pub fn failed(&mut self, ticket: u64) {
        let Some(waiting) = self.find(ticket) else { return };
        self.stuck = Some(waiting.position);
        // What went out later can move the mark no more.
        let before = usize::try_from(ticket - self.first).expect("it was found at that place");
        self.waiting.truncate(before);
    }

    /// Every message of a position below this is delivered.
    pub fn mark(&self) -> u64 {
        match self.waiting.front() {
            Some(waiting) => waiting.position,
            None => self.stuck.unwrap_or(self.last),
        }
    }

    fn find(&mut self, ticket: u64) -> Option<&mut Waiting> {
        let place = usize::try_from(ticket.checked_sub(self.first)?).ok()?;
        self.waiting.get_mut(place)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_mark_stands_at_the_oldest_message_that_is_not_settled() {
        let mut low_water = LowWater::default();
        assert_eq!(low_water.mark(), 0);
        let tickets: Vec<u64> = [10, 20, 20, 30].map(|at| low_water.sent(at)).into();
        low_water.settled(tickets[1]);
        low_water.settled(tickets[3]);
        assert_eq!(low_water.mark(), 10);
        low_water.settled(tickets[0]);
        assert_eq!(low_water.mark(), 20, "another message of position 20 is still out");
        low_water.settled(tickets[2]);
        assert_eq!(low_water.mark(), 30, "more messages of position 30 may follow");
        low_water.advance(31);
        assert_eq!(low_water.mark(), 31);
    }

    #[test]
    fn the_mark_never_passes_a_message_that_failed() {
        let mut low_water = LowWater::default();
        let tickets: Vec<u64> = (0..4).map(|at| low_water.sent(at)).collect();
        low_water.failed(tickets[1]);
        low_water.settled(tickets[2]);
        low_water.settled(tickets[0]);
        assert_eq!(low_water.mark(), 1);
        let later = low_water.sent(9);
        low_water.settled(later);
        low_water.settled(tickets[3]);
        low_water.advance(50);
        assert_eq!(low_water.mark(), 1);
        assert!(low_water.waiting.is_empty(), "what cannot matter is not kept");
    }

    /// What happens to one message: how much further its position is, and when it is settled.
    #[derive(Clone, Debug)]
    struct Fate {
        step: u64,
        settled_at: u16,
        fails: bool,
    }

    fn fates() -> impl Strategy<Value = Vec<Fate>> {
        let fails = proptest::bool::weighted(0.03);
        let fate = (0..3_u64, any::<u16>(), fails);
        let fate = fate.prop_map(|(step, settled_at, fails)| Fate { step, settled_at, fails });
        proptest::collection::vec(fate, 1..60)
    }

    proptest! {
        #[test]
        fn the_mark_is_what_a_look_at_every_message_would_find(fates in fates()) {
            // All go out, and then are settled in any order; half of them in between.
            let mut low_water = LowWater::default();
            let mut sent: Vec<(u64, Option<bool>)> = Vec::new();
            let mut position = 0;
            let mut open: Vec<(u16, u64, bool)> = Vec::new();
            let mut marks = vec![0];
            let check = |low_water: &LowWater, sent: &[(u64, Option<bool>)]| {
                // The definition: the lowest position of a message that is not delivered.
                let last = sent.last().map_or(0, |(position, _)| *position);
                let open = sent.iter().filter(|(_, end)| *end != Some(true));
                open.map(|(position, _)| *position).min().unwrap_or(last) == low_water.mark()
            };
            for fate in &fates {
                position += fate.step;
                let ticket = low_water.sent(position);
                prop_assert_eq!(ticket, sent.len() as u64);
                sent.push((position, None));
                open.push((fate.settled_at, ticket, fate.fails));
                if fate.settled_at % 2 == 0 {
                    open.sort_unstable();
                    let (_, ticket, fails) = open.remove(0);
                    sent[ticket as usize].1 = Some(!fails);
                    if fails { low_water.failed(ticket) } else { low_water.settled(ticket) }
                }
                prop_assert!(check(&low_water, &sent), "{low_water:?} {sent:?}");
                marks.push(low_water.mark());
            }
            open.sort_unstable();
            for (_, ticket, fails) in open {
                sent[ticket as usize].1 = Some(!fails);
                if fails { low_water.failed(ticket) } else { low_water.settled(ticket) }
                prop_assert!(check(&low_water, &sent), "{low_water:?} {sent:?}");
                marks.push(low_water.mark());
            }
            prop_assert!(marks.is_sorted(), "{marks:?}");
            prop_assert!(low_water.waiting.is_empty());
        }
    }
}

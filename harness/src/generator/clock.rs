//! The simulated clock: when a message happens, is sent, and is received.

use k2_model::Nanos;
use k2_model::time::NANOS_PER_MILLI;

use super::random::{Random, scaled_32};

/// Messages for which the activity stays as it is; a wave has 256 such steps.
const WAVE_STEP_SHIFT: u32 = 10;
/// What [`wave`] comes to on average, so that waves do not change the mean rate.
const WAVE_MEAN: u64 = 448;
/// From an event to its receipt: at least this, at most twice as much.
const LATENCY_NS: u32 = 4_000_000;

#[derive(Clone, Debug)]
pub(super) struct Clock {
    interval_ns: u64,
    bursts: bool,
    slots: u64,
    /// Start of the next slot.
    next_ns: i64,
    now: Instants,
}

/// The times of what happens in one slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instants {
    pub(super) event_ns: i64,
    /// At most 2 ms after the event, and before the receipt.
    pub(super) sent_ms: i64,
    /// Rises strictly.
    pub(super) received_ns: i64,
}

impl Clock {
    pub(super) fn new(start: Nanos, interval_ns: u64, bursts: bool) -> Self {
        let now = Instants { event_ns: start.0, sent_ms: 0, received_ns: start.0 };
        Self { interval_ns, bursts, slots: 0, next_ns: start.0, now }
    }

    pub(super) fn change_interval(&mut self, interval_ns: u64) {
        self.interval_ns = interval_ns;
    }

    /// When the last message happened.
    pub(super) fn event(&self) -> Nanos {
        Nanos(self.now.event_ns)
    }

    /// Goes on by one slot. Event times never go back.
    pub(super) fn tick(&mut self, random: &mut Random) -> Instants {
        let gap_ns = if self.bursts {
            self.interval_ns * wave(self.slots >> WAVE_STEP_SHIFT) / WAVE_MEAN
        } else {
            self.interval_ns
        };
        let bits = random.next();
        let event_ns = self.next_ns + (random.below(gap_ns)) as i64;
        self.next_ns += gap_ns as i64;
        self.slots += 1;
        self.now.event_ns = event_ns;
        self.now.sent_ms = event_ns / NANOS_PER_MILLI + i64::from(scaled_32(bits as u32, 3));
        let latency_ns = LATENCY_NS + scaled_32((bits >> 32) as u32, LATENCY_NS);
        let received_ns = event_ns + i64::from(latency_ns);
        self.now.received_ns = received_ns.max(self.now.received_ns + 1);
        self.now
    }
}

/// The mean time between messages in a step of the wave, in parts of [`WAVE_MEAN`]: from 67, a
/// burst of 6.7 times the mean activity, to 829, a lull of half of it, and back.
fn wave(step: u64) -> u64 {
    let at = step & 0xff;
    let folded = at.min(255 - at);
    64 + 3 * (2 * folded + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_keep_the_mean_rate_and_times_rise() {
        assert_eq!((0..256).map(wave).sum::<u64>(), 256 * WAVE_MEAN);
        let mut clock = Clock::new(Nanos(1_000), 1_440_000, true);
        let mut random = Random::new(1);
        let mut last = clock.now;
        for _ in 0..1u64 << (WAVE_STEP_SHIFT + 8) {
            let now = clock.tick(&mut random);
            assert!(now.event_ns >= last.event_ns && now.received_ns > last.received_ns);
            assert!(now.sent_ms * NANOS_PER_MILLI <= now.received_ns);
            last = now;
        }
        let expected_ns = 1_440_000i64 << (WAVE_STEP_SHIFT + 8);
        assert!((clock.next_ns - expected_ns).abs() < 1_000_000, "{}", clock.next_ns);
    }
}
